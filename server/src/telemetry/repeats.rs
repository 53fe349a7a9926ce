//! Keeps lines that repeat out of the log, and counts them.
//!
//! Two lines are of one kind if they come from the same place in the code and differ in numbers, in a field `why`, or in
//! what is [`BY_THE_WAY`] alone. Of a kind at most [`BURST`] lines are written in [`PERIOD`], and none that says the same
//! as the one before it; when the period is over, a line tells how many were left out. So a disk that fails every request, or a peer that
//! is refused every second, fills no log, and yet nothing happens unseen.
//!
//! A line with a field `state` tells a change: what its `host` is from now on, which the next line about that host takes
//! back. All of a host are of one kind, none is the same news as an earlier one, and [`CHANGES`] are written in [`PERIOD`].
//! Of a host that changes more often the last state is told when the period is over, before any newer one: so whoever
//! reads down the log is never left with a state that is not the node's.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};
use xxhash_rust::xxh3::Xxh3;

/// How long lines of one kind are counted together.
const PERIOD: Duration = Duration::from_secs(60);
/// Lines of one kind in a period.
const BURST: u32 = 10;
/// Changes of one host in a period.
const CHANGES: u32 = 60;
/// Kinds in a period, besides changes, of which there are as many as hosts; further ones are counted together: part of many
/// lines is what others send, and who sends something else each time must not fill the log either.
const MAX_KINDS: usize = 1024;
/// What makes no line another one: the id of a request and its trace; what a sender, who may say something else each time,
/// said first, or takes its cluster for; by how much a clock is off, which is measured again and again.
const BY_THE_WAY: [&str; 5] = ["request_id", "trace", "first", "theirs", "skew"];
/// What differs between lines of one kind, besides numbers.
const REASON: &str = "why";

/// What a line that tells a change says of whom.
const CHANGE: &str = "state";
/// Whose change it is.
const CHANGED: &str = "host";

/// What a line is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nature {
    /// Lines of the same are counted together.
    kind: u64,
    /// Hash of everything it says.
    whole: u64,
    is_change: bool,
    level: Level,
}

/// The lines of the last minute. Clones remember the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats {
    kinds: Arc<Mutex<BTreeMap<u64, Kind>>>,
}

#[derive(Debug)]
struct Kind {
    began: Instant,
    written: u32,
    /// Everything that the last line said.
    last: u64,
    left_out: u64,
    is_change: bool,
    /// The first that was left out; of changes, the last.
    line: String,
    level: Level,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
struct Repeated {
    count: u64,
    is_change: bool,
    line: String,
    level: Level,
}

impl Repeats {
    /// Whether to write a line of this nature; `line` makes its text.
    fn allows(&self, nature: Nature, now: Instant, line: impl FnOnce() -> String) -> bool {
        let Nature { kind, whole, is_change, level } = nature;
        let mut kinds = self.kinds.lock();
        // All that are beyond the bound are of one kind.
        let has_place = is_change || kinds.contains_key(&kind) || kinds.len() < MAX_KINDS;
        let kind = if has_place { kind } else { 0 };
        let is_new = !kinds.contains_key(&kind);
        let seen = kinds.entry(kind).or_insert_with(|| Kind {
            began: now,
            written: 0,
            last: whole,
            left_out: 0,
            is_change,
            line: String::new(),
            level,
        });
        let is_written = match is_change {
            true => seen.written < CHANGES,
            false => is_new || (seen.written < BURST && seen.last != whole && kind != 0),
        };
        seen.last = whole;
        if is_written {
            seen.written += 1;
        } else {
            if is_change || seen.left_out == 0 {
                (seen.line, seen.level) = (line(), level);
            }
            seen.left_out += 1;
        }
        is_written
    }

    /// What was left out in the periods that are over by now, or in all; those kinds begin anew.
    fn take(&self, is_over: impl Fn(Instant) -> bool) -> Vec<Repeated> {
        let mut repeated = Vec::new();
        self.kinds.lock().retain(|_, kind| {
            let is_kept = !is_over(kind.began);
            if !is_kept && kind.left_out > 0 {
                let line = std::mem::take(&mut kind.line);
                let Kind { left_out: count, is_change, level, .. } = *kind;
                repeated.push(Repeated { count, is_change, line, level });
            }
            is_kept
        });
        repeated
    }

