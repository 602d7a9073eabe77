//! What a report can hold at most.
//!
//! **Owns** these limits. **Must never touch** what a value means. **Invariant**: a document within
//! the limits takes no more than a few times the size of its file once it is read, and a document
//! beyond them is refused before anything of it is kept.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The most entries of a list or an object. The longest of a real report, the distribution and the
/// causes of losses, have some 40; a command line may have some more.
pub(super) const MAX_ENTRIES: usize = 1_000;

/// The most seconds. A run of a day has 86,400.
pub(super) const MAX_SECONDS: usize = 100_000;

/// The longest text: more than the longest path.
pub(super) const MAX_TEXT_BYTES: usize = 16 * 1_024;

/// The longest histogram. One of three digits, from a nanosecond to an hour, has some 34,000 buckets
/// of a few bytes each before it is compressed.
pub(super) const MAX_HISTOGRAM_BYTES: usize = 256 * 1_024;

/// The most text in all, keys aside: it may all be shown.
pub(super) const MAX_TEXT_TOTAL_BYTES: usize = 1_024 * 1_024;

/// The texts of a document so far.
#[derive(Debug, Default)]
pub(super) struct Limits {
    text_bytes: usize,
}

impl<'de> DeserializeSeed<'de> for Limits {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, parser: D) -> Result<(), D::Error> {
        let walk = Walk {
            limits: &mut self,
            max_entries: MAX_ENTRIES,
            max_text_bytes: MAX_TEXT_BYTES,
        };
        walk.deserialize(parser)
    }
}

/// Walks through one value and keeps nothing of it.
struct Walk<'a> {
    limits: &'a mut Limits,
    /// Of this list or object, not of those inside.
    max_entries: usize,
    max_text_bytes: usize,
}

impl Walk<'_> {
    fn inside(&mut self, key: Key) -> Walk<'_> {
        Walk {
            limits: self.limits,
            max_entries: match key {
                Key::Seconds => MAX_SECONDS,
                Key::Encoded | Key::Other => MAX_ENTRIES,
            },
            max_text_bytes: match key {
                Key::Encoded => MAX_HISTOGRAM_BYTES,
                Key::Seconds | Key::Other => MAX_TEXT_BYTES,
            },
        }
    }

    fn check_entries<E: Error>(&self, entries: usize) -> Result<(), E> {
        if entries > self.max_entries {
            let most = self.max_entries;
            return Err(E::custom(format_args!(
                "a list of more than {most} entries"
            )));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.limits.text_bytes += text.len();
        if text.len() > self.max_text_bytes {
            let most = self.max_text_bytes;
            return Err(E::custom(format_args!("a text of more than {most} bytes")));
        }
        if self.limits.text_bytes > MAX_TEXT_TOTAL_BYTES {
            return Err(E::custom(format_args!(
                "more than {MAX_TEXT_TOTAL_BYTES} bytes of text"
            )));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut entries = 0;
        while list.next_element_seed(self.inside(Key::Other))?.is_some() {
            entries += 1;
            self.check_entries(entries)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let mut entries = 0;
        while let Some(key) = object.next_key_seed(KeySeed)? {
            entries += 1;
            self.check_entries(entries)?;
            object.next_value_seed(self.inside(key))?;
        }
        Ok(())
    }
}

/// What the limits depend on.
#[derive(Clone, Copy, Debug)]
enum Key {
    /// `seconds`: a list of the seconds of a run.
    Seconds,
    /// `encoded`: a histogram.
    Encoded,
    /// Any other, and an entry of a list.
    Other,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Key, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        if key.len() > MAX_TEXT_BYTES {
            return Err(E::custom(format_args!(
                "a key of more than {MAX_TEXT_BYTES} bytes"
            )));
        }
        Ok(match key {
            "seconds" => Key::Seconds,
            "encoded" => Key::Encoded,
            _ => Key::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(text: &str) -> Result<(), String> {
        let mut parser = serde_json::Deserializer::from_str(text);
        let walked = Limits::default().deserialize(&mut parser);
        walked.map_err(|error| error.to_string())
    }

    fn list(entry: &str, count: usize) -> String {
        format!("[{}]", vec![entry; count].join(","))
    }

    #[test]
    fn no_list_and_no_text_is_longer_than_in_a_report() {
        let text = |bytes| format!("\"{}\"", "x".repeat(bytes));
        let object = |key: &str, value: String| format!("{{\"{key}\":{value}}}");
        let keys = |count| {
            let entries: Vec<_> = (0..count).map(|key| format!("\"{key}\":1")).collect();
            format!("{{{}}}", entries.join(","))
        };
        let nested = |value| object("verdict", object("shortcomings", value));
        let total = |count| list(&text(MAX_TEXT_BYTES), count);
        let total_texts = MAX_TEXT_TOTAL_BYTES / MAX_TEXT_BYTES;
        for (most, over, words) in [
            (
                nested(list("\"\"", MAX_ENTRIES)),
                nested(list("\"\"", MAX_ENTRIES + 1)),
                "a list of more than 1000 entries",
            ),
            (
                object("seconds", list("{}", MAX_SECONDS)),
                object("seconds", list("{}", MAX_SECONDS + 1)),
                "a list of more than 100000 entries",
            ),
            (
                object("seconds", list("[]", 2)),
                object("seconds", list(&list("1", MAX_ENTRIES + 1), 2)),
                "a list of more than 1000 entries",
            ),
            (
                object("lost_by_cause", keys(MAX_ENTRIES)),
                object("lost_by_cause", keys(MAX_ENTRIES + 1)),
                "a list of more than 1000 entries",
            ),
            (
                object("transport", text(MAX_TEXT_BYTES)),
                object("transport", text(MAX_TEXT_BYTES + 1)),
                "a text of more than 16384 bytes",
            ),
            (
                object("encoded", text(MAX_HISTOGRAM_BYTES)),
                object("encoded", text(MAX_HISTOGRAM_BYTES + 1)),
                "a text of more than 262144 bytes",
            ),
            (
                object(&"k".repeat(MAX_TEXT_BYTES), "1".to_owned()),
                object(&"k".repeat(MAX_TEXT_BYTES + 1), "1".to_owned()),
                "a key of more than 16384 bytes",
            ),
            (
                total(total_texts),
                total(total_texts + 1),
                "more than 1048576 bytes of text",
            ),
        ] {
            assert_eq!(walk(&most), Ok(()));
            let error = walk(&over).expect_err(words);
            assert!(error.starts_with(words), "{error}");
        }
    }
}
