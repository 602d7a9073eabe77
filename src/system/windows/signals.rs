//! Ctrl-C and EOF on standard input, which threads wait for.
//!
//! **Owns** the handler of the console's events, and what it does. **Must never touch** what the
//! program does when it is asked to stop. **Invariant**: no request is missed, however early it comes;
//! the second one ends the process, whatever the program is blocked in.
//!
//! Windows reports Ctrl-C and Ctrl-Break to a console program in a thread that it starts. It reports a
//! closed console too, but then ends the process, whatever the program does. There are no other
//! signals: `/metrics` has what SIGUSR1 logs, and a recording is saved at the end.

use crate::system::Request;
use mio::{Interest, Registry, Token, Waker, event};
use std::io::{self, Read};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// The exit code after a second Ctrl-C: that of a shell on Unix, 128 + SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// The exit code if a parent process ends it: as after SIGTERM on Unix.
const EXIT_TERMINATED: i32 = 143;

/// How long an exit waits for the log. Its thread needs microseconds to write what is queued, and a
/// person at the keyboard does not notice a tenth of a second.
const LOG_TIMEOUT: Duration = Duration::from_millis(100);

/// What a request to stop does, in this order.
struct Handlers {
    /// Flags to set, and the exit code of the process if one is set already.
    flags: Vec<(Arc<AtomicBool>, Option<u8>)>,
    /// Functions to call; they must not block.
    calls: Vec<Box<dyn FnMut() + Send>>,
    /// Whether the console's events come here.
    are_installed: bool,
}

static HANDLERS: Mutex<Handlers> = Mutex::new(Handlers {
    flags: Vec::new(),
    calls: Vec::new(),
    are_installed: false,
});

/// What to call before the process ends.
static BEFORE_EXIT: OnceLock<Box<dyn Fn(Duration) + Send + Sync>> = OnceLock::new();

/// Calls `call` before a request to stop ends the process, with the time that it may take. Only the
/// first such function is kept.
pub(crate) fn before_exit(call: impl Fn(Duration) + Send + Sync + 'static) {
    let _ = BEFORE_EXIT.set(Box::new(call));
}

/// Locks the handlers, and makes the console's events come here.
fn install() -> io::Result<MutexGuard<'static, Handlers>> {
    let mut handlers = lock();
    if !handlers.are_installed {
        ctrlc::set_handler(|| stop(EXIT_INTERRUPTED)).map_err(io::Error::other)?;
        handlers.are_installed = true;
    }
    Ok(handlers)
}

fn lock() -> MutexGuard<'static, Handlers> {
    // Nothing panics while they are locked.
    HANDLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process as soon as the queued lines of the log have reached standard error, or
/// [`LOG_TIMEOUT`] has passed.
fn exit(exit_code: i32) -> ! {
    if let Some(call) = BEFORE_EXIT.get() {
        call(LOG_TIMEOUT);
    }
    process::exit(exit_code)
}

/// A request to stop. Without a handler it ends the process, as it would by default.
fn stop(exit_code: i32) {
    let mut handlers = lock();
    if handlers.flags.is_empty() && handlers.calls.is_empty() {
        exit(exit_code);
    }
    for (flag, own_exit_code) in &handlers.flags {
        if flag.swap(true, Relaxed) {
            exit(own_exit_code.map_or(exit_code, i32::from));
        }
    }
    for call in &mut handlers.calls {
        call();
    }
}

/// Sets `flag` at the first request to stop. A request that finds it set ends the process, with
/// `exit_code` or the one that a shell on Unix expects. A thread of its own does that, whatever the
/// program is blocked in.
///
/// # Errors
///
/// The handler cannot be installed.
pub(crate) fn exit_on_second_stop(flag: &Arc<AtomicBool>, exit_code: Option<u8>) -> io::Result<()> {
    install()?.flags.push((Arc::clone(flag), exit_code));
    Ok(())
}

/// Does what Ctrl-C does, for a parent process.
pub(crate) fn request_stop() {
    stop(EXIT_TERMINATED);
}

/// A queue that gets an entry at each request to stop. `wake` is called after each.
fn queue(mut wake: impl FnMut() + Send + 'static) -> io::Result<Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    let call = move || {
        // The receiver may be dropped.
        if sender.send(()).is_ok() {
            wake();
        }
    };
    install()?.calls.push(Box::new(call));
    Ok(receiver)
}

/// The requests to stop as an event source: they wake the poll.
#[derive(Debug)]
pub(crate) struct SignalSource {
    requests: Receiver<()>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl SignalSource {
    /// Handles the requests from now on.
    ///
    /// # Errors
    ///
    /// The handler cannot be installed.
    pub(crate) fn new() -> io::Result<Self> {
        let waker = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&waker);
        let requests = queue(move || {
            let waker: MutexGuard<'_, Option<Waker>> =
                shared.lock().unwrap_or_else(PoisonError::into_inner);
            // It cannot fail while the poll is there.
            let _ = waker.as_ref().map(Waker::wake);
        })?;
        Ok(Self { requests, waker })
    }

    /// What was asked for since the last call.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "Unix needs it")]
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Request> {
        self.requests.try_iter().map(|()| Request::Stop)
    }

    fn set_waker(&self, waker: Option<Waker>) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }
}

impl event::Source for SignalSource {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        let waker = Waker::new(registry, token)?;
        // There may be a request already.
        waker.wake()?;
        self.set_waker(Some(waker));
        Ok(())
    }

    fn reregister(&mut self, registry: &Registry, token: Token, to: Interest) -> io::Result<()> {
        self.register(registry, token, to)
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        self.set_waker(None);
        Ok(())
    }
}

/// The requests to stop, for a thread that waits for them.
#[derive(Debug)]
pub(crate) struct SignalQueue(Receiver<()>);

impl SignalQueue {
    /// Handles the requests from now on; they are kept until they are waited for.
    ///
    /// # Errors
    ///
    /// The handler cannot be installed.
    pub(crate) fn new() -> io::Result<Self> {
        queue(|| {}).map(Self)
    }

    /// Waits for the next request. `None`: there will be none.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "Unix needs it")]
    pub(crate) fn wait(&mut self) -> Option<Request> {
        self.0.recv().ok().map(|()| Request::Stop)
    }
}

/// A request to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopSignal(());

impl StopSignal {
    /// Ends the process, with the exit code that a shell on Unix expects.
    pub(crate) fn end_process(self) {
        exit(EXIT_INTERRUPTED);
    }
}

/// Calls `handler` at each request to stop, in a thread of its own.
///
/// # Errors
///
/// It needs a thread.
pub(crate) fn on_stop(mut handler: impl FnMut(StopSignal) + Send + 'static) -> io::Result<()> {
    let requests = queue(|| {})?;
    let wait = move || requests.iter().for_each(|()| handler(StopSignal(())));
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}

/// There is none: standard input cannot be polled.
#[derive(Debug)]
pub(crate) enum StdinPipe {}

impl StdinPipe {
    /// None: a thread has to read it.
    ///
    /// # Errors
    ///
    /// None.
    pub(crate) fn new() -> io::Result<Option<Self>> {
        Ok(None)
    }
}

impl Read for StdinPipe {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl event::Source for StdinPipe {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        match *self {}
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        match *self {}
    }
}
