//! The number that a datagram carries, by which its reply is matched to it.
//!
//! **Owns** how a number is written and read. **Must never touch** a socket or a counter.
//! **Invariant**: a datagram carries the last 32 bits of its number, and a reply is matched to the
//! newest datagram with these bits.

use super::plan::NUMBER_BYTES;
use std::io::Write as _;

/// The newest of the first `sent` datagrams whose number ends in these 32 `bits`, which are all that
/// a datagram carries of it.
pub(super) fn last_with(bits: u32, sent: u64) -> Option<u64> {
    let newest = sent.checked_sub(1)?;
    newest.checked_sub((newest as u32).wrapping_sub(bits).into())
}

/// Writes the last 32 bits of `number` as the last eight hexadecimal digits of `datagram`.
pub(super) fn write_number(number: u64, datagram: &mut [u8]) {
    let start = datagram.len() - NUMBER_BYTES;
    // Cannot fail: eight digits fit eight bytes.
    let _ = write!(&mut datagram[start..], "{:08x}", number as u32);
}

/// The number in `reply`, if the rest of it is as `expected`.
pub(super) fn read_number(reply: &[u8], expected: &[u8]) -> Option<u32> {
    let prefix = &expected[..expected.len() - NUMBER_BYTES - b"!".len()];
    let digits = reply.strip_prefix(prefix)?.strip_suffix(b"!")?;
    let digits: &[u8; NUMBER_BYTES] = digits.try_into().ok()?;
    digits.iter().try_fold(0, |number, byte| {
        let digit = b"0123456789abcdef".iter().position(|digit| digit == byte)?;
        Some(number << 4 | digit as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_more_than_32_bits_is_found_by_its_last_ones() {
        const WRAP: u64 = 1 << 32;
        assert_eq!((last_with(0, 0), last_with(1, 1)), (None, None));
        assert_eq!((last_with(0, 1), last_with(0, WRAP)), (Some(0), Some(0)));
        assert_eq!(last_with(u32::MAX, WRAP), Some(WRAP - 1));
        assert_eq!(last_with(0, WRAP + 1), Some(WRAP));
        assert_eq!(last_with(u32::MAX, WRAP + 1), Some(WRAP - 1));
        assert_eq!(last_with(5, 3 * WRAP), Some(2 * WRAP + 5));
        assert_eq!(last_with(5, u64::MAX), Some(u64::MAX - WRAP + 6));
    }

    #[test]
    fn a_number_is_read_as_it_was_written() {
        let expected = b"Hello, abc00000000!";
        for number in [0, 1, 0xdead_beef, u32::MAX] {
            let mut datagram = b"abc00000000".to_vec();
            write_number(number.into(), &mut datagram);
            let reply = [b"Hello, ", &datagram[..], b"!"].concat();
            assert_eq!(read_number(&reply, expected), Some(number));
        }
        for wrong in [
            &b"Hello, abc00000000"[..],
            b"Hello, abd00000000!",
            b"Hello, abc0000000x!",
            b"Hello, abc0000000A!",
            b"Hello, abc00000000?",
            b"",
        ] {
            assert_eq!(read_number(wrong, expected), None);
        }
    }
}