    /// Tells of the periods that are over. To be called every second or so.
    pub(super) fn tell(&self) {
        let now = Instant::now();
        tell(&self.take(|began| now.duration_since(began) >= PERIOD));
    }

    /// Tells of all: the process ends.
    pub(super) fn tell_all(&self) {
        tell(&self.take(|_| true));
    }
}

fn tell(repeated: &[Repeated]) {
    for Repeated { count, is_change, line, level } in repeated {
        let seconds = PERIOD.as_secs();
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        let told = match is_change {
            true => format!("changed {times} more within {seconds} s, at last: {line}"),
            false => format!("repeated {times} within {seconds} s: {line}"),
        };
        match *level {
            Level::ERROR => tracing::error!("{told}"),
            Level::WARN => tracing::warn!("{told}"),
            Level::INFO => tracing::info!("{told}"),
            _ => tracing::debug!("{told}"),
        }
    }
}

/// The writer of lines asks it for each.
impl<S: Subscriber> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Whoever asks for these levels wants all of them.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut read = Reading::default();
        metadata.callsite().hash(&mut read.kind);
        metadata.callsite().hash(&mut read.whole);
        event.record(&mut read);
        self.allows(read.nature(*metadata.level()), Instant::now(), || {
            let mut text = Text::default();
            event.record(&mut text);
            text.message + &text.fields
        })
    }
}

/// Hashes what makes a line what it is, without making its text.
#[derive(Default)]
struct Reading {
    kind: Xxh3,
    whole: Xxh3,
    /// Of whom it tells.
    changed: Xxh3,
    is_change: bool,
}

impl Reading {
    fn nature(&self, level: Level) -> Nature {
        let Self { kind, whole, changed, is_change } = self;
        let kind = if *is_change { changed } else { kind };
        Nature { kind: kind.finish(), whole: whole.finish(), is_change: *is_change, level }
    }

    fn number(&mut self, field: &Field, bits: u64) {
        (field.name(), bits).hash(&mut self.whole);
    }
}

impl Visit for Reading {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if BY_THE_WAY.contains(&field.name()) {
            return;
        }
        self.is_change |= field.name() == CHANGE;
        // Hashing cannot fail.
        let _ = match field.name() {
            REASON => write!(Hashed(&mut [&mut self.whole]), "{value:?}"),
            CHANGED => {
                write!(Hashed(&mut [&mut self.kind, &mut self.whole, &mut self.changed]), "host={value:?};")
            }
            name => write!(Hashed(&mut [&mut self.kind, &mut self.whole]), "{name}={value:?};"),
        };
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.number(field, value.to_bits());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value.cast_unsigned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }
}

/// Text on its way into hashes.
struct Hashed<'a>(&'a mut [&'a mut Xxh3]);

impl Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.iter_mut().for_each(|hasher| Hasher::write(*hasher, text.as_bytes()));
        Ok(())
    }
}

