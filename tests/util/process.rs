//! A child process, and what it writes.

use super::{HELLOOP, LIMIT};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// `helloop ARGUMENTS`, with none of our own environment that it would listen to.
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

/// Runs a command to its end.
#[track_caller]
pub fn run(command: Command) -> Ended {
    Process::start(command).wait()
}

/// Runs `helloop ARGUMENTS` to its end.
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

/// A child process, its output collected by threads. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Process {
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self {
            stdin: child.stdin.take(),
            stdout: Lines::collect(child.stdout.take().unwrap()),
            stderr: Lines::collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, which: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        signal::kill(id, which).unwrap();
    }

    /// Waits until it ends by itself. Its standard input is closed first.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        self.stdin = None;
        // Both streams end when the process does.
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
        // The handle still owns the process id, ended or not: nobody else can have it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child wrote to one of its streams so far, line by line.
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
    fn collect(stream: impl Read + Send + 'static) -> Self {
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

    /// Waits until `done` has an answer; `None` when the stream ended, or time ran out, without.
    fn wait_until<T>(&self, done: impl Fn(&Collected) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + LIMIT;
        let mut collected = self.lock();
        loop {
            let answer = done(&collected);
            let left = deadline.saturating_duration_since(Instant::now());
            if answer.is_some() || collected.ended || left.is_zero() {
                return answer;
            }
            collected = self
                .shared
                .1
                .wait_timeout(collected, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether a line with this in it comes, before the end and the limit.
    pub fn comes(&self, text: &str) -> bool {
        self.find_after(0, text).is_some()
    }

    /// How many lines there are at present: where [`wait_after`](Self::wait_after) may begin.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// The first line that has all of this in it, now or as soon as it comes.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_after(0, text)
    }

    /// The same, from line number `start` on.
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

    /// Waits until there are so many lines.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) {
        let there = self.wait_until(|collected| (collected.lines.len() >= count).then_some(()));
        assert!(there.is_some(), "under {count} lines: {:#?}", self.all());
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// All lines so far, as they were written.
    pub fn text(&self) -> String {
        self.lock()
            .lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Waits until the stream ends.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let ended = self.wait_until(|collected| collected.ended.then_some(()));
        assert!(ended.is_some(), "the stream did not end: {:#?}", self.all());
    }
}
