//! All commands of the program, with what every system has: sockets, files, standard input and
//! output, and Ctrl-C. `.ci/wine` runs these tests on Windows; they pass on Unix too.

#[macro_use]
mod util;

mod http;

use http::{get, observe_address};
use serde_json::Value;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use util::{
    Ended, Model, Process, Server, Setup, TIMEOUT, ask, ask_udp, connect, ctrl_c, expect,
    expect_last, helloop, in_own_console, reset, run, run_helloop,
};

both_models! {
    the_exchange_of_the_tutorial,
    the_exchange_in_lines,
    messages_of_any_size,
    a_delay_holds_one_client_only,
    datagrams_of_any_size,
    a_datagram_for_a_closed_port_ends_nothing,
    a_reset_ends_one_client_only,
    the_clients_greet_a_server,
    a_drain_sends_what_is_owed,
    ctrl_c_drains,
    a_second_ctrl_c_ends_the_server_at_once,
    a_parent_that_ends_leaves_no_server,
}

fn the_exchange_of_the_tutorial(model: Model) {
    let server = model.start(&[]);
    let mut stream = server.connect();
    for name in ["Michael", "Tracy", "Sarah"] {
        ask(
            &mut stream,
            name.as_bytes(),
            format!("Hello, {name}!").as_bytes(),
        );
    }
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
    let mut stream = server.connect();
    stream.write_all(b"Ada").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut stream, b"Hello, Ada!");
    assert_eq!(server.stop().code, Some(0));
}

fn the_exchange_in_lines(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    for byte in b"Michael\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    expect(&mut stream, b"Hello, Michael!\n");
    let lines = "Tracy\n".repeat(1_000);
    stream.write_all(lines.as_bytes()).unwrap();
    expect(&mut stream, "Hello, Tracy!\n".repeat(1_000).as_bytes());
    stream.write_all(b"exit\n").unwrap();
    expect_last(&mut stream, b"");
    // An unterminated last line is a message too.
    let mut stream = server.connect();
    stream.write_all(b"Ada\nGrace").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut stream, b"Hello, Ada!\nHello, Grace!\n");
}

/// Up to the longest line, and one byte more.
fn messages_of_any_size(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    for size in [0, 1, 2, 1_023, 1_024, 1_025, 16_384, 65_535, 65_536] {
        let name = vec![b'x'; size];
        let line = [&name[..], b"\n"].concat();
        ask(
            &mut stream,
            &line,
            &[b"Hello, ", &name[..], b"!\n"].concat(),
        );
    }
    stream.write_all(&[b'x'; 65_537]).unwrap();
    expect_last(&mut stream, b"Error: line longer than 65536 bytes\n");
    server.assert_serves();
}

fn a_delay_holds_one_client_only(model: Model) {
    const DELAY: Duration = Duration::from_millis(500);
    let server = model.start(&["--delay", "500ms"]);
    let mut streams: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let started = Instant::now();
    for stream in &mut streams {
        stream.write_all(b"Ada").unwrap();
    }
    for stream in &mut streams {
        expect(stream, b"Hello, Ada!");
    }
    // One after another they would take 10 s. Windows may wait a tick of its clock less.
    let took = started.elapsed();
    assert!(took >= DELAY - Duration::from_millis(20), "{took:?}");
    assert!(took < 15 * DELAY, "{took:?}");
    // Datagrams are not delayed.
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
}

fn datagrams_of_any_size(model: Model) {
    let server = model.start(&["--max-datagram", "60000"]);
    let socket = server.udp();
    for size in [0, 1, 1_024, 1_025, 9_000, 60_000] {
        let name = vec![b'x'; size];
        ask_udp(&socket, &name, &[b"Hello, ", &name[..], b"!"].concat());
    }
    // Longer ones are dropped.
    socket.send(&[b'x'; 60_001]).unwrap();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
}

