//! Checks before a run whether this machine can carry the plan out.
//!
//! **Owns** the arithmetic of descriptors, ports and accept queues. **Must never touch** the
//! server: nothing connects here. **Invariant**: what does not fit is reported before the run,
//! with the exact command that makes it fit.

use super::conductor::CONNECTS_AT_ONCE;
use super::connect::SourceAddresses;
use super::plan::{Plan, Transport};
use crate::net::system;
use crate::units::count;
use std::fmt;
use std::net::UdpSocket;

/// Descriptors that are not for clients: the standard streams, the poll, the signals, a child's
/// pipes, the files in `/proc`.
const RESERVED_DESCRIPTORS: u64 = 16;

/// The ephemeral ports where the system does not report its own range (RFC 6335, dynamic ports).
const DYNAMIC_PORTS: (u16, u16) = (49_152, 65_535);

/// The result, one line per subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What fits.
    pub ok: Vec<String>,
    /// What may distort the run.
    pub warnings: Vec<String>,
    /// What does not fit: the run cannot do what was asked for.
    pub obstacles: Vec<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [
            ("ok", &self.ok),
            ("warning", &self.warnings),
            ("cannot", &self.obstacles),
        ];
        let lines: Vec<_> = groups
            .iter()
            .flat_map(|(mark, lines)| lines.iter().map(move |line| format!("{mark:8}{line}")))
            .collect();
        formatter.write_str(&lines.join("\n"))
    }
}

/// Checks `plan` for a process that may open `max_descriptors`. A server that is started for the run
/// may open as many, and keeps `server_reserve` of them from its clients; it is not checked without.
#[must_use]
pub(crate) fn check(plan: &Plan, max_descriptors: u64, server_reserve: Option<u64>) -> Findings {
    let mut findings = Findings::default();
    // A UDP server has one socket for all clients.
    let server_reserve = server_reserve.filter(|_| plan.transport != Transport::Udp);
    check_descriptors(plan, max_descriptors, server_reserve, &mut findings);
    check_ports(plan, system::ephemeral_ports(), &mut findings);
    check_sources(plan, &mut findings);
    let not_checked = match server_reserve {
        Some(_) => "the server's own backlog is",
        None => "the server's own backlog and descriptors are",
    };
    match system::backlog_limit() {
        Some(limit) if limit < CONNECTS_AT_ONCE => findings.warnings.push(format!(
            "backlog: this system queues at most {limit} connections per listener, and up to \
             {CONNECTS_AT_ONCE} clients connect at once: run `sysctl -w net.core.somaxconn=4096`, \
             or lower --connect-rate"
        )),
        Some(limit) => findings.ok.push(format!(
            "backlog: up to {CONNECTS_AT_ONCE} clients connect at once, and this system queues up \
             to {limit}; {not_checked} not checked here"
        )),
        None => {}
    }
    findings
}

fn check_descriptors(plan: &Plan, limit: u64, server: Option<u64>, findings: &mut Findings) {
    let clients = u64::from(plan.clients);
    let reserved = RESERVED_DESCRIPTORS.max(server.unwrap_or(0));
    let needed = clients + reserved;
    if needed <= limit {
        let of_server = server.map_or_else(String::new, |server| {
            format!("; the server has as many, and reserves {server}")
        });
        findings.ok.push(format!(
            "descriptors: {clients} for clients and {RESERVED_DESCRIPTORS} reserved, of \
             {limit}{of_server}"
        ));
        return;
    }
    let of = match server {
        Some(server) if server > RESERVED_DESCRIPTORS => "the server",
        _ => "this process",
    };
    let raise = system::how_to_raise_descriptor_limit(needed).map_or_else(String::new, |how| {
        format!("raise the hard limit ({how}), or ")
    });
    findings.obstacles.push(format!(
        "descriptors: {} {needed}, and the limit of {of} is {limit}: {raise}use --clients {}",
        count(clients, "client needs", "clients need"),
        limit.saturating_sub(reserved)
    ));
}

