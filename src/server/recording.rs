//! Saving the recording while the server serves.
//!
//! **Owns** how much of it is written between two turns. **Must never touch** a source, the file or
//! the format. **Invariant**: between two turns a bounded number of entries is written, and nothing
//! is recorded until all are, so that the ring does not change meanwhile.
//!
//! A write to a file may block the loop's thread, as only a write to the log can elsewhere (see
//! [`crate::output`]): the system takes the bytes into its page cache, as a rule at once. If it
//! first has to wait for a slow disk, all clients wait with it. So at most some 100 KiB are written
//! per turn, and nothing is synchronised to the disk.

use super::{RecordingFile, Server};
use crate::net::Net;
use crate::observe::recorder::Extent;
use crate::protocol::escape::shell_argument;
use log::{info, warn};
use std::io;
use std::mem;
use std::path::Path;

/// Entries that are written between two turns, in about 0.5 ms. To save 10,000 busy turns takes some
/// 1,300 turns.
const SAVED_ENTRIES_PER_TURN: usize = 256;

impl<N: Net> Server<N> {
    /// Saves what the recorder records to `file`, whenever that is requested.
    pub fn record_to(&mut self, file: RecordingFile) {
        self.recording = Some(file);
    }

    /// Begins to save the recording if that was requested, and writes a part of one that is being
    /// saved. A failure is logged, and the server keeps serving.
    pub(super) fn save_part_of_recording(&mut self) {
        let is_requested = mem::take(&mut self.shared.requested.recording);
        let Some(file) = &mut self.recording else {
            if is_requested {
                info!("SIGUSR2 ignored: no recording is made (--record FILE makes one)");
            }
            return;
        };
        match (is_requested, file.is_saving()) {
            (false, false) => return,
            (false, true) => {}
            (true, true) => info!("SIGUSR2 ignored: the recording is already being saved"),
            (true, false) => match file.begin() {
                Ok(()) => self.reactor.recorder_mut().pause(),
                Err(error) => return warn!("{error}"),
            },
        }
        match file.write_part(self.reactor.recorder(), SAVED_ENTRIES_PER_TURN) {
            Ok(false) => return self.reactor.skip_next_wait(),
            Ok(true) => log_saved(file.path(), self.reactor.recorder().extent()),
            Err(error) => warn!("{error}"),
        }
        self.reactor.recorder_mut().resume();
    }

    /// Saves the recording, if one is made, all at once: for the end of a run.
    ///
    /// # Errors
    ///
    /// An error of the file system. An earlier recording is then unchanged.
    pub fn save_recording(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.recording else {
            return Ok(());
        };
        self.reactor.recorder_mut().resume();
        file.begin()?;
        file.write_part(self.reactor.recorder(), usize::MAX)?;
        log_saved(file.path(), self.reactor.recorder().extent());
        Ok(())
    }
}

fn log_saved(path: &Path, extent: Extent) {
    let path = shell_argument(path);
    info!("recording saved ({extent}): `helloop show {path}`, or open it in Perfetto");
}