/// Winsock reports that a datagram reached no one: the next receive fails with WSAECONNRESET.
fn a_datagram_for_a_closed_port_ends_nothing(model: Model) {
    let server = model.start(&[]);
    let socket = server.udp();
    for _ in 0..50 {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        gone.send_to(b"Mallory", server.tcp_address()).unwrap();
        drop(gone);
        ask_udp(&socket, b"Ada", b"Hello, Ada!");
    }
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

fn a_reset_ends_one_client_only(model: Model) {
    let server = model.start(&[]);
    let mut polite = server.connect();
    for _ in 0..20 {
        let mut mallory = server.connect();
        mallory.write_all(b"Mallory").unwrap();
        reset(mallory);
        ask(&mut polite, b"Ada", b"Hello, Ada!");
    }
}

#[track_caller]
fn assert_printed(ended: &Ended, lines: &[&str]) {
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(
        ended.stdout.lines().collect::<Vec<_>>(),
        lines,
        "{ended:#?}"
    );
}

fn the_clients_greet_a_server(model: Model) {
    let server = model.start(&[]);
    let to = server.tcp_address().to_string();
    let greeted = ["Hello, Michael!", "Hello, Tracy!"];
    let tcp = run_helloop(&["tcp", "--to", &to, "Michael", "Tracy"]);
    assert_printed(&tcp, &["Welcome!", greeted[0], greeted[1]]);
    let udp = run_helloop(&["udp", "--to", &to, "Michael", "Tracy"]);
    assert_printed(&udp, &greeted);
    // Names from a pipe.
    let mut process = Process::start(helloop(&["tcp", "--to", &to]));
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(b"Michael\r\nTracy\n").unwrap();
    drop(stdin);
    assert_printed(&process.wait(), &["Welcome!", greeted[0], greeted[1]]);
}

fn a_drain_sends_what_is_owed(model: Model) {
    let server = model.start(&["--delay", "1s"]);
    let mut stream = server.connect();
    let mut fence = server.connect();
    stream.write_all(b"Ada").unwrap();
    // Its reply shows that the server has read what was sent before.
    ask(&mut fence, b"Grace", b"Hello, Grace!");
    stream.write_all(b"Tracy").unwrap();
    let ended = thread::spawn(move || server.stop());
    expect_last(&mut stream, b"Hello, Ada!Hello, Tracy!");
    let ended = ended.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stderr.contains("stopping: draining"), "{ended:#?}");
}

fn ctrl_c_drains(model: Model) {
    in_own_console("ctrl_c_drains", model, || {
        let server = model.start(&["--delay", "500ms"]);
        let mut stream = server.connect();
        stream.write_all(b"Ada").unwrap();
        ctrl_c(server.process());
        server.stderr().wait_for("stopping: draining 1 client");
        expect_last(&mut stream, b"Hello, Ada!");
        assert_eq!(server.wait().code, Some(0));
    });
}

fn a_second_ctrl_c_ends_the_server_at_once(model: Model) {
    in_own_console("a_second_ctrl_c_ends_the_server_at_once", model, || {
        let server = model.start(&["--delay", "1h", "--drain-timeout", "1h"]);
        let mut stream = server.connect();
        stream.write_all(b"Ada").unwrap();
        ctrl_c(server.process());
        server.stderr().wait_for("stopping: draining 1 client");
        ctrl_c(server.process());
        assert_eq!(server.wait().code, Some(130));
    });
}

/// As a server of `stress --spawn`: EOF on standard input ends it, in a drain too.
fn a_parent_that_ends_leaves_no_server(model: Model) {
    let flags = [
        "--exit-with-stdin",
        "--delay",
        "1h",
        "--model",
        model.name(),
    ];
    for begins_drain in [false, true] {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let mut process = Process::start(helloop(&[&serve[..], &flags].concat()));
        let line = process.stdout.wait_for("listening on ");
        let address: SocketAddr = line.split(' ').nth(2).unwrap().parse().unwrap();
        let mut stream = connect(address);
        expect(&mut stream, b"Welcome!");
        stream.write_all(b"Ada").unwrap();
        if begins_drain {
            process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            process.stderr.wait_for("stopping: draining");
        }
        let ended = process.wait();
        assert_eq!(ended.code, Some(143), "{ended:#?}");
    }
}

