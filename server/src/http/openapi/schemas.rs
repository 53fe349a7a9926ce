//! What parameters, headers and bodies look like.

use helenus_cluster::table::replication::MAX_FACTOR;
use serde_json::{Map, Value, json};

use crate::{config::live::LIVE_SETTINGS, http::problem::Kind};

const LEVELS: [&str; 9] =
    ["any", "one", "two", "three", "quorum", "all", "local_one", "local_quorum", "each_quorum"];
const TABLE_NAME: &str = "^[a-z][a-z0-9_]{0,47}$";

/// Parameters by the names that operations give them.
pub(super) fn parameters() -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let number = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    let drift = "at most the clock of the node and its allowed drift";
    let all = [
        path("table", text(TABLE_NAME), "Name of a table"),
        path(
            "key",
            json!({ "type": "string", "minLength": 1 }),
            "The key: 1 to 4096 bytes, percent-encoded once; / may stay as it is",
        ),
        path("host_id", json!({ "type": "string", "format": "uuid" }), "A member"),
        named(
            "snapshot",
            "name",
            path("name", text("^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$"), "Name of a snapshot"),
        ),
        named("task", "id", path("id", number(0, u64::from(u32::MAX)), "A task")),
        named("setting", "name", path("name", json!({ "enum": LIVE_SETTINGS }), "Name of a setting")),
        query(
            "consistency",
            json!({ "enum": LEVELS }),
            "The level; or how many replicas. The table's default without",
        ),
        named(
            "read_consistency",
            "consistency",
            query("consistency", json!({ "enum": LEVELS[1..] }), "As of writes; `any` is no level of reads"),
        ),
        query("timeout_ms", number(1, 30_000), "Deadline of the request"),
        query("ttl", number(1, 630_720_000), "Seconds until the value expires"),
        query("timestamp", number(1, 1_700_000_000_000_000), &format!("Microseconds since 1970, {drift}")),
        query("trace", json!({ "const": 1 }), "Tell the steps of the request in Helenus-Trace"),
        query("key_encoding", json!({ "enum": ["base64url"] }), "How the key is written in the path"),
        query("limit", number(1, 1000), "Most items of a page"),
        query("page", json!({ "type": "string" }), "What the page before says in `next`"),
        query("start", json!({ "type": "string" }), "The first key"),
        query("prefix", json!({ "type": "string" }), "What keys begin with; byte-ordered partitioner only"),
        query(
            "end",
            json!({ "type": "string" }),
            "The key before which to end; byte-ordered partitioner only",
        ),
        query("keys_only", json!({ "const": 1 }), "Leave the values out"),
        named("of_table", "table", query("table", text(TABLE_NAME), "A table; all without")),
        query("wait_ms", number(0, 30_000), "How long the end of a task is waited for"),
        query("mib_per_second", number(1, 100_000), "How fast SSTables are read"),
        named("hinted", "target", query("target", json!({ "type": "string", "format": "uuid" }), "A member")),
        required(query("value", json!({ "type": "string" }), "As in the file of settings")),
        required(query(
            "level",
            json!({ "enum": ["error", "warn", "info", "debug", "trace", "off"] }),
            "A level of the log",
        )),
        query(
            "target",
            text("^[A-Za-z0-9_:]{1,128}$"),
            "A path of modules; without it the level is the default",
        ),
        query("force", json!({ "const": true }), "Although no majority of the members is seen up"),
        header(
            "Helenus-Session",
            text("^[A-Za-z0-9_-]{1,4096}$"),
            "What the last reply said: never older than that",
        ),
        header(
            "Helenus-Consistency",
            json!({ "enum": LEVELS }),
            "Alias of consistency; not to contradict it",
        ),
        named(
            "read_Helenus-Consistency",
            "Helenus-Consistency",
            header("Helenus-Consistency", json!({ "enum": LEVELS[1..] }), "Alias of consistency"),
        ),
        header("Helenus-TTL", number(1, 630_720_000), "Alias of ttl"),
        header("Helenus-Timestamp", number(1, 1_700_000_000_000_000), "Alias of timestamp"),
        header(
            "Prefer",
            json!({ "type": "string" }),
            "wait=s: the deadline, 1 to 30 seconds; other preferences are ignored",
        ),
    ];
    Value::Object(all.into_iter().collect())
}

