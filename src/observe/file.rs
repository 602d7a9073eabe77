//! The file that recordings are saved to.
//!
//! **Owns** the path, and when a recording begins and ends. **Must never touch** the content.
//! **Invariant**: the file is always a complete recording: each is written aside and then renamed
//! ([`crate::file`]).

use super::recorder::TurnRecorder;
use super::trace::TraceWriter;
use crate::file::{self, Existing, NewFile};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file that recordings are saved to. Each replaces the previous one.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    /// The recording that is being saved, if any.
    partial: Option<Unfinished>,
}

/// A recording of which a part is written. Its file is removed when it is dropped.
#[derive(Debug)]
struct Unfinished {
    out: NewFile,
    writer: TraceWriter,
}

impl RecordingFile {
    /// Checks that recordings can be saved to `path`, before anything is recorded.
    ///
    /// # Errors
    ///
    /// No file can be created in the directory, or `path` exists and is not a file.
    pub fn new(path: &Path) -> io::Result<Self> {
        // A pipe or a FIFO would stop the loop until it is read.
        if path.file_name().is_none() || fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is not a file"));
        }
        file::check(path, Existing::Replace)?;
        Ok(Self {
            path: path.to_owned(),
            partial: None,
        })
    }

    /// Where recordings are saved.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a recording is being saved.
    pub(crate) fn is_saving(&self) -> bool {
        self.partial.is_some()
    }

    /// Begins to save a recording; one that was being saved is dropped.
    ///
    /// # Errors
    ///
    /// No file can be created in the directory.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.partial = None;
        let out = NewFile::create(&self.path, Existing::Replace);
        self.partial = Some(Unfinished {
            out: out.map_err(|error| self.failed(&error))?,
            writer: TraceWriter::default(),
        });
        Ok(())
    }

    /// Writes about `max_entries` further entries. Returns whether the recording is saved.
    ///
    /// # Errors
    ///
    /// An error of the file system. The previous recording is then unchanged, and this one dropped.
    pub(crate) fn write_part(
        &mut self,
        recorder: &TurnRecorder,
        max_entries: usize,
    ) -> io::Result<bool> {
        let Some(mut partial) = self.partial.take() else {
            return Ok(true);
        };
        let Unfinished { out, writer } = &mut partial;
        let written = writer.write_part(recorder, out, max_entries);
        if !written.map_err(|error| self.failed(&error))? {
            self.partial = Some(partial);
            return Ok(false);
        }
        let saved = partial.out.commit();
        saved.map_err(|error| self.failed(&error))?;
        Ok(true)
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        let path = self.path.display().to_string();
        let path = path.escape_debug();
        let message = format!("cannot write the recording to {path}: {error}");
        io::Error::new(error.kind(), message)
    }
}
