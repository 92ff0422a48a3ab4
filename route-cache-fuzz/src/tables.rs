//! Random tables, and random changes of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    case::PORTS,
    known::Net,
    random::Random,
    rules::Rules,
    topology::{self, PROTOCOL, host_mac},
};

/// What the tables of a case have in them, for frames to be made that meet it.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Prefixes of routes.
    pub nets: Vec<Net>,
    /// Those by a gateway, or with objects.
    pub reached: Vec<Net>,
    /// Addresses with a neighbour of their own.
    pub hosts: Vec<(bool, u128)>,
    /// Addresses of the router beyond those that it always has.
    pub own: Vec<(bool, u128)>,
    /// MTUs that something has.
    pub mtus: Vec<usize>,
    /// Next-hop objects that were made: number, family, port.
    objects: Vec<(u32, bool, usize)>,
    /// Those that are groups.
    groups: Vec<u32>,
    /// Ports that are down.
    down: Vec<usize>,
    /// Policy rules.
    rules: Rules,
}

impl Tables {
    /// The commands of a set-up.
    pub fn set_up(&mut self, random: &mut Random) -> Vec<String> {
        self.mtus.push(1500);
        let mut commands = Vec::new();
        if random.percent(30) {
            commands.extend(self.objects(random));
        }
        if random.percent(25) {
            commands.extend(self.address(random));
        }
        if random.percent(25) {
            commands.push(self.mtu(random));
        }
        if random.percent(12) {
            commands.push(setting(random));
        }
        if random.percent(20) {
            commands.extend(way_back(random));
        }
        let count = random.pick(&[4, 8, 16, 30]);
        for _ in 0..count {
            commands.extend(self.route(random, "add"));
        }
        if random.percent(15) {
            for _ in 0..=random.below(2) {
                commands.extend(self.rules.add(random));
            }
        }
        commands
    }

    /// The commands of a change.
    pub fn change(&mut self, random: &mut Random) -> Vec<String> {
        let mut commands = Vec::new();
        for _ in 0..=random.below(3) {
            match random.below(100) {
                0..30 => {
                    let verb = random.pick(&["add", "replace", "append", "prepend"]);
                    commands.extend(self.route(random, verb));
                }
                30..50 => {
                    if let Some(net) = self.a_net(random) {
                        commands.push(format!("ip route del {}", written(net)));
                    }
                }
                50..68 => commands.push(neighbour(random)),
                68..72 => commands.push(self.mtu(random)),
                72..76 => commands.push(setting(random)),
                76..80 => commands.extend(self.address(random)),
                80..83 => commands.extend(self.unaddress(random)),
                83..90 => commands.extend(self.change_object(random)),
                90..94 => commands.push(self.link(random)),
                94 => commands.extend(self.rules.add(random)),
                95 => commands.extend(self.rules.remove(random)),
                _ => {
                    if let Some(net) = self.a_net(random) {
                        commands.extend(self.route_to(random, net, "replace"));
                    }
                }
            }
        }
        commands
    }

    fn a_net(&self, random: &mut Random) -> Option<Net> {
        (!self.nets.is_empty()).then(|| random.pick(&self.nets))
    }

