//! What the tutorial teaches, against both servers: its exchanges over TCP and UDP, its own
//! Python clients as it prints them, and `nc`.
//!
//! The tests that need a program of the machine's are ignored by default, since a bare machine
//! may not have it: `cargo test --test tutorial -- --ignored` runs them.

#[macro_use]
mod util;

use util::readme::{self, Block};
use util::{Model, Process, ask, ask_udp, connect, expect, expect_last, run};

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

both_models! {
    the_tcp_exchange,
    the_udp_exchange,
    the_tcp_exchange_with_its_sleep,
    #[ignore = "needs python3"]
    the_python_tcp_client,
    #[ignore = "needs python3"]
    the_python_udp_client,
    #[ignore = "needs nc"]
    nc_in_chunk_framing,
    #[ignore = "needs nc"]
    nc_says_what_the_readme_shows,
    #[ignore = "needs nc"]
    nc_in_line_framing,
    #[ignore = "needs nc"]
    nc_over_udp,
}

fn the_tcp_exchange(model: Model) {
    exchange(model, &[]);
}

/// `time.sleep(1)` before each reply, only shorter here.
fn the_tcp_exchange_with_its_sleep(model: Model) {
    exchange(model, &["--delay", "50ms"]);
}

fn exchange(model: Model, flags: &[&str]) {
    let server = model.start(flags);
    let mut stream = connect(server.tcp_address());
    expect(&mut stream, b"Welcome!");
    ask(&mut stream, b"Michael", b"Hello, Michael!");
    ask(&mut stream, b"Tracy", b"Hello, Tracy!");
    ask(&mut stream, b"Sarah", b"Hello, Sarah!");
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
}

fn the_udp_exchange(model: Model) {
    let server = model.start(&[]);
    let socket = server.udp();
    ask_udp(&socket, b"Michael", b"Hello, Michael!");
    ask_udp(&socket, b"Tracy", b"Hello, Tracy!");
    ask_udp(&socket, b"Sarah", b"Hello, Sarah!");
}

/// The tutorial's client that the README prints, line for line, and what it prints itself.
fn client_of_the_readme(socket: &str) -> (String, String) {
    let blocks = readme::blocks();
    let is_client = |block: &&[Block]| {
        block[0].language == "python"
            && block[0].text.contains(socket)
            && block[1].language == "text"
    };
    let found = blocks.windows(2).find(is_client).expect("a client");
    (found[0].text.clone(), found[1].text.clone())
}

const GREETINGS: &str = "Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n";

fn the_python_tcp_client(model: Model) {
    let server = model.start(&[]);
    let (client, prints) = client_of_the_readme("SOCK_STREAM");
    assert_eq!(prints, format!("Welcome!\n{GREETINGS}"));
    assert_eq!(python(&client, server.tcp_address()), prints);
    assert!(
        server
            .stop()
            .stdout
            .contains("served 1 clients, 4 messages"),
        "the fourth message is exit"
    );
}

fn the_python_udp_client(model: Model) {
    let server = model.start(&[]);
    let (client, prints) = client_of_the_readme("SOCK_DGRAM");
    assert_eq!(prints, GREETINGS);
    assert_eq!(python(&client, server.tcp_address()), prints);
}

/// Runs a script of the tutorial's, its port replaced, and returns what it prints.
fn python(script: &str, server: SocketAddr) -> String {
    let script = script.replace("9999", &server.port().to_string());
    let mut command = Command::new("python3");
    command.args(["-c", &script]);
    let ended = run(command);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

fn nc(flags: &[&str], server: SocketAddr) -> Process {
    let mut command = Command::new("nc");
    command.args(flags);
    command.args([server.ip().to_string(), server.port().to_string()]);
    Process::start(command)
}

fn type_in(nc: &mut Process, words: &str) {
    nc.stdin
        .as_mut()
        .unwrap()
        .write_all(words.as_bytes())
        .unwrap();
}

/// A person types a line and reads its answer. The line ending stands outside the name.
fn nc_in_chunk_framing(model: Model) {
    let server = model.start(&[]);
    let mut nc = nc(&[], server.tcp_address());
    type_in(&mut nc, "Michael\n");
    nc.stdout.wait_for("Welcome!Hello, Michael!");
    type_in(&mut nc, "Tracy\r\n");
    nc.stdout.wait_for("Hello, Tracy!\r");
    type_in(&mut nc, "exit\r\n");
    assert_eq!(
        nc.wait().stdout,
        "Welcome!Hello, Michael!\nHello, Tracy!\r\n"
    );
}

/// On a terminal what is typed stands between what is answered.
fn nc_says_what_the_readme_shows(model: Model) {
    let server = model.start(&[]);
    let commands = readme::commands();
    let shown = commands
        .iter()
        .find(|command| command.typed.starts_with("nc "));
    let words = readme::words(&shown.unwrap().typed);
    assert_eq!(words, ["nc", "127.0.0.1", "9999"]);
    let mut nc = nc(&[], server.tcp_address());
    let typed = ["Michael\n", "exit\n"];
    type_in(&mut nc, typed[0]);
    nc.stdout.wait_for("Welcome!Hello, Michael!");
    type_in(&mut nc, typed[1]);
    let answered = nc.wait().stdout;
    let terminal = answered.replace("Welcome!", &format!("Welcome!{}", typed[0])) + typed[1];
    assert_eq!(terminal, shown.unwrap().output);
}

/// Lines may be piped in all at once.
fn nc_in_line_framing(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut nc = nc(&["-N"], server.tcp_address());
    type_in(&mut nc, "Michael\nTracy\r\nSarah");
    assert_eq!(nc.wait().stdout, format!("Welcome!\n{GREETINGS}"));
}

fn nc_over_udp(model: Model) {
    let server = model.start(&[]);
    let mut nc = nc(&["-u"], server.tcp_address());
    type_in(&mut nc, "Michael\n");
    nc.stdout.wait_for("Hello, Michael!");
    type_in(&mut nc, "exit\n");
    nc.stdout.wait_for("Hello, exit!");
}
