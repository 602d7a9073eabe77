//! The addresses that a server listens on.

use crate::util::{Model, ask, ask_udp, connect, counter, expect, udp};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

both_models! {
    an_ipv6_address_is_served,
    an_ipv6_wildcard_leaves_ipv4_free,
    several_addresses_are_served,
    a_host_name_stands_for_all_its_addresses,
    no_udp_leaves_the_udp_port_unbound,
}

/// Whether this machine has an IPv6 loopback address.
fn has_ipv6() -> bool {
    let has = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("skipped: this machine has no ::1");
    }
    has
}

fn an_ipv6_address_is_served(model: Model) {
    if !has_ipv6() {
        return;
    }
    let server = model.setup(&[]).listen(&["[::1]:0"]).start();
    assert!(server.tcp_address().is_ipv6());
    server.assert_serves();
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
}

/// `[::]` is IPv6 only, so another server can listen on 0.0.0.0 and the same port.
fn an_ipv6_wildcard_leaves_ipv4_free(model: Model) {
    if !has_ipv6() {
        return;
    }
    let ipv4 = model.setup(&[]).listen(&["0.0.0.0:0"]).start();
    let port = ipv4.tcp_address().port();
    let listen = format!("[::]:{port}");
    let ipv6 = model.setup(&[]).listen(&[&listen]).start();
    assert!(ipv6.tcp_address().is_ipv6());
    // Each server gets only its own clients.
    for (address, _server) in [
        (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &ipv4),
        (SocketAddr::from((Ipv6Addr::LOCALHOST, port)), &ipv6),
    ] {
        ask(&mut connect(address), b"Ada", b"Welcome!Hello, Ada!");
        ask_udp(&udp(address), b"Ada", b"Hello, Ada!");
        #[cfg(unix)] // both models log their counters at a signal
        assert_eq!(counter(&_server.counters(), "accepted "), 1);
    }
}

/// Asserts that every address is served, over TCP and UDP.
fn assert_serves_all(addresses: &[(SocketAddr, bool)]) {
    for (address, has_udp) in addresses {
        let mut stream = connect(*address);
        expect(&mut stream, b"Welcome!");
        ask(&mut stream, b"Ada", b"Hello, Ada!");
        assert!(has_udp);
        ask_udp(&udp(*address), b"Ada", b"Hello, Ada!");
    }
}

fn several_addresses_are_served(model: Model) {
    let listen = ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:0"];
    let server = model.setup(&[]).listen(&listen).start();
    let mut addresses = server.addresses(3);
    assert_eq!(addresses.len(), 3);
    assert_ne!(addresses[0], addresses[2]);
    assert_eq!(addresses[1].0.ip(), Ipv4Addr::UNSPECIFIED);
    addresses[1].0.set_ip(Ipv4Addr::LOCALHOST.into());
    assert_serves_all(&addresses);
}

fn a_host_name_stands_for_all_its_addresses(model: Model) {
    let server = model.setup(&[]).listen(&["localhost:0"]).start();
    server.assert_serves();
    // All `listening on` lines are written before the first client is served.
    let addresses = server.addresses(1);
    assert!(
        addresses
            .iter()
            .all(|(address, _)| address.ip().is_loopback())
    );
    assert_serves_all(&addresses);
}

fn no_udp_leaves_the_udp_port_unbound(model: Model) {
    let server = model.start(&["--no-udp"]);
    let (address, has_udp) = server.addresses(1)[0];
    assert!(!has_udp);
    server.assert_serves();
    UdpSocket::bind(address).unwrap();
}
