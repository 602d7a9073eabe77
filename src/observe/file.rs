//! The file that recordings are saved to.
//!
//! **Owns** the path, and how the file is replaced. **Must never touch** the content.
//! **Invariant**: the file is always a complete recording: each is written to a new file first,
//! which is then renamed. The new file has a name that no one can guess and did not exist before, so
//! no link is followed.

use super::recorder::TurnRecorder;
use super::trace::TraceWriter;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes per write: with some 300 bytes per event, few calls.
const BUFFER_BYTES: usize = 64 * 1_024;

/// The mode of a new file, before the umask applies: that of any program's output. A temporary file
/// would otherwise be readable by its owner alone.
const FILE_MODE: u32 = 0o666;

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
    out: BufWriter<NamedTempFile>,
    writer: TraceWriter,
}

impl RecordingFile {
    /// Checks that recordings can be saved to `path`, before anything is recorded.
    ///
    /// # Errors
    ///
    /// No file can be created in the directory, or `path` exists and is not a file.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.file_name().is_none() || fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is not a file"));
        }
        create(path)?;
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
        let file = create(&self.path).map_err(|error| self.failed(&error))?;
        self.partial = Some(Unfinished {
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
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
        let file = partial.out.into_inner();
        let file = file.map_err(|error| self.failed(error.error()))?;
        file.persist(&self.path)
            .map_err(|error| self.failed(&error.error))?;
        Ok(true)
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        let path = self.path.display().to_string();
        let path = path.escape_debug();
        let message = format!("cannot write the recording to {path}: {error}");
        io::Error::new(error.kind(), message)
    }
}

/// Creates a new file beside `path`: a rename cannot cross file systems.
fn create(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Its name is not derived from the path's, which may have the maximum length.
    tempfile::Builder::new()
        .prefix(".helloop-")
        .suffix(".part")
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))
}
