//! A server of the load's own: this program again, as a child process.
//!
//! **Owns** the child, from its start to its last words. **Must never touch** the server's code:
//! what it knows is the command line and the line that says `listening on`. **Invariant**: the
//! child never outlives this process. It runs in a process group of its own, out of Ctrl-C's
//! reach, and is told to stop with its standard input: that pipe closes when this process ends,
//! however it ends, SIGKILL included.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child may take to drain. Its own limit, ten seconds, comes first.
const DRAIN: Duration = Duration::from_secs(15);

/// How often a child that drains is looked after.
const LOOK: Duration = Duration::from_millis(5);

/// Why there is no server to be had: one line for the person.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self(format!("cannot start a server: {error}"))
    }
}

/// A running child that listens. Killed when dropped, unless it was [stopped](Self::stop).
#[derive(Debug)]
pub struct SpawnedServer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl SpawnedServer {
    /// Starts `helloop serve` on a port of the system's choice, with further `flags`.
    ///
    /// # Errors
    ///
    /// It could not be started, or ended before it listened; its own words are on standard
    /// error.
    pub fn start(flags: &[String]) -> Result<Self, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([
                "serve",
                "-q",
                "--exit-with-stdin",
                "--listen",
                "127.0.0.1:0",
            ])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        // What is set for another server is not meant for this one.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"HELLOOP_") {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn()?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Error("the server has no standard output".to_owned()));
        };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Self {
                child,
                stdout,
                address,
            }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Error(
                    "the server that was started has ended before it listened".to_owned(),
                ))
            }
        }
    }

    /// The child's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it drain and end, and returns its last words, if they are good ones.
    ///
    /// # Errors
    ///
    /// It did not end in time, or not well.
    pub fn stop(mut self) -> Result<String, Error> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + DRAIN;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                return Err(Error("the server did not end, and was killed".to_owned()));
            }
            thread::sleep(LOOK);
        };
        let mut words = String::new();
        self.stdout.read_to_string(&mut words)?;
        if status.success() {
            Ok(words.trim_end().to_owned())
        } else {
            Err(Error(format!("the server ended with {status}")))
        }
    }
}

impl Drop for SpawnedServer {
    fn drop(&mut self) {
        // The handle still owns the process id, ended or not: nobody else can have it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
