//! The two queues and the deadlines: no source starves, and none is called without reason.
//!
//! The property runs random loads against a model of what each source may expect. The model knows
//! neither queues nor budgets, only the law: a marked source is driven within as many turns as
//! there are sources that wait, or slots once some have changed hands, and a deadline fires within
//! three times as many turns as there are sources, never early, and not before a source that waits
//! has been driven.

use crate::Call::{Driven, Expired};
use crate::{Loop, SECOND, park};
use helloop::reactor::{Births, Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use mio::Registry;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::rc::Rc;
use std::time::Duration;

const READABLE: Readiness = Readiness::READABLE;

/// More than the share of any queue in a turn.
const MORE_THAN_A_SHARE_BYTES: usize = 300_000;

/// A client that others wake in every turn, as in a chat room, still has its idle timeout.
#[test]
fn a_source_that_is_woken_in_every_turn_expires_too() {
    let mut test = Loop::new();
    let mut is_first = true;
    let woken = test.add_ready(
        move |cx| {
            if std::mem::take(&mut is_first) {
                cx.set_deadline(SECOND);
            }
            park(cx)
        },
        READABLE,
    );
    test.add_ready(
        move |cx| {
            cx.wake(woken);
            Verdict::Again
        },
        READABLE,
    );
    let mut expired_in = None;
    for turn in 0..30 {
        if test.turn(&[]).contains(&(Expired, woken)) {
            assert_eq!(expired_in, None, "twice");
            expired_in = Some(turn);
        }
        test.now = test.now.after(SECOND / 10);
    }
    assert!(matches!(expired_in, Some(10..=11)), "{expired_in:?}");
}

/// A source whose deadline is due, but was beyond the share of deadlines, is called by the program
/// between turns. That is not a drive, and the deadline still waits for one.
#[test]
fn a_call_between_turns_lets_no_deadline_fire_before_the_drive() {
    const MAX_SOURCES: usize = 600;
    let mut test = Loop::new();
    for _ in 0..MAX_SOURCES {
        let source = |cx: &mut Context<'_, _>| {
            cx.set_deadline(SECOND);
            cx.charge(MORE_THAN_A_SHARE_BYTES);
            park(cx)
        };
        test.add_ready(source, READABLE);
    }
    for _ in 0..MAX_SOURCES {
        test.turn(&[]);
    }
    test.now = test.now.after(SECOND);
    let expired = test.turn(&[]);
    assert!(!expired.is_empty() && expired.len() < MAX_SOURCES);
    let Loop { reactor, log, .. } = &mut test;
    reactor.for_each(log, |_, _| Verdict::Again);
    test.now = test.now.after(SECOND / 10);
    let mut driven = 0;
    while driven < MAX_SOURCES {
        let calls = test.turn(&[]);
        assert!(calls.iter().all(|(call, _)| *call == Driven), "{calls:?}");
        driven += calls.len();
    }
}

/// The slot of a source that closed while it waited in a queue goes to a source that is not ready.
#[test]
fn a_new_owner_is_not_driven_in_place_of_the_last_one() {
    for is_bulk in [false, true] {
        let mut test = Loop::new();
        let last = test.add_ready(
            move |cx| {
                if is_bulk {
                    cx.charge(MORE_THAN_A_SHARE_BYTES);
                }
                Verdict::Again
            },
            READABLE,
        );
        assert_eq!(test.turn(&[]), [(Driven, last)]);
        let Loop { reactor, log, .. } = &mut test;
        reactor.with_source(last, log, |_, _, _| Verdict::Close);
        let owner = test.add_ready(park, Readiness::WRITABLE);
        assert_eq!(owner.key, last.key);
        assert_eq!(test.turn(&[]), [(Driven, owner)], "driven once");
        assert_eq!((test.turn(&[]), test.poll_timeout()), (vec![], None));
    }
}