    /// A route to a prefix inside, around or beside another one, or anywhere.
    fn route(&mut self, random: &mut Random, verb: &str) -> Vec<String> {
        let v6 = random.percent(45);
        let bits = Net::bits(v6);
        let near = self.a_net(random).filter(|net| net.v6 == v6);
        let net = match near {
            Some(net) if random.percent(25) => {
                let len = net.len + random.below(usize::from(bits - net.len) + 1) as u8;
                let inside = net.base | random.wide() & (net.last() - net.base);
                Net::of(v6, inside, len)
            }
            Some(net) if random.percent(20) => {
                Net::of(v6, net.base, net.len.saturating_sub(1 + random.below(9) as u8).max(7))
            }
            Some(net) if random.percent(15) => {
                let step = 1_u128.checked_shl(u32::from(bits - net.len)).unwrap_or(0);
                Net::of(v6, net.base ^ step, net.len)
            }
            _ if random.percent(8) => Net::of(v6, 0, 0),
            _ => {
                let (base, span, lens): (u128, u128, &[u8]) = if v6 {
                    let lens = &[
                        24, 32, 36, 40, 44, 48, 48, 52, 56, 60, 64, 64, 64, 65, 96, 120, 127, 128,
                    ];
                    (0x2001_0db8_u128 << 96, u128::MAX >> 36, lens)
                } else {
                    let lens =
                        &[8, 9, 12, 15, 16, 16, 17, 20, 22, 24, 24, 24, 25, 28, 30, 31, 32, 32];
                    (0x0a08_0000, 0x0003_ffff, lens)
                };
                Net::of(v6, base | random.wide() & span, random.pick(lens))
            }
        };
        self.nets.push(net);
        self.route_to(random, net, verb)
    }

    fn route_to(&mut self, random: &mut Random, net: Net, verb: &str) -> Vec<String> {
        let to = written(net);
        let mut more = format!(" proto {PROTOCOL}");
        if random.percent(10) {
            let mtu = random.pick(&[400, 576, 1000, 1280, 1400, 1499, 1500, 9000]);
            self.mtus.push(mtu);
            let lock = if random.percent(35) { "lock " } else { "" };
            more += &format!(" mtu {lock}{mtu}");
        }
        if random.percent(12) {
            more += &format!(" metric {}", random.pick(&[1, 10, 100]));
        }
        if !net.v6 && random.percent(3) {
            more += " tos 0x10";
        }
        let port = random.below(PORTS);
        let mut commands = Vec::new();
        let route = match random.below(100) {
            0..66 => {
                self.reached.push(net);
                format!("{to} {}{more}", via(random, net.v6, port))
            }
            66..71 => {
                for _ in 0..3 {
                    let host = net.base | random.wide() & (net.last() - net.base);
                    self.hosts.push((net.v6, host));
                    let state = random.pick(&["permanent", "permanent", "stale", "reachable"]);
                    commands.push(format!(
                        "ip neigh replace {} lladdr {} dev p{port} nud {state}",
                        address(net.v6, host),
                        mac(port, 30 + random.below(9) as u8),
                    ));
                }
                format!("{to} dev p{port}{more}")
            }
            71..82 => {
                let kinds = ["blackhole", "unreachable", "prohibit", "throw"];
                format!("{} {to} proto {PROTOCOL}", random.pick(&kinds))
            }
            82..89 => {
                let mut hops = String::new();
                for _ in 0..2 + random.below(2) {
                    let (port, host) = (random.below(PORTS), random.pick(&[2, 3, 20]));
                    let gateway = gateway(net.v6, port, host);
                    hops += &format!(" nexthop via {gateway} dev p{port}");
                    if random.percent(30) {
                        hops += &format!(" weight {}", 1 + random.below(4));
                    }
                }
                format!("{to}{more}{hops}")
            }
            89..96 => {
                let of_family: Vec<_> =
                    self.objects.iter().filter(|(_, v6, _)| *v6 == net.v6).copied().collect();
                if of_family.is_empty() {
                    format!("{to} {}{more}", via(random, net.v6, port))
                } else {
                    format!("{to} nhid {}{more}", random.pick(&of_family).0)
                }
            }
            96..98 if !net.v6 => {
                format!("{to} via inet6 {} dev p{port}{more}", gateway(true, port, host(random)))
            }
            98 if net.len > 15 => format!("local {to} dev p{port} proto {PROTOCOL}"),
            99 if !net.v6 && net.len > 15 => format!("broadcast {to} dev p{port} proto {PROTOCOL}"),
            _ => {
                // A gateway that no connected network has.
                let far = if net.v6 { "2001:db8:ffff::9" } else { "192.0.2.9" };
                commands.push(format!(
                    "ip neigh replace {far} lladdr {} dev p{port} nud permanent",
                    mac(port, 40)
                ));
                format!("{to} via {far} dev p{port} onlink{more}")
            }
        };
        commands.push(format!("ip route {verb} {route}"));
        commands
    }

