//! One UDP client: numbered datagrams out, and each reply matched to its own.
//!
//! **Owns** one socket and the numbers of its last datagrams. **Must never touch** another
//! client. **Invariant**: each datagram sent is answered, late, lost or still waited for, and
//! none of them twice; what fits none of them is counted as doubled or wrong.
//!
//! A datagram may vanish, come twice or come late (pitfall 14), so its name ends in its number.
//! Sixty-four bits remember which of the last sixty-four were answered.

use super::Shared;
use super::counters::{LossCause, Reached};
use super::plan::NUMBER_BYTES;
use crate::reactor::{Context, Readiness, Time, Verdict};
use log::debug;
use std::io;

/// Datagrams received by one client in one turn: more than it mostly waits for, and a relay that
/// floods one client must not hold up the others.
const DATAGRAMS_PER_TURN: usize = 16;

/// Datagrams that a client may wait for at once (open loop): as many as it remembers.
const WINDOW: u32 = u64::BITS;

/// What a client's datagrams go through: mio's connected socket, or a script in a test.
pub trait Line {
    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// `send(2)`'s, among them that of a datagram sent earlier.
    fn send(&self, datagram: &[u8]) -> io::Result<usize>;

    /// Receives one datagram, cut to the buffer.
    ///
    /// # Errors
    ///
    /// `recv(2)`'s, among them that of a datagram sent earlier.
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Line for mio::net::UdpSocket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        Self::send(self, datagram)
    }

    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::recv(self, buffer)
    }
}

/// How far the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Just born.
    Opening,
    /// Not one of those who talk.
    Idle,
    /// Sends and checks. Deadline: the oldest datagram's timeout.
    Talking,
}

/// One client.
#[derive(Debug)]
pub struct Datagrams<U> {
    socket: U,
    phase: Phase,
    /// Its place among those who talk.
    seat: u32,
    /// The number of the next datagram.
    next: u32,
    /// The first that is neither answered nor given up; `next` if there is none.
    oldest: u32,
    /// Datagrams answered that count.
    measured: u32,
    /// Whether datagram `next - 1 - n` was answered, as bit n.
    answered: u64,
    /// When the last datagram was sent (closed loop).
    begun: Time,
}

impl<U: Line> Datagrams<U> {
    /// A client whose socket is open.
    pub fn new(socket: U) -> Self {
        Self {
            socket,
            phase: Phase::Opening,
            seat: 0,
            next: 0,
            oldest: 0,
            measured: 0,
            answered: 0,
            begun: Time::ZERO,
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut U {
        &mut self.socket
    }

    /// Sends what may be sent, and hears what has come.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        if self.phase == Phase::Opening {
            self.open(cx);
        }
        let worked = self.talk(cx);
        worked.unwrap_or_else(|error| self.lose(&error, cx))
    }

