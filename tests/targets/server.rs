//! Fuzz target: the whole server on scripted sockets in virtual time. The input is a script of
//! connects, bytes, faults, resets, time, signals and datagrams.
//!
//! After every step the invariants hold; whenever the loop would block, nothing is left that could
//! be done without a further event (no wakeup is lost); at the end each client has been sent a
//! prefix of what the reference model says, and all of it unless a limit closed the connection.

use crate::harness::Harness;
use crate::input::{Input, run_bytes};
use crate::invariants::{self, Sent};
use crate::model;
use crate::script::{AcceptQueue, Call, Errno, Fault, Remote, ScriptedStream, UdpScript};
use helloop::protocol::greeting::Framing;
use helloop::reactor::{Mark, Readiness, Token};
use helloop::server::sources::peer::{HIGH_WATER_BYTES, PeerState};
use helloop::server::stats::CloseCause;
use helloop::server::{Lifecycle, Settings};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// An action with this bit happens in the same turn as the next one.
const SAME_TURN: u8 = 0x80;

/// Clients of one script: more than may be connected.
const MAX_CLIENTS: usize = 24;

/// Steps after which a loop that should be idle is livelocked. A script of 4 KiB and all its runs
/// takes a tenth.
const MAX_STEPS: usize = 20_000;

/// Where clients connect from: the second is the address of the first, and the last is in the network
/// of the third.
const ADDRESSES: [&str; 4] = [
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "2001:db8::ffff:1",
];

/// Bytes that clients send in one script, so that one run stays fast.
const MAX_SENT_BYTES: usize = 256 * 1_024;

pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script::new(Input(bytes));
    while !script.input.is_empty() && script.harness.outcome.is_none() {
        script.act();
    }
    script.finish();
}

struct Script<'a> {
    input: Input<'a>,
    harness: Harness,
    listener: Token,
    queue: Rc<RefCell<AcceptQueue>>,
    datagrams: Token,
    udp: Rc<RefCell<UdpScript>>,
    clients: Vec<Remote>,
    /// What the poll reports of the listener and of the datagrams, and what the script invents.
    marks: Vec<Mark>,
    sent_bytes: usize,
    /// The replies to all datagrams, in order.
    udp_replies: Vec<(Vec<u8>, SocketAddr)>,
}

impl<'a> Script<'a> {
    fn new(mut input: Input<'a>) -> Self {
        let flags = input.byte();
        let is_set = |bit: u8| flags & (1 << bit) != 0;
        let mut harness = Harness::new(Settings {
            framing: if is_set(0) {
                Framing::Line
            } else {
                Framing::Chunk
            },
            delay: Duration::from_millis(if is_set(1) { 7 } else { 0 }),
            idle_timeout: is_set(2).then_some(Duration::from_secs(5)),
            write_timeout: Duration::from_secs(3),
            max_clients: if is_set(3) { 2 } else { 20 },
            max_buffered: if is_set(4) { 80_000 } else { 64 << 20 },
            max_datagram: 64,
            max_clients_per_address: is_set(5).then_some(3),
            line_timeout: is_set(6).then_some(Duration::from_secs(4)),
            ..Settings::default()
        });
        let (listener, queue) = harness.listener();
        let (datagrams, udp) = harness.datagrams();
        Self {
            input,
            harness,
            listener,
            queue,
            datagrams,
            udp,
            clients: Vec::new(),
            marks: Vec::new(),
            sent_bytes: 0,
            udp_replies: Vec::new(),
        }
    }

    /// One action, and a step unless more happens in the same turn.
    fn act(&mut self) {
        let action = self.input.byte();
        match action & !SAME_TURN & 15 {
            0 => self.connect(),
            1 => {
                let count = self.input.index(64);
                let bytes = self.input.take(count);
                self.arrive(bytes, false);
            }
            2 => {
                let run = vec![self.input.byte(); run_bytes(self.input.byte())];
                self.arrive(&run, false);
            }
            3 => {
                let word: &[u8] = self
                    .input
                    .pick(&[b"exit\n", b"exit", b"\r\n", b"\r", b"a\n"]);
                self.arrive(word, false);
            }
            4 => self.arrive(b"", true),
            5 => {
                let room = self.input.pick(&[1, 9, 100, 2_000, 40_000, 1 << 20]);
                self.with_client(|client| client.borrow_mut().make_room(room));
            }
            6 => self.fault(),
            7 => self.with_client(|client| client.borrow_mut().reset_by_client()),
            8 => {
                let milliseconds = self.input.pick(&[1, 6, 7, 30, 2_000, 3_000, 5_000, 40_000]);
                self.harness.advance(Duration::from_millis(milliseconds));
            }
            9 => self.accept_error(),
            10 => self.datagram(),
            11 => self.signal(),
            12 => self.invent_mark(),
            13 => self.udp_error(),
            14 => self.run_until_idle(),
            _ => {}
        }
        if action & SAME_TURN == 0 {
            self.step();
        }
    }

