//! The states of a conversation, and the deadline of each.
//!
//! **Owns** the rule that the state alone determines the deadline. **Must never touch** a stream
//! or the loop's timers. **Invariant**: [`deadline`] is a pure function.

use super::LINGER;
use crate::protocol::refusal::Refusal;
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

/// The bytes that one call moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) sent: usize,
    pub(super) received: usize,
}

impl Moved {
    pub(super) fn and(self, next: Self) -> Self {
        Self {
            sent: self.sent + next.sent,
            received: self.received + next.received,
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

/// The deadline after a call that moved these bytes and took the peer from state `before` (`None`
/// if the deadline has just fired) to `after`. A call that moved nothing, such as a spurious
/// wakeup, changes no deadline.
pub(super) fn deadline(
    before: Option<PeerState>,
    after: PeerState,
    moved: Moved,
    settings: &Settings,
) -> Deadline {
    let (timeout, has_progressed) = match after {
        PeerState::Greeting | PeerState::Refusing(_) => (None, false),
        PeerState::Waiting => (settings.idle_timeout, moved.sent + moved.received > 0),
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
    use PeerState::{Ending, Greeting, Held, Lingering, Owed, Waiting};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_deadline_follows_from_the_state_and_the_bytes_moved() {
        let settings = |idle_timeout| Settings {
            idle_timeout,
            write_timeout: 30 * SECOND,
            delay: SECOND,
            ..Settings::default()
        };
        let (idle, never) = (settings(Some(60 * SECOND)), settings(None));
        let moved = |sent, received| Moved { sent, received };
        let [none, sent, received] = [moved(0, 0), moved(1, 0), moved(0, 1)];
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
            let found = deadline(before, after, moved, settings);
            assert_eq!(found, expected, "{before:?} -> {after:?}, {moved:?}");
        }
    }
}
