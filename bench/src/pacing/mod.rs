//! When operations are due.
//!
//! *Closed loop*: a client sends the next operation when the last is answered. *Open loop*: operations are due at fixed
//! times, whether or not the server keeps up, and latency counts from the due time. Otherwise a server that stalls would
//! also stop the questions that would have seen it stall ("coordinated omission", Gil Tene).
//!
//! As in YCSB each client has its own schedule, of 1/n of the rate: operations of a client whose last one has no answer yet
//! are sent late, and their latency from the due time says so.

mod schedule;
mod timer;

pub use schedule::Schedule;
pub use timer::Timer;
