//! What the kernel of a namespace counts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::Namespace;

/// A reading of `/proc/net/snmp`, `netstat` and `snmp6`: what the IP stack of a namespace has done so far.
///
/// `Ip ForwDatagrams` counts the packets that the kernel itself has forwarded (`OutForwDatagrams` in its source).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snmp(BTreeMap<(String, String), u64>);

impl Snmp {
    /// Reads the counters of a namespace.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn read(namespace: &Namespace) -> Result<Self> {
        // Not /proc/net: that shows the namespace of the process's first thread.
        let file = |name: &str| namespace.read(&format!("/proc/thread-self/net/{name}"));
        let mut snmp = Self::parse(&file("snmp")?);
        snmp.0.append(&mut Self::parse(&file("netstat")?).0);
        snmp.0.append(&mut Self::parse_ipv6(&file("snmp6").unwrap_or_default()).0);
        Ok(snmp)
    }

    /// All counters, by protocol and name: `("Ip", "InHdrErrors")`, `("Ip6", "InHdrErrors")`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.0.iter().map(|((protocol, name), &count)| (protocol.as_str(), name.as_str(), count))
    }

    /// A counter by protocol and name, as in `get("Ip", "ForwDatagrams")`; 0 if the kernel does not have it.
    #[must_use]
    pub fn get(&self, protocol: &str, name: &str) -> u64 {
        self.0.get(&(protocol.to_owned(), name.to_owned())).copied().unwrap_or_default()
    }

    /// Packets that the kernel has forwarded.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.get("Ip", "ForwDatagrams")
    }

    /// Packets refused for their header: checksum, version, TTL run out.
    #[must_use]
    pub fn header_errors(&self) -> u64 {
        self.get("Ip", "InHdrErrors")
    }

    /// TCP segments and UDP datagrams received with a wrong checksum.
    #[must_use]
    pub fn checksum_errors(&self) -> u64 {
        // TCP's are of both families.
        ["Tcp", "Udp", "Udp6"].map(|protocol| self.get(protocol, "InCsumErrors")).iter().sum()
    }

    fn parse(text: &str) -> Self {
        let mut counters = BTreeMap::new();
        // Lines come in pairs of names and values, each behind the name of the protocol.
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let (Some((protocol, names)), Some((_, values))) =
                (pair[0].split_once(": "), pair[1].split_once(": "))
            else {
                continue;
            };
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                // MaxConn is -1 and a setting, not a counter.
                if let Ok(value) = value.parse() {
                    counters.insert((protocol.to_owned(), name.to_owned()), value);
                }
            }
        }
        Self(counters)
    }

    /// Of lines like `Ip6InHdrErrors   0`; without IPv6 there is no such file.
    fn parse_ipv6(text: &str) -> Self {
        let mut counters = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(count))) = (words.next(), words.next().map(str::parse)) else {
                continue;
            };
            if let Some((protocol, name)) = name.split_once('6') {
                counters.insert((format!("{protocol}6"), name.to_owned()), count);
            }
        }
        Self(counters)
    }
}

/// What an interface has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InterfaceCount {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received and thrown away.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that were to be sent and were thrown away, by a veth because its peer's ring was full.
    pub tx_dropped: u64,
}

impl InterfaceCount {
    /// Reads the counters of an interface.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn read(namespace: &Namespace, interface: &str) -> Result<Self> {
        let text = namespace.read("/proc/thread-self/net/dev")?;
        Self::parse(&text, interface)
            .with_context(|| format!("there is no interface {interface} in {}", namespace.name()))
    }

    fn parse(text: &str, interface: &str) -> Option<Self> {
        let values = text.lines().find_map(|line| {
            let (name, values) = line.trim_start().split_once(':')?;
            (name == interface).then_some(values)
        })?;
        let values: Vec<u64> = values.split_whitespace().filter_map(|v| v.parse().ok()).collect();
        Some(Self {
            rx_packets: *values.get(1)?,
            rx_dropped: *values.get(3)?,
            tx_packets: *values.get(9)?,
            tx_dropped: *values.get(11)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_of_names_and_values() {
        let snmp = Snmp::parse(
            "Ip: Forwarding ForwDatagrams InHdrErrors\nIp: 1 42 3\n\
             Tcp: MaxConn InCsumErrors\nTcp: -1 2\nUdp: InCsumErrors\nUdp: 5\n",
        );
        assert_eq!((snmp.forwarded(), snmp.header_errors(), snmp.checksum_errors()), (42, 3, 7));
        assert_eq!(snmp.get("Tcp", "MaxConn"), 0);
    }

    #[test]
    fn reads_the_lines_of_ipv6() {
        let snmp = Snmp::parse_ipv6("Ip6InHdrErrors   \t7\nIcmp6OutType134 2\n");
        assert_eq!((snmp.get("Ip6", "InHdrErrors"), snmp.get("Icmp6", "OutType134")), (7, 2));
    }

    #[test]
    fn reads_one_interface_of_the_table() {
        let text = "Inter-|   Receive\n face |bytes packets\n    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  \
                    eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0\n";
        let expected =
            InterfaceCount { rx_packets: 10, rx_dropped: 2, tx_packets: 20, tx_dropped: 4 };
        assert_eq!(InterfaceCount::parse(text, "eth0"), Some(expected));
        assert_eq!(InterfaceCount::parse(text, "eth1"), None);
    }
}
