//! Whether the kernel and a clone say the same: pure, and of no family.

use std::{fmt, net::IpAddr};

use nix::errno::Errno;

use crate::fib::{message::Ifindex, verdict::kind_name};

/// RTN_UNICAST (include/uapi/linux/rtnetlink.h).
pub(crate) const UNICAST: u8 = 1;

/// Where a packet goes: to this neighbour, by this interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hop {
    /// Egress interface.
    pub(crate) ifindex: Ifindex,
    /// The gateway, or the destination itself if it is on the link.
    pub(crate) address: IpAddr,
}

/// What a clone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ours {
    /// Its destination.
    pub(crate) dst: IpAddr,
    /// Where its packets may go: one next hop, or the members of a group.
    pub(crate) hops: Vec<Hop>,
    /// The MTU of its route in bytes, or 0 for that of the interface.
    pub(crate) mtu: u32,
}

/// What the kernel says of the same destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Where it would send a packet.
    Route(Resolved),
    /// Why it would not send one.
    Refused(Errno),
}

/// Where the kernel would send a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// rtm_type: RTN_UNICAST and so on.
    pub(crate) kind: u8,
    /// Through an encapsulation.
    pub(crate) encapsulated: bool,
    /// Where to: the member of a group that it has chosen for this packet.
    pub(crate) hop: Hop,
    /// All the ways that its route has, if that was asked.
    pub(crate) ways: Vec<Hop>,
    /// The MTU of the route in bytes, 0 for that of the interface; nothing if one that was learned hides it.
    pub(crate) mtu: Option<u32>,
}

/// What they differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The kernel would not send a packet there.
    Refused,
    /// The route is of a kind that is not forwarded, or not by XDP.
    Kind,
    /// Interface or neighbour.
    NextHop,
    /// The MTU of the route.
    Mtu,
}

impl Difference {
    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Kind => "kind",
            Self::NextHop => "next_hop",
            Self::Mtu => "mtu",
        }
    }
}

/// What a clone and the kernel differ in, if they do.
pub(crate) fn compare(ours: &Ours, answer: &Answer) -> Option<Difference> {
    let Answer::Route(kernel) = answer else {
        return Some(Difference::Refused);
    };
    if kernel.kind != UNICAST || kernel.encapsulated {
        Some(Difference::Kind)
    } else if !ours.hops.contains(&kernel.hop) || has_other_ways(&ours.hops, &kernel.ways) {
        Some(Difference::NextHop)
    } else if kernel.mtu.is_some_and(|mtu| in_force(mtu) != in_force(ours.mtu)) {
        Some(Difference::Mtu)
    } else {
        None
    }
}

/// Whether the kernel has told its ways, and one is missing on either side.
fn has_other_ways(ours: &[Hop], kernel: &[Hop]) -> bool {
    let all_are = |these: &[Hop], those: &[Hop]| these.iter().all(|hop| those.contains(hop));
    let are_told = !kernel.is_empty();
    are_told && !(all_are(ours, kernel) && all_are(kernel, ours))
}

/// No packet is larger than 65,535 bytes: an MTU beyond that is none.
const fn in_force(mtu: u32) -> u32 {
    if mtu > u16::MAX as u32 { 0 } else { mtu }
}

/// Something with interfaces in it, in the words of `ip route`.
pub(crate) struct Named<'a, T: ?Sized>(pub(crate) &'a T, pub(crate) &'a dyn Fn(Ifindex) -> String);

impl Named<'_, Hop> {
    fn write(&self, dst: Option<IpAddr>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(hop, name) = self;
        if dst != Some(hop.address) {
            write!(f, "via {} ", hop.address)?;
        }
        write!(f, "dev {}", name(hop.ifindex))
    }
}

impl Named<'_, [Hop]> {
    fn write(&self, dst: Option<IpAddr>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(hops, name) = self;
        for (number, hop) in hops.iter().enumerate() {
            f.write_str(if number == 0 { "" } else { " or " })?;
            Named(hop, name).write(dst, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Named<'_, Ours> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ours, name) = self;
        Named(&*ours.hops, name).write(Some(ours.dst), f)?;
        write_mtu(ours.mtu, f)
    }
}

impl fmt::Display for Named<'_, Answer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(answer, name) = self;
        match answer {
            Answer::Refused(errno) => f.write_str(errno.desc()),
            Answer::Route(kernel) => {
                if kernel.kind != UNICAST {
                    write!(f, "{} ", kind_name(kernel.kind))?;
                }
                match &*kernel.ways {
                    [] => Named(&kernel.hop, name).write(None, f)?,
                    ways => Named(ways, name).write(None, f)?,
                }
                if kernel.encapsulated {
                    f.write_str(" encapsulated")?;
                }
                write_mtu(kernel.mtu.unwrap_or(0), f)
            }
        }
    }
}

