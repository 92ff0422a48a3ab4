//! What the kernel says over netlink, in the shape the mirror wants it. No I/O, no kernel structs.

use std::net::IpAddr;

use ipnet::IpNet;

use super::family::IpFamily;

/// An interface index.
pub(crate) type Ifindex = u32;

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// One thing the kernel said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// RTM_NEWLINK.
    Link(Link),
    /// RTM_DELLINK (of the namespace, not of a bridge port).
    LinkGone(Ifindex),
    /// RTM_DELLINK of an interface that has gone on in another network namespace.
    LinkMoved(Ifindex),
    /// RTM_NEWADDR.
    Address(Address),
    /// RTM_DELADDR.
    AddressGone(Address),
    /// RTM_NEWROUTE; `replace` is NLM_F_REPLACE: the first route of the same prefix, DSCP and metric goes.
    Route {
        /// The route.
        route: KernelRoute,
        /// NLM_F_REPLACE was set.
        replace: bool,
        /// NLM_F_APPEND was set.
        append: bool,
    },
    /// RTM_DELROUTE.
    RouteGone(KernelRoute),
    /// RTM_NEWNEXTHOP.
    NextHopObject(NextHopObject),
    /// RTM_DELNEXTHOP.
    NextHopObjectGone(u32),
    /// RTM_NEWNEIGH of an IPv4 or IPv6 neighbour (not a proxy entry, not a bridge FDB entry).
    Neighbour(Neighbour),
    /// RTM_DELNEIGH, likewise.
    NeighbourGone {
        /// Interface.
        ifindex: Ifindex,
        /// Address.
        address: IpAddr,
    },
    /// RTM_NEWNETCONF.
    Netconf(Netconf),
    /// RTM_DELNETCONF: the interface has no settings of this family any more.
    NetconfGone(IpFamily, Ifindex),
    /// RTM_NEWRULE.
    Rule(Rule),
    /// RTM_DELRULE.
    RuleGone(Rule),
    /// RTM_NEWQDISC.
    Qdisc(Qdisc),
    /// RTM_DELQDISC.
    QdiscGone(Qdisc),
    /// NETDEV_CMD_DEV_ADD_NTF, _CHANGE_NTF or an answer to DEV_GET: the device's `xdp-features` bits.
    XdpFeatures {
        /// Interface.
        ifindex: Ifindex,
        /// `enum netdev_xdp_act` bits, include/uapi/linux/netdev.h.
        features: u64,
    },
}

/// `xdp-features` bit: the device takes redirected frames (ndo_xdp_xmit).
pub(crate) const XDP_FEATURE_NDO_XMIT: u64 = 1 << 2;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Index.
    pub(crate) ifindex: Ifindex,
    /// IFLA_IFNAME.
    pub(crate) name: String,
    /// ARPHRD_*, 1 is Ethernet.
    pub(crate) hardware: u16,
    /// IFF_* of ifi_flags.
    pub(crate) flags: u32,
    /// IFLA_ADDRESS if it is 6 bytes long.
    pub(crate) mac: Option<Mac>,
    /// IFLA_MTU in bytes.
    pub(crate) mtu: u32,
    /// IFLA_LINKINFO / IFLA_INFO_KIND: `veth`, `bridge`, …; nothing for a physical device.
    pub(crate) kind: Option<String>,
    /// IFLA_PARENT_DEV_BUS_NAME: `pci`, `virtio`, … (Linux 5.14).
    pub(crate) bus: Option<String>,
    /// IFLA_MASTER: the bridge, bond or VRF it is enslaved to.
    pub(crate) master: Option<Ifindex>,
    /// IFLA_XDP / IFLA_XDP_PROG_ID or any of the per-mode ids: a program is attached.
    pub(crate) xdp_program: Option<u32>,
    /// What it is as a VLAN device.
    pub(crate) vlan: Option<Vlan>,
    /// IFLA_LINK of a device that is handed frames of the interface below before its protocols see them, whatever their
    /// destination: ipvlan, or macvlan in mode passthru or source.
    pub(crate) takes_from: Option<Ifindex>,
}

/// A VLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Vlan {
    /// IFLA_LINK: the interface below; nothing if that is in another namespace (IFLA_LINK_NETNSID).
    pub(crate) lower: Option<Ifindex>,
    /// IFLA_VLAN_ID.
    pub(crate) id: u16,
    /// IFLA_VLAN_PROTOCOL: an ethertype, 0x8100 for IEEE 802.1Q.
    pub(crate) protocol: u16,
    /// IFLA_VLAN_EGRESS_QOS maps something: the priority in the tag depends on the packet.
    pub(crate) maps_priority: bool,
    /// VLAN_FLAG_REORDER_HDR of IFLA_VLAN_FLAGS, which is the default.
    pub(crate) reorders: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// Interface.
    pub(crate) ifindex: Ifindex,
    /// IFA_LOCAL, or IFA_ADDRESS where there is none.
    pub(crate) local: IpAddr,
    /// ifa_prefixlen.
    pub(crate) prefix_len: u8,
}

/// A route of any table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelRoute {
    /// RTA_DST / rtm_dst_len, host bits cleared.
    pub(crate) prefix: IpNet,
    /// All else.
    pub(crate) info: RouteInfo,
}

