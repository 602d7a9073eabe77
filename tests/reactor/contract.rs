//! The contract between the loop and its sources: verdicts, waking, births, and what a program may
//! do between turns.

use crate::Call::{Driven, Expired, Unregistered};
use crate::{Log, Loop, SECOND, TestSource, hold, park};
use helloop::reactor::{Context, Readiness, Token, Verdict};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;

/// Adds a source that wakes `target` whenever it is driven.
fn add_waker(test: &mut Loop, target: Token) -> Token {
    test.add(move |cx| {
        cx.wake(target);
        park(cx)
    })
}

#[test]
#[cfg_attr(debug_assertions, should_panic = "parks although it may be readable")]
fn parking_with_input_left_panics_in_debug_builds() {
    let mut test = Loop::new();
    test.add_ready(|_| Verdict::Park, READABLE | WRITABLE);
    test.turn(&[]);
}

#[test]
fn a_held_source_is_driven_only_by_an_event_that_sets_another_bit() {
    let mut test = Loop::new();
    let held = test.add_ready(hold, READABLE);
    assert_eq!(test.turn(&[]), [(Driven, held)]);
    assert_eq!(test.turn(&[(held, READABLE)]), []);
    assert_eq!(test.poll_timeout(), None, "the loop must not spin");
    assert_eq!(test.turn(&[(held, WRITABLE)]), [(Driven, held)]);
    assert_eq!(test.turn(&[(held, READABLE | WRITABLE)]), []);
    let closed = Readiness::CLOSED;
    assert_eq!(test.turn(&[(held, READABLE | closed)]), [(Driven, held)]);
}

#[test]
fn a_held_source_is_called_by_its_deadline() {
    let mut test = Loop::new();
    let held = test.add_ready(
        |cx| {
            cx.set_deadline(SECOND);
            Verdict::Hold
        },
        READABLE,
    );
    test.turn(&[]);
    assert_eq!(test.turn(&[(held, READABLE)]), []);
    assert_eq!(test.poll_timeout(), Some(SECOND));
    test.now = test.now.after(SECOND);
    assert_eq!(test.turn(&[]), [(Expired, held)]);
}

#[test]
fn a_held_source_is_driven_when_it_is_woken() {
    let mut test = Loop::new();
    let held = test.add_ready(hold, READABLE);
    let waker = add_waker(&mut test, held);
    assert_eq!(test.turn(&[]), [(Driven, held)]);
    test.reactor.wake(held);
    assert_eq!(test.turn(&[]), [(Driven, held)]);
    assert_eq!(test.turn(&[(waker, READABLE)]), [(Driven, waker)]);
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(test.turn(&[]), [(Driven, held)]);
    assert_eq!(test.turn(&[]), []);
}

#[test]
fn waking_drives_a_source_without_readiness_once() {
    let mut test = Loop::new();
    let woken = test.add(park);
    assert_eq!(test.turn(&[]), []);
    test.reactor.wake(woken);
    test.reactor.wake(woken);
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(test.turn(&[]), [(Driven, woken)]);
    assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
    let waker = add_waker(&mut test, woken);
    assert_eq!(test.turn(&[(waker, READABLE)]), [(Driven, waker)]);
    assert_eq!(test.turn(&[]), [(Driven, woken)]);
    assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
}

#[test]
fn a_stale_token_wakes_no_source_even_if_its_slot_has_a_new_owner() {
    let mut test = Loop::new();
    let stale = test.add(|_| Verdict::Close);
    let waker = add_waker(&mut test, stale);
    // The first source closes in the turn in which the second one wakes it.
    let both = [(stale, READABLE), (waker, READABLE)];
    assert_eq!(test.turn(&both), [(Driven, stale), (Driven, waker)]);
    assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
    for owns_slot in [false, true] {
        if owns_slot {
            let owner = test.add(park);
            assert_eq!(owner.key, stale.key);
            assert_ne!(owner, stale);
        }
        test.reactor.wake(stale);
        assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
        assert_eq!(test.turn(&[(waker, READABLE)]), [(Driven, waker)]);
        assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
    }
}

#[test]
fn again_drives_in_the_next_turn_without_readiness() {
    let mut test = Loop::new();
    let mut verdicts = [Verdict::Again, Verdict::Again, Verdict::Park].into_iter();
    let source = test.add_ready(
        move |cx| {
            *cx.readiness = Readiness::empty();
            verdicts.next().unwrap()
        },
        READABLE,
    );
    for _ in 0..3 {
        assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
        assert_eq!(test.turn(&[]), [(Driven, source)]);
    }
    assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
}

