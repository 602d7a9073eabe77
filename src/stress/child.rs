//! The server of `--spawn`: this program as a child process.
//!
//! **Owns** the child from its start to its exit. **Must never touch** the server's code: the
//! interface is the command line and the line `listening on ADDRESS`. **Invariant**: the child
//! never outlives this process. It runs in its own process group, so that Ctrl-C does not reach
//! it, and stops at EOF on its standard input: the kernel closes that pipe however this process
//! ends, SIGKILL included.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to drain: longer than its own limit, which is 10 s by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How often to check whether the child has exited.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A running server. Killed when dropped, unless it was [stopped](Self::stop).
#[derive(Debug)]
pub(crate) struct SpawnedServer {
    child: KilledOnDrop,
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
    /// standard error.
    pub(crate) fn start(flags: &[String]) -> io::Result<Self> {
        Self::spawn(flags)
            .map_err(|error| io::Error::other(format!("cannot start a server: {error}")))
    }

    fn spawn(flags: &[String]) -> io::Result<Self> {
        // HELLOOP_* variables configure the server that the user runs, not this one.
        let environment = std::env::vars_os()
            .filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"HELLOOP_"));
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "-q", "--exit-with-stdin", "--listen=127.0.0.1:0"])
            .args(flags)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut child = KilledOnDrop(child);
        let stdout = child.0.stdout.take();
        let mut stdout = BufReader::new(stdout.ok_or(io::ErrorKind::BrokenPipe)?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
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

    /// Lets the server drain and exit. Returns what it printed after the line `listening on ...`.
    ///
    /// # Errors
    ///
    /// The server did not exit in time, or exited with a failure.
    pub(crate) fn stop(mut self) -> io::Result<String> {
        let child = &mut self.child.0;
        drop(child.stdin.take());
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                return Err(io::Error::other("the server did not exit, and was killed"));
            }
            thread::sleep(EXIT_POLL_INTERVAL);
        };
        if !status.success() {
            return Err(io::Error::other(format!("the server failed: {status}")));
        }
        let mut output = String::new();
        self.stdout.read_to_string(&mut output)?;
        Ok(output.trim_end().to_owned())
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
