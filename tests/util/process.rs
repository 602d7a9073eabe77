//! A child process and its output.

use super::{HELLOOP, TIMEOUT};
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// `helloop ARGUMENTS`, without the environment variables that it reads.
pub fn helloop(arguments: &[&str]) -> Command {
    let mut command = Command::new(HELLOOP);
    command.args(arguments);
    clear_environment(&mut command);
    command
}

pub fn clear_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("HELLOOP_") {
            command.env_remove(name);
        }
    }
}

/// Runs a command until it exits.
#[track_caller]
pub fn run(command: Command) -> Ended {
    Process::start(command).wait()
}

/// Runs `helloop ARGUMENTS` until it exits.
#[track_caller]
pub fn run_helloop(arguments: &[&str]) -> Ended {
    run(helloop(arguments))
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A child process, whose output is collected by threads. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Process {
    #[track_caller]
    pub fn start(command: Command) -> Self {
        Self::start_into(command, Stdio::piped())
    }

    /// Starts a command with this standard output. Unless it is [piped](Stdio::piped), nothing of it
    /// is collected.
    #[track_caller]
    pub fn start_into(mut command: Command, stdout: Stdio) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self {
            stdin: child.stdin.take(),
            stdout: match child.stdout.take() {
                Some(stdout) => Lines::collect(stdout),
                None => Lines::collect(io::empty()),
            },
            stderr: Lines::collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has exited.
    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Closes its standard input and waits until it exits.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        self.stdin = None;
        self.wait_with_stdin()
    }

    /// Waits until it exits. Its standard input stays open meanwhile.
    #[track_caller]
    pub fn wait_with_stdin(mut self) -> Ended {
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process id is still ours: it is not reused before the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that a child has written to one of its output streams so far.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Collected>, Condvar)>,
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    pub fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line);
                let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
                writer.lock().lines.push(text);
                writer.shared.1.notify_all();
                line.clear();
            }
            writer.lock().ended = true;
            writer.shared.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` returns a value; `None` at EOF or after the timeout.
    fn wait_until<T>(&self, done: impl Fn(&Collected) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + TIMEOUT;
        let mut collected = self.lock();
        loop {
            let result = done(&collected);
            let left = deadline.saturating_duration_since(Instant::now());
            if result.is_some() || collected.ended || left.is_zero() {
                return result;
            }
            collected = self
                .shared
                .1
                .wait_timeout(collected, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for a line that contains `text`; false at EOF or after the timeout.
    pub fn appears(&self, text: &str) -> bool {
        self.find_after(0, text).is_some()
    }

    /// The number of lines so far, from which [`wait_after`](Self::wait_after) can continue.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Waits for the first line that contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_after(0, text)
    }

    /// Waits for the first line from number `start` on that contains `text`.
    #[track_caller]
    pub fn wait_after(&self, start: usize, text: &str) -> String {
        self.find_after(start, text)
            .unwrap_or_else(|| panic!("no line with {text:?} in {:#?}", self.all()))
    }

    fn find_after(&self, start: usize, text: &str) -> Option<String> {
        self.wait_until(|collected| {
            let mut lines = collected.lines.iter().skip(start);
            lines.find(|line| line.contains(text)).cloned()
        })
    }

    /// Waits until there are `count` lines.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) {
        let found = self.wait_until(|collected| (collected.lines.len() >= count).then_some(()));
        assert!(
            found.is_some(),
            "fewer than {count} lines: {:#?}",
            self.all()
        );
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// All lines so far, as one text.
    pub fn text(&self) -> String {
        self.lock()
            .lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Waits for EOF.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let ended = self.wait_until(|collected| collected.ended.then_some(()));
        assert!(ended.is_some(), "no EOF after {:#?}", self.all());
    }
}
