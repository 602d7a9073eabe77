//! How the reactor's data structures scale: the same work with 100, 10,000 and 1,000,000 slots.
//!
//! ```text
//! cargo bench --bench growth
//! ```
//!
//! Slots and the ready list are O(1), timers O(log n), all amortised. With 1,000,000 slots the
//! data no longer fits the caches, and each access costs one or two more cache misses. Amortised
//! figures hide the one call that grows the memory, so the longest single call is reported too,
//! and the longest turn of a loop that grows to 1,000,000 sources with a deadline each.

use criterion::{BenchmarkId, Criterion, criterion_group};
use helloop::protocol::buffer::Buffer;
use helloop::protocol::greeting;
use helloop::reactor;
use helloop::reactor::ready::{Queue, Readiness, Ready};
use helloop::reactor::slots::{Slots, Token};
use helloop::reactor::timers::{Time, Timers};
use helloop::reactor::{Births, Context, Reactor, Verdict};
use mio::Registry;
use nix::time::ClockId;
use std::hint::black_box;
use std::time::Duration;
use std::{io, mem};

const SLOT_COUNTS: [u32; 3] = [100, 10_000, 1_000_000];

/// As large as the server's sources.
type Source = [u64; 4];

/// The distance between two slots that are visited in a row: events are not in memory order
/// either. It has no common factor with any of [`SLOT_COUNTS`], so every slot is visited.
const STRIDE_SLOTS: u32 = 40_503;

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots: check a token, borrow its source");
    for size in SLOT_COUNTS {
        let mut slots = Slots::<Source>::default();
        for _ in 0..size {
            slots.vacant().1.insert(Source::default());
        }
        let mut key = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                key = (key + STRIDE_SLOTS) % size;
                let token = Token { key, generation: 0 };
                assert!(slots.is_current(black_box(token)));
                let (_, source, _) = slots.borrow(key).expect("every slot is occupied");
                source[0] += 1;
            });
        });
    }
}

fn ready(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ready list: mark a slot, pop one");
    for size in SLOT_COUNTS {
        let mut ready = Ready::default();
        for key in 0..size {
            ready.mark(key, Readiness::READABLE);
        }
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let key = ready.pop(Queue::Sparse).expect("one slot is always marked");
                ready.mark(black_box(key), Readiness::READABLE);
            });
        });
    }
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers: move a deadline, get the nearest");
    for size in SLOT_COUNTS {
        let mut timers = Timers::default();
        let mut now = Time::ZERO;
        for key in 0..size {
            timers.set(key, now.after(Duration::from_secs(60)));
        }
        let mut key = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                // An idle timeout: each message moves its client's deadline.
                key = (key + STRIDE_SLOTS) % size;
                now = now.after(Duration::from_micros(1));
                timers.set(key, now.after(Duration::from_secs(60)));
                black_box(timers.nearest())
            });
        });
    }
}

/// A source without a socket.
#[derive(Debug)]
enum Actor {
    /// Spawns clients until the shared count is 0.
    Listener,
    /// Moves its idle timeout at each event. As large as the server's peers.
    Client([u64; 3]),
}

/// As many as the server accepts per turn.
const SPAWNS_PER_TURN: u32 = 64;

const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl reactor::Source for Actor {
    /// Clients that are still to be spawned.
    type Shared = u32;

    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, u32>, births: &mut Births<Self>) -> Verdict {
        match self {
            Self::Listener => {
                for _ in 0..SPAWNS_PER_TURN.min(*cx.shared) {
                    births.push(Self::Client([0; 3]), Readiness::WRITABLE);
                    *cx.shared -= 1;
                }
            }
            Self::Client(words) => {
                words[0] += 1;
                cx.readiness.remove(Readiness::READABLE);
                cx.set_deadline(IDLE_TIMEOUT);
            }
        }
        match self {
            Self::Listener if *cx.shared > 0 => Verdict::Again,
            Self::Listener => Verdict::Close,
            Self::Client(_) => Verdict::Park,
        }
    }

    fn expire(&mut self, _: &mut Context<'_, u32>) -> Verdict {
        Verdict::Close
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut u32) {}
}

