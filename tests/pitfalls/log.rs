//! The log: pitfall 26. Each test takes both models, whose clients must not wait for a reader.

use crate::util::{
    Lines, Model, Setup, TIMEOUT, ask, connect, counter, expect, expect_last, read_to_end,
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{self, Pid};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

both_models! {
    p26_a_log_that_is_not_read_stops_no_client,
    p26_a_terminal_stopped_by_ctrl_s_stops_no_client,
    p26_a_drain_ends_although_its_last_lines_are_not_read,
}

/// A server whose standard error is `stderr`. Killed when dropped.
struct Server {
    child: Child,
    /// The addresses in its first lines.
    addresses: Vec<SocketAddr>,
}

impl Server {
    fn start(setup: &Setup, stdout: Option<Stdio>, stderr: Stdio) -> Self {
        let mut command = setup.command();
        let child = command.stdin(Stdio::null()).stderr(stderr);
        let child = child.stdout(stdout.unwrap_or_else(Stdio::piped));
        Self {
            child: child.spawn().unwrap(),
            addresses: Vec::new(),
        }
    }

    /// Reads the first `count` lines, and keeps the addresses in them.
    fn read_addresses(&mut self, output: impl Read, count: usize) {
        let lines = BufReader::new(output).lines().take(count);
        let address = |line: String| {
            let word = line
                .split_whitespace()
                .find(|word| word.contains("127.0.0.1:"));
            word?
                .trim_start_matches("http://")
                .trim_end_matches('/')
                .parse()
                .ok()
        };
        let addresses = lines.filter_map(|line| address(line.unwrap()));
        self.addresses = addresses.collect();
        assert_eq!(self.addresses.len(), count);
    }

    /// Clients connect, speak and leave, one after another. When the last one reads EOF, the server
    /// has logged all of them.
    fn serve(&self, clients: usize) {
        for _ in 0..clients {
            let mut stream = connect(self.addresses[0]);
            expect(&mut stream, b"Welcome!");
            ask(&mut stream, b"Ada", b"Hello, Ada!");
            stream.shutdown(Shutdown::Write).unwrap();
            expect_last(&mut stream, b"");
        }
    }

    /// Sends SIGTERM, and waits until the server exits.
    fn stop(&mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not exit");
            thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Log lines of clients among these: two per client.
fn client_lines(lines: &[String]) -> u64 {
    let is_clients = |line: &&String| line.contains("accepted 127.") || line.contains("closed #");
    lines.iter().filter(is_clients).count() as u64
}

/// The sum of all `log lines dropped: N`.
fn reported_as_dropped(lines: &[String]) -> u64 {
    let note = "log lines dropped: ";
    lines.iter().map(|line| counter(line, note)).sum()
}

/// Standard error is a pipe that is not read: all clients are served, and each line is either in the
/// pipe or in the count that follows once the pipe is read.
fn p26_a_log_that_is_not_read_stops_no_client(model: Model) {
    const CLIENTS: usize = 2_000;
    let is_observed = model == Model::Reactor;
    let observe: &[&str] = if is_observed {
        &["--observe", "127.0.0.1:0"]
    } else {
        &[]
    };
    let (reader, writer) = io::pipe().unwrap();
    let stderr = writer.try_clone().unwrap().into();
    let mut server = Server::start(&model.setup(&["-v"]).flags(observe), None, stderr);
    let stdout = server.child.stdout.take().unwrap();
    server.read_addresses(stdout, 1 + usize::from(is_observed));
    server.serve(CLIENTS);

    let mut metrics = String::new();
    if is_observed {
        let mut stream = connect(server.addresses[1]);
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        metrics = String::from_utf8(read_to_end(&mut stream)).unwrap();
    }
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
    assert!(
        !flags.contains(OFlag::O_NONBLOCK),
        "it is set for all who share the pipe"
    );
    drop(writer);

    let lines = Lines::collect(reader);
    lines.wait_for_count(100);
    // There is room again. The count comes before the next line.
    server.serve(1);
    lines.wait_for("log lines dropped: ");
    assert_eq!(server.stop().code(), Some(0));
    lines.wait_for_end();
    let lines = lines.all();
    let all = 2 * (CLIENTS as u64 + 1) + u64::from(is_observed);
    let dropped = reported_as_dropped(&lines);
    let observer = lines
        .iter()
        .filter(|line| line.contains("accepted observer"))
        .count() as u64;
    assert_eq!(client_lines(&lines) + observer + dropped, all);
    assert!(
        dropped > CLIENTS as u64,
        "only {dropped} of {all} lines did not fit"
    );
    if is_observed {
        assert_eq!(
            counter(&metrics, "\nhelloop_log_lines_dropped_total "),
            dropped
        );
        let report = lines.last().unwrap();
        assert_eq!(counter(report, "log-lines-dropped "), dropped, "{report}");
    }
}

fn is_writable(terminal: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(terminal, PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
}

/// Types a key at the terminal, and waits until its output is stopped or goes on.
fn press(key: u8, terminal: &OpenptyResult, goes_on: bool) {
    unistd::write(&terminal.master, &[key]).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while is_writable(terminal.slave.as_fd()) != goes_on {
        assert!(Instant::now() < deadline, "the key has no effect");
        thread::yield_now();
    }
}

/// Standard error is a terminal whose output a person has stopped.
fn p26_a_terminal_stopped_by_ctrl_s_stops_no_client(model: Model) {
    const CLIENTS: usize = 200;
    let (ctrl_s, ctrl_q) = (0x13, 0x11);
    let terminal = openpty(None, None).unwrap();
    let stderr = terminal.slave.try_clone().unwrap().into();
    let mut server = Server::start(&model.setup(&["-v"]), None, stderr);
    let stdout = server.child.stdout.take().unwrap();
    server.read_addresses(stdout, 1);
    let lines = Lines::collect(File::from(terminal.master.try_clone().unwrap()));
    lines.wait_for("one thread");
    press(ctrl_s, &terminal, false);
    server.serve(CLIENTS);
    press(ctrl_q, &terminal, true);
    server.serve(1);
    lines.wait_for("log lines dropped: ");
    assert_eq!(server.stop().code(), Some(0));
    drop(terminal);
    lines.wait_for_end();
    let lines = lines.all();
    let all = 2 * (CLIENTS as u64 + 1);
    assert_eq!(
        client_lines(&lines) + reported_as_dropped(&lines),
        all,
        "{lines:#?}"
    );
}

/// Standard output and standard error are one pipe, which is not read after the first line.
fn p26_a_drain_ends_although_its_last_lines_are_not_read(model: Model) {
    let (reader, writer) = io::pipe().unwrap();
    let stderr = writer.try_clone().unwrap().into();
    let mut server = Server::start(&model.setup(&["-v"]), Some(writer.into()), stderr);
    server.read_addresses(&reader, 1);
    server.serve(1_000);
    assert_eq!(server.stop().code(), Some(0));
}