/// A route without its prefix: what many routes have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RouteInfo {
    /// RTA_TABLE, or rtm_table.
    pub(crate) table: u32,
    /// rtm_type: RTN_UNICAST, RTN_LOCAL, …
    pub(crate) kind: u8,
    /// rtm_tos (DSCP).
    pub(crate) tos: u8,
    /// rtm_protocol: RTPROT_KERNEL, …
    pub(crate) protocol: u8,
    /// RTA_PRIORITY, 0 if absent.
    pub(crate) metric: u32,
    /// RTAX_MTU of RTA_METRICS, 0 if absent.
    pub(crate) mtu: u32,
    /// Why it does not hold for every packet at every time, if so: it is for single sources, or expires.
    pub(crate) limited: Option<&'static str>,
    /// IPv6: its next hops differ in their MTU or in whether they expire, or may. The kernel holds each to its own and tells
    /// those of one (`rt6_fill_node`). Then `mtu` is 0.
    pub(crate) is_uneven: bool,
    /// Where to.
    pub(crate) target: RouteTarget,
}

/// Where a route or a next-hop object leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RouteTarget {
    /// Nowhere (blackhole and the like), or a kind that has no next hop.
    None,
    /// One next hop given in the route itself.
    Hop(Hop),
    /// RTA_NH_ID: a next-hop object. Takes precedence over the RTA_GATEWAY and RTA_OIF sent along with it.
    Object(u32),
    /// RTA_MULTIPATH with more than one next hop (with exactly one it is a [`RouteTarget::Hop`]).
    Multipath(Vec<Hop>),
}

/// A next hop in a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Hop {
    /// RTA_OIF, 0 if absent.
    pub(crate) ifindex: Ifindex,
    /// RTA_GATEWAY, or RTA_VIA: an IPv4 route may have an IPv6 gateway.
    pub(crate) gateway: Option<IpAddr>,
    /// RTA_ENCAP: lightweight tunnel (MPLS, SRv6, …); or RTA_VIA with an address of any other family.
    pub(crate) encap: bool,
    /// Its weight among several, from 1: rtnh_hops + 1.
    pub(crate) weight: u32,
    /// RTNH_F_* (dead, linkdown, onlink, …).
    pub(crate) flags: u32,
}

/// A next-hop object (`ip nexthop`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHopObject {
    /// NHA_ID.
    pub(crate) id: u32,
    /// What it is.
    pub(crate) kind: NextHopKind,
}

/// Kinds of next-hop objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextHopKind {
    /// One next hop.
    Hop(Hop),
    /// NHA_GROUP whose type is hash-threshold: ids of other objects, and their weights.
    Group(Vec<GroupMember>),
    /// NHA_GROUP of another type, whose buckets the kernel moves by itself (resilient).
    OtherGroup,
    /// NHA_BLACKHOLE.
    Blackhole,
    /// NHA_FDB, or anything else that does not route.
    Other,
}

/// A member of a group of next-hop objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupMember {
    /// The object.
    pub(crate) id: u32,
    /// Its weight, from 1.
    pub(crate) weight: u32,
}

/// A neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// Interface.
    pub(crate) ifindex: Ifindex,
    /// NDA_DST.
    pub(crate) address: IpAddr,
    /// ndm_state: NUD_*.
    pub(crate) state: u16,
    /// NDA_LLADDR if it is 6 bytes long.
    pub(crate) lladdr: Option<Mac>,
}

/// Settings of a family on an interface, or of `all` and `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Netconf {
    /// ncm_family.
    pub(crate) family: IpFamily,
    /// NETCONFA_IFINDEX: an interface, [`Netconf::ALL`] or -2 for `default`.
    pub(crate) ifindex: i32,
    /// NETCONFA_FORWARDING, if the message carries it.
    pub(crate) forwarding: Option<bool>,
    /// NETCONFA_RP_FILTER: 0, 1 or 2, if the message carries it.
    pub(crate) rp_filter: Option<u8>,
    /// NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN, if the message carries it.
    pub(crate) ignores_linkdown: Option<bool>,
}

impl Netconf {
    /// NETCONFA_IFINDEX_ALL.
    pub(crate) const ALL: i32 = -1;
    /// NETCONFA_IFINDEX_DEFAULT.
    #[cfg(test)]
    pub(crate) const DEFAULT: i32 = -2;
}

/// A policy rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    /// The header's family.
    pub(crate) family: IpFamily,
    /// FRA_PRIORITY, 0 if absent.
    pub(crate) priority: u32,
    /// FRA_TABLE, or the header's table.
    pub(crate) table: u32,
    /// FR_ACT_*; 1 is "look up the table".
    pub(crate) action: u8,
    /// FRA_IIFNAME.
    pub(crate) iif: Option<String>,
    /// FRA_OIFNAME.
    pub(crate) oif: Option<String>,
    /// FRA_L3MDEV: it looks up the table of the VRF that the packet belongs to.
    pub(crate) l3mdev: bool,
    /// FIB_RULE_INVERT, or a flag that is not known: it matches where its selectors do not.
    pub(crate) inverted: bool,
    /// Whether it has any other selector (from, to, tos, fwmark, ports, protocol, uid range), any suppressor, or an
    /// unknown attribute.
    pub(crate) selective: bool,
}

/// A queueing discipline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Qdisc {
    /// Interface.
    pub(crate) ifindex: Ifindex,
    /// tcm_handle.
    pub(crate) handle: u32,
    /// tcm_parent: TC_H_ROOT is 0xffff_ffff, TC_H_INGRESS (ingress, clsact) 0xffff_fff1.
    pub(crate) parent: u32,
    /// TCA_KIND.
    pub(crate) kind: String,
}
