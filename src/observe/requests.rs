//! What observers ask for, and what the program answers.
//!
//! **Owns** the open requests, the answers not collected yet, and the places of observers. **Must
//! never touch** a socket, nor the program's sources. **Invariant**: there are at most as many
//! requests and answers as observers; an observer that left has neither. Streams never hold all
//! places, so there is always one to make room for a new connection (pitfall 24).
//!
//! An observer is one source among many and must not look at the others while the loop is at work.
//! So it asks here and parks; the program answers between turns and wakes it.

use crate::net::stream::Traffic;
use crate::reactor::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Concurrent connections of observers. At this limit a new connection takes the place of another
/// one, so it bounds descriptors and memory, and not how many may ask: each keeps its place for as
/// long as 100 others take to connect.
pub(crate) const MAX_OBSERVERS: usize = 128;

/// Of these, streams of snapshots: each costs a snapshot ten times per second, and keeps its place.
pub(crate) const MAX_STREAM_OBSERVERS: usize = 16;

/// The descriptors that observers hold at most: their connections, and the listener. They are
/// reserved, apart from those of the clients.
pub(crate) const OBSERVER_DESCRIPTORS: u64 = MAX_OBSERVERS as u64 + 1;

/// Observers that are accepted, or make room for others, per turn: few, because the loop exists for
/// clients.
pub(crate) const OBSERVER_ACCEPTS_PER_TURN: usize = 4;

// Not all places are those of streams and of connections that have just been accepted.
const _: () = assert!(MAX_STREAM_OBSERVERS + 2 * OBSERVER_ACCEPTS_PER_TURN < MAX_OBSERVERS);

/// What an observer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// All counters.
    Metrics,
    /// The state of everything at this moment.
    Snapshot,
    /// The history of this slot.
    History(u32),
    /// What was recorded around the entry with this number.
    Turns(u64),
}

/// The body of an answer, shared by all observers that asked the same question between two turns.
pub(crate) type Body = Rc<[u8]>;

/// Requests and answers.
#[derive(Debug, Default)]
pub struct ObserverRequests {
    asked: BTreeMap<Token, Question>,
    answered: BTreeMap<Token, Body>,
    /// The names by which observers may address this server, beside its addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Whether the program is draining.
    pub is_draining: bool,
    /// Sources that exist for observers: listeners, and all connections.
    pub sources: usize,
    /// Connected observers.
    pub observers: usize,
    /// Of these, those that receive a stream of snapshots.
    pub streams: usize,
    /// The connections that may be closed to make room, with the count of their last progress: they
    /// were accepted, a request was complete, or the socket took a part of an answer.
    replaceable: BTreeMap<Token, u64>,
    /// How often observers have made progress.
    progress: u64,
    /// The listener that waits for a place.
    waiting_listener: Option<Token>,
    /// What went through observers' connections. Clients' bytes are counted elsewhere.
    pub traffic: Traffic,
    /// How long all calls of observers' sources took.
    pub worked: Duration,
}

impl ObserverRequests {
    /// Asks on behalf of `token`, which is woken when there is an answer.
    pub fn ask(&mut self, token: Token, question: Question) {
        self.asked.insert(token, question);
    }

    /// Takes the answer for `token`.
    pub fn take_answer(&mut self, token: Token) -> Option<Body> {
        self.answered.remove(&token)
    }

    /// Forgets `token`, which has left.
    pub fn forget(&mut self, token: Token) {
        self.asked.remove(&token);
        self.answered.remove(&token);
        self.replaceable.remove(&token);
    }

    /// Whether an observer waits for an answer.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What is asked, each question once.
    #[must_use]
    pub fn questions(&self) -> BTreeSet<Question> {
        self.asked.values().copied().collect()
    }

    /// Answers every observer that asked `question`. Returns the observers to wake.
    pub fn answer_all(&mut self, question: Question, body: Body) -> Vec<Token> {
        let asked = self.asked.iter().filter(|(_, asked)| **asked == question);
        let tokens: Vec<Token> = asked.map(|(token, _)| *token).collect();
        for token in &tokens {
            self.asked.remove(token);
            self.answered.insert(*token, Rc::clone(&body));
        }
        tokens
    }

    /// Notes that the connection has made progress: it is the last one to make room.
    pub(crate) fn note_progress(&mut self, token: Token) {
        self.progress += 1;
        self.replaceable.insert(token, self.progress);
    }

    /// The connection has become a stream: it keeps its place.
    pub(crate) fn keep(&mut self, token: Token) {
        self.replaceable.remove(&token);
    }

    /// The connection that has made no progress for the longest time.
    pub(crate) fn least_recent(&self) -> Option<Token> {
        let oldest = self.replaceable.iter().min_by_key(|(_, count)| **count)?;
        Some(*oldest.0)
    }

    /// The listener waits for a place. The program makes room between turns, and wakes it.
    pub(crate) fn wait_for_place(&mut self, listener: Token) {
        self.waiting_listener = Some(listener);
    }

    /// The listener that waits for a place, if any.
    pub(crate) fn take_waiting_listener(&mut self) -> Option<Token> {
        self.waiting_listener.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(key: u32) -> Token {
        Token { key, generation: 1 }
    }

    #[test]
    fn one_answer_serves_all_observers_with_the_same_question() {
        let mut requests = ObserverRequests::default();
        requests.ask(token(1), Question::Metrics);
        requests.ask(token(2), Question::Metrics);
        requests.ask(token(3), Question::History(7));
        requests.ask(token(4), Question::Snapshot);
        requests.forget(token(4));
        let questions = requests.questions();
        assert!(
            questions
                .iter()
                .eq(&[Question::Metrics, Question::History(7)])
        );
        let body = || Rc::from(&b"body"[..]);
        let woken = requests.answer_all(Question::Metrics, body());
        assert_eq!(woken, [token(1), token(2)]);
        assert!(requests.is_asked());
        assert_eq!(
            requests.answer_all(Question::History(7), body()),
            [token(3)]
        );
        assert!(!requests.is_asked());
        assert!(
            requests.take_answer(token(1)).is_some() && requests.take_answer(token(1)).is_none()
        );
        requests.forget(token(2));
        assert!(
            requests.take_answer(token(2)).is_none() && requests.take_answer(token(4)).is_none()
        );
    }

    #[test]
    fn the_connection_without_progress_for_the_longest_time_makes_room() {
        let mut requests = ObserverRequests::default();
        for key in 0..4 {
            requests.note_progress(token(key));
        }
        requests.note_progress(token(0));
        requests.keep(token(1));
        assert_eq!(requests.least_recent(), Some(token(2)));
        requests.forget(token(2));
        assert_eq!(requests.least_recent(), Some(token(3)));
        requests.forget(token(3));
        requests.forget(token(0));
        assert_eq!(requests.least_recent(), None);
    }
}
