//! Reads recordings, which are untrusted input.
//!
//! **Owns** what is accepted as a recording. **Must never touch** the writing of one, or what is
//! done with an event. **Invariant**: memory is bounded by the longest event, however long the file,
//! and every time is one that a loop can have.

use super::Event;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};

/// The most bytes from one event to the end of the next, and before and after all events. An event
/// that helloop writes has a few hundred.
const MAX_EVENT_BYTES: u64 = 64 * 1_024;

/// The latest time, in microseconds: what 64 bits of nanoseconds hold.
const LATEST_US: f64 = u64::MAX as f64 / 1e3;

/// Reads a recording into memory.
///
/// # Errors
///
/// The input cannot be read ([`is_io`](serde_json::Error::is_io)), or is not a recording.
pub fn read(input: impl Read) -> serde_json::Result<Vec<Event>> {
    let mut events = Vec::new();
    let read = read_each(input, |event| {
        events.push(event);
        Ok(())
    });
    read.map_err(|error| error.source)?;
    Ok(events)
}

/// Why a recording cannot be read to its end, and where.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct ReadError {
    /// The error of the input or of the parser, or what was returned for an event.
    pub(crate) source: serde_json::Error,
    /// The number of the event that was being read, from 1; `None` outside the list of events.
    pub(crate) event: Option<u64>,
}

/// Passes each event of a recording to `each`, until that fails.
///
/// # Errors
///
/// The input cannot be read ([`is_io`](serde_json::Error::is_io)), or is not a recording, or what
/// `each` returned.
pub(crate) fn read_each(
    input: impl Read,
    mut each: impl FnMut(Event) -> serde_json::Result<()>,
) -> Result<(), ReadError> {
    let bytes_left = Cell::new(MAX_EVENT_BYTES);
    let event = Cell::new(None);
    let input = Limited {
        input: BufReader::new(input),
        bytes_left: &bytes_left,
    };
    let mut failed = None;
    let mut parser = serde_json::Deserializer::from_reader(input);
    let recording = Recording {
        each: |event: Event| {
            bytes_left.set(MAX_EVENT_BYTES);
            let passed = each(event);
            passed.map_err(|error| failed = Some(error)).is_ok()
        },
        event: &event,
    };
    let parsed = parser
        .deserialize_map(recording)
        .and_then(|()| parser.end());
    let event = event.get();
    failed
        .map_or(parsed, Err)
        .map_err(|source| ReadError { source, event })
}

/// An input that fails after too many bytes without an event: a string that never ends, for example.
struct Limited<'a, R> {
    input: BufReader<R>,
    bytes_left: &'a Cell<u64>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes_left = self.bytes_left.get();
        if bytes_left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("more than {MAX_EVENT_BYTES} bytes without an event"),
            ));
        }
        let length =
            usize::try_from(bytes_left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.input.read(&mut buffer[..length])?;
        self.bytes_left.set(bytes_left - count as u64);
        Ok(count)
    }
}

/// The object that a recording is. Of its keys only the events matter.
struct Recording<'a, F> {
    /// Takes each event, and returns whether to go on.
    each: F,
    /// The number of the event that is being read.
    event: &'a Cell<Option<u64>>,
}

impl<'de, F: FnMut(Event) -> bool> Visitor<'de> for Recording<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with traceEvents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        const EVENTS: &str = "traceEvents";
        let mut has_events = false;
        let mut events = Events(self);
        while let Some(key) = map.next_key::<String>()? {
            if key != EVENTS {
                map.next_value::<IgnoredAny>()?;
            } else if has_events {
                return Err(Error::duplicate_field(EVENTS));
            } else {
                has_events = true;
                map.next_value_seed(&mut events)?;
            }
        }
        if has_events {
            return Ok(());
        }
        Err(Error::missing_field(EVENTS))
    }
}

/// The array of the events.
struct Events<'a, F>(Recording<'a, F>);

impl<'de, F: FnMut(Event) -> bool> DeserializeSeed<'de> for &mut Events<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Event) -> bool> Visitor<'de> for &mut Events<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<(), A::Error> {
        let is_time = |time: &f64| (0.0..=LATEST_US).contains(time);
        let Recording {
            each,
            event: number,
        } = &mut self.0;
        for count in 1.. {
            number.set(Some(count));
            let Some(event) = events.next_element::<Event>()? else {
                break;
            };
            if !is_time(&event.begins_us) || !event.lasts_us.iter().all(is_time) {
                return Err(Error::custom("has an impossible time"));
            }
            if !each(event) {
                return Err(Error::custom("stopped"));
            }
        }
        number.set(None);
        Ok(())
    }
}