    /// The oldest datagram has waited long enough: it is lost, or its reply is.
    pub fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let now = cx.clock_now();
        while self.oldest < self.next {
            let begun = self.begun_at(self.oldest, cx.shared);
            if now.since(begun) < cx.shared.plan.timeout {
                break;
            }
            cx.shared.counters.in_flight -= 1;
            cx.shared.counters.datagrams.lost += u64::from(cx.shared.is_measuring());
            if cx.shared.is_measured(begun) {
                cx.shared.counters.note_unanswered(begun, now);
            }
            self.oldest += 1;
            self.skip_answered();
        }
        self.drive(cx)
    }

    /// The run is over: what is waited for is unanswered.
    pub fn finish(&self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.account(cx);
        Verdict::Close
    }

    /// The poll did not take the socket.
    pub fn unregistered(&self, error: &io::Error, shared: &mut Shared) {
        shared.note_error(error);
        shared
            .counters
            .note_lost(LossCause::Failed, Reached::Nothing);
    }

    fn open(&mut self, cx: &mut Context<'_, Shared>) {
        let now = cx.clock_now();
        cx.shared
            .counters
            .note_connected(cx.turn_start.since(now), now);
        cx.shared.counters.note_greeted();
        self.phase = match cx.shared.take_seat(cx.token) {
            Some(seat) => {
                self.seat = seat;
                Phase::Talking
            }
            None => Phase::Idle,
        };
    }

    fn talk(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<Verdict> {
        for _ in 0..DATAGRAMS_PER_TURN {
            if self.phase == Phase::Talking {
                self.speak(cx)?;
            }
            if !cx.readiness.contains(Readiness::READABLE) {
                return Ok(Verdict::Park);
            }
            cx.shared.counters.traffic.reads += 1;
            match self.socket.recv(&mut cx.shared.input) {
                Ok(count) => self.hear(count, cx),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cx.readiness.remove(Readiness::READABLE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Verdict::Again)
    }

    /// Sends the datagrams that may begin now, and sets the oldest one's deadline.
    fn speak(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<()> {
        for _ in 0..self.allowance(cx) {
            if !cx.readiness.contains(Readiness::WRITABLE) {
                break;
            }
            let now = cx.clock_now();
            let Shared {
                datagram, counters, ..
            } = &mut *cx.shared;
            write_number(self.next, datagram);
            counters.traffic.writes += 1;
            match self.socket.send(datagram) {
                Ok(count) => counters.traffic.bytes_out += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cx.readiness.remove(Readiness::WRITABLE);
                    break;
                }
                Err(error) => return Err(error),
            }
            self.begun = now;
            let begun = self.begun_at(self.next, cx.shared);
            cx.shared.note_begun(begun);
            self.next += 1;
            self.answered <<= 1;
        }
        if self.oldest == self.next {
            cx.clear_deadline();
        } else {
            let begun = self.begun_at(self.oldest, cx.shared);
            let given_up = begun.after(cx.shared.plan.timeout);
            cx.set_deadline(given_up.since(cx.turn_start));
        }
        Ok(())
    }

    /// How many datagrams may begin now: one in the closed loop, once the last one's fate is
    /// known; in the open loop those that are due, as far as they can be remembered.
    fn allowance(&self, cx: &Context<'_, Shared>) -> u32 {
        let waiting = self.next - self.oldest;
        match &cx.shared.schedule {
            None if waiting > 0 => 0,
            None => cx.shared.may_begin(1),
            Some(schedule) => {
                let due = schedule.due_count(self.seat, cx.clock_now());
                due.saturating_sub(self.next).min(WINDOW - waiting)
            }
        }
    }

    fn begun_at(&self, number: u32, shared: &Shared) -> Time {
        match &shared.schedule {
            None => self.begun,
            Some(schedule) => schedule.due_time(self.seat, number),
        }
    }

    /// Matches one reply of `count` bytes in the shared input to its datagram.
    fn hear(&mut self, count: usize, cx: &mut Context<'_, Shared>) {
        let now = cx.clock_now();
        let measuring = u64::from(cx.shared.is_measuring());
        cx.shared.counters.traffic.bytes_in += count as u64;
        let number = read_number(&cx.shared.input[..count], &cx.shared.script.reply);
        let Some(number) = number.filter(|number| *number < self.next) else {
            cx.shared.note_wrong_bytes(0, count);
            cx.shared.counters.datagrams.wrong += measuring;
            return;
        };
        let age = self.next - 1 - number;
        // One that is too old to be remembered can only be late.
        let bit = 1u64.checked_shl(age).unwrap_or(0);
        if self.answered & bit != 0 {
            cx.shared.counters.datagrams.doubled += measuring;
            return;
        }
        self.answered |= bit;
        if number < self.oldest {
            let datagrams = &mut cx.shared.counters.datagrams;
            datagrams.lost = datagrams.lost.saturating_sub(measuring);
            datagrams.late += measuring;
            return;
        }
        let begun = self.begun_at(number, cx.shared);
        let measured = cx.shared.is_measured(begun);
        let first = self.answered.count_ones() == 1 && self.oldest == 0 && self.measured == 0;
        cx.shared.counters.answered_once += u32::from(first);
        cx.shared.counters.note_reply(begun, now, measured);
        self.measured += u32::from(measured);
        self.skip_answered();
    }

    /// Moves `oldest` over those that were answered out of order.
    fn skip_answered(&mut self) {
        while self.oldest < self.next && self.answered >> (self.next - 1 - self.oldest) & 1 == 1 {
            self.oldest += 1;
        }
    }

    fn lose(&self, error: &io::Error, cx: &mut Context<'_, Shared>) -> Verdict {
        let cause = LossCause::from(error);
        debug!("lost {}: {}", cx.token, cause.name());
        cx.shared.note_error(error);
        cx.shared.counters.note_lost(cause, Reached::Greeted);
        self.account(cx);
        Verdict::Close
    }

    /// Counts what the client leaves behind.
    fn account(&self, cx: &mut Context<'_, Shared>) {
        if self.phase != Phase::Talking {
            return;
        }
        let now = cx.clock_now();
        for number in self.oldest..self.next {
            if self.answered >> (self.next - 1 - number) & 1 == 1 {
                continue;
            }
            let begun = self.begun_at(number, cx.shared);
            cx.shared.counters.in_flight -= 1;
            cx.shared.counters.datagrams.lost += u64::from(cx.shared.is_measured(begun));
            if cx.shared.is_measured(begun) {
                cx.shared.counters.note_unanswered(begun, now);
            }
        }
        cx.shared.counters.note_served(self.measured);
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `number` as the last eight hexadecimal digits of `datagram`.
fn write_number(number: u32, datagram: &mut [u8]) {
    let mut rest = number;
    for digit in datagram.iter_mut().rev().take(NUMBER_BYTES) {
        *digit = DIGITS[(rest % 16) as usize];
        rest /= 16;
    }
}

/// The number in `reply`, if it is `expected` but for its number.
fn read_number(reply: &[u8], expected: &[u8]) -> Option<u32> {
    // Behind the number stands the exclamation mark alone.
    let (end, start) = (expected.len() - 1, expected.len() - 1 - NUMBER_BYTES);
    if reply.len() != expected.len()
        || reply[..start] != expected[..start]
        || reply[end..] != expected[end..]
    {
        return None;
    }
    reply[start..end].iter().try_fold(0, |number, byte| {
        let digit = DIGITS.iter().position(|digit| digit == byte)?;
        Some(number << 4 | digit as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        let expected = b"Hello, abc00000000!";
        for number in [0, 1, 0xdead_beef, u32::MAX] {
            let mut datagram = b"abc00000000".to_vec();
            write_number(number, &mut datagram);
            let reply = [b"Hello, ", &datagram[..], b"!"].concat();
            assert_eq!(read_number(&reply, expected), Some(number));
        }
        for wrong in [
            &b"Hello, abc00000000"[..],
            b"Hello, abd00000000!",
            b"Hello, abc0000000x!",
            b"Hello, abc0000000A!",
            b"Hello, abc00000000?",
            b"",
        ] {
            assert_eq!(read_number(wrong, expected), None);
        }
    }
}
