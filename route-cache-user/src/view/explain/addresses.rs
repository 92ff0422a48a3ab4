//! Addresses that are never forwarded, whatever the routes (forwarding.md rows 12 to 15 and 26).

use std::net::IpAddr;

use route_cache_common::Outcome;

use super::Judged;

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Global,
    Multicast,
    Broadcast,
    /// Not beyond a link, or nowhere.
    Narrow,
}

fn scope(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [0 | 127, ..] => Scope::Narrow,
            [224..=239, ..] => Scope::Multicast,
            [255, 255, 255, 255] => Scope::Broadcast,
            _ => Scope::Global,
        },
        IpAddr::V6(address) => match address.segments() {
            [0xff00..=0xffff, ..] => Scope::Multicast,
            [0xfe80..=0xfebf, ..] | [0, 0, 0, 0, ..] => Scope::Narrow,
            _ => Scope::Global,
        },
    }
}

/// What is narrow, in words.
const fn narrow(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "0/8 and 127/8 are never forwarded",
        IpAddr::V6(_) => "link-local addresses and ::/64, with :: and ::1, are never forwarded",
    }
}

/// Whether packets to an address may be forwarded.
pub(super) fn destination(dst: IpAddr) -> Judged {
    match scope(dst) {
        Scope::Global => Ok(format!("{dst} may be forwarded to")),
        Scope::Multicast => {
            Err((Outcome::PassMulticast, "multicast is left to the kernel".to_owned()))
        }
        Scope::Broadcast => {
            Err((Outcome::PassBroadcast, "the limited broadcast address".to_owned()))
        }
        Scope::Narrow => Err((Outcome::PassMartianDestination, narrow(dst).to_owned())),
    }
}

/// Whether packets from an address may be forwarded, as far as the address alone tells.
pub(super) fn source(from: IpAddr) -> Judged {
    let martian = match scope(from) {
        Scope::Global => return Ok(format!("{from} may be forwarded from")),
        Scope::Multicast => "a multicast address is no source",
        Scope::Broadcast => "the limited broadcast address is no source",
        Scope::Narrow => narrow(from),
    };
    Err((Outcome::PassMartianSource, martian.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the data plane judges them, `check_source` and `check_destination` there.
    #[test]
    fn rows_12_to_15_and_26_addresses_are_judged_as_the_data_plane_does() {
        let (martian, source_martian) =
            (Some(Outcome::PassMartianDestination), Some(Outcome::PassMartianSource));
        for (address, to, from) in [
            ("0.1.1.1", martian, source_martian),
            ("127.0.0.1", martian, source_martian),
            ("224.0.0.1", Some(Outcome::PassMulticast), source_martian),
            ("239.9.9.9", Some(Outcome::PassMulticast), source_martian),
            ("255.255.255.255", Some(Outcome::PassBroadcast), source_martian),
            ("1.0.0.1", None, None),
            ("223.0.0.1", None, None),
            ("240.0.0.1", None, None),
            ("255.255.255.254", None, None),
            ("2001:db8::1", None, None),
            ("fc00::1", None, None),
            ("0:0:0:1::1", None, None),
            ("fe7f::1", None, None),
            ("fec0::1", None, None),
            ("fe80::1", martian, source_martian),
            ("febf::1", martian, source_martian),
            ("ff02::1", Some(Outcome::PassMulticast), source_martian),
            ("::", martian, source_martian),
            ("::1", martian, source_martian),
            ("::ffff:1.2.3.4", martian, source_martian),
        ] {
            let outcome = |judged: Judged| judged.err().map(|(outcome, _)| outcome);
            let address = address.parse().expect("an address");
            assert_eq!(outcome(destination(address)), to, "{address}");
            assert_eq!(outcome(source(address)), from, "{address}");
        }
    }
}
