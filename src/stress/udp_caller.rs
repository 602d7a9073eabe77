//! One UDP client: sends numbered datagrams and matches each reply to its datagram.
//!
//! **Owns** one socket and the datagrams whose fate is undecided. **Must never touch** another
//! client. **Invariant**: each datagram sent ends as exactly one of answered, late, lost or, if the
//! run is interrupted, in flight; a reply that decides no fate is counted as a duplicate or as wrong.
//!
//! Datagrams may be lost, duplicated, delayed and reordered (pitfall 14), so each carries a
//! number, and replies echo it. A client remembers the datagrams in flight and those given up:
//!
//! ```text
//!           reply                       reply
//! in flight -----> answered   given up -----> late
//!     |  timeout                 ^  |  the memory is full, or the run ends
//!     +--------------------------+  +-----> lost
//! ```
//!
//! Only an interrupt leaves datagrams in flight without a fate.
//!
//! Once its fate is decided, a datagram is forgotten. A reply to a number that was sent but is not
//! remembered is therefore a duplicate.

use super::Shared;
use super::counters::{NoReply, Reached};
use super::number::{last_with, read_number, write_number};
use crate::net::udp::reset_as_refused;
use crate::reactor::{Context, Readiness, Time, Verdict};
use log::debug;
use std::io;
use std::time::Duration;

/// The budget of one client per turn: more datagrams than are usually in flight. A server that
/// floods one client must not delay the others.
const DATAGRAMS_PER_TURN: usize = 16;

/// The most datagrams of one client in flight (open loop). Further ones that are due wait.
const MAX_IN_FLIGHT_DATAGRAMS: u32 = 64;

/// Undecided datagrams that a client remembers: 3 KiB at most. Even with the most in flight, a
/// late reply is recognised for one more timeout.
const MAX_UNDECIDED_DATAGRAMS: usize = 2 * MAX_IN_FLIGHT_DATAGRAMS as usize;

/// The socket of a UDP client: mio's, connected to the server, or a script in a test.
pub(crate) trait ConnectedUdp {
    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// Those of `send(2)`, including the pending error of an earlier datagram.
    fn send(&self, datagram: &[u8]) -> io::Result<usize>;

    /// Receives one datagram, truncated to the buffer.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, including the pending error of an earlier datagram.
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ConnectedUdp for mio::net::UdpSocket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        Self::send(self, datagram)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::recv(self, buffer).map_err(reset_as_refused)
    }
}

/// One client.
#[derive(Debug)]
pub(crate) struct UdpCaller<U> {
    socket: U,
    state: UdpCallerState,
}

/// The state of a client.
#[derive(Debug)]
enum UdpCallerState {
    /// Opened, and not driven yet.
    Opening,
    /// Not one of the active clients. No deadline.
    Idle,
    /// Sends datagrams and matches replies. Deadline: the timeout of the oldest datagram in
    /// flight. Boxed, so that an idle client stays small.
    Active(Box<Exchange>),
}

/// The datagrams of an active client.
#[derive(Debug, Default)]
struct Exchange {
    /// The client's index among the active ones.
    index: u32,
    /// Datagrams sent, which is the number of the next one.
    sent: u64,
    /// Datagrams answered.
    answered: u64,
    /// Measured datagrams answered.
    measured: u64,
    /// In the order of their numbers, so those given up come before those in flight.
    undecided: Vec<Datagram>,
}

/// A datagram whose fate is undecided.
#[derive(Debug)]
struct Datagram {
    number: u64,
    state: DatagramState,
    measured: bool,
    begun: Time,
}

/// What is known of an undecided datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatagramState {
    /// A reply in time is possible.
    InFlight,
    /// The timeout has passed. A reply is late.
    GivenUp,
}

/// What became of a datagram.
enum Fate {
    Answered,
    Late,
    Lost,
}

impl<U: ConnectedUdp> UdpCaller<U> {
    /// A client whose socket is open.
    pub(crate) fn new(socket: U) -> Self {
        Self {
            socket,
            state: UdpCallerState::Opening,
        }
    }

    /// The socket, for registration with the poll.
    pub(crate) fn socket_mut(&mut self) -> &mut U {
        &mut self.socket
    }

