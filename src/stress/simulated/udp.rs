//! UDP clients against a scripted socket that loses, delays, duplicates and reorders.

use super::{BackEnd, LoadSource};
use crate::reactor::{Readiness, Time};
use crate::stress::counters::{Counters, DatagramCounts};
use crate::stress::plan::{Length, Plan, Transport, tests::plan};
use crate::stress::udp_caller::{ConnectedUdp, UdpCaller};
use std::cell::RefCell;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

type Run = super::Run<Wire>;

const NAME: &[u8; 11] = b"abc00000000";
type Reply = [u8; 19];

/// The replies to datagram number so and so, as the milliseconds after which each is sent. None:
/// the datagram or its reply is lost. Two: the reply is duplicated. A reply that is sent at once
/// arrives in the next millisecond.
pub(super) type Script = fn(u32) -> &'static [u64];

pub(super) const ANSWER: Script = |_| &[0];

/// Both directions of a client's datagrams, and the server.
#[derive(Debug)]
pub(super) struct Wire {
    script: Script,
    requests: Vec<[u8; NAME.len()]>,
    /// Replies on their way, and when each arrives.
    replies: Vec<(Time, Reply)>,
    now: Time,
    /// The milliseconds in which a send would block.
    pub(super) full: Range<u64>,
    pub(super) back_end: BackEnd,
    /// Whether a send has blocked since the socket was last writable.
    blocked: bool,
    /// How many of the next system calls a signal interrupts.
    interruptions: u32,
}

fn at(millisecond: u64) -> Time {
    Time::ZERO.after(Duration::from_millis(millisecond))
}

fn greeting(number: &[u8]) -> Reply {
    let reply = [b"Hello, abc", number, b"!"].concat();
    reply.try_into().expect("eight digits")
}

impl Wire {
    fn is_full(&self) -> bool {
        (at(self.full.start)..at(self.full.end)).contains(&self.now)
    }

    fn interrupt(&mut self) -> io::Result<()> {
        if self.interruptions == 0 {
            return Ok(());
        }
        self.interruptions -= 1;
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl super::Wire for Wire {
    fn serve(&mut self, now: Time) {
        for request in self.requests.drain(..) {
            let mut reply = *b"Hello, abc00000000!";
            reply[7..18].copy_from_slice(&request);
            let digits = std::str::from_utf8(&request[3..]).expect("digits");
            let number = u32::from_str_radix(digits, 16).expect("digits");
            for delay in (self.script)(number) {
                let arrival = now.after(Duration::from_millis(*delay));
                self.replies.push((arrival, reply));
            }
        }
    }

    fn readiness(&mut self, now: Time) -> Readiness {
        self.now = now;
        let mut readiness = Readiness::empty();
        if self.replies.iter().any(|(arrival, _)| *arrival <= now) {
            readiness |= Readiness::READABLE;
        }
        let is_level = self.back_end != BackEnd::EveryEdge;
        if (self.blocked || is_level) && !self.is_full() {
            self.blocked = false;
            readiness |= Readiness::WRITABLE;
        }
        self.back_end.report(readiness)
    }
}

/// The client's end.
#[derive(Debug)]
pub(super) struct Socket(Rc<RefCell<Wire>>);

impl ConnectedUdp for Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.interrupt()?;
        if wire.is_full() {
            wire.blocked = true;
            return Err(wire.back_end.would_block());
        }
        wire.requests
            .push(datagram.try_into().expect("the plan's name"));
        Ok(datagram.len())
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.interrupt()?;
        let now = wire.now;
        let arrived = wire.replies.iter().position(|(arrival, _)| *arrival <= now);
        let Some(position) = arrived else {
            return Err(wire.back_end.would_block());
        };
        let (_, reply) = wire.replies.remove(position);
        buffer[..reply.len()].copy_from_slice(&reply);
        Ok(reply.len())
    }
}

