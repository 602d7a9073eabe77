//! HdrHistogram's own format: V2, compressed, as base64.
//!
//! **Owns** the limits within which a histogram is read. **Must never touch** a file.
//! **Invariant**: any text decodes to a histogram or an error, in bounded memory; only histograms
//! with helloop's own precision and range are read.

use super::{MAX_LATENCY, SIGNIFICANT_DIGITS, nanoseconds};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use hdrhistogram::{Counter, Histogram};
use std::io::Read;

/// The first four bytes of a compressed histogram.
const COMPRESSED_COOKIE: &[u8] = &0x1c84_9314_u32.to_be_bytes();

/// The header of a histogram: cookie, length of the payload, normalizing offset, digits (32 bits
/// each), lowest and highest value, ratio (64 bits each).
const HEADER_BYTES: usize = 40;

/// The largest histogram after decompression. A count takes at most 9 bytes, and there are 33,792
/// of them in the range of [`MAX_LATENCY`].
const MAX_BYTES: u64 = 512 * 1_024;

/// The longest encoding of a count.
const MAX_COUNT_BYTES: usize = 9;

/// The histogram as text that begins with `HISTF`. `None` if a count is too large for the format,
/// which has 63 bits.
pub(super) fn encode<C: Counter>(histogram: &Histogram<C>) -> Option<String> {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.ok().map(|_| BASE64_STANDARD.encode(bytes))
}

/// Reads the text of a histogram of latencies in nanoseconds; `None` if it is damaged, or not one of
/// helloop's.
#[must_use]
pub(crate) fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    // The cookie, and the length of the rest.
    let (head, compressed) = bytes.split_at_checked(8)?;
    if !head.starts_with(COMPRESSED_COOKIE) {
        return None;
    }
    let mut plain = Vec::new();
    let mut decoder = ZlibDecoder::new(compressed).take(MAX_BYTES);
    decoder.read_to_end(&mut plain).ok()?;
    is_safe(&plain).then_some(())?;
    Deserializer::new().deserialize(&mut &plain[..]).ok()
}

/// Whether the library can read this without taking more memory than a histogram of helloop's, and
/// without an overflow.
fn is_safe(plain: &[u8]) -> bool {
    let Some((header, payload)) = plain.split_at_checked(HEADER_BYTES) else {
        return false;
    };
    let number = |start: usize| {
        let bytes = <[u8; 8]>::try_from(&header[start..start + 8]);
        bytes.map_or(0, u64::from_be_bytes)
    };
    // The library allocates as much as the header claims, before it reads.
    let claimed = number(0) as u32 as usize;
    let digits = number(8) as u32;
    let has_own_range = digits == u32::from(SIGNIFICANT_DIGITS)
        && number(16) == 1
        && number(24) == nanoseconds(MAX_LATENCY);
    // The library negates a number of zeros; that of the smallest number overflows.
    let smallest = [u8::MAX; MAX_COUNT_BYTES];
    let has_smallest = payload
        .windows(MAX_COUNT_BYTES)
        .any(|bytes| bytes == smallest);
    claimed == payload.len() && has_own_range && !has_smallest
}

#[cfg(test)]
mod tests {
    use super::super::Latencies;
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write;
    use std::time::Duration;

    fn latencies() -> Latencies<u64> {
        let mut latencies = Latencies::default();
        for microseconds in 1..=10_000 {
            latencies.record(Duration::from_micros(microseconds));
        }
        latencies
    }

    /// The bytes of a histogram before compression.
    fn plain() -> Vec<u8> {
        let bytes = BASE64_STANDARD.decode(latencies().encoded().expect("samples"));
        let mut plain = Vec::new();
        let bytes = bytes.expect("base64");
        let mut decoder = ZlibDecoder::new(&bytes[8..]);
        decoder.read_to_end(&mut plain).expect("zlib");
        plain
    }

    fn compressed(plain: &[u8]) -> String {
        let mut bytes = [COMPRESSED_COOKIE, &[0; 4]].concat();
        let mut encoder = ZlibEncoder::new(&mut bytes, Compression::fast());
        encoder.write_all(plain).expect("memory");
        drop(encoder);
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        BASE64_STANDARD.encode(bytes)
    }

    #[test]
    fn a_histogram_is_read_as_it_was_written() {
        let text = latencies().encoded().expect("samples");
        assert!(text.starts_with("HISTF"), "{text}");
        assert_eq!(decode(&text).expect("intact"), latencies().histogram);
        assert_eq!(decode(&compressed(&plain())), decode(&text));
        assert_eq!(Latencies::<u64>::default().encoded(), None);
    }

    /// Each would allocate gigabytes or panic in the library.
    #[test]
    fn a_hostile_histogram_is_refused() {
        let changed = |at: usize, bytes: &[u8]| {
            let mut plain = plain();
            plain[at..at + bytes.len()].copy_from_slice(bytes);
            compressed(&plain)
        };
        assert!(decode(&changed(0, &[])).is_some());
        for (what, text) in [
            ("a payload of 4 GiB", changed(4, &[0xff; 4])),
            ("five digits", changed(12, &5_u32.to_be_bytes())),
            ("another range", changed(24, &u64::MAX.to_be_bytes())),
            ("the most zeros", changed(HEADER_BYTES, &[0xff; 9])),
            (
                "a bomb",
                compressed(&[&plain()[..], &vec![0; 4 << 20]].concat()),
            ),
            ("no header", compressed(b"short")),
            ("another format", BASE64_STANDARD.encode([0; 100])),
            ("no base64", "HISTF!".to_owned()),
            ("nothing", String::new()),
        ] {
            assert!(decode(&text).is_none(), "{what}");
        }
    }

    #[test]
    fn no_damage_panics() {
        let plain = plain();
        for at in 0..100 {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = plain[..200].to_vec();
                damaged[at] = byte;
                let _ = decode(&compressed(&damaged));
            }
            let _ = decode(&compressed(&plain[..at]));
        }
    }
}
