//! A file that appears under its name complete or not at all.
//!
//! **Owns** the temporary file beside a target, its renaming, and what is written to directly.
//! **Must never touch** any other file, nor what is written. **Invariant**: a target is never
//! partial, and an existing file is replaced only on request. The temporary file has a name that no
//! one can guess and did not exist before, so no link is followed; it is gone when its [`NewFile`] is
//! dropped.
//!
//! A device, a pipe or a FIFO cannot be replaced: what is written goes straight into it. The same
//! holds for a link in `/dev` or `/proc`, such as `/dev/stdout`, which leads to an open file.
//!
//! A command that handles signals to stop removes the temporary files with [`abandon`]. Only SIGKILL,
//! or a signal that is not handled, leaves one, `.helloop-….part`, and never a partial target.

use crate::system;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf, is_separator};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::{NamedTempFile, PersistError};

/// Bytes per write: few calls for many small pieces.
const BUFFER_BYTES: usize = 64 * 1_024;

/// How often a FIFO is tried again: the system has no event for a reader that opens it.
const READER_INTERVAL: Duration = Duration::from_millis(20);

/// The temporary files of this process.
static PART_FILES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn part_files() -> MutexGuard<'static, Vec<PathBuf>> {
    // Nothing panics while it is locked.
    PART_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files, then calls `end`, which ends the process. Until then none is created.
pub(crate) fn abandon(end: impl FnOnce()) {
    let files = part_files();
    for path in files.iter() {
        // Best effort: the process ends anyway.
        let _ = fs::remove_file(path);
    }
    end();
}

/// What happens to a file that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and the new file is refused.
    Keep,
    /// The new file takes its place, once complete.
    Replace,
}

/// Whether a path names standard output: `-`, or one of the system's names for it. Opened again, a
/// file would be written to from its start, over what was printed before.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    // Paths are compared, not texts: `/dev//stdout` is the same.
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path == Path::new(name))
        || leads_to_the_file_on_stdout(path)
}

/// Whether a link of the system, such as `/proc/1234/fd/1`, leads to the regular file that standard
/// output is. A pipe or a terminal can be opened again: nothing in it is written over.
fn leads_to_the_file_on_stdout(path: &Path) -> bool {
    is_system_link(path)
        && fs::metadata(path).is_ok_and(|target| system::is_standard_output(&target))
}

/// Whether a path is a symbolic link in `/dev` or `/proc`, however it is written.
fn is_system_link(path: &Path) -> bool {
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    is_link
        && fs::canonicalize(folder_of(path))
            .is_ok_and(|folder| ["/dev", "/proc"].iter().any(|at| folder.starts_with(at)))
}

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a file under this name is complete or absent, whatever happens: not if it is written to
/// directly.
pub(crate) fn is_written_aside(path: &Path) -> bool {
    matches!(kind_of(path), Ok(Target::Free | Target::Taken))
}

/// Checks in advance that a file can be written under this name: the same as [`NewFile::create`], and
/// nothing is left of it. A FIFO is not opened, since that waits for its reader.
///
/// # Errors
///
/// As for [`NewFile::create`].
pub(crate) fn check(path: &Path, existing: Existing) -> io::Result<()> {
    match kind_of(path)? {
        Target::Open => Ok(()),
        Target::Free => Part::create(path).map(drop),
        Target::Taken => refuse_taken(existing).and_then(|()| Part::create(path).map(drop)),
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Nothing yet.
    Free,
    /// A regular file, or a symbolic link, which is replaced and not followed.
    Taken,
    /// A device, a pipe, a FIFO, or a file that is open: there is nothing to replace.
    Open,
}

fn kind_of(path: &Path) -> io::Result<Target> {
    // The standard library drops these endings: the name would be that of a file.
    let text = path.to_string_lossy();
    let names_folder = text
        .strip_suffix('.')
        .unwrap_or(&text)
        .ends_with(is_separator);
    if path.file_name().is_none() || names_folder {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if system::is_device(path) {
        return Ok(Target::Open);
    }
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::Free),
        found => found?,
    };
    if !found.is_symlink() {
        return match () {
            () if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            () if found.is_file() => Ok(Target::Taken),
            () => Ok(Target::Open),
        };
    }
    match fs::metadata(path) {
        Ok(end) if end.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(end) if is_system_link(path) || !end.is_file() => Ok(Target::Open),
        // A dangling link is in the way too.
        _ => Ok(Target::Taken),
    }
}

fn refuse_taken(existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Keep => Err(io::ErrorKind::AlreadyExists.into()),
        Existing::Replace => Ok(()),
    }
}

/// A file that is being written: [`Write`] the content, then [`commit`](Self::commit). Dropped
/// before, it leaves nothing.
#[derive(Debug)]
pub(crate) struct NewFile {
    out: BufWriter<Out>,
    target: PathBuf,
    existing: Existing,
}

/// Where the bytes go.
#[derive(Debug)]
enum Out {
    /// Into a temporary file, until it is renamed.
    Aside(Part),
    /// Into the target itself.
    Direct(File),
    /// Into a FIFO, which is not blocking, until the deadline.
    Until(File, Instant),
}