    /// Next-hop objects and groups of them.
    fn objects(&mut self, random: &mut Random) -> Vec<String> {
        let mut commands = Vec::new();
        for _ in 0..2 + random.below(3) {
            let (v6, port) = (random.percent(40), random.below(PORTS));
            let id = 100 + self.objects.len() as u32;
            let way = match random.below(10) {
                0 => "blackhole".to_owned(),
                _ => via(random, v6, port),
            };
            let family = if way == "blackhole" && v6 { "-6 " } else { "" };
            // A blackhole needs to be told its family, which a line of a batch cannot.
            if family.is_empty() {
                commands.push(format!("ip nexthop add id {id} {way}"));
                self.objects.push((id, v6, port));
            }
        }
        if random.percent(60) {
            let (v6, id) = (random.percent(40), 100 + self.objects.len() as u32);
            if let Some(members) = self.members(random, v6) {
                commands.push(format!("ip nexthop add id {id} group {members}"));
                self.objects.push((id, v6, 0));
                self.groups.push(id);
            }
        }
        commands
    }

    /// Objects of a family for a group, with weights; groups are not among them.
    fn members(&self, random: &mut Random, v6: bool) -> Option<String> {
        let fit = |(id, of, _): &(u32, bool, usize)| {
            (*of == v6 && !self.groups.contains(id)).then_some(*id)
        };
        let fitting: Vec<u32> = self.objects.iter().filter_map(fit).collect();
        if fitting.is_empty() {
            return None;
        }
        let mut members: Vec<String> = Vec::new();
        for _ in 0..2 + random.below(2) {
            let weight = random.pick(&["", "", ",2", ",5"]);
            members.push(format!("{}{weight}", random.pick(&fitting)));
        }
        Some(members.join("/"))
    }

    fn change_object(&mut self, random: &mut Random) -> Option<String> {
        if self.objects.is_empty() {
            return None;
        }
        let (id, v6, _) = random.pick(&self.objects);
        Some(if random.percent(25) {
            format!("ip nexthop del id {id}")
        } else if self.groups.contains(&id) {
            format!("ip nexthop replace id {id} group {}", self.members(random, v6)?)
        } else {
            let port = random.below(PORTS);
            format!("ip nexthop replace id {id} {}", via(random, v6, port))
        })
    }

    /// One more address of the router, most often with a network.
    fn address(&mut self, random: &mut Random) -> Option<String> {
        let (v6, port, n) = (random.percent(40), random.below(PORTS), self.own.len() as u128);
        // In a place of their own, where the comparison knows them as the router's.
        if v6 {
            let host = (0xfd00_u128 << 112) | ((0x99 + n) << 64) | 1;
            self.own.push((true, host));
            self.nets.push(Net::of(true, host, 64));
            let len = random.pick(&[64, 128, 120]);
            return Some(format!("ip address add {}/{len} dev p{port} nodad", address(true, host)));
        }
        let host = 0x0a63_0001 + (n << 8);
        self.own.push((false, host));
        self.nets.push(Net::of(false, host, 24));
        let len = random.pick(&[24, 32, 30]);
        Some(format!("ip address add {}/{len} dev p{port}", address(false, host)))
    }

    fn unaddress(&self, random: &mut Random) -> Option<String> {
        if self.own.is_empty() {
            return None;
        }
        let (v6, host) = random.pick(&self.own);
        let len = random.pick(&[24, 32, 64, 128]);
        let port = random.below(PORTS);
        Some(format!("ip address del {}/{len} dev p{port}", address(v6, host)))
    }

