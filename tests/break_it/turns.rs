//! EventKind gets lost between an event and the work: whose turn it is, and whether it comes.

use crate::naive;
use crate::script::AcceptQueue;
use crate::script::{Remote, ScriptedStream};
use crate::stage::{Program, Stage};
use crate::text::Text;
use crate::{deeds, is_open, say, say_last, text_of};
use helloop::observe::describe::CallStats;
use helloop::reactor::{Readiness, Time};
use helloop::server::Settings;
use nix::errno::Errno;
use std::cell::RefCell;
use std::io;
use std::time::Duration;

#[test]
fn p01_a_short_read_taken_for_the_end() {
    let mut text = Text::default();
    let mut naive = Stage::naive();
    let client = naive.client(naive::short_means_drained, ScriptedStream::unlimited());
    naive.settle();
    naive.until(10);
    say_last(&client, b"Michael");
    naive.until(3_600_000);
    assert!(is_open(&client));
    text.naive(
        &naive,
        "An hour later the client is gone and its connection open. No event is left to come.",
    );

    let mut here = Stage::here(Settings::default());
    let client = here.client(ScriptedStream::unlimited());
    here.until(10);
    say_last(&client, b"Michael");
    here.until(3_600_000);
    assert!(!is_open(&client));
    assert_eq!(text_of(&client), "Welcome!Hello, Michael!");
    text.here(&here, "Read again, to the end: nothing is left open.");
    text.is_shown_as("p01");
}

#[test]
fn p02_the_rest_of_a_budget() {
    let mut text = Text::default();
    let ten_names = [b'x'; 10 * 1_024];
    let mut naive = Stage::naive();
    let client = naive.client(naive::the_rest_next_time, ScriptedStream::unlimited());
    naive.until(10);
    say(&client, &ten_names);
    naive.until(3_600_000);
    assert_eq!(client.borrow().reads.len(), 4);
    assert_eq!(client.borrow().arrived.len(), 6 * 1_024);
    text.naive(
        &naive,
        "Six of the ten names lie in the socket, and are read when the client next says something.",
    );

    let mut here = Stage::here(Settings::default());
    let client = here.client(ScriptedStream::unlimited());
    here.until(10);
    say(&client, &ten_names);
    here.until(3_600_000);
    assert_eq!(client.borrow().reads.len(), 10);
    text.here(
        &here,
        "Four a turn, others in between, and all ten are read.",
    );
    text.is_shown_as("p02");
}

/// EventKind kqueue says of the other direction of a socket, in an event of its own.
const HUNG_UP: Readiness = Readiness::CLOSED;

#[test]
fn p03_an_event_for_the_slots_last_owner() {
    let mut text = Text::default();
    let mut naive = Stage::naive();
    naive.program.names_slots_only = true;
    let (listener, waiting) = naive.listener(naive::accept_all, naive::closed_means_gone);
    let first = naive.client(naive::closed_means_gone, ScriptedStream::unlimited());
    naive.until(10);
    let newcomer = naive.connect(&waiting, usize::MAX / 2);
    say_last(&first, b"");
    let stale = first.borrow().token.unwrap();
    naive.turn(&[(listener, Readiness::READABLE), (stale, HUNG_UP)]);
    naive.until(10);
    assert!(!is_open(&newcomer));
    assert_eq!(text_of(&newcomer), "");
    text.naive(
        &naive,
        "The newcomer is hung up on, before its welcome, by the last event of the one before.",
    );

    let mut here = Stage::here(Settings::default());
    let (listener, waiting) = here.listener();
    let first = here.client(ScriptedStream::unlimited());
    here.until(10);
    let newcomer = here.connect(&waiting, usize::MAX / 2);
    say_last(&first, b"");
    let stale = first.borrow().token.unwrap();
    here.turn(&[(listener, Readiness::READABLE), (stale, HUNG_UP)]);
    here.turn(&[(stale, HUNG_UP)]);
    here.until(10);
    assert_eq!(text_of(&newcomer), "Welcome!");
    assert!(is_open(&newcomer) && !is_open(&first));
    text.here(
        &here,
        "Events of one batch fall together, the slot stays taken until the turn's end, and what \
         comes\nlater still names an owner who is gone.",
    );
    text.is_shown_as("p03");
}

