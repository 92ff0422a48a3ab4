//! What both routers are before a case begins.
//!
//! ```text
//!  e0 ──── p0 ┐        ┌ p2 ──── e2        port N: 10.0.N.1/24, fd00:0:0:N::1/64
//!             ├ router ┤                   hosts: bare ends, where frames are sent and captured
//!  e1 ──── p1 ┘        └ p3 ──── e3        172.16+N.0.0/16 and 2001:db8:f00N::/48, the sources, are behind .2 and ::2
//! ```

use crate::{
    case::PORTS,
    tables::{gateway, source_net},
};

/// The protocol number of routes that a case may have; those are removed for the next.
pub const PROTOCOL: u8 = 77;

/// Address of a port of the router.
#[must_use]
pub const fn port_mac(port: usize) -> [u8; 6] {
    [2, 0, 0, 0, port as u8, 1]
}

/// Link-layer address of host number `host` behind a port.
#[must_use]
pub const fn host_mac(port: usize, host: u8) -> [u8; 6] {
    [2, 0, 0, 1, port as u8, host]
}

/// Hosts behind each port that are neighbours of the router, with the state in which it knows them.
///
/// None that the kernel is about to ask (delay, probe): nobody answers, and whether a stale one has been asked for already
/// depends on whether a packet of the kernel's own, or the agent within its second, made it do so.
pub const NEIGHBOURS: [(u8, &str); 8] = [
    (2, "permanent"),
    (3, "permanent"),
    (4, "stale"),
    (5, "reachable"),
    (6, "reachable"),
    (7, "stale"),
    (20, "permanent"),
    (21, "permanent"),
];

/// Hosts that nobody knows; 9 has an entry that says so.
pub const UNKNOWN: [u8; 2] = [8, 9];

/// Settings of a router, for the kernel's answers to depend on nothing but what was sent: no limits of their rate, no
/// neighbour ever asked for, nothing reassembled, no state that changes with time.
#[must_use]
pub fn settings() -> Vec<(String, &'static str)> {
    let mut all: Vec<(String, &'static str)> = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/icmp_ratemask", "0"),
        ("net/ipv4/icmp_msgs_per_sec", "1000000000"),
        ("net/ipv4/ipfrag_low_thresh", "0"),
        ("net/ipv4/ipfrag_high_thresh", "0"),
        // Both routers pick the same member of a group.
        ("net/ipv4/fib_multipath_hash_seed", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv6/ip6frag_low_thresh", "0"),
        ("net/ipv6/ip6frag_high_thresh", "0"),
        ("net/ipv6/auto_flowlabels", "0"),
        ("net/ipv6/icmp/ratelimit", "0"),
        ("net/ipv6/icmp/ratemask", "\n"),
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/all/keep_addr_on_down", "1"),
        ("net/ipv6/conf/default/keep_addr_on_down", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv6/conf/default/router_solicitations", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for port in 0..PORTS {
        all.push((format!("net/ipv4/conf/p{port}/rp_filter"), "0"));
        for family in ["ipv4", "ipv6"] {
            for (name, value) in [
                ("mcast_solicit", "0"),
                ("ucast_solicit", "0"),
                ("app_solicit", "0"),
                ("delay_first_probe_time", "1000000"),
                ("gc_stale_time", "1000000"),
                ("base_reachable_time_ms", "1000000000"),
            ] {
                all.push((format!("net/{family}/neigh/p{port}/{name}"), value));
            }
        }
    }
    all
}

/// The value that a setting goes back to after a case that changed it.
#[must_use]
pub fn default_of(setting: &str) -> &'static str {
    let forwards = ["/forwarding", "/ip_forward", "/send_redirects"];
    if forwards.iter().any(|name| setting.ends_with(name)) { "1" } else { "0" }
}

/// Commands that bring a router back to where a case begins, whatever a case did: what `ip -batch` reads.
#[must_use]
pub fn reset() -> Vec<String> {
    let mut lines = vec![format!("route flush table all proto {PROTOCOL}")];
    for port in 0..PORTS {
        lines.push(format!("link set p{port} mtu 1500"));
        lines.push(format!("link set p{port} up"));
        lines.push(format!("neigh flush dev p{port} nud all"));
        for (host, state) in NEIGHBOURS {
            let [a, b, c, d, e, f] = host_mac(port, host);
            for address in [format!("10.0.{port}.{host}"), format!("fd00:0:0:{port}::{host}")] {
                lines.push(format!(
                    "neigh replace {address} lladdr {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} \
                     dev p{port} nud {state}"
                ));
            }
        }
        lines.push(format!("neigh replace 10.0.{port}.9 dev p{port} nud failed"));
        lines.push(format!("neigh replace fd00:0:0:{port}::9 dev p{port} nud failed"));
    }
    lines
}

/// The routes back to the sources, which `ip -batch` reads after [`reset`], with the interfaces up.
#[must_use]
pub fn ways_back() -> Vec<String> {
    let of = |port| {
        [false, true].map(|v6| {
            let (net, gateway) = (source_net(v6, port), gateway(v6, port, 2));
            format!("route replace {net} via {gateway} proto {PROTOCOL}")
        })
    };
    (0..PORTS).flat_map(of).collect()
}
