//! The progress of `stress` and of `compare`.

use crate::screen::{Narrowed, Screen, Terminal};
use crate::util::Server;
use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

/// Words that are in every status line.
const STAGES: [&str; 4] = ["connecting", "warming up", "running", "finishing"];

/// A result, or a line of the log.
fn is_result(screen: &Screen) -> bool {
    screen.line_ends > 0
}

fn stress(server: &Server, columns: u16, flags: &str) -> Terminal {
    let to = server.tcp_address();
    Terminal::start(
        columns,
        &format!("stress --to {to} --clients 5 --rate 2000 {flags}"),
    )
}

/// The part of the lines that contain all of these.
#[track_caller]
fn assert_some(lines: &[(u16, String)], words: &[&str]) {
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    let found = lines.iter().any(|(_, line)| has_all(line));
    assert!(found, "no line with {words:?} in {lines:#?}");
}

#[test]
fn the_progress_is_one_line_at_any_width_and_gone_after_the_run() {
    let server = Server::start(&[]);
    let flags = "--warmup 300ms --duration 1500ms";
    let start = |columns| (columns, stress(&server, columns, flags));
    for (columns, terminal) in [20, 40, 80, 120].map(start) {
        let shown = terminal.wait();
        assert_eq!(shown.code, 0, "{:#?}", shown.last);
        let lines = shown.status_lines();
        assert!(lines.len() > 5, "{columns}: {lines:#?}");
        assert_some(&lines, &["running", "%"]);
        assert!(
            lines.iter().all(|(_, line)| line.contains('%')),
            "{lines:#?}"
        );
        if columns >= 40 {
            assert_some(&lines, &["warming up", " left"]);
            assert_some(&lines, &["running", " left", "/s"]);
        }
        if columns >= 80 {
            assert_some(&lines, &["running", "elapsed", "5 clients", "0 lost"]);
        }
        if columns >= 120 {
            assert_some(&lines, &["[####", "]"]);
        }
        shown.assert_clean(&STAGES);
        assert!(is_result(&shown.last), "{:#?}", shown.last);
    }
}

#[test]
fn the_progress_is_one_line_after_a_resize() {
    let server = Server::start(&[]);
    for narrowed in [Narrowed::Cut, Narrowed::Wrapped] {
        let mut terminal = stress(&server, 120, "--warmup 0s --duration 1h");
        terminal.wait_for_text("  p99 ");
        for columns in [40, 20, 80] {
            terminal.resize(columns, narrowed);
            terminal.wait_for(|screen| screen.columns == columns && screen.contains("running"));
        }
        terminal.wait_for(|screen| screen.columns == 80 && screen.contains("elapsed"));
        terminal.type_keys("\x03");
        let shown = terminal.wait();
        let lines = shown.status_lines();
        for columns in [120, 40, 20, 80] {
            assert!(
                lines.iter().any(|(width, _)| *width == columns),
                "{lines:#?}"
            );
        }
        shown.assert_clean(&STAGES);
    }
}

#[test]
fn the_progress_is_gone_after_ctrl_c_and_after_a_second_one() {
    for presses in [1, 2] {
        // The server's replies are late, so that it drains until the second Ctrl-C.
        let flags = "stress --spawn --clients 5 --warmup 0s --duration 1h -- --delay 1m";
        let mut terminal = Terminal::start(60, flags);
        terminal.wait_for_text("running");
        for _ in 0..presses {
            terminal.type_keys("\x03");
            terminal.wait_for(is_result);
        }
        let shown = terminal.wait();
        assert_eq!(shown.code, 130, "{:#?}", shown.last);
        if presses == 1 {
            shown.assert_clean(&STAGES);
        } else {
            // The second one ends the program at once, after the terminal's echo of it.
            assert_eq!(shown.last.rows.last().map(|row| &**row), Some("^C"));
            assert!(!STAGES.iter().any(|stage| shown.last.contains(stage)));
        }
    }
}

