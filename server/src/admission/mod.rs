//! How many requests of clients are worked on at once while the processors have no time for all of them.
//!
//! A request that waits for a disk or another datacenter costs little, and thousands may. A processor without time is
//! another matter: what is begun beyond that only waits, each step behind the steps of all others, until clients give up,
//! and then much is done in vain. So while its threads are [busy](bound) all the time a node begins only as many
//! requests as keep it so, and the others wait in [line](line), with their bodies read and nothing else done:
//!
//! ```text
//!   request ──▶ fewer than the bound under way? ── yes ──▶ goes on ──▶ ends: the next in line goes on
//!                  │ no
//!                  ▼
//!               whoever is first in line has waited long? ── yes ──▶ 503 overloaded, at once
//!                  │ no
//!                  ▼
//!               waits in line, the first come first
//! ```
//!
//! That refuses by the *time* of the wait and not by a number makes a line that is right for slow machines and for fast
//! ones (Nichols, Jacobson: "Controlling Queue Delay", ACM Queue 10(5), 2012). A bounded stage before the work, which
//! refuses at its door, is Welsh and Culler's ("Adaptive Overload Control for Busy Internet Servers", USITS 2003).
//!
//! Rejected: the newest first, and 5 ms for each while there is always a line (Maurer: "Fail at Scale", ACM Queue 13(8),
//! 2015): nearly all that wait are refused then, two of whom cost about as much as a request that is served, and they come
//! again; a bound that holds when the processors have time too: a datacenter that does not answer would fill it, so the
//! [bound](bound) grows while there is a line and time is left; a turn before the body is read: slow clients would hold
//! the turns of all others.
//!
//! Reading order: this page, [`bound`], [`line`], [`door`].

mod bound;
mod door;
mod line;

pub(crate) use door::{Door, Pass};
