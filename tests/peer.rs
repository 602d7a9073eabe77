//! One conversation over a scripted stream, in virtual time: its deadlines, its counters, and
//! which calls it does not make.

#[path = "util/rig.rs"]
mod rig;
#[path = "util/script.rs"]
mod script;

use helloop::protocol::greeting::Framing;
use helloop::reactor::{Mark, Readiness};
use helloop::server::Settings;
use helloop::server::stats::CloseCause;
use rig::Rig;
use script::{FarEnd, Scripted};
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(5);

fn lines() -> Settings {
    Settings {
        framing: Framing::Line,
        ..Settings::default()
    }
}

fn impatient() -> Settings {
    Settings {
        idle_timeout: Some(IDLE),
        ..lines()
    }
}

/// Everything that an event can say of the client, though nothing of it is so.
fn spurious(wire: &FarEnd) -> [Mark; 1] {
    let all = Readiness::READABLE | Readiness::WRITABLE;
    [(wire.borrow().token.unwrap(), all)]
}

#[test]
fn each_byte_puts_the_idle_timeout_off_and_its_cause_is_counted() {
    let mut rig = Rig::new(impatient());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    // A line that never ends: nothing is sent to this client.
    for _ in 0..5 {
        rig.pass(Duration::from_secs(4));
        wire.borrow_mut().arrive(b"x", false);
        rig.settle();
    }
    assert!(!wire.borrow().shut);
    rig.pass(IDLE);
    rig.settle();
    assert!(wire.borrow().shut, "its time is over");
    wire.borrow_mut().arrive(b"", true);
    rig.settle();
    assert_eq!(rig.closed(CloseCause::IdleTimeout), 1);
    assert_eq!(rig.stats().buffered, 0);
}

#[test]
fn a_spurious_event_puts_no_timeout_off() {
    let mut rig = Rig::new(impatient());
    let idle = rig.client(Scripted::roomy());
    let full = rig.client(Scripted::with_room(0));
    rig.settle();
    full.borrow_mut().arrive(b"Ada\n", false);
    rig.settle();
    let half_time = |rig: &mut Rig, time| {
        rig.pass(time);
        for wire in [&idle, &full] {
            rig.step_with(&spurious(wire));
            rig.settle();
        }
    };
    half_time(&mut rig, Duration::from_secs(3));
    half_time(&mut rig, Duration::from_secs(2));
    assert!(idle.borrow().shut, "silent for five seconds");
    half_time(&mut rig, Duration::from_secs(20));
    assert!(!full.borrow().closed);
    half_time(&mut rig, Duration::from_secs(5));
    assert!(full.borrow().closed, "took nothing for thirty seconds");
    assert_eq!(rig.closed(CloseCause::WriteTimeout), 1);
}

#[test]
fn each_byte_taken_puts_the_write_timeout_off_until_all_is_sent() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::with_room(0));
    wire.borrow_mut().arrive(b"Ada\n", false);
    rig.settle();
    for _ in 0..5 {
        rig.pass(Duration::from_secs(29));
        wire.borrow_mut().make_room(1);
        rig.settle();
    }
    assert!(!wire.borrow().closed);
    wire.borrow_mut().make_room(1_000);
    rig.settle();
    assert_eq!(wire.borrow().written, b"Welcome!\nHello, Ada!\n");
    rig.pass(Duration::from_secs(1_000));
    rig.settle();
    assert!(!wire.borrow().shut, "nothing is owed any more");
    assert_eq!(rig.stats().open(), 1);
}

#[test]
fn who_is_held_is_not_read_meanwhile_and_each_read_has_a_delay_of_its_own() {
    let mut rig = Rig::new(Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    });
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    // More than one chunk: two reads, were there nobody to hold it.
    wire.borrow_mut().arrive(&[b'x'; 1_100], false);
    rig.settle();
    assert_eq!(wire.borrow().reads.len(), 1);
    assert_eq!(wire.borrow().written, b"Welcome!");
    rig.pass(Duration::from_secs(1));
    rig.settle();
    assert_eq!(wire.borrow().reads.len(), 2);
    assert_eq!(wire.borrow().written.len(), 8 + 1_024 + 8);
    rig.pass(Duration::from_secs(1));
    rig.settle();
    assert_eq!(wire.borrow().written.len(), 8 + 1_024 + 8 + 76 + 8);
    assert_eq!(rig.stats().messages, 2);
}

#[test]
fn a_line_begun_is_not_held_back() {
    let mut rig = Rig::new(Settings {
        delay: Duration::from_secs(1),
        ..lines()
    });
    let wire = rig.client(Scripted::roomy());
    wire.borrow_mut().arrive(b"A", false);
    rig.settle();
    // The delay counts from the read that completed the line, not from the one before.
    rig.pass(Duration::from_millis(900));
    wire.borrow_mut().arrive(b"da\n", false);
    rig.settle();
    rig.pass(Duration::from_millis(900));
    rig.settle();
    assert_eq!(wire.borrow().written, b"Welcome!\n");
    rig.pass(Duration::from_millis(100));
    rig.settle();
    assert_eq!(wire.borrow().written, b"Welcome!\nHello, Ada!\n");
}

#[test]
fn what_is_kept_is_counted_and_nothing_is_once_all_is_said() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    assert_eq!(rig.stats().buffered, 0);
    wire.borrow_mut().arrive(b"Grace", false);
    rig.settle();
    assert_eq!(rig.stats().buffered, 5);
    let kept = rig.peers().map(|(_, peer)| peer.buffered());
    assert_eq!(kept.collect::<Vec<_>>(), [5]);
    wire.borrow_mut().arrive(b" Hopper\n", false);
    rig.settle();
    assert_eq!(wire.borrow().written, b"Welcome!\nHello, Grace Hopper!\n");
    assert_eq!(rig.stats().buffered, 0);
    assert_eq!(rig.stats().messages, 1);
}

#[test]
fn nobody_writes_to_a_socket_that_is_known_to_be_full() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::with_room(9));
    wire.borrow_mut().arrive(b"Ada\n", false);
    rig.settle();
    let writes = rig.stats().traffic.writes;
    assert_eq!(wire.borrow().written, b"Welcome!\n");
    for _ in 0..5 {
        wire.borrow_mut().arrive(b"Tracy\n", false);
        rig.settle();
    }
    assert_eq!(rig.stats().traffic.writes, writes);
    wire.borrow_mut().make_room(1_000);
    rig.settle();
    assert_eq!(rig.stats().traffic.writes, writes + 1, "all in one call");
    assert_eq!(rig.stats().messages, 6);
}

#[test]
fn who_cannot_be_registered_is_counted_by_what_he_was() {
    let mut rig = Rig::new(Settings {
        max_clients: 1,
        ..Settings::default()
    });
    let (listener, waiting) = rig.listener();
    for _ in 0..3 {
        let (stream, wire) = Scripted::roomy();
        wire.borrow_mut().unregistrable = true;
        waiting.borrow_mut().streams.push_back(stream);
    }
    rig.step_with(&[(listener, Readiness::READABLE)]);
    rig.settle();
    let causes = [CloseCause::Failed, CloseCause::Busy].map(|cause| rig.closed(cause));
    assert_eq!((causes, rig.stats().open()), ([1, 2], 0));
    assert_eq!(rig.server.reactor.len(), 1, "the listener is left");
}
