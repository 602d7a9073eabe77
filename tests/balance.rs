//! Several servers: processes that share a port, and servers behind a load balancer.

// Needs SO_REUSEPORT and HAProxy.
#![cfg(unix)]

mod http;
mod util;

use http::observe_address;
use nix::sys::signal::Signal;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use util::{Ended, Process, Server, Setup, TIMEOUT, connect, counter, expect};

/// Concurrent clients.
const CLIENTS: usize = 100;

/// Conversations that must be completed before a server is drained, and again after.
const CONVERSATIONS: u64 = 100;

/// How long replies are held: longer than the balancer's health check takes to notice a drain.
const DELAY: &str = "800ms";

/// The clients and messages of the summary: `served 3 clients, 7 messages, ...`.
fn served(ended: &Ended) -> (u64, u64) {
    let line = ended.stdout.lines().last().unwrap_or_default();
    assert!(line.starts_with("served "), "{ended:?}");
    let messages = line.split(" clients, ").nth(1).unwrap();
    (
        counter(line, "served "),
        counter(&format!("#{messages}"), "#"),
    )
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "elsewhere the last to bind may get every client"
)]
fn processes_with_reuse_port_share_the_clients() {
    let first = Server::start(&["--reuse-port", "--no-udp"]);
    let address = first.tcp_address().to_string();
    let second = Setup::new(&["--reuse-port", "--no-udp"])
        .listen(&[&address])
        .start();
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(first.tcp_address())).collect();
    for client in &mut clients {
        expect(client, b"Welcome!");
        util::ask(client, b"Ada", b"Hello, Ada!");
    }
    let (first, second) = (served(&first.stop()), served(&second.stop()));
    assert!(first.0 > 0 && second.0 > 0, "{first:?} {second:?}");
    assert_eq!((first.0 + second.0, first.1 + second.1), (200, 200));
}

#[test]
fn the_configuration_of_the_readme_is_complete() {
    let text = configuration();
    for place in [
        "0.0.0.0:9999",
        "192.0.2.1:9999 port 9998",
        "192.0.2.2:9999 port 9998",
    ] {
        assert_eq!(text.matches(place).count(), 1, "{place}");
    }
}

/// The HAProxy configuration in the README.
fn configuration() -> String {
    let blocks = util::readme::blocks_in("haproxy");
    assert_eq!(blocks.len(), 1);
    blocks[0].text.clone()
}

/// HAProxy with the configuration of the README, its addresses replaced by those of the test.
struct Balancer {
    process: Process,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Balancer {
    fn start(servers: [&Server; 2]) -> Self {
        let address = util::free_address();
        let mut text = configuration().replace("0.0.0.0:9999", &address.to_string());
        for (place, server) in ["192.0.2.1", "192.0.2.2"].into_iter().zip(servers) {
            let check_port = observe_address(server).port();
            let here = format!("{} port {check_port}", server.tcp_address());
            text = text.replace(&format!("{place}:9999 port 9998"), &here);
        }
        assert!(!text.contains("192.0.2"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(path);
        let process = Process::start(command);
        let deadline = Instant::now() + TIMEOUT;
        // HAProxy does not log that it listens, so connect until it does.
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{:#?}", process.stderr.all());
            thread::sleep(Duration::from_millis(10));
        }
        Self {
            process,
            address,
            _folder: folder,
        }
    }
}

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// Replies received.
    replies: AtomicU64,
    /// Completed conversations.
    completed: AtomicU64,
    /// Conversations that a drain interrupted, and that were continued on another connection.
    moved: AtomicU64,
}

impl Load {
    /// Holds one conversation after another. A name without a reply is sent again.
    fn client(&self, address: SocketAddr) {
        let mut names = ["Michael", "Tracy", "Sarah"].into_iter().peekable();
        while !self.stop.load(Ordering::Relaxed) {
            match self.converse(address, &mut names) {
                Ok(()) => {
                    self.completed.fetch_add(1, Ordering::Relaxed);
                    names = ["Michael", "Tracy", "Sarah"].into_iter().peekable();
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn converse(
        &self,
        address: SocketAddr,
        names: &mut std::iter::Peekable<impl Iterator<Item = &'static str>>,
    ) -> io::Result<()> {
        let mut stream = connect(address);
        let mut welcome = [0; 8];
        stream.read_exact(&mut welcome)?;
        assert_eq!(&welcome, b"Welcome!");
        while let Some(name) = names.peek() {
            stream.write_all(name.as_bytes())?;
            let mut reply = vec![0; name.len() + "Hello, !".len()];
            stream.read_exact(&mut reply)?;
            assert_eq!(reply, format!("Hello, {name}!").as_bytes());
            self.replies.fetch_add(1, Ordering::Relaxed);
            names.next();
        }
        stream.shutdown(Shutdown::Write)?;
        assert_eq!(stream.read(&mut [0; 16])?, 0);
        Ok(())
    }

    fn wait_for_completed(&self, more: u64) {
        let deadline = Instant::now() + TIMEOUT;
        let wanted = self.completed.load(Ordering::Relaxed) + more;
        while self.completed.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "too few conversations completed");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
#[ignore = "needs haproxy"]
fn a_server_behind_a_balancer_is_drained_under_load_and_no_reply_is_lost() {
    let flags = ["--observe", "127.0.0.1:0", "--no-udp", "--delay", DELAY];
    let (one, two) = (Server::start(&flags), Server::start(&flags));
    let balancer = Balancer::start([&one, &two]);
    let load = Load::default();
    let (one, two) = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| load.client(balancer.address));
        }
        load.wait_for_completed(CONVERSATIONS);
        one.signal(Signal::SIGTERM);
        // The health check sees the drain while the server still sends pending replies.
        let down = balancer.process.stderr.wait_for("helloop/one is DOWN");
        assert!(down.contains("code: 503"), "{down}");
        let one = one.wait();
        // From now on, the other server has all the clients.
        load.wait_for_completed(CONVERSATIONS);
        load.stop.store(true, Ordering::Relaxed);
        (one, two)
    });
    let two = two.stop();
    assert_eq!((one.code, two.code), (Some(0), Some(0)), "{}", one.stderr);
    let ((_, by_one), (_, by_two)) = (served(&one), served(&two));
    let replies = load.replies.load(Ordering::Relaxed);
    println!(
        "{replies} replies: {by_one} by the drained server, {by_two} by the other; {} moved",
        load.moved.load(Ordering::Relaxed)
    );
    assert!(by_one > 0 && by_two > 0);
    assert_eq!(
        by_one + by_two,
        replies,
        "a reply to each message read was received"
    );
}