impl NewFile {
    /// Starts a file. Opening a FIFO waits for its reader, as the log then says.
    ///
    /// # Errors
    ///
    /// No file can be created in the directory; the target is a directory; it exists and is to be kept:
    /// [`io::ErrorKind::AlreadyExists`].
    pub(crate) fn create(target: &Path, existing: Existing) -> io::Result<Self> {
        Self::start(target, existing, None)
    }

    /// The same, except that a FIFO is waited for until the deadline, also while it is written to.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); [`io::ErrorKind::TimedOut`]: the FIFO has no reader.
    pub(crate) fn create_until(
        target: &Path,
        existing: Existing,
        deadline: Instant,
    ) -> io::Result<Self> {
        Self::start(target, existing, Some(deadline))
    }

    fn start(target: &Path, existing: Existing, deadline: Option<Instant>) -> io::Result<Self> {
        let out = match kind_of(target)? {
            Target::Open => open(target, deadline)?,
            Target::Free => Out::Aside(Part::create(target)?),
            Target::Taken => {
                refuse_taken(existing)?;
                Out::Aside(Part::create(target)?)
            }
        };
        Ok(Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            target: target.to_owned(),
            existing,
        })
    }

    /// Waits until the content is on the disk. Otherwise some file systems show an empty file after a
    /// power failure.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        match self.out.get_ref() {
            Out::Aside(part) => part.file()?.as_file().sync_all(),
            // Pipes and most devices have nothing to sync.
            Out::Direct(_) | Out::Until(..) => Ok(()),
        }
    }

    /// Completes the file: from now on it is there under its name.
    ///
    /// # Errors
    ///
    /// Those of writing; the temporary file is then gone. [`io::ErrorKind::AlreadyExists`]: the target
    /// is to be kept, and has appeared meanwhile.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.out.flush()?;
        match self.out.get_mut() {
            Out::Aside(part) => part.rename(&self.target, self.existing),
            Out::Direct(_) | Out::Until(..) => Ok(()),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Aside(part) => part.file()?.as_file().write(bytes),
            Self::Direct(file) => file.write(bytes),
            Self::Until(file, deadline) => loop {
                match file.write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        wait_for_reader(*deadline, "its reader does not read on")?;
                    }
                    written => return written,
                }
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Neither is buffered.
        Ok(())
    }
}

/// Opens what cannot be replaced.
fn open(target: &Path, deadline: Option<Instant>) -> io::Result<Out> {
    let mut options = OpenOptions::new();
    options.append(true);
    if system::is_device(target) || !system::is_fifo(&fs::metadata(target)?) {
        return options.open(target).map(Out::Direct);
    }
    let mut is_said = false;
    loop {
        match (system::open_fifo(target)?, deadline) {
            (Some(file), Some(deadline)) => return Ok(Out::Until(file, deadline)),
            (None, _) if !is_said => {
                let name = target.display().to_string();
                log::info!("waiting for a reader of {}", name.escape_debug());
                is_said = true;
            }
            // A writer that waits without a limit need not look again and again.
            (_, None) => return options.open(target).map(Out::Direct),
            (None, Some(deadline)) => wait_for_reader(deadline, "no one reads it")?,
        }
    }
}

/// Waits a little, or fails with these words once the deadline is reached.
fn wait_for_reader(deadline: Instant, words: &'static str) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, words));
    }
    thread::sleep(left.min(READER_INTERVAL));
    Ok(())
}

/// A temporary file; `None` once it is renamed. Removed when dropped.
#[derive(Debug)]
struct Part(Option<NamedTempFile>);

impl Part {
    /// Creates it in the folder of the target: a rename cannot cross file systems.
    fn create(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        if !fs::metadata(folder)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // Locked before the file exists, so that no signal comes between.
        let mut files = part_files();
        // Its name is not derived from the target's, which may have the maximum length.
        let mut file = tempfile::Builder::new();
        file.prefix(".helloop-").suffix(".part");
        system::use_default_permissions(&mut file);
        let file = file
            .tempfile_in(folder)
            // Without the temporary name, which means nothing to the user.
            .map_err(|error| io::Error::from(error.kind()))?;
        files.push(file.path().to_owned());
        Ok(Self(Some(file)))
    }

    fn file(&self) -> io::Result<&NamedTempFile> {
        self.0
            .as_ref()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn rename(&mut self, target: &Path, existing: Existing) -> io::Result<()> {
        let Some(file) = self.0.take() else {
            return Ok(());
        };
        let temporary = file.path().to_owned();
        let renamed = match existing {
            Existing::Replace => file.persist(target),
            Existing::Keep => rename_new(file, target),
        };
        // An error contains the file, which is removed here.
        let renamed = renamed.map(drop).map_err(|error| error.error);
        forget(&temporary);
        renamed
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            let temporary = file.path().to_owned();
            drop(file);
            forget(&temporary);
        }
    }
}

/// A temporary file does not exist any more.
fn forget(temporary: &Path) {
    part_files().retain(|path| path != temporary);
}

/// Renames the file unless the target exists, even if it has appeared since [`NewFile::create`].
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
    // Closed at once: Windows cannot replace an open file.
    match File::create_new(target).map(drop) {
        Ok(()) => file.persist(target).inspect_err(|_| {
            let _ = fs::remove_file(target);
        }),
        Err(error) => Err(PersistError { error, file }),
    }
}

#[cfg(test)]
mod tests;