/// As long as the one client stays, there is no descriptor for the next.
fn starve(waiting: &RefCell<AcceptQueue>) {
    let errors = &mut waiting.borrow_mut().errors;
    errors.extend((0..2_000).map(|_| io::Error::from(Errno::EMFILE)));
}

#[test]
fn p04_no_descriptor_to_accept_with() {
    let mut text = Text::default();
    let mut naive = Stage::naive();
    let (listener, waiting) = naive.listener(naive::accept_all, naive::read_all);
    let first = naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.until(10);
    let second = naive.connect(&waiting, usize::MAX / 2);
    starve(&waiting);
    naive.turn(&[(listener, Readiness::READABLE)]);
    naive.until(250);
    waiting.borrow_mut().errors.clear();
    say_last(&first, b"");
    naive.until(3_600_000);
    assert!(!is_open(&first));
    assert_eq!(text_of(&second), "");
    text.naive(
        &naive,
        "There is room since #1 left, and the second client waits on, until a third one connects.",
    );
    text.line("The naive code that tries again:")
        .line(spin())
        .line("");

    let mut here = Stage::here(Settings::default());
    let (listener, waiting) = here.listener();
    let first = here.client(ScriptedStream::unlimited());
    here.until(10);
    let second = here.connect(&waiting, usize::MAX / 2);
    starve(&waiting);
    here.turn(&[(listener, Readiness::READABLE)]);
    here.until(250);
    waiting.borrow_mut().errors.clear();
    say_last(&first, b"");
    here.until(300);
    assert_eq!(text_of(&second), "Welcome!");
    text.here(
        &here,
        "Ten tries a second, and one as soon as somebody leaves.",
    );
    text.is_shown_as("p04");
}

/// EventKind becomes of trying again at once.
fn spin() -> String {
    let mut naive = Stage::naive();
    let (listener, waiting) = naive.listener(naive::accept_or_try_again, naive::read_all);
    naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.until(10);
    naive.connect(&waiting, usize::MAX / 2);
    starve(&waiting);
    naive.turn(&[(listener, Readiness::READABLE)]);
    let before = naive.program.reactor().turns().turns;
    for _ in 0..1_000 {
        assert_eq!(naive.poll_timeout(), Some(Duration::ZERO), "it would wait");
        naive.turn(&[]);
    }
    let turns = naive.program.reactor().turns().turns - before;
    let last = deeds(&naive).last().unwrap().0;
    let passed = last.since(Time::ZERO).as_millis();
    assert_eq!((turns, passed), (1_000, 10));
    format!("{turns} turns later it is still {passed} ms after the start: no wait waits.")
}

/// Five thousand connect, one floods, and then Ada says her name.
#[test]
fn p05_accepts_and_reads_without_a_budget() {
    const CONNECTS: usize = 5_000;
    let flood_of_names = [b'x'; 1_024].repeat(1_000);
    let mut text = Text::default();
    let mut naive = Stage::naive();
    let (listener, waiting) = naive.listener(naive::accept_all, naive::read_all);
    let flood = naive.client(naive::read_all, ScriptedStream::unlimited());
    let ada = naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.until(10);
    storm(&waiting, CONNECTS);
    naive
        .program
        .reactor_mut()
        .wake(listener, Readiness::READABLE);
    say(&flood, &flood_of_names);
    say(&ada, b"Ada");
    naive.turn(&[]);
    let without = before_ada(&naive);

    let mut here = Stage::here(Settings::default());
    let (listener, waiting) = here.listener();
    let flood = here.client(ScriptedStream::unlimited());
    let ada = here.client(ScriptedStream::unlimited());
    here.until(10);
    storm(&waiting, CONNECTS);
    here.program
        .reactor_mut()
        .wake(listener, Readiness::READABLE);
    say(&flood, &flood_of_names);
    say(&ada, b"Ada");
    here.turn(&[]);
    let with = before_ada(&here);
    assert_eq!(text_of(&ada), "Welcome!Hello, Ada!");

    assert_eq!(without.accepted as usize, CONNECTS);
    assert!(without.reads >= 1_000 && without.writes >= 1_000);
    assert!(with.accepted <= 64 && with.reads <= 4 && with.writes <= 4);
    text.line("Before Ada is answered   accepts   reads   writes");
    for (who, did) in [("the naive code", without), ("the code here", with)] {
        let CallStats {
            accepted,
            reads,
            writes,
            ..
        } = did;
        text.line(format_args!(
            "{who:<22} {accepted:>9} {reads:>7} {writes:>8}"
        ));
    }
    text.is_shown_as("p05");
}

