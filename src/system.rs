//! The process and its system: signals, the standard streams, files and memory.
//!
//! **Owns** the calls for these that differ between systems; the others go through the standard
//! library. **Must never touch** a connection: sockets are in [`net::system`](crate::net::system).
//! **Invariant**: each system has the same functions, and what a system lacks is `None` or has no
//! effect. No module but these two names an operating system.
//!
//! | Unix | Windows |
//! | --- | --- |
//! | SIGINT, SIGTERM and SIGHUP ask to stop | Ctrl-C and Ctrl-Break do; closing the console ends the process |
//! | a signal makes a socket readable that the poll watches | a thread waits for Ctrl-C, and wakes the poll |
//! | SIGUSR1 logs the counters, SIGUSR2 saves the recording | `/metrics` has the counters; the recording is saved at the end |
//! | the poll watches standard input | a thread reads it |
//! | a write to standard error that would block is not made | a thread writes from a bounded buffer |
//! | devices and FIFOs are in the file system | devices are names, such as NUL |
//! | a new file gets the mode that the umask allows | it inherits the permissions of its folder |

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub(crate) use platform::{
    Output, OutputStream, SignalQueue, SignalSource, StdinPipe, StopSignal, before_exit,
    enable_escapes, exit_on_second_stop, has_lost_reader, is_device, is_fifo, is_standard_output,
    keep_small_pages, on_stop, open_fifo, own_process_group, page_bytes, request_stop,
    use_default_permissions,
};

#[cfg(test)]
pub(crate) use platform::{PIECE_BYTES, WRITES_AT_ONCE};

/// What a signal asks for.
#[allow(dead_code)] // on Windows there is only a request to stop
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To drain and end.
    Stop,
    /// To log all counters.
    Report,
    /// To save the recording.
    SaveRecording,
}
