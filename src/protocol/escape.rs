//! Escapes untrusted bytes for display.
//!
//! **Owns** which bytes from the network may reach a terminal. **Must never touch** the terminal.
//! **Invariant**: the output is valid UTF-8 without control characters, so it stays on one line and
//! cannot move the cursor, change colours or reorder text; printable text is unchanged.

use std::fmt::Write as _;
use std::path::Path;

/// The most bytes that [`excerpt`] quotes, before escaping: enough to recognise a page or a banner,
/// too few to flood a screen.
const EXCERPT_BYTES: usize = 200;

/// Escapes control characters (`\u{1b}`, `\n`), bytes that are not UTF-8 (`\xff`) and format
/// characters that reorder or hide text (`\u{202e}`). Everything else is unchanged.
#[must_use]
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_ascii_control() {
                escaped.extend(character.escape_default());
            } else if character.is_control() || is_deceptive(character) {
                escaped.extend(character.escape_unicode());
            } else {
                escaped.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\x{byte:02x}");
        }
    }
    escaped
}

/// A path, escaped: anyone may have named the file.
#[must_use]
pub(crate) fn escape_path(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// A path as an argument in a shell. One with control characters is shown escaped, which names no
/// file, but does nothing to the terminal.
#[must_use]
pub(crate) fn shell_argument(path: &Path) -> String {
    let name = escape_path(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(&byte);
    let start = if name.starts_with('-') { "./" } else { "" };
    if name.bytes().all(is_plain) && !name.is_empty() {
        format!("{start}{name}")
    } else {
        format!("'{start}{}'", name.replace('\'', r"'\''"))
    }
}

/// The first 200 bytes, escaped. A `…` marks that there were more.
#[must_use]
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    match bytes.split_at_checked(EXCERPT_BYTES) {
        Some((start, rest)) if !rest.is_empty() => escape(start) + "…",
        _ => escape(bytes),
    }
}

/// Whether a character that is not a control character can still disguise text: invisible
/// characters, line separators and the bidirectional controls (CVE-2021-42574). The joiners U+200C
/// and U+200D are not escaped, because scripts and emoji need them.
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
    fn only_harmful_characters_are_escaped() {
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
        for (bytes, expected) in table {
            assert_eq!(escape(bytes), *expected);
            assert!(!escape(bytes).contains(char::is_control));
        }
    }

    #[test]
    fn a_path_is_one_argument_of_a_shell() {
        for (path, expected) in [
            ("/tmp/loop-1.json", "/tmp/loop-1.json"),
            ("-x", "./-x"),
            ("a b", "'a b'"),
            ("-a b", "'./-a b'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("r\x1b[31m\x07.json", r"'r\u{1b}[31m\u{7}.json'"),
        ] {
            assert_eq!(shell_argument(Path::new(path)), expected);
        }
    }

    #[test]
    fn an_excerpt_is_marked_as_shortened() {
        let whole = vec![b'x'; EXCERPT_BYTES];
        assert_eq!(excerpt(&whole).len(), EXCERPT_BYTES);
        let longer = vec![b'x'; EXCERPT_BYTES + 1];
        assert_eq!(excerpt(&longer), "x".repeat(EXCERPT_BYTES) + "…");
    }
}
