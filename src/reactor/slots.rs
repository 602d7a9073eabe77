//! Where the sources live: a slab, and a generation per slot.
//!
//! **Owns** the sources and the tokens that name them. **Must never touch** the poll.
//! **Invariant**: a token resolves to the source that it was made for, or to nothing.
//!
//! A slab reuses a freed slot while something may still hold the token of its last owner: the ABA
//! problem (pitfall 3). It may be an event of the same batch, an event for a duplicated descriptor,
//! or a program that keeps tokens in order to wake their sources. So a token carries, along with
//! the key, how often its slot has changed hands.

use slab::Slab;
use std::fmt;

/// Names one source: a slot of the slab, and which of its owners is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The slot.
    pub key: u32,
    /// How many owners the slot had before. Wraps after 2^32 of them; no token is kept that long.
    pub generation: u32,
}

// The poll keeps one `usize` per source, which holds both halves.
const _: () = assert!(usize::BITS >= 64, "a token needs 64 bits");

impl From<Token> for mio::Token {
    fn from(token: Token) -> Self {
        Self(((token.generation as usize) << 32) | token.key as usize)
    }
}

impl From<mio::Token> for Token {
    #[allow(clippy::cast_possible_truncation)] // each half is 32 bits by construction
    fn from(token: mio::Token) -> Self {
        Self {
            key: token.0 as u32,
            generation: (token.0 >> 32) as u32,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}.{}", self.key, self.generation)
    }
}

/// How often each slot has changed hands, by slot key. Outlives the slots' owners.
#[derive(Debug, Default)]
pub struct Generations(Vec<u32>);

impl Generations {
    /// The token of slot `key`'s current owner.
    fn token(&self, key: u32) -> Token {
        Token {
            key,
            generation: self.0[key as usize],
        }
    }

    /// Whether `token` still names its source. The generation moves on when an owner is retired,
    /// so no token that was ever given out names a free slot.
    #[must_use]
    pub fn is_current(&self, token: Token) -> bool {
        self.0.get(token.key as usize) == Some(&token.generation)
    }
}

/// The sources by token. Each operation is O(1), amortised over the slab's growth.
#[derive(Debug)]
pub struct Slots<S> {
    slab: Slab<S>,
    generations: Generations,
}

/// The memory of one slot, in bytes: an entry of the slab, which also links free slots, and the
/// generation.
pub(super) const fn bytes_per_slot<S>() -> usize {
    #[expect(dead_code, reason = "the shape of the slab's own entry")]
    enum Entry<S> {
        Vacant(usize),
        Occupied(S),
    }
    size_of::<Entry<S>>() + size_of::<u32>()
}

impl<S> Default for Slots<S> {
    fn default() -> Self {
        Self {
            slab: Slab::new(),
            generations: Generations::default(),
        }
    }
}

impl<S> Slots<S> {
    /// The number of sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// A free slot, and the token for the source that is put into it.
    pub fn vacant(&mut self) -> (Token, slab::VacantEntry<'_, S>) {
        let slot = self.slab.vacant_entry();
        let generations = &mut self.generations;
        if slot.key() >= generations.0.len() {
            generations.0.resize(slot.key() + 1, 0);
        }
        let key = u32::try_from(slot.key()).expect("descriptors are 31 bits, so slots fit 32");
        (generations.token(key), slot)
    }

    /// Whether `token` still names its source.
    #[must_use]
    pub fn is_current(&self, token: Token) -> bool {
        self.generations.is_current(token)
    }

    /// The source in slot `key`, its token, and the generations of all slots, with which other
    /// tokens can be checked while the source is borrowed.
    pub fn borrow(&mut self, key: u32) -> Option<(Token, &mut S, &Generations)> {
        let source = self.slab.get_mut(key as usize)?;
        let generations = &self.generations;
        Some((generations.token(key), source, generations))
    }

    /// Makes the token of slot `key`'s owner stale. The slot itself is not free yet.
    pub fn retire(&mut self, key: u32) {
        let generation = &mut self.generations.0[key as usize];
        *generation = generation.wrapping_add(1);
    }

    /// Frees slot `key` and returns its last owner.
    pub fn free(&mut self, key: u32) -> Option<S> {
        self.slab.try_remove(key as usize)
    }

    /// One past the highest key so far.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.generations.0.len() as u32
    }

    /// All slots that were ever used, free ones included: the token of the owner, or of the next
    /// one.
    pub fn all(&self) -> impl ExactSizeIterator<Item = (Token, Option<&S>)> {
        (0..self.end()).map(|key| (self.generations.token(key), self.slab.get(key as usize)))
    }

    /// All sources with their tokens.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &S)> {
        let tokens = |(key, source)| (self.generations.token(key as u32), source);
        self.slab.iter().map(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(slots: &mut Slots<char>, source: char) -> Token {
        let (token, slot) = slots.vacant();
        slot.insert(source);
        token
    }

    #[test]
    fn a_token_survives_the_way_through_the_poll() {
        let token = Token {
            key: u32::MAX - 1,
            generation: 7,
        };
        assert_eq!(Token::from(mio::Token::from(token)), token);
        assert_eq!(token.to_string(), "#4294967294.7");
    }

    #[test]
    fn a_token_of_an_earlier_owner_is_stale() {
        let mut slots = Slots::default();
        let first = insert(&mut slots, 'a');
        assert!(slots.is_current(first));
        slots.retire(first.key);
        assert!(!slots.is_current(first), "stale as soon as retired");
        assert_eq!(slots.free(first.key), Some('a'));
        let second = insert(&mut slots, 'b');
        assert_eq!(second.key, first.key);
        assert!(!slots.is_current(first) && slots.is_current(second));
    }

    #[test]
    fn a_retired_slot_is_not_reused_before_it_is_freed() {
        let mut slots = Slots::default();
        let token = insert(&mut slots, 'a');
        slots.retire(token.key);
        let other = insert(&mut slots, 'b');
        assert_ne!(other.key, token.key);
        assert_eq!((slots.len(), slots.end()), (2, 2));
        slots.free(token.key);
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(other, &'b')]);
        let next = Token {
            generation: 1,
            ..token
        };
        assert_eq!(
            slots.all().collect::<Vec<_>>(),
            [(next, None), (other, Some(&'b'))]
        );
    }

    #[test]
    fn a_slot_that_was_refused_stays_free() {
        let mut slots = Slots::<char>::default();
        let (refused, _) = slots.vacant();
        assert_eq!(insert(&mut slots, 'a'), refused);
    }

    #[test]
    fn nothing_is_found_under_a_key_that_was_never_used() {
        let mut slots = Slots::<char>::default();
        let token = Token {
            key: 9,
            generation: 0,
        };
        assert!(!slots.is_current(token) && slots.is_empty());
        assert!(slots.borrow(9).is_none() && slots.free(9).is_none());
    }
}
