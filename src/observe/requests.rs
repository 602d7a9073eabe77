//! Where observers ask and the program answers.
//!
//! **Owns** the questions, the answers that were not taken yet, and the number of those who
//! watch. **Must never touch** a socket, nor the program's sources. **Invariant**: questions and
//! answers together are as many as there are observers, at most; an observer that left has
//! neither.
//!
//! An observer is one source among many and must not look at the others while the loop is at
//! work. So it asks here and parks; the program answers between turns, and wakes it.

use crate::net::stream::Traffic;
use crate::reactor::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Observers at once: their descriptors are set aside from those of the clients.
pub const MAX_OBSERVERS: usize = 16;

/// Further ones that are being told so. Beyond that the backlog holds the rest.
pub const MAX_REFUSED: usize = 4;

/// EventKind an observer wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// All counters.
    Metrics,
    /// How all of it looks at present.
    Snapshot,
    /// EventKind happened to the owner of this slot.
    Story(u32),
}

/// A body, the same for all who asked the same between two turns.
pub type Body = Rc<[u8]>;

/// Questions and answers.
#[derive(Debug, Default)]
pub struct ObserverRequests {
    asked: BTreeMap<(u32, u32), Question>,
    answered: BTreeMap<(u32, u32), Body>,
    /// Sources that are there for observers: listeners, and all connections.
    pub sources: usize,
    /// Observers connected.
    pub observers: usize,
    /// Of these, those to whom snapshots are streamed.
    pub streams: usize,
    /// Connections that are being told that there are too many.
    pub refusing: usize,
    /// EventKind went through the observers' connections: no client's bytes.
    pub traffic: Traffic,
}

impl ObserverRequests {
    /// Asks for `token`. It is woken when there is an answer.
    pub fn ask(&mut self, token: Token, question: Question) {
        self.asked.insert(name(token), question);
    }

    /// The answer for `token`, once.
    pub fn answer(&mut self, token: Token) -> Option<Body> {
        self.answered.remove(&name(token))
    }

    /// `token` has left.
    pub fn forget(&mut self, token: Token) {
        self.asked.remove(&name(token));
        self.answered.remove(&name(token));
    }

    /// Whether somebody waits for an answer.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// EventKind is asked, each question once however many ask it.
    #[must_use]
    pub fn questions(&self) -> BTreeSet<Question> {
        self.asked.values().copied().collect()
    }

    /// Answers everybody who asked `question`, and returns who is to be woken.
    pub fn answer_all(&mut self, question: Question, body: Body) -> Vec<Token> {
        let mut woken = Vec::new();
        self.asked.retain(|&(key, generation), asked| {
            let is_answered = *asked == question;
            if is_answered {
                self.answered.insert((key, generation), Rc::clone(&body));
                woken.push(Token { key, generation });
            }
            !is_answered
        });
        woken
    }
}

fn name(token: Token) -> (u32, u32) {
    (token.key, token.generation)
}

/// EventKind observers need of the program's world.
pub trait Host {
    /// Where they ask.
    fn board(&mut self) -> &mut ObserverRequests;

    /// Whether new clients are welcome; not while the program drains.
    fn is_serving(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_is_answered_once_and_each_takes_it_once() {
        let token = |key| Token { key, generation: 1 };
        let mut board = ObserverRequests::default();
        board.ask(token(1), Question::Metrics);
        board.ask(token(2), Question::Metrics);
        board.ask(token(3), Question::Story(7));
        board.ask(token(4), Question::Snapshot);
        board.forget(token(4));
        let questions = board.questions();
        assert!(
            questions
                .iter()
                .eq(&[Question::Metrics, Question::Story(7)])
        );
        let body = || Rc::from(&b"body"[..]);
        let woken = board.answer_all(Question::Metrics, body());
        assert_eq!(woken, [token(1), token(2)]);
        assert!(board.is_asked());
        assert_eq!(board.answer_all(Question::Story(7), body()), [token(3)]);
        assert!(!board.is_asked());
        assert!(board.answer(token(1)).is_some() && board.answer(token(1)).is_none());
        board.forget(token(2));
        assert!(board.answer(token(2)).is_none() && board.answer(token(4)).is_none());
    }
}
