//! A standard stream that is written to without waiting for its reader.
//!
//! **Owns** the ways to write without blocking. **Must never touch** what is written, nor a flag that
//! the program shares with others. **Invariant**: nothing is written unless the stream has room, as far
//! as the system can tell.
//!
//! `O_NONBLOCK` belongs to the open file description, which the program shares with its parent and
//! its siblings: set on standard error, it would break the shell's terminal. So the flag is left
//! alone, and one of two ways is taken:
//!
//! - On Linux, a pipe or a terminal is opened a second time, through `/proc`, as a description of
//!   the program's own with `O_NONBLOCK`.
//! - Elsewhere, and for sockets and files, poll(2) is asked for room before each write. A pipe with
//!   room takes `PIPE_BUF` bytes at once, and no more are written. What remains: another
//!   process that writes to the same pipe can take the room in between, and a terminal may have
//!   room for less than a line. The write then waits for the reader. A file has no reader to wait for.

use nix::errno::Errno;
use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Whether a write has reached the stream when it returns.
#[cfg(test)]
pub(crate) const WRITES_AT_ONCE: bool = true;

/// The most bytes of one write.
pub(crate) const PIECE_BYTES: usize = PIPE_BUF;

/// A stream that an [`Output`] writes to.
pub(crate) trait OutputStream: AsFd {}

impl<S: AsFd> OutputStream for S {}

/// A standard stream.
#[derive(Debug)]
pub(crate) struct Output<S> {
    stream: S,
    /// The same pipe or terminal, opened a second time without blocking.
    own: Option<OwnedFd>,
}

impl<S: OutputStream> Output<S> {
    pub(crate) fn new(stream: S) -> Self {
        let own = open_nonblocking(&stream);
        Self { stream, own }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        let own = self.own.as_ref().map(AsFd::as_fd);
        own.unwrap_or_else(|| self.stream.as_fd())
    }

    /// Writes one piece of `bytes`, and returns its length.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room now, or those of write(2).
    pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.own.is_none() && !self.has_room_within(Duration::ZERO) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        loop {
            match unistd::write(self.descriptor(), piece) {
                Err(Errno::EINTR) => {}
                Ok(0) if !piece.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                written => return Ok(written?),
            }
        }
    }

    /// Whether there is room, or a write would fail at once.
    pub(crate) fn has_room_within(&self, timeout: Duration) -> bool {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.descriptor(), PollFlags::POLLOUT)];
        loop {
            match poll(&mut polled, timeout) {
                Err(Errno::EINTR) => {}
                ready => return ready.is_ok_and(|count| count > 0),
            }
        }
    }

    /// Waits until all that was taken is written. Here it is already.
    ///
    /// # Errors
    ///
    /// None.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "elsewhere a thread writes"
    )]
    pub(crate) fn settle_within(&self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a pipe or a terminal a second time for writing, as an open file description of its own
/// with `O_NONBLOCK`. `None` for other files, which would lose their shared offset, and if it is
/// not permitted: the pipe or the terminal may belong to another user.
#[cfg(all(target_os = "linux", not(feature = "portable")))]
fn open_nonblocking(descriptor: &impl AsFd) -> Option<OwnedFd> {
    use nix::libc::{O_NOCTTY, O_NONBLOCK};
    use std::fs::{self, OpenOptions};
    use std::io::IsTerminal;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

    let descriptor = descriptor.as_fd();
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let is_pipe = fs::metadata(&path).ok()?.file_type().is_fifo();
    if !is_pipe && !descriptor.is_terminal() {
        return None;
    }
    let mut options = OpenOptions::new();
    // Without O_NOCTTY a daemon could get a controlling terminal.
    let file = options.write(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    file.open(path).ok().map(OwnedFd::from)
}

/// No way: opening `/dev/fd/2` shares the flags of the description, as dup(2) does.
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
fn open_nonblocking(_descriptor: &impl AsFd) -> Option<OwnedFd> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, fcntl};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_flags_that_are_shared_with_other_processes_stay_unchanged() {
        let (_reader, writer) = io::pipe().expect("two descriptors");
        let output = Output::new(writer);
        while output.write_now(&[b'x'; PIECE_BYTES]).is_ok() {}
        let flags = fcntl(&output.stream, FcntlArg::F_GETFL).expect("flags");
        assert_eq!(flags & nix::libc::O_NONBLOCK, 0);
    }

    #[test]
    fn a_socket_that_is_not_read_takes_whole_lines_only() {
        // systemd's journal is such a socket.
        let (mut reader, writer) = UnixStream::pair().expect("two descriptors");
        let output = Output::new(writer);
        let mut lines = 0;
        while output.write_now(b"a line\n").is_ok() {
            lines += 1;
        }
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "a line\n".repeat(lines));
    }
}