    fn mtu(&mut self, random: &mut Random) -> String {
        let mtu = random.pick(&[1280, 1300, 1400, 1499, 1500]);
        self.mtus.push(mtu);
        format!("ip link set p{} mtu {mtu}", random.below(PORTS))
    }

    fn link(&mut self, random: &mut Random) -> String {
        if let Some(port) = self.down.pop() {
            return format!("ip link set p{port} up");
        }
        let port = random.below(PORTS);
        self.down.push(port);
        format!("ip link set p{port} down")
    }
}

/// A host behind a port.
fn host(random: &mut Random) -> u8 {
    if random.percent(92) {
        random.pick(&topology::NEIGHBOURS).0
    } else {
        random.pick(&topology::UNKNOWN)
    }
}

fn via(random: &mut Random, v6: bool, port: usize) -> String {
    format!("via {} dev p{port}", gateway(v6, port, host(random)))
}

/// The address of a host behind a port.
#[must_use]
pub fn gateway(v6: bool, port: usize, host: u8) -> String {
    if v6 { format!("fd00:0:0:{port}::{host}") } else { format!("10.0.{port}.{host}") }
}

/// The network of the sources behind a port.
#[must_use]
pub fn source_net(v6: bool, port: usize) -> String {
    if v6 { format!("2001:db8:f00{port}::/48") } else { format!("172.{}.0.0/16", 16 + port) }
}

fn mac(port: usize, host: u8) -> String {
    route_cache_lab::link::readable(host_mac(port, host))
}

fn neighbour(random: &mut Random) -> String {
    let (v6, port) = (random.percent(40), random.below(PORTS));
    let address = gateway(v6, port, host(random));
    if random.percent(15) {
        return format!("ip neigh del {address} dev p{port}");
    }
    let state = random.pick(&["permanent", "stale", "reachable", "noarp", "failed"]);
    let mac = mac(port, 50 + random.below(9) as u8);
    format!("ip neigh replace {address} lladdr {mac} dev p{port} nud {state}")
}

/// What the ports ask of the way back to the source: of all, or of some.
fn way_back(random: &mut Random) -> Vec<String> {
    if random.percent(30) {
        return vec![format!("sysctl net/ipv4/conf/all/rp_filter={}", 1 + random.below(2))];
    }
    (0..PORTS)
        .map(|port| format!("sysctl net/ipv4/conf/p{port}/rp_filter={}", random.below(3)))
        .collect()
}

fn setting(random: &mut Random) -> String {
    let port = random.below(PORTS);
    match random.below(12) {
        0 | 8 => format!("sysctl net/ipv4/conf/p{port}/rp_filter={}", random.below(3)),
        1 | 9 => format!("sysctl net/ipv4/conf/all/rp_filter={}", random.below(3)),
        10 => format!("sysctl net/ipv4/fib_multipath_hash_policy={}", random.below(3)),
        11 => format!("sysctl net/ipv6/fib_multipath_hash_policy={}", random.below(3)),
        2 | 3 => format!("sysctl net/ipv4/conf/p{port}/forwarding={}", random.below(2)),
        4 => format!("sysctl net/ipv6/conf/p{port}/forwarding={}", random.below(2)),
        5 => format!("sysctl net/ipv4/conf/p{port}/send_redirects={}", random.below(2)),
        6 => format!("sysctl net/ipv4/conf/p{port}/accept_local={}", random.below(2)),
        _ => format!("sysctl net/ipv4/conf/p{port}/bc_forwarding={}", random.below(2)),
    }
}

/// An address, as people write it.
#[must_use]
pub fn address(v6: bool, address: u128) -> String {
    if v6 {
        Ipv6Addr::from(address).to_string()
    } else {
        Ipv4Addr::from(address as u32).to_string()
    }
}

fn written(net: Net) -> String {
    format!("{}/{}", address(net.v6, net.base), net.len)
}
