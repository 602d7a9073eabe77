//! Pitfalls between an event and the work: lost wakeups, stale events, unbounded turns, deadlines.
//!
//! **Owns** the runs of sections 1 to 5 and 12, and of the tutorial's sleep. **Must never touch** a
//! real socket. **Invariant**: the naive and the real server get the same input at the same time.

use crate::harness::{Harness, Program};
use crate::naive;
use crate::script::AcceptQueue;
use crate::script::{Errno, Remote, ScriptedStream};
use crate::text::Text;
use crate::{calls, is_open, send, send_and_finish, sent_to};
use helloop::reactor::{Readiness, Time};
use helloop::server::Settings;
use helloop::testing::observe::CallStats;
use std::cell::RefCell;
use std::io;
use std::time::Duration;

#[test]
fn p01_a_short_read_treated_as_drained() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let client = naive.client(naive::short_means_drained, ScriptedStream::unlimited());
    naive.run_until(10);
    send_and_finish(&client, b"Michael");
    naive.run_until(3_600_000);
    assert!(is_open(&client));
    text.naive(
        &naive,
        "An hour later the client is gone and its connection open. No event is left to come.",
    );

    let mut real = Harness::real(Settings::default());
    let client = real.client(ScriptedStream::unlimited());
    real.run_until(10);
    send_and_finish(&client, b"Michael");
    real.run_until(3_600_000);
    assert!(!is_open(&client));
    assert_eq!(sent_to(&client), "Welcome!Hello, Michael!");
    text.real(&real, "Read again, to the end: nothing is left open.");
    text.assert_shown_as("p01");
}

#[test]
fn p02_input_left_when_the_budget_is_spent() {
    let mut text = Text::default();
    let ten_names = [b'x'; 10 * 1_024];
    let mut naive = Harness::naive();
    let client = naive.client(naive::the_rest_next_time, ScriptedStream::unlimited());
    naive.run_until(10);
    send(&client, &ten_names);
    naive.run_until(3_600_000);
    assert_eq!(client.borrow().reads.len(), 4);
    assert_eq!(client.borrow().arrived.len(), 6 * 1_024);
    text.naive(
        &naive,
        "Six of the ten names lie in the socket, and are read when the client next says something.",
    );

    let mut real = Harness::real(Settings::default());
    let client = real.client(ScriptedStream::unlimited());
    real.run_until(10);
    send(&client, &ten_names);
    real.run_until(3_600_000);
    assert_eq!(client.borrow().reads.len(), 10);
    text.real(
        &real,
        "Four a turn, others in between, and all ten are read.",
    );
    text.assert_shown_as("p02");
}

/// What kqueue reports about the second direction of a closed socket, in an event of its own.
const HANGUP: Readiness = Readiness::CLOSED;

#[test]
fn p03_an_event_for_the_previous_owner_of_a_slot() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    naive.program.ignores_generations = true;
    let (listener, waiting) = naive.listener(naive::accept_all, naive::closed_means_gone);
    let first = naive.client(naive::closed_means_gone, ScriptedStream::unlimited());
    naive.run_until(10);
    let newcomer = naive.connect(&waiting);
    send_and_finish(&first, b"");
    let stale = first.borrow().token.unwrap();
    naive.turn(&[(listener, Readiness::READABLE), (stale, HANGUP)]);
    naive.run_until(10);
    assert!(!is_open(&newcomer));
    assert_eq!(sent_to(&newcomer), "");
    text.naive(
        &naive,
        "The newcomer is hung up on, before its welcome, by the last event of the one before.",
    );

    let mut real = Harness::real(Settings::default());
    let (listener, waiting) = real.listener();
    let first = real.client(ScriptedStream::unlimited());
    real.run_until(10);
    let newcomer = real.connect(&waiting);
    send_and_finish(&first, b"");
    let stale = first.borrow().token.unwrap();
    real.turn(&[(listener, Readiness::READABLE), (stale, HANGUP)]);
    real.turn(&[(stale, HANGUP)]);
    real.run_until(10);
    assert_eq!(sent_to(&newcomer), "Welcome!");
    assert!(is_open(&newcomer) && !is_open(&first));
    text.real(
        &real,
        "Events of one batch fall together, the slot stays taken until the turn's end, and what \
         comes\nlater still names an owner who is gone.",
    );
    text.assert_shown_as("p03");
}

