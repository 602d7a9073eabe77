//! Signals and standard input, as sockets and pipes that a poll watches.
//!
//! **Owns** which signals are handled, and how they wake a poll or a thread. **Must never touch** what
//! the program does then. **Invariant**: no signal is missed, however early it comes; the second
//! signal to stop ends the process from within its handler, whatever the program is blocked in.

use crate::system::Request;
use mio::net::UnixStream;
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token, event};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use signal_hook::low_level::{self, emulate_default_handler};
use std::ffi::c_int;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// The signals that ask the program to stop: SIGINT, SIGTERM, and SIGHUP, which a closed terminal
/// sends, unless SIGHUP is ignored: nohup(1) does that for programs that are to survive their
/// terminal. Where it is unknown whether SIGHUP is ignored, it is left alone.
fn stop_signals() -> impl Iterator<Item = c_int> {
    let is_left_alone = ignored_signals().is_none_or(|mask| mask & signal_bit(SIGHUP) != 0);
    let hangup = (!is_left_alone).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup)
}

/// The bit of a signal in a mask of signals (proc(5), `SigIgn`).
fn signal_bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// The signals that this process ignores: bit 0 is signal 1.
#[cfg(all(target_os = "linux", not(feature = "portable")))]
fn ignored_signals() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Unknown.
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
fn ignored_signals() -> Option<u64> {
    None
}

/// Sets `flag` at the first signal to stop. A signal that finds it set ends the process, with
/// `exit_code` or the one that a shell expects (129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM). The
/// handler itself does that, whatever the program is blocked in: a write to a full log pipe, for
/// example.
///
/// # Errors
///
/// The handlers cannot be installed.
pub(crate) fn exit_on_second_stop(flag: &Arc<AtomicBool>, exit_code: Option<u8>) -> io::Result<()> {
    for signal in stop_signals() {
        let exit_code = exit_code.map_or(128 + signal, c_int::from);
        // Handlers run in the order of registration: the first one finds the flag unset at the first
        // signal, and then the second one sets it.
        flag::register_conditional_shutdown(signal, exit_code, Arc::clone(flag))?;
        flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// What a signal asks for.
fn request(signal: c_int) -> Request {
    match signal {
        SIGUSR1 => Request::Report,
        SIGUSR2 => Request::SaveRecording,
        _ => Request::Stop,
    }
}

/// The signals to stop, SIGUSR1 and SIGUSR2 as an event source: one of a pair of sockets, which their
/// handlers write to.
pub(crate) struct SignalSource {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl fmt::Debug for SignalSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignalSource")
            .finish_non_exhaustive()
    }
}

impl SignalSource {
    /// Handles the signals from now on.
    ///
    /// # Errors
    ///
    /// It needs a pair of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        let signals = stop_signals().chain([SIGUSR1, SIGUSR2]);
        let delivery = SignalDelivery::with_pipe(receiver, sender, SignalOnly, signals);
        Ok(Self {
            delivery: delivery?,
        })
    }

    /// What was asked for since the last call.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Request> {
        // `pending` drains the socket too, but mio does not see its `WouldBlock`, so this drains it
        // first (pitfall 25). A signal in between is pending, and its event is spurious.
        loop {
            match self.delivery.get_read().read(&mut [0; 64]) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        self.delivery.pending().map(request)
    }
}

impl event::Source for SignalSource {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.delivery.get_read_mut().register(to, token, interest)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.delivery.get_read_mut().reregister(to, token, interest)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.delivery.get_read_mut().deregister(from)
    }
}

/// The same signals for a thread that waits for them.
#[derive(Debug)]
pub(crate) struct SignalQueue(Signals);

impl SignalQueue {
    /// Handles the signals from now on; they are kept until they are waited for.
    ///
    /// # Errors
    ///
    /// It needs a pair of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        Signals::new(stop_signals().chain([SIGUSR1, SIGUSR2])).map(Self)
    }

    /// Waits for the next signal. `None`: there will be none.
    pub(crate) fn wait(&mut self) -> Option<Request> {
        self.0.forever().next().map(request)
    }
}

/// A signal to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopSignal(c_int);

impl StopSignal {
    /// Ends the process as the signal does by default.
    pub(crate) fn end_process(self) {
        // It cannot fail: these signals end the process by default.
        let _ = emulate_default_handler(self.0);
    }
}

/// Calls `handler` at each signal to stop, in a thread of its own.
///
/// # Errors
///
/// It needs a thread, and a pair of descriptors.
pub(crate) fn on_stop(handler: impl FnMut(StopSignal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new(stop_signals())?;
    let wait = move || signals.forever().map(StopSignal).for_each(handler);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}

/// Does nothing: a line of the log has reached the stream when it is logged.
pub(crate) fn before_exit(_call: impl Fn(Duration) + Send + Sync + 'static) {}

/// Does what SIGTERM does. If it has no handler, that ends the process.
pub(crate) fn request_stop() {
    // Raising cannot fail: the signal exists.
    let _ = low_level::raise(SIGTERM);
}

/// Standard input as an event source.
#[derive(Debug)]
pub(crate) struct StdinPipe(Receiver);

impl StdinPipe {
    /// Standard input, which must be a pipe or something else that can be polled. `None` on a system
    /// that cannot poll it.
    ///
    /// # Errors
    ///
    /// It needs a descriptor.
    pub(crate) fn new() -> io::Result<Option<Self>> {
        let pipe = Receiver::from(io::stdin().as_fd().try_clone_to_owned()?);
        pipe.set_nonblocking(true)?;
        Ok(Some(Self(pipe)))
    }
}

impl Read for StdinPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl event::Source for StdinPipe {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.0.register(to, token, interest)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.0.reregister(to, token, interest)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.0.deregister(from)
    }
}

#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read() {
        // Rust ignores SIGPIPE when it starts.
        let ignored = ignored_signals().expect("Linux lists them");
        let bit = signal_bit(signal_hook::consts::SIGPIPE);
        assert_ne!(ignored & bit, 0, "{ignored:x}");
    }
}
