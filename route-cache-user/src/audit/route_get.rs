//! `ip route get`: a question as an operator puts it, and the answer as `ip` prints it.

use std::{fmt, io, net::IpAddr};

use nix::errno::Errno;

use super::{
    ask::{Asker, parse, parse_address},
    compare::{Named, Resolved, UNICAST},
};
use crate::fib::{
    message::Ifindex,
    netlink::{DumpError, Malformed, Message, route_question},
    verdict::{TABLE_MAIN, kind_name, table_name},
};

/// Tell the table that the route was found in (include/uapi/linux/rtnetlink.h, Linux 4.4).
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;

/// A packet that the kernel is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    /// Where it goes.
    pub(crate) dst: IpAddr,
    /// Where it comes from.
    pub(crate) from: Option<IpAddr>,
    /// The interface it comes in by; without one it is a packet of the kernel's own.
    pub(crate) iif: Option<Ifindex>,
}

/// What the kernel does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What the audit looks at.
    pub(crate) resolved: Resolved,
    /// The table of the route.
    table: u32,
    /// The source of a packet of the kernel's own.
    src: Option<IpAddr>,
}

#[cfg(test)]
impl Found {
    /// In table main.
    pub(crate) const fn of(resolved: Resolved) -> Self {
        Self { resolved, table: TABLE_MAIN, src: None }
    }
}

impl Asker {
    /// Asks about a packet. The errno is the answer of a kernel that does not send it anywhere.
    pub(crate) fn get(&mut self, packet: &Question) -> Result<Result<Found, Errno>, DumpError> {
        let mut question = route_question(packet.dst, packet.from, RTM_F_LOOKUP_TABLE);
        if let Some(iif) = packet.iif {
            question = question.attribute(libc::RTA_IIF, &iif.to_ne_bytes());
        }
        self.ask(question, |message| found(message, packet.dst))
    }
}

fn found(message: &Message<'_>, dst: IpAddr) -> Result<Found, Malformed> {
    // struct rtmsg
    let (&[_, _, _, _, table, ..], attributes) = message.split::<12>()?;
    let mut found = Found { resolved: parse(message, dst)?, table: u32::from(table), src: None };
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_TABLE => found.table = attribute.u32()?,
            libc::RTA_PREFSRC => found.src = Some(parse_address(&attribute)?),
            _ => {}
        }
    }
    Ok(found)
}

/// As one would ask `ip`.
impl fmt::Display for Named<'_, Question> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Question { dst, from, iif }, name) = self;
        write!(f, "ip route get {dst}")?;
        if let Some(from) = from {
            write!(f, " from {from}")?;
        }
        match iif {
            Some(iif) => write!(f, " iif {}", name(*iif)),
            None => Ok(()),
        }
    }
}

/// As `ip` answers, on one line and without what it says of the cache.
impl fmt::Display for Named<'_, (&Question, &Found)> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((Question { dst, from, iif }, Found { resolved, table, src }), name) = self;
        if resolved.kind != UNICAST {
            write!(f, "{} ", kind_name(resolved.kind))?;
        }
        write!(f, "{dst}")?;
        if let Some(from) = from {
            write!(f, " from {from}")?;
        }
        if resolved.hop.address != *dst {
            write!(f, " via {}", resolved.hop.address)?;
        }
        write!(f, " dev {}", name(resolved.hop.ifindex))?;
        if *table != TABLE_MAIN && *table != 0 {
            write!(f, " table {}", table_name(*table))?;
        }
        if let Some(src) = src {
            write!(f, " src {src}")?;
        }
        if resolved.encapsulated {
            f.write_str(" encap")?;
        }
        if let Some(mtu) = resolved.mtu.filter(|mtu| *mtu != 0) {
            write!(f, " mtu {mtu}")?;
        }
        match iif {
            Some(iif) => write!(f, " iif {}", name(*iif)),
            None => Ok(()),
        }
    }
}