/// A line as text.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Layer, layer::SubscriberExt, registry};

    use super::*;

    /// Counts the events that come through.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut text = Text::default();
            event.record(&mut text);
            self.0.lock().push(text.message + &text.fields);
        }
    }

    fn logged(act: impl FnOnce(&Repeats)) -> Vec<String> {
        let (repeats, lines) = (Repeats::default(), Lines::default());
        let subscriber = registry().with(lines.clone().with_filter(repeats.clone()));
        tracing::subscriber::with_default(subscriber, || act(&repeats));
        std::mem::take(&mut lines.0.lock())
    }

    #[test]
    fn a_line_that_says_the_same_again_is_counted() {
        let lines = logged(|repeats| {
            for peer in ["a", "b"] {
                for _ in 0..4 {
                    tracing::warn!(peer, "it is refused");
                }
            }
            repeats.tell();
            assert_eq!(repeats.kinds.lock().len(), 2, "their minute is not over");
            let mut left_out = repeats.take(|_| true);
            left_out.sort_by(|a, b| a.line.cmp(&b.line));
            let told = left_out.iter().map(|of| (of.count, of.line.as_str(), of.level)).collect::<Vec<_>>();
            assert_eq!(
                told,
                [(3, "it is refused peer=\"a\"", Level::WARN), (3, "it is refused peer=\"b\"", Level::WARN)]
            );
        });
        assert_eq!(lines, ["it is refused peer=\"a\"", "it is refused peer=\"b\""]);
    }

    #[test]
    fn lines_that_differ_in_numbers_are_written_until_there_are_many() {
        let lines = logged(|repeats| {
            for elapsed_ms in 0..25_u64 {
                let request_id = format!("{elapsed_ms:x}");
                tracing::info!(request_id, elapsed_ms, "slow request");
            }
            repeats.tell_all();
        });
        assert_eq!(lines.len() as u32, BURST + 1);
        let last = lines.last().expect("a line");
        assert!(last.starts_with("repeated 15 times within 60 s: slow request"), "{last}");
    }

    #[test]
    fn a_clock_that_is_measured_again_is_the_same_news() {
        let lines = logged(|repeats| {
            for skew in ["61.2s ahead", "61.3s ahead"] {
                tracing::warn!(skew, "the clock of this peer is off");
            }
            repeats.tell_all();
        });
        let again = "repeated once within 60 s: the clock of this peer is off skew=\"61.3s ahead\"";
        assert_eq!(lines, ["the clock of this peer is off skew=\"61.2s ahead\"", again]);
    }

    #[test]
    fn lines_without_number_fill_no_log_and_no_memory() {
        let repeats = Repeats::default();
        let now = Instant::now();
        let line = |n| Nature { kind: n, whole: n, is_change: false, level: Level::WARN };
        let written = (1..=5000).filter(|&n| repeats.allows(line(n), now, || n.to_string())).count();
        assert_eq!(written, MAX_KINDS + 1);
        assert_eq!(repeats.kinds.lock().len(), MAX_KINDS + 1);
        let told = repeats.take(|began| now + PERIOD - began >= PERIOD);
        assert_eq!(told.iter().map(|of| of.count).sum::<u64>(), 5000 - written as u64);
        assert!(repeats.allows(line(1), now + PERIOD, String::new), "a new minute");
    }

    /// A peer goes down and comes up so many times.
    fn flap(times: u32) {
        for _ in 0..times {
            tracing::warn!(host = "a", state = "down", error = "reset", "peer is down");
            tracing::info!(host = "a", state = "up", "peer is up");
        }
    }

    #[test]
    fn a_change_of_state_is_written_though_the_same_was_said_before() {
        let lines = logged(|repeats| {
            flap(20);
            repeats.tell_all();
        });
        assert_eq!(lines.len(), 40, "{lines:#?}");
        let told = lines.iter().map(|line| line.contains("peer is up")).collect::<Vec<_>>();
        assert_eq!(told, [false, true].repeat(20), "in the order in which it happened");
    }

    #[test]
    fn of_very_many_changes_the_last_is_told_before_any_newer() {
        let lines = logged(|repeats| {
            flap(CHANGES);
            tracing::warn!(host = "b", state = "dead", "peer is dead");
            tracing::warn!(host = "a", state = "dead", phi = 8.0, "peer is dead");
            repeats.tell_all();
            flap(1);
        });
        assert_eq!(lines.len() as u32, CHANGES + 4, "{lines:#?}");
        let [.., other, last, down, up] = &lines[..] else { panic!("{lines:#?}") };
        assert_eq!(other, "peer is dead host=\"b\" state=\"dead\"", "one peer takes no room from another");
        let left_out = CHANGES + 1;
        assert_eq!(
            *last,
            format!(
                "changed {left_out} times more within 60 s, at last: peer is dead host=\"a\" state=\"dead\" phi=8.0"
            )
        );
        assert!(down.starts_with("peer is down") && up.starts_with("peer is up"));
    }
}