fn write_mtu(mtu: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if mtu == 0 { Ok(()) } else { write!(f, " mtu {mtu}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(ifindex: Ifindex, address: &str) -> Hop {
        Hop { ifindex, address: address.parse().unwrap() }
    }

    fn ours() -> Ours {
        Ours { dst: "192.0.2.7".parse().unwrap(), hops: vec![hop(3, "10.0.0.2")], mtu: 0 }
    }

    fn kernel() -> Resolved {
        Resolved {
            kind: UNICAST,
            encapsulated: false,
            hop: hop(3, "10.0.0.2"),
            ways: Vec::new(),
            mtu: Some(0),
        }
    }

    fn difference(ours: &Ours, kernel: Resolved) -> Option<Difference> {
        compare(ours, &Answer::Route(kernel))
    }

    #[test]
    fn the_same_next_hop_is_agreement() {
        assert_eq!(difference(&ours(), kernel()), None);
        let six = |address: &str| Ours { hops: vec![hop(3, address)], ..ours() };
        let resolved = Resolved { hop: hop(3, "fe80::2"), ..kernel() };
        assert_eq!(difference(&six("fe80::2"), resolved.clone()), None);
        assert_eq!(difference(&six("fe80::3"), resolved), Some(Difference::NextHop));
    }

    #[test]
    fn another_interface_gateway_kind_or_no_route_is_a_difference() {
        let other = Resolved { hop: hop(4, "10.0.0.2"), ..kernel() };
        assert_eq!(difference(&ours(), other), Some(Difference::NextHop));
        let other = Resolved { hop: hop(3, "10.0.0.3"), ..kernel() };
        assert_eq!(difference(&ours(), other), Some(Difference::NextHop));
        assert_eq!(difference(&ours(), Resolved { kind: 2, ..kernel() }), Some(Difference::Kind));
        let other = Resolved { encapsulated: true, ..kernel() };
        assert_eq!(difference(&ours(), other), Some(Difference::Kind));
        let refused = Answer::Refused(Errno::ENETUNREACH);
        assert_eq!(compare(&ours(), &refused), Some(Difference::Refused));
        let nowhere = Ours { hops: Vec::new(), ..ours() };
        assert_eq!(difference(&nowhere, kernel()), Some(Difference::NextHop));
    }

    #[test]
    fn any_member_of_a_group_is_agreement_and_none_else() {
        let group = Resolved { hop: hop(4, "10.0.1.2"), ..kernel() };
        // The clone has one way, and the kernel has chosen another.
        assert_eq!(difference(&ours(), group.clone()), Some(Difference::NextHop));
        let both = Ours { hops: vec![hop(3, "10.0.0.2"), hop(4, "10.0.1.2")], ..ours() };
        assert_eq!(difference(&both, group.clone()), None);
        let more = Ours { hops: vec![hop(3, "10.0.0.2"), hop(4, "10.0.1.9")], ..ours() };
        assert_eq!(difference(&more, group), Some(Difference::NextHop));
    }

    #[test]
    fn a_way_that_only_one_of_them_has_is_a_difference_if_the_kernel_tells_all() {
        let both = Ours { hops: vec![hop(3, "10.0.0.2"), hop(4, "10.0.1.2")], ..ours() };
        let by = |ways: &[(Ifindex, &str)]| {
            let ways = ways.iter().map(|(ifindex, address)| hop(*ifindex, address)).collect();
            difference(&both, Resolved { ways, ..kernel() })
        };
        assert_eq!(by(&[]), None);
        assert_eq!(by(&[(4, "10.0.1.2"), (3, "10.0.0.2")]), None);
        // One that it has twice is one.
        assert_eq!(by(&[(3, "10.0.0.2"), (4, "10.0.1.2"), (3, "10.0.0.2")]), None);
        assert_eq!(by(&[(3, "10.0.0.2")]), Some(Difference::NextHop));
        let more = [(3, "10.0.0.2"), (4, "10.0.1.2"), (5, "10.0.2.2")];
        assert_eq!(by(&more), Some(Difference::NextHop));
    }

    #[test]
    fn another_mtu_of_the_route_is_a_difference_unless_it_cannot_be_told() {
        let small = Ours { mtu: 1400, ..ours() };
        for (mtu, expected) in [
            (Some(0), Some(Difference::Mtu)),
            (Some(1300), Some(Difference::Mtu)),
            (Some(1400), None),
            (None, None),
        ] {
            assert_eq!(difference(&small, Resolved { mtu, ..kernel() }), expected, "{mtu:?}");
        }
        assert_eq!(difference(&ours(), Resolved { mtu: Some(70_000), ..kernel() }), None);
        let less = Resolved { mtu: Some(1400), ..kernel() };
        assert_eq!(difference(&ours(), less), Some(Difference::Mtu));
    }

    #[test]
    fn both_are_told_in_the_words_of_ip_route() {
        let name = |ifindex: Ifindex| format!("eth{ifindex}");
        let told = |ours: &Ours| Named(ours, &name).to_string();
        assert_eq!(told(&Ours { mtu: 1400, ..ours() }), "via 10.0.0.2 dev eth3 mtu 1400");
        assert_eq!(told(&Ours { hops: vec![hop(3, "192.0.2.7")], ..ours() }), "dev eth3");
        let two = Ours { hops: vec![hop(3, "10.0.0.2"), hop(4, "10.0.1.2")], ..ours() };
        assert_eq!(told(&two), "via 10.0.0.2 dev eth3 or via 10.0.1.2 dev eth4");
        let told = |answer: &Answer| Named(answer, &name).to_string();
        assert_eq!(told(&Answer::Refused(Errno::ENETUNREACH)), "Network is unreachable");
        let local = Resolved { kind: 2, ..kernel() };
        assert_eq!(told(&Answer::Route(local)), "local via 10.0.0.2 dev eth3");
        let ways = Resolved { ways: two.hops, ..kernel() };
        let told = told(&Answer::Route(ways));
        assert_eq!(told, "via 10.0.0.2 dev eth3 or via 10.0.1.2 dev eth4");
    }
}
