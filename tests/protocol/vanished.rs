//! Clients that vanish: no FIN, no RST, no acknowledgement.

use crate::util::{Server, ask};
use socket2::{SockFilter, SockRef};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// More than any of these waits takes, on any machine.
const MOST: Duration = Duration::from_secs(30);

/// Makes the kernel drop every packet to this socket, as if its machine had lost its power: a filter
/// that accepts no bytes (classic BPF, `ret #0`).
fn vanish(client: &TcpStream) {
    let drop_all = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(client).attach_filter(&[drop_all]).unwrap();
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "packet filters and TCP_USER_TIMEOUT need Linux"
)]
fn a_client_that_has_vanished_is_closed_within_the_keepalive_time() {
    let server = Server::start(&["--keepalive", "3s", "--delay", "100ms", "-v"]);
    let silent = server.connect();
    let mut owed = server.connect();
    let mut alive = server.connect();
    let started = Instant::now();
    owed.write_all(b"Michael").unwrap();
    for client in [&silent, &owed] {
        vanish(client);
    }
    for client in [&silent, &owed] {
        let address = client.local_addr().unwrap().to_string();
        let accepted = server.stderr().wait_for(&format!("accepted {address}"));
        let (_, token) = accepted.rsplit_once(' ').unwrap();
        let closed = server.stderr().wait_for(&format!("closed {token}: "));
        assert!(closed.ends_with("unreachable"), "{closed}");
    }
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert!(waited < MOST, "{waited:?}");
    ask(&mut alive, b"Tracy", b"Hello, Tracy!");
}
