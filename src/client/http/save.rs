//! Where a body goes: into a file, or to standard output.
//!
//! **Owns** the name that a URL gives to a file, and the errors of saving. **Must never touch** the
//! response. **Invariant**: the file is complete or absent ([`crate::file`]), and an existing file is
//! replaced only on request; on a terminal no byte of a body is a control character but tabs and line
//! endings.

use super::Error;
use crate::file::{self, Existing, NewFile};
use crate::protocol::escape::escape;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The name under which a segment of a URL is saved: a leading dot would hide the file, and `.bashrc`
/// and its like configure programs. Browsers replace it too.
pub(super) fn visible_name(segment: &str) -> PathBuf {
    match segment.strip_prefix('.') {
        Some(rest) => format!("_{rest}").into(),
        None => segment.into(),
    }
}

/// Checks that the body can be saved under this name, as far as that is known in advance.
pub(super) fn check_target(path: &Path, force: bool) -> Result<(), Error> {
    file::check(path, existing(force)).map_err(|error| failed(path, error))
}

fn existing(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

/// Where a body is written.
pub(super) enum Sink<'a> {
    /// A file. Removed when dropped, unless it was [finished](Sink::finish).
    File(NewFile, PathBuf),
    /// Standard output, as it is.
    Plain(&'a mut dyn Write),
    /// A terminal, escaped.
    Terminal(&'a mut dyn Write, Pieces),
}

impl<'a> Sink<'a> {
    /// Starts the file. A FIFO is written to until the deadline.
    pub(super) fn file(target: &Path, force: bool, deadline: Instant) -> Result<Self, Error> {
        let file = NewFile::create_until(target, existing(force), deadline);
        let file = file.map_err(|error| failed(target, error))?;
        Ok(Self::File(file, target.to_owned()))
    }

    pub(super) fn output(out: &'a mut dyn Write, escaped: bool) -> Self {
        if escaped {
            Self::Terminal(out, Pieces::default())
        } else {
            Self::Plain(out)
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::File(file, target) => {
                let written = file.write_all(bytes);
                written.map_err(|error| failed(target, error))
            }
            Self::Plain(out) => out.write_all(bytes).map_err(Error::Output),
            Self::Terminal(out, pieces) => {
                let text = pieces.escaped(bytes);
                out.write_all(text.as_bytes()).map_err(Error::Output)
            }
        }
    }

    /// The body is complete. On an error the file is removed.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self {
            Self::File(mut file, target) => {
                let saved = file.sync().and_then(|()| file.commit());
                saved.map_err(|error| failed(&target, error))
            }
            Self::Plain(out) => out.flush().map_err(Error::Output),
            Self::Terminal(out, pieces) => {
                let rest = escape(&pieces.rest);
                let end = if pieces.at_line_start && rest.is_empty() {
                    ""
                } else {
                    "\n"
                };
                let written = out.write_all((rest + end).as_bytes());
                written.and_then(|()| out.flush()).map_err(Error::Output)
            }
        }
    }
}

/// Escapes text that arrives in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    /// The start of a character, or a CR, which may end a line.
    rest: Vec<u8>,
    at_line_start: bool,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            rest: Vec::new(),
            at_line_start: true,
        }
    }
}

impl Pieces {
    /// Escapes all but tabs and line endings, which become LF.
    fn escaped(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() - unfinished_bytes(&self.rest);
        let rest = self.rest.split_off(whole);
        let bytes = std::mem::replace(&mut self.rest, rest);
        let mut text = String::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (line, end) = match line.strip_suffix(b"\n") {
                Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), "\n"),
                None => (line, ""),
            };
            let cells: Vec<_> = line.split(|&byte| byte == b'\t').map(escape).collect();
            text.push_str(&cells.join("\t"));
            text.push_str(end);
        }
        if !text.is_empty() {
            self.at_line_start = text.ends_with('\n');
        }
        text
    }
}

/// How many bytes at the end may be the start of a character or line ending that continues in the
/// next piece.
fn unfinished_bytes(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    // A character has at most four bytes.
    let last = bytes.len().min(3);
    (1..=last)
        .find(|&count| {
            let start = bytes[bytes.len() - count];
            let length = match start {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => 0,
            };
            length > count
        })
        .unwrap_or(0)
}

fn failed(target: &Path, source: io::Error) -> Error {
    let path = target.to_owned();
    match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(path),
        _ => Error::Save { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_a_terminal_is_the_same_however_it_is_divided() {
        let bytes = b"a\tb\r\n\xe6\x96\xb0\x1b[2J\r.\xff\xc2\x9b\n\xf0\x9f\x98\x80\xe6\x96";
        let expected = "a\tb\n新\\u{1b}[2J\\r.\\xff\\u{9b}\n😀\\xe6\\x96\n";
        for size in 1..=bytes.len() {
            let mut out = Vec::new();
            let mut sink = Sink::output(&mut out, true);
            for piece in bytes.chunks(size) {
                sink.write(piece).unwrap();
            }
            sink.finish().unwrap();
            assert_eq!(
                String::from_utf8(out).unwrap(),
                expected,
                "pieces of {size}"
            );
        }
        for text in ["", "line\n"] {
            let mut out = Vec::new();
            let mut sink = Sink::output(&mut out, true);
            sink.write(text.as_bytes()).unwrap();
            sink.finish().unwrap();
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn a_saved_file_is_never_hidden() {
        for (segment, name) in [
            ("page.html", "page.html"),
            (".bashrc", "_bashrc"),
            ("..", "_."),
            ("a.b", "a.b"),
        ] {
            assert_eq!(visible_name(segment), Path::new(name));
        }
    }
}
