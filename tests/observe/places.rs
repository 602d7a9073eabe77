//! The descriptors of observers are reserved, and theirs alone.

use crate::http::{get, observe_address};
use crate::util::{Server, Setup, connect, expect};

/// The clients that the server states.
fn capacity(server: &Server) -> usize {
    let line = server.stderr().wait_for("one thread serves up to ");
    let words = line.split("serves up to ").nth(1).unwrap();
    words.split(' ').next().unwrap().parse().unwrap()
}

/// The server has 256 descriptors. Clients take all places that it states, and observers come in
/// numbers: neither takes a descriptor from the other.
#[test]
fn observers_and_clients_take_no_descriptors_from_each_other() {
    let setup = Setup::new(&["--observe", "127.0.0.1:0"]).descriptors(256);
    let server = setup.start();
    let address = observe_address(&server);
    let capacity = capacity(&server);
    // 129 are for observers, and some for the server itself.
    assert!((90..=256 - 129).contains(&capacity), "{capacity}");
    let observers: Vec<_> = (0..300).map(|_| connect(address)).collect();
    let mut clients: Vec<_> = (0..capacity)
        .map(|_| connect(server.tcp_address()))
        .collect();
    for client in &mut clients {
        expect(client, b"Welcome!");
    }
    for path in ["/", "/healthz", "/metrics"] {
        assert_eq!(get(address, path).status, 200, "{path}");
    }
    drop(observers);
}

#[test]
fn without_observers_their_descriptors_are_for_clients() {
    let server = Setup::new(&[]).descriptors(256).start();
    let capacity = capacity(&server);
    assert!(capacity > 256 - 129, "{capacity}");
}
