//! The text report in a terminal.

use crate::util::{Lines, Server, helloop};
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::process::Stdio;

/// Runs `helloop stress FLAGS` with standard output in a terminal of `columns`; returns its lines.
fn in_a_terminal(columns: u16, no_color: bool, flags: &str) -> Vec<String> {
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(&size, None).unwrap();
    let arguments: Vec<&str> = flags.split_whitespace().collect();
    let mut command = helloop(&arguments);
    command
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::from(terminal.slave))
        .stderr(Stdio::null());
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let mut child = command.spawn().unwrap();
    // The parent's end of the slave, so that the reader sees the end.
    drop(command);
    let lines = Lines::collect(File::from(terminal.master));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    lines.wait_for_end();
    lines.all()
}

/// Without the escape sequences of colours.
fn plain(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain += piece.split_once('m').map_or(piece, |(_, text)| text);
    }
    plain.trim_end().to_owned()
}

/// The report is folded to the width of the terminal, and the verdict is coloured unless NO_COLOR
/// forbids it.
#[test]
fn a_terminal_gets_a_folded_and_coloured_report() {
    let server = Server::start(&[]);
    let to = server.tcp_address();
    for (columns, no_color) in [(40, false), (60, true), (80, false), (120, true)] {
        let flags = "--clients 3 --duration 200ms --warmup 0s --slo max<60s";
        let lines = in_a_terminal(columns, no_color, &format!("stress --to {to} {flags}"));
        let coloured = lines.iter().filter(|line| line.contains("\u{1b}["));
        assert_eq!(coloured.count() > 0, !no_color, "{lines:#?}");
        let plain: Vec<_> = lines.iter().map(|line| plain(line)).collect();
        assert!(plain[0].starts_with("load       3 clients"), "{plain:#?}");
        assert!(
            plain
                .iter()
                .any(|line| line.starts_with("slo        max<60s: met ("))
        );
        for line in &plain {
            assert!(line.chars().count() <= columns.into(), "{columns}: {line}");
        }
        // Folded at words: nothing is lost.
        let words = plain.join(" ");
        let words: Vec<_> = words.split_whitespace().collect();
        assert!(
            words
                .join(" ")
                .contains("1 in flight per client; 16 bytes per message")
        );
    }
}
