//! Where the sources live: a slab, and a generation for each of its slots.
//!
//! **Owns** the sources and the tokens that name them. **Must never touch** the poll.
//! **Invariant**: a token resolves to the source that it was made for, or to nothing.
//!
//! A slab gives a freed slot to the next comer, while somebody may still hold the name of the one
//! before: the ABA problem (pitfall 3). That may be an event of the same batch, an event for a
//! descriptor that was duplicated, or the program itself, which notes tokens to wake later. So a
//! token carries beside the key how often the slot has changed hands.

use slab::Slab;
use std::fmt;

/// Names one source: a slot of the slab, and which of the slot's owners is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The slot.
    pub key: u32,
    /// How many owners the slot had before. Wraps after 2^32 of them: no name is
    /// kept for that long.
    pub generation: u32,
}

// Both halves travel through the poll in the one `usize` that it keeps for us.
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

/// The sources by token. Each operation is O(1), amortised over the slab's growth.
#[derive(Debug)]
pub struct Slots<S> {
    /// `None` while a slot is reserved for a source to be born, and while its source is out
    /// being driven.
    slab: Slab<Option<S>>,
    /// By slot key; outlives the slot's owners.
    generations: Vec<u32>,
}

impl<S> Default for Slots<S> {
    fn default() -> Self {
        Self {
            slab: Slab::new(),
            generations: Vec::new(),
        }
    }
}

impl<S> Slots<S> {
    /// How many slots are taken, reserved ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether no slot is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Takes a slot for a source to be born, so that its name is known before it lives.
    pub fn reserve(&mut self) -> Token {
        let key = self.slab.insert(None);
        if key >= self.generations.len() {
            self.generations.resize(key + 1, 0);
        }
        self.token(u32::try_from(key).expect("descriptors are 31 bits, so slots fit 32"))
    }

    /// The name of slot `key`'s present owner.
    #[must_use]
    pub fn token(&self, key: u32) -> Token {
        Token {
            key,
            generation: self.generations[key as usize],
        }
    }

    /// Whether `token` still names its source. A slot's generation moves on when its owner is
    /// retired, so no token that was ever given out names a slot that is free.
    #[must_use]
    pub fn is_current(&self, token: Token) -> bool {
        self.generations.get(token.key as usize) == Some(&token.generation)
    }

    /// Takes the source out of slot `key`, which stays its own: whoever drives the source may
    /// meanwhile reserve further slots.
    pub fn take(&mut self, key: u32) -> Option<S> {
        self.slab.get_mut(key as usize)?.take()
    }

    /// Puts a source into its slot: a driven one back, or a born one for the first time.
    pub fn put(&mut self, key: u32, source: S) {
        if let Some(slot) = self.slab.get_mut(key as usize) {
            *slot = Some(source);
        }
    }

    /// Makes every token of slot `key`'s owner stale. The slot itself is not free yet.
    pub fn retire(&mut self, key: u32) {
        let generation = &mut self.generations[key as usize];
        *generation = generation.wrapping_add(1);
    }

    /// Frees slot `key` and returns its last owner.
    pub fn free(&mut self, key: u32) -> Option<S> {
        self.slab.try_remove(key as usize).flatten()
    }

    /// The greatest key so far, and one: where a walk over all slots ends.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.generations.len() as u32
    }

    /// All slots that ever were: the name of the owner, or of the next one if the slot is free.
    pub fn all(&self) -> impl Iterator<Item = (Token, Option<&S>)> {
        (0..self.end()).map(|key| {
            let slot = self.slab.get(key as usize);
            (self.token(key), slot.and_then(Option::as_ref))
        })
    }

    /// All sources with their tokens.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &S)> {
        self.slab.iter().filter_map(|(key, slot)| {
            let generation = *self.generations.get(key)?;
            let key = key as u32;
            Some((Token { key, generation }, slot.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let first = slots.reserve();
        slots.put(first.key, 'a');
        assert!(slots.is_current(first));
        slots.retire(first.key);
        assert!(!slots.is_current(first), "stale as soon as retired");
        assert_eq!(slots.free(first.key), Some('a'));
        let second = slots.reserve();
        assert_eq!(second.key, first.key);
        assert!(!slots.is_current(first) && slots.is_current(second));
    }

    #[test]
    fn a_slot_is_its_owners_while_the_source_is_out() {
        let mut slots = Slots::default();
        let token = slots.reserve();
        slots.put(token.key, 'a');
        assert_eq!(slots.take(token.key), Some('a'));
        assert_eq!(slots.take(token.key), None);
        let other = slots.reserve();
        assert_ne!(other.key, token.key);
        slots.put(token.key, 'a');
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(token, &'a')]);
        assert_eq!((slots.len(), slots.end()), (2, 2));
    }

    #[test]
    fn nothing_is_found_under_a_key_that_never_was() {
        let mut slots = Slots::<char>::default();
        let token = Token {
            key: 9,
            generation: 0,
        };
        assert!(!slots.is_current(token) && slots.is_empty());
        assert_eq!((slots.take(9), slots.free(9)), (None, None));
    }
}
