//! The hash that picks among the next hops of a group (forwarding.md row 21).
//!
//! One flow, one path: by addresses, and by ports where the host's `fib_multipath_hash_policy` says so. It is not the
//! kernel's hash, whose seed is secret. Two routers in a row must not pick alike; the agent arranges the buckets of a
//! group in an order of the host's own.

use route_cache_common::Config;

use crate::{
    family::Datapath,
    headers::{Ethernet, Header, Transport},
    packet::Packet,
    parse::Datagram,
};

/// The hash of a packet's flow. Its upper bits are the good ones.
#[inline(always)]
pub fn of<F: Datapath>(packet: &Packet<'_>, datagram: &Datagram<'_, F>, config: &Config) -> u32 {
    let (source, destination) = (datagram.ip.source(), datagram.ip.destination());
    let hash = mix(F::fold(source), F::fold(destination));
    if config.flags & F::HASH_PORTS == 0 {
        return hash;
    }
    // A later fragment has no ports: none of the fragments goes by them. What stands in the padding are none.
    let has_room = datagram.ip.datagram_len() >= F::Header::LEN + size_of::<[u16; 2]>();
    let ports = match datagram.ip.transport() {
        Transport::Tcp | Transport::Udp => {
            packet.get::<[u16; 2]>(Ethernet::LEN + F::Header::LEN).filter(|_| has_room)
        }
        Transport::Icmp | Transport::Fragment | Transport::Other => None,
    };
    match ports {
        Some([source, destination]) => {
            mix(hash, u32::from(*source) << 16 | u32::from(*destination))
        }
        None => hash,
    }
}

/// Two rounds of multiply and rotate, then the upper half folded in (the finish of MurmurHash3).
#[inline(always)]
fn mix(a: u32, b: u32) -> u32 {
    let mut hash = a.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593) ^ b;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        packet::testing::{Bytes, datagram, datagram6},
        parse,
    };
    use route_cache_common::{V4, V6};

    fn hash<F: Datapath>(mut bytes: Bytes, flags: u64) -> u32 {
        let packet = bytes.packet();
        let datagram = parse::datagram::<F>(&packet).expect("a datagram");
        of(&packet, &datagram, &Config { flags, ..Config::default() })
    }

    #[test]
    fn row_21_ports_count_where_the_policy_says_so() {
        let other_port = datagram().byte(34, 9);
        assert_eq!(hash::<V4>(datagram(), 0), hash::<V4>(other_port.clone(), 0));
        let by_ports = Config::HASH_PORTS4;
        assert_ne!(hash::<V4>(datagram(), by_ports), hash::<V4>(other_port, by_ports));
        let by_ports = Config::HASH_PORTS6;
        let other_port = datagram6().byte(54, 9);
        assert_eq!(hash::<V6>(datagram6(), 0), hash::<V6>(other_port.clone(), 0));
        assert_ne!(hash::<V6>(datagram6(), by_ports), hash::<V6>(other_port, by_ports));
    }

    #[test]
    fn rows_11_and_21_no_fragment_goes_by_ports() {
        for fragment in [datagram().byte(20, 0x20), datagram().byte(21, 9)] {
            let by_ports = hash::<V4>(fragment.clone(), Config::HASH_PORTS4);
            assert_eq!(by_ports, hash::<V4>(fragment, 0));
        }
    }

    #[test]
    fn rows_5_and_21_padding_is_no_ports() {
        let empty4 = |padding| datagram().cut(34).byte(17, 20).padded(padding);
        let bare = hash::<V4>(empty4(0), Config::HASH_PORTS4);
        let padded = hash::<V4>(empty4(26).byte(35, 9), Config::HASH_PORTS4);
        assert_eq!(bare, padded);
        let empty6 = |padding| datagram6().cut(54).byte(19, 0).padded(padding);
        let bare = hash::<V6>(empty6(0), Config::HASH_PORTS6);
        let padded = hash::<V6>(empty6(6).byte(55, 9), Config::HASH_PORTS6);
        assert_eq!(bare, padded);
    }

    #[test]
    fn row_21_neighbouring_flows_spread_over_the_buckets() {
        let mut buckets = [0u32; 256];
        for last in 0..=255 {
            for source in 0..16 {
                let frame = datagram().byte(33, last).byte(29, source);
                buckets[(hash::<V4>(frame, 0) >> 24) as usize] += 1;
            }
        }
        // 4,096 flows, 16 expected in each; a Poisson tail beyond these bounds has less than one chance in a thousand.
        assert!(buckets.iter().all(|count| (1..=40).contains(count)), "{buckets:?}");
    }
}
