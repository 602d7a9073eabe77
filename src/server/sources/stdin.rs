//! The end of standard input as one more event source: a child that outlives nobody.
//!
//! **Owns** the pipe whose other end a parent process holds. **Must never touch** a connection:
//! what a stop means is for [`signals`](super::signals) to say. **Invariant**: the pipe closes
//! when the parent ends, however it ends, SIGKILL included, and that is as good as a SIGTERM: no
//! parent leaves a server behind.

use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::server::Shared;
use log::info;
use mio::unix::pipe::Receiver;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread;

/// Bytes thrown away in one read: nobody is expected to write any.
const READ_BYTES: usize = 512;

/// The parent's pipe.
#[derive(Debug)]
pub struct StdinWatch {
    pipe: Receiver,
}

impl StdinWatch {
    /// Watches standard input, which must be a pipe, or something else that can be polled.
    ///
    /// # Errors
    ///
    /// A descriptor is needed.
    pub fn new() -> io::Result<Self> {
        let pipe = Receiver::from(io::stdin().as_fd().try_clone_to_owned()?);
        pipe.set_nonblocking(true)?;
        Ok(Self { pipe })
    }

    /// The pipe, to register it.
    pub fn pipe_mut(&mut self) -> &mut Receiver {
        &mut self.pipe
    }

    /// Throws away what comes; at its end, asks the server to stop.
    pub fn drive<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        if cx.shared.is_draining() {
            return Verdict::Close;
        }
        match self.pipe.read(&mut [0; READ_BYTES]) {
            Ok(1..) => Verdict::Again,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Verdict::Again,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.clear(Readiness::READABLE);
                Verdict::Park
            }
            // An end by error is an end.
            Ok(0) | Err(_) => {
                stop();
                Verdict::Close
            }
        }
    }
}

/// The same for servers without a loop: a thread of its own waits for the end.
///
/// # Errors
///
/// The thread could not be started.
pub fn watch_by_thread() -> io::Result<()> {
    let watch = || {
        // An end by error is an end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop();
    };
    thread::Builder::new()
        .name("parent".to_owned())
        .spawn(watch)
        .map(drop)
}

fn stop() {
    info!("standard input has ended, and this server with it");
    // SIGTERM has a handler here, and is a number that the system knows: nothing can fail.
    let _ = low_level::raise(SIGTERM);
}
