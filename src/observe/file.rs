//! The recording's file.
//!
//! **Owns** where a recording goes and how it gets there. **Must never touch** what is in it.
//! **Invariant**: under its name the file is always a whole recording: it is written aside and
//! renamed.

use super::recorder::TurnRecorder;
use super::trace;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that recordings are saved to, each over the one before.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    /// Beside the file, for a rename is only within one file system.
    aside: PathBuf,
}

impl RecordingFile {
    /// Makes sure, before anything is recorded, that `path` can be written to.
    ///
    /// # Errors
    ///
    /// The directory is not there or takes no file; or `path` is something else than a file.
    pub fn new(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is not a file"));
        }
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}.partial", std::process::id()));
        let file = Self {
            path: path.to_owned(),
            aside: aside.into(),
        };
        File::create(&file.aside)?;
        fs::remove_file(&file.aside)?;
        Ok(file)
    }

    /// Where recordings are saved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Saves what `recorder` remembers. Blocks for as long as that takes: a second for some
    /// hundred thousand entries, in which the loop does nothing else.
    ///
    /// # Errors
    ///
    /// The file system's; what was saved before is then still there.
    pub fn save(&self, recorder: &TurnRecorder) -> io::Result<()> {
        self.write(recorder)
            .and_then(|()| fs::rename(&self.aside, &self.path))
            .inspect_err(|_| {
                // Best effort: the error that counts is the first one.
                let _ = fs::remove_file(&self.aside);
            })
    }

    fn write(&self, recorder: &TurnRecorder) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(&self.aside)?);
        trace::write(recorder, &mut out)?;
        out.flush()
    }
}
