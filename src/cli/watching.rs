//! The flags of `helloop serve` for those who watch the loop.
//!
//! **Owns** what is recorded, how far back, and where it is saved. **Must never touch** how the
//! loop is watched. **Invariant**: without one of these flags nothing watches.

use super::Failure;
use super::values::between;
use crate::observe::file::RecordingFile;
use crate::server::watch::Watched;
use clap::Args;
use std::path::{Path, PathBuf};

/// More turns than this are more than a viewer opens.
const MAX_RECORD_TURNS: u64 = 1_000_000;

#[derive(Args, Debug)]
pub(super) struct Watching {
    /// Record the loop's last turns, for `helloop show` and Perfetto: saved on SIGUSR2 and at
    /// the end.
    #[arg(
        long,
        env = "HELLOOP_RECORD",
        value_name = "FILE",
        help_heading = "Watching"
    )]
    record: Option<PathBuf>,
    /// How many turns a recording goes back; each takes up to 4 KiB of memory.
    #[arg(long, env = "HELLOOP_RECORD_TURNS", value_name = "N", default_value = "10k",
          value_parser = |text: &str| between(text, 1, MAX_RECORD_TURNS),
          help_heading = "Watching")]
    record_turns: u64,
}

impl Watching {
    /// What is to be watched; `None`: nothing, and the server is compiled without a recorder.
    ///
    /// # Errors
    ///
    /// What is wrong is found before anything is served, and not when a recording is lost.
    pub(super) fn prepare(&self) -> Result<Option<Watched>, Failure> {
        let recording = self.record.as_deref().map(recording_file).transpose()?;
        if recording.is_none() {
            return Ok(None);
        }
        Ok(Some(Watched {
            recording,
            turns: usize::try_from(self.record_turns).unwrap_or(usize::MAX),
        }))
    }
}

fn recording_file(path: &Path) -> Result<RecordingFile, Failure> {
    RecordingFile::new(path).map_err(|error| {
        let name = path.display().to_string();
        Failure::new(format_args!(
            "cannot record to {}: {error}; --record takes a file in a folder that can be written to",
            name.escape_debug()
        ))
    })
}