#[test]
fn sources_that_wake_each_other_are_driven_once_per_turn() {
    let mut test = Loop::new();
    let other = Rc::new(Cell::new(None));
    let target = other.clone();
    let first = test.add_ready(
        move |cx| {
            cx.wake(target.get().unwrap());
            park(cx)
        },
        READABLE,
    );
    let second = add_waker(&mut test, first);
    other.set(Some(second));
    for _ in 0..3 {
        assert_eq!(test.turn(&[]), [(Driven, first)]);
        assert_eq!(test.turn(&[]), [(Driven, second)]);
    }
    // A wake of a source that is still to be driven in this turn is served by that drive.
    let due = [first, second].map(|token| (Driven, token));
    assert_eq!(test.turn(&[(second, READABLE)]), due);
    assert_eq!(test.turn(&[]), [(Driven, first)]);
}

#[test]
fn a_source_that_wakes_itself_is_driven_once_per_turn() {
    let mut test = Loop::new();
    let source = test.add_ready(
        |cx| {
            cx.wake(cx.token);
            park(cx)
        },
        READABLE,
    );
    for _ in 0..3 {
        assert_eq!(test.turn(&[]), [(Driven, source)]);
        assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    }
}

/// A source that sends what is queued for it when it is driven.
fn sender(
    queue: &Rc<Cell<u32>>,
    sent: &Rc<Cell<u32>>,
) -> impl FnMut(&mut Context<'_, Log>) -> Verdict + use<> {
    let (queue, sent) = (queue.clone(), sent.clone());
    move |_| {
        sent.set(sent.get() + queue.take());
        Verdict::Park
    }
}

#[test]
fn work_queued_between_turns_is_done_in_the_next_turn_after_again() {
    let mut test = Loop::new();
    let (queue, sent) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let tokens = [(); 3].map(|()| test.add(sender(&queue, &sent)));
    let Loop { reactor, log, .. } = &mut test;
    reactor.with_source(tokens[1], log, |_, _, _| {
        queue.set(1);
        Verdict::Again
    });
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(test.turn(&[]), [(Driven, tokens[1])]);
    assert_eq!((sent.get(), test.poll_timeout()), (1, None));

    let Loop { reactor, log, .. } = &mut test;
    reactor.for_each(log, |_, cx| {
        queue.set(queue.get() + 1);
        match cx.token.key {
            1 => Verdict::Hold,
            _ => Verdict::Again,
        }
    });
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    let driven = [(Driven, tokens[0]), (Driven, tokens[2])];
    assert_eq!(test.turn(&[]), driven);
    assert_eq!((sent.get(), test.poll_timeout()), (4, None));
}

#[test]
fn for_each_calls_every_source_and_close_frees_its_slot() {
    let mut test = Loop::new();
    for _ in 0..3 {
        test.add(park);
    }
    let mut called = Vec::new();
    let Loop { reactor, log, .. } = &mut test;
    reactor.for_each(log, |_, cx| {
        called.push(cx.token.key);
        match cx.token.key {
            1 => Verdict::Close,
            _ => Verdict::Hold,
        }
    });
    assert_eq!((called, reactor.len()), (vec![0, 1, 2], 2));
    let keys = reactor.sources().map(|(token, _)| token.key);
    assert_eq!(keys.collect::<Vec<_>>(), [0, 2]);
    let slots: Vec<_> = reactor
        .slots()
        .map(|(token, source)| (token.key, token.generation, source.is_some()))
        .collect();
    assert_eq!(slots, [(0, 0, true), (1, 1, false), (2, 0, true)]);
}

#[test]
fn births_are_registered_at_the_end_of_the_turn_and_driven_in_the_next() {
    let mut test = Loop::new();
    let parent = TestSource::with_births(|cx, births| {
        births.push(TestSource::new(park), READABLE);
        births.push(TestSource::new(park), Readiness::empty());
        park(cx)
    });
    let parent = test.reactor.add(parent, READABLE).unwrap();
    let last = test.add_ready(|_| Verdict::Close, READABLE);
    assert_eq!(test.turn(&[]), [(Driven, parent), (Driven, last)]);
    // The slot of the source that closed is free already: deaths come before births.
    let tokens: Vec<_> = test.reactor.sources().map(|(token, _)| token).collect();
    let [_, ready, idle] = tokens[..] else {
        panic!("{tokens:?}");
    };
    assert_eq!((ready.key, ready.generation, idle.key), (1, 1, 2));
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    assert_eq!(test.turn(&[]), [(Driven, ready)]);
    assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
}

#[test]
fn a_birth_that_cannot_be_registered_leaves_its_token_to_the_next() {
    let mut test = Loop::new();
    let parent = TestSource::with_births(|cx, births| {
        let mut refused = TestSource::new(park);
        refused.registers = false;
        births.push(refused, READABLE);
        park(cx)
    });
    let parent = test.reactor.add(parent, READABLE).unwrap();
    let calls = test.turn(&[]);
    let [(Driven, _), (Unregistered, token)] = calls[..] else {
        panic!("{calls:?}");
    };
    assert_ne!(token, parent);
    assert_eq!(test.reactor.len(), 1);
    assert_eq!((test.poll_timeout(), test.turn(&[])), (None, vec![]));
    assert_eq!(test.add_ready(park, READABLE), token);
    assert_eq!(test.turn(&[]), [(Driven, token)]);
}
