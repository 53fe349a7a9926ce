//! Whether the threads that serve requests have time left.

/// At this share of their time they are too busy, and at this one they are not any more. Far apart: that fewer requests
/// are begun must not be the reason to begin more.
const BUSY: f64 = 0.9;
const EASY: f64 = 0.5;

/// Follows how busy they are.
#[derive(Debug, Default)]
pub(super) struct Busyness {
    is_too_busy: bool,
}

impl Busyness {
    /// They have worked for this share of an interval; whether they are too busy now.
    pub(super) fn on_interval(&mut self, share: f64) -> bool {
        self.is_too_busy = share >= if self.is_too_busy { EASY } else { BUSY };
        self.is_too_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_without_time_are_too_busy_until_they_have_much_of_it() {
        let mut busyness = Busyness::default();
        for (share, is_too_busy) in [
            (0.0, false),
            (0.89, false),
            (0.95, true),
            (0.6, true),
            (1.0, true),
            (0.51, true),
            (0.49, false),
            (0.6, false),
            (0.9, true),
            (f64::NAN, false),
        ] {
            assert_eq!(busyness.on_interval(share), is_too_busy, "{share}");
        }
    }
}
