//! Standard output and standard error, written without waiting for their readers.
//!
//! **Owns** how a log line reaches standard error, and the number of lines that did not; and where
//! the [`status`] line is meanwhile.
//! **Must never touch** what a line says. **Invariant**: a log line that cannot be written at once
//! is dropped and counted, so a log that is not read never stops the loop (pitfall 26).

pub(crate) mod status;

use crate::system::{self, Output, OutputStream};
use status::Status;
use std::io::{self, Stderr, Write};
use std::mem;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long the program waits for the reader of its last lines before it ends without them: long
/// enough for a slow reader, short enough for a person at the terminal.
pub(crate) const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// The time between two attempts to lock the log: a line holds it for microseconds.
const LOCK_RETRY: Duration = Duration::from_millis(1);

impl<S: OutputStream> Output<S> {
    /// Writes all of `bytes`, and waits for room until `timeout` has passed.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there was no room in time, or those of write(2).
    pub(crate) fn write_within(&self, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        while !bytes.is_empty() {
            match self.write_now(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.has_room_within(left) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.settle_within(deadline.saturating_duration_since(Instant::now()))
    }
}

/// The log on its way to a stream: whole lines, or none of a line.
#[derive(Debug)]
struct Log<S> {
    output: Output<S>,
    /// The end of a line of which only the start could be written.
    rest: Vec<u8>,
    /// Lines dropped so far.
    dropped: u64,
    /// Of these, lines that the log does not mention yet.
    unreported: u64,
    /// The line below the log.
    status: Status,
}

impl<S: OutputStream> Log<S> {
    fn new(stream: S) -> Self {
        Self {
            output: Output::new(stream),
            rest: Vec::new(),
            dropped: 0,
            unreported: 0,
            status: Status::Off,
        }
    }

    /// Writes a line, or drops and counts it. The status line moves below it.
    fn add(&mut self, line: &[u8]) {
        let status = self.hide_status();
        if !(self.catch_up() && self.begin(line)) {
            self.dropped += 1;
            self.unreported += 1;
        }
        if let Status::Shown(line) = status {
            self.show_status(line);
        }
    }

    /// Takes the status line off the screen. Returns what it was.
    fn hide_status(&mut self) -> Status {
        let hidden = match &self.status {
            Status::Shown(_) => Status::Hidden,
            unchanged => unchanged.clone(),
        };
        let status = mem::replace(&mut self.status, hidden);
        if matches!(status, Status::Shown(_)) {
            let rest = mem::take(&mut self.rest);
            self.write_or_keep(&[&rest, status::ERASE].concat());
        }
        status
    }

    fn start_status(&mut self) {
        if self.status == Status::Off {
            self.status = Status::Hidden;
        }
    }

    /// Takes the status line off the screen, and leaves it in the state `end`, or ended.
    fn end_status(&mut self, end: Status) {
        self.hide_status();
        if self.status != Status::Ended {
            self.status = end;
        }
    }

    /// Puts the status line on the screen, unless there is no room for it now.
    fn show_status(&mut self, line: String) {
        if self.unreported > 0 {
            // The count of dropped lines comes in between.
            self.hide_status();
        }
        let is_on = matches!(self.status, Status::Hidden | Status::Shown(_));
        if is_on && self.catch_up() {
            self.write_or_keep(&status::frame(&line));
            self.status = Status::Shown(line);
        }
    }

    /// Writes what comes before the next line: the rest of the last one, and the number of lines
    /// dropped in between. Returns whether it did.
    fn catch_up(&mut self) -> bool {
        let rest = mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.write_or_keep(&rest);
        }
        if self.rest.is_empty() && self.unreported > 0 && self.begin(self.note().as_bytes()) {
            self.unreported = 0;
        }
        self.rest.is_empty() && self.unreported == 0
    }

    /// Starts a line: returns whether a first piece of it was written. What is left is kept.
    fn begin(&mut self, line: &[u8]) -> bool {
        self.write_or_keep(line);
        if self.rest.len() == line.len() {
            self.rest.clear();
            return false;
        }
        true
    }

    /// Writes as much of `bytes` as there is room for, and keeps the rest.
    fn write_or_keep(&mut self, bytes: &[u8]) {
        let mut written = 0;
        while written < bytes.len() {
            match self.output.write_now(&bytes[written..]) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        self.rest.extend_from_slice(&bytes[written..]);
    }

    /// In the form of the logger's own lines.
    fn note(&self) -> String {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let count = self.unreported;
        format!("[{now} WARN  helloop::output] log lines dropped: {count}; stderr had no room\n")
    }

    /// Writes what is left to write, if there is room in time.
    fn finish(&mut self, timeout: Duration) {
        self.end_status(Status::Off);
        let mut left = mem::take(&mut self.rest);
        if self.unreported > 0 {
            left.extend_from_slice(self.note().as_bytes());
            self.unreported = 0;
        }
        // If there is no room, there is nowhere left to report it.
        let _ = self.output.write_within(&left, timeout);
    }
}

/// The program has one log, as it has one logger.
static LOG: LazyLock<Mutex<Log<Stderr>>> = LazyLock::new(|| Mutex::new(Log::new(io::stderr())));

fn log() -> MutexGuard<'static, Log<Stderr>> {
    // Nothing panics while it is locked.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the logger writes: each write is one line.
#[derive(Debug)]
pub(crate) struct LogWriter(());

impl LogWriter {
    /// Opens the log now, before clients can take the descriptors.
    pub(crate) fn new() -> Self {
        LazyLock::force(&LOG);
        system::before_exit(flush_log);
        Self(())
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        log().add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log lines dropped so far.
pub(crate) fn dropped_log_lines() -> u64 {
    log().dropped
}

/// Waits until the lines written so far have reached standard error, at most for `timeout`: neither the
/// reader nor a thread that holds the log can delay it longer.
fn flush_log(timeout: Duration) {
    flush(&LOG, timeout);
}

fn flush<S: OutputStream>(log: &Mutex<Log<S>>, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match log.try_lock() {
            Ok(mut log) => return log.finish(left),
            Err(TryLockError::Poisoned(log)) => return log.into_inner().finish(left),
            Err(TryLockError::WouldBlock) if left.is_zero() => return,
            // Another thread holds it for microseconds, unless that thread waits for the reader.
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_RETRY),
        }
    }
}

/// Ends the log, and then writes the last line to standard error, unless it is empty. Waits at most
/// [`LAST_LINES_TIMEOUT`] for each.
pub(crate) fn end_log(last_line: &str) {
    let mut log = log();
    log.finish(LAST_LINES_TIMEOUT);
    if last_line.is_empty() {
        return;
    }
    // If standard error is stuck or closed, there is nowhere left to report it.
    let _ = log
        .output
        .write_within(last_line.as_bytes(), LAST_LINES_TIMEOUT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{PIECE_BYTES, WRITES_AT_ONCE};
    use std::io::{PipeReader, PipeWriter, Read};

    /// A log into a full pipe.
    fn full() -> (PipeReader, Log<PipeWriter>) {
        let (reader, writer) = io::pipe().expect("two descriptors");
        let mut log = Log::new(writer);
        let line = [&[b'x'; PIECE_BYTES - 1][..], b"\n"].concat();
        while log.dropped == 0 {
            log.add(&line);
        }
        (reader, log)
    }

    #[test]
    fn a_line_without_room_is_dropped_and_the_count_precedes_the_next_line() {
        if !WRITES_AT_ONCE {
            return; // a thread decides when there is room again
        }
        let (mut reader, mut log) = full();
        for _ in 0..9 {
            log.add(b"lost\n");
        }
        assert_eq!((log.dropped, log.unreported, log.rest.len()), (10, 10, 0));
        reader
            .read_exact(&mut vec![0; 2 * PIECE_BYTES])
            .expect("full");
        log.add(b"found\n");
        assert_eq!((log.dropped, log.unreported), (10, 0));
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let last: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(last[0], "found");
        assert!(last[1].contains("WARN  helloop::output] log lines dropped: 10;"));
        assert!(!text.contains("lost"), "{text}");
    }

    #[test]
    fn the_start_of_a_long_line_is_followed_by_its_rest() {
        if !WRITES_AT_ONCE {
            return; // a thread decides when there is room again
        }
        let (mut reader, mut log) = full();
        reader
            .read_exact(&mut vec![0; 2 * PIECE_BYTES])
            .expect("full");
        log.unreported = 0;
        let long = [&vec![b'y'; 3 * PIECE_BYTES][..], b"\n"].concat();
        log.add(&long);
        assert!(!log.rest.is_empty(), "all of the line was written");
        log.add(b"lost\n");
        assert_eq!(log.dropped, 2, "a line within another");
        reader
            .read_exact(&mut vec![0; 4 * PIECE_BYTES])
            .expect("full");
        log.add(b"found\n");
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.trim_start_matches('x'))
            .collect();
        let long = String::from_utf8(long).expect("ASCII");
        assert!(lines.contains(&long.trim_end()), "the line is not whole");
        assert_eq!(lines.last(), Some(&"found"));
    }

    #[test]
    fn a_status_line_without_room_costs_bounded_memory_and_no_log_line() {
        if !WRITES_AT_ONCE {
            return; // a thread decides when there is room again
        }
        let (mut reader, mut log) = full();
        log.status = Status::Hidden;
        for _ in 0..100 {
            log.show_status("running".to_owned());
            log.hide_status();
        }
        assert!(log.rest.len() < 100, "{} bytes", log.rest.len());
        reader
            .read_exact(&mut vec![0; 2 * PIECE_BYTES])
            .expect("full");
        log.show_status("running".to_owned());
        log.add(b"found\n");
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        let end = format!("\r\x1b[J\x1b[?7hfound\n{}", frame("running"));
        assert!(text.ends_with(&end), "{text:?}");
    }

    #[test]
    fn a_status_line_that_a_signal_has_ended_does_not_start_again() {
        let (mut reader, writer) = io::pipe().expect("two descriptors");
        let mut log = Log::new(writer);
        for end in [Status::Off, Status::Ended, Status::Off] {
            log.start_status();
            log.show_status("running".to_owned());
            log.end_status(end);
        }
        assert_eq!(log.status, Status::Ended);
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, (frame("running") + "\r\x1b[J\x1b[?7h").repeat(2));
    }

    fn frame(line: &str) -> String {
        String::from_utf8(status::frame(line)).expect("text")
    }

    #[test]
    fn the_last_lines_wait_for_a_slow_reader_and_not_forever() {
        let (mut reader, mut log) = full();
        log.finish(Duration::from_millis(20));
        log.unreported = 7;
        let slow = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        log.finish(Duration::from_secs(30));
        drop(log);
        let text = slow.join().expect("no panic").expect("text");
        assert!(text.ends_with("log lines dropped: 7; stderr had no room\n"));
    }

    #[test]
    fn a_flush_waits_neither_for_the_reader_nor_for_the_log() {
        let (reader, log) = full();
        let log = Mutex::new(log);
        let held = log.lock().expect("no panic");
        flush(&log, Duration::from_millis(20));
        drop(held);
        flush(&log, Duration::from_millis(20));
        drop(reader);
        let (mut reader, writer) = io::pipe().expect("two descriptors");
        let mut log = Log::new(writer);
        log.add(b"last\n");
        let log = Mutex::new(log);
        flush(&log, Duration::from_secs(30));
        // It is there now, although the log has not ended.
        let mut line = [0; 5];
        reader.read_exact(&mut line).expect("a line");
        assert_eq!(&line, b"last\n");
    }

    #[test]
    fn a_log_that_no_one_can_read_any_more_is_counted_as_dropped() {
        let (reader, mut log) = full();
        drop(reader);
        log.add(b"lost\n");
        assert_eq!(log.dropped, 2);
    }
}
