//! TCP clients against a scripted stream.

use super::{BackEnd, LoadSource};
use crate::net::stream::Stream;
use crate::net::system::Descriptor;
use crate::protocol::greeting;
use crate::reactor::{Readiness, Time};
use crate::stress::caller::Caller;
use crate::stress::connect::Connecting;
use crate::stress::counters::LossCause;
use crate::stress::plan::{Length, Plan, tests::plan};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

type Run = super::Run<Wire>;

/// Both directions of a connection, and a server that greets each line.
#[derive(Debug)]
pub(super) struct Wire {
    requests: VecDeque<u8>,
    replies: VecDeque<u8>,
    /// The line that the server is reading, and its reply.
    line: Vec<u8>,
    reply: Vec<u8>,
    /// Bytes that one write takes, and one read returns.
    piece_bytes: usize,
    /// Whether the last write was short, so that the next one blocks.
    full: bool,
    pub(super) connected: bool,
    pub(super) back_end: BackEnd,
    /// How long each reply takes. Those on their way, and when each is sent.
    pub(super) delay: Duration,
    delayed: VecDeque<(Time, Vec<u8>)>,
    /// When replies were sent; empty unless there is room for them.
    pub(super) sent: Vec<Time>,
    /// Whether the server was killed, so that the connection is reset.
    pub(super) killed: bool,
}

impl Wire {
    fn new(piece_bytes: usize) -> Rc<RefCell<Self>> {
        const CAPACITY_BYTES: usize = 1 << 16;
        let mut wire = Self {
            requests: VecDeque::with_capacity(CAPACITY_BYTES),
            replies: VecDeque::with_capacity(CAPACITY_BYTES),
            line: Vec::with_capacity(CAPACITY_BYTES),
            reply: Vec::with_capacity(CAPACITY_BYTES),
            piece_bytes,
            full: false,
            connected: true,
            back_end: BackEnd::EveryEdge,
            delay: Duration::ZERO,
            delayed: VecDeque::new(),
            sent: Vec::new(),
            killed: false,
        };
        wire.replies.extend(b"Welcome!\n");
        Rc::new(RefCell::new(wire))
    }
}

impl super::Wire for Wire {
    fn serve(&mut self, now: Time) {
        if self.killed {
            return;
        }
        while self.delayed.front().is_some_and(|(due, _)| *due <= now) {
            let (_, reply) = self.delayed.pop_front().expect("it is there");
            self.replies.extend(&reply);
            self.sent.push(now);
        }
        while let Some(byte) = self.requests.pop_front() {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            self.reply.clear();
            greeting::greet(&self.line, b"\n", &mut self.reply);
            self.line.clear();
            if self.delay.is_zero() {
                self.replies.extend(&self.reply);
                if self.sent.len() < self.sent.capacity() {
                    self.sent.push(now);
                }
            } else {
                let due = now.after(self.delay);
                self.delayed.push_back((due, self.reply.clone()));
            }
        }
    }

    fn readiness(&mut self, _: Time) -> Readiness {
        let mut readiness = Readiness::empty();
        if !self.replies.is_empty() || self.killed {
            readiness |= Readiness::READABLE;
        }
        let has_room_again = mem::take(&mut self.full);
        let is_level = self.back_end != BackEnd::EveryEdge;
        if has_room_again || is_level && self.connected {
            readiness |= Readiness::WRITABLE;
        }
        self.back_end.report(readiness)
    }
}