/// Makes accept fail for want of a descriptor until the errors are cleared.
fn starve(waiting: &RefCell<AcceptQueue>) {
    let errors = &mut waiting.borrow_mut().errors;
    errors.extend((0..2_000).map(|_| io::Error::from(Errno::EMFILE)));
}

#[test]
fn p04_no_descriptor_left_for_accept() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let (listener, waiting) = naive.listener(naive::accept_all, naive::read_all);
    let first = naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.run_until(10);
    let second = naive.connect(&waiting);
    starve(&waiting);
    naive.turn(&[(listener, Readiness::READABLE)]);
    naive.run_until(250);
    waiting.borrow_mut().errors.clear();
    send_and_finish(&first, b"");
    naive.run_until(3_600_000);
    assert!(!is_open(&first));
    assert_eq!(sent_to(&second), "");
    text.naive(
        &naive,
        "There is room since #1 left, and the second client waits on, until a third one connects.",
    );
    text.line("The naive code that tries again:")
        .line(spin())
        .line("");

    let mut real = Harness::real(Settings::default());
    let (listener, waiting) = real.listener();
    let first = real.client(ScriptedStream::unlimited());
    real.run_until(10);
    let second = real.connect(&waiting);
    starve(&waiting);
    real.turn(&[(listener, Readiness::READABLE)]);
    real.run_until(250);
    waiting.borrow_mut().errors.clear();
    send_and_finish(&first, b"");
    real.run_until(300);
    assert_eq!(sent_to(&second), "Welcome!");
    text.real(
        &real,
        "Ten tries a second, and one as soon as somebody leaves.",
    );
    text.assert_shown_as("p04");
}

/// The outcome of retrying at once.
fn spin() -> String {
    let mut naive = Harness::naive();
    let (listener, waiting) = naive.listener(naive::accept_or_try_again, naive::read_all);
    naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.run_until(10);
    naive.connect(&waiting);
    starve(&waiting);
    naive.turn(&[(listener, Readiness::READABLE)]);
    let before = naive.program.reactor().stats().turns;
    for _ in 0..1_000 {
        assert_eq!(naive.poll_timeout(), Some(Duration::ZERO), "it spins");
        naive.turn(&[]);
    }
    let turns = naive.program.reactor().stats().turns - before;
    let last = calls(&naive).last().unwrap().0;
    let passed = last.since(Time::ZERO).as_millis();
    assert_eq!((turns, passed), (1_000, 10));
    format!("{turns} turns later it is still {passed} ms after the start: no wait waits.")
}

/// In one turn 5,000 connections wait to be accepted, one client floods, and Ada sends her name.
#[test]
fn p05_accepts_and_reads_without_a_budget() {
    const CONNECTS: usize = 5_000;
    let thousand_chunks = [b'x'; 1_024].repeat(1_000);
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let (listener, waiting) = naive.listener(naive::accept_all, naive::read_all);
    let flood = naive.client(naive::read_all, ScriptedStream::unlimited());
    let ada = naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.run_until(10);
    storm(&waiting, CONNECTS);
    naive.program.reactor_mut().wake(listener);
    send(&flood, &thousand_chunks);
    send(&ada, b"Ada");
    naive.turn(&[(listener, Readiness::READABLE)]);
    let without = work_before_ada(&naive);

    let mut real = Harness::real(Settings::default());
    let (listener, waiting) = real.listener();
    let flood = real.client(ScriptedStream::unlimited());
    let ada = real.client(ScriptedStream::unlimited());
    real.run_until(10);
    storm(&waiting, CONNECTS);
    real.program.reactor_mut().wake(listener);
    send(&flood, &thousand_chunks);
    send(&ada, b"Ada");
    real.turn(&[(listener, Readiness::READABLE)]);
    let with = work_before_ada(&real);
    assert_eq!(sent_to(&ada), "Welcome!Hello, Ada!");

    assert_eq!(without.accepted as usize, CONNECTS);
    assert!(without.reads >= 1_000 && without.writes >= 1_000);
    assert!(with.accepted <= 64 && with.reads <= 4 && with.writes <= 4);
    text.line("Before Ada is answered   accepts   reads   writes");
    for (server, stats) in [("the naive code", without), ("the code here", with)] {
        let CallStats {
            accepted,
            reads,
            writes,
            ..
        } = stats;
        text.line(format_args!(
            "{server:<22} {accepted:>9} {reads:>7} {writes:>8}"
        ));
    }
    text.assert_shown_as("p05");
}

