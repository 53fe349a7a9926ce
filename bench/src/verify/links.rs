//! A small TCP proxy on each directed link between nodes, so that links can be cut and slowed.
//!
//! ```text
//! node a ── connects ──▶ proxy (a → b) ── connects ──▶ node b
//!             said by the asker ──▶   ◀── said by the answerer
//! ```
//!
//! A link carries the questions of a to b and the answers of b to a, so "b does not hear a" holds back one direction on
//! both proxies of the pair. Bytes are held back, never dropped: a network that lost them would have them sent again, and
//! messages that arrive long after everyone gave up on them are the ones that find bugs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context;
use helenus_bench::history::{Fault, Silence};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::Instant,
};

/// Chunks of one direction of one connection that wait to be delivered; beyond them the sender is not read from.
const QUEUE: usize = 64;
const CHUNK_BYTES: usize = 16 << 10;

/// One direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    After(Duration),
    Held,
}

/// A directed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    broken: bool,
    from_asker: Flow,
    from_answerer: Flow,
}

const HEALTHY: Condition = Condition {
    broken: false,
    from_asker: Flow::After(Duration::ZERO),
    from_answerer: Flow::After(Duration::ZERO),
};

/// The proxies of all links.
pub(super) struct Links {
    links: BTreeMap<(u32, u32), Link>,
}

struct Link {
    condition: watch::Sender<Condition>,
    connections: Arc<AtomicU64>,
}

impl Links {
    /// No links yet.
    pub(super) fn new() -> Self {
        Self { links: BTreeMap::new() }
    }

    /// Opens the proxy of the link on which `asker` asks `answerer`. It runs on the runtime of the caller until that ends.
    pub(super) async fn open(
        &mut self,
        asker: u32,
        answerer: u32,
        listen: SocketAddr,
        target: SocketAddr,
    ) -> anyhow::Result<()> {
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let (condition, watched) = watch::channel(HEALTHY);
        let connections = Arc::new(AtomicU64::new(0));
        tokio::spawn(accept(listener, target, watched, Arc::clone(&connections)));
        self.links.insert((asker, answerer), Link { condition, connections });
        Ok(())
    }

    /// The links (asker, answerer) that no connection was ever made on.
    pub(super) fn unused(&self) -> Vec<(u32, u32)> {
        let unused = |link: &Link| link.connections.load(Ordering::Relaxed) == 0;
        self.links.iter().filter(|(_, link)| unused(link)).map(|(&pair, _)| pair).collect()
    }

    /// Does a fault of a link; others are none of its business.
    pub(super) fn begin(&self, fault: &Fault) {
        match *fault {
            Fault::Cut { a, b, silence: Silence::Broken } => {
                self.set_pair(a, b, |condition, _| condition.broken = true);
            }
            Fault::Cut { a, b, silence: Silence::Held } => self.set_pair(a, b, |condition, _| {
                condition.from_asker = Flow::Held;
                condition.from_answerer = Flow::Held;
            }),
            Fault::CutOneWay { from, to } => self.set_pair(from, to, |condition, asker| {
                let direction =
                    if asker == from { &mut condition.from_asker } else { &mut condition.from_answerer };
                *direction = Flow::Held;
            }),
            Fault::Slow { a, b, delay_ms } => self.set_pair(a, b, |condition, _| {
                let delay = Flow::After(Duration::from_millis(u64::from(delay_ms)));
                condition.from_asker = delay;
                condition.from_answerer = delay;
            }),
            _ => {}
        }
    }

    /// Undoes a fault of a link.
    pub(super) fn end(&self, fault: &Fault) {
        if let Fault::Cut { a, b, .. } | Fault::CutOneWay { from: a, to: b } | Fault::Slow { a, b, .. } =
            *fault
        {
            self.set_pair(a, b, |condition, _| *condition = HEALTHY);
        }
    }