/// The client's end.
#[derive(Debug)]
pub(super) struct Socket(Rc<RefCell<Wire>>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.killed {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if wire.replies.is_empty() {
            return Err(wire.back_end.would_block());
        }
        let length = wire.piece_bytes.min(buffer.len());
        wire.replies.read(&mut buffer[..length])
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.full {
            return Err(wire.back_end.would_block());
        }
        let length = wire.piece_bytes.min(bytes.len());
        wire.full = length < bytes.len();
        wire.requests.extend(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Descriptor for Socket {
    fn descriptor(&self) -> usize {
        0 // there is no other
    }
}

impl Stream for Socket {
    fn short_read_drains(&self) -> bool {
        self.0.borrow().back_end == BackEnd::EveryEdge
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connecting for Socket {
    fn is_connected(&self) -> io::Result<bool> {
        Ok(self.0.borrow().connected)
    }
}

pub(super) fn start(plan: Plan, piece_bytes: usize) -> Run {
    Run::new(plan, || {
        let wire = Wire::new(piece_bytes);
        let caller = Caller::new(Socket(Rc::clone(&wire)), Time::ZERO);
        (LoadSource::Caller(caller), wire)
    })
}

pub(super) fn lines(clients: u32, pipeline: u32) -> Plan {
    Plan {
        clients,
        active: clients,
        pipeline,
        ..plan()
    }
}

#[test]
fn replies_are_matched_however_reads_and_writes_split_them() {
    for piece_bytes in [1, 2, 7, 15, 16, 17, 1_000] {
        for pipeline in [1, 5] {
            let plan = Plan {
                length: Length::Messages(200),
                ..lines(3, pipeline)
            };
            let mut run = start(plan, piece_bytes);
            run.finish(0..0);
            let counters = &run.shared.counters;
            assert_eq!(
                (counters.welcomed, counters.answered_once),
                (3, 3),
                "{piece_bytes} {pipeline}"
            );
            assert_eq!(
                (counters.sent, counters.answered),
                (200, 200),
                "{piece_bytes} {pipeline}"
            );
            assert_eq!((counters.in_flight, counters.all_lost()), (0, 0));
            assert_eq!(counters.traffic.bytes_out, 200 * 8);
        }
    }
}

#[test]
fn open_loop_latency_counts_from_when_a_message_was_due() {
    let plan = Plan {
        rate: NonZeroU64::new(1_000),
        length: Length::Time(Duration::from_secs(4)),
        ..lines(10, 1)
    };
    let counters_of = |plan: Plan| {
        let mut run = start(plan, 1_000);
        run.finish(1_000..3_000);
        run.shared.counters
    };
    let open = counters_of(plan.clone());
    assert_eq!((open.sent, open.answered), (4_000, 4_000));
    // Half of the messages were due during the stall of 2 s. The 90th percentile of all is the 80th
    // of those: 0.8 of the stall, and the queue after it.
    let p90 = open.latency.quantile(0.9).expect("4,000 samples");
    assert!(
        p90.abs_diff(Duration::from_millis(1_600)) < Duration::from_millis(60),
        "{p90:?}"
    );
    assert!(
        open.latency
            .max()
            .is_some_and(|max| max >= Duration::from_secs(2))
    );
    // In the closed loop the same stall affects only the messages in flight.
    let closed = counters_of(Plan { rate: None, ..plan });
    let p99 = closed.latency.quantile(0.99).expect("many samples");
    assert!(p99 <= Duration::from_millis(3), "{p99:?}");
    assert!(
        closed
            .latency
            .max()
            .is_some_and(|max| max >= Duration::from_secs(2))
    );
}

#[test]
fn a_server_that_stops_answering_loses_its_clients_and_their_messages() {
    let plan = Plan {
        rate: NonZeroU64::new(100),
        timeout: Duration::from_millis(500),
        length: Length::Time(Duration::from_secs(2)),
        ..lines(2, 1)
    };
    let mut run = start(plan, 1_000);
    run.finish(1_000..100_000);
    let counters = &run.shared.counters;
    assert_eq!(counters.lost[LossCause::TimedOut], 2);
    // One in flight per client.
    assert_eq!(
        (counters.sent - counters.answered, counters.unanswered),
        (2, 2)
    );
    // Those that became due during its timeout: each is a sample, or the stall would hide.
    let not_sent = run.shared.not_sent();
    assert!((43..=53).contains(&not_sent), "{not_sent}");
    let timeout = run.shared.plan.timeout;
    let stalled = counters.latency.count_between(timeout, 2 * timeout);
    assert_eq!(stalled, 2 + not_sent);
    assert_eq!(counters.latency.len(), counters.answered + stalled);
    assert_eq!((counters.in_flight, counters.open), (0, 0));
}

/// Far more messages are due than could ever be looked at one by one.
#[test]
fn ten_thousand_million_messages_a_second_are_counted_at_once() {
    let plan = Plan {
        rate: NonZeroU64::new(10_000_000_000),
        timeout: Duration::from_millis(500),
        length: Length::Time(Duration::from_secs(1)),
        ..lines(2, 1)
    };
    let mut run = start(plan, 1_000);
    run.finish(600..100_000);
    let counters = &run.shared.counters;
    // All that were due in the second; the clients time out after it.
    assert_eq!(run.shared.due(), Some(10_000_000_000));
    assert_eq!(counters.sent + run.shared.not_sent(), 10_000_000_000);
    assert_eq!(counters.latency.len(), 10_000_000_000);
}

/// A client of a fast server sends that many messages in three minutes.
#[test]
fn the_messages_of_one_client_are_counted_beyond_32_bits() {
    const BEFORE: u64 = u32::MAX as u64 - 50;
    let closed = Plan {
        length: Length::Messages(400),
        ..lines(2, 4)
    };
    let mut run = Run::new(closed, || {
        let wire = Wire::new(1_000);
        let caller = Caller::new(Socket(Rc::clone(&wire)), Time::ZERO);
        let caller = caller.having_answered(BEFORE);
        (LoadSource::Caller(caller), wire)
    });
    run.finish(0..0);
    let counters = &run.shared.counters;
    assert_eq!((counters.answered, counters.unanswered), (400, 0));
    assert_eq!(counters.best_served, BEFORE + 200);
    assert_eq!(counters.worst_served, Some(BEFORE + 200));
    assert_eq!((counters.all_lost(), counters.in_flight), (0, 0));
}

/// Added to times, multiplied and divided: none of it overflows.
#[test]
fn the_largest_numbers_of_a_plan_are_only_large() {
    let most = NonZeroU64::new(u64::MAX);
    for length in [Length::Messages(u64::MAX), Length::Time(Duration::MAX)] {
        for warmup in [Duration::ZERO, Duration::from_millis(5), Duration::MAX] {
            for rate in [None, NonZeroU64::new(1), most] {
                let plan = Plan {
                    length,
                    warmup,
                    rate,
                    connect_rate: most,
                    timeout: Duration::MAX,
                    ..lines(2, 1_024)
                };
                let mut run = start(plan, usize::MAX);
                for _ in 0..50 {
                    run.step(false);
                }
                run.pause(Duration::from_secs(1 << 40));
                run.close_all();
                assert_eq!(run.shared.counters.all_lost(), 0);
            }
        }
    }
}

#[test]
fn a_connect_that_does_not_complete_times_out() {
    let plan = Plan {
        timeout: Duration::from_millis(500),
        ..lines(2, 1)
    };
    let mut run = start(plan, 1_000);
    run.wires[1].1.borrow_mut().connected = false;
    run.finish(0..0);
    let counters = &run.shared.counters;
    assert_eq!(
        (counters.connected, counters.welcomed, counters.peak),
        (1, 1, 1)
    );
    assert_eq!(counters.lost[LossCause::TimedOut], 1);
    assert!(counters.answered > 0);
}

#[test]
fn a_message_allocates_nothing() {
    let mut run = start(
        Plan {
            length: Length::Time(Duration::from_secs(3_600)),
            ..lines(50, 1)
        },
        1_000,
    );
    // Until every list has reached its final size; not into the next second, which adds an entry.
    for _ in 0..1_100 {
        run.step(false);
    }
    let before = run.shared.counters.answered;
    let allocated = allocation_counter::measure(|| {
        for _ in 0..800 {
            run.step(false);
        }
    });
    assert!(run.shared.counters.answered - before > 10_000);
    assert_eq!(allocated.count_total, 0);
}
