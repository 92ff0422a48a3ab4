//! The table: every row of the checklist, as cases, or where else it is held.

mod aside;
mod header;
mod ipv6;
mod link;
pub mod net;
mod next_hop;
mod route;

use crate::case::Case;

/// All cases, in the order of the rows.
pub fn all() -> Vec<&'static Case> {
    let tables =
        [link::CASES, header::CASES, route::CASES, next_hop::CASES, aside::CASES, ipv6::CASES];
    let mut cases: Vec<_> = tables.into_iter().flatten().collect();
    cases.sort_by_key(|case| ROWS.iter().position(|(row, _)| *row == case.row));
    cases
}

/// Every row: its number, and what it is about.
pub const ROWS: [(&str, &str); 49] = [
    ("1", "destination MAC is not ours"),
    ("2", "link-layer broadcast or multicast"),
    ("3", "IP version or header length wrong"),
    ("4", "bad IPv4 header checksum"),
    ("5", "length beyond the frame; padding"),
    ("6", "IPv4 options"),
    ("7", "TTL or hop limit run out"),
    ("8", "larger than the MTU, may not be fragmented"),
    ("9", "larger than the MTU, may be fragmented"),
    ("10", "MTU of route and device"),
    ("11", "fragments"),
    ("12", "martian source"),
    ("13", "martian destination"),
    ("14", "directed broadcast, all-zeros address"),
    ("15", "multicast"),
    ("16", "local delivery"),
    ("17", "rp_filter"),
    ("18", "forwarding off"),
    ("19", "policy rules"),
    ("20", "VRF"),
    ("21", "multipath"),
    ("22", "dead or linkdown next hops"),
    ("23", "blackhole, unreachable, prohibit, throw"),
    ("23a", "a route that cannot be accelerated shadows"),
    ("24", "next-hop objects"),
    ("25", "IPv4 via an IPv6 next hop"),
    ("26", "IPv6 addresses of special scope"),
    ("27", "IPv6 extension headers"),
    ("28", "link-local next hop"),
    ("29", "encapsulation"),
    ("30", "more and less specific routes"),
    ("31", "neighbour not known"),
    ("32", "neighbour stale"),
    ("33", "neighbour's MAC changes"),
    ("34", "VLAN on ingress"),
    ("35", "VLAN device on egress"),
    ("36", "bridge, bond, macvlan, tunnel"),
    ("37", "egress takes no redirected frames"),
    ("38", "egress down or gone"),
    ("39", "merged frames in generic mode"),
    ("39a", "partial checksums"),
    ("40", "netfilter and tc on the path"),
    ("41", "XFRM policies"),
    ("42", "out of the ingress interface"),
    ("43", "counters"),
    ("43a", "interface moved to another namespace"),
    ("44", "agent dead, stopped or stuck"),
    ("45", "other ethertypes"),
    ("46", "networks that are proxied"),
];

/// Rows that no frame sent twice can show, and what holds them.
pub const ELSEWHERE: [(&str, &str); 3] = [
    ("39", "generic mode has to be asked for: tests `refusals`, `attaching`"),
    (
        "43",
        "every case compares the kernel's counters: moved alike by what passes, not at all by what XDP forwards",
    ),
    ("43a", "test `row_43a_an_interface_that_moves_to_another_namespace_is_let_go`"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_case_or_is_held_elsewhere() {
        let with_cases: BTreeSet<_> = all().iter().map(|case| case.row).collect();
        let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(row, _)| *row).collect();
        let rows: BTreeSet<_> = ROWS.iter().map(|(row, _)| *row).collect();
        assert_eq!(with_cases.intersection(&elsewhere).count(), 0);
        assert_eq!(&with_cases | &elsewhere, rows);
    }

    #[test]
    fn no_case_is_there_twice_and_each_sends_something() {
        let mut names = BTreeSet::new();
        for case in all() {
            assert!(names.insert((case.row, case.name, case.family.name())), "{}", case.name);
            assert!(!(case.frames)().is_empty(), "{}", case.name);
            assert!(case.setup.is_empty() || !case.undo.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn the_document_names_every_case() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md");
        let document = std::fs::read_to_string(path).unwrap();
        for case in all() {
            let line = format!("| {} | {} | {} |", case.row, case.name, case.family.name());
            assert!(document.contains(&line), "`cargo xtask conformance --document`: {line}");
        }
    }
}
