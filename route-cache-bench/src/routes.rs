//! The routes that are looked up: made ones, or a real full table.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::random::Random;

/// Gateways that the routes are spread over.
pub(crate) const GATEWAYS: u32 = 16;

/// A family of addresses. An address is a number in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Bits of an address.
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// What stands behind the names of the bench's programs.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "",
            Self::V6 => "6",
        }
    }

    /// An address for people and for `ip`.
    pub(crate) fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }

    /// Its words of 32 bits in network byte order, as they stand in the list and in the tries; IPv4 has one.
    pub(crate) fn words(self, number: u128) -> [u32; 4] {
        match self {
            Self::V4 => [(number as u32).to_be(), 0, 0, 0],
            Self::V6 => [96, 64, 32, 0].map(|shift| ((number >> shift) as u32).to_be()),
        }
    }

    /// Words in the list for an address.
    pub(crate) const fn word_count(self) -> usize {
        self.bits() as usize / 32
    }

    /// The host bits of a prefix.
    fn host_bits(self, len: u8) -> u128 {
        let all = u128::MAX >> (128 - self.bits());
        all.checked_shr(len.into()).unwrap_or_default()
    }

    /// Not in the networks of the bench's own links, and such that it may be a destination.
    fn is_foreign_unicast(self, address: u128) -> bool {
        match self {
            Self::V4 => {
                let first = address >> 24;
                (1..224).contains(&first) && first != 10 && first != 127
            }
            Self::V6 => address >> 125 == 1 && address >> 112 != OWN6,
        }
    }

    /// A length and a random network for it, in the proportions of the Internet.
    fn made(self, random: &mut Random) -> (u128, u8) {
        match self {
            // Three in five are /24, the others /16 to /23.
            Self::V4 => {
                let len = if random.below(5) < 3 { 24 } else { 16 + random.below(8) as u8 };
                (u128::from(random.next() as u32), len)
            }
            // Half are /48, the others /29 to /47, all in 2000::/3.
            Self::V6 => {
                let len = if random.below(2) == 0 { 48 } else { 29 + random.below(19) as u8 };
                (1 << 125 | u128::from(random.next() >> 3) << 64, len)
            }
        }
    }
}

/// The first 16 bits of the bench's own IPv6 networks.
pub(crate) const OWN6: u128 = 0x3ffe;

/// Which routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RouteSet {
    /// A default route and nothing else.
    One,
    /// So many made ones, and a default route.
    Made(u32),
    /// The prefixes of Debian's libloc-database that have an origin AS, and a default route.
    Full(Family),
}

/// A route: a prefix and the gateway it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    /// Network, in host byte order.
    pub(crate) network: u128,
    /// Bits of it that count.
    pub(crate) len: u8,
    /// Number of the gateway.
    pub(crate) gateway: u32,
}

/// Reads the database with Debian's own module, for which the Debian interpreter is needed.
const EXPORT: &str = r#"
import location, sys
database = location.Database("/var/lib/location/database.db")
lines = [f"{n} {n.asn}" for n in database.networks if n.asn]
sys.stdout.write("\n".join(lines) + "\n")
"#;

impl RouteSet {
    /// What people call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::One => "1 route".to_owned(),
            Self::Made(n) if n % 1000 == 0 => format!("{} K routes", n / 1000),
            Self::Made(n) => format!("{n} routes"),
            Self::Full(Family::V4) => "full table".to_owned(),
            Self::Full(Family::V6) => "full table of IPv6".to_owned(),
        }
    }

    /// Of which family they are.
    pub(crate) const fn family(self) -> Family {
        match self {
            Self::One | Self::Made(_) => Family::V4,
            Self::Full(family) => family,
        }
    }

    /// The routes. The default route is the first.
    pub(crate) fn routes(self, seed: u64) -> Result<Vec<Route>> {
        let mut routes = vec![Route { network: 0, len: 0, gateway: 0 }];
        match self {
            Self::One => {}
            Self::Made(n) => routes.extend(made(self.family(), n as usize, seed)),
            Self::Full(family) => routes.extend(full(family)?),
        }
        Ok(routes)
    }
}

