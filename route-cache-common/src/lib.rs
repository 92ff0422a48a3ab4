//! The contract between the XDP program and the agent: what lies in the BPF maps, byte for byte.
//!
//! Types and their layout only; no logic but packing and unpacking. Every size and offset is asserted
//! at compile time, because the two sides are built by different compilers for different machines.

#![no_std]

pub mod clones;
pub mod config;
pub mod next_hop;
pub mod outcome;
pub mod route;

pub use clones::{Clone4, Tally};
pub use config::{Config, Port};
pub use next_hop::{NextHop, NextHopId};
pub use outcome::Outcome;
pub use route::{Action, Route};

/// A destination in network byte order, as it stands in the packet.
pub type Address4 = [u8; 4];

/// Prefix length of an IPv4 host route.
pub const HOST_PREFIX_LEN4: u8 = 32;

/// One more than the largest interface index the maps that are indexed by it can hold.
///
/// Indexing by ifindex keeps a hash lookup off the hit path; 8 bytes an index are 512 KiB in all. Linux counts
/// interface indexes up per namespace, so a host must have made this many interfaces to get past it.
pub const MAX_IFINDEX: u32 = 65_536;

/// Names of the maps, as they stand in the object file.
pub mod maps {
    /// `ARRAY` of one [`crate::Config`].
    pub const CONFIG: &str = "CONFIG";
    /// `ARRAY` of [`crate::Port`] by ingress interface index.
    pub const PORTS: &str = "PORTS";
    /// `HASH` of the host's own IPv4 addresses.
    pub const LOCAL_ADDRESSES: &str = "LOCAL_ADDRESSES";
    /// `ARRAY_OF_MAPS` by CPU, of `HASH`: destination to [`crate::Clone4`].
    pub const CLONES4: &str = "CLONES4";
    /// `ARRAY_OF_MAPS` by CPU, of `LPM_TRIE`: prefix to [`crate::Route`].
    pub const ROUTES4: &str = "ROUTES4";
    /// `ARRAY` of the current generation of each route slot.
    pub const GENERATIONS: &str = "GENERATIONS";
    /// `ARRAY` of [`crate::NextHop`].
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// `ARRAY` of marks the program leaves on next hops it uses while their neighbour is stale.
    pub const NEXT_HOPS_TOUCHED: &str = "NEXT_HOPS_TOUCHED";
    /// `HASH` of on-link destinations, (interface, address) to next-hop id.
    pub const NEIGHBOURS4: &str = "NEIGHBOURS4";
    /// `DEVMAP` by interface index: where frames may be redirected to.
    pub const EGRESS: &str = "EGRESS";
    /// `PERCPU_ARRAY` of packets and bytes by [`crate::Outcome`].
    pub const OUTCOMES: &str = "OUTCOMES";
    /// `PERCPU_ARRAY` of counters by [`crate::Tally`].
    pub const TALLIES: &str = "TALLIES";
    /// `PERCPU_ARRAY` of one [`crate::clones::Admission`].
    pub const ADMISSION: &str = "ADMISSION";
    /// `PERCPU_ARRAY` of destinations seen once.
    pub const SEEN4: &str = "SEEN4";
    /// `ARRAY` of one [`crate::config::ClockReading`].
    pub const CLOCK: &str = "CLOCK";
}

/// Names of the programs, as they stand in the object file.
pub mod programs {
    /// The forwarder.
    pub const FORWARD: &str = "route_cache";
    /// The same forwarder, which also logs a sample of the packets it sees.
    pub const FORWARD_TRACED: &str = "route_cache_traced";
    /// Reads the kernel's clocks into [`crate::maps::CLOCK`].
    pub const CLOCK: &str = "route_cache_clock";
}
