//! The headers as they lie in a frame, in network byte order.
//!
//! An Ethernet frame starts at an even address, so nothing in it is aligned to more than two bytes. The fields are words
//! as large as they are used: where the machine reads those at any address (`allows-misaligned-mem-access`, set by
//! `cargo xtask build` where the kernel's verifier allows it) each is one load, elsewhere several.

mod ipv4;
mod ipv6;

pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
use route_cache_common::{MacAddresses, Outcome};

use crate::packet::Words;

/// Ethertype of a customer VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;

/// TCP (IANA protocol numbers, here and below).
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// What a network-layer header says, in either family.
pub trait Header: Words {
    /// An address in network byte order.
    type Address;
    /// Ethertype of the datagrams.
    const ETHERTYPE: u16;
    /// Bytes of the header, without options or extension headers.
    const LEN: usize;

    /// Whether it is a header of this family without anything the kernel has to look at on the way (rows 3, 6, 27).
    fn check(&self) -> Result<(), Outcome>;
    /// Bytes of the datagram by its own account, this header included. It may say less than [`Header::LEN`].
    fn datagram_len(&self) -> usize;
    /// Whether the header checksum is right, if the family has one.
    fn is_intact(&self) -> bool;
    /// TTL or hop limit.
    fn hop_limit(&self) -> u8;
    /// Counts the TTL or hop limit down, which must not be 0.
    fn decrement(&mut self);
    /// Source address.
    fn source(&self) -> Self::Address;
    /// Destination address.
    fn destination(&self) -> Self::Address;
    /// What follows the header.
    fn transport(&self) -> Transport;
    /// The folded, un-complemented sum over the pseudo header of TCP and UDP (RFC 9293, section 3.1).
    ///
    /// Memory byte order, like the checksum field itself: one's complement sums do not care (RFC 1071, section 2B).
    fn pseudo_header_sum(&self) -> u16;
}

/// What follows a network-layer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, not in a fragment.
    Tcp,
    /// UDP, not in a fragment.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// A fragment of TCP, UDP or (IPv6) anything.
    Fragment,
    /// Anything else.
    Other,
}

impl Transport {
    /// The transport of a datagram in one piece with this protocol.
    const fn of(protocol: u8) -> Self {
        match protocol {
            PROTOCOL_TCP => Self::Tcp,
            PROTOCOL_UDP => Self::Udp,
            _ => Self::Other,
        }
    }
}

/// Ethernet II header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    /// Destination and source MAC address.
    pub addresses: MacAddresses,
    ethertype: u16,
}

impl Ethernet {
    /// Bytes of the header.
    pub const LEN: usize = 14;

    /// Ethertype, host byte order.
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        u16::from_be(self.ethertype)
    }
}

/// Bytes of a VLAN tag (IEEE 802.1Q): it stands before the ethertype.
pub const TAG_LEN: usize = 4;

/// Ethernet header with one VLAN tag. The last four bytes of the tag and the ethertype behind it lie as in an
/// [`Ethernet`] header that begins [`TAG_LEN`] bytes later.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TaggedEthernet {
    /// Destination and source MAC address.
    pub addresses: MacAddresses,
    tpid: u16,
    tci: u16,
    ethertype: u16,
}

impl TaggedEthernet {
    /// The VLAN id.
    #[inline(always)]
    pub fn vlan(&self) -> u16 {
        u16::from_be(self.tci) & 0x0fff
    }

    /// Ethertype behind the tag, host byte order.
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        u16::from_be(self.ethertype)
    }

    /// Writes the tag: this VLAN, priority 0.
    #[inline(always)]
    pub fn set_vlan(&mut self, vlan: u16) {
        self.tpid = ETHERTYPE_VLAN.to_be();
        self.tci = vlan.to_be();
    }
}

/// An Ethernet frame with a datagram, up to the end of the network-layer header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame<H> {
    /// Link-layer header.
    pub ethernet: Ethernet,
    /// Network-layer header.
    pub ip: H,
}

/// The same with a VLAN tag.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TaggedFrame<H> {
    /// Link-layer header.
    pub ethernet: TaggedEthernet,
    /// Network-layer header.
    pub ip: H,
}

const _: () = {
    assert!(size_of::<Ethernet>() == Ethernet::LEN);
    assert!(size_of::<TaggedEthernet>() == Ethernet::LEN + TAG_LEN);
    assert!(size_of::<Frame<Ipv4>>() == Ethernet::LEN + Ipv4::LEN);
    assert!(size_of::<TaggedFrame<Ipv6>>() == Ethernet::LEN + TAG_LEN + Ipv6::LEN);
    assert!(align_of::<TaggedFrame<Ipv6>>() == 2);
};

/// Whether a sum of a few words of 32 bits folds to all ones. Two folds of fewer than 2^16 words leave less than 0x1fffe,
/// the next number that would.
#[inline(always)]
fn is_all_ones(sum: u64) -> bool {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// Folds a sum of fewer than 65,536 words of 32 bits, which is one of twice as many of 16, into 16 bits with end-around
/// carry (RFC 1071, section 2C).
#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