/// As `ip` says that there is no answer, and what it may mean for a packet.
pub(crate) fn refusal(errno: Errno) -> String {
    let words = io::Error::from_raw_os_error(errno as i32).to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let meaning = match errno {
        Errno::EINVAL => " (a martian address, rp_filter, or a blackhole route)",
        Errno::EXDEV => " (rp_filter)",
        Errno::EHOSTUNREACH => " (an unreachable route, or forwarding is off)",
        Errno::ENETUNREACH => " (no route)",
        Errno::EACCES => " (a prohibit route)",
        Errno::ENODEV => " (the interface is gone)",
        _ => "",
    };
    format!("RTNETLINK answers: {words}{meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::compare::Hop,
        fib::netlink::namespace::{index, run, with_veth},
    };

    #[test]
    fn question_and_answer_are_in_the_words_of_ip() {
        let name = |ifindex: Ifindex| format!("eth{ifindex}");
        let address = |text: &str| text.parse().expect("an address");
        let hop = Hop { ifindex: 3, address: address("10.0.0.2") };
        let resolved =
            Resolved { kind: UNICAST, encapsulated: false, hop, ways: Vec::new(), mtu: Some(0) };
        let forwarded =
            Question { dst: address("192.0.2.7"), from: Some(address("10.1.0.2")), iif: Some(2) };
        let found = Found::of(resolved);
        let told = |question: &Question, found: &Found| {
            (Named(question, &name).to_string(), Named(&(question, found), &name).to_string())
        };
        assert_eq!(
            told(&forwarded, &found),
            (
                "ip route get 192.0.2.7 from 10.1.0.2 iif eth2".to_owned(),
                "192.0.2.7 from 10.1.0.2 via 10.0.0.2 dev eth3 iif eth2".to_owned()
            )
        );
        let own = Question { from: None, iif: None, ..forwarded };
        let on_link = Hop { address: own.dst, ..hop };
        let resolved = Resolved { kind: 2, hop: on_link, mtu: Some(1400), ..found.resolved };
        let local = Found { resolved, table: 255, src: Some(own.dst) };
        assert_eq!(
            told(&own, &local),
            (
                "ip route get 192.0.2.7".to_owned(),
                "local 192.0.2.7 dev eth3 table local src 192.0.2.7 mtu 1400".to_owned()
            )
        );
        assert!(refusal(Errno::EINVAL).starts_with("RTNETLINK answers: Invalid argument ("));
        assert_eq!(refusal(Errno::EBUSY), "RTNETLINK answers: Device or resource busy");
    }

    /// The beginning of what `ip` itself prints is what is printed here.
    #[test]
    fn the_kernel_is_asked_as_ip_asks_it() {
        with_veth(|| {
            run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
                 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.left.rp_filter=0 \
                 && ip address add 10.0.1.1/24 dev right \
                 && ip route add 192.0.2.0/24 via 10.0.1.2 \
                 && ip route add unreachable 198.51.100.0/24 \
                 && ip address add 2001:db8:1::1/64 dev right nodad \
                 && ip route add 2001:db8:9::/64 via 2001:db8:1::2");
            let mut asker = Asker::open().expect("a socket");
            let name = |ifindex: Ifindex| {
                let names = [(index("left"), "left"), (index("right"), "right")];
                names
                    .iter()
                    .find(|(known, _)| *known == ifindex)
                    .map_or("lo", |(_, name)| name)
                    .to_owned()
            };
            let left = Some(index("left"));
            for (dst, from, iif, wanted) in [
                (
                    "192.0.2.7",
                    Some("10.0.0.2"),
                    left,
                    "192.0.2.7 from 10.0.0.2 via 10.0.1.2 dev right iif left",
                ),
                ("192.0.2.7", None, None, "192.0.2.7 via 10.0.1.2 dev right src 10.0.1.1"),
                ("10.0.1.1", None, None, "local 10.0.1.1 dev lo table local src 10.0.1.1"),
                ("192.0.2.7", Some("10.0.1.1"), left, "RTNETLINK answers: Invalid argument"),
                ("198.51.100.1", Some("10.0.0.2"), left, "RTNETLINK answers: No route to host"),
                ("203.0.113.1", None, None, "RTNETLINK answers: Network is unreachable"),
                (
                    "2001:db8:9::7",
                    Some("2001:db8:7::1"),
                    left,
                    "2001:db8:9::7 from 2001:db8:7::1 via 2001:db8:1::2 dev right iif left",
                ),
            ] {
                let address = |text: &str| text.parse().expect("an address");
                let question = Question { dst: address(dst), from: from.map(address), iif };
                let answer = asker.get(&question).expect("an answer");
                let told = match answer {
                    Ok(found) => Named(&(&question, &found), &name).to_string(),
                    Err(errno) => refusal(errno),
                };
                assert!(told.starts_with(wanted), "{dst}: {told}");
            }
        });
    }
}
