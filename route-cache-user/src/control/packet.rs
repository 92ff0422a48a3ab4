//! The packet that `get` asks about.

use std::net::IpAddr;

use anyhow::{Result, bail};

use super::action::interface;
use crate::fib::family::IpFamily;

/// A packet: as much of it as was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Where it goes.
    pub(crate) dst: IpAddr,
    /// Where it comes from.
    pub(crate) from: Option<IpAddr>,
    /// The interface it comes in by.
    pub(crate) iif: Option<String>,
}

impl Packet {
    /// From the words of the operator.
    pub(crate) fn new(dst: IpAddr, from: Option<IpAddr>, iif: Option<&str>) -> Result<Self> {
        if let Some(from) = from
            && IpFamily::of(from) != IpFamily::of(dst)
        {
            let (family, other) = (IpFamily::of(dst).title(), IpFamily::of(from).title());
            bail!("{dst} is {family} and {from} is {other}: a packet has addresses of one family");
        }
        Ok(Self { dst, from, iif: iif.map(interface).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_addresses_of_one_family_and_a_possible_interface() {
        let packet = |dst: &str, from: Option<&str>, iif| {
            let from = from.map(|from| from.parse().expect("an address"));
            Packet::new(dst.parse().expect("an address"), from, iif)
        };
        assert!(packet("192.0.2.1", None, None).is_ok());
        assert!(packet("2001:db8::1", Some("fe80::1"), Some("eth0")).is_ok());
        let mixed = packet("192.0.2.1", Some("2001:db8::1"), None).expect_err("two families");
        assert!(mixed.to_string().contains("192.0.2.1 is IPv4 and 2001:db8::1 is IPv6"), "{mixed}");
        let name = packet("192.0.2.1", None, Some("no/name")).expect_err("no name");
        assert!(name.to_string().contains("cannot be the name of an interface"), "{name}");
    }
}
