//! The file that recordings are saved to.
//!
//! **Owns** the path, and how the file is replaced. **Must never touch** the content.
//! **Invariant**: the file is always a complete recording: each is written to another file first,
//! which is then renamed.

use super::recorder::TurnRecorder;
use super::trace;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// A file that recordings are saved to. Each replaces the previous one.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    /// Written first, then renamed to `path`. In the same directory, because a rename cannot cross
    /// file systems.
    partial: PathBuf,
}

impl RecordingFile {
    /// Checks that recordings can be saved to `path`, before anything is recorded.
    ///
    /// # Errors
    ///
    /// No file can be created in the directory, or `path` exists and is not a file.
    pub fn new(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is not a file"));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let file = Self {
            path: path.to_owned(),
            partial: partial.into(),
        };
        File::create(&file.partial)?;
        fs::remove_file(&file.partial)?;
        Ok(file)
    }

    /// Where recordings are saved.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Saves what `recorder` holds. Blocks the loop until it is done: about a second per few
    /// hundred thousand entries.
    ///
    /// # Errors
    ///
    /// An error of the file system. The previous recording is then unchanged.
    pub(crate) fn save(&self, recorder: &TurnRecorder) -> io::Result<()> {
        File::create(&self.partial)
            .and_then(|file| trace::write(recorder, &mut BufWriter::new(file)))
            .and_then(|()| fs::rename(&self.partial, &self.path))
            .inspect_err(|_| {
                // Best effort: the first error is the one to report.
                let _ = fs::remove_file(&self.partial);
            })
    }
}
