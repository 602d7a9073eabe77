//! `--max-clients-per-address`: one host cannot hold every place.

use crate::util::{Model, Server, TIMEOUT, ask, connect, read_exactly, read_to_end, reset};
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

both_models! {
    an_address_has_as_many_clients_as_it_may_have,
    #[cfg(target_os = "linux")] // where all of 127.0.0.0/8 is local
    a_host_that_holds_its_places_takes_none_of_another,
    an_ipv6_client_is_counted_for_its_network,
}

/// A connection from this address of the machine.
fn connect_from(source: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.into()
}

/// However a client leaves, its place is free for the next one.
fn an_address_has_as_many_clients_as_it_may_have(model: Model) {
    let server = model.start(&["--max-clients-per-address", "2"]);
    let stays = server.connect();
    let mut leaves = server.connect();
    for end in ["exit", "EOF", "reset"] {
        let mut refused = connect(server.tcp_address());
        let refusal = read_to_end(&mut refused);
        assert_eq!(refusal, b"Busy: 2 of 2 clients of this address connected\n");
        match end {
            "exit" => ask(&mut leaves, b"exit", b""),
            "reset" => reset(leaves.try_clone().unwrap()),
            _ => {}
        }
        drop(leaves);
        leaves = wait_for_place(&server);
    }
    let warning = server.stderr().wait_for("refused 127.0.0.1:");
    let limit = "--max-clients-per-address 2 is reached";
    assert!(warning.ends_with(limit), "{warning}");
    drop((stays, leaves));
    let ended = server.stop();
    assert_eq!(ended.code, Some(0));
}

/// Connects until the server has seen that a client left, and returns the one in its place.
fn wait_for_place(server: &Server) -> TcpStream {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let mut client = connect(server.tcp_address());
        if read_exactly(&mut client, 8) == b"Welcome!" {
            return client;
        }
        assert!(Instant::now() < deadline, "its place is still taken");
        thread::yield_now();
    }
}

/// Two hundred connections of one address against a limit of ten, while four others are served.
#[cfg(target_os = "linux")]
fn a_host_that_holds_its_places_takes_none_of_another(model: Model) {
    let server = model.start(&["--max-clients-per-address", "10"]);
    let address = server.tcp_address();
    let mut flood: Vec<_> = (0..200).map(|_| connect(address)).collect();
    for last in 2..6 {
        let source = IpAddr::from([127, 0, 0, last]);
        let mut others: Vec<_> = (0..10).map(|_| connect_from(source, address)).collect();
        for stream in &mut others {
            crate::util::expect(stream, b"Welcome!");
            ask(stream, b"Ada", b"Hello, Ada!");
        }
    }
    let (served, refused) = flood.split_at_mut(10);
    for stream in served {
        crate::util::expect(stream, b"Welcome!");
        ask(stream, b"Ada", b"Hello, Ada!");
    }
    for stream in refused {
        let refusal = read_to_end(stream);
        assert_eq!(
            refusal,
            b"Busy: 10 of 10 clients of this address connected\n"
        );
    }
    let counters = server.counters();
    assert_eq!(
        crate::util::counter(&counters, " refused "),
        190,
        "{counters}"
    );
    drop(flood);
    assert_eq!(server.stop().code, Some(0));
}

fn an_ipv6_client_is_counted_for_its_network(model: Model) {
    let setup = model.setup(&["--max-clients-per-address", "1"]);
    let server = setup.listen(&["[::1]:0"]).start();
    let address = server.tcp_address();
    let _client = server.connect();
    let refusal = read_to_end(&mut connect_from(address.ip(), address));
    let expected = b"Busy: 1 of 1 clients of this /64 network connected\n";
    assert_eq!(refusal, expected);
}