/// Grows a loop to `clients` in virtual time. Returns it with the CPU time of its longest turn.
fn grown(clients: u32) -> (Reactor<Actor>, Duration) {
    let mut reactor = Reactor::simulated().expect("a descriptor for the poll");
    let mut to_spawn = clients;
    let listener = reactor.add(Actor::Listener, Readiness::READABLE);
    listener.expect("nothing to register");
    let mut longest = Duration::ZERO;
    while reactor.poll_timeout(reactor.now()) == Some(Duration::ZERO) {
        let now = reactor.now().after(Duration::from_micros(1));
        longest = longest.max(timed(|| reactor.step(now, [], &mut to_spawn)));
    }
    assert_eq!(reactor.len(), clients as usize);
    (reactor, longest)
}

fn turns(criterion: &mut Criterion) {
    const EVENTS: u32 = 100;
    let mut group = criterion.benchmark_group("turn: 100 events, each moves a deadline");
    for size in SLOT_COUNTS {
        let (mut reactor, _) = grown(size);
        let mut key = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let now = reactor.now().after(Duration::from_micros(1));
                let marks = (0..EVENTS).map(|_| {
                    key = (key + STRIDE_SLOTS) % size;
                    // Slot 0 is the listener's.
                    let token = Token {
                        key: key + 1,
                        generation: 0,
                    };
                    (token, Readiness::READABLE)
                });
                reactor.step(now, marks, &mut 0);
                black_box(reactor.poll_timeout(now))
            });
        });
    }
}

fn lines(criterion: &mut Criterion) {
    let input = b"client 00042 a\n".repeat(64);
    let (mut partial, mut replies) = (Buffer::default(), Vec::new());
    criterion.bench_function("greeting: 64 lines of 14 bytes", |bencher| {
        bencher.iter(|| {
            replies.clear();
            greeting::answer_lines(&mut partial, black_box(&input), &mut replies)
        });
    });
}

/// Prints the longest single call of each data structure while it grows to 1,000,000 entries, and
/// the longest turn of a loop that does.
fn longest_calls() {
    const GOAL_TIME: Duration = Duration::from_millis(10);
    let (mut slots, mut ready, mut timers) = (
        Slots::<Source>::default(),
        Ready::default(),
        Timers::default(),
    );
    let (reactor, longest_turn) = grown(1_000_000);
    // Never freed, as in a server: see `main`.
    mem::forget(reactor);
    let mut longest = [Duration::ZERO; 3];
    let later = Time::ZERO.after(Duration::from_secs(60));
    for key in 0..1_000_000 {
        let times = [
            timed(|| {
                slots.vacant().1.insert(Source::default());
            }),
            timed(|| ready.mark(key, Readiness::READABLE)),
            timed(|| timers.set(key, later)),
        ];
        for (longest, time) in longest.iter_mut().zip(times) {
            *longest = time.max(*longest);
        }
    }
    let names = ["slots", "ready list", "timers", "whole turn"];
    let longest = longest.into_iter().chain([longest_turn]);
    for (name, time) in names.into_iter().zip(longest) {
        let verdict = if time <= GOAL_TIME { "met" } else { "MISSED" };
        println!(
            "longest call while growing to 1,000,000: {name} {time:?} (goal 10 ms): {verdict}"
        );
    }
}

/// CPU time of `work`, page faults included: other activity on the machine does not count.
fn timed(work: impl FnOnce()) -> Duration {
    let clock = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock"));
    let started = clock();
    work();
    clock() - started
}

criterion_group! {
    name = parts;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = slots, ready, timers, turns, lines
}

fn main() {
    // First, as in a server that has just started: once large blocks have been freed, glibc raises
    // its mmap threshold, and then grows a block by copying where it would have remapped it.
    longest_calls();
    parts();
    Criterion::default().configure_from_args().final_summary();
}
