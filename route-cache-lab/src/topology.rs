//! Client – router – server, each a namespace, over veth pairs.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::{
    Namespace,
    link::{End, Mac, connect, offload},
};

/// Interface of every host.
const HOST_INTERFACE: &str = "eth0";

/// In which state the hosts hand over the checksums of what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksums {
    /// Complete, as of frames that come from a wire (transmit checksum offload off).
    #[default]
    Complete,
    /// Partial, as a local sender behind veth hands them over by default.
    Partial,
}

/// The router and two hosts.
#[derive(Debug)]
pub struct Lab {
    /// Has 10.0.1.1 on `left` and 10.0.2.1 on `right`, and forwards.
    pub router: Namespace,
    /// 10.0.1.2 behind `left`.
    pub client: Host,
    /// 10.0.2.2 behind `right`.
    pub server: Host,
    label: String,
    checksums: Checksums,
}

/// A host with one link to the router, its default route through it.
#[derive(Debug)]
pub struct Host {
    /// Where it lives.
    pub namespace: Namespace,
    /// Its interface: `eth0`.
    pub interface: &'static str,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its link-layer address.
    pub mac: Mac,
    /// The router's interface at the other end of the link.
    pub router_interface: String,
    /// The router's address on the link.
    pub gateway: Ipv4Addr,
    /// The router's link-layer address on the link.
    pub gateway_mac: Mac,
}

impl Lab {
    /// Builds it with complete checksums. `label` gets into the names.
    ///
    /// # Errors
    /// If a command fails; nothing is left behind then.
    pub fn new(label: &str) -> Result<Self> {
        Self::with_checksums(label, Checksums::Complete)
    }

    /// Builds it with hosts that send checksums in this state.
    ///
    /// # Errors
    /// If a command fails; nothing is left behind then.
    pub fn with_checksums(label: &str, checksums: Checksums) -> Result<Self> {
        let router = Namespace::create(&joined(label, "router"))?;
        for scope in ["all", "default"] {
            router.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
            router.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
        }
        router.sysctl("net/ipv4/ip_forward", "1")?;
        let client = Host::attach(&router, &joined(label, "client"), "left", "10.0.1.0/24")?;
        let server = Host::attach(&router, &joined(label, "server"), "right", "10.0.2.0/24")?;
        client.send_checksums(checksums)?;
        server.send_checksums(checksums)?;
        Ok(Self { router, client, server, label: label.to_owned(), checksums })
    }

    /// Adds a host behind a further interface of the router: host .2, router .1 of `network` (a /24).
    ///
    /// # Errors
    /// If a command fails; nothing is left behind then.
    pub fn add_host(&self, name: &str, router_interface: &str, network: &str) -> Result<Host> {
        let name = joined(&self.label, name);
        let host = Host::attach(&self.router, &name, router_interface, network)?;
        host.send_checksums(self.checksums)?;
        Ok(host)
    }

    /// Lets client, router and server learn each other's link-layer addresses, as the first packets would.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn resolve_neighbours(&self) -> Result<()> {
        let server = self.server.address.to_string();
        self.client.namespace.exec(&["ping", "-q", "-c", "1", "-W", "5", &server]).map(drop)
    }
}

impl Host {
    fn attach(
        router: &Namespace,
        name: &str,
        router_interface: &str,
        network: &str,
    ) -> Result<Self> {
        let (gateway, address) = addresses(network).with_context(|| {
            format!("\"{network}\" is not an IPv4 /24 network like 10.0.3.0/24")
        })?;
        // Readable in a capture: 02:…:01:01 is the router in 10.0.1.0/24, 02:…:01:02 the host.
        let link = gateway.octets()[2];
        let (gateway_mac, mac) = ([2, 0, 0, 0, link, 1], [2, 0, 0, 0, link, 2]);

        let namespace = Namespace::create(name)?;
        connect(
            End {
                namespace: router,
                interface: router_interface,
                mac: gateway_mac,
                address: &format!("{gateway}/24"),
            },
            End {
                namespace: &namespace,
                interface: HOST_INTERFACE,
                mac,
                address: &format!("{address}/24"),
            },
        )?;
        namespace.exec(&["ip", "route", "add", "default", "via", &gateway.to_string()])?;
        // A veth takes redirected frames only if its peer receives through NAPI.
        offload(&namespace, HOST_INTERFACE, "gro", true)?;
        Ok(Self {
            namespace,
            interface: HOST_INTERFACE,
            address,
            mac,
            router_interface: router_interface.to_owned(),
            gateway,
            gateway_mac,
        })
    }

    /// From now on sends checksums in this state.
    ///
    /// # Errors
    /// If `ethtool` refuses.
    pub fn send_checksums(&self, checksums: Checksums) -> Result<()> {
        offload(&self.namespace, self.interface, "tx", checksums == Checksums::Partial)
    }
}

/// The router's and the host's address in a /24.
fn addresses(network: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let network: Ipv4Addr = network.strip_suffix("/24")?.parse().ok()?;
    let [a, b, c, _] = network.octets();
    Some((Ipv4Addr::new(a, b, c, 1), Ipv4Addr::new(a, b, c, 2)))
}

fn joined(label: &str, role: &str) -> String {
    if label.is_empty() { role.to_owned() } else { format!("{label}-{role}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gives_router_and_host() {
        let expected = (Ipv4Addr::new(10, 0, 3, 1), Ipv4Addr::new(10, 0, 3, 2));
        assert_eq!(addresses("10.0.3.0/24"), Some(expected));
        assert_eq!(addresses("10.0.3.0/16"), None);
        assert_eq!(addresses("right2"), None);
    }
}
