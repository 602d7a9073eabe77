//! What observers ask for, and what the program answers.
//!
//! **Owns** the open requests, the answers not collected yet, and the number of observers. **Must never touch** a socket, nor the program's sources. **Invariant**: there are at
//! most as many requests and answers as observers; an observer that left has neither.
//!
//! An observer is one source among many and must not look at the others while the loop is at work.
//! So it asks here and parks; the program answers between turns and wakes it.

use crate::net::stream::Traffic;
use crate::reactor::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Concurrent observers. Their descriptors are reserved, apart from those of the clients.
pub(crate) const MAX_OBSERVERS: usize = 16;

/// Further observers that are being refused at once. The accept backlog holds the rest.
pub(crate) const MAX_REFUSED_OBSERVERS: usize = 4;

/// What an observer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// All counters.
    Metrics,
    /// The state of everything at this moment.
    Snapshot,
    /// The history of this slot.
    History(u32),
}

/// The body of an answer, shared by all observers that asked the same question between two turns.
pub(crate) type Body = Rc<[u8]>;

/// Requests and answers.
#[derive(Debug, Default)]
pub struct ObserverRequests {
    asked: BTreeMap<Token, Question>,
    answered: BTreeMap<Token, Body>,
    /// Whether the program is draining.
    pub is_draining: bool,
    /// Sources that exist for observers: listeners, and all connections.
    pub sources: usize,
    /// Connected observers.
    pub observers: usize,
    /// Of these, those that receive a stream of snapshots.
    pub streams: usize,
    /// Connections that are being refused.
    pub refusing: usize,
    /// What went through observers' connections. Clients' bytes are counted elsewhere.
    pub traffic: Traffic,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_serves_all_observers_with_the_same_question() {
        let token = |key| Token { key, generation: 1 };
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
}
