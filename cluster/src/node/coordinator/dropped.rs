//! Requests whose table is dropped while they are under way.
//!
//! Their replicas answer one by one that they know no such table, which is no failure of theirs: the client is told that
//! the table is gone. So is what the request may have done, on whichever replica; if there is another table of that name,
//! which this node had not heard of, a read or write is made once more, of that.

use helenus_storage::TableId;
use tokio::time::Instant;

use super::Coordinator;
use crate::{
    error::RequestError,
    message::ReplicaError,
    node::{Failure, known_cluster::Picture},
};

impl Coordinator {
    /// Why a request has failed that was sent by this picture: as its quorum says, unless its table is gone.
    pub(super) async fn explained(
        &self,
        error: RequestError,
        table: TableId,
        picture: &Picture,
        deadline: Instant,
    ) -> RequestError {
        let failures = match &error {
            RequestError::Failed { failures, .. } => failures.as_slice(),
            RequestError::Timeout { .. } => &[],
            _ => return error,
        };
        let is_unknown = |why: &ReplicaError| *why == ReplicaError::NoSuchTable(table.0);
        let says_so = failures.iter().find(|(_, why)| is_unknown(why)).map(|(host_id, _)| *host_id);
        let is_gone = self.schema.is_gone(table, says_so, deadline).await;
        match picture.view().tables().by_id(table) {
            Some(dropped) if is_gone => {
                helenus_storage::sometimes!("a table was dropped under a request");
                RequestError::TableDropped(dropped.name.clone())
            }
            _ => error,
        }
    }

    /// Whether a request went to a table that was dropped, and there is another one of its name.
    pub(super) fn is_of_a_former_table<T>(&self, outcome: &Result<T, Failure>) -> bool {
        let Err(Failure { error: RequestError::TableDropped(table), .. }) = outcome else { return false };
        helenus_storage::sometimes!("a request met the drop of its table");
        self.cluster.picture().table(table).is_some()
    }
}
