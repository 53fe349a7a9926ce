//! Whoever applied a mutation learns its outcome exactly when it is known, however they wait.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use helenus_storage::{Engine, Error, Mutation, Outrun, Step, Ticket, Timestamp, disk::SimulatedDisk};

use crate::rig::{TABLE, flush, open, plain, queue, small};

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl CountingWaker {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll(ticket: &mut Ticket, waker: &Arc<CountingWaker>) -> Poll<Result<Vec<(usize, Outrun)>, Error>> {
    let waker = Waker::from(Arc::clone(waker));
    Pin::new(ticket).poll(&mut Context::from_waker(&waker))
}

fn engine() -> Engine {
    open(&SimulatedDisk::default(), small())
}

#[test]
fn a_ticket_wakes_its_task_once_and_stays_ready() {
    let engine = engine();
    let waker = Arc::<CountingWaker>::default();
    let mut ticket = queue(&engine, "a", plain(1, "v"));
    assert!(poll(&mut ticket, &waker).is_pending());
    assert!(poll(&mut ticket, &waker).is_pending());
    assert_eq!(waker.count(), 0);
    engine.step(Step::Commit).unwrap();
    assert_eq!(waker.count(), 1);
    assert!(matches!(poll(&mut ticket, &waker), Poll::Ready(Ok(_))));
    assert!(matches!(poll(&mut ticket, &waker), Poll::Ready(Ok(_))));
}

#[test]
fn a_ticket_that_moves_to_another_task_wakes_that_one() {
    let engine = engine();
    let (old, new) = (Arc::<CountingWaker>::default(), Arc::<CountingWaker>::default());
    let mut ticket = queue(&engine, "a", plain(1, "v"));
    assert!(poll(&mut ticket, &old).is_pending());
    assert!(poll(&mut ticket, &new).is_pending());
    engine.step(Step::Commit).unwrap();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn tickets_of_one_group_wake_their_own_tasks() {
    let engine = engine();
    let wakers: Vec<_> = (0..5).map(|_| Arc::<CountingWaker>::default()).collect();
    let mut tickets: Vec<_> = (0..5).map(|n| queue(&engine, "a", plain(n, "v"))).collect();
    // Polled in any order, and one never.
    for index in [3, 0, 4, 1] {
        assert!(poll(&mut tickets[index], &wakers[index]).is_pending());
    }
    drop(tickets.remove(4));
    engine.step(Step::Commit).unwrap();
    assert_eq!(wakers[..4].iter().map(|waker| waker.count()).collect::<Vec<_>>(), [1, 1, 0, 1]);
    for mut ticket in tickets {
        assert!(poll(&mut ticket, &wakers[0]).is_ready());
    }
}

/// Applies batches as one group; what the tickets answer.
fn outrun(engine: &Engine, batches: &[Vec<Mutation>]) -> Vec<Vec<(usize, Outrun)>> {
    let queue_all = |batch: &Vec<Mutation>| {
        let mutations = batch.iter().map(|mutation| (TABLE, mutation.clone()));
        engine.apply_batch(&mutations.collect::<Vec<_>>()).unwrap()
    };
    let tickets: Vec<_> = batches.iter().map(queue_all).collect();
    engine.step(Step::Commit).unwrap();
    let waker = Arc::<CountingWaker>::default();
    let answer = |mut ticket: Ticket| match poll(&mut ticket, &waker) {
        Poll::Ready(outrun) => outrun.unwrap(),
        Poll::Pending => panic!("it is committed"),
    };
    tickets.into_iter().map(answer).collect()
}

fn by(timestamp: u64) -> Outrun {
    Outrun::By(Timestamp(timestamp))
}

#[test]
fn a_ticket_says_which_mutations_were_outrun_and_by_what() {
    let engine = engine();
    let one = |key: &'static str, record| Mutation::single(key, record);
    let of_one = |batch: &[Mutation]| outrun(&engine, &[batch.to_vec()]).remove(0);
    assert_eq!(of_one(&[one("a", plain(5, "v")), one("b", plain(5, "v"))]), []);

    let older = vec![one("new", plain(1, "v")), one("a", plain(4, "v"))];
    let newer = [("b", plain(6, "v")), ("a", plain(9, "v")), ("b", plain(5, "z")), ("a", plain(9, "v"))];
    let newer = newer.map(|(key, record)| one(key, record)).to_vec();
    assert_eq!(outrun(&engine, &[older, newer]), [vec![(1, by(5))], vec![(2, by(6))]], "none by itself");
    let equal = [one("a", plain(9, "u")), one("b", plain(6, "w"))];
    assert_eq!(of_one(&equal), [(0, by(9))], "with one timestamp values decide");

    let rows = |of_c, of_d| Mutation {
        rows: vec![("c".into(), plain(of_c, "v")), ("d".into(), plain(of_d, "v"))],
        ..one("rows", plain(0, ""))
    };
    assert_eq!(of_one(&[rows(10, 20), rows(9, 30), rows(11, 25)]), [(1, by(10)), (2, by(30))]);
}

#[test]
fn what_is_not_in_the_active_memtable_is_not_searched() {
    for is_flushed in [true, false] {
        let engine = engine();
        let one = |key: &'static str, record| Mutation::single(key, record);
        let of_one = |batch: &[Mutation]| outrun(&engine, &[batch.to_vec()]).remove(0);
        assert_eq!(of_one(&[one("a", plain(9, "v"))]), []);
        if is_flushed {
            flush(&engine);
        } else {
            engine.switch_memtables().unwrap();
        }

        // A timestamp that is not above all that is there tells nothing.
        let batch = [
            one("c", plain(9, "v")),
            one("a", plain(10, "v")),
            one("b", plain(8, "v")),
            one("a", plain(8, "v")),
        ];
        let perhaps = Outrun::Perhaps;
        assert_eq!(of_one(&batch), [(0, perhaps), (2, perhaps), (3, by(10))], "{is_flushed}");
    }
}

#[test]
fn a_dropped_ticket_does_not_undo_its_apply() {
    let engine = engine();
    drop(queue(&engine, "a", plain(1, "v")));
    engine.step(Step::Commit).unwrap();
    assert_eq!(crate::rig::read(&engine, "a"), Some(plain(1, "v")));
}

#[test]
fn dropping_the_engine_tells_those_who_wait() {
    let engine = engine();
    let waker = Arc::<CountingWaker>::default();
    let mut polled = queue(&engine, "a", plain(1, "v"));
    assert!(poll(&mut polled, &waker).is_pending());
    let blocked = queue(&engine, "b", plain(1, "v"));
    let thread = std::thread::spawn(move || blocked.wait());
    drop(engine);
    assert!(matches!(thread.join().unwrap(), Err(Error::Closed)));
    assert_eq!(waker.count(), 1);
    assert!(matches!(poll(&mut polled, &waker), Poll::Ready(Err(Error::Closed))));
}

#[test]
fn the_listener_is_told_of_work_once_until_it_is_taken_up() {
    let engine = engine();
    drop(queue(&engine, "early", plain(1, "v")));
    let told = Arc::new(AtomicUsize::new(0));
    let listener = Arc::clone(&told);
    engine.set_work_listener(Arc::new(move |step| {
        if step == Step::Commit {
            listener.fetch_add(1, Ordering::Relaxed);
        }
    }));
    assert_eq!(told.load(Ordering::Relaxed), 1, "of what waits already");
    for n in 0..10 {
        drop(queue(&engine, "a", plain(n, "v")));
    }
    assert_eq!(told.load(Ordering::Relaxed), 1);
    engine.step(Step::Commit).unwrap();
    drop(queue(&engine, "a", plain(99, "v")));
    assert_eq!(told.load(Ordering::Relaxed), 2);
}
