//! What the process tells whoever supervises it: systemd's readiness protocol (sd_notify(3)), by the socket that
//! `NOTIFY_SOCKET` names. Without one nobody is told.

use sd_notify::NotifyState;

/// The node answers requests.
pub(super) fn tell_ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The node stops, and may take a while to write what it holds.
pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}
