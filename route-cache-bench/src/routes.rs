//! The routes that are looked up: made ones, or a real full table.

use std::{fmt::Write as _, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::random::Random;

/// Gateways that the routes are spread over.
pub(crate) const GATEWAYS: u32 = 16;

/// Which routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RouteSet {
    /// A default route and nothing else.
    One,
    /// So many made ones, and a default route.
    Made(u32),
    /// The IPv4 prefixes of Debian's libloc-database that have an origin AS, and a default route.
    Full,
}

/// A route: a prefix and the gateway it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    /// Network, in host byte order.
    pub(crate) network: u32,
    /// Bits of it that count.
    pub(crate) len: u8,
    /// Number of the gateway.
    pub(crate) gateway: u32,
}

/// Reads the database with Debian's own module, for which the Debian interpreter is needed.
const EXPORT: &str = r#"
import location, sys
database = location.Database("/var/lib/location/database.db")
lines = [f"{n} {n.asn}" for n in database.networks if n.asn and ":" not in str(n)]
sys.stdout.write("\n".join(lines) + "\n")
"#;

impl RouteSet {
    /// What people call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::One => "1 route".to_owned(),
            Self::Made(n) if n % 1000 == 0 => format!("{} K routes", n / 1000),
            Self::Made(n) => format!("{n} routes"),
            Self::Full => "full table".to_owned(),
        }
    }

    /// The routes. The default route is the first.
    pub(crate) fn routes(self, seed: u64) -> Result<Vec<Route>> {
        let mut routes = vec![Route { network: 0, len: 0, gateway: 0 }];
        match self {
            Self::One => {}
            Self::Made(n) => routes.extend(made(n as usize, seed)),
            Self::Full => routes.extend(full()?),
        }
        Ok(routes)
    }
}

/// Prefixes of the lengths that the Internet has: three in five are /24, the others /16 to /23.
fn made(n: usize, seed: u64) -> Vec<Route> {
    let mut random = Random::new(seed);
    let mut routes = std::collections::BTreeMap::new();
    while routes.len() < n {
        let len = if random.below(5) < 3 { 24 } else { 16 + random.below(8) as u8 };
        let network = random.next() as u32 & mask(len);
        if is_foreign_unicast(network) {
            routes.insert((network, len), random.below(GATEWAYS as usize) as u32);
        }
    }
    routes.into_iter().map(|((network, len), gateway)| Route { network, len, gateway }).collect()
}

fn full() -> Result<Vec<Route>> {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", EXPORT])
        .output()
        .context("cannot start /usr/bin/python3, which reads the full table")?;
    if !output.status.success() {
        bail!(
            "the full table cannot be read (apt-get install libloc-database python3-location): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout).context("the full table is not text")?;
    let routes: Vec<Route> = text.lines().filter_map(parse).collect();
    if routes.len() < 100_000 {
        bail!("the full table has only {} IPv4 prefixes: is libloc-database whole?", routes.len());
    }
    Ok(routes)
}

/// `192.0.2.0/24 64500`: the next hop is a hash of the AS.
fn parse(line: &str) -> Option<Route> {
    let (prefix, asn) = line.split_once(' ')?;
    let (network, len) = prefix.split_once('/')?;
    let network = u32::from(network.parse::<Ipv4Addr>().ok()?);
    let asn: u32 = asn.parse().ok()?;
    let gateway = (asn.wrapping_mul(0x9e37_79b1) >> 16) % GATEWAYS;
    let route = Route { network, len: len.parse().ok()?, gateway };
    is_foreign_unicast(network).then_some(route)
}

/// Not in the networks of the bench's own links, and such that it may be a destination.
fn is_foreign_unicast(address: u32) -> bool {
    let first = address >> 24;
    (1..224).contains(&first) && first != 10 && first != 127
}

fn mask(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or_default()
}

/// Addresses inside the prefixes, all different.
pub(crate) fn destinations(routes: &[Route], n: usize, random: &mut Random) -> Vec<u32> {
    let mut seen = std::collections::HashSet::with_capacity(n);
    let mut list = Vec::with_capacity(n);
    while list.len() < n {
        let route = routes[random.below(routes.len())];
        let address = route.network | random.next() as u32 & !mask(route.len);
        if is_foreign_unicast(address) && seen.insert(address) {
            list.push(address);
        }
    }
    list
}

/// For `ip -batch`.
pub(crate) fn batch(routes: &[Route], gateway: impl Fn(u32) -> Ipv4Addr) -> String {
    let mut text = String::with_capacity(routes.len() * 48);
    for route in routes {
        let (network, len) = (Ipv4Addr::from(route.network), route.len);
        // Writing to a string does not fail.
        let _ = writeln!(text, "route add {network}/{len} via {}", gateway(route.gateway));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_routes_are_as_many_as_wanted_all_different_and_the_same_for_a_seed() {
        let routes = RouteSet::Made(1000).routes(3).unwrap();
        let different: std::collections::BTreeSet<_> =
            routes.iter().map(|r| (r.network, r.len)).collect();
        assert_eq!((routes.len(), different.len()), (1001, 1001));
        assert_eq!(routes, RouteSet::Made(1000).routes(3).unwrap());
        assert_ne!(routes, RouteSet::Made(1000).routes(4).unwrap());
    }

    #[test]
    fn destinations_lie_inside_the_prefixes() {
        let route = Route { network: 0xc000_0200, len: 24, gateway: 1 };
        let list = destinations(&[route], 200, &mut Random::new(1));
        assert_eq!(list.len(), 200);
        assert!(list.iter().all(|address| address & 0xffff_ff00 == 0xc000_0200));
    }

    #[test]
    fn a_line_of_the_database_is_a_route() {
        let route = parse("192.0.2.0/24 64500").unwrap();
        assert_eq!((route.network, route.len), (0xc000_0200, 24));
        assert_eq!(parse("10.0.0.0/8 1"), None);
        assert_eq!(
            batch(&[route], |_| [10, 2, 0, 9].into()),
            "route add 192.0.2.0/24 via 10.2.0.9\n"
        );
    }
}
