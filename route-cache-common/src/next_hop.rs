//! Next hops: what a frame gets on its way out.

use crate::{Address4, Address6};

/// Identifies a next hop: its index in the array and the serial of the holder of that index.
///
/// ```text
/// 31..20 serial   19..0 index
/// ```
/// An index is used again, oldest first; the serial tells a reader that kept an id across that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct NextHopId(pub u32);

impl NextHopId {
    /// Bits of the index.
    pub const INDEX_BITS: u32 = 20;
    /// One more than the largest serial; serials wrap. One less than fits, so that no id is [`NextHopId::NONE`].
    pub const SERIALS: u32 = (1 << (32 - Self::INDEX_BITS)) - 1;
    /// Nobody's: stands in an element that has no holder.
    pub const NONE: Self = Self(u32::MAX);

    /// Joins index and serial.
    #[must_use]
    pub const fn new(index: u32, serial: u32) -> Self {
        Self(serial << Self::INDEX_BITS | index)
    }

    /// Position in the array.
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & ((1 << Self::INDEX_BITS) - 1)
    }

    /// Which holder of the index.
    #[must_use]
    pub const fn serial(self) -> u32 {
        self.0 >> Self::INDEX_BITS
    }
}

/// One version of a next hop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHopVersion {
    /// The id this version belongs to. A reader with another id holds something older than the tables.
    pub id: u32,
    /// Egress interface index: the VLAN device, where there is one.
    pub ifindex: u32,
    /// Index of the interface that sends the frame: the same, or the one below the VLAN device. Key in the device map.
    pub port: u16,
    /// VLAN id (IEEE 802.1Q) the frame is tagged with, 0 for none.
    pub vlan: u16,
    /// MTU of the egress interface in bytes, from the IP header.
    pub mtu: u16,
    /// Destination and source MAC address, ready to copy.
    pub addresses: MacAddresses,
    /// [`NextHopVersion::USABLE`] and so on.
    pub flags: u8,
    /// Discriminant of the [`crate::Outcome`] of a packet that meets this next hop while it is not usable.
    pub pass: u8,
}

impl NextHopVersion {
    /// Frames may be sent.
    pub const USABLE: u8 = 1;
    /// The neighbour is stale: leave a mark on use, so that the agent has the kernel confirm it.
    pub const STALE: u8 = 2;
}

/// Destination and source MAC address as they stand in a frame: twelve bytes, compared and copied as two words.
#[repr(C, packed(2))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacAddresses {
    first: u64,
    second: u32,
}

impl MacAddresses {
    /// Joins the two.
    #[must_use]
    pub const fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination, source);
        Self {
            first: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            second: u32::from_ne_bytes([i, j, k, l]),
        }
    }

    /// Writes these here, word by word: as a whole they are copied by a call of `memmove`, a loop over bytes.
    #[inline(always)]
    pub const fn set(&mut self, to: &Self) {
        self.first = to.first;
        self.second = to.second;
    }

    /// Destination address.
    #[must_use]
    #[inline(always)]
    pub const fn destination(self) -> [u8; 6] {
        let [a, b, c, d, e, f, ..] = { self.first }.to_ne_bytes();
        [a, b, c, d, e, f]
    }
}

/// Element of the next-hop array: two versions, and the number of the current one.
///
/// The kernel copies array elements word by word, so a reader can meet half of an update. The agent fills the version
/// that is not current, then raises `current` in a second write. A reader takes `current`, copies version
/// `current & 1`, and reads `current` again: unequal means that the copy may be mixed, and the packet passes.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// Number of the current version; its lowest bit is its position.
    pub current: u64,
    /// The versions.
    pub versions: [NextHopVersion; 2],
}

const _: () = {
    assert!(size_of::<NextHopVersion>() == 28);
    assert!(size_of::<NextHop>() == 64);
    assert!(core::mem::offset_of!(NextHop, versions) == 8);
    assert!(core::mem::offset_of!(NextHopVersion, addresses) == 14);
    assert!(core::mem::offset_of!(NextHopVersion, flags) == 26);
    assert!(size_of::<MacAddresses>() == 12);
};

#[cfg(feature = "user")]
// SAFETY: repr(C) integers; NextHop is 8 + 2 * 28 = 64 bytes, so neither has padding.
#[allow(unsafe_code)]
unsafe impl aya::Pod for NextHop {}

/// Key of a neighbours map: an on-link destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NeighbourKey<A> {
    /// Interface index.
    pub ifindex: u32,
    /// Address, network byte order.
    pub address: A,
}

const _: () = {
    assert!(size_of::<NeighbourKey<Address4>>() == 8);
    assert!(size_of::<NeighbourKey<Address6>>() == 20);
};

#[cfg(feature = "user")]
#[allow(unsafe_code)]
mod pod {
    // SAFETY: repr(C), 4 + 4 bytes, no padding.
    unsafe impl aya::Pod for super::NeighbourKey<super::Address4> {}
    // SAFETY: repr(C), 4 + 16 bytes, no padding.
    unsafe impl aya::Pod for super::NeighbourKey<super::Address6> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_index_and_serial() {
        let id = NextHopId::new(0xf_ffff, 0xfff);
        assert_eq!((id.index(), id.serial()), (0xf_ffff, 0xfff));
        assert_ne!(NextHopId::new(7, 1), NextHopId::new(7, 2));
    }
}
