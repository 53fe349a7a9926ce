//! A TCP stream that knows what its connection waits for, and gives up in time.

use std::{
    future::Future,
    io::{self, IoSlice, Write},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{Refusal, Settings, targets::Targets};

/// Where a connection is in its life; the diagram is on the cover page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// A head is expected or arriving.
    Head,
    /// The service has the request, or hyper the reply.
    Busy,
    /// Hyper has encoded the whole reply; its last bytes may wait in a buffer.
    Done,
}

/// How long a connection rests after its first refusal in a row, and how often that is doubled at most.
const FIRST_REST: Duration = Duration::from_millis(10);
const MOST_DOUBLINGS: u32 = 6;

/// What the stream and the service of a connection tell each other.
#[derive(Debug)]
pub(super) struct Activity {
    /// The phase, and when it began.
    phase: Mutex<(Phase, Instant)>,
    insistence: Mutex<Insistence>,
    /// Requests that have reached the service.
    requests: AtomicU64,
    /// The first request that reaches it with half a target.
    first_cut: OnceLock<u64>,
}

/// How often the requests of a connection were refused for overload.
#[derive(Debug, Default)]
struct Insistence {
    /// Refusals more than successes.
    refusals: u32,
    /// Whether the last reply was one.
    is_refused: bool,
}

impl Insistence {
    fn note(&mut self, is_refused: bool) {
        self.is_refused = is_refused;
        self.refusals = match is_refused {
            true => (self.refusals + 1).min(MOST_DOUBLINGS + 1),
            false => self.refusals.saturating_sub(1),
        };
    }

    /// How long its next request may wait to be read.
    fn rest(&self) -> Option<Duration> {
        let doublings = self.refusals.checked_sub(1).filter(|_| self.is_refused)?;
        Some(FIRST_REST * 2_u32.pow(doublings))
    }
}

impl Activity {
    /// Of a new connection.
    pub(super) fn new() -> Self {
        Self {
            phase: Mutex::new((Phase::Head, Instant::now())),
            insistence: Mutex::default(),
            requests: AtomicU64::new(0),
            first_cut: OnceLock::new(),
        }
    }

    /// A request has reached the service. Says whether its target is whole.
    pub(super) fn begin(&self) -> bool {
        self.enter(Phase::Busy);
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        self.first_cut.get().is_none_or(|first| number < *first)
    }

    /// The service has replied; whether it refuses for overload.
    pub(super) fn replied(&self, is_refused: bool) {
        self.insistence.lock().note(is_refused);
    }

    /// Until when nothing is read, if the connection rests.
    fn rests_until(&self) -> Option<Instant> {
        let (phase, since) = *self.phase.lock();
        let rest = self.insistence.lock().rest().filter(|_| phase == Phase::Idle)?;
        Some(since + rest).filter(|until| Instant::now() < *until)
    }

    /// Hyper has all of the reply.
    pub(super) fn handed_over(&self) {
        self.enter(Phase::Done);
    }

    /// Whether the connection can be closed without breaking a request or a reply.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Head)
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock() = (phase, Instant::now());
    }

    fn phase(&self) -> Phase {
        self.phase.lock().0
    }
}

/// A timer that is moved later only when it fires: most waits end long before, and a timer that is not touched
/// costs nothing.
#[derive(Debug, Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn poll_at(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

/// The stream under a hyper connection.
#[derive(Debug)]
pub(super) struct GuardedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_stall_timeout: Duration,
    linger_timeout: Duration,
    read_alarm: Alarm,
    write_alarm: Alarm,
    /// Since when a write waits.
    stalled_since: Option<Instant>,
    /// Whether a byte ever arrived.
    heard: bool,
    /// Whether nothing further will arrive or can be said: end of input, an error, a wait given up.
    over: bool,
    refusal: Option<Refusal>,
    targets: Targets,
}

