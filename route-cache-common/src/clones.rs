//! A cloned host route, and the per-CPU tallies of what happens to clones.

use crate::route::RouteWords;

/// Value of a clone table.
///
/// Written by the XDP program of the CPU that owns the table; the agent only reads and deletes.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clone4(pub [u64; 6]);

const LAST_USED: usize = 2;
const CREATED: usize = 3;
const PACKETS: usize = 4;
const BYTES: usize = 5;

const _: () = assert!(size_of::<Clone4>() == 48);

impl Clone4 {
    /// A clone of a resolved route, made at `now` by its first packet.
    #[must_use]
    #[inline(always)]
    pub const fn new(route: RouteWords, now: u64, bytes: u64) -> Self {
        Self([route[0], route[1], now, now, 1, bytes])
    }

    /// The route's words: next hop, slot, generation, MTU.
    #[must_use]
    #[inline(always)]
    pub const fn route(&self) -> RouteWords {
        [self.0[0], self.0[1]]
    }

    /// Jiffies at the last packet.
    #[must_use]
    pub const fn last_used(&self) -> u64 {
        self.0[LAST_USED]
    }

    /// Jiffies at creation.
    #[must_use]
    pub const fn created(&self) -> u64 {
        self.0[CREATED]
    }

    /// Packets forwarded by this clone, the one that made it included.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.0[PACKETS]
    }

    /// Bytes of those packets, counted from the Ethernet header.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.0[BYTES]
    }

    /// Counts one more packet of `bytes` bytes at `now` jiffies.
    #[inline(always)]
    pub const fn touch(&mut self, now: u64, bytes: u64) {
        self.0[LAST_USED] = now;
        self.0[PACKETS] += 1;
        self.0[BYTES] += bytes;
    }
}

#[cfg(feature = "user")]
// SAFETY: an array of u64, every bit pattern is valid.
#[allow(unsafe_code)]
unsafe impl aya::Pod for Clone4 {}

/// What is counted besides the outcomes, per CPU. Index of the tallies map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A clone was added to this CPU's table.
    CloneCreated,
    /// An invalid clone was replaced by a fresh one for the same destination.
    CloneReplaced,
    /// The table was full, or the kernel had no memory: the packet was forwarded, its clone refused.
    CloneRefused,
}

impl Tally {
    /// How many tallies there are.
    pub const COUNT: u32 = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_counts_its_packets() {
        let mut clone = Clone4::new([1, 2], 100, 60);
        clone.touch(104, 1500);
        assert_eq!(clone.route(), [1, 2]);
        assert_eq!((clone.created(), clone.last_used()), (100, 104));
        assert_eq!((clone.packets(), clone.bytes()), (2, 1560));
    }
}