    fn connect(&mut self) {
        if self.clients.len() < MAX_CLIENTS {
            let room = self.input.pick(&[1 << 20, 0, 5, 100, 40_000]);
            let (stream, remote) = ScriptedStream::with_room(room);
            let what = self.input.byte();
            remote.borrow_mut().fails_to_register = what == 0xff;
            let address = ADDRESSES[usize::from(what) % ADDRESSES.len()];
            remote.borrow_mut().address = Some(SocketAddr::new(address.parse().unwrap(), 40_000));
            self.harness.add_remote(&remote);
            self.clients.push(remote);
            self.queue.borrow_mut().streams.push_back(stream);
            self.marks.push((self.listener, Readiness::READABLE));
        }
    }

    fn with_client(&mut self, change: impl FnOnce(&Remote)) {
        if !self.clients.is_empty() {
            let index = self.input.index(self.clients.len());
            let client = &self.clients[index];
            if !client.borrow().closed {
                change(client);
            }
        }
    }

    fn arrive(&mut self, bytes: &[u8], fin: bool) {
        self.sent_bytes += bytes.len();
        if self.sent_bytes <= MAX_SENT_BYTES {
            self.with_client(|client| {
                if !client.borrow().fin {
                    client.borrow_mut().arrive(bytes, fin);
                }
            });
        }
    }

    fn fault(&mut self) {
        let calls_before = self.input.index(4);
        let fault = self.input.pick(&Fault::ALL);
        self.with_client(|client| {
            let faults = &mut client.borrow_mut().faults;
            faults.extend((0..calls_before).map(|_| None));
            faults.push_back(Some(fault));
        });
    }

    fn accept_error(&mut self) {
        let errno = self.input.pick(&[
            Errno::EMFILE,
            Errno::ENOMEM,
            Errno::ECONNABORTED,
            Errno::EINTR,
        ]);
        self.queue.borrow_mut().errors.push_back(errno.into());
    }

    fn datagram(&mut self) {
        let count = self.input.index(80);
        let datagram = self.input.take(count).to_vec();
        let from = SocketAddr::from(([127, 0, 0, 1], self.input.pick(&[40_000, 1_024, 1_023])));
        if datagram.len() <= 64 && from.port() >= 1_024 {
            let reply = model::datagram(&datagram);
            self.udp_replies.extend(reply.map(|reply| (reply, from)));
        }
        self.udp
            .borrow_mut()
            .arrived
            .push_back(Ok((datagram, from)));
        self.marks.push((self.datagrams, Readiness::READABLE));
    }

    fn udp_error(&mut self) {
        let kind = self.input.byte();
        let error = |errno: Errno| io::Error::from(errno);
        let udp = &mut *self.udp.borrow_mut();
        match kind & 3 {
            0 => udp.send_errors.push_back(error(Errno::EAGAIN)),
            1 => udp.send_errors.push_back(error(Errno::EINTR)),
            2 => udp.send_errors.push_back(error(Errno::EPERM)),
            _ => {
                udp.arrived.push_back(Err(error(Errno::ECONNREFUSED)));
                self.marks.push((self.datagrams, Readiness::READABLE));
            }
        }
    }

    /// A signal to stop, or the end of the drain's time.
    fn signal(&mut self) {
        let shared = &mut self.harness.server.shared;
        match (self.input.byte() & 3, shared.lifecycle) {
            (0, _) => shared.requested.report = true,
            (1, Lifecycle::Serving) => shared.lifecycle = Lifecycle::Stopping,
            (2, Lifecycle::Draining) => shared.lifecycle = Lifecycle::OutOfTime,
            _ => {}
        }
    }

    /// A spurious event, or one of a source that is gone.
    fn invent_mark(&mut self) {
        let token = Token {
            key: u32::from(self.input.byte() & 31),
            generation: u32::from(self.input.byte() & 3),
        };
        let readiness = Readiness::from_bits_truncate(self.input.byte());
        self.marks.push((token, readiness));
    }

    fn step(&mut self) {
        if self.harness.outcome.is_some() {
            return;
        }
        let marks = std::mem::take(&mut self.marks);
        let is_blocked = |udp: &UdpScript| {
            let errors = udp.send_errors.iter();
            errors
                .filter(|error| error.kind() == io::ErrorKind::WouldBlock)
                .count()
        };
        let blocked = is_blocked(&self.udp.borrow());
        self.harness.step_with(&marks);
        if is_blocked(&self.udp.borrow()) < blocked {
            // The send buffer was full, and has room at once.
            self.marks.push((self.datagrams, Readiness::WRITABLE));
        }
        invariants::check(&self.harness);
    }

