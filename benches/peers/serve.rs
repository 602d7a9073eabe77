//! A peer in this process: binds the sockets, and serves one case on them.

use crate::cases::{Case, Peer, Traffic};
use crate::{epoll, epoll_udp, tokio_tasks};
use helloop::net::bind;
use std::time::Duration;

/// Serves `case` forever.
pub(crate) fn run(peer: Peer, case: &Case) {
    let bound = bind::bind(&bind::Options {
        listen: vec!["127.0.0.1:0".to_owned()],
        udp: true,
        backlog: match peer {
            // What tokio's own `bind` asks for.
            Peer::Tokio => 1_024,
            _ => 4_096,
        },
        reuse_port: false,
        keepalive: Some(Duration::from_secs(300)),
    });
    let [sockets] = <[_; 1]>::try_from(bound.expect("a free port")).expect("one address");
    sockets.set_nonblocking().expect("nonblocking sockets");
    println!("listening on {sockets}");
    let udp = sockets.udp.expect("a UDP socket");
    match (peer, case.traffic) {
        (Peer::Tokio, _) => tokio_tasks::serve(sockets.tcp, udp, case.framing()),
        (_, Traffic::Udp { .. }) => epoll_udp::serve(&udp),
        _ => epoll::serve(&sockets.tcp, case.framing()),
    }
}
