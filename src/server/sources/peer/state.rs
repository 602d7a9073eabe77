//! The states of a conversation, and the deadline of each.
//!
//! **Owns** the rule that the state alone determines the deadline. **Must never touch** a stream
//! or the loop's timers. **Invariant**: [`deadline`] is a pure function.

use super::LINGER;
use crate::protocol::refusal::Refusal;
use crate::reactor::Time;
use crate::server::Settings;
use crate::server::stats::CloseCause;
use std::time::Duration;

/// The state of the conversation. It alone determines which deadline the peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Accepted; the welcome is still to be sent. Lasts until the first drive; no deadline.
    Greeting,
    /// Accepted beyond a limit; the refusal is still to be sent. Lasts until the first drive; no
    /// deadline.
    Refusing(Refusal),
    /// Owed nothing: the client speaks next. Deadline: the idle timeout, from the last byte.
    Waiting,
    /// Owed nothing, and a line has begun. Deadline: the line timeout, from its first byte, or the
    /// idle timeout, from the last one; the earlier of them.
    Partial(LineStart),
    /// Replies wait for the socket to take them; below the high-water mark the client is still
    /// read. Deadline: the write timeout, from the last byte sent.
    Owed,
    /// Replies wait for `--delay`; nothing is read or sent. Deadline: the delay. After it the
    /// conversation continues, or ends for the cause.
    Held(Option<CloseCause>),
    /// No further message is answered; what is owed is being sent. Deadline: the write timeout,
    /// from the last byte sent.
    Ending(CloseCause),
    /// Everything is sent, FIN included; further input is discarded. Deadline: [`LINGER`].
    Lingering(CloseCause),
}

/// When a line began, in milliseconds, 32 bits, stored as bytes: alignment would enlarge every
/// client's slot. Wraps after 49 days, which no line timeout reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineStart([u8; 4]);

impl LineStart {
    #[expect(clippy::cast_possible_truncation, reason = "the age wraps with it")]
    pub(super) fn at(time: Time) -> Self {
        Self((time.since(Time::ZERO).as_millis() as u32).to_ne_bytes())
    }

    pub(super) fn age(self, now: Time) -> Duration {
        let [begun, now] = [self, Self::at(now)].map(|start| u32::from_ne_bytes(start.0));
        Duration::from_millis(now.wrapping_sub(begun).into())
    }

    #[cold]
    fn time_left(self, settings: &Settings, now: Time) -> Option<Duration> {
        let line_timeout = settings.line_timeout;
        let left = line_timeout.map(|timeout| timeout.saturating_sub(self.age(now)));
        left.into_iter().chain(settings.idle_timeout).min()
    }
}

/// The bytes that one call moved, and the messages that it completed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) messages: u64,
}

impl Moved {
    pub(super) fn and(self, next: Self) -> Self {
        Self {
            sent: self.sent + next.sent,
            received: self.received + next.received,
            messages: self.messages + next.messages,
        }
    }
}

/// What happens to the one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Unchanged.
    Keep,
    /// Cancelled.
    Clear,
    /// Set to this long after the start of the turn.
    Set(Duration),
}

