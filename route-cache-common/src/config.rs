//! What the program reads for every packet: the config line, and the word of the ingress interface.

/// The config line, one cache line, written by the agent alone.
///
/// Every field is one 8-byte word that stands for itself: the kernel copies array elements word by word.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Jiffies up to which the agent vouches for the tables. 0 at start: everything passes.
    pub deadline: u64,
    /// [`Config::ACCELERATE4`] and so on.
    pub flags: u64,
    /// Raised after every change of routes; flows of another epoch are void.
    pub flow_epoch: u64,
    /// A packet in this many is logged by the traced program.
    pub trace_every: u32,
    /// Jiffies of an admission window, see [`crate::clones::Admission`]. Set once, with the half word above.
    pub window: u32,
    /// Bloom filter over the host's own addresses, see [`Config::local_filter_bit`].
    pub local_filter: [u64; 4],
}

impl Config {
    /// IPv4 packets may be forwarded.
    pub const ACCELERATE4: u64 = 1;
    /// There are local routes that are not single addresses of the host: look every source up in the routes.
    pub const CHECK_SOURCE: u64 = 2;
    /// Every first packet makes a clone.
    pub const CLONE_ON_FIRST: u64 = 4;
    /// No first packet makes a clone, whatever the budget.
    pub const CLONE_ON_SECOND: u64 = 8;
    /// IPv6 packets may be forwarded.
    pub const ACCELERATE6: u64 = 16;
    /// Flows are looked for and noted down.
    pub const FLOWS: u64 = 128;
    /// Clones are not looked for and not made: every packet by the routes.
    pub const NO_CLONES: u64 = 256;
    /// Clones are looked for and made for few packets only, because most would find none.
    pub const FEW_CLONES: u64 = 512;
    /// IPv4 packets go by the routes alone, because that costs less than to look for flows and clones at the moment.
    pub const BY_ROUTES4: u64 = 2048;
    /// The same for IPv6 packets.
    pub const BY_ROUTES6: u64 = 4096;
    /// The index is complete: IPv4 routes are looked for there first.
    pub const INDEX4: u64 = 1024;
    /// IPv4 next-hop groups pick by ports, too.
    pub const HASH_PORTS4: u64 = 32;
    /// IPv6 next-hop groups pick by ports, too.
    pub const HASH_PORTS6: u64 = 64;

    /// Raises the epoch. Its lower half, which flows carry, is never that of a place where no flow ever was.
    pub const fn void_flows(&mut self) {
        self.flow_epoch += 1;
        if self.flow_epoch as u32 == 0 {
            self.flow_epoch += 1;
        }
    }

    /// Position of an address in the filter: word and bit. If the bit is clear, the address is not the host's.
    #[must_use]
    #[inline(always)]
    pub const fn local_filter_bit(address: [u8; 4]) -> (usize, u32) {
        // Multiplicative hashing: the top byte of the product depends on every byte of the address.
        let hash = u32::from_ne_bytes(address).wrapping_mul(0x9e37_79b1) >> 24;
        ((hash >> 6) as usize & 3, hash & 63)
    }
}

const _: () = {
    assert!(size_of::<Config>() == 64);
    assert!(core::mem::offset_of!(Config, local_filter) == 32);
};

/// Word of an ingress interface: its MAC address and what may be done for packets it receives.
///
/// One word, so that a reader meets the old or the new one, never a mixture.
///
/// ```text
/// 63..48 flags   47..0 MAC address, first byte lowest
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// The MAC address to which packets must be sent to be routed.
    pub mac: [u8; 6],
    /// [`Port::ACCELERATE4`] and so on.
    pub flags: u16,
}

impl Port {
    /// IPv4 packets received here may be forwarded.
    pub const ACCELERATE4: u16 = 1;
    /// Frames received here may carry checksums that are yet to be completed (forwarding.md row 39a).
    pub const PARTIAL_CHECKSUMS: u16 = 2;
    /// IPv6 packets received here may be forwarded.
    pub const ACCELERATE6: u16 = 4;
    /// IPv4 sources must have their route back through this interface (rp_filter 1; forwarding.md row 17).
    pub const REVERSE_STRICT: u16 = 8;
    /// IPv4 sources must have a route back (rp_filter 2).
    pub const REVERSE_LOOSE: u16 = 16;

    /// Packs into the map word.
    #[must_use]
    pub const fn pack(self) -> u64 {
        let [a, b, c, d, e, f] = self.mac;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) | (self.flags as u64) << 48
    }

    /// Unpacks from the map word.
    #[must_use]
    #[inline(always)]
    pub const fn unpack(word: u64) -> Self {
        let [a, b, c, d, e, f, ..] = word.to_le_bytes();
        Self { mac: [a, b, c, d, e, f], flags: (word >> 48) as u16 }
    }
}

/// What the clock program reports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// `bpf_jiffies64()`.
    pub jiffies: u64,
    /// `bpf_ktime_get_ns()`: the monotonic clock, in nanoseconds.
    pub monotonic_ns: u64,
}

const _: () = assert!(size_of::<ClockReading>() == 16);

#[cfg(feature = "user")]
#[allow(unsafe_code)]
mod pod {
    // SAFETY: repr(C) arrays of u64, no padding, every bit pattern is valid.
    unsafe impl aya::Pod for super::Config {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::ClockReading {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_epoch_is_that_of_a_place_without_a_flow() {
        let mut config = Config { flow_epoch: u32::MAX.into(), ..Config::default() };
        config.void_flows();
        assert_eq!(config.flow_epoch, (1 << 32) + 1);
        config.void_flows();
        assert_eq!(config.flow_epoch, (1 << 32) + 2);
    }

    #[test]
    fn a_port_is_one_word() {
        let port = Port { mac: [2, 0, 0, 0xaa, 0xbb, 0xcc], flags: Port::ACCELERATE4 };
        assert_eq!(Port::unpack(port.pack()), port);
    }

    #[test]
    fn the_filter_spreads_neighbouring_addresses() {
        let mut seen = [0u64; 4];
        for last in 0..=255 {
            let (word, bit) = Config::local_filter_bit([10, 0, 1, last]);
            seen[word] |= 1 << bit;
        }
        let set: u32 = seen.iter().map(|word| word.count_ones()).sum();
        assert!(set > 100, "256 consecutive addresses share {set} of 256 bits");
    }
}
