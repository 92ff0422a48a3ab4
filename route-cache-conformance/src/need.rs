//! What cases need of the kernel.

use std::collections::BTreeMap;

use anyhow::Result;
use route_cache_lab::Namespace;

use crate::place::words;

/// Something that not every kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// VLAN devices.
    Vlan,
    /// VRF devices.
    Vrf,
    /// Bridges.
    Bridge,
    /// Bonds.
    Bond,
    /// macvlan devices.
    Macvlan,
    /// VXLAN devices.
    Vxlan,
    /// IP-in-IP tunnels.
    Ipip,
    /// Segment routing.
    Seg6,
    /// XFRM policies.
    Xfrm,
    /// nftables.
    Nftables,
    /// NAT and conntrack by nftables.
    Nat,
    /// tc filters that are BPF programs.
    TcBpf,
}

impl Need {
    const ALL: [Self; 12] = [
        Self::Vlan,
        Self::Vrf,
        Self::Bridge,
        Self::Bond,
        Self::Macvlan,
        Self::Vxlan,
        Self::Ipip,
        Self::Seg6,
        Self::Xfrm,
        Self::Nftables,
        Self::Nat,
        Self::TcBpf,
    ];

    /// A command that works where the kernel has it; `near` is a veth device.
    const fn probe(self) -> &'static str {
        match self {
            Self::Vlan => "ip link add link near name p type vlan id 7",
            Self::Vrf => "ip link add name p type vrf table 77",
            Self::Bridge => "ip link add name p type bridge",
            Self::Bond => "ip link add name p type bond",
            Self::Macvlan => "ip link add link near name p type macvlan mode bridge",
            Self::Vxlan => "ip link add name p type vxlan id 7 dstport 4789 dev near",
            Self::Ipip => "ip link add name p type ipip local 10.0.0.1 remote 10.0.0.2",
            Self::Seg6 => {
                "ip -6 route add 2001:db8:77::/48 encap seg6 mode encap segs 2001:db8::1 dev near"
            }
            Self::Xfrm => "ip xfrm policy add dir fwd src 10.0.0.0/24 dst 10.1.0.0/24 action block",
            Self::Nftables => "nft add table ip probe",
            Self::Nat => {
                "nft add table ip p ; add chain ip p c { type nat hook postrouting priority 100 ; } ; add rule ip p c ct state new masquerade"
            }
            Self::TcBpf => "tc filter add dev near ingress bpf direct-action bytecode '1,6 0 0 2'",
        }
    }

    /// As in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vlan => "VLAN devices",
            Self::Vrf => "VRF devices",
            Self::Bridge => "bridges",
            Self::Bond => "bonds",
            Self::Macvlan => "macvlan devices",
            Self::Vxlan => "VXLAN devices",
            Self::Ipip => "IP-in-IP tunnels",
            Self::Seg6 => "segment routing",
            Self::Xfrm => "XFRM policies",
            Self::Nftables => "nftables",
            Self::Nat => "NAT by nftables",
            Self::TcBpf => "tc filters of BPF",
        }
    }
}

/// What this kernel refuses, and in which words.
#[derive(Debug)]
pub struct Lacking(BTreeMap<Need, String>);

impl Lacking {
    /// Tries everything in a namespace of its own.
    pub fn probe() -> Result<Self> {
        let mut lacking = BTreeMap::new();
        for need in Need::ALL {
            let namespace = Namespace::create("probe")?;
            for command in [
                "ip link add name near type veth peer name far",
                "ip link set near up",
                "ip link set far up",
                "ip address add 10.0.0.1/24 dev near",
                "tc qdisc add dev near clsact",
            ] {
                namespace.exec(&words(command))?;
            }
            let made = namespace.run(&words(need.probe()))?;
            if made.code != 0 {
                let words = made.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
                lacking.insert(need, words);
            }
        }
        Ok(Self(lacking))
    }

    /// The first of the needs that is not met: what it is, and what the kernel says.
    pub fn first(&self, needs: &[Need]) -> Option<String> {
        let unmet = |need: &Need| Some(format!("no {}: {}", need.name(), self.0.get(need)?));
        needs.iter().find_map(unmet)
    }
}