fn check_ports(plan: &Plan, range: Option<(u16, u16)>, findings: &mut Findings) {
    let (first, last) = range.unwrap_or(DYNAMIC_PORTS);
    let ports = u64::from(last.saturating_sub(first)) + 1;
    let sources = u64::from(plan.sources.count_for(plan.clients));
    let clients = u64::from(plan.clients);
    let sources_text = count(sources, "source address", "source addresses");
    let summary = format!("{ports} ports ({first} to {last}) on {sources_text}");
    if clients <= ports * sources {
        findings.ok.push(format!("ports: {summary}"));
        return;
    }
    let more_ports =
        system::HOW_TO_ADD_PORTS.map_or_else(String::new, |how| format!(" or ports ({how})"));
    findings.obstacles.push(format!(
        "ports: {} more than {summary}: add addresses (--source CIDR){more_ports}",
        count(clients, "client needs", "clients need")
    ));
}

/// Checks that each source address belongs to this machine, by a bind to it.
fn check_sources(plan: &Plan, findings: &mut Findings) {
    let SourceAddresses::Range(range) = plan.sources else {
        return;
    };
    let used = plan.sources.count_for(plan.clients);
    let obstacle = range.take(used as usize).find_map(|address| {
        if address.is_ipv4() != plan.to.is_ipv4() {
            let to = plan.to;
            return Some(format!("{address} and {to} must both be IPv4 or both IPv6"));
        }
        let error = UdpSocket::bind((address, 0)).err()?;
        let add = system::how_to_add_address(address)
            .map_or_else(String::new, |how| format!(" with {how}"));
        Some(format!(
            "{address} is not an address of this machine ({error}): choose another --source, or \
             add it{add}"
        ))
    });
    let available = range.size_hint().0;
    match obstacle {
        Some(obstacle) => findings.obstacles.push(format!("source: {obstacle}")),
        None => findings
            .ok
            .push(format!("source: {used} of {available} addresses")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn what_does_not_fit_is_reported_with_the_fix() {
        let has_limit = system::how_to_raise_descriptor_limit(1).is_some();
        let mut plan = plan();
        plan.clients = 1_000;
        let found = check(&plan, 1_016, None);
        assert!(found.obstacles.is_empty(), "{found}");
        let found = check(&plan, 1_015, None);
        for (advice, needs_limit) in [("ulimit -Hn 1016", true), ("--clients 999", false)] {
            let is_given = found.to_string().contains(advice);
            assert_eq!(is_given, has_limit || !needs_limit, "{found}");
        }
        assert!(found.to_string().contains("--clients 999"), "{found}");

        // The server that is started reserves more.
        let found = check(&plan, 1_049, Some(50));
        assert!(
            found.to_string().contains("limit of the server is 1049"),
            "{found}"
        );
        assert!(found.to_string().contains("--clients 999"), "{found}");
        let found = check(&plan, 1_050, Some(50));
        assert!(found.obstacles.is_empty(), "{found}");
        assert!(found.to_string().contains("reserves 50"), "{found}");

        let mut findings = Findings::default();
        check_ports(&plan, Some((10_000, 10_998)), &mut findings);
        assert!(findings.to_string().contains("--source"), "{findings}");
        // Where the range is unknown, a change of it would not be noticed.
        let is_known = system::ephemeral_ports().is_some();
        assert_eq!(findings.to_string().contains("sysctl"), is_known);
        plan.sources = "192.0.2.1/24".parse().expect("a network");
        let found = check(&plan, 20_000, None);
        // Wine binds to any address.
        let is_foreign = UdpSocket::bind("192.0.2.1:0").is_err();
        let is_found = found.to_string().contains("not an address of this machine");
        assert_eq!(is_found, is_foreign, "{found}");
        plan.sources = "::1".parse().expect("an address");
        assert!(
            check(&plan, 20_000, None)
                .to_string()
                .contains("must both be")
        );
    }
}