pub(super) fn start(plan: Plan, script: Script) -> Run {
    Run::new(plan, || {
        let wire = Rc::new(RefCell::new(Wire {
            script,
            requests: Vec::with_capacity(100),
            replies: Vec::with_capacity(300),
            now: Time::ZERO,
            full: 0..0,
            back_end: BackEnd::EveryEdge,
            blocked: false,
            interruptions: 0,
        }));
        let caller = UdpCaller::new(Socket(Rc::clone(&wire)));
        (LoadSource::UdpCaller(caller), wire)
    })
}

fn counters_of(plan: Plan, script: Script) -> Counters {
    let mut run = start(plan, script);
    run.finish(0..0);
    run.shared.counters
}

/// Answered, lost and late datagrams; duplicate and wrong replies. Each measured datagram has
/// exactly one fate.
#[track_caller]
pub(super) fn fates(counters: &Counters) -> (u64, u64, u64, u64, u64) {
    let DatagramCounts {
        lost,
        late,
        duplicates,
        wrong,
    } = counters.datagrams;
    assert_eq!(counters.sent, counters.answered + lost + late);
    assert_eq!(counters.unanswered, lost + late);
    assert_eq!(counters.latency.len(), counters.sent);
    assert_eq!(counters.in_flight, 0);
    (counters.answered, lost, late, duplicates, wrong)
}

/// A closed loop: each client sends one datagram per millisecond, or waits for 100 ms.
pub(super) fn closed(clients: u32, messages: u64) -> Plan {
    Plan {
        transport: Transport::Udp,
        name: NAME.to_vec(),
        clients,
        active: clients,
        length: Length::Messages(messages),
        timeout: Duration::from_millis(100),
        ..plan()
    }
}

/// An open loop of one client, with one datagram per millisecond.
fn open(messages: u64) -> Plan {
    Plan {
        rate: NonZeroU64::new(1_000),
        ..closed(1, messages)
    }
}

#[test]
fn a_datagram_without_a_reply_is_lost() {
    let lossy: Script = |number| if number % 10 == 3 { &[] } else { &[0] };
    let counters = counters_of(closed(2, 100), lossy);
    assert_eq!(fates(&counters), (90, 10, 0, 0, 0));
    let max = counters.latency.max().expect("100 samples");
    assert!(max >= Duration::from_millis(100), "{max:?}");
    // The open loop goes on sending.
    let counters = counters_of(open(100), lossy);
    assert_eq!(fates(&counters), (90, 10, 0, 0, 0));
}

#[test]
fn a_client_whose_first_datagram_is_lost_is_still_answered() {
    let first_lost: Script = |number| if number == 0 { &[] } else { &[0] };
    for plan in [closed(3, 60), open(60)] {
        let clients = plan.clients;
        let counters = counters_of(plan, first_lost);
        assert_eq!(counters.answered_once, clients);
        let clients = u64::from(clients);
        assert_eq!(fates(&counters), (60 - clients, clients, 0, 0, 0));
    }
    let counters = counters_of(closed(3, 6), |_| &[]);
    assert_eq!((counters.answered_once, counters.answered), (0, 0));
}

#[test]
fn a_reply_after_the_timeout_is_late_and_not_lost() {
    // 50 ms and 300 ms after the timeout; by then 300 further datagrams are answered.
    let slow: Script = |number| match number {
        5 => &[150],
        20 => &[400],
        _ => &[0],
    };
    for plan in [closed(1, 500), open(500)] {
        let counters = counters_of(plan, slow);
        assert_eq!(fates(&counters), (498, 0, 2, 0, 0));
    }
}

#[test]
fn each_datagram_is_given_up_after_its_own_timeout() {
    let plan = Plan {
        rate: NonZeroU64::new(10),
        timeout: Duration::from_millis(250),
        ..closed(1, 50)
    };
    let counters = counters_of(plan, |_| &[]);
    let [min, max] = [counters.latency.min(), counters.latency.max()];
    assert!(min >= Some(Duration::from_millis(250)), "{min:?}");
    assert!(max <= Some(Duration::from_millis(252)), "{max:?}");
}

