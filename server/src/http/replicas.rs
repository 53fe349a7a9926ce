//! `GET /admin/v1/replicas/{table}/{key}`: what each replica of a key holds, side by side.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use helenus_cluster::{
    node::{HeldBy, LookUp},
    time::Timestamp,
};
use helenus_storage::{Record, RecordKind};
use hyper::{HeaderMap, Uri};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Api, envelope, key,
    parameters::{OF_ENDPOINTS, Parameters},
    problem::{Access, Problem},
};

/// Characters of a value that are shown.
const SHOWN_CHARACTERS: usize = 64;

/// Asks all replicas, waits for each at most a second, and repairs nothing.
pub(super) async fn look_up(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(uri.query(), &headers, OF_ENDPOINTS, Access::Read)?;
    let path = uri.path().strip_prefix("/admin/v1/replicas/").unwrap_or_default();
    let (table, key) = path.split_once('/').unwrap_or((path, ""));
    let (table, key) = (key::table(table)?, key::key(key, parameters.key_encoding)?);
    let found = api.node_for(Access::Read)?.look_up(&table, &key).await;
    let LookUp { token, now, replicas } = found.map_err(|error| Problem::of_request(&error, Access::Read))?;
    let answers: Vec<_> = replicas.iter().filter_map(|replica| replica.held.as_ref().ok()).collect();
    // Who did not answer says nothing against those that did.
    let agree = answers.split_first().map(|(first, rest)| rest.iter().all(|other| other == first));
    let shown: Vec<Value> = replicas.iter().map(|replica| shown(replica, now)).collect();
    let found = json!({
        "table": table,
        "token": token,
        "now_us": now.0,
        "agree": agree,
        "answered": answers.len(),
        "unanswered": replicas.len() - answers.len(),
        "replicas": shown,
    });
    Ok(Json(found).into_response())
}

fn shown(replica: &HeldBy, now: Timestamp) -> Value {
    let mut shown = json!({
        "host_id": replica.host_id,
        "address": replica.address,
        "datacenter": replica.datacenter,
        "rack": replica.rack,
        "up": replica.up,
        "pending": replica.is_pending,
    });
    match &replica.held {
        Ok(None) => shown["holds"] = json!("nothing"),
        Ok(Some(record)) => describe(record, now, &mut shown),
        Err(why) => {
            shown["holds"] = json!("unknown");
            shown["why"] = json!(why);
        }
    }
    shown
}

fn describe(record: &Record, now: Timestamp, shown: &mut Value) {
    shown["timestamp_us"] = json!(record.timestamp.0);
    shown["holds"] = json!(match &record.kind {
        RecordKind::Tombstone { deleted_at } => {
            shown["deleted_at_us"] = json!(deleted_at.0);
            "tombstone"
        }
        RecordKind::Expiring { expires_at, .. } => {
            shown["expires_at_us"] = json!(expires_at.0);
            if *expires_at <= now { "expired" } else { "value" }
        }
        RecordKind::Expired { expired_at } => {
            shown["expires_at_us"] = json!(expired_at.0);
            "expired"
        }
        RecordKind::Plain { .. } => "value",
    });
    let Some(stored) = record.value() else { return };
    let value = envelope::open(stored.clone()).map_or_else(|_| stored.clone(), |(_, value)| value);
    shown["value_bytes"] = json!(value.len());
    // Of all that is stored: replicas may differ in what describes the value.
    shown["digest"] = json!(format!("{:032x}", xxh3_128(stored)));
    shown["text"] = json!(
        std::str::from_utf8(&value)
            .ok()
            .map(|text| { text.chars().take(SHOWN_CHARACTERS).collect::<String>() })
    );
}