fn storm(waiting: &RefCell<AcceptQueue>, connects: usize) {
    let streams = (0..connects).map(|_| ScriptedStream::unlimited().0);
    waiting.borrow_mut().streams.extend(streams);
}

/// The work done after both clients were welcomed and before Ada, who sends three bytes, is driven.
fn work_before_ada<P: Program>(harness: &Harness<P>) -> CallStats {
    let mut sum = CallStats::default();
    for (_, stats) in calls(harness).into_iter().skip(2) {
        if stats.bytes_in == 3 {
            return sum;
        }
        sum.accepted += stats.accepted;
        sum.reads += stats.reads;
        sum.writes += stats.writes;
    }
    panic!("Ada was not answered");
}

#[test]
fn p12_a_deadline_that_is_not_cancelled() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    naive.program.close_idle_clients();
    let (listener, waiting) = naive.listener(naive::accept_all, naive::read_all);
    let first = naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.run_until(4_000);
    send(&first, b"Michael");
    naive.run_until(6_000);
    assert!(!is_open(&first), "closed a second after it spoke");
    let second = naive.connect(&waiting);
    naive.turn(&[(listener, Readiness::READABLE)]);
    naive.run_until(8_000);
    send(&second, b"Tracy");
    naive.run_until(9_500);
    assert_eq!(sent_to(&second), "Welcome!Hello, Tracy!");
    assert!(
        !is_open(&second),
        "closed by a deadline of the first client"
    );
    text.naive(
        &naive,
        "The first is closed a second after it spoke, the second by a deadline of the first.",
    );

    let mut real = Harness::real(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let (listener, waiting) = real.listener();
    let first = real.client(ScriptedStream::unlimited());
    real.run_until(4_000);
    send(&first, b"Michael");
    real.run_until(6_000);
    let second = real.connect(&waiting);
    real.turn(&[(listener, Readiness::READABLE)]);
    real.run_until(8_000);
    send(&second, b"Tracy");
    real.run_until(9_500);
    assert!(first.borrow().shut && is_open(&second) && !second.borrow().shut);
    let clients = real.program.shared.stats.clients();
    assert_eq!(clients, 2, "the first client lingers");
    text.real(
        &real,
        "The first is ended five seconds after its last word; the second is not touched.",
    );
    text.assert_shown_as("p12");
}

/// A hundred clients send their names at once; each reply is delayed by a second.
#[test]
fn the_tutorials_sleep_in_the_loop() {
    const CLIENTS: usize = 100;
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let clients: Vec<Remote> = (0..CLIENTS)
        .map(|_| naive.client(naive::sleep_in_the_loop, ScriptedStream::unlimited()))
        .collect();
    naive.run_until(0);
    clients.iter().for_each(|client| send(client, b"Ada"));
    naive.settle();
    let without = naive.program.shared.answered_at.clone();

    let mut real = Harness::real(Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    });
    let clients: Vec<Remote> = (0..CLIENTS)
        .map(|_| real.client(ScriptedStream::unlimited()))
        .collect();
    real.run_until(0);
    clients.iter().for_each(|client| send(client, b"Ada"));
    real.run_until(2_000);
    let calls = calls(&real).into_iter();
    let with: Vec<Time> = calls
        .filter(|(_, stats)| stats.bytes_out == 11)
        .map(|(at, _)| at)
        .collect();

    text.line("A reply comes after   the first   the last of 100");
    let seconds = |time: &Time| time.since(Time::ZERO).as_secs();
    for (server, times) in [("the naive code", without), ("the code here", with)] {
        assert_eq!(times.len(), CLIENTS);
        let (first, last) = (seconds(&times[0]), seconds(&times[CLIENTS - 1]));
        let wanted = if server == "the code here" { 1 } else { 100 };
        assert_eq!((first, last), (1, wanted));
        text.line(format_args!("{server:<19} {first:>9} s {last:>15} s"));
    }
    text.assert_shown_as("sleep");
}