    /// Checks the replies received, then gives up what has timed out, then sends what may be sent.
    /// In this order, and because the socket is read before anything is given up, a reply that is
    /// already there is never late because this loop was (pitfall 20).
    pub(crate) fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match &self.state {
            UdpCallerState::Opening => self.open(cx),
            // The event of a reply may be in a later batch.
            UdpCallerState::Active(exchange) if exchange.is_overdue(cx) => {
                cx.readiness.insert(Readiness::READABLE);
            }
            UdpCallerState::Active(_) | UdpCallerState::Idle => {}
        }
        let received = self.receive_replies(cx);
        let result = received.and_then(|()| match &mut self.state {
            UdpCallerState::Active(exchange) => exchange.advance(&self.socket, cx),
            UdpCallerState::Opening | UdpCallerState::Idle => Ok(()),
        });
        match result {
            Err(error) => self.lose(&error, cx),
            Ok(()) if cx.readiness.contains(Readiness::READABLE) => Verdict::Again,
            Ok(()) => Verdict::Park,
        }
    }

    /// The run has ended: undecided datagrams get no reply any more.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.end(cx.shared.no_reply_at_end(), cx)
    }

    fn end(&mut self, why: NoReply, cx: &mut Context<'_, Shared>) -> Verdict {
        if let UdpCallerState::Active(exchange) = &mut self.state {
            exchange.finish(why, cx.clock_now(), cx.shared);
        }
        Verdict::Close
    }

    fn open(&mut self, cx: &mut Context<'_, Shared>) {
        let now = cx.clock_now();
        // There is no handshake: the socket is open, and that is all.
        cx.shared.counters.note_connected(Duration::ZERO, now);
        cx.shared.counters.note_welcomed();
        self.state = match cx.shared.activate(cx.token) {
            Some(index) => UdpCallerState::Active(Box::new(Exchange {
                index,
                ..Exchange::default()
            })),
            None => UdpCallerState::Idle,
        };
    }

    fn receive_replies(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                break;
            }
            let Shared {
                input, counters, ..
            } = &mut *cx.shared;
            let reads = &mut counters.traffic.reads;
            let received = retry(cx.readiness, Readiness::READABLE, reads, || {
                self.socket.recv(input)
            })?;
            if let Some(count) = received {
                self.check_reply(count, cx.clock_now(), cx.shared);
            }
        }
        Ok(())
    }

    /// Matches a reply of `count` bytes in the scratch input to its datagram.
    fn check_reply(&mut self, count: usize, now: Time, shared: &mut Shared) {
        shared.counters.traffic.bytes_in += count as u64;
        let counted = u64::from(shared.is_measuring());
        let written = read_number(&shared.input[..count], &shared.script.reply);
        if let UdpCallerState::Active(exchange) = &mut self.state
            && let Some(number) = written.and_then(|bits| last_with(bits, exchange.sent))
        {
            if !exchange.note_reply(number, now, shared) {
                shared.counters.datagrams.duplicates += counted;
            }
            return;
        }
        shared.note_wrong_bytes(0, count);
        shared.counters.datagrams.wrong += counted;
    }

    fn lose(&mut self, error: &io::Error, cx: &mut Context<'_, Shared>) -> Verdict {
        let cause = cx.shared.cause_of(error);
        debug!("lost {}: {}", cx.token, cause.name());
        cx.shared.counters.note_lost(cause, Reached::Welcomed);
        self.end(NoReply::ClientLost, cx)
    }
}

impl Exchange {
    /// Gives up what has timed out, unless there are more replies to read; sends what may be sent;
    /// sets the deadline.
    fn advance(
        &mut self,
        socket: &impl ConnectedUdp,
        cx: &mut Context<'_, Shared>,
    ) -> io::Result<()> {
        let timeout = cx.shared.plan.timeout;
        if !cx.readiness.contains(Readiness::READABLE) {
            self.give_up_older_than(timeout, cx.clock_now(), cx.shared);
        }
        self.send_datagrams(socket, cx)?;
        match self.undecided.get(self.first_in_flight()) {
            Some(oldest) => cx.set_deadline(oldest.begun.after(timeout).since(cx.turn_start)),
            None => cx.clear_deadline(),
        }
        Ok(())
    }

    /// Sends the datagrams that may be sent now: in the closed loop one, when none is in flight; in
    /// the open loop those that are due.
    fn send_datagrams(
        &mut self,
        socket: &impl ConnectedUdp,
        cx: &mut Context<'_, Shared>,
    ) -> io::Result<()> {
        let in_flight = (self.undecided.len() - self.first_in_flight()) as u32;
        let most = MAX_IN_FLIGHT_DATAGRAMS;
        let sendable = cx
            .shared
            .sendable(self.index, self.sent, in_flight, most, || cx.clock_now());
        for _ in 0..sendable {
            if !cx.readiness.contains(Readiness::WRITABLE) {
                break;
            }
            let now = cx.clock_now();
            let Shared {
                datagram, counters, ..
            } = &mut *cx.shared;
            write_number(self.sent, datagram);
            let writes = &mut counters.traffic.writes;
            let sent = retry(cx.readiness, Readiness::WRITABLE, writes, || {
                socket.send(datagram)
            })?;
            let Some(count) = sent else { break };
            counters.traffic.bytes_out += count as u64;
            let begun = cx.shared.begun_at(self.index, self.sent, now);
            cx.shared.note_begun(begun);
            self.remember(begun, now, cx.shared);
        }
        Ok(())
    }