impl GuardedStream {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>, settings: &Settings) -> Self {
        Self {
            stream,
            activity,
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            write_stall_timeout: settings.write_stall_timeout,
            linger_timeout: settings.linger_timeout,
            read_alarm: Alarm::default(),
            write_alarm: Alarm::default(),
            stalled_since: None,
            heard: false,
            over: false,
            refusal: None,
            targets: Targets::new(),
        }
    }

    /// What is left to be said to the client after hyper is through.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Writes a last reply if there is one, and closes so that what was written arrives.
    pub(super) async fn say_and_close(&mut self, reply: Option<Response<Bytes>>) {
        if let Some(reply) = reply {
            let reply = head_and_body(&reply);
            match timeout(self.write_stall_timeout, self.stream.write_all(&reply)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        } else if self.over {
            return;
        }
        // Errors here mean that the client is gone: there is nothing left to lose.
        let _ = self.stream.shutdown().await;
        let mut discarded = [0; 4096];
        let drained = async { while matches!(self.stream.read(&mut discarded).await, Ok(1..)) {} };
        let _ = timeout(self.linger_timeout, drained).await;
    }

    /// When the wait for input ends, if it is this stream's to end.
    fn read_deadline(&self) -> Option<Instant> {
        let (phase, since) = *self.activity.phase.lock();
        match phase {
            Phase::Idle => Some(since + self.idle_timeout),
            Phase::Head => Some(since + self.header_timeout),
            Phase::Busy | Phase::Done => None,
        }
    }

    fn give_up_reading(&mut self) -> io::Error {
        self.over = true;
        if self.heard && self.activity.phase() == Phase::Head {
            self.refusal = Some(Refusal::SlowHead);
        }
        io::ErrorKind::TimedOut.into()
    }

    /// Takes note of hyper's own answer instead of sending it: see the cover page.
    fn swallow(&mut self, answer: &[u8]) -> bool {
        if !self.activity.is_between_requests() {
            return false;
        }
        // "HTTP/1.1 400 Bad Request": the status is at bytes 9 to 11. Later writes are the rest of the same answer.
        if self.refusal.is_none() {
            let status = answer.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
            self.refusal = Some(Refusal::Malformed(status.unwrap_or(StatusCode::BAD_REQUEST)));
        }
        true
    }

    /// Bounds the time a write waits, and remembers when the connection is over.
    fn watch_write<T>(
        &mut self,
        progress: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match progress {
            Poll::Ready(result) => {
                self.stalled_since = None;
                self.over |= result.is_err();
                Poll::Ready(result)
            }
            Poll::Pending => {
                let since = *self.stalled_since.get_or_insert_with(Instant::now);
                ready!(self.write_alarm.poll_at(since + self.write_stall_timeout, context));
                self.over = true;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(until) = this.activity.rests_until() {
            ready!(this.read_alarm.poll_at(until, context));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if result.is_err() || buffer.filled().len() == before {
                    this.over = true;
                } else {
                    this.heard = true;
                    this.targets.pass(&buffer.filled()[before..]);
                    if let Some(number) = this.targets.first_cut() {
                        this.activity.first_cut.get_or_init(|| number);
                    }
                    if this.activity.phase() == Phase::Idle {
                        this.activity.enter(Phase::Head);
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending => match this.read_deadline() {
                None => Poll::Pending,
                Some(deadline) => {
                    ready!(this.read_alarm.poll_at(deadline, context));
                    Poll::Ready(Err(this.give_up_reading()))
                }
            },
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.swallow(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(progress, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if first.is_some_and(|first| self.swallow(first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let progress = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch_write(progress, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(context);
        let flushed = ready!(self.watch_write(progress, context));
        // Hyper flushes the stream only after its own buffer is empty.
        if self.activity.phase() == Phase::Done {
            self.activity.enter(Phase::Idle);
            // Hyper does not read again before something wakes it: the alarm must be set here.
            if let Some(deadline) = self.read_deadline() {
                let _ = self.read_alarm.poll_at(deadline, context);
            }
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_some() {
            // There is something left to say.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A last reply as bytes, with the headers that make it one.
fn head_and_body(reply: &Response<Bytes>) -> Vec<u8> {
    let status = reply.status();
    let mut bytes = Vec::with_capacity(512 + reply.body().len());
    let _ = write!(bytes, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""));
    for (name, value) in reply.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    // Hyper gives its own replies a date.
    let date = httpdate::HttpDate::from(SystemTime::now());
    let length = reply.body().len();
    let _ = write!(bytes, "date: {date}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    bytes.extend_from_slice(reply.body());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_rests_longer_the_more_it_insists_and_not_at_all_once_it_is_served() {
        let mut insistence = Insistence::default();
        let mut rests_ms = |is_refused| {
            insistence.note(is_refused);
            insistence.rest().map(|rest| rest.as_millis())
        };
        assert_eq!(rests_ms(false), None);
        let refused: Vec<_> = (0..9).filter_map(|_| rests_ms(true)).collect();
        assert_eq!(refused, [10, 20, 40, 80, 160, 320, 640, 640, 640]);
        assert_eq!(rests_ms(false), None);
        assert_eq!(rests_ms(false), None);
        assert_eq!(rests_ms(true), Some(320), "half of its requests are refused: it stays where it is");
    }
}
