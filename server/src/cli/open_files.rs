//! Open files: strangers must not take those that storage needs.
//!
//! Every connection is an open file, and so is every segment of the commit log. A process that has used up what the
//! system grants it cannot begin its next segment, which ends the node; and it cannot even accept a connection to
//! say that there are too many. So a node asks for all that it may have, and when that is less than its settings want,
//! its listeners get less.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Kept for storage, the runtimes, operators, and connections that are being told that there are too many.
const RESERVED: u64 = 512;

/// Raises the limit of this process as far as it may, and lowers the settings that do not fit.
pub(super) fn share_out(config: &mut Config) {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    // A system that refuses leaves things as they are.
    let _ = setrlimit(Resource::Nofile, limits);
    let Some(granted) = getrlimit(Resource::Nofile).current else { return };
    let (http, peer) = (&mut config.http, &mut config.peer);
    let wanted = [http.max_connections, peer.max_inbound, peer.max_outbound];
    let given = shares(granted, wanted);
    if given == wanted {
        return;
    }
    [http.max_connections, peer.max_inbound, peer.max_outbound] = given;
    tracing::warn!(
        open_files = granted,
        http_max_connections = given[0],
        peer_max_inbound = given[1],
        peer_max_outbound = given[2],
        "the system grants too few open files for the settings: fewer connections are taken"
    );
}

/// Connections of clients, from and to other nodes, out of `granted` open files: as wanted if they fit, else clients
/// get half of what is not reserved and the others a quarter each.
fn shares(granted: u64, wanted: [u32; 3]) -> [u32; 3] {
    let spare = granted - RESERVED.min(granted / 2);
    if wanted.iter().map(|&wanted| u64::from(wanted)).sum::<u64>() <= spare {
        return wanted;
    }
    let part =
        |wanted: u32, share: u64| u32::try_from(share.max(1)).map_or(wanted, |share| wanted.min(share));
    [part(wanted[0], spare / 2), part(wanted[1], spare / 4), part(wanted[2], spare / 4)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_fit_stay_and_others_leave_the_reserve_alone() {
        assert_eq!(shares(20_000, [4096, 2048, 2048]), [4096, 2048, 2048]);
        assert_eq!(shares(1024, [4096, 2048, 2048]), [256, 128, 128]);
        assert_eq!(shares(1024, [400, 10, 2048]), [256, 10, 128]);
        for granted in [0, 1, 2, 100, 1024, 8000, 9000, u64::MAX] {
            let taken: u64 = shares(granted, [4096, 2048, 2048]).iter().map(|&n| u64::from(n)).sum();
            assert!(taken <= granted.saturating_sub(RESERVED.min(granted / 2)).max(3), "{granted}: {taken}");
        }
    }
}