    /// Steps until the loop would block. Then nothing may be left to do.
    fn run_until_idle(&mut self) {
        for _ in 0..MAX_STEPS {
            self.step();
            let timeout = self.harness.server.reactor.poll_timeout(self.harness.now);
            let has_events = !self.marks.is_empty()
                || self.clients.iter().any(|client| {
                    let client = client.borrow();
                    client.token.is_some() && !client.closed && !client.edge.is_empty()
                });
            if self.harness.outcome.is_some() {
                return;
            }
            if !has_events && timeout != Some(Duration::ZERO) {
                self.assert_nothing_is_left();
                return;
            }
        }
        panic!("the loop is never idle");
    }

    fn assert_nothing_is_left(&self) {
        let stats = self.harness.stats();
        let settings = &self.harness.server.shared.settings;
        if stats.buffered > settings.max_buffered {
            return;
        }
        let is_serving = self.harness.server.shared.lifecycle == Lifecycle::Serving;
        let has_unread = !self.udp.borrow().arrived.is_empty();
        assert!(!is_serving || !has_unread, "unread datagrams");
        for (token, peer) in self.harness.peers() {
            let mut clients = self.clients.iter();
            let client = clients
                .find(|client| client.borrow().token == Some(token) && !client.borrow().closed);
            let client = client.expect("a peer has a client").borrow();
            let (state, owed) = (peer.state(), peer.owed(&self.harness.server.shared.pending));
            let what = || {
                let unread = client.arrived.len();
                format!("{token} {state:?}, owed {owed}, unread {unread}")
            };
            if matches!(state, PeerState::Held(_)) {
                continue;
            }
            assert!(!client.reset, "a reset went unnoticed: {}", what());
            let is_owed = owed > 0;
            assert!(
                !is_owed || client.found_full,
                "replies are kept: {}",
                what()
            );
            let is_unread = !client.arrived.is_empty() || client.fin && !client.eof_read;
            let may_wait = match state {
                // No event reports what follows an urgent mark: see `net::stream`.
                _ if client.faults_seen.contains(&(Call::Read, Fault::Short)) => true,
                PeerState::Waiting | PeerState::Partial(_) | PeerState::Owed
                    if settings.delay.is_zero() =>
                {
                    owed > HIGH_WATER_BYTES
                }
                PeerState::Waiting
                | PeerState::Partial(_)
                | PeerState::Owed
                | PeerState::Ending(_) => is_owed,
                PeerState::Lingering(_) => false,
                state => panic!("an idle loop has left a client {state:?}"),
            };
            assert!(!is_unread || may_wait, "unread input: {}", what());
        }
    }

    /// Without further faults, lets all input arrive and all replies be sent, until every client
    /// is closed.
    fn finish(&mut self) {
        self.run_until_idle();
        self.queue.borrow_mut().errors.clear();
        self.udp.borrow_mut().send_errors.clear();
        for _ in 0..MAX_STEPS {
            for client in &self.clients {
                let mut client = client.borrow_mut();
                client.faults.clear();
                if !client.closed {
                    client.make_room(1 << 20);
                    if !client.fin {
                        client.arrive(b"", true);
                    }
                }
            }
            if self.harness.outcome.is_some() || self.clients.iter().all(|c| c.borrow().closed) {
                break;
            }
            self.harness.advance(Duration::from_millis(20));
            self.step();
        }
        self.check_clients();
        self.check_datagrams();
    }

    fn check_clients(&self) {
        let settings = &self.harness.server.shared.settings;
        let clients = self.clients.iter().map(|client| client.borrow());
        // The drain ended without those that the listener left in the backlog.
        let accepted = clients.filter(|client| client.token.is_some());
        let sent: Vec<Sent> = accepted
            .map(|client| invariants::compare_sent(&client, settings))
            .collect();
        let count = |wanted| sent.iter().filter(|sent| **sent == wanted).count() as u64;
        // Only these miss something. A refused client is counted as refused, however it ended.
        let limits = [
            CloseCause::WriteTimeout,
            CloseCause::BufferedTooMuch,
            CloseCause::CutOff,
        ];
        let closed: u64 = limits.map(|cause| self.harness.closed(cause)).iter().sum();
        let refused = self.harness.closed(CloseCause::Busy);
        assert!(count(Sent::Part) <= closed, "{sent:?}");
        assert!(
            count(Sent::Part) + count(Sent::PartOfRefusal) <= closed + refused,
            "{sent:?}"
        );
        let stats = self.harness.stats();
        assert_eq!((stats.buffered, stats.open()), (0, 0));
    }

    /// The replies are those of the model, in order; each that is missing is counted.
    fn check_datagrams(&self) {
        let sent = &self.udp.borrow().sent;
        let mut owed = self.udp_replies.iter();
        for reply in sent {
            assert!(owed.any(|owed| owed == reply), "{reply:?} is not owed");
        }
        assert_eq!(self.harness.stats().datagrams_answered, sent.len() as u64);
    }
}
