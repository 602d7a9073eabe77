//! A file that appears whole or not at all.
//!
//! **Owns** a temporary file beside the one asked for, and that one's name. **Must never touch**
//! any other file. **Invariant**: the temporary file is gone when its [`Aside`] is, and under
//! the name asked for there is never a part of a body, nor an existing file replaced unasked.
//!
//! A process that is killed leaves the temporary file, `.helloop-….part`; never the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Error;

/// How many names are tried for the temporary file: others can only be in the way after a process
/// of the same number was killed.
const MAX_NAMES: u32 = 100;

/// Tells the temporary files of one process apart.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Whether a file may be saved under this name, as far as it can be known beforehand.
pub(super) fn check_target(path: &Path, force: bool) -> Result<(), Error> {
    let failed = |source| Error::Save {
        path: path.to_owned(),
        source,
    };
    if path.file_name().is_none() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if !fs::metadata(folder(path)).map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    // Of the link itself, if it is one: a link that leads nowhere is in the way as well.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if found.is_dir() => Err(failed(io::ErrorKind::IsADirectory.into())),
        Ok(_) if !force => Err(Error::Exists(path.to_owned())),
        // A device or a pipe would be unlinked, and not written to.
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            Err(failed(io::Error::other("it is not a regular file")))
        }
        Ok(_) => Ok(()),
    }
}

/// A body on its way to its name.
#[derive(Debug)]
pub(super) struct Aside {
    file: io::BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
}

impl Aside {
    /// Creates the temporary file in the same folder, since a rename cannot cross file systems.
    pub(super) fn create(target: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Save {
            path: target.to_owned(),
            source,
        };
        for _ in 0..MAX_NAMES {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            // Not made of the target's name, which may be as long as the file system allows.
            let name = format!(".helloop-{}-{number}.part", std::process::id());
            let temporary = folder(target).join(name);
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary);
            match opened {
                Ok(file) => {
                    return Ok(Self {
                        file: io::BufWriter::new(file),
                        temporary,
                        target: target.to_owned(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|error| self.failed(error))
    }

    /// Gives the file its name. On any error it is removed instead.
    pub(super) fn publish(mut self, force: bool) -> Result<(), Error> {
        // To the disk before the name: after a power failure some file systems would otherwise
        // show an empty file under it.
        let written = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|error| self.failed(error))?;
        let named = if force {
            fs::rename(&self.temporary, &self.target)
        } else {
            self.link()
        };
        named.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(self.target.clone()),
            _ => self.failed(error),
        })
    }

    /// Names the file unless the name is taken. `rename` would replace what appeared there since
    /// [`check_target`] looked; a second link to the file fails instead.
    fn link(&self) -> io::Result<()> {
        match fs::hard_link(&self.temporary, &self.target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                log::debug!("no hard link ({error}): renaming");
                self.claim_and_rename()
            }
            done => done,
        }
    }

    /// Where there are no hard links (FAT, some network file systems): the name is first taken by
    /// an empty file, which fails if it exists, and that one is then replaced.
    fn claim_and_rename(&self) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.target)?;
        fs::rename(&self.temporary, &self.target).inspect_err(|_| {
            let _ = fs::remove_file(&self.target);
        })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Save {
            path: self.target.clone(),
            source,
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Gone already if it was renamed.
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{} is left: {error}", self.temporary.display());
            }
            _ => {}
        }
    }
}

/// The folder of a file; that of a bare name is the working directory.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        for claim in [Aside::link, Aside::claim_and_rename] {
            let mut aside = Aside::create(&path).unwrap();
            aside.write(b"new").unwrap();
            fs::write(&path, "old").unwrap();
            let taken = claim(&aside).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
            let failed = aside.publish(false);
            assert!(matches!(failed, Err(Error::Exists(_))), "{failed:?}");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(files(folder.path()), 1);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn both_ways_to_a_free_name_leave_one_file() {
        for name in [Aside::link, Aside::claim_and_rename] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("page");
            let mut aside = Aside::create(&path).unwrap();
            aside.write(b"new").unwrap();
            aside.file.flush().unwrap();
            assert!(!path.exists());
            name(&aside).unwrap();
            drop(aside);
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(files(folder.path()), 1);
        }
    }

    #[test]
    fn only_a_regular_file_is_ever_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        fs::write(inside("file"), "old").unwrap();
        std::os::unix::fs::symlink("nowhere", inside("link")).unwrap();
        fs::create_dir(inside("folder")).unwrap();

        assert!(check_target(&inside("new"), false).is_ok());
        assert!(check_target(Path::new("a-new-name-in-the-working-directory"), false).is_ok());
        for name in ["file", "link"] {
            let refused = check_target(&inside(name), false);
            assert!(matches!(refused, Err(Error::Exists(_))), "{name}");
        }
        assert!(check_target(&inside("file"), true).is_ok());
        assert!(check_target(&inside("link"), true).is_ok());
        for path in [
            inside("folder"),
            inside("no-folder/new"),
            inside("file/new"),
            PathBuf::from("/dev/null"),
            PathBuf::from("/"),
            PathBuf::from(".."),
        ] {
            let refused = check_target(&path, true);
            assert!(matches!(refused, Err(Error::Save { .. })), "{path:?}");
        }
    }
}
