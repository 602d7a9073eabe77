//! A standard stream that is written to without waiting for its reader.
//!
//! **Owns** the thread that writes, and the bytes queued for it. **Must never touch** what is written.
//! **Invariant**: the program waits for the reader only as long as it chooses; what was taken is
//! written in order.
//!
//! A write to a pipe or a console may block, and there is no call that tells before. So a thread
//! writes, from a bounded buffer, and a full buffer is treated as a full pipe.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Whether a write has reached the stream when it returns.
#[cfg(test)]
pub(crate) const WRITES_AT_ONCE: bool = false;

/// The most bytes that are taken at once.
pub(crate) const PIECE_BYTES: usize = 4_096;

/// The most bytes that are queued or being written: the capacity of a pipe on Linux.
const BUFFER_BYTES: usize = 64 * 1_024;

/// A stream that an [`Output`] writes to.
pub(crate) trait OutputStream: Write + Send + 'static {}

impl<S: Write + Send + 'static> OutputStream for S {}

/// What the program and the thread share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified at each change of the state.
    changed: Condvar,
}

/// The bytes that are not written yet.
#[derive(Debug, Default)]
struct State {
    /// Bytes for the thread to take.
    queued: Vec<u8>,
    /// The number of bytes that the thread is writing.
    writing_bytes: usize,
    /// Why the last write failed: nothing can be written any more.
    failure: Option<io::ErrorKind>,
    /// Whether the thread is to end once everything is written.
    is_over: bool,
}

impl State {
    fn room_bytes(&self) -> usize {
        BUFFER_BYTES.saturating_sub(self.queued.len() + self.writing_bytes)
    }

    fn is_settled(&self) -> bool {
        self.failure.is_some() || self.queued.is_empty() && self.writing_bytes == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_reached`, or until the timeout. Returns whether it is.
    fn wait(&self, timeout: Duration, is_reached: impl Fn(&State) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| !is_reached(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_reached(&state)
    }
}

/// A standard stream, written to by a thread. The thread ends with it.
pub(crate) struct Output<S> {
    shared: Arc<Shared>,
    /// The stream, if no thread could be started: writing may then block.
    unthreaded: Option<Mutex<S>>,
}

impl<S> fmt::Debug for Output<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Output").finish_non_exhaustive()
    }
}

impl<S: OutputStream> Output<S> {
    pub(crate) fn new(stream: S) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = std::sync::mpsc::channel();
        let of_thread = Arc::clone(&shared);
        let write = move || {
            if let Ok(stream) = receiver.recv() {
                write_all(stream, &of_thread);
            }
        };
        let started = thread::Builder::new()
            .name("output".to_owned())
            .spawn(write);
        let unthreaded = match started {
            Ok(_) => sender.send(stream).err().map(|unsent| unsent.0),
            Err(_) => Some(stream),
        };
        Self {
            shared,
            unthreaded: unthreaded.map(Mutex::new),
        }
    }

    /// Takes one piece of `bytes`, and returns its length.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room now, or the error of the last write.
    pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        if let Some(stream) = &self.unthreaded {
            let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
            return stream.write(piece);
        }
        let mut state = self.shared.lock();
        if let Some(failure) = state.failure {
            return Err(failure.into());
        }
        // A piece is taken whole or not at all, so that lines are not cut.
        if state.room_bytes() < piece.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.queued.extend_from_slice(piece);
        self.shared.changed.notify_all();
        Ok(piece.len())
    }

    /// Whether there is room for a piece, or a write would fail at once.
    pub(crate) fn has_room_within(&self, timeout: Duration) -> bool {
        let has_room = |state: &State| state.failure.is_some() || state.room_bytes() >= PIECE_BYTES;
        self.unthreaded.is_some() || self.shared.wait(timeout, has_room)
    }

    /// Waits until all that was taken is written.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if time ran out first, or the error of the last write.
    pub(crate) fn settle_within(&self, timeout: Duration) -> io::Result<()> {
        if !self.shared.wait(timeout, State::is_settled) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.shared
            .lock()
            .failure
            .map_or(Ok(()), |failure| Err(failure.into()))
    }
}

impl<S> Drop for Output<S> {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

/// The body of the thread.
fn write_all(mut stream: impl Write, shared: &Shared) {
    loop {
        let state = shared.lock();
        let waited = shared
            .changed
            .wait_while(state, |state| state.queued.is_empty() && !state.is_over);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.queued.is_empty() {
            return;
        }
        // Piece by piece, so that there is room again as soon as the reader has made some.
        let length = state.queued.len().min(PIECE_BYTES);
        let bytes: Vec<u8> = state.queued.drain(..length).collect();
        state.writing_bytes = length;
        drop(state);
        let written = stream.write_all(&bytes).and_then(|()| stream.flush());
        let mut state = shared.lock();
        state.writing_bytes = 0;
        state.failure = written.err().map(|error| error.kind());
        shared.changed.notify_all();
        if state.failure.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_no_one_reads_is_bounded_and_waits_in_order() {
        let (mut reader, writer) = io::pipe().expect("two handles");
        let output = Output::new(writer);
        let mut taken = Vec::new();
        // The thread fills the pipe meanwhile.
        for number in 0..1_000u32 {
            let line = format!("{number:>99}\n");
            match output.write_now(line.as_bytes()) {
                Ok(length) => taken.extend_from_slice(&line.as_bytes()[..length]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(taken.len() <= 2 * BUFFER_BYTES, "{}", taken.len());
        let error = output.settle_within(Duration::ZERO).expect_err("not read");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(output);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("bytes");
        assert_eq!(read, taken);
    }

    #[test]
    fn a_failed_write_is_reported_by_the_next() {
        let (reader, writer) = io::pipe().expect("two handles");
        drop(reader);
        let output = Output::new(writer);
        output.write_now(b"lost").expect("taken");
        assert!(output.settle_within(Duration::from_secs(10)).is_err());
        assert!(output.write_now(b"lost").is_err());
        assert!(output.has_room_within(Duration::ZERO), "it fails at once");
    }
}
