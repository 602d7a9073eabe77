//! EventKind a source did, in words.
//!
//! **Owns** the sentence that a call is told in, everywhere the same. **Must never touch** the
//! source: what it did is the difference that its call made to the program's counters, and to
//! its own readiness. **Invariant**: a call that did anything is told by what it did.

use super::WorkCounters;
use crate::reactor::{Readiness, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;

/// EventKind one call of a source amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallStats {
    /// Connections accepted.
    pub accepted: u32,
    /// Messages completed.
    pub messages: u32,
    /// Calls of `read`.
    pub reads: u32,
    /// Bytes read.
    pub bytes_in: u32,
    /// Calls of `write`.
    pub writes: u32,
    /// Bytes written.
    pub bytes_out: u32,
    /// Datagrams received.
    pub datagrams: u32,
    /// Datagrams answered.
    pub answered: u32,
}

impl CallStats {
    /// EventKind moved the counters from `before` to `after`.
    #[must_use]
    pub fn between(before: &WorkCounters, after: &WorkCounters) -> Self {
        let moved = |before: u64, after: u64| {
            u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX)
        };
        Self {
            accepted: moved(before.accepted, after.accepted),
            messages: moved(before.messages, after.messages),
            reads: moved(before.reads, after.reads),
            bytes_in: moved(before.bytes_in, after.bytes_in),
            writes: moved(before.writes, after.writes),
            bytes_out: moved(before.bytes_out, after.bytes_out),
            datagrams: moved(before.datagrams, after.datagrams),
            answered: moved(before.answered, after.answered),
        }
    }
}

/// EventKind a call did, and with what readiness it came and went: enough to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Story {
    /// EventKind it did.
    pub did: CallStats,
    /// EventKind it might try.
    pub before: Readiness,
    /// EventKind is left of that.
    pub after: Readiness,
}

/// EventKind a source answered, in a word.
#[must_use]
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Park => "park",
        Verdict::Hold => "hold",
        Verdict::Again => "again",
        Verdict::Close => "close",
    }
}

/// A call in words: what was done, and what of it met its end. `read 12 B, write 17 B`,
/// `accept x3`, `write 40 B -> would block`.
impl fmt::Display for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { did, before, after } = *self;
        let spent = |bit| before.contains(bit) && !after.contains(bit);
        let mut separator = "";
        let mut part = |words: fmt::Arguments<'_>| {
            let separator = std::mem::replace(&mut separator, ", ");
            write!(formatter, "{separator}{words}")
        };
        if did.accepted > 0 {
            let blocked = spent(Readiness::READABLE);
            let end = if blocked { " -> would block" } else { "" };
            part(format_args!("accept x{}{end}", did.accepted))?;
        }
        if did.reads > 0 {
            let end = match (spent(Readiness::READABLE), did.bytes_in) {
                (true, _) if before.contains(Readiness::CLOSED) => " -> end",
                (true, 0) => " -> would block",
                _ => "",
            };
            match did.bytes_in {
                0 => part(format_args!("read{end}"))?,
                bytes => part(format_args!("read {bytes} B{end}"))?,
            }
        }
        if did.datagrams > 0 {
            part(format_args!("receive x{}", did.datagrams))?;
        }
        if did.answered > 0 {
            part(format_args!("answer x{}", did.answered))?;
        }
        if did.writes > 0 {
            let blocked = spent(Readiness::WRITABLE);
            let end = if blocked { " -> would block" } else { "" };
            match did.bytes_out {
                0 => part(format_args!("write{end}"))?,
                bytes => part(format_args!("write {bytes} B{end}"))?,
            }
        }
        if did == CallStats::default() {
            part(format_args!("nothing"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_what_it_did() {
        let all = Readiness::READABLE | Readiness::WRITABLE;
        let closed = all | Readiness::CLOSED;
        let (read, write) = (Readiness::READABLE, Readiness::WRITABLE);
        let told = |did, before, after| Story { did, before, after }.to_string();
        let did = |bytes_in, bytes_out| CallStats {
            reads: 1,
            bytes_in,
            writes: u32::from(bytes_out > 0),
            bytes_out,
            ..CallStats::default()
        };
        assert_eq!(told(did(12, 17), all, write), "read 12 B, write 17 B");
        assert_eq!(told(did(0, 0), all, write), "read -> would block");
        assert_eq!(told(did(7, 0), closed, write), "read 7 B -> end");
        let full = CallStats {
            writes: 2,
            bytes_out: 40,
            ..CallStats::default()
        };
        assert_eq!(
            told(full, write, Readiness::empty()),
            "write 40 B -> would block"
        );
        let accepted = CallStats {
            accepted: 3,
            ..CallStats::default()
        };
        assert_eq!(told(accepted, read, read), "accept x3");
        assert_eq!(told(CallStats::default(), all, all), "nothing");
    }
}
