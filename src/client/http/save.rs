//! A file that appears under its name complete or not at all.
//!
//! **Owns** the temporary file beside the target, and its renaming. **Must never touch** any other
//! file. **Invariant**: the temporary file is gone when its [`PartFile`] is dropped; the target is
//! never a partial body, and an existing file is replaced only on request.
//!
//! On a signal to stop the command removes the temporary file: see [`abandon`]. Only SIGKILL, or a
//! signal that is not handled, leaves it, `.helloop-….part`, and never a partial target.

use super::Error;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::{NamedTempFile, PersistError};

/// The mode of a new file, before the umask applies: that of any program's output. A temporary file
/// would otherwise be readable by its owner alone.
const FILE_MODE: u32 = 0o666;

/// The temporary files that this process has created. Those that were renamed or removed since do not
/// exist any more, and their names are random, so that nothing else has them.
static PART_FILES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the temporary files, then calls `end`, which ends the process. Until then none is created.
pub(crate) fn abandon(end: impl FnOnce()) {
    let files = PART_FILES.lock().unwrap_or_else(PoisonError::into_inner);
    for path in files.iter() {
        // Best effort: the process ends anyway.
        let _ = fs::remove_file(path);
    }
    end();
}

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
    let failed = |source| failed(path, source);
    if path.file_name().is_none() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if !fs::metadata(folder(path)).map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    // Does not follow a symbolic link: a dangling one is in the way too.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if found.is_dir() => Err(failed(io::ErrorKind::IsADirectory.into())),
        Ok(_) if !force => Err(Error::Exists(path.to_owned())),
        // A device or a pipe would be unlinked instead of written to.
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            Err(failed(io::Error::other("it is not a regular file")))
        }
        Ok(_) => Ok(()),
    }
}

/// The body while it is incomplete. Removed when dropped.
#[derive(Debug)]
pub(super) struct PartFile {
    file: BufWriter<NamedTempFile>,
    target: PathBuf,
}

impl PartFile {
    /// Creates the temporary file in the folder of the target: a rename cannot cross file systems.
    pub(super) fn create(target: &Path) -> Result<Self, Error> {
        // Locked before the file exists, so that no signal comes between.
        let mut files = PART_FILES.lock().unwrap_or_else(PoisonError::into_inner);
        // Its name is not derived from the target's, which may have the maximum length.
        let file = tempfile::Builder::new()
            .prefix(".helloop-")
            .suffix(".part")
            .permissions(Permissions::from_mode(FILE_MODE))
            .tempfile_in(folder(target))
            .map_err(|error| failed(target, error))?;
        files.push(file.path().to_owned());
        Ok(Self {
            file: BufWriter::new(file),
            target: target.to_owned(),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed(&self.target, error))
    }

    /// Renames the file to its target. On an error it is removed.
    pub(super) fn publish(self, force: bool) -> Result<(), Error> {
        let target = self.target;
        let failed = |source| failed(&target, source);
        let file = self.file.into_inner();
        let file = file.map_err(|error| failed(error.into_error()))?;
        // Otherwise some file systems would show an empty file after a power failure.
        file.as_file().sync_all().map_err(failed)?;
        let renamed = if force {
            file.persist(&target)
        } else {
            rename_new(file, &target)
        };
        match renamed.map_err(|error| error.error) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists(target))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// Renames the file unless the target exists, even if it was created since [`check_target`].
fn rename_new(file: NamedTempFile, target: &Path) -> Result<File, PersistError> {
    file.persist_noclobber(target).or_else(|failed| {
        if failed.error.kind() == io::ErrorKind::AlreadyExists {
            return Err(failed);
        }
        log::debug!("no atomic rename to a new name ({})", failed.error);
        claim_and_rename(failed.file, target)
    })
}

/// The same on a file system without hard links and without `RENAME_NOREPLACE` (some network file
/// systems): creates an empty target, which fails if there is one, and replaces it.
fn claim_and_rename(file: NamedTempFile, target: &Path) -> Result<File, PersistError> {
    match File::create_new(target) {
        Ok(_) => file.persist(target).inspect_err(|_| {
            let _ = fs::remove_file(target);
        }),
        Err(error) => Err(PersistError { error, file }),
    }
}

fn failed(target: &Path, source: io::Error) -> Error {
    Error::Save {
        path: target.to_owned(),
        source,
    }
}

/// The folder of a file: the working directory if the path is a bare name.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
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

    type Rename = fn(NamedTempFile, &Path) -> Result<File, PersistError>;
    const BOTH_WAYS: [Rename; 2] = [rename_new, claim_and_rename];

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    fn new_file(target: &Path) -> PartFile {
        let mut file = PartFile::create(target).unwrap();
        file.write(b"new").unwrap();
        file
    }

    #[test]
    fn a_target_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        for rename in BOTH_WAYS {
            let file = new_file(&path);
            fs::write(&path, "old").unwrap();
            let taken = rename(file.file.into_inner().unwrap(), &path).unwrap_err();
            assert_eq!(taken.error.kind(), io::ErrorKind::AlreadyExists);
            drop(taken);
            fs::remove_file(&path).unwrap();

            let file = new_file(&path);
            fs::write(&path, "old").unwrap();
            let failed = file.publish(false);
            assert!(matches!(failed, Err(Error::Exists(_))), "{failed:?}");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(files(folder.path()), 1);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn both_ways_to_a_new_name_leave_one_file() {
        for rename in BOTH_WAYS {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("page");
            let file = new_file(&path);
            assert!(!path.exists());
            rename(file.file.into_inner().unwrap(), &path).unwrap();
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
