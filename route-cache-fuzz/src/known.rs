//! What the commands of a case say about what may come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    case::Case,
    compare::{is_own4, is_own6},
    topology::UNKNOWN,
};

/// What a case has in it, at whatever time.
#[derive(Debug, Clone, Default)]
pub struct Known {
    groups: Vec<Group>,
    /// Prefixes that are the router's own by a route of type local.
    local: Vec<Net>,
}

/// A prefix with several next hops.
#[derive(Debug, Clone)]
struct Group {
    net: Net,
    /// The ports that they are behind.
    ports: BTreeSet<usize>,
    /// One of them may have no link-layer address, or an MTU of its own, so that a packet's fate hangs on which is picked.
    is_uneven: bool,
}

/// Network of either family, addresses of IPv4 in the low 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    /// Whether it is of IPv6.
    pub v6: bool,
    /// Its first address.
    pub base: u128,
    /// Length of the prefix.
    pub len: u8,
}

impl Net {
    /// Bits of an address.
    #[must_use]
    pub const fn bits(v6: bool) -> u8 {
        if v6 { 128 } else { 32 }
    }

    /// Reads `10.8.0.0/16` and the like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, len) = text.split_once('/')?;
        let len = len.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(address) if len <= 32 => {
                Some(Self::of(false, u128::from(u32::from(address)), len))
            }
            IpAddr::V6(address) if len <= 128 => Some(Self::of(true, u128::from(address), len)),
            _ => None,
        }
    }

    /// The network of an address.
    #[must_use]
    pub const fn of(v6: bool, address: u128, len: u8) -> Self {
        Self { v6, base: address & !Self::hosts(v6, len), len }
    }

    /// The bits of the hosts in it.
    const fn hosts(v6: bool, len: u8) -> u128 {
        let free = Self::bits(v6) - len;
        if free == 128 { u128::MAX } else { (1 << free) - 1 }
    }

    /// Its last address.
    #[must_use]
    pub const fn last(self) -> u128 {
        self.base | Self::hosts(self.v6, self.len)
    }

    /// Whether an address is in it.
    #[must_use]
    pub const fn contains(self, v6: bool, address: u128) -> bool {
        self.v6 == v6 && self.base <= address && address <= self.last()
    }
}

impl Known {
    /// Of a case.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        let mut known = Self::default();
        let (objects, silent) = (Objects::of(case), Silent::of(case));
        let resized: BTreeSet<usize> = commands(case, "ip link set ")
            .filter(|words| words.contains(&"mtu") || words.contains(&"down"))
            .filter_map(|words| words[0].strip_prefix('p')?.parse().ok())
            .collect();
        // IPv6 routes of one prefix become one by several next hops, also if they come one by one.
        let mut single6: BTreeMap<Net, (usize, Members<'_>)> = BTreeMap::new();
        // Those of tables that rules lead to have one next hop each.
        let of_rules = |words: &Vec<&str>| words.contains(&"table");
        for words in commands(case, "ip route ").filter(|words| !of_rules(words)) {
            let Some(net) = words.get(1).and_then(|word| Net::parse(word)) else {
                if let [_, "local", net, ..] = words[..] {
                    known.local.extend(Net::parse(net));
                }
                continue;
            };
            if net.v6 && words.contains(&"via") {
                let (count, members) = single6.entry(net).or_default();
                *count += 1;
                members.add(&words);
            }
            let members = match behind(&words, "nhid") {
                Some(id) => objects.of_group(id),
                None => words.contains(&"nexthop").then(|| Members::of(&words)),
            };
            known.groups.extend(members.map(|members| members.group(net, &silent, &resized)));
        }
        for (net, (_, members)) in single6.into_iter().filter(|(_, (count, _))| *count > 1) {
            known.groups.push(members.group(net, &silent, &resized));
        }
        known
    }