#[test]
fn get_saves_a_page() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let page = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1_024];
        std::io::Read::read(&mut stream, &mut request).unwrap();
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        stream.write_all(response).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let url = format!("http://{address}/page.html");
    let ended = run_helloop(&["get", &url, "-o", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("Content-Length: 5"), "{ended:#?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"hello");
    assert_eq!(files_in(folder.path()), 1, "no temporary file is left");
    page.join().unwrap();
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Of the load with these flags, whose server it starts itself.
#[track_caller]
fn spawned(flags: &[&str]) -> Value {
    let load = ["stress", "--spawn", "--json", "-", "--warmup", "0s"];
    let ended = run_helloop(&[&load, flags].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn the_load_spawns_its_server_and_counts_each_reply() {
    for flags in [
        &["--clients", "50", "--messages", "2000"][..],
        &["--clients", "5", "--messages", "500", "--udp"],
        &["--clients", "5", "--messages", "200", "--framing", "line"],
        &["--clients", "5", "--messages", "200", "--rate", "1000"],
        &[
            "--clients",
            "5",
            "--messages",
            "200",
            "--",
            "--model",
            "threads",
        ],
    ] {
        let report = spawned(flags);
        let messages: u64 = flags[3].parse().unwrap();
        assert_eq!(report["messages"]["answered"], messages, "{flags:?}");
        assert_eq!(report["messages"]["unanswered"], 0, "{flags:?}");
    }
}

#[test]
fn the_load_writes_its_report_and_shows_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, html) = (path("run.json"), path("run.html"));
    let load = ["stress", "--spawn", "--clients", "5", "--duration", "300ms"];
    let files = ["--json", &json, "--html", &html];
    let ended = run_helloop(&[&load[..], &files].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("verdict"), "{ended:#?}");
    let again = run_helloop(&["report", &json]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    assert!(again.stdout.contains("verdict"), "{again:#?}");
    assert!(std::fs::read_to_string(html).unwrap().contains("<html"));
}

#[test]
fn ctrl_c_ends_the_load_with_its_report() {
    in_own_console("ctrl_c_ends_the_load_with_its_report", None, || {
        let flags = ["stress", "--spawn", "--clients", "5", "--duration", "1h"];
        let load = Process::start(helloop(&[&flags[..], &["--", "-v"]].concat()));
        // The log of its server.
        load.stderr.wait_for("accepted");
        ctrl_c(&load);
        let ended = load.wait();
        assert_eq!(ended.code, Some(130), "{ended:#?}");
        assert!(ended.stdout.contains("verdict"), "{ended:#?}");
    });
}

#[test]
fn both_models_are_compared() {
    let flags = "compare --clients 20 --duration 1s --rounds 1 --delay 10ms --json -";
    let flags: Vec<&str> = flags.split(' ').collect();
    let ended = run_helloop(&flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let comparison: Value = serde_json::from_str(&ended.stdout).unwrap();
    for table in comparison["tables"].as_array().unwrap() {
        let rows = table["rows"].as_array().unwrap();
        let models: Vec<_> = rows.iter().map(|row| &row["model"]).collect();
        assert_eq!(models, ["reactor", "threads"]);
        for row in rows {
            let figures = &row["figures"];
            assert!(
                figures["messages_per_second"]["median"].is_number(),
                "{row}"
            );
            assert!(figures["p50_us"]["median"].is_number(), "{row}");
        }
    }
}

#[test]
fn the_page_the_metrics_and_the_health_of_a_server_are_served() {
    let server = Server::start(&["--observe", "127.0.0.1:0"]);
    let address = observe_address(&server);
    let mut client = server.connect();
    ask(&mut client, b"Ada", b"Hello, Ada!");
    let page = get(address, "/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<title>helloop"), "{}", page.head);
    let health = get(address, "/healthz");
    assert_eq!((health.status, health.text().as_str()), (200, "serving\n"));
    let metrics = get(address, "/metrics").text();
    let messages = util::counter(&metrics, "\nhelloop_messages_total ");
    assert_eq!(messages, 1, "{metrics}");
    // What the page subscribes to.
    let mut stream = connect(address);
    let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(http::read_head(&mut stream).status, 200);
    expect(&mut stream, b"retry: ");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_recording_is_saved_at_the_end_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    let path = path.to_str().unwrap();
    let server = Server::start(&["--record", path]);
    let mut client = server.connect();
    ask(&mut client, b"Ada", b"Hello, Ada!");
    drop(client);
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(files_in(folder.path()), 1, "no temporary file is left");
    let shown = run_helloop(&["show", path]);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    assert!(shown.stdout.contains("drive"), "{}", shown.stdout);
}

#[test]
fn every_page_of_help_is_printed() {
    let help = run_helloop(&["--help"]);
    assert_eq!(help.code, Some(0), "{help:#?}");
    for command in ["serve", "tcp", "udp", "get", "stress", "compare", "show"] {
        assert!(help.stdout.contains(command), "{help:#?}");
        let help = run_helloop(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{help:#?}");
        assert!(help.stdout.contains("Usage: helloop"), "{help:#?}");
    }
}

/// Exit code 2, and one line that names the flag.
#[cfg(windows)]
#[test]
fn what_windows_does_not_have_is_one_clear_line() {
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let refused = run_helloop(&[&serve[..], &["--reuse-port"]].concat());
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    let errors = refused
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "));
    let errors: Vec<_> = errors.collect();
    let expected = ["error: --reuse-port is not supported on this system"];
    assert_eq!(errors, expected, "{refused:#?}");
}

/// A second server on a port fails with one clear line.
#[test]
fn a_port_in_use_is_one_clear_line() {
    let server = Server::start(&[]);
    let address = server.tcp_address().to_string();
    let second = run(Setup::new(&[]).listen(&[&address]).command());
    assert_eq!(second.code, Some(1), "{second:#?}");
    assert!(second.stderr.contains(&address), "{second:#?}");
    server.assert_serves();
}

/// A client without a server fails with one clear line.
#[test]
fn a_refused_connection_is_one_clear_line() {
    let address = util::free_address().to_string();
    let started = Instant::now();
    let ended = run_helloop(&["tcp", "--to", &address, "Ada"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let error = format!("error: no TCP server listens at {address}; ");
    assert!(ended.stderr.starts_with(&error), "{ended:#?}");
    assert!(started.elapsed() < TIMEOUT);
}
