//! `show`: one table each, sorted as people look things up.

use std::io::{self, Write};

use super::{
    duration::human,
    table::{
        Align::{Left, Right},
        Table, or_dash, with_codes, yes_or_why,
    },
};
use crate::control::protocol::{CloneEntry, InterfaceEntry, NextHopEntry, RouteEntry};

pub(super) fn clones(mut clones: Vec<CloneEntry>, out: &mut dyn Write) -> io::Result<()> {
    clones.sort_by_key(|clone| (clone.dst, clone.cpu));
    let mut table = Table::new([
        ("DESTINATION", Left),
        ("CPU", Right),
        ("PREFIX", Left),
        ("VIA", Left),
        ("DEV", Left),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("IDLE", Right),
        ("EXPIRES", Right),
        ("STATE", Left),
    ]);
    for clone in clones {
        table.row([
            clone.dst.to_string(),
            clone.cpu.to_string(),
            clone.prefix.to_string(),
            or_dash(clone.via),
            clone.dev,
            clone.packets.to_string(),
            clone.bytes.to_string(),
            human(clone.idle_seconds),
            human(clone.expires_in_seconds),
            clone.state,
        ]);
    }
    table.write("", out)
}

pub(super) fn routes(mut routes: Vec<RouteEntry>, out: &mut dyn Write) -> io::Result<()> {
    routes.sort_by(|a, b| (a.prefix, &a.table, a.metric).cmp(&(b.prefix, &b.table, b.metric)));
    let mut table = Table::new([
        ("PREFIX", Left),
        ("TABLE", Left),
        ("KIND", Left),
        ("VIA", Left),
        ("DEV", Left),
        ("METRIC", Right),
        ("MTU", Right),
        ("ACCELERATED", Left),
    ]);
    for route in routes {
        table.row([
            route.prefix.to_string(),
            route.table,
            route.kind,
            or_dash(route.via),
            or_dash(route.dev),
            route.metric.to_string(),
            or_dash(route.mtu),
            yes_or_why(route.accelerated, route.reason.as_slice()),
        ]);
    }
    table.write("", out)
}

pub(super) fn next_hops(mut next_hops: Vec<NextHopEntry>, out: &mut dyn Write) -> io::Result<()> {
    next_hops.sort_by_key(|next_hop| (next_hop.address, next_hop.id));
    let mut table = Table::new([
        ("ADDRESS", Left),
        ("DEV", Left),
        ("LLADDR", Left),
        ("NEIGHBOUR", Left),
        ("MTU", Right),
        ("ROUTES", Right),
        ("ID", Right),
        ("USABLE", Left),
    ]);
    for next_hop in next_hops {
        table.row([
            next_hop.address.to_string(),
            next_hop.dev,
            or_dash(next_hop.lladdr),
            next_hop.neighbour,
            next_hop.mtu.to_string(),
            next_hop.routes.to_string(),
            next_hop.id.to_string(),
            yes_or_why(next_hop.usable, next_hop.reason.as_slice()),
        ]);
    }
    table.write("", out)
}

pub(super) fn interfaces(
    mut interfaces: Vec<InterfaceEntry>,
    out: &mut dyn Write,
) -> io::Result<()> {
    interfaces.sort_by_key(|interface| interface.ifindex);
    interface_table(&interfaces).write("", out)
}

/// Also part of `status`.
pub(super) fn interface_table(interfaces: &[InterfaceEntry]) -> Table<9> {
    let mut table = Table::new([
        ("INTERFACE", Left),
        ("INDEX", Right),
        ("XDP", Left),
        ("INGRESS", Left),
        ("EGRESS", Left),
        ("INGRESS6", Left),
        ("EGRESS6", Left),
        ("ERRORS", Right),
        ("REASONS", Left),
    ]);
    let yes_or_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    for interface in interfaces {
        table.row([
            interface.name.clone(),
            interface.ifindex.to_string(),
            interface.mode.clone(),
            yes_or_no(interface.accelerating),
            yes_or_no(interface.egress),
            yes_or_no(interface.ipv6.accelerating),
            yes_or_no(interface.ipv6.egress),
            or_dash(interface.redirect_errors),
            reasons(interface),
        ]);
    }
    table
}

/// What stands against both families or IPv4, then what stands against IPv6 alone.
fn reasons(interface: &InterfaceEntry) -> String {
    let mut all = with_codes(&interface.codes, &interface.reasons);
    let of_ipv6 = with_codes(&interface.ipv6.codes, &interface.ipv6.reasons);
    let alone = of_ipv6.iter().filter(|why| !all.contains(why));
    let alone: Vec<_> = alone.map(|why| format!("IPv6: {why}")).collect();
    all.extend(alone);
    if all.is_empty() { "-".to_owned() } else { all.join("; ") }
}