#[test]
fn a_datagram_is_lost_once_it_is_no_longer_remembered() {
    // 128 are remembered: the 30 in flight, and those given up in the 98 ms before.
    let silent: Script = |number| match number {
        0..10 => &[120],
        10..20 => &[135],
        _ => &[],
    };
    let plan = Plan {
        timeout: Duration::from_millis(30),
        ..open(250)
    };
    let counters = counters_of(plan, silent);
    assert_eq!(fates(&counters), (0, 240, 10, 10, 0));
}

#[test]
fn a_second_reply_is_a_duplicate_whenever_it_arrives() {
    // At once, within the timeout, and 200 datagrams later; the last one follows a late reply.
    let doubling: Script = |number| match number {
        1 => &[0, 0],
        2 => &[0, 50],
        3 => &[0, 200],
        4 => &[120, 150],
        _ => &[0],
    };
    for plan in [closed(1, 500), open(500)] {
        let counters = counters_of(plan, doubling);
        assert_eq!(fates(&counters), (499, 0, 1, 4, 0));
    }
}

#[test]
fn replies_beyond_the_budget_of_a_turn_are_read_in_the_next_one() {
    let flooding: Script = |number| if number == 3 { &[0; 50] } else { &[0] };
    let counters = counters_of(closed(1, 100), flooding);
    assert_eq!(fates(&counters), (100, 0, 0, 49, 0));
    let max = counters.latency.max().expect("100 samples");
    assert!(max < Duration::from_millis(10), "{max:?}");
}

#[test]
fn reordered_replies_are_matched_to_their_own_datagrams() {
    let reordering: Script = |number| if number % 4 == 0 { &[20] } else { &[0] };
    let counters = counters_of(open(400), reordering);
    assert_eq!(fates(&counters), (400, 0, 0, 0, 0));
    let between = |low, high| {
        let [low, high] = [low, high].map(Duration::from_millis);
        counters.latency.count_between(low, high)
    };
    assert_eq!((between(0, 5), between(20, 25)), (300, 100));
}

#[test]
fn a_reply_that_matches_no_datagram_is_wrong() {
    let plan = Plan {
        clients: 2,
        ..closed(1, 100)
    };
    let mut run = start(plan, ANSWER);
    for _ in 0..20 {
        run.step(false);
    }
    let number_not_sent = greeting(b"000000ff");
    let mut other_name = greeting(b"00000001");
    other_name[8] = b'x';
    let send = |client: usize, reply| {
        let mut wire = run.wires[client].1.borrow_mut();
        wire.replies.push((Time::ZERO, reply));
    };
    send(0, number_not_sent);
    send(0, other_name);
    // The second client is idle: it has sent nothing.
    send(1, greeting(b"00000000"));
    run.finish(0..0);
    let counters = &run.shared.counters;
    assert_eq!(fates(counters), (100, 0, 0, 0, 3));
    assert_eq!(counters.wrong_bytes.as_deref(), Some(&number_not_sent[..]));
}

#[test]
fn a_send_that_would_block_is_repeated_once_the_socket_is_writable() {
    for plan in [closed(1, 500), open(500)] {
        let is_open = plan.rate.is_some();
        let mut run = start(plan, ANSWER);
        run.wires[0].1.borrow_mut().full = 100..300;
        run.finish(0..0);
        let counters = &run.shared.counters;
        assert_eq!(fates(counters), (500, 0, 0, 0, 0));
        assert_eq!(counters.traffic.writes, 501);
        let max = counters.latency.max().expect("500 samples");
        assert_eq!(max >= Duration::from_millis(200), is_open, "{max:?}");
    }
}