type Named = (String, Value);

fn parameter(place: &str, name: &str, schema: Value, what: &str, is_required: bool) -> Named {
    let mut parameter = json!({ "name": name, "in": place, "required": is_required, "description": what });
    parameter["schema"] = schema;
    (name.to_owned(), parameter)
}

fn path(name: &str, schema: Value, what: &str) -> Named {
    parameter("path", name, schema, what, true)
}

fn query(name: &str, schema: Value, what: &str) -> Named {
    parameter("query", name, schema, what, false)
}

fn header(name: &str, schema: Value, what: &str) -> Named {
    parameter("header", name, schema, what, false)
}

/// One that operations know by another name than requests.
fn named(known_as: &str, name: &str, (_, mut parameter): Named) -> Named {
    parameter["name"] = name.into();
    (known_as.to_owned(), parameter)
}

fn required((name, mut parameter): Named) -> Named {
    parameter["required"] = true.into();
    (name, parameter)
}

/// Headers of replies.
pub(super) fn headers() -> Value {
    let shown: Map<String, Value> = [
        ("Helenus-Request-Id", "Names the request in the log"),
        ("Helenus-Consistency", "level; required=n; acknowledged=n"),
        ("Helenus-Coordinator", "Host id of the node that answered"),
        ("Helenus-Timestamp", "Of the value, or of the tombstone, in microseconds since 1970"),
        ("Helenus-TTL", "Seconds until the value expires"),
        ("Helenus-Trace", "The steps of the request: a JSON list of {at_us, node, what}"),
        ("Helenus-Deleted", "?1: a tombstone is known"),
        ("ETag", "Of this version of the value"),
        ("Last-Modified", "When it was written"),
        ("Helenus-Session", "What the client has seen and written; to be sent back"),
        ("Link", "The next page, rel=next"),
        ("Location", "Where what was made is"),
        ("Retry-After", "Seconds after which the request may be sent again"),
    ]
    .into_iter()
    .map(|(name, what)| (name.to_owned(), json!({ "description": what, "schema": { "type": "string" } })))
    .collect();
    Value::Object(shown)
}

