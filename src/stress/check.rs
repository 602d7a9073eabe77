//! Before a run: whether this machine can carry the plan out.
//!
//! **Owns** the arithmetic of descriptors, ports and queues. **Must never touch** the server:
//! nothing is connected here. **Invariant**: what will not fit is told before it is tried, with
//! the exact command that makes it fit.

use super::conductor::CONNECTS_AT_ONCE;
use super::connect::Sources;
use super::plan::Plan;
use crate::net::system;
use std::fmt;
use std::net::UdpSocket;

/// Descriptors that are not for clients: standard streams, poll, signals, a child's pipes, the
/// files of the figures.
const RESERVED_DESCRIPTORS: u64 = 16;

/// Ports where the system does not tell its range (RFC 6335, dynamic ports).
const DYNAMIC_PORTS: (u16, u16) = (49_152, 65_535);

/// What was found, one line a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What fits.
    pub fine: Vec<String>,
    /// What may disturb.
    pub warnings: Vec<String>,
    /// What does not fit: the run cannot be what was asked for.
    pub obstacles: Vec<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [
            ("ok", &self.fine),
            ("warning", &self.warnings),
            ("cannot", &self.obstacles),
        ];
        let mut lines = groups
            .iter()
            .flat_map(|(mark, lines)| lines.iter().map(move |line| format!("{mark:8}{line}")));
        if let Some(first) = lines.next() {
            formatter.write_str(&first)?;
        }
        lines.try_for_each(|line| write!(formatter, "\n{line}"))
    }
}

/// Checks `plan` against a process that may have `descriptors`.
#[must_use]
pub fn check(plan: &Plan, descriptors: u64) -> Findings {
    let mut findings = Findings::default();
    check_descriptors(plan, descriptors, &mut findings);
    check_ports(plan, system::ephemeral_ports(), &mut findings);
    check_sources(plan, &mut findings);
    let server = "the server's own backlog and descriptors are its own affair";
    match system::backlog_limit() {
        Some(limit) if limit < CONNECTS_AT_ONCE => findings.warnings.push(format!(
            "backlog: this system keeps at most {limit} connections waiting, and {CONNECTS_AT_ONCE} \
             connect at once: `sysctl -w net.core.somaxconn=4096`, or a lower --connect-rate"
        )),
        Some(limit) => findings.fine.push(format!(
            "backlog: {CONNECTS_AT_ONCE} connect at once, this system lets {limit} wait; {server}"
        )),
        None => {}
    }
    findings
}

fn check_descriptors(plan: &Plan, limit: u64, findings: &mut Findings) {
    let clients = u64::from(plan.clients);
    let needed = clients + RESERVED_DESCRIPTORS;
    if needed <= limit {
        findings.fine.push(format!(
            "descriptors: {clients} clients and {RESERVED_DESCRIPTORS} more, of {limit}"
        ));
        return;
    }
    findings.obstacles.push(format!(
        "descriptors: {clients} clients need {needed}, and this process may have {limit}: raise the \
         hard limit (as root: `ulimit -Hn {needed}` in this shell, or `prlimit \
         --nofile={needed}:{needed} --pid $$`), or ask for --clients {}",
        limit.saturating_sub(RESERVED_DESCRIPTORS)
    ));
}

fn check_ports(plan: &Plan, range: Option<(u16, u16)>, findings: &mut Findings) {
    let (first, last) = range.unwrap_or(DYNAMIC_PORTS);
    let ports = u64::from(last.saturating_sub(first)) + 1;
    let sources = u64::from(plan.sources.used_by(plan.clients));
    let clients = u64::from(plan.clients);
    let summary = format!("{ports} ports ({first} to {last}) on {sources} source addresses");
    if clients <= ports * sources {
        findings.fine.push(format!("ports: {summary}"));
        return;
    }
    findings.obstacles.push(format!(
        "ports: {clients} clients do not fit {summary}: give more addresses (--source CIDR), or \
         more ports (`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`)"
    ));
}

/// Each source address must be this machine's: binding to it tells.
fn check_sources(plan: &Plan, findings: &mut Findings) {
    let Sources::Row { first, count } = plan.sources else {
        return;
    };
    let used = plan.sources.used_by(plan.clients);
    for number in 0..used {
        let client = number * super::connect::CLIENTS_PER_SOURCE;
        let Some(address) = plan.sources.of(client) else {
            continue;
        };
        if let Err(error) = UdpSocket::bind((address, 0)) {
            findings.obstacles.push(format!(
                "source: {address} is no address of this machine ({error}): --source takes ones \
                 that are; `ip address add {address} dev lo` adds it"
            ));
            return;
        }
    }
    if plan.to.is_ipv4() != first.is_ipv4() {
        findings.obstacles.push(format!(
            "source: {first} and {} are not of one kind: IPv4, or IPv6, for both",
            plan.to
        ));
        return;
    }
    findings.fine.push(format!(
        "source: {used} of {count} addresses from {first} on"
    ));
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_the_fix() {
        let mut plan = plan();
        plan.clients = 1_000;
        let found = check(&plan, 1_016);
        assert!(found.obstacles.is_empty(), "{found}");
        let found = check(&plan, 1_015);
        assert!(found.to_string().contains("ulimit -Hn 1016"), "{found}");
        assert!(found.to_string().contains("--clients 999"), "{found}");

        let mut findings = Findings::default();
        check_ports(&plan, Some((10_000, 10_998)), &mut findings);
        assert!(findings.to_string().contains("--source"), "{findings}");
        plan.sources = "192.0.2.1/24".parse().expect("a network");
        let found = check(&plan, 20_000);
        assert!(
            found.to_string().contains("no address of this machine"),
            "{found}"
        );
        plan.sources = "::1".parse().expect("an address");
        assert!(check(&plan, 20_000).to_string().contains("not of one kind"));
    }
}
