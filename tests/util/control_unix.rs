//! Control of a process on Unix: signals, the limits that a shell sets, and `/proc`.

use super::process::Process;
use super::server::{Server, Setup, counter};
use super::{IS_LINUX_CODE, Model, TIMEOUT};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::thread;
use std::time::Instant;

/// Flags that every server is started with.
pub(super) const SERVE_FLAGS: [&str; 0] = [];

/// Lets a server drain.
pub(super) fn request_drain(server: &Process) {
    server.signal(Signal::SIGTERM);
}

/// What Ctrl-C does to a process.
pub fn ctrl_c(process: &Process) {
    process.signal(Signal::SIGINT);
}

/// Runs a test whose [`ctrl_c`] reaches its own processes only.
pub fn in_own_console(_name: &str, _model: impl Into<Option<Model>>, test: impl FnOnce()) {
    test();
}

/// Whether the programs under test handle SIGHUP: on Linux, unless it is ignored from the start.
pub fn handles_hangup() -> bool {
    IS_LINUX_CODE && !is_ignored(Signal::SIGHUP)
}

/// Whether this process ignores a signal, as under nohup(1) or in the background of a script: its
/// children inherit that.
pub fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal as u32 - 1) & 1 == 1)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap())
}

impl Process {
    pub fn signal(&self, which: Signal) {
        signal::kill(pid(self.id()), which).unwrap();
    }
}

impl Setup {
    /// Limits the server's descriptors: `ulimit -n`, soft and hard.
    pub fn descriptors(self, limit: u32) -> Self {
        self.after(format!("ulimit -n {limit}"))
    }

    /// Lets no write to a file succeed, as on a full disk: the error is EFBIG in place of ENOSPC.
    pub fn full_disk(self) -> Self {
        self.after("trap '' XFSZ; ulimit -f 0".to_owned())
    }

    /// Starts the server with SIGHUP ignored, as nohup(1) does.
    pub fn ignoring_hangup(self) -> Self {
        self.after("trap '' HUP".to_owned())
    }

    /// Starts the server in a shell, after this.
    fn after(mut self, prelude: String) -> Self {
        self.prelude.push(prelude);
        self
    }
}

impl Server {
    pub fn signal(&self, which: Signal) {
        self.process.signal(which);
    }

    /// Suspends the server (SIGSTOP) and waits until it is suspended: all that is sent meanwhile
    /// is ready at once when it continues.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let id = pid(self.id());
        let status = waitpid(id, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(id, Signal::SIGSTOP));
    }

    /// Continues a suspended server.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Requests the counters with SIGUSR1, and returns the line that the server logs.
    #[track_caller]
    pub fn counters(&self) -> String {
        let start = self.stderr().len();
        self.signal(Signal::SIGUSR1);
        self.stderr().wait_after(start, "; messages ")
    }

    /// Waits until the server has read `count` messages, and returns all counters.
    #[track_caller]
    pub fn wait_for_messages(&self, count: u64) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let counters = self.counters();
            if counter(&counters, "messages ") >= count {
                return counters;
            }
            assert!(Instant::now() < deadline, "{counters}");
            thread::yield_now();
        }
    }

    /// The number of the server's threads.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        self.entries_of("task")
    }

    /// The number of the server's open descriptors.
    #[cfg(target_os = "linux")]
    pub fn open_descriptors(&self) -> usize {
        self.entries_of("fd")
    }

    /// The server's resident memory (RSS). Linux only.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.id());
        let rollup = std::fs::read_to_string(path).unwrap();
        let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kibibytes = rss.unwrap().trim().trim_end_matches(" kB");
        1_024 * kibibytes.parse::<u64>().unwrap()
    }

    #[cfg(target_os = "linux")]
    fn entries_of(&self, directory: &str) -> usize {
        let path = format!("/proc/{}/{directory}", self.id());
        std::fs::read_dir(path).unwrap().count()
    }
}
