//! `get`: what happens to a packet, told from the destination to the clones.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{duration::human, table::printable};
use crate::control::protocol::{CloneEntry, Explanation, MemberEntry, NextHopEntry, RouteEntry};

pub(super) fn write(explanation: Explanation, out: &mut dyn Write) -> io::Result<()> {
    let Explanation { dst, outcome, reason, route, next_hop, members, mut clones } = explanation;
    let verdict = match outcome.starts_with("forwarded_") {
        true => format!("forwarded by XDP ({outcome})"),
        false => format!("left to the kernel ({outcome})"),
    };
    let mut lines = vec![
        ("destination", dst.to_string()),
        ("verdict", verdict),
        ("because", reason),
        ("route", route.as_ref().map_or_else(none, describe_route)),
    ];
    if members.is_empty() {
        lines.push(("next hop", next_hop.as_ref().map_or_else(none, describe_next_hop)));
    }
    let headings = std::iter::once("next hops").chain(std::iter::repeat(""));
    lines.extend(headings.zip(members.iter().map(describe_member)));
    clones.sort_by_key(|clone| clone.cpu);
    if clones.is_empty() {
        lines.push(("clones", none()));
    }
    let headings = std::iter::once("clones").chain(std::iter::repeat(""));
    lines.extend(headings.zip(clones.iter().map(describe_clone)));
    lines.iter().try_for_each(|(heading, text)| writeln!(out, "{heading:<11}  {}", printable(text)))
}

fn none() -> String {
    "none".to_owned()
}

/// As `ip route` says it.
fn describe_route(route: &RouteEntry) -> String {
    let mut text = String::new();
    if route.kind != "unicast" {
        let _ = write!(text, "{} ", route.kind);
    }
    let _ = write!(text, "{}", route.prefix);
    if let Some(via) = route.via {
        let _ = write!(text, " via {via}");
    }
    if let Some(dev) = &route.dev {
        let _ = write!(text, " dev {dev}");
    }
    let _ = write!(text, " table {} metric {}", route.table, route.metric);
    if let Some(mtu) = route.mtu {
        let _ = write!(text, " mtu {mtu}");
    }
    if !route.accelerated {
        let reason = route.reason.as_deref().unwrap_or("no reason known");
        let _ = write!(text, ", not accelerated: {reason}");
    }
    text
}

/// As `ip neigh` says it.
fn describe_next_hop(next_hop: &NextHopEntry) -> String {
    let mut text = format!("{} dev {}", next_hop.address, next_hop.dev);
    if let Some(lladdr) = &next_hop.lladdr {
        let _ = write!(text, " lladdr {lladdr}");
    }
    let _ = write!(text, " {}, mtu {}", next_hop.neighbour, next_hop.mtu);
    if let (Some(vlan), Some(port)) = (next_hop.vlan, &next_hop.port) {
        let _ = write!(text, ", VLAN {vlan} on {port}");
    }
    if !next_hop.usable {
        let reason = next_hop.reason.as_deref().unwrap_or("no reason known");
        let _ = write!(text, ", not usable: {reason}");
    }
    text
}

/// As `ip route` says it, with the share of the flows.
fn describe_member(member: &MemberEntry) -> String {
    let mut text = String::new();
    if let Some(address) = member.address {
        let _ = write!(text, "{address} ");
    }
    let MemberEntry { dev, weight, share, .. } = member;
    let _ = write!(text, "dev {dev} weight {weight}, {share} of the flows");
    if let Some(reason) = &member.reason {
        let _ = write!(text, ", not usable: {reason}");
    }
    text
}

fn describe_clone(clone: &CloneEntry) -> String {
    format!(
        "cpu {}: {} packets, {} bytes, mtu {}, idle {}, expires in {}, {}",
        clone.cpu,
        clone.packets,
        clone.bytes,
        clone.mtu,
        human(clone.idle_seconds),
        human(clone.expires_in_seconds),
        clone.state,
    )
}