/// A source that wakes itself and changes its queue in the same call waits in one of them.
#[test]
fn a_source_that_changes_its_queue_is_driven_once_per_turn() {
    let mut test = Loop::new();
    let number = Rc::new(Cell::new(0));
    let source = test.add_ready(
        move |cx| {
            number.set(number.get() + 1);
            if number.get() % 2 == 0 {
                cx.charge(MORE_THAN_A_SHARE_BYTES);
            }
            cx.wake(cx.token);
            Verdict::Again
        },
        READABLE,
    );
    for _ in 0..6 {
        assert_eq!(test.turn(&[]), [(Driven, source)]);
    }
}

/// What one call of a source does.
#[derive(Clone, Debug)]
struct Work {
    cost_bytes: usize,
    deadline: Option<u64>,
    wakes: Option<usize>,
    has_child: bool,
    verdict: Verdict,
}

fn work() -> impl Strategy<Value = Work> {
    let cost_bytes = prop_oneof![
        4 => Just(0usize),
        2 => Just(3_000),
        2 => Just(5_000),
        2 => Just(70_000),
        2 => Just(MORE_THAN_A_SHARE_BYTES),
    ];
    let verdict = prop_oneof![
        4 => Just(Verdict::Park),
        2 => Just(Verdict::Hold),
        6 => Just(Verdict::Again),
        1 => Just(Verdict::Close),
    ];
    (
        cost_bytes,
        prop::option::weighted(0.3, 0u64..30),
        prop::option::weighted(0.3, 0usize..64),
        prop::bool::weighted(0.1),
        verdict,
    )
        .prop_map(|(cost_bytes, deadline, wakes, has_child, verdict)| Work {
            cost_bytes,
            deadline,
            wakes,
            has_child,
            verdict,
        })
}

/// What the model knows about a source.
#[derive(Debug, Default)]
struct Expected {
    bits: Readiness,
    /// The last turn in which it must be driven, if it waits.
    drive_by: Option<u64>,
    last_driven: Option<u64>,
    deadline: Option<Time>,
    /// The first turn that began at or after its deadline.
    due_in: Option<u64>,
}

#[derive(Debug, Default)]
struct Model {
    turn: u64,
    now: Time,
    works: Vec<Work>,
    next_work: usize,
    sources: BTreeMap<Token, Expected>,
    most_sources: usize,
    has_deaths: bool,
}

impl Model {
    /// `token` waits from now on; the first turn that can drive it is `first`.
    fn waits(&mut self, token: Token, first: u64) {
        let waiting = self.sources.values();
        let waiting = waiting.filter(|source| source.drive_by.is_some()).count();
        // Entries of earlier owners are before it, which new owners may use.
        let before = if self.has_deaths {
            self.most_sources
        } else {
            waiting
        };
        if let Some(source) = self.sources.get_mut(&token) {
            source.drive_by.get_or_insert(first + before as u64);
        }
    }

    fn begin_turn(&mut self, marks: &[Mark]) {
        self.turn += 1;
        for (token, readiness) in marks {
            let source = self.sources.get_mut(token);
            if let Some(source) = source.filter(|source| !source.bits.contains(*readiness)) {
                source.bits |= *readiness;
                self.waits(*token, self.turn);
            }
        }
        let (turn, now) = (self.turn, self.now);
        for source in self.sources.values_mut() {
            if source.deadline.is_some_and(|deadline| deadline <= now) {
                source.due_in.get_or_insert(turn);
            }
        }
    }

    fn end_turn(&mut self, reactor: &Reactor<Worker>) {
        for (token, _) in reactor.sources() {
            if let Entry::Vacant(entry) = self.sources.entry(token) {
                entry.insert(Expected::default()).bits = READABLE;
                self.waits(token, self.turn + 1);
            }
        }
        self.most_sources = self.most_sources.max(self.sources.len());
        for (token, source) in &self.sources {
            let is_late = source.drive_by.is_some_and(|turn| turn < self.turn + 1);
            assert!(
                !is_late,
                "{token} starves in turn {}: {source:?}",
                self.turn
            );
            let limit = 3 * self.most_sources as u64;
            let is_late = source.due_in.is_some_and(|turn| turn + limit < self.turn);
            assert!(!is_late, "{token} does not expire: {source:?}");
        }
    }
}

