//! The prompts of `tcp` and `udp`.

use crate::screen::{Shown, Terminal};
use crate::util::Server;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

const PROMPT: &str = "Name (empty to end): ";

/// The two clients, at this server.
fn clients(server: &Server) -> [String; 2] {
    let to = server.tcp_address();
    ["tcp", "udp"].map(|client| format!("{client} --to {to}"))
}

/// The rows without the greeting of TCP.
fn rows(shown: &Shown) -> Vec<&str> {
    let rows = shown.last.rows.iter().map(|row| row.trim_end());
    rows.filter(|row| *row != "Welcome!").collect()
}

#[test]
fn replies_are_on_lines_of_their_own_and_an_empty_line_ends_it() {
    let server = Server::start(&[]);
    for columns in [40, 80, 120] {
        for client in clients(&server) {
            let mut terminal = Terminal::start(columns, &client);
            terminal.wait_for_text(PROMPT.trim_end());
            terminal.type_keys("Ada\r");
            terminal.wait_for(|screen| {
                screen.contains("Hello, Ada!")
                    && screen
                        .rows
                        .last()
                        .is_some_and(|row| row == PROMPT.trim_end())
            });
            terminal.type_keys("\r");
            let shown = terminal.wait();
            assert_eq!(shown.code, 0, "{:#?}", shown.last);
            assert_eq!(
                rows(&shown),
                [&*format!("{PROMPT}Ada"), "Hello, Ada!", PROMPT.trim_end()]
            );
            shown.assert_clean(&[]);
        }
    }
}

#[test]
fn ctrl_d_leaves_the_cursor_on_a_fresh_line() {
    let server = Server::start(&[]);
    for client in clients(&server) {
        let mut terminal = Terminal::start(80, &client);
        terminal.wait_for_text(PROMPT.trim_end());
        terminal.type_keys("\x04");
        let shown = terminal.wait();
        assert_eq!(shown.code, 0, "{:#?}", shown.last);
        assert_eq!(rows(&shown), [PROMPT.trim_end()]);
        shown.assert_clean(&[]);

        // After a name, the first Ctrl-D sends it and a further one is EOF.
        let mut terminal = Terminal::start(80, &client);
        terminal.wait_for_text(PROMPT.trim_end());
        terminal.type_keys("Ada\x04");
        terminal.type_keys("\x04");
        terminal.wait_for_text("Hello, Ada!");
        terminal.wait_for(|screen| {
            screen
                .rows
                .last()
                .is_some_and(|row| row == PROMPT.trim_end())
        });
        terminal.type_keys("\x04");
        let shown = terminal.wait();
        assert_eq!(
            rows(&shown),
            [&*format!("{PROMPT}Ada"), "Hello, Ada!", PROMPT.trim_end()]
        );
        shown.assert_clean(&[]);
    }
}

#[test]
fn an_error_after_a_prompt_has_a_line_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"Welcome!").unwrap();
        let _ = stream.read(&mut [0; 16]).unwrap();
        stream.write_all(b"\x1b[2Jno greeting").unwrap();
    });
    let mut terminal = Terminal::start(80, &format!("tcp --to {to}"));
    terminal.wait_for_text(PROMPT.trim_end());
    terminal.type_keys("Ada\r");
    let shown = terminal.wait();
    server.join().unwrap();
    assert_eq!(shown.code, 1, "{:#?}", shown.last);
    let rows = rows(&shown);
    assert_eq!(rows[0], format!("{PROMPT}Ada"));
    assert!(rows[1].starts_with("error: "), "{rows:#?}");
    assert!(shown.last.contains("\\u{1b}[2J"), "{rows:#?}");
    shown.assert_clean(&[]);
}

#[test]
fn a_name_that_cannot_be_sent_is_explained_and_asked_for_again() {
    let server = Server::start(&[]);
    let [tcp, _] = clients(&server);
    let mut terminal = Terminal::start(80, &tcp);
    terminal.wait_for_text(PROMPT.trim_end());
    terminal.type_keys("a\x16\x0db\r");
    terminal.wait_for_text("line ending");
    terminal.type_keys("\x04");
    let shown = terminal.wait();
    assert_eq!(shown.code, 0);
    let rows = rows(&shown);
    assert!(
        rows.last().is_some_and(|row| *row == PROMPT.trim_end()),
        "{rows:#?}"
    );
    shown.assert_clean(&[]);
}