#[test]
fn the_progress_stays_below_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    // Clients are closed one by one, and each is a line of the log.
    let server = thread::spawn(move || {
        let accept = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"Welcome!").unwrap();
            stream
        };
        let streams: Vec<_> = (0..5).map(accept).collect();
        for stream in streams {
            thread::sleep(Duration::from_millis(300));
            drop(stream);
        }
    });
    let flags = format!("stress -v --to {to} --clients 5 --active 0 --warmup 0s");
    let shown = Terminal::start(120, &flags).wait();
    server.join().unwrap();
    let of_log = |row: &&String| row.contains("DEBUG") && row.contains("lost ");
    let is_status = |row: &String| STAGES.iter().any(|stage| row.starts_with(stage));
    let run = shown.screens.iter();
    let run = run.take_while(|screen| !screen.contains("verdict"));
    let mut below = 0;
    for screen in run {
        let log = screen.rows.iter().filter(of_log).count();
        match screen.rows.iter().position(is_status) {
            Some(row) => {
                assert_eq!((row, screen.rows.len()), (log, log + 1), "{screen:#?}");
                below = below.max(log);
            }
            // Between two lines, or the report has begun.
            None => assert_eq!(screen.rows.iter().take_while(of_log).count(), log),
        }
    }
    assert!(below >= 3, "{:#?}", shown.last);
    shown.assert_clean(&STAGES);
}

#[test]
fn a_run_that_cannot_start_leaves_only_its_error() {
    // It never welcomes anyone.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let flags = format!("stress --to {to} --clients 5 --timeout 400ms");
    let shown = Terminal::start(80, &flags).wait();
    assert_eq!(shown.code, 4, "{:#?}", shown.last);
    let lines = shown.status_lines();
    assert_some(&lines, &["connecting", "0%", "0 of 5 clients"]);
    shown.assert_clean(&STAGES);
}

#[test]
fn without_a_terminal_there_is_no_progress() {
    let server = Server::start(&[]);
    let to = server.tcp_address();
    let start = |script: &str| {
        let flags = format!("stress --to {to} --clients 5 --warmup 0s --duration 400ms");
        Terminal::run(80, script, &flags)
    };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let all = [
        &*format!("\"$@\" 2>{}", log.display()),
        "TERM=dumb; export TERM; \"$@\"",
        // Standard output alone is redirected.
        "\"$@\" >/dev/null",
    ];
    let [no_stderr, dumb, no_stdout] = all.map(start).map(Terminal::wait);
    for shown in [no_stderr, dumb] {
        assert_eq!(shown.code, 0);
        let erases = shown.raw.windows(3).any(|bytes| bytes == b"\x1b[J");
        assert!(!erases, "{:#?}", shown.last);
    }
    assert_eq!(std::fs::read_to_string(log).unwrap(), "");
    assert_some(&no_stdout.status_lines(), &["running"]);
    assert_eq!(no_stdout.last.rows, [""; 0]);
}

#[test]
fn compare_shows_which_run_and_how_far_all_of_them_are() {
    let flags = "compare --clients 5 --duration 200ms --rounds 1 --delay 50ms";
    let mut terminals = [40, 80, 120].map(|columns| Terminal::start(columns, flags));
    for terminal in &mut terminals {
        terminal.wait_for_text("run 1 of 4");
        terminal.wait_for_text("run 2 of 4");
        terminal.type_keys("\x03");
    }
    for terminal in terminals {
        let shown = terminal.wait();
        assert_eq!(shown.code, 130, "{:#?}", shown.last);
        let lines = shown.status_lines();
        assert_some(&lines, &["run 1 of 4", "%"]);
        if lines[0].0 >= 80 {
            assert_some(&lines, &["run 1 of 4", "reactor, delay 0s", " left"]);
            assert_some(&lines, &["run 2 of 4", "threads, delay 0s", " left"]);
        }
        shown.assert_clean(&STAGES);
    }
}
