//! The flow tier: a memo, per CPU, that a flow was fully checked and where it goes.

/// What tells a flow. IPv4: destination, and where the source is checked source and interface; IPv6: destination. Each half
/// is two words of 32 bits, the first one lower: two comparisons for a packet instead of four.
pub type FlowKey = [u64; 2];

/// One flow. Written by the XDP program of the CPU that owns it, and by nobody else.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Whose it is.
    pub key: FlowKey,
    /// Next-hop id, 0 and epoch 0 in a place that was never used.
    pub id: u32,
    /// Lower half of [`crate::Config::flow_epoch`] as it was before the clone was looked up.
    pub epoch: u32,
    /// When the clone was last told of the flow's packets, in [`Flow::STAMP_JIFFIES`]; wraps.
    pub stamp: u16,
    /// 15: used since it was last spared; 14..0: packets since the stamp.
    pub used_packets: u16,
    /// Bytes of those packets, counted from the Ethernet header.
    pub bytes: u32,
}

impl Flow {
    /// Bit of [`Flow::used_packets`].
    pub const USED: u16 = 1 << 15;
    /// The flow's packets go to its clone when this many are counted, at the latest.
    pub const PACKETS_MAX: u16 = Self::USED - 1;
    /// Jiffies in one unit of the stamp.
    pub const STAMP_JIFFIES: u64 = 16;

    /// The stamp of this moment.
    #[must_use]
    #[inline(always)]
    pub const fn stamp_at(now: u64) -> u16 {
        (now / Self::STAMP_JIFFIES) as u16
    }

    /// Whether its packets belong to the clone of its destination that was made at `created`: those that were noted
    /// down before belong to one that is gone.
    #[must_use]
    #[inline(always)]
    pub const fn is_of(&self, created: u64, now: u64) -> bool {
        let age = Self::stamp_at(now).wrapping_sub(self.stamp);
        age as u64 <= (now / Self::STAMP_JIFFIES).saturating_sub(created / Self::STAMP_JIFFIES)
    }

    /// Packets its clone has not been told of.
    #[must_use]
    #[inline(always)]
    pub const fn packets(&self) -> u16 {
        self.used_packets & Self::PACKETS_MAX
    }
}

/// A set of flows, one cache line: the places of the flows with one hash.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSet {
    /// The places.
    pub ways: [Flow; Self::WAYS],
}

impl FlowSet {
    /// Flows in a set.
    pub const WAYS: usize = 2;
}

const _: () = {
    assert!(size_of::<Flow>() == 32);
    assert!(size_of::<FlowSet>() == 64);
    assert!(core::mem::offset_of!(Flow, stamp) == 24);
};

/// Which set of `sets` (a power of two) a flow belongs to.
///
/// Multilinear hashing by secret odd multipliers: without them nobody can make flows that share a set.
#[must_use]
#[inline(always)]
pub const fn flow_set(key: FlowKey, seed: [u64; 4], sets: u32) -> u32 {
    let [first, second] = key;
    let hash = (first as u32 as u64)
        .wrapping_mul(seed[0])
        .wrapping_add((first >> 32).wrapping_mul(seed[1]))
        .wrapping_add((second as u32 as u64).wrapping_mul(seed[2]))
        .wrapping_add((second >> 32).wrapping_mul(seed[3]));
    // Destinations at even distances would come to stand at even distances: they are mixed once more. The upper bits
    // depend on all of the key.
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 32).wrapping_mul(sets as u64) >> 32) as u32
}

#[cfg(feature = "user")]
// SAFETY: repr(C) integers, 2 * 32 = 64 bytes without padding.
#[allow(unsafe_code)]
unsafe impl aya::Pod for FlowSet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flow_counted_before_a_clone_was_made_is_not_the_clones() {
        let unit = Flow::STAMP_JIFFIES;
        // The stamps wrap between the two.
        for noted in [5000, (1 << 16) * unit - 1, (1 << 32) + 3] {
            let flow = Flow { stamp: Flow::stamp_at(noted), ..Flow::default() };
            assert!(flow.is_of(noted, noted + 3 * unit));
            assert!(flow.is_of(noted - 10 * unit, noted + 3 * unit));
            assert!(!flow.is_of(noted + 2 * unit, noted + 3 * unit));
        }
    }

    #[test]
    fn flows_that_differ_in_one_word_are_spread_over_the_sets() {
        let seed = [
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0xff51_afd7_ed55_8ccd,
        ];
        for word in 0..4 {
            let mut used = [false; 256];
            for n in 0..256u32 {
                let mut key = [7; 2];
                key[word / 2] = u64::from(n.to_be()) << (word % 2 * 32);
                used[flow_set(key, seed, 256) as usize] = true;
            }
            let used = used.iter().filter(|used| **used).count();
            assert!(used > 64, "word {word}: 256 flows share {used} sets");
        }
    }
}
