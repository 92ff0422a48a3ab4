//! What the steps need to know of a family: its header, and which addresses are never forwarded.

use route_cache_common::{Address4, Config, Family, FlowKey, Outcome, V4, V6};

use crate::{
    headers::{Header, Ipv4, Ipv6},
    maps::{self, Tables, Words6},
};

/// A family the program forwards.
pub trait Datapath: Family + Tables {
    /// Its header.
    type Header: Header<Address = Self::Key>;
    /// Whether interfaces may ask for the way back to the source (row 17).
    const HAS_REVERSE_PATH_FILTER: bool;

    /// Rows 12 and 26: sources that the kernel does not forward.
    fn check_source(source: Self::Key, config: &Config) -> Result<(), Outcome>;

    /// Rows 13, 14, 15 and 26: destinations that the kernel does not forward, whatever its routes.
    fn check_destination(destination: Self::Key) -> Result<(), Outcome>;

    /// What tells a flow to this destination; with where it comes from, if that was checked by the routes.
    fn flow_key(destination: Self::Key, source: Option<(Self::Key, u32)>) -> FlowKey;

    /// The destination out of a flow's key.
    fn destination_of(key: FlowKey) -> Self::Key;

    /// All bits of an address in one word: different for different IPv4 addresses, most likely so for IPv6 ones.
    fn fold(address: Self::Key) -> u32;
}

impl Datapath for V4 {
    type Header = Ipv4;
    const HAS_REVERSE_PATH_FILTER: bool = true;

    /// `ip_route_input_slow` and `fib_validate_source`, net/ipv4.
    #[inline(always)]
    fn check_source(source: Address4, config: &Config) -> Result<(), Outcome> {
        // Two comparisons for what is frequent.
        let [first, ..] = source;
        if !(1..=223).contains(&first) || first == 127 {
            match source {
                [240..=254, ..] => {}
                [255, ..] if source != [255; 4] => {}
                _ => return Err(Outcome::PassMartianSource),
            }
        }
        let (word, bit) = Config::local_filter_bit(source);
        if config.local_filter[word] >> bit & 1 != 0 && maps::is_local_address(source) {
            return Err(Outcome::PassMartianSource);
        }
        if config.flags & Config::CHECK_SOURCE != 0 && !maps::is_unicast_source(source) {
            return Err(Outcome::PassMartianSource);
        }
        Ok(())
    }

