//! What lies in the maps of the programs that Route Cache is measured with.

#![cfg_attr(target_arch = "bpf", no_std)]

use route_cache_common::MacAddresses;

/// Words of 32 bits in a page of the list, one for an IPv4 destination, four for an IPv6 one: one write from user space
/// fills a page.
pub const PAGE: usize = 1024;

/// Pages of the list.
pub const PAGES: usize = 1024;

/// Programs that the generator can hand frames to.
pub const CONTENDERS: usize = 16;

/// Next hops of the forwarders that Route Cache is compared to.
pub const HOPS: usize = 64;

/// Sets of the table of flows that is measured alone: as many as an agent has for a CPU by default.
pub const FLOW_SETS: u32 = 32_768;

/// Where a flow stands in it.
pub const FLOW_SEED: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xff51_afd7_ed55_8ccd];

/// Out of how many [`Traffic::flood`] counts.
pub const FLOOD_OF: u32 = 256;

/// What the generator makes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Index of the program that gets the frames.
    pub contender: u32,
    /// Entries of the list that are in use.
    pub listed: u32,
    /// Each entry is sent so many times in a row, as a power of two.
    pub repeat_shift: u32,
    /// So many packets in [`FLOOD_OF`] go to random destinations, the others to those of the list.
    pub flood: u32,
    /// Sum over the IPv4 header of the template, without checksum and destination, in memory byte order.
    pub header_sum: u32,
    /// Destination and source MAC address, as they stand in the frame.
    pub addresses: MacAddresses,
}

/// Where the generator is on a CPU, and what it has sent there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// State of the random numbers (xorshift64); not 0.
    pub random: u64,
    /// Packets that were taken from the list.
    pub from_list: u64,
    /// Packets to random destinations.
    pub flooded: u64,
    /// The next entry of the list, times its repetitions.
    pub next: u64,
}

/// A next hop of the forwarders that Route Cache is compared to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Destination and source MAC address, as they stand in the frame.
    pub addresses: MacAddresses,
    /// Egress interface.
    pub ifindex: u32,
}

const _: () = {
    assert!(size_of::<Traffic>() == 32);
    assert!(size_of::<Position>() == 32);
    assert!(size_of::<Hop>() == 16);
};

#[cfg(feature = "user")]
#[allow(unsafe_code)]
mod pod {
    // SAFETY: repr(C), integers, no padding (asserted by the size), every bit pattern is valid.
    unsafe impl aya::Pod for super::Traffic {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Position {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Hop {}
}
