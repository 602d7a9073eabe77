//! A stranger's bytes made safe to look at.
//!
//! **Owns** which bytes a terminal may get from a server. **Must never touch** the terminal.
//! **Invariant**: what comes out is valid UTF-8 without a control character, so that it stays on
//! its line and moves, colours or reorders nothing; printable text passes unchanged.

use std::fmt::Write as _;

/// The most of a server's words that one error message quotes, in bytes before escaping: enough
/// to recognise a page or a banner, and a screen is not flooded.
const EXCERPT_BYTES: usize = 200;

/// Escapes control characters (`\u{1b}`, `\n`), bytes that are not UTF-8 (`\xff`) and the format
/// characters that reorder or hide text (`\u{202e}`); leaves all else alone.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_ascii_control() {
                shown.extend(character.escape_default());
            } else if character.is_control() || is_deceptive(character) {
                shown.extend(character.escape_unicode());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// The first 200 bytes, escaped; `…` marks what was left out.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    match bytes.split_at_checked(EXCERPT_BYTES) {
        Some((start, rest)) if !rest.is_empty() => escape(start) + "…",
        _ => escape(bytes),
    }
}

/// Printable by Unicode's categories, and yet able to show a line as what it is not: invisible
/// ones, line separators and the bidirectional controls (CVE-2021-42574). The joiners U+200C and
/// U+200D stay: scripts and emoji need them.
fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_harms_a_terminal_is_escaped() {
        let table: &[(&[u8], &str)] = &[
            (b"Hello, Michael!", "Hello, Michael!"),
            (
                "Hello, 新浪 é e\u{301} 👩\u{200d}🚀!".as_bytes(),
                "Hello, 新浪 é e\u{301} 👩\u{200d}🚀!",
            ),
            (b"back\\slash \"quoted\"", "back\\slash \"quoted\""),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"a\r\n\tb\x00\x7f", "a\\r\\n\\tb\\u{0}\\u{7f}"),
            (b"\xff\xfe, \xe6\x96", "\\xff\\xfe, \\xe6\\x96"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("abc\u{202e}fed".as_bytes(), "abc\\u{202e}fed"),
            ("\u{feff}x\u{2028}".as_bytes(), "\\u{feff}x\\u{2028}"),
        ];
        for (bytes, shown) in table {
            assert_eq!(escape(bytes), *shown);
            assert!(!escape(bytes).contains(char::is_control));
        }
    }

    #[test]
    fn an_excerpt_says_that_it_is_one() {
        let whole = vec![b'x'; EXCERPT_BYTES];
        assert_eq!(excerpt(&whole).len(), EXCERPT_BYTES);
        let longer = vec![b'x'; EXCERPT_BYTES + 1];
        assert_eq!(excerpt(&longer), "x".repeat(EXCERPT_BYTES) + "…");
    }
}