/// Bodies.
pub(super) fn schemas() -> Value {
    let types: Vec<String> = Kind::ALL.iter().map(|kind| format!("/problems/{}", kind.name())).collect();
    let text = || json!({ "type": "string" });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let said = |what: &str| json!({ "type": "integer", "minimum": 0, "description": what });
    let maybe = |kind: &str| json!({ "type": [kind, "null"] });
    let list =
        |of: &str| json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{of}") } });
    let object = |properties: Value| {
        let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
        json!({ "type": "object", "required": required, "properties": properties })
    };
    let level = |levels: &[&str]| json!({ "anyOf": [{ "enum": levels }, { "type": "integer", "minimum": 1, "maximum": MAX_FACTOR }] });
    let mut problem = object(json!({
        "type": { "enum": types }, "title": text(), "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "detail": text(), "request_id": text(), "consistency": text(), "required": count(),
        "received": said("replicas that answered, of those that the level counts"),
        "alive": said("replicas that are alive, of those that the level counts; where it looks at each datacenter, detail \
                       says which lacks some"), "outcome": { "enum": ["not-applied", "unknown", "none"] }, "field": text()
    }));
    problem["required"] = json!(["type", "title", "status", "detail"]);
    let written = || json!({ "timestamp": count(), "required": count(), "acknowledged": count() });
    let mut created = written();
    created["key"] = text();
    let factor = |min: u32| json!({ "type": "integer", "minimum": min, "maximum": MAX_FACTOR });
    let replication = || {
        json!({ "oneOf": [
            { "type": "object", "required": ["class", "factor"], "additionalProperties": false,
              "properties": { "class": { "const": "simple" }, "factor": factor(1) } },
            { "type": "object", "required": ["class"], "additionalProperties": factor(0), "minProperties": 2,
              "properties": { "class": { "const": "network_topology" } },
              "description": format!(
                  "a factor for each datacenter that has members, by its name; in all 1 to {MAX_FACTOR}"
              ) }
        ] })
    };
    let definition = || {
        json!({
            "replication": replication(),
            "default_read_consistency": level(&LEVELS[1..]),
            "default_write_consistency": level(&LEVELS),
            "default_ttl": count(),
            "tombstone_grace": said("seconds until a deletion may be forgotten; hints need more than twice the allowed drift"),
            "compaction": { "type": "object", "required": ["class"],
                            "properties": { "class": { "enum": ["unified", "time_window"] } } },
            "speculative_retry": { "type": "string", "description": "such as p99, 20ms, always, never" },
            "compression": { "enum": ["lz4"] }
        })
    };
    let mut table = definition();
    table["name"] = text();
    table["id"] = count();
    table["warnings"] =
        json!({ "type": "array", "items": text(), "description": "what will not do what people expect" });
    for level in ["default_read_consistency", "default_write_consistency"] {
        table[level] = json!({ "type": "string", "description": "a level, or a number of replicas" });
    }
    let mut changed = table.clone();
    changed["agreed"] = json!({ "type": "boolean", "description": "whether every live node knows it" });
    changed["down"] =
        json!({ "type": "integer", "minimum": 0, "description": "members that were not waited for" });
    let operation = json!({
        "type": "object", "required": ["op", "table"], "additionalProperties": false,
        "properties": {
            "op": { "type": "string", "description": "put, get or delete" }, "table": text(),
            "key": maybe("string"), "key_base64": maybe("string"),
            "value": maybe("string"), "value_base64": maybe("string"),
            "ttl": { "type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX },
            "timestamp": { "type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX }
        }
    });
    let table_stats = object(json!({ "tables": { "type": "array", "items": object(json!({
            "name": text(), "id": count(), "sstables": count(), "levels": { "type": "array" },
            "space_used_bytes": count(), "compression_ratio": { "type": "number" }, "records": count(),
            "tombstones": count(), "expiring": count(), "record_bytes_median": maybe("integer"),
            "record_bytes_max": maybe("integer"), "memtable_bytes": count(), "pending_flushes": count(),
            "index_bytes": count(), "filter_bytes": count(), "sstables_spared": count(),
            "filter_false_positives": count(), "local_reads": count(), "local_read_median_us": maybe("integer"),
            "local_tombstone_reads": count(), "local_writes": count(), "local_write_median_us": maybe("integer")
        })) } }));
    let compaction_stats = object(json!({
        "pending_bytes": count(), "pending_sstables": count(), "throughput_bytes_per_second": count(),
        "limit_bytes_per_second": maybe("integer"), "remaining_seconds": maybe("number"),
        "set_aside": { "type": "array", "items": text() },
        "compactions": { "type": "array", "items": object(json!({
            "id": count(), "kind": text(), "table": maybe("string"), "input_sstables": count(),
            "done_bytes": count(), "total_bytes": count(), "elapsed_seconds": { "type": "number" },
            "remaining_seconds": maybe("number")
        })) }
    }));
    let histograms = object(json!({ "operations": {
            "type": "object",
            "additionalProperties": object(json!({ "requests": count(), "percentiles_us": { "type": "object" } }))
        } }));
    let table_histograms = object(json!({ "table": text(), "percentiles": {
            "type": "object",
            "additionalProperties": object(json!({
                "sstables": maybe("integer"), "write_us": maybe("integer"), "read_us": maybe("integer"),
                "record_bytes": maybe("integer")
            }))
        } }));
    let task = object(json!({
        "id": count(), "kind": text(), "subject": maybe("string"),
        "state": { "enum": ["queued", "running", "done", "failed", "cancelled"] }, "started_us": count(),
        "elapsed_seconds": { "type": "number" }, "done_bytes": count(), "total_bytes": count(),
        "remaining_seconds": maybe("number"), "result": maybe("object"),
        "problem": { "anyOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Problem" }] }
    }));
    let batch_result = json!({
        "type": "object", "required": ["status"],
        "properties": {
            "status": { "type": "integer" }, "value": text(), "value_base64": text(), "timestamp": count(),
            "ttl": count(), "content_type": text(), "content_encoding": text(), "required": count(),
            "acknowledged": count(), "deleted": { "type": "boolean" },
            "problem": { "$ref": "#/components/schemas/Problem" }
        }
    });
    let member = object(json!({
        "host_id": text(), "address": text(), "datacenter": text(), "rack": text(),
        "up": maybe("boolean"), "state": text(), "why": maybe("string"), "clock": maybe("string"),
        "tokens": count(), "owns": { "type": "number" }, "load_bytes": maybe("integer")
    }));
    let settings = object(json!({ "settings": { "type": "array", "items": object(json!({
            "name": text(), "value": {}, "source": text(), "configured": {}, "is_changed": { "type": "boolean" }
        })) } }));
    let snapshots = object(json!({ "snapshots": { "type": "array", "items": object(json!({
            "name": text(), "directory": text(), "tables": count(), "bytes": count()
        })) } }));
    let batch = json!({
        "type": "object", "required": ["operations"], "additionalProperties": false,
        "properties": {
            "consistency": { "anyOf": [level(&LEVELS), { "type": "null" }] },
            "operations": { "type": "array", "maxItems": 1000, "items": { "$ref": "#/components/schemas/Operation" } }
        }
    });
    json!({
        "Object": { "type": "object" },
        "Problem": problem,
        "Health": object(json!({ "status": text() })),
        "Version": object(json!({ "name": text(), "version": text(), "commit": text(), "api": count() })),
        "Written": object(written()),
        "Created": object(created),
        "Operation": operation,
        "Batch": batch,
        "ScanPage": object(json!({ "items": { "type": "array", "items": { "type": "object", "properties": {
            "key": text(), "key_base64": text(), "value_base64": text(), "timestamp": count(), "content_type": text(),
            "content_encoding": text(), "ttl": count()
        } } }, "next": maybe("string") })),
        "Replicas": object(json!({
            "table": text(), "token": text(), "now_us": count(),
            "agree": { "type": ["boolean", "null"],
                "description": "Whether the replicas that answered hold the same; null if none did" },
            "answered": { "type": "integer", "minimum": 0, "description": "Replicas that said what they hold" },
            "unanswered": { "type": "integer", "minimum": 0,
                "description": "Replicas of which it is not known: they are down, or did not answer within a second" },
            "replicas": { "type": "array", "items": { "type": "object" } }
        })),
        "BatchResults": object(json!({ "results": list("BatchResult") })),
        "BatchResult": batch_result,
        "TableDefinition": { "type": "object", "additionalProperties": false, "properties": definition() },
        "Table": object(table),
        "ChangedTable": object(changed),
        "Tables": object(json!({ "tables": list("Table") })),
        "Member": member,
        "Status": object(json!({ "cluster_name": text(), "host_id": text(), "members": list("Member") })),
        "Ring": object(json!({ "members": { "type": "array" }, "tokens": { "type": "array" } })),
        "FailureDetector": object(json!({
            "host_id": text(), "threshold": { "type": "number" }, "convictions": count(), "peers": { "type": "array" }
        })),
        "TableStats": table_stats,
        "CompactionStats": compaction_stats,
        "Histograms": histograms,
        "TableHistograms": table_histograms,
        "Task": task,
        "Tasks": object(json!({ "tasks": list("Task") })),
        "Snapshots": snapshots,
        "Settings": settings,
        "LogFilter": object(json!({ "filter": text() }))
    })
}