    fn groups_of(&self, v6: bool, destination: u128) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.net.contains(v6, destination))
    }

    /// Whether a frame to a prefix with a group went to a neighbour behind one of its ports.
    pub(crate) fn has_member(&self, v6: bool, destination: u128, port: usize, mac: &[u8]) -> bool {
        mac.starts_with(&[2, 0, 0, 1, port as u8])
            && self.groups_of(v6, destination).any(|group| group.ports.contains(&port))
    }

    /// Whether a packet may go by a group.
    pub(crate) fn is_group(&self, v6: bool, destination: u128) -> bool {
        self.groups_of(v6, destination).next().is_some()
    }

    /// Whether it may go by a group whose members may not all have a link-layer address and the same MTU.
    pub(crate) fn is_uneven(&self, v6: bool, destination: u128) -> bool {
        self.groups_of(v6, destination).any(|group| group.is_uneven)
    }

    /// Whether this is an IPv4 address of the router.
    pub(crate) fn is_own4(&self, address: &[u8]) -> bool {
        is_own4(address) || self.is_local(false, address)
    }

    /// The same of IPv6.
    pub(crate) fn is_own6(&self, address: &[u8]) -> bool {
        is_own6(address) || self.is_local(true, address)
    }

    fn is_local(&self, v6: bool, address: &[u8]) -> bool {
        let number = address.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        self.local.iter().any(|net| net.contains(v6, number))
    }
}

/// The members of a group.
#[derive(Debug, Default)]
struct Members<'a> {
    ports: BTreeSet<usize>,
    gateways: BTreeSet<&'a str>,
}

impl<'a> Members<'a> {
    /// Those that words name.
    fn of(words: &[&'a str]) -> Self {
        let mut members = Self::default();
        members.add(words);
        members
    }

    /// The group that they are, to a prefix; `resized` are ports whose MTU may change, or whose neighbours may go.
    fn group(self, net: Net, silent: &Silent<'_>, resized: &BTreeSet<usize>) -> Group {
        let Self { ports, gateways } = self;
        let is_resized = ports.len() > 1 && !ports.is_disjoint(resized);
        let is_uneven = is_resized || gateways.iter().any(|gateway| silent.has(gateway));
        Group { net, ports, is_uneven }
    }

    fn add(&mut self, words: &[&'a str]) {
        self.ports.extend(words.iter().filter_map(|word| {
            let port: usize = word.strip_prefix('p')?.parse().ok()?;
            Some(port)
        }));
        let gateways = words.windows(2).filter(|pair| pair[0] == "via").map(|pair| pair[1]);
        self.gateways.extend(gateways);
    }
}

/// Next-hop objects.
#[derive(Debug, Default)]
struct Objects<'a> {
    /// What single ones lead to.
    single: BTreeMap<&'a str, Members<'a>>,
    /// The objects in groups.
    groups: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Objects<'a> {
    fn of(case: &'a Case) -> Self {
        let mut objects = Self::default();
        for words in commands(case, "ip nexthop ") {
            let Some(id) = behind(&words, "id") else { continue };
            objects.single.entry(id).or_default().add(&words);
            if let Some(group) = behind(&words, "group") {
                let ids = group.split('/').filter_map(|member| member.split(',').next());
                objects.groups.entry(id).or_default().extend(ids);
            }
        }
        objects
    }

    /// What the members of a group lead to; nothing if it is none.
    fn of_group(&self, id: &str) -> Option<Members<'a>> {
        let mut all = Members::default();
        for single in self.groups.get(id)?.iter().filter_map(|id| self.single.get(id)) {
            all.ports.extend(&single.ports);
            all.gateways.extend(&single.gateways);
        }
        Some(all)
    }
}

/// Neighbours that may have no link-layer address.
#[derive(Debug)]
struct Silent<'a>(BTreeSet<&'a str>);

impl<'a> Silent<'a> {
    fn of(case: &'a Case) -> Self {
        let is_silenced =
            |words: &Vec<&str>| words[0] == "del" || behind(words, "nud") == Some("failed");
        let address = |words: Vec<&'a str>| words.get(1).copied();
        Self(commands(case, "ip neigh ").filter(is_silenced).filter_map(address).collect())
    }

    fn has(&self, gateway: &str) -> bool {
        let host = gateway.rsplit(['.', ':']).next().and_then(|host| host.parse().ok());
        self.0.contains(gateway) || host.is_some_and(|host| UNKNOWN.contains(&host))
    }
}

/// The words of the commands that begin so.
fn commands<'a>(case: &'a Case, prefix: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let of = case.commands().filter_map(move |command| command.strip_prefix(prefix));
    of.map(|command| command.split_whitespace().collect::<Vec<_>>()).filter(|w| !w.is_empty())
}

/// The word behind another one.
fn behind<'a>(words: &[&'a str], word: &str) -> Option<&'a str> {
    words.iter().skip_while(|other| **other != word).nth(1).copied()
}