    /// Remembers the datagram just sent. If the memory is full the oldest one given up is lost.
    fn remember(&mut self, begun: Time, now: Time, shared: &mut Shared) {
        if self.undecided.len() == MAX_UNDECIDED_DATAGRAMS {
            self.decide(0, Fate::Lost, now, shared);
        }
        shared.counters.sent_once += u32::from(self.sent == 0);
        self.undecided.push(Datagram {
            number: self.sent,
            state: DatagramState::InFlight,
            measured: shared.is_measured(begun),
            begun,
        });
        self.sent += 1;
    }

    /// Where in `undecided` the datagrams in flight begin.
    fn first_in_flight(&self) -> usize {
        self.undecided
            .partition_point(|datagram| datagram.state == DatagramState::GivenUp)
    }

    /// A reply to datagram `number` was received. Returns whether it decided a fate.
    fn note_reply(&mut self, number: u64, now: Time, shared: &mut Shared) -> bool {
        let found = self
            .undecided
            .binary_search_by_key(&number, |datagram| datagram.number);
        let Ok(position) = found else { return false };
        let fate = match self.undecided[position].state {
            DatagramState::InFlight => Fate::Answered,
            DatagramState::GivenUp => Fate::Late,
        };
        self.decide(position, fate, now, shared);
        true
    }

    /// Whether a datagram has been in flight for the timeout.
    fn is_overdue(&self, cx: &Context<'_, Shared>) -> bool {
        let oldest = self.undecided.get(self.first_in_flight());
        oldest.is_some_and(|oldest| cx.clock_now().since(oldest.begun) >= cx.shared.plan.timeout)
    }

    /// Gives up the datagrams that have been in flight for `timeout`.
    fn give_up_older_than(&mut self, timeout: Duration, now: Time, shared: &mut Shared) {
        let counters = &mut shared.counters;
        let first = self.first_in_flight();
        for datagram in &mut self.undecided[first..] {
            let waited = now.since(datagram.begun);
            if waited < timeout {
                break;
            }
            datagram.state = DatagramState::GivenUp;
            counters.in_flight -= 1;
            if datagram.measured {
                counters.note_no_reply(NoReply::TimedOut, waited, 1);
            }
        }
    }

    /// Decides the fate of a datagram: the only place that does.
    fn decide(&mut self, position: usize, fate: Fate, now: Time, shared: &mut Shared) {
        let in_window = shared.is_in_window(now);
        let counters = &mut shared.counters;
        let Datagram {
            begun, measured, ..
        } = self.undecided.remove(position);
        match fate {
            Fate::Answered => {
                counters.note_reply(begun, now, measured, in_window);
                counters.answered_once += u32::from(self.answered == 0);
                self.answered += 1;
                self.measured += u64::from(measured);
            }
            Fate::Late => counters.datagrams.late += u64::from(measured),
            Fate::Lost => counters.datagrams.lost += u64::from(measured),
        }
    }

    /// The client has ended: nothing undecided can be answered any more. `why` is about the
    /// datagrams in flight; those given up are lost.
    fn finish(&mut self, why: NoReply, now: Time, shared: &mut Shared) {
        let counters = &mut shared.counters;
        for datagram in self.undecided.drain(..) {
            let is_in_flight = datagram.state == DatagramState::InFlight;
            counters.in_flight -= u64::from(is_in_flight);
            if !datagram.measured {
                continue;
            }
            if is_in_flight {
                counters.note_no_reply(why, now.since(datagram.begun), 1);
            }
            let is_lost = !is_in_flight || why != NoReply::Interrupted;
            counters.datagrams.lost += u64::from(is_lost);
        }
        counters.note_served(self.measured);
    }
}

/// Makes a system call until no signal interrupts it. `None`: it would block, and `direction` is
/// cleared.
fn retry(
    readiness: &mut Readiness,
    direction: Readiness,
    calls: &mut u64,
    mut call: impl FnMut() -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    loop {
        *calls += 1;
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.remove(direction);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn a_reply_is_matched_beyond_four_billion_datagrams() {
        let mut shared = Shared::new(plan());
        let mut exchange = Exchange {
            sent: u64::from(u32::MAX) - 1,
            answered: u64::from(u32::MAX) - 1,
            measured: u64::from(u32::MAX) - 1,
            ..Exchange::default()
        };
        shared.measured_from = Time::ZERO;
        for _ in 0..5 {
            shared.note_begun(Time::ZERO);
            exchange.remember(Time::ZERO, Time::ZERO, &mut shared);
        }
        for bits in [0, u32::MAX, 2, 1, u32::MAX - 1] {
            let number = last_with(bits, exchange.sent).expect("it was sent");
            assert!(exchange.note_reply(number, Time::ZERO, &mut shared));
            assert!(!exchange.note_reply(number, Time::ZERO, &mut shared));
        }
        exchange.finish(NoReply::TimedOut, Time::ZERO, &mut shared);
        assert_eq!(shared.counters.best_served, u64::from(u32::MAX) + 4);
        assert_eq!(shared.counters.answered, 5);
    }
}