fn made(family: Family, n: usize, seed: u64) -> Vec<Route> {
    let mut random = Random::new(seed);
    let mut routes = std::collections::BTreeMap::new();
    while routes.len() < n {
        let (network, len) = family.made(&mut random);
        let network = network & !family.host_bits(len);
        if family.is_foreign_unicast(network) {
            routes.insert((network, len), random.below(GATEWAYS as usize) as u32);
        }
    }
    routes.into_iter().map(|((network, len), gateway)| Route { network, len, gateway }).collect()
}

fn full(family: Family) -> Result<Vec<Route>> {
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
    let routes: Vec<Route> = text.lines().filter_map(|line| parse(family, line)).collect();
    if routes.len() < 100_000 {
        bail!(
            "the full table has only {} {family:?} prefixes: is libloc-database whole?",
            routes.len()
        );
    }
    Ok(routes)
}

/// `192.0.2.0/24 64500`: the next hop is a hash of the AS.
fn parse(family: Family, line: &str) -> Option<Route> {
    let (prefix, asn) = line.split_once(' ')?;
    let (network, len) = prefix.split_once('/')?;
    let network = match (family, network.parse().ok()?) {
        (Family::V4, IpAddr::V4(address)) => u128::from(address.to_bits()),
        (Family::V6, IpAddr::V6(address)) => address.to_bits(),
        _ => return None,
    };
    let asn: u32 = asn.parse().ok()?;
    let gateway = (asn.wrapping_mul(0x9e37_79b1) >> 16) % GATEWAYS;
    let route = Route { network, len: len.parse().ok()?, gateway };
    family.is_foreign_unicast(network).then_some(route)
}

/// Addresses inside the prefixes, all different.
pub(crate) fn destinations(
    family: Family,
    routes: &[Route],
    n: usize,
    random: &mut Random,
) -> Vec<u128> {
    let mut seen = std::collections::HashSet::with_capacity(n);
    let mut list = Vec::with_capacity(n);
    while list.len() < n {
        let route = routes[random.below(routes.len())];
        let host = u128::from(random.next()) << 64 | u128::from(random.next());
        let address = route.network | host & family.host_bits(route.len);
        if family.is_foreign_unicast(address) && seen.insert(address) {
            list.push(address);
        }
    }
    list
}

/// For `ip -batch`.
pub(crate) fn batch(family: Family, routes: &[Route], gateway: impl Fn(u32) -> IpAddr) -> String {
    let mut text = String::with_capacity(routes.len() * 48);
    for route in routes {
        let (network, len) = (family.address(route.network), route.len);
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
        let list = destinations(Family::V4, &[route], 200, &mut Random::new(1));
        assert_eq!(list.len(), 200);
        assert!(list.iter().all(|address| address >> 8 == 0x00c0_0002));
        let route = Route { network: 0x2a00_1234 << 96, len: 32, gateway: 1 };
        let list = destinations(Family::V6, &[route], 200, &mut Random::new(1));
        assert!(list.iter().all(|address| address >> 96 == 0x2a00_1234));
    }

    #[test]
    fn a_line_of_the_database_is_a_route() {
        let route = parse(Family::V4, "192.0.2.0/24 64500").unwrap();
        assert_eq!((route.network, route.len), (0xc000_0200, 24));
        assert_eq!(parse(Family::V4, "10.0.0.0/8 1"), None);
        assert_eq!(
            batch(Family::V4, &[route], |_| [10, 2, 0, 9].into()),
            "route add 192.0.2.0/24 via 10.2.0.9\n"
        );
        let route = parse(Family::V6, "2a00:1234::/32 64500").unwrap();
        assert_eq!((route.network, route.len), (0x2a00_1234 << 96, 32));
        assert_eq!(parse(Family::V4, "2a00:1234::/32 64500"), None);
        assert_eq!(
            batch(Family::V6, &[route], |_| Ipv6Addr::LOCALHOST.into()),
            "route add 2a00:1234::/32 via ::1\n"
        );
    }
}
