//! Marks in the code: what must always hold, and what should happen sometimes.
//!
//! [`always!`](crate::always) is an assertion that stays in production: where going on would make things worse, the
//! process stops. [`sometimes!`](crate::sometimes) names a rare path, so that a campaign of simulated clusters can say
//! which of them it went, and which no seed ever reached; without the feature `marks` it is nothing at all.
//! *Source:* FoundationDB's `CODE_PROBE`, and the `always` and `sometimes` assertions of Antithesis.

/// Stops the process if the condition does not hold.
#[macro_export]
macro_rules! always {
    ($holds:expr, $what:literal) => {
        assert!($holds, concat!("always: ", $what));
    };
}

/// Notes that this path was taken.
#[cfg(feature = "marks")]
#[macro_export]
macro_rules! sometimes {
    ($name:literal) => {{
        static MARK: $crate::marks::Mark = $crate::marks::Mark::new($name);
        MARK.reach();
    }};
}

/// Nothing, without the feature `marks`.
#[cfg(not(feature = "marks"))]
#[macro_export]
macro_rules! sometimes {
    ($name:literal) => {};
}

#[cfg(feature = "marks")]
pub use reached::{Mark, reached};

#[cfg(feature = "marks")]
mod reached {
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicBool, Ordering},
    };

    use parking_lot::Mutex;

    static REACHED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

    /// A place in the code.
    #[derive(Debug)]
    pub struct Mark {
        name: &'static str,
        is_reached: AtomicBool,
    }

    impl Mark {
        /// A place that nobody has reached yet.
        pub const fn new(name: &'static str) -> Self {
            Self { name, is_reached: AtomicBool::new(false) }
        }

        /// Someone is there.
        pub fn reach(&self) {
            if !self.is_reached.load(Ordering::Relaxed) && !self.is_reached.swap(true, Ordering::Relaxed) {
                REACHED.lock().insert(self.name);
            }
        }
    }

    /// The names of all places that were reached in this process.
    pub fn reached() -> BTreeSet<&'static str> {
        REACHED.lock().clone()
    }
}
