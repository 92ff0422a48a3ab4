//! How a packet ended. One list, from which come the counters, the metric labels and the documentation.

/// Defines [`Outcome`] together with its table of stable names and explanations.
macro_rules! outcomes {
    ($($(#[$attr:meta])* $variant:ident = $name:literal, $help:literal;)+) => {
        /// How a packet ended. Every packet ends in exactly one outcome.
        ///
        /// The discriminants are an agreement between one agent and the program it embeds; the *names* are the
        /// stable interface (metrics, JSON, documentation).
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[must_use]
        pub enum Outcome {
            $(#[doc = $help] $(#[$attr])* $variant,)+
        }

        impl Outcome {
            /// Every outcome, in the order of the discriminants.
            pub const ALL: &[Outcome] = &[$(Outcome::$variant,)+];

            /// How many outcomes there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The stable name, as in metrics and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Outcome::$variant => $name,)+
                }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $(Outcome::$variant => $help,)+
                }
            }

            /// The outcome with this discriminant, if there is one.
            #[must_use]
            #[inline(always)]
            pub const fn from_code(code: u8) -> Option<Outcome> {
                $(if code == Outcome::$variant as u8 {
                    return Some(Outcome::$variant);
                })+
                None
            }
        }
    };
}

outcomes! {
    ForwardedFlow = "forwarded_flow", "Forwarded by the memo of its flow, without a look at its clone.";
    ForwardedClone = "forwarded_clone", "Forwarded by a cloned host route of this CPU.";
    ForwardedRoute = "forwarded_route", "Forwarded by a network route, and cloned if there was room.";
    PassLocal = "pass_local", "For an address of this host.";
    PassBroadcast = "pass_broadcast", "To a broadcast address of a connected network, or to 255.255.255.255.";
    PassMulticast = "pass_multicast", "To a multicast destination.";
    PassTtl = "pass_ttl", "TTL or hop limit is 1 or 0: the kernel answers with ICMP time exceeded.";
    PassNoRoute = "pass_no_route", "No route covers the destination.";
    PassRoute = "pass_route", "The route is of a kind that is left to the kernel (blackhole, encapsulation and so on).";
    PassNeighbour = "pass_neighbour", "The next hop's link-layer address is not known: the kernel resolves it.";
    PassEgress = "pass_egress", "The egress interface is down or cannot take redirected frames.";
    PassSameInterface = "pass_same_interface", "Egress equals ingress: the kernel may have to send an ICMP redirect.";
    PassOptions = "pass_options", "The IPv4 header carries options, or the IPv6 header is followed by hop-by-hop options.";
    PassChecksum = "pass_checksum", "The IPv4 header checksum is wrong.";
    PassPartialChecksum = "pass_partial_checksum", "The transport checksum is still to be completed by the kernel, or cannot be proven complete.";
    PassMtu = "pass_mtu", "Larger than the MTU of the route or of the egress interface.";
    PassMalformed = "pass_malformed", "Truncated, or a length or version that cannot be right.";
    PassEthertype = "pass_ethertype", "Neither IPv4 nor IPv6, plain or in one 802.1Q tag (ARP, LLDP, MPLS, 802.1ad and so on).";
    PassVlan = "pass_vlan", "Tagged for a VLAN that has no device on this port.";
    PassOtherHost = "pass_other_host", "The destination MAC address is not the ingress interface's.";
    PassLinkMulticast = "pass_link_multicast", "The destination MAC address is a broadcast or multicast address.";
    PassMartianSource = "pass_martian_source", "The source address may not be forwarded (0/8, 127/8, multicast, broadcast, our own; IPv6 link-local, unspecified, loopback, multicast, IPv4-mapped).";
    PassReversePath = "pass_reverse_path", "rp_filter: the route back to the source is not the one it asks for, or cannot be told.";
    PassMartianDestination = "pass_martian_destination", "The destination address may not be forwarded (0/8, 127/8; IPv6 link-local, unspecified, loopback).";
    PassInterface = "pass_interface", "The ingress interface stands aside (forwarding off, rp_filter, a rule of the kernel's that would be bypassed).";
    PassDisabled = "pass_disabled", "The whole family stands aside (policy rules, netfilter, tables being re-read).";
    PassExpired = "pass_expired", "The agent's promise that the tables are current has run out.";
    PassRace = "pass_race", "A table entry changed while it was being read.";
}

impl Outcome {
    /// Whether the packet left through XDP.
    #[must_use]
    pub const fn is_forwarded(self) -> bool {
        matches!(self, Outcome::ForwardedFlow | Outcome::ForwardedClone | Outcome::ForwardedRoute)
    }
}

/// Packets and bytes (of the whole frame) of one outcome on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCount {
    /// Packets.
    pub packets: u64,
    /// Bytes, counted from the Ethernet header, without the frame check sequence.
    pub bytes: u64,
}

const _: () = assert!(size_of::<OutcomeCount>() == 16);

#[cfg(feature = "user")]
// SAFETY: repr(C), two u64, no padding, every bit pattern is valid.
#[allow(unsafe_code)]
unsafe impl aya::Pod for OutcomeCount {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{env, format, fs, path::Path, string::String};

    use super::*;

    /// The table of docs/outcomes.md; with ROUTE_CACHE_WRITE_DOCS set, it is written.
    #[test]
    fn the_documentation_has_every_outcome() {
        let mut text = String::from(
            "# What is accelerated, what is passed, and why\n\n\
             Every packet the program sees ends in one of these: the label `outcome` of `route_cache_packets_total`.\n\
             Generated from route-cache-common/src/outcome.rs.\n\n\
             | outcome | packet | why |\n|---|---|---|\n",
        );
        for outcome in Outcome::ALL {
            let packet =
                if outcome.is_forwarded() { "forwarded by XDP" } else { "left to the kernel" };
            text += &format!("| `{}` | {packet} | {} |\n", outcome.name(), outcome.help());
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/outcomes.md");
        if env::var_os("ROUTE_CACHE_WRITE_DOCS").is_some() {
            fs::write(&path, &text).expect("docs can be written to");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, text, "set ROUTE_CACHE_WRITE_DOCS to write it anew");
    }
}