    fn set_pair(&self, a: u32, b: u32, mut set: impl FnMut(&mut Condition, u32)) {
        for (asker, answerer) in [(a, b), (b, a)] {
            if let Some(link) = self.links.get(&(asker, answerer)) {
                link.condition.send_modify(|condition| set(condition, asker));
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    condition: watch::Receiver<Condition>,
    connections: Arc<AtomicU64>,
) {
    loop {
        // An accept fails when file descriptors run out, or for a connection that is gone already: try again.
        let Ok((asker, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        connections.fetch_add(1, Ordering::Relaxed);
        if !condition.borrow().broken {
            tokio::spawn(carry(asker, target, condition.clone()));
        }
    }
}

/// One connection, until an end closes it or the link breaks.
async fn carry(asker: TcpStream, target: SocketAddr, mut condition: watch::Receiver<Condition>) {
    let until_broken = {
        let mut condition = condition.clone();
        async move {
            let _ = condition.wait_for(|condition| condition.broken).await;
        }
    };
    let both_directions = async {
        // A handshake crosses the link too: nobody is reached while nothing passes.
        let passes = |condition: &Condition| condition.from_asker != Flow::Held;
        if condition.wait_for(passes).await.is_err() {
            return;
        }
        let Ok(answerer) = TcpStream::connect(target).await else { return };
        let _ = (asker.set_nodelay(true), answerer.set_nodelay(true));
        let (asker_reads, asker_writes) = asker.into_split();
        let (answerer_reads, answerer_writes) = answerer.into_split();
        // Either end closing ends both: a half-open peer connection is of no use to the nodes.
        tokio::select! {
            () = pump(asker_reads, answerer_writes, condition.clone(), |condition| condition.from_asker) => {}
            () = pump(answerer_reads, asker_writes, condition, |condition| condition.from_answerer) => {}
        }
    };
    tokio::select! {
        () = until_broken => {}
        () = both_directions => {}
    }
}

async fn pump(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    condition: watch::Receiver<Condition>,
    flow: fn(&Condition) -> Flow,
) {
    let (queue, queued) = mpsc::channel(QUEUE);
    let reader = read(from, queue, condition.clone(), flow);
    let writer = write(to, queued, condition, flow);
    // The reader ends at the end of the stream; what it has read is still delivered.
    tokio::join!(reader, writer);
}

async fn read(
    mut from: OwnedReadHalf,
    queue: mpsc::Sender<(Instant, Vec<u8>)>,
    condition: watch::Receiver<Condition>,
    flow: fn(&Condition) -> Flow,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(count @ 1..) => count,
                Ok(0) | Err(_) => return,
            },
            () = queue.closed() => return,
        };
        let delay = match flow(&condition.borrow()) {
            Flow::After(delay) => delay,
            Flow::Held => Duration::ZERO,
        };
        if queue.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut condition: watch::Receiver<Condition>,
    flow: fn(&Condition) -> Flow,
) {
    while let Some((due, bytes)) = queued.recv().await {
        tokio::time::sleep_until(due).await;
        let passes = |condition: &Condition| flow(condition) != Flow::Held;
        if condition.wait_for(passes).await.is_err() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
    const A_WHILE: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// One link from n1 to n2, with a connection over it: the asker's end, the answerer's end.
    async fn linked() -> (Links, SocketAddr, TcpListener, TcpStream, TcpStream) {
        let answerer = TcpListener::bind(LOOPBACK).await.expect("a port");
        let free = TcpListener::bind(LOOPBACK).await.expect("a port");
        let listen = free.local_addr().expect("an address");
        drop(free);
        let mut links = Links::new();
        links.open(1, 2, listen, answerer.local_addr().expect("an address")).await.expect("a link");
        assert_eq!(links.unused(), [(1, 2)]);
        let asker_end = TcpStream::connect(listen).await.expect("a connection");
        let (answerer_end, _) = answerer.accept().await.expect("a connection");
        assert_eq!(links.unused(), []);
        (links, listen, answerer, asker_end, answerer_end)
    }

    async fn arrives(from: &mut TcpStream, to: &mut TcpStream, within: Duration) -> bool {
        from.write_all(b"x").await.expect("room in the socket");
        received(to, within).await
    }

    async fn received(to: &mut TcpStream, within: Duration) -> bool {
        let mut byte = [0];
        matches!(tokio::time::timeout(within, to.read_exact(&mut byte)).await, Ok(Ok(_)))
    }

    #[tokio::test]
    async fn a_one_way_cut_holds_one_direction_and_delivers_late() {
        let (links, _, _answerer, mut asker, mut answerer) = linked().await;
        assert!(arrives(&mut asker, &mut answerer, PATIENCE).await);
        assert!(arrives(&mut answerer, &mut asker, PATIENCE).await);

        let fault = Fault::CutOneWay { from: 1, to: 2 };
        links.begin(&fault);
        assert!(!arrives(&mut asker, &mut answerer, A_WHILE).await);
        assert!(arrives(&mut answerer, &mut asker, PATIENCE).await);

        links.end(&fault);
        assert!(received(&mut answerer, PATIENCE).await, "what was held arrives in the end");

        // The other way round it is the answers that are held.
        links.begin(&Fault::CutOneWay { from: 2, to: 1 });
        assert!(arrives(&mut asker, &mut answerer, PATIENCE).await);
        assert!(!arrives(&mut answerer, &mut asker, A_WHILE).await);
    }

    #[tokio::test]
    async fn a_silent_cut_holds_both_directions() {
        let (links, _, _answerer, mut asker, mut answerer) = linked().await;
        links.begin(&Fault::Cut { a: 2, b: 1, silence: Silence::Held });
        assert!(!arrives(&mut asker, &mut answerer, A_WHILE).await);
        assert!(!arrives(&mut answerer, &mut asker, A_WHILE).await);
    }

    #[tokio::test]
    async fn a_break_ends_connections_and_lets_none_be_made_until_it_ends() {
        let (links, listen, listener, mut asker, _answerer) = linked().await;
        let fault = Fault::Cut { a: 1, b: 2, silence: Silence::Broken };
        links.begin(&fault);
        let mut byte = [0];
        let end = tokio::time::timeout(PATIENCE, asker.read(&mut byte)).await.expect("an end");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

        let mut refused = TcpStream::connect(listen).await.expect("the proxy itself listens");
        let end = tokio::time::timeout(PATIENCE, refused.read(&mut byte)).await.expect("an end");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

        links.end(&fault);
        let mut asker = TcpStream::connect(listen).await.expect("a connection");
        let (mut answerer, _) = listener.accept().await.expect("a connection");
        assert!(arrives(&mut asker, &mut answerer, PATIENCE).await);
    }

    #[tokio::test]
    async fn a_slow_link_delays_each_direction() {
        let (links, _, _answerer, mut asker, mut answerer) = linked().await;
        links.begin(&Fault::Slow { a: 1, b: 2, delay_ms: 150 });
        let start = Instant::now();
        assert!(arrives(&mut asker, &mut answerer, PATIENCE).await);
        assert!(arrives(&mut answerer, &mut asker, PATIENCE).await);
        assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    }
}
