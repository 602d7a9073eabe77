//! The tutorial's exchanges against both servers: over TCP and UDP, by its clients in Python, and by
//! `nc`.
//!
//! Tests that need a program which may not be installed are ignored by default:
//! `cargo test --test tutorial -- --ignored` runs them.

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
    nc_prints_what_the_readme_shows,
    #[ignore = "needs nc"]
    nc_in_line_framing,
    #[ignore = "needs nc"]
    nc_over_udp,
}

fn the_tcp_exchange(model: Model) {
    exchange(model, &[]);
}

/// The tutorial's `time.sleep(1)` before each reply, shortened.
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

/// The README's client for TCP or UDP, and the output that the README shows for it.
fn client_of_the_readme(udp: bool) -> (String, String) {
    let blocks = readme::blocks();
    let is_client = |block: &&[Block]| {
        block[0].language == "python"
            && block[0].text.contains("SOCK_DGRAM") == udp
            && block[1].language == "text"
    };
    let found = blocks.windows(2).find(is_client).expect("a client");
    (found[0].text.clone(), found[1].text.clone())
}

const GREETINGS: &str = "Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n";

fn the_python_tcp_client(model: Model) {
    let server = model.start(&[]);
    let (client, output) = client_of_the_readme(false);
    assert_eq!(output, format!("Welcome!\n{GREETINGS}"));
    assert_eq!(python(&client, server.tcp_address()), output);
    assert!(
        server.stop().stdout.contains("served 1 client, 4 messages"),
        "the fourth message is exit"
    );
}

fn the_python_udp_client(model: Model) {
    let server = model.start(&[]);
    let (client, output) = client_of_the_readme(true);
    assert_eq!(output, GREETINGS);
    assert_eq!(python(&client, server.tcp_address()), output);
}

/// Runs a script against this server and returns its output.
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

fn type_in(nc: &mut Process, text: &str) {
    nc.stdin
        .as_mut()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// As typed by hand: a line ending is not part of the name.
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

/// A terminal shows the input between the replies.
fn nc_prints_what_the_readme_shows(model: Model) {
    let server = model.start(&[]);
    let commands = readme::commands();
    let shown = commands
        .iter()
        .find(|command| command.typed.starts_with("nc "));
    let command = readme::words(&shown.unwrap().typed);
    assert_eq!(command, ["nc", "127.0.0.1", "9999"]);
    let mut nc = nc(&[], server.tcp_address());
    let typed = ["Michael\n", "exit\n"];
    type_in(&mut nc, typed[0]);
    nc.stdout.wait_for("Welcome!Hello, Michael!");
    type_in(&mut nc, typed[1]);
    let replies = nc.wait().stdout;
    let terminal = replies.replace("Welcome!", &format!("Welcome!{}", typed[0])) + typed[1];
    assert_eq!(terminal, shown.unwrap().output);
}

/// All lines may be piped in at once.
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
