//! A cloned host route, and the per-CPU tallies of what happens to clones.

use crate::route::RouteWords;

/// Value of a clone table, the same for both families. All times are in jiffies.
///
/// Written by the XDP program of the CPU that owns the table; the agent only reads and deletes. In the map it is
/// [`CloneWords`], for the reason given at [`crate::Route`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClonedRoute {
    /// The route's words, with the next hop resolved.
    pub route: RouteWords,
    /// At the last packet.
    pub last_used: u64,
    /// At creation.
    pub created: u64,
    /// Packets forwarded by this clone, the one that made it included.
    pub packets: u64,
    /// Bytes of those packets, counted from the Ethernet header.
    pub bytes: u64,
}

/// [`ClonedRoute`] as the map's BTF knows it.
pub type CloneWords = [u64; 6];

const _: () = {
    assert!(size_of::<ClonedRoute>() == size_of::<CloneWords>());
    assert!(align_of::<ClonedRoute>() == align_of::<CloneWords>());
    assert!(core::mem::offset_of!(ClonedRoute, last_used) == 16);
    assert!(core::mem::offset_of!(ClonedRoute, bytes) == 40);
};

impl ClonedRoute {
    /// A clone of a resolved route, made at `now` by its first packet.
    #[must_use]
    #[inline(always)]
    pub const fn new(route: RouteWords, now: u64, bytes: u64) -> Self {
        Self { route, last_used: now, created: now, packets: 1, bytes }
    }

    /// Counts packets that flows forwarded.
    #[inline(always)]
    pub const fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
    }

    /// Counts one more packet of `bytes` bytes at `now` jiffies.
    #[inline(always)]
    pub const fn touch(&mut self, now: u64, bytes: u64) {
        self.last_used = now;
        self.packets += 1;
        self.bytes += bytes;
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers, no padding (asserted by the size above).
#[allow(unsafe_code)]
unsafe impl aya::Pod for ClonedRoute {}

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
    /// The first packet to a destination while many are new: it was forwarded, and the second one will make the clone.
    CloneDeferred,
}

impl Tally {
    /// How many tallies there are.
    pub const COUNT: u32 = 4;
}

/// Whom a CPU admits to its clone table.
///
/// Destinations that are seen once must not push out those in use: a flood of them is how route caches died. So no more
/// than a budget of clones a window is made for a first packet; beyond it, a destination is cloned by its second packet
/// within a window.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Jiffies at which the present window began.
    pub window_start: u64,
    /// Clones made for first packets in this window.
    pub admitted: u64,
}

impl Admission {
    /// First-packet clones a CPU makes in one window.
    pub const BUDGET: u64 = 1024;
    /// Destinations remembered as seen once, per CPU; a power of two.
    pub const SEEN: u32 = 16_384;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_counts_its_packets() {
        let mut clone = ClonedRoute::new([1, 2, 3, 4], 100, 60);
        clone.touch(104, 1500);
        assert_eq!(clone.route, [1, 2, 3, 4]);
        assert_eq!((clone.created, clone.last_used), (100, 104));
        assert_eq!((clone.packets, clone.bytes), (2, 1560));
    }
}