    #[inline(always)]
    fn check_destination(destination: Address4) -> Result<(), Outcome> {
        match destination {
            [0 | 127, ..] => Err(Outcome::PassMartianDestination),
            [224..=239, ..] => Err(Outcome::PassMulticast),
            [255, 255, 255, 255] => Err(Outcome::PassBroadcast),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn flow_key(destination: Address4, source: Option<(Address4, u32)>) -> FlowKey {
        let destination = u64::from(Self::fold(destination));
        match source {
            None => [destination, 0],
            Some((source, device)) => {
                [destination | u64::from(Self::fold(source)) << 32, u64::from(device)]
            }
        }
    }

    #[inline(always)]
    fn destination_of(key: FlowKey) -> Address4 {
        (key[0] as u32).to_ne_bytes()
    }

    #[inline(always)]
    fn fold(address: Address4) -> u32 {
        u32::from_ne_bytes(address)
    }
}

impl Datapath for V6 {
    type Header = Ipv6;
    const HAS_REVERSE_PATH_FILTER: bool = false;

    /// `ip6_rcv_core` and `ip6_forward`, net/ipv6. The kernel does not look for its own addresses here.
    #[inline(always)]
    fn check_source(source: Words6, _config: &Config) -> Result<(), Outcome> {
        match scope(source) {
            Scope::Global => Ok(()),
            Scope::Multicast | Scope::Narrow => Err(Outcome::PassMartianSource),
        }
    }

    #[inline(always)]
    fn check_destination(destination: Words6) -> Result<(), Outcome> {
        match scope(destination) {
            Scope::Global => Ok(()),
            Scope::Multicast => Err(Outcome::PassMulticast),
            Scope::Narrow => Err(Outcome::PassMartianDestination),
        }
    }

    #[inline(always)]
    fn flow_key([a, b, c, d]: Words6, _source: Option<(Words6, u32)>) -> FlowKey {
        [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
    }

    #[inline(always)]
    fn destination_of([first, second]: FlowKey) -> Words6 {
        [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32]
    }

    #[inline(always)]
    fn fold(address: Words6) -> u32 {
        let [a, b, c, d] = address;
        // Multiplications between the words, so that addresses that differ in two of them do not cancel out.
        let mut hash = a.wrapping_mul(0x9e37_79b1) ^ b;
        hash = hash.rotate_left(15).wrapping_mul(0x85eb_ca6b) ^ c;
        hash = hash.rotate_left(13).wrapping_mul(0xc2b2_ae35) ^ d;
        hash
    }
}

/// How far an IPv6 address reaches.
enum Scope {
    Global,
    Multicast,
    /// Link-local, or in ::/64: unspecified, loopback, and the two ways to write an IPv4 address (RFC 4291, 2.5). Of
    /// the latter the kernel may forward some; they are rare and left to it.
    Narrow,
}

#[inline(always)]
fn scope([first, second, ..]: Words6) -> Scope {
    match first.to_ne_bytes() {
        [0xff, ..] => Scope::Multicast,
        [0xfe, 0x80..=0xbf, ..] => Scope::Narrow,
        _ if first | second == 0 => Scope::Narrow,
        _ => Scope::Global,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn words(address: Ipv6Addr) -> Words6 {
        let octets = address.octets();
        [0, 4, 8, 12].map(|i| u32::from_ne_bytes([0, 1, 2, 3].map(|j| octets[i + j])))
    }

    #[test]
    fn row_12_martian_sources() {
        let config = Config::default();
        for martian in [[0, 1, 1, 1], [127, 0, 0, 1], [224, 0, 0, 1], [239, 9, 9, 9], [255; 4]] {
            let judged = V4::check_source(martian, &config);
            assert_eq!(judged, Err(Outcome::PassMartianSource), "{martian:?}");
        }
        for fine in [[1, 0, 0, 1], [126, 0, 0, 1], [223, 0, 0, 1], [240, 0, 0, 1]] {
            assert_eq!(V4::check_source(fine, &config), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn row_26_addresses_that_do_not_leave_their_link() {
        for (address, source, destination) in [
            ("2001:db8::1", Ok(()), Ok(())),
            ("fc00::1", Ok(()), Ok(())),
            ("64:ff9b::1", Ok(()), Ok(())),
            ("0:0:0:1::1", Ok(()), Ok(())),
            ("fe80::1", Err(Outcome::PassMartianSource), Err(Outcome::PassMartianDestination)),
            ("febf::1", Err(Outcome::PassMartianSource), Err(Outcome::PassMartianDestination)),
            ("fe7f::1", Ok(()), Ok(())),
            ("fec0::1", Ok(()), Ok(())),
            ("ff02::1", Err(Outcome::PassMartianSource), Err(Outcome::PassMulticast)),
            ("ff0e::1", Err(Outcome::PassMartianSource), Err(Outcome::PassMulticast)),
            ("::", Err(Outcome::PassMartianSource), Err(Outcome::PassMartianDestination)),
            ("::1", Err(Outcome::PassMartianSource), Err(Outcome::PassMartianDestination)),
            (
                "::ffff:1.2.3.4",
                Err(Outcome::PassMartianSource),
                Err(Outcome::PassMartianDestination),
            ),
        ] {
            let octets = words(address.parse().expect("an address"));
            assert_eq!(V6::check_source(octets, &Config::default()), source, "{address}");
            assert_eq!(V6::check_destination(octets), destination, "{address}");
        }
    }

    #[test]
    fn ipv6_addresses_that_differ_in_any_byte_fold_to_different_words() {
        let base: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().expect("an address");
        for byte in 0..16 {
            let mut other = base.octets();
            other[byte] ^= 1;
            assert_ne!(V6::fold(words(base)), V6::fold(words(other.into())), "byte {byte}");
        }
    }
}
