//! What an event says, and what it does not: pitfalls 1, 2, 3, 9, 15 and 16.

use crate::rig::Rig;
use crate::script::Scripted;
use crate::util::{Server, clients_at_most, expect};
use crate::{anything, figure, lines};
use helloop::reactor::{Readiness, Token};
use helloop::server::Settings;
use helloop::server::sources::peer::READS_PER_TURN;
use helloop::server::stats::CloseCause;
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// Data and the end of input share one edge, and there is no second one: a short read must not
/// end the work. Nor must a read that was put off be forgotten.
#[test]
fn p01_drain_or_remember_under_edge_triggering() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(b"Michael\nTracy", true);
    rig.settle();
    assert_eq!(
        wire.borrow().written,
        b"Welcome!\nHello, Michael!\nHello, Tracy!\n"
    );
    assert_eq!(rig.closed(CloseCause::Eof), 1);

    // Remember: what could not be read while much was owed is read when there is room again,
    // although no edge says so.
    let wire = rig.client(Scripted::with_room(0));
    wire.borrow_mut().arrive(&b"\n".repeat(40_000), false);
    rig.settle();
    assert!(
        !wire.borrow().arrived.is_empty(),
        "the high-water mark holds"
    );
    wire.borrow_mut().make_room(usize::MAX / 2);
    rig.settle();
    assert_eq!(wire.borrow().written.len(), 9 + 40_000 * 9);
}

/// A source that stops because its budget is spent gets no second edge: it needs a place in the
/// loop's own list.
#[test]
fn p02_a_budget_under_edge_triggering_needs_a_list_of_ones_own() {
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(&[b'x'; 1_024 * 50], false);
    rig.step();
    let read_in_one_turn = wire.borrow().reads.len();
    assert_eq!(read_in_one_turn, READS_PER_TURN, "the budget holds");
    rig.settle();
    assert_eq!(wire.borrow().reads.len(), 50, "and nothing is forgotten");
}

/// The poll still speaks of a client that is gone while its slot is the next one's.
#[test]
fn p03_stale_events_after_a_slot_is_reused() {
    let mut rig = Rig::new(Settings::default());
    let first = rig.client(Scripted::roomy());
    rig.settle();
    let stale = first.borrow().token.unwrap();
    first.borrow_mut().break_off();
    rig.settle();
    assert_eq!(rig.closed(CloseCause::Reset), 1);
    let second = rig.client(Scripted::roomy());
    rig.settle();
    let current = second.borrow().token.unwrap();
    assert_eq!(current.key, stale.key, "the slot is used again");
    assert_ne!(current, stale);
    let before = rig.calls();
    let all = anything();
    rig.step_with(&[(stale, all)]);
    assert_eq!(rig.calls(), before, "a stale event reaches nobody");

    // Within one batch: the slot of a client that ends is not given away before the batch ends.
    let (listener, waiting) = rig.listener();
    let (stream, newcomer) = Scripted::roomy();
    waiting.borrow_mut().streams.push_back(stream);
    second.borrow_mut().break_off();
    rig.step_with(&[(listener, Readiness::READABLE), (current, all)]);
    rig.settle();
    let newcomer = newcomer.borrow();
    assert_ne!(newcomer.token.unwrap(), current);
    assert_eq!(newcomer.written, b"Welcome!");
    assert!(!newcomer.closed);
}

/// HUP and ERR may come together with input and room: whoever closes on sight loses both.
#[test]
fn p09_hup_and_err_mean_ask_the_socket() {
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(b"Michael", false);
    let token = wire.borrow().token.unwrap();
    let all = anything();
    rig.step_with(&[(token, all)]);
    assert_eq!(wire.borrow().written, b"Welcome!Hello, Michael!");
    assert_eq!(
        rig.stats().open(),
        1,
        "the socket did not say that it is over"
    );
    wire.borrow_mut().break_off();
    rig.settle();
    assert_eq!(rig.closed(CloseCause::Reset), 1, "and then it said why");
}

/// The poll says what is not so: nobody is the worse for it.
#[test]
fn p15_spurious_wake_ups_do_no_harm() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let (listener, _waiting) = rig.listener();
    let (datagrams, _post) = rig.datagrams();
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    let token = wire.borrow().token.unwrap();
    let nobody = Token {
        key: 99,
        generation: 0,
    };
    let all = anything();
    for _ in 0..4 {
        rig.pass(Duration::from_secs(1));
        rig.step_with(&[
            (token, all),
            (listener, all),
            (datagrams, all),
            (nobody, all),
        ]);
        rig.settle();
    }
    assert_eq!(wire.borrow().written, b"Welcome!");
    assert_eq!((rig.stats().open(), rig.server.reactor.len()), (1, 3));
    rig.pass(Duration::from_secs(1));
    rig.settle();
    assert!(wire.borrow().shut, "nor do they put the deadline off");
}

/// More sockets are ready at once than one wait returns.
#[test]
fn p16_more_events_ready_than_one_batch_holds() {
    let clients = clients_at_most(2_500);
    let server = Server::start(&[]);
    let mut clients: Vec<TcpStream> = (0..clients).map(|_| server.connect()).collect();
    server.signal(Signal::SIGSTOP);
    for stream in &mut clients {
        stream.write_all(b"Ada").unwrap();
    }
    server.signal(Signal::SIGCONT);
    for stream in &mut clients {
        expect(stream, b"Hello, Ada!");
    }
    let counters = server.counters();
    let most = figure(&counters, " most-events ");
    assert!(most < clients.len() as u64 && most > 500, "{counters}");
}
