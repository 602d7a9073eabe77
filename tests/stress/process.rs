//! Processes, from `/proc`.

use crate::util::TIMEOUT;
use std::thread;
use std::time::{Duration, Instant};

/// Waits until `find` returns a value.
#[track_caller]
pub(crate) fn wait_for<T>(find: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The fields of `/proc/PID/stat` that follow the name: state, parent, process group, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

pub(crate) fn group_of(pid: u32) -> Option<u32> {
    stat(pid)?[2].parse().ok()
}

/// The child that runs `helloop serve`; a fork before its `exec` does not count.
pub(crate) fn child_of(parent: u32) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let serves = command
            .split(|byte| *byte == 0)
            .any(|word| word == b"serve");
        serves && stat(*pid).is_some_and(|fields| fields[1] == parent.to_string())
    })
}

/// Whether the process has exited; it may still be a zombie.
pub(crate) fn is_gone(pid: u32) -> bool {
    stat(pid).is_none_or(|fields| fields[0] == "Z")
}
