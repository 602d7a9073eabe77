//! The server of `--spawn`: this program as a child process.
//!
//! **Owns** the child from its start to its exit. **Must never touch** the server's code: the
//! interface is the command line, the line `listening on ADDRESS`, and a byte on its standard input,
//! which lets it drain. **Invariant**: the child never outlives this process. It runs in its own
//! process group, so that Ctrl-C does not reach it, and ends at once at EOF on its standard input:
//! the kernel closes that pipe however this process ends, SIGKILL included.

use super::signals::Interrupt;
use crate::system;
use log::info;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to drain: longer than its own limit, which is 10 s by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// The same once the run is interrupted: longer than the half second for which a draining listener
/// still accepts. Delayed replies are of no use any more, and the user waits for the prompt.
const INTERRUPTED_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A drain that takes longer is announced, because nothing else is shown meanwhile; that of an
/// interrupted run at once, because the user waits for it.
const SILENT_DRAIN: Duration = Duration::from_secs(1);

/// How long to wait for the last output of a child that has ended.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// How often to check whether the child has printed its line, or has exited, and whether the run is
/// interrupted.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A running server. Killed when dropped, unless it was [stopped](Self::stop).
#[derive(Debug)]
pub(crate) struct SpawnedServer {
    child: KilledOnDrop,
    /// Its first line, then the rest of its output.
    printed: Receiver<io::Result<String>>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl SpawnedServer {
    /// Starts `helloop serve` with `flags`, on a loopback port that the system chooses.
    ///
    /// # Errors
    ///
    /// The process could not be started, or exited before it listened; it reports why on
    /// standard error. [`io::ErrorKind::Interrupted`]: the run was interrupted meanwhile.
    pub(crate) fn start(flags: &[String], interrupt: &Interrupt) -> io::Result<Self> {
        Self::spawn(flags, interrupt).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start a server: {error}"))
        })
    }

    fn spawn(flags: &[String], interrupt: &Interrupt) -> io::Result<Self> {
        // HELLOOP_* variables configure the server that the user runs, not this one.
        let environment = std::env::vars_os()
            .filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"HELLOOP_"));
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "--exit-with-stdin", "--listen=127.0.0.1:0"])
            .args((!flags.iter().any(sets_log_level)).then_some("-q"))
            .args(flags)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = KilledOnDrop(system::own_process_group(&mut command).spawn()?);
        let stdout = child.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let printed = read_by_thread(stdout)?;
        let line = first_line(&printed, interrupt)?;
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| io::Error::other("it exited before it listened"))?;
        Ok(Self {
            child,
            printed,
            address,
        })
    }

    /// The process ID.
    #[must_use]
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Lets the server drain and exit; only for a moment if the run is interrupted. Returns what it
    /// printed after the line `listening on ...`.
    ///
    /// # Errors
    ///
    /// The server did not exit in time, and is killed, or exited with a failure.
    pub(crate) fn stop(mut self, is_interrupted: &dyn Fn() -> bool) -> io::Result<String> {
        let child = &mut self.child.0;
        // Its standard input stays open: EOF would end it without a drain. If it has ended already, its
        // exit code says more than a failed write.
        if let Some(stdin) = &mut child.stdin {
            let _ = stdin.write_all(b"\n");
        }
        let started = Instant::now();
        let mut interrupted_at: Option<Instant> = None;
        let mut is_announced = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if is_interrupted() && interrupted_at.is_none() {
                interrupted_at = Some(Instant::now());
                is_announced = true;
                info!("draining the server for up to 1s; Ctrl-C ends it at once");
            }
            if interrupted_at.is_some_and(|at| at.elapsed() > INTERRUPTED_DRAIN_TIMEOUT) {
                return Err(io::Error::other(
                    "the server had not drained yet, and was killed",
                ));
            }
            if started.elapsed() > DRAIN_TIMEOUT {
                return Err(io::Error::other("the server did not exit, and was killed"));
            }
            if started.elapsed() > SILENT_DRAIN && !is_announced {
                is_announced = true;
                info!("draining the server; Ctrl-C ends it at once");
            }
            thread::sleep(POLL_INTERVAL);
        };
        if !status.success() {
            return Err(io::Error::other(format!("the server failed: {status}")));
        }
        // Not forever: another process may keep the pipe open.
        let rest = self.printed.recv_timeout(REST_TIMEOUT);
        Ok(rest.map_err(io::Error::other)??.trim_end().to_owned())
    }
}

fn sets_log_level(flag: &String) -> bool {
    let is_short = flag.starts_with("-v") || flag.starts_with("-q");
    is_short || flag == "--verbose" || flag == "--quiet"
}

/// Reads a child's output in a thread, because not every system can read a pipe without blocking. The
/// thread sends two results: the first line, then the rest.
fn read_by_thread(stdout: ChildStdout) -> io::Result<Receiver<io::Result<String>>> {
    let (sender, receiver) = mpsc::sync_channel(2);
    let read = move || {
        let mut stdout = BufReader::new(stdout);
        let (mut line, mut rest) = (String::new(), String::new());
        let read = stdout.read_line(&mut line);
        // The caller may have stopped waiting.
        let _ = sender.send(read.map(|_| line));
        let read = stdout.read_to_string(&mut rest);
        let _ = sender.send(read.map(|_| rest));
    };
    thread::Builder::new()
        .name("child".to_owned())
        .spawn(read)
        .map(|_| receiver)
}

/// The first line of a child's output; without a line ending if the child ends first. A child that
/// prints nothing can be waited for until the run is interrupted.
fn first_line(printed: &Receiver<io::Result<String>>, interrupt: &Interrupt) -> io::Result<String> {
    loop {
        match printed.recv_timeout(POLL_INTERVAL) {
            Ok(line) => return line,
            Err(RecvTimeoutError::Timeout) if !interrupt.is_set() => {}
            Err(_) => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
        }
    }
}

#[derive(Debug)]
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Safe after the exit too: until it is waited for, the process ID is not reused, and
        // std does not signal a child that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