struct Worker;

impl Worker {
    fn call(cx: &mut Context<'_, Model>, births: Option<&mut Births<Self>>) -> Verdict {
        let model = &mut *cx.shared;
        let work = model.works[model.next_work % model.works.len()].clone();
        model.next_work += 1;
        if let Some(births) = births.filter(|_| work.has_child && model.sources.len() < 24) {
            births.push(Self, READABLE);
        }
        let deadline = work.deadline.map(Duration::from_millis);
        if let Some(deadline) = deadline {
            let shortest = Duration::from_nanos(1);
            let source = model.sources.get_mut(&cx.token).unwrap();
            source.deadline = Some(cx.turn_start.after(deadline.max(shortest)));
            source.due_in = None;
        }
        let target = work.wakes.map(|number| number % model.sources.len());
        let target = target.map(|index| *model.sources.keys().nth(index).unwrap());
        if let Some(target) = target {
            model.waits(target, model.turn + 1);
        }
        if work.verdict != Verdict::Hold {
            *cx.readiness = Readiness::empty();
        }
        model.sources.get_mut(&cx.token).unwrap().bits = *cx.readiness;
        match work.verdict {
            Verdict::Again => model.waits(cx.token, model.turn + 1),
            Verdict::Close => {
                model.sources.remove(&cx.token);
                model.has_deaths = true;
            }
            Verdict::Park | Verdict::Hold => {}
        }
        if let Some(deadline) = deadline {
            cx.set_deadline(deadline);
        }
        if let Some(target) = target {
            cx.wake(target);
        }
        cx.charge(work.cost_bytes);
        work.verdict
    }
}

impl Source for Worker {
    type Shared = Model;

    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, Model>, births: &mut Births<Self>) -> Verdict {
        let turn = cx.shared.turn;
        let source = cx.shared.sources.get_mut(&cx.token).unwrap();
        assert!(source.drive_by.take().is_some(), "a spurious drive");
        let is_second = source.last_driven.replace(turn) == Some(turn);
        // An entry that an earlier owner of the slot has left may drive it earlier.
        assert!(
            !is_second || cx.token.generation > 0,
            "driven twice in a turn"
        );
        Self::call(cx, Some(births))
    }

    fn expire(&mut self, cx: &mut Context<'_, Model>) -> Verdict {
        let source = cx.shared.sources.get_mut(&cx.token).unwrap();
        let deadline = source.deadline.take().expect("it has a deadline");
        assert!(deadline <= cx.turn_start, "it fires early");
        let due_in = source.due_in.take().unwrap();
        assert!(
            source.drive_by.is_none() || source.last_driven >= Some(due_in),
            "it expires although it waits and was not driven"
        );
        Self::call(cx, None)
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Model) {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_source_starves_and_none_is_called_without_reason(
        works in prop::collection::vec(work(), 1..60),
        turns in prop::collection::vec(
            (0u64..20, prop::collection::vec((0usize..64, 1u8..8), 0..6)),
            1..120,
        ),
    ) {
        let mut reactor = Reactor::simulated().unwrap();
        let mut model = Model { works, ..Model::default() };
        let mut tokens = Vec::new();
        for _ in 0..12 {
            reactor.add(Worker, READABLE).unwrap();
        }
        model.end_turn(&reactor);
        for (pass_milliseconds, marks) in turns {
            tokens.extend(model.sources.keys().copied());
            // Tokens of sources that are gone included.
            let marks: Vec<Mark> = marks
                .into_iter()
                .map(|(number, bits)| (tokens[number % tokens.len()], Readiness::from_bits_truncate(bits)))
                .collect();
            model.now = model.now.after(Duration::from_millis(pass_milliseconds));
            model.begin_turn(&marks);
            let now = model.now;
            reactor.step(now, marks, &mut model);
            model.end_turn(&reactor);
            if model.sources.is_empty() {
                break;
            }
            let is_idle = model.sources.values().all(|source| source.drive_by.is_none());
            prop_assert!(is_idle || reactor.poll_timeout(now) == Some(Duration::ZERO));
        }
    }
}
