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
use std::sync::mpsc::{self, RecvTimeoutError};
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

/// How often to check whether the child has printed its line, or has exited, and whether the run is
/// interrupted.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How long to read what a child has printed before it exited: that is in the pipe, so a moment is enough.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// What is read of it at once: it prints one line.
const PIECE_BYTES: usize = 512;

/// A running server. Killed when dropped, unless it was [stopped](Self::stop).
#[derive(Debug)]
pub(crate) struct SpawnedServer {
    child: KilledOnDrop,
    /// What it prints after its first line.
    stdout: BufReader<ChildStdout>,
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
        let (line, stdout) = first_line(stdout, interrupt)?;
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| io::Error::other("it exited before it listened"))?;
        Ok(Self {
            child,
            stdout,
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
        rest_of(self.stdout, LAST_OUTPUT_TIMEOUT)
    }
}

/// What is left of the output of a child that has exited. All of it is in the pipe, but EOF may not come:
/// another process may have inherited the pipe. So a thread reads, and is left behind if time runs out.
fn rest_of(mut stdout: impl Read + Send + 'static, timeout: Duration) -> io::Result<String> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut piece = [0; PIECE_BYTES];
        while let Ok(length @ 1..) = stdout.read(&mut piece) {
            // It fails if time ran out: the receiver is dropped.
            if sender.send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    };
    let name = "child".to_owned();
    thread::Builder::new().name(name).spawn(read)?;
    let (started, mut rest) = (Instant::now(), Vec::new());
    while let Ok(piece) = receiver.recv_timeout(timeout.saturating_sub(started.elapsed())) {
        rest.extend(piece);
    }
    Ok(String::from_utf8_lossy(&rest).trim_end().to_owned())
}

fn sets_log_level(flag: &String) -> bool {
    let is_short = flag.starts_with("-v") || flag.starts_with("-q");
    is_short || flag == "--verbose" || flag == "--quiet"
}

/// The first line of a child's output, and the stream of the rest. A thread reads the line, because not
/// every system can read a pipe without blocking. The thread ends before the load begins. A child that
/// prints nothing is waited for until the run is interrupted.
fn first_line(
    stdout: ChildStdout,
    interrupt: &Interrupt,
) -> io::Result<(String, BufReader<ChildStdout>)> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let read = move || {
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        let read = stdout.read_line(&mut line).map(|_| (line, stdout));
        // It fails if the run was interrupted: the receiver is dropped.
        let _ = sender.send(read);
    };
    let name = "child".to_owned();
    let thread = thread::Builder::new().name(name).spawn(read)?;
    loop {
        match receiver.recv_timeout(POLL_INTERVAL) {
            Ok(line) => {
                // It has nothing left to do: this does not block.
                drop(thread.join());
                return line;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_a_child_is_read_although_another_process_holds_the_pipe() {
        for is_held in [false, true] {
            let (reader, mut writer) = io::pipe().expect("two descriptors");
            writer.write_all(b"2 clients\n").expect("room");
            let held = is_held.then(|| writer.try_clone().expect("a descriptor"));
            drop(writer);
            // Without a holder EOF ends it, and no time is waited for.
            let timeout = Duration::from_millis(if is_held { 500 } else { 60_000 });
            let started = Instant::now();
            let rest = rest_of(reader, timeout).expect("a thread");
            assert_eq!(rest, "2 clients", "{is_held}");
            assert!(started.elapsed() < Duration::from_secs(30));
            drop(held);
        }
    }
}
