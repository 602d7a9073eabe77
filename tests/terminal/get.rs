//! The progress of `get`, against a server that sends as the test says.

use crate::screen::{Narrowed, Terminal};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

const STAGES: [&str; 3] = ["connecting", "waiting", "receiving"];

/// Bytes of a page, enough for its rate to be seen.
const PAGE_BYTES: usize = 400_000;

/// A server of one response, which the test sends itself.
struct Server {
    listener: TcpListener,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener }
    }

    fn url(&self) -> String {
        format!("http://{}/page", self.listener.local_addr().unwrap())
    }

    /// The connection, once the request is here.
    fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines();
        lines.find(|line| line.as_ref().unwrap().is_empty());
        stream
    }
}

/// `helloop get ARGUMENTS` into a folder of its own.
fn get(columns: u16, arguments: &str) -> (TempDir, Terminal) {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("cd {} && \"$@\"", folder.path().display());
    let terminal = Terminal::run(columns, &script, &format!("get {arguments}"));
    (folder, terminal)
}

fn files(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

#[test]
fn the_progress_of_a_page_is_one_line_at_any_width_and_gone_at_its_end() {
    for (columns, length) in [(20, true), (40, true), (80, true), (120, true), (80, false)] {
        let server = Server::start();
        let (folder, terminal) = get(columns, &server.url());
        let mut stream = server.accept();
        let waiting = terminal.wait_for(|screen| screen.line().is_some());
        let start = if columns < 40 {
            "waiting for 127.0.0"
        } else {
            "waiting for 127.0.0.1:"
        };
        assert!(
            waiting.contains(start) || waiting.contains("connecting"),
            "{waiting:#?}"
        );
        let head = match length {
            true => format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE_BYTES}\r\n\r\n"),
            false => "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        };
        stream.write_all(head.as_bytes()).unwrap();
        let half = vec![b'x'; PAGE_BYTES / 2];
        stream.write_all(&half).unwrap();
        let words: &[&str] = match (columns, length) {
            (_, false) => &["receiving", "195 KiB", "/s", "elapsed"],
            (20, _) => &["50%", "195 KiB"],
            (40, _) => &["50%", "195 KiB", "/s", " left"],
            _ => &[
                "receiving",
                "50%",
                "195 KiB",
                "of 391 KiB",
                "/s",
                "elapsed",
                " left",
            ],
        };
        // The server is silent now, and the line goes on.
        let shown = terminal.wait_for(|screen| {
            let last = screen.rows.last();
            last.is_some_and(|row| words.iter().all(|word| row.contains(word)))
        });
        assert_eq!(
            shown.rows.iter().filter(|row| row.contains("KiB")).count(),
            1
        );
        assert!(length || !shown.contains("%"), "{shown:#?}");
        stream.write_all(&half).unwrap();
        drop(stream);
        let shown = terminal.wait();
        assert_eq!(shown.code, 0, "{:#?}", shown.last);
        shown.assert_clean(&STAGES);
        let last = shown.last.rows.join("");
        assert!(last.ends_with("400000 bytes saved in page"), "{last}");
        assert!(last.starts_with("HTTP/1.1 200 OK"), "{last}");
        assert_eq!(files(&folder), 1);
    }
}

#[test]
fn the_progress_of_a_page_follows_a_resize_and_is_gone_after_ctrl_c() {
    for narrowed in [Narrowed::Cut, Narrowed::Wrapped] {
        let server = Server::start();
        let (folder, mut terminal) = get(120, &server.url());
        let mut stream = server.accept();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE_BYTES}\r\n\r\nhalf");
        stream.write_all(head.as_bytes()).unwrap();
        terminal.wait_for_text("elapsed");
        for columns in [40, 20, 80] {
            terminal.resize(columns, narrowed);
            let shown = terminal.wait_for(|screen| {
                screen.columns == columns
                    && screen.rows.last().is_some_and(|row| row.contains("4 B"))
            });
            let lines = shown.rows.iter().filter(|row| row.contains("4 B"));
            assert_eq!(lines.count(), 1, "{shown:#?}");
        }
        terminal.wait_for(|screen| screen.columns == 80 && screen.contains("elapsed"));
        terminal.type_keys("\x03");
        let shown = terminal.wait();
        assert_eq!(shown.code, 130, "{:#?}", shown.last);
        let is_left = |row: &String| row.contains("receiving") || row.contains("4 B");
        assert!(!shown.last.rows.iter().any(is_left), "{:#?}", shown.last);
        assert!(shown.last.is_cursor_visible && shown.last.wraps);
        assert_eq!(files(&folder), 0);
    }
}

#[test]
fn the_progress_of_a_page_is_gone_before_an_error_and_a_line_of_the_log() {
    let (first, second) = (Server::start(), Server::start());
    let (folder, terminal) = get(80, &format!("-v {}", first.url()));
    let mut stream = first.accept();
    terminal.wait_for_text("waiting for");
    write!(
        stream,
        "HTTP/1.1 302 X\r\nLocation: {}\r\n\r\n",
        second.url()
    )
    .unwrap();
    let mut stream = second.accept();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        .unwrap();
    terminal.wait_for_text("44%");
    drop(stream);
    let shown = terminal.wait();
    assert_eq!(shown.code, 1, "{:#?}", shown.last);
    shown.assert_clean(&STAGES);
    let rows = shown.last.rows.join("\n");
    assert_eq!(rows.matches("DEBUG").count(), 2, "{rows}");
    assert!(
        rows.replace('\n', "").ends_with("try again; nothing saved"),
        "{rows}"
    );
    for screen in &shown.screens {
        let lines = screen.rows.iter();
        let status = lines.filter(|row| STAGES.iter().any(|stage| row.starts_with(stage)));
        assert!(status.count() <= 1, "{screen:#?}");
    }
    assert_eq!(files(&folder), 0);
}

#[test]
fn a_body_on_the_terminal_has_no_progress_beside_it() {
    let server = Server::start();
    let (_folder, terminal) = get(80, &format!("{} -o -", server.url()));
    let server: JoinHandle<io::Result<()>> = thread::spawn(move || {
        let mut stream = server.accept();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na \x1b[31mpage")?;
        Ok(())
    });
    let shown = terminal.wait();
    server.join().unwrap().unwrap();
    assert_eq!(shown.code, 0);
    assert!(
        !shown.raw.windows(3).any(|bytes| bytes == b"\x1b[J"),
        "{:#?}",
        shown.last
    );
    assert!(
        shown.last.contains("a \\u{1b}[31mpage"),
        "{:#?}",
        shown.last
    );
    shown.assert_clean(&STAGES);
}
