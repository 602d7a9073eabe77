//! TCP keepalive: a client that has vanished without a FIN or a RST is closed after a given time.
//!
//! **Owns** how that time is divided among the options of the kernel. **Must never touch** a socket
//! but to set these options. **Invariant**: the idle time and the intervals add up to the time
//! given, in whole seconds and at least two. Where the system has a fixed number of probes, one per
//! second and a second before them are the least.
//!
//! The idle time alone is not enough: the kernel's defaults for the interval and the number of
//! probes (75 s and 9 on Linux) add eleven minutes to it. Nor is keepalive: it does not run while
//! sent data is unacknowledged, and retransmission gives up after fifteen minutes. On Linux
//! `TCP_USER_TIMEOUT` limits that time too (tcp(7)).

use super::system;
use socket2::Socket;
use std::io;
use std::time::Duration;

/// The most probes: a few may be lost before a client that is alive is closed.
const MAX_TRIES: u32 = 5;

/// All times are whole seconds, as in the kernel, and at least this one.
const SHORTEST: Duration = Duration::from_secs(1);

/// When a client is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probing {
    /// The time without a sign of the client after which the first probe is sent.
    idle: Duration,
    /// The time that each probe has to be answered.
    interval: Duration,
    /// The number of probes; after the last interval the connection is closed.
    tries: u32,
}

impl Probing {
    /// Probing that closes a client after `limit`, or after the shortest time that is possible: two
    /// seconds, unless the system has a `fixed` number of probes. For half of the time nothing is sent.
    fn within(limit: Duration, fixed: Option<u32>) -> Self {
        let seconds = limit.as_secs();
        let most = u64::from(fixed.unwrap_or(MAX_TRIES));
        let interval = (seconds / (2 * most)).max(1);
        let tries = match fixed {
            Some(_) => most,
            None => (seconds.saturating_sub(1) / interval).clamp(1, most),
        };
        let idle = seconds.saturating_sub(interval * tries).max(1);
        Self {
            idle: Duration::from_secs(idle),
            interval: Duration::from_secs(interval),
            tries: tries as u32,
        }
    }
}

/// Makes the kernel close a connection about `limit` after its peer has vanished. A listener passes
/// this on to the connections that it accepts.
///
/// # Errors
///
/// Those of setsockopt(2).
pub(crate) fn close_vanished(socket: &Socket, limit: Duration) -> io::Result<()> {
    let limit = limit.max(SHORTEST);
    let probing = Probing::within(limit, system::FIXED_KEEPALIVE_PROBES);
    let keepalive = system::keepalive(probing.idle, probing.interval, probing.tries);
    socket.set_tcp_keepalive(&keepalive)?;
    system::limit_unacknowledged(socket, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_time_and_the_intervals_add_up_to_the_limit() {
        for (limit, fixed, idle, interval, tries) in [
            (300, None, 150, 30, 5),
            (32_767, None, 16_387, 3_276, 5),
            (60, None, 30, 6, 5),
            (19, None, 14, 1, 5),
            (10, None, 5, 1, 5),
            (5, None, 1, 1, 4),
            (2, None, 1, 1, 1),
            (300, Some(10), 150, 15, 10),
            (32_767, Some(10), 16_387, 1_638, 10),
            (60, Some(10), 30, 3, 10),
            (19, Some(10), 9, 1, 10),
            (11, Some(10), 1, 1, 10),
            // Ten probes take longer.
            (2, Some(10), 1, 1, 10),
        ] {
            let probing = Probing::within(Duration::from_secs(limit), fixed);
            assert_eq!(
                (
                    probing.idle.as_secs(),
                    probing.interval.as_secs(),
                    probing.tries
                ),
                (idle, interval, tries),
                "{limit} {fixed:?}"
            );
        }
        for (shortest, fixed) in [(2, None), (11, Some(10))] {
            for limit in shortest..=32_767 {
                let limit = Duration::from_secs(limit);
                let probing = Probing::within(limit, fixed);
                let total = probing.idle + probing.interval * probing.tries;
                assert_eq!(total, limit, "{probing:?}");
            }
        }
        for limit in [Duration::ZERO, Duration::from_millis(1_999), SHORTEST] {
            let two = Duration::from_secs(2);
            let [shorter, shortest] = [limit, two].map(|limit| Probing::within(limit, None));
            assert_eq!(shorter, shortest, "{limit:?}");
        }
        let most = Probing::within(Duration::MAX, None);
        assert_eq!(most.tries, MAX_TRIES);
    }
}