/// The deadline after a call at `now` that moved these bytes and took the peer from state `before`
/// (`None` if the deadline has just fired) to `after`. A call that moved nothing, such as a
/// spurious wakeup, changes no deadline.
#[inline]
pub(super) fn deadline(
    before: Option<PeerState>,
    after: PeerState,
    moved: Moved,
    settings: &Settings,
    now: Time,
) -> Deadline {
    let has_moved = moved.sent + moved.received > 0;
    let (timeout, has_progressed) = match after {
        PeerState::Greeting | PeerState::Refusing(_) => (None, false),
        PeerState::Waiting => (settings.idle_timeout, has_moved),
        PeerState::Partial(begun) => (begun.time_left(settings, now), has_moved),
        PeerState::Owed | PeerState::Ending(_) => (Some(settings.write_timeout), moved.sent > 0),
        PeerState::Held(_) => (Some(settings.delay), false),
        PeerState::Lingering(_) => (Some(LINGER), false),
    };
    let has_entered = before != Some(after);
    match timeout {
        Some(timeout) if has_entered || has_progressed => Deadline::Set(timeout),
        None if has_entered => Deadline::Clear,
        _ => Deadline::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CloseCause::{Exit, Reset};
    use PeerState::{Ending, Greeting, Held, Lingering, Owed, Partial, Waiting};

    const SECOND: Duration = Duration::from_secs(1);

    fn settings(idle_timeout: Option<Duration>, line_timeout: Option<Duration>) -> Settings {
        Settings {
            idle_timeout,
            line_timeout,
            write_timeout: 30 * SECOND,
            delay: SECOND,
            ..Settings::default()
        }
    }

    fn moved(sent: usize, received: usize, messages: u64) -> Moved {
        Moved {
            sent,
            received,
            messages,
        }
    }

    fn at(seconds: u32) -> Time {
        Time::ZERO.after(seconds * SECOND)
    }

    #[test]
    fn the_deadline_follows_from_the_state_and_the_bytes_moved() {
        let line_timeout = Some(20 * SECOND);
        let (idle, never) = (
            settings(Some(60 * SECOND), line_timeout),
            settings(None, line_timeout),
        );
        let [none, sent, received] = [moved(0, 0, 0), moved(1, 0, 0), moved(0, 1, 0)];
        let set = |seconds| Deadline::Set(seconds * SECOND);
        for (before, after, moved, settings, expected) in [
            // A client that is owed nothing: any byte restarts the idle timeout.
            (Some(Greeting), Waiting, none, &idle, set(60)),
            (Some(Waiting), Waiting, none, &idle, Deadline::Keep),
            (Some(Waiting), Waiting, sent, &idle, set(60)),
            (Some(Waiting), Waiting, received, &idle, set(60)),
            (Some(Owed), Waiting, sent, &idle, set(60)),
            (Some(Waiting), Waiting, received, &never, Deadline::Keep),
            (Some(Owed), Waiting, sent, &never, Deadline::Clear),
            // A client that is owed replies: only a byte that it reads restarts the write timeout.
            (Some(Waiting), Owed, received, &idle, set(30)),
            (Some(Owed), Owed, received, &idle, Deadline::Keep),
            (Some(Owed), Owed, sent, &idle, set(30)),
            (
                Some(Ending(Exit)),
                Ending(Exit),
                none,
                &idle,
                Deadline::Keep,
            ),
            (Some(Ending(Exit)), Ending(Exit), sent, &idle, set(30)),
            // A delay and lingering have a fixed length.
            (Some(Waiting), Held(None), received, &idle, set(1)),
            (Some(Held(None)), Held(None), none, &idle, Deadline::Keep),
            (None, Held(None), none, &idle, set(1)),
            (None, Owed, none, &idle, set(30)),
            (
                Some(Ending(Exit)),
                Lingering(Exit),
                sent,
                &idle,
                Deadline::Set(LINGER),
            ),
            (
                Some(Lingering(Reset)),
                Lingering(Reset),
                received,
                &idle,
                Deadline::Keep,
            ),
        ] {
            let found = deadline(before, after, moved, settings, at(90));
            assert_eq!(found, expected, "{before:?} -> {after:?}, {moved:?}");
        }
    }

    #[test]
    fn a_line_has_a_deadline_that_only_its_end_restarts() {
        let line_timeout = Some(20 * SECOND);
        let idle = settings(Some(60 * SECOND), line_timeout);
        let never = settings(None, line_timeout);
        let hurried = settings(Some(5 * SECOND), line_timeout);
        let untimed = settings(Some(60 * SECOND), None);
        let patient = settings(None, None);
        let [none, received] = [moved(0, 0, 0), moved(0, 1, 0)];
        let line = |seconds| Partial(LineStart::at(at(seconds)));
        let set = |seconds| Deadline::Set(seconds * SECOND);
        for (before, after, moved, settings, expected) in [
            (Waiting, line(90), received, &idle, set(20)),
            (line(80), line(80), received, &idle, set(10)),
            (line(80), line(80), none, &idle, Deadline::Keep),
            (line(80), line(90), moved(9, 9, 1), &idle, set(20)),
            (line(80), Waiting, moved(9, 9, 1), &idle, set(60)),
            (line(80), line(80), received, &untimed, set(60)),
            (line(80), line(80), received, &hurried, set(5)),
            (line(69), line(69), received, &idle, set(0)),
            (Waiting, line(90), received, &never, set(20)),
            (Waiting, line(90), received, &patient, Deadline::Clear),
        ] {
            let found = deadline(Some(before), after, moved, settings, at(90));
            assert_eq!(found, expected, "{before:?} -> {after:?}, {moved:?}");
        }
    }

    #[test]
    fn the_age_of_a_line_survives_the_wrap_of_its_start() {
        let begun = Time::ZERO.after(Duration::from_millis(u64::from(u32::MAX) - 999));
        let age = LineStart::at(begun).age(begun.after(30 * SECOND));
        assert_eq!(age, 30 * SECOND);
    }
}