#[test]
fn a_call_that_a_signal_interrupts_is_repeated() {
    let mut run = start(closed(1, 100), ANSWER);
    for _ in 0..50 {
        run.wires[0].1.borrow_mut().interruptions += 3;
        run.step(false);
    }
    run.finish(0..0);
    let counters = &run.shared.counters;
    assert_eq!(fates(counters), (100, 0, 0, 0, 0));
    assert_eq!(run.wires[0].1.borrow().interruptions, 0);
}

#[test]
fn datagrams_in_flight_when_the_run_ends_are_lost() {
    for (plan, in_flight) in [(closed(3, 1_000), 3), (open(1_000), 51)] {
        let mut run = start(plan, ANSWER);
        for millisecond in 0..150 {
            run.step(millisecond >= 100);
        }
        assert_eq!(run.shared.counters.in_flight, in_flight);
        run.close_all();
        let counters = &run.shared.counters;
        let answered = counters.sent - in_flight;
        assert_eq!(fates(counters), (answered, in_flight, 0, 0, 0));
    }
}

#[test]
fn at_most_64_datagrams_of_a_client_are_in_flight() {
    let plan = Plan {
        timeout: Duration::from_secs(10),
        ..open(300)
    };
    let mut run = start(plan.clone(), |_| &[]);
    for _ in 0..200 {
        run.step(false);
    }
    let counters = &run.shared.counters;
    assert_eq!((counters.sent, counters.in_flight), (64, 64));
    // Later datagrams wait for room, and their latency counts from when they were due.
    let counters = counters_of(plan, |_| &[150]);
    assert_eq!(fates(&counters), (300, 0, 0, 0, 0));
    let max = counters.latency.max().expect("300 samples");
    assert!(max > Duration::from_millis(400), "{max:?}");
}

#[test]
fn datagrams_of_the_warm_up_are_not_counted() {
    let scripts: [Script; 3] = [
        |number| if number == 10 { &[] } else { &[0] },
        |number| if number == 10 { &[150] } else { &[0] },
        |number| if number == 10 { &[80] } else { &[0] },
    ];
    for script in scripts {
        for plan in [closed(1, 300), open(300)] {
            let warmup = Duration::from_millis(50);
            let counters = counters_of(Plan { warmup, ..plan }, script);
            assert_eq!(fates(&counters), (300, 0, 0, 0, 0));
        }
    }
}

#[test]
fn every_measured_datagram_has_one_fate_under_any_mixture() {
    let chaotic: Script = |number| {
        const REPLIES: [&[u64]; 8] = [&[], &[0], &[0, 0], &[3], &[90, 180], &[99], &[100], &[250]];
        REPLIES[(number.wrapping_mul(2_654_435_769) >> 29) as usize]
    };
    for clients in [1, 3, 10] {
        for rate in [None, NonZeroU64::new(500), NonZeroU64::new(5_000)] {
            let plan = Plan {
                rate,
                warmup: Duration::from_millis(333),
                length: Length::Time(Duration::from_secs(2)),
                ..closed(clients, 0)
            };
            let counters = counters_of(plan, chaotic);
            let (_, lost, _, duplicates, wrong) = fates(&counters);
            assert!(lost > 0 && duplicates > 0 && wrong == 0);
        }
    }
}

#[test]
fn a_datagram_allocates_nothing() {
    let mixed: Script = |number| if number % 50 == 0 { &[] } else { &[0] };
    let plan = Plan {
        length: Length::Time(Duration::from_secs(3_600)),
        ..open(0)
    };
    let mut run = start(plan, mixed);
    // As in the test of TCP; and until as many are given up as a client remembers.
    for _ in 0..7_100 {
        run.step(false);
    }
    let before = run.shared.counters.answered;
    let allocated = allocation_counter::measure(|| {
        for _ in 0..800 {
            run.step(false);
        }
    });
    assert!(run.shared.counters.answered - before > 700);
    assert_eq!(allocated.count_total, 0);
}
