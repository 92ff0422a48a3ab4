//! Why something stands aside: a code that stays, for metrics and scripts, and a sentence for people.

/// A reason to leave packets to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Why {
    /// Which kind of reason.
    pub(crate) code: Code,
    /// Names the object, and what to do where that is not plain.
    pub(crate) sentence: String,
}

impl Why {
    /// A reason.
    pub(crate) fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }
}

macro_rules! codes {
    ($($code:ident = $name:literal $meaning:literal;)+) => {
        /// The kinds of reasons. Names are a stable interface: the label `reason` of `route_cache_stands_aside`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Code {
            $(#[doc = $meaning] $code,)+
        }

        impl Code {
            /// The stable name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)+
                }
            }

            /// Each with its name and its meaning, as docs/operating.md lists them.
            #[cfg(test)]
            const ALL: &[(&str, &str)] = &[$(($name, $meaning),)+];
        }
    };
}

codes! {
    Resync = "resync" "the kernel's tables, or the routes through the interface, are being read";
    Full = "full" "routes or next hops do not fit (`--max-routes`, `--max-next-hops`)";
    Unknown = "unknown" "it cannot be told what XDP would bypass: the kernel did not answer, or the agent stood still";
    Forwarding = "forwarding" "forwarding is off, for the family or on the interface";
    Rules = "rules" "policy rules (`ip rule`, `ip -6 rule`)";
    Netfilter = "netfilter" "nftables chains, tables of iptables-legacy, conntrack, or other functions on netfilter's hooks";
    Xfrm = "xfrm" "IPsec policies";
    Sysctl = "sysctl" "a setting that changes how packets are forwarded";
    Tc = "tc" "a tc hook (`ingress`, `clsact`) or tcx programs";
    Qdisc = "qdisc" "a queueing discipline that shapes or filters what leaves";
    ReversePath = "rp_filter" "`rp_filter` is on, and the way back cannot be told";
    Ipv6Disabled = "ipv6_disabled" "IPv6 is disabled on the interface (`disable_ipv6`), or there is none (an MTU below 1280)";
    Gone = "gone" "the interface is gone";
    Carrier = "carrier" "the interface is down or has no carrier";
    Device = "device" "an interface of a kind that is left to the kernel";
    Master = "master" "the interface is enslaved to a bridge, bond or VRF";
    Vlan = "vlan" "a VLAN device of a kind that is left to the kernel";
    HiddenTags = "hidden_tags" "VLAN tags are taken off before XDP sees them";
    MergedFrames = "merged_frames" "the interface merges frames before XDP sees them (LRO, GRO by hardware)";
    Stacked = "stacked" "a device on the interface takes frames first (ipvlan, macvlan in mode `passthru` or `source`)";
    NotAttached = "not_attached" "the program could not be attached";
    NotAskedFor = "not_asked_for" "only VLAN devices of the interface were asked for";
    NoRedirects = "no_redirects" "the interface takes no redirected frames, or does not tell";
    RedirectsFail = "redirects_fail" "redirects to the interface fail";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_in_the_manual_with_its_meaning_and_no_other() {
        let manual = include_str!("../../../docs/operating.md");
        let rows = manual.lines().skip_while(|line| *line != "| code | meaning |").skip(2);
        let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
        let wanted = Code::ALL.iter().map(|(name, meaning)| format!("| `{name}` | {meaning} |"));
        assert_eq!(rows, wanted.collect::<Vec<_>>());
    }

    #[test]
    fn no_two_codes_have_one_name() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
