//! The topology, the same for all cases.
//!
//! ```text
//!  client 10.0.1.2 ──── left  ┐        ┌ right  ──── 10.0.2.2 server, next hop of 10.9.0.0/16
//!                             ├ router ┤
//!  second 10.0.4.2 ──── left2 ┘        └ right2 ──── 10.0.3.2 other
//! ```
//!
//! IPv6: `fd00:0:0:N::/64` on the link of 10.0.N.0/24, the router ::1, the host ::2; 2001:db8:9::/48 via the server. Hosts
//! only send and capture; all neighbours are permanent, so that nothing is sent but by a case.

use anyhow::{Context, Result};
use route_cache_lab::{Agent, Host, Lab, Namespace, RawSocket, link::readable, wait_until};

use crate::{case::Station, run::PATIENCE};

/// The namespaces.
pub struct Place {
    lab: Lab,
    second: Host,
    other: Host,
}

impl Place {
    /// Builds it.
    pub fn new() -> Result<Self> {
        let lab = Lab::new("")?;
        let second = lab.add_host("second", "left2", "10.0.4.0/24")?;
        let other = lab.add_host("other", "right2", "10.0.3.0/24")?;
        let place = Self { lab, second, other };
        place.settle_router()?;
        for station in Station::ALL {
            place.settle(place.host(station))?;
        }
        // The kernel does not answer from a tentative address but from another, and one that came before DAD was off stays
        // tentative for up to two seconds (`net/ipv6/addrconf.c`).
        wait_until("the router's addresses to be no longer tentative", PATIENCE, || {
            place
                .router()
                .exec(&["ip", "-6", "address", "show", "tentative"])
                .is_ok_and(|told| told.is_empty())
        })?;
        // Others on the client's link: the kernel limits some answers by their destination.
        for host in 100..120 {
            let mac = readable(place.lab.client.mac);
            place.command(&format!(
                "ip neigh replace 10.0.1.{host} lladdr {mac} dev left nud permanent"
            ))?;
        }
        for route in
            ["route add 10.9.0.0/16 via 10.0.2.2", "route add 2001:db8:9::/48 via fd00:0:0:2::2"]
        {
            place.command(&format!("ip {route}"))?;
        }
        Ok(place)
    }

    /// The router.
    pub fn router(&self) -> &Namespace {
        &self.lab.router
    }

    /// A host.
    pub fn host(&self, station: Station) -> &Host {
        match station {
            Station::Client => &self.lab.client,
            Station::Second => &self.second,
            Station::Server => &self.lab.server,
            Station::Other => &self.other,
        }
    }

    /// A socket on a host's interface.
    pub fn socket(&self, station: Station) -> Result<RawSocket> {
        let host = self.host(station);
        RawSocket::open(&host.namespace, host.interface)
    }

    /// An agent on all interfaces of the router.
    pub fn start_agent(&self, binary: &std::path::Path, arguments: &[&str]) -> Result<Agent> {
        let mut setup = Agent::setup(binary)?
            .arguments(&["--netns", self.router().name()])
            .arguments(arguments);
        for station in Station::ALL {
            setup = setup.arguments(&["--interface", &self.host(station).router_interface]);
        }
        setup.start()
    }

    /// Runs a command of a case: in the router, or in the host that it names.
    pub fn command(&self, command: &str) -> Result<()> {
        if let Some(command) = command.strip_prefix("- ") {
            return self.command(command).or(Ok(()));
        }
        let named = Station::ALL.into_iter().find_map(|station| {
            Some((station, command.strip_prefix(station.name())?.strip_prefix(": ")?))
        });
        let (namespace, command) = match named {
            Some((station, command)) => (&self.host(station).namespace, command),
            None => (self.router(), command),
        };
        if let Some((name, value)) =
            command.strip_prefix("sysctl ").and_then(|setting| setting.split_once('='))
        {
            return namespace.sysctl(name, value);
        }
        namespace.exec(&words(command)).map(drop)
    }

    fn settle_router(&self) -> Result<()> {
        for (name, value) in [
            // Every packet that deserves an ICMP error gets it.
            ("net/ipv4/icmp_ratemask", "0"),
            ("net/ipv6/icmp/ratelimit", "0"),
            // The label of an answer depends on more than what it answers.
            ("net/ipv6/auto_flowlabels", "0"),
            ("net/ipv6/conf/all/disable_ipv6", "0"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/all/keep_addr_on_down", "1"),
            ("net/ipv6/conf/default/keep_addr_on_down", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ] {
            self.router().sysctl(name, value)?;
        }
        Ok(())
    }

    fn settle(&self, host: &Host) -> Result<()> {
        host.namespace.sysctl("net/ipv4/ip_forward", "0")?;
        let device = host.router_interface.as_str();
        // "default" comes too late for a device that exists.
        self.router().sysctl(&format!("net/ipv6/conf/{device}/accept_dad"), "0")?;
        self.router().sysctl(&format!("net/ipv6/conf/{device}/disable_ipv6"), "0")?;
        // A veth that may leave a tag beside the frame stands aside for the tagged ones.
        for feature in ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"] {
            route_cache_lab::link::offload(self.router(), device, feature, false)?;
        }
        let link = host.gateway.octets()[2];
        let (mac, gateway_mac) = (readable(host.mac), readable(host.gateway_mac));
        for command in [
            format!("ip -6 address add fd00:0:0:{link}::1/64 dev {device} nodad"),
            format!("ip neigh replace {} lladdr {mac} dev {device} nud permanent", host.address),
            format!("ip neigh replace fd00:0:0:{link}::2 lladdr {mac} dev {device} nud permanent"),
        ] {
            self.command(&command).context("cannot set the router up")?;
        }
        let neighbour = format!(
            "ip neigh replace {} lladdr {gateway_mac} dev {} nud permanent",
            host.gateway, host.interface
        );
        host.namespace.exec(&neighbour.split(' ').collect::<Vec<_>>()).map(drop)
    }
}

/// The words of a command; those between quotes are one.
pub fn words(command: &str) -> Vec<&str> {
    let parts = command.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_between_quotes_are_one() {
        assert_eq!(super::words("tc  a '1,6 0' b"), ["tc", "a", "1,6 0", "b"]);
    }
}