fn storm(waiting: &RefCell<AcceptQueue>, connects: usize) {
    let streams = (0..connects).map(|_| ScriptedStream::unlimited().0);
    waiting.borrow_mut().streams.extend(streams);
}

/// EventKind was done since both were welcomed, until the turn came to the one who said three bytes.
fn before_ada<P: Program>(stage: &Stage<P>) -> CallStats {
    let mut sum = CallStats::default();
    for (_, did) in deeds(stage).into_iter().skip(2) {
        if did.bytes_in == 3 {
            return sum;
        }
        sum.accepted += did.accepted;
        sum.reads += did.reads;
        sum.writes += did.writes;
    }
    panic!("she was never answered");
}

#[test]
fn p12_a_deadline_that_is_not_taken_back() {
    let mut text = Text::default();
    let mut naive = Stage::naive();
    naive.program.keep_deadlines();
    let (listener, waiting) = naive.listener(naive::accept_all, naive::read_all);
    let first = naive.client(naive::read_all, ScriptedStream::unlimited());
    naive.until(4_000);
    say(&first, b"Michael");
    naive.until(6_000);
    assert!(!is_open(&first), "closed a second after it spoke");
    let second = naive.connect(&waiting, usize::MAX / 2);
    naive.turn(&[(listener, Readiness::READABLE)]);
    naive.until(8_000);
    say(&second, b"Tracy");
    naive.until(9_500);
    assert_eq!(text_of(&second), "Welcome!Hello, Tracy!");
    assert!(!is_open(&second), "closed by a deadline of the first");
    text.naive(
        &naive,
        "The first is closed a second after it spoke, the second by a deadline of the first.",
    );

    let mut here = Stage::here(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let (listener, waiting) = here.listener();
    let first = here.client(ScriptedStream::unlimited());
    here.until(4_000);
    say(&first, b"Michael");
    here.until(6_000);
    let second = here.connect(&waiting, usize::MAX / 2);
    here.turn(&[(listener, Readiness::READABLE)]);
    here.until(8_000);
    say(&second, b"Tracy");
    here.until(9_500);
    assert!(first.borrow().shut && is_open(&second) && !second.borrow().shut);
    let timed_out = here.program.shared.stats.clients();
    assert_eq!(timed_out, 2, "the first lingers");
    text.here(
        &here,
        "The first is ended five seconds after its last word; the second is not touched.",
    );
    text.is_shown_as("p12");
}

/// A hundred clients say their names at once; each reply waits for a second.
#[test]
fn the_tutorials_sleep_in_the_loop() {
    const CLIENTS: usize = 100;
    let mut text = Text::default();
    let mut naive = Stage::naive();
    let clients: Vec<Remote> = (0..CLIENTS)
        .map(|_| naive.client(naive::sleep_in_the_loop, ScriptedStream::unlimited()))
        .collect();
    naive.until(0);
    clients.iter().for_each(|client| say(client, b"Ada"));
    naive.settle();
    let slept = naive.program.shared.answered.clone();

    let mut here = Stage::here(Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    });
    let clients: Vec<Remote> = (0..CLIENTS)
        .map(|_| here.client(ScriptedStream::unlimited()))
        .collect();
    here.until(0);
    clients.iter().for_each(|client| say(client, b"Ada"));
    here.until(2_000);
    let deeds = deeds(&here).into_iter();
    let held: Vec<Time> = deeds
        .filter(|(_, did)| did.bytes_out == 11)
        .map(|(at, _)| at)
        .collect();

    text.line("A reply comes after   the first   the last of 100");
    let seconds = |time: &Time| time.since(Time::ZERO).as_secs();
    for (who, times) in [("the naive code", slept), ("the code here", held)] {
        assert_eq!(times.len(), CLIENTS);
        let (first, last) = (seconds(&times[0]), seconds(&times[CLIENTS - 1]));
        let wanted = if who == "the code here" { 1 } else { 100 };
        assert_eq!((first, last), (1, wanted));
        text.line(format_args!("{who:<19} {first:>9} s {last:>15} s"));
    }
    text.is_shown_as("sleep");
}
