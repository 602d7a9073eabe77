//! Where a body is saved.
//!
//! **Owns** the name that a URL gives to a file, and the errors of saving. **Must never touch** the
//! response. **Invariant**: the file is complete or absent ([`crate::file`]), and an existing file is
//! replaced only on request.

use super::Error;
use crate::file::{self, Existing, NewFile};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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

/// The body while it is incomplete. Removed when dropped.
#[derive(Debug)]
pub(super) struct PartFile {
    file: NewFile,
    target: PathBuf,
}

impl PartFile {
    /// Creates the temporary file.
    pub(super) fn create(target: &Path, force: bool) -> Result<Self, Error> {
        let file = NewFile::create(target, existing(force));
        Ok(Self {
            file: file.map_err(|error| failed(target, error))?,
            target: target.to_owned(),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed(&self.target, error))
    }

    /// Renames the file to its target. On an error it is removed.
    pub(super) fn publish(self) -> Result<(), Error> {
        let Self { mut file, target } = self;
        let saved = file.sync().and_then(|()| file.commit());
        saved.map_err(|error| failed(&target, error))
    }
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
