//! `get`: what happens to a packet, told from the destination to the clones.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{
    duration::human,
    table::{Align::Left, Table, printable},
};
use crate::control::protocol::{
    CloneEntry, Explanation, KernelAnswer, MemberEntry, NextHopEntry, RouteEntry, StepEntry,
};

pub(super) fn write(explanation: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    let Explanation { dst, from, iif, outcome, reason, route, next_hop, members, .. } = explanation;
    let mut asked = vec![("destination", dst.to_string())];
    asked.extend(from.map(|from| ("source", from.to_string())));
    asked.extend(iif.clone().map(|iif| ("interface", iif)));
    write_lines(&asked, out)?;
    writeln!(out)?;
    step_table(&explanation.steps).write("", out)?;
    writeln!(out)?;
    let verdict = match outcome.starts_with("forwarded_") {
        true => format!("forwarded by XDP ({outcome})"),
        false => format!("left to the kernel ({outcome})"),
    };
    let mut lines = vec![
        ("verdict", verdict),
        ("because", reason.clone()),
        ("route", route.as_ref().map_or_else(none, describe_route)),
    ];
    if members.is_empty() {
        lines.push(("next hop", next_hop.as_ref().map_or_else(none, describe_next_hop)));
    }
    let headings = std::iter::once("next hops").chain(std::iter::repeat(""));
    lines.extend(headings.zip(members.iter().map(describe_member)));
    let mut clones: Vec<_> = explanation.clones.iter().collect();
    clones.sort_by_key(|clone| clone.cpu);
    if clones.is_empty() {
        lines.push(("clones", none()));
    }
    let headings = std::iter::once("clones").chain(std::iter::repeat(""));
    lines.extend(headings.zip(clones.into_iter().map(describe_clone)));
    let KernelAnswer { question, answer, error, agreement, reason } = &explanation.kernel;
    lines.push(("asked", question.clone()));
    lines.push(("kernel", answer.as_ref().or(error.as_ref()).cloned().unwrap_or_else(none)));
    lines.push(("compared", format!("{agreement}: {reason}")));
    write_lines(&lines, out)
}

fn write_lines(lines: &[(&str, String)], out: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|(heading, text)| writeln!(out, "{heading:<11}  {}", printable(text)))
}

/// What the data plane looks at, in its order.
fn step_table(steps: &[StepEntry]) -> Table<3> {
    let mut table = Table::new([("STEP", Left), ("RESULT", Left), ("WHY", Left)]);
    for StepEntry { step, result, codes, reason, .. } in steps {
        let codes =
            if codes.is_empty() { String::new() } else { format!("{}: ", codes.join(", ")) };
        table.row([step.clone(), result.clone(), format!("{codes}{reason}")]);
    }
    table
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
