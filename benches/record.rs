//! What the recorder costs the loop.
//!
//! The real reactor runs in virtual time with 1,000 sources that do almost nothing, so the loop
//! itself is measured: without a recorder; with one that is switched off; with one that feeds an
//! observer; and with one that records. Each round runs all four, so other activity on the
//! machine affects all of them, and the best round of each counts. Virtual time reads no clock, so
//! the clock reads of a recording are not counted.

use helloop::reactor::{
    Births, Context, Mark, Reactor, Readiness, Recorder, Source, Time, Token, Verdict,
};
use helloop::testing::observe::{Observable, State, WorkCounters};
use helloop::testing::observe::{RecorderMode, TurnRecorder};
use mio::Registry;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

const SOURCES: u32 = 1_000;
const TURNS: u32 = 200;
const ROUNDS: usize = 30;

#[derive(Debug)]
struct Counter(u64);

impl Source for Counter {
    type Shared = u64;

    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, u64>, _: &mut Births<Self>) -> Verdict {
        self.0 += 1;
        *cx.shared += 1;
        cx.readiness.remove(Readiness::READABLE);
        Verdict::Park
    }

    fn expire(&mut self, _: &mut Context<'_, u64>) -> Verdict {
        Verdict::Park
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut u64) {}
}

impl Observable for Counter {
    fn state(&self) -> State {
        State::Waiting
    }

    fn counters(shared: &u64) -> WorkCounters {
        WorkCounters {
            messages: *shared,
            ..WorkCounters::default()
        }
    }
}

/// Nanoseconds to mark and drive one source once.
fn measure<R: Recorder<Counter>>(reactor: &mut Reactor<Counter, R>, marks: &[Mark]) -> f64 {
    let mut shared = 0;
    let start = Instant::now();
    for turn in 0..TURNS {
        let now = Time::ZERO.after(Duration::from_micros(u64::from(turn)));
        reactor.step(now, black_box(marks).iter().copied(), &mut shared);
    }
    let calls = u64::from(TURNS) * u64::from(SOURCES);
    assert_eq!(black_box(shared), calls);
    start.elapsed().as_secs_f64() * 1e9 / calls as f64
}

fn fill<R: Recorder<Counter>>(reactor: &mut Reactor<Counter, R>) -> Vec<Mark> {
    let mut add = |_| reactor.add(Counter(0), Readiness::empty()).unwrap();
    let tokens: Vec<Token> = (0..SOURCES).map(&mut add).collect();
    let mark = |token| (token, Readiness::READABLE);
    tokens.into_iter().map(mark).collect()
}

fn main() {
    let mut unrecorded = Reactor::simulated().unwrap();
    let marks = fill(&mut unrecorded);
    let recorded = |mode| {
        let recorder = TurnRecorder::new(1_000, mode);
        let mut reactor = Reactor::simulated_recorded(recorder).unwrap();
        fill(&mut reactor);
        reactor
    };
    let modes = [
        RecorderMode::Off,
        RecorderMode::Watching,
        RecorderMode::Recording,
    ];
    let mut with_recorder = modes.map(recorded);
    let mut best = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(measure(&mut unrecorded, &marks));
        for (best, reactor) in best[1..].iter_mut().zip(&mut with_recorder) {
            *best = best.min(measure(reactor, &marks));
        }
    }
    let names = [
        "no recorder",
        "recorder, off",
        "recorder, observed",
        "recorder, recording",
    ];
    for (name, nanoseconds) in names.iter().zip(best) {
        println!("{name:<30} {nanoseconds:>7.1} ns per mark and call");
    }
}
