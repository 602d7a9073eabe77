//! EOF on standard input as an event source: a child that does not outlive its parent.
//!
//! **Owns** the pipe whose other end a parent process holds. **Must never touch** a connection:
//! [`signals`](super::signals) decides what stopping means. **Invariant**: the pipe closes when the
//! parent ends, even by SIGKILL, and that ends this process at once, in a drain too: a parent that
//! wants a drain sends SIGTERM.

use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use log::info;
use mio::unix::pipe::Receiver;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread;

/// Bytes discarded per read; a parent is not expected to write any.
const READ_BYTES: usize = 512;

/// Watches standard input for EOF.
#[derive(Debug)]
pub struct StdinWatch {
    pipe: Receiver,
}

impl StdinWatch {
    /// Watches standard input, which must be a pipe or something else that can be polled.
    ///
    /// # Errors
    ///
    /// It needs a descriptor.
    pub fn new() -> io::Result<Self> {
        let pipe = Receiver::from(io::stdin().as_fd().try_clone_to_owned()?);
        pipe.set_nonblocking(true)?;
        Ok(Self { pipe })
    }

    /// The pipe, to register it.
    pub fn pipe_mut(&mut self) -> &mut Receiver {
        &mut self.pipe
    }

    /// Discards input; ends the process at EOF.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self.pipe.read(&mut [0; READ_BYTES]) {
            Ok(1..) => Verdict::Again,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Verdict::Again,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.remove(Readiness::READABLE);
                Verdict::Park
            }
            // An error is as good as EOF.
            Ok(0) | Err(_) => {
                end();
                Verdict::Close
            }
        }
    }
}

/// The same for a server without a loop: a thread waits for EOF.
///
/// # Errors
///
/// The thread could not be started.
pub fn watch_by_thread() -> io::Result<()> {
    let watch = || {
        // An error is as good as EOF.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        end();
    };
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(watch)
        .map(drop)
}

fn end() {
    info!("ending: EOF on standard input");
    // The second signal ends the process at once. Raising cannot fail: the signal has a handler.
    for _ in 0..2 {
        let _ = low_level::raise(SIGTERM);
    }
}
