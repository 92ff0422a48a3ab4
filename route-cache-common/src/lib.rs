//! The contract between the XDP program and the agent: what lies in the BPF maps, byte for byte.
//!
//! Types and their layout only; no logic but packing and unpacking. Every size and offset is asserted
//! at compile time, because the two sides are built by different compilers for different machines.

#![no_std]

pub mod clones;
pub mod config;
pub mod errors;
pub mod family;
pub mod flows;
pub mod index;
pub mod next_hop;
pub mod outcome;
pub mod probe;
pub mod route;

pub use clones::{ClonedRoute, Tally};
pub use config::{Config, Port};
pub use errors::RedirectError;
pub use family::{Address4, Address6, Family, V4, V6};
pub use flows::{Flow, FlowKey, FlowSet};
pub use next_hop::{MacAddresses, NextHop, NextHopId};
pub use outcome::Outcome;
pub use probe::Probe;
pub use route::{Action, Route};

/// One more than the largest interface index the maps that are indexed by it can hold.
///
/// Indexing by ifindex keeps a hash lookup off the hit path; 8 bytes an index are 512 KiB in all. Linux counts
/// interface indexes up per namespace, so a host must have made this many interfaces to get past it.
pub const MAX_IFINDEX: u32 = 65_536;

/// Key of the VLAN map: a port below [`MAX_IFINDEX`] and the 12 bits of a VLAN id (IEEE 802.1Q).
#[must_use]
#[inline(always)]
pub const fn vlan_key(port: u32, vlan: u16) -> u32 {
    port << 12 | (vlan & 0x0fff) as u32
}

/// Names of the maps, as they stand in the object file. Those that exist once for each family are in [`Family`].
pub mod maps {
    /// `ARRAY` of one [`crate::Config`].
    pub const CONFIG: &str = "CONFIG";
    /// `ARRAY` of [`crate::Port`] by ingress interface index.
    pub const PORTS: &str = "PORTS";
    /// `HASH` of the host's own IPv4 addresses.
    pub const LOCAL_ADDRESSES: &str = "LOCAL_ADDRESSES";
    /// `HASH` of VLAN devices, [`crate::vlan_key`] to interface index.
    pub const VLANS: &str = "VLANS";
    /// `ARRAY`, memory-mapped, of [`crate::index::Chunk`].
    pub const INDEX4: &str = "INDEX4";
    /// `ARRAY` of [`crate::Route`] by [`crate::index::Code`]; slot and generation mean nothing there.
    pub const INDEX4_ROUTES: &str = "INDEX4_ROUTES";
    /// `ARRAY` of next-hop ids, [`crate::route::BUCKETS`] for each next-hop group.
    pub const GROUPS: &str = "GROUPS";
    /// `ARRAY` of the current generation of each route slot.
    pub const GENERATIONS: &str = "GENERATIONS";
    /// `ARRAY` of [`crate::NextHop`].
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// `ARRAY` of marks the program leaves on next hops it uses while their neighbour is stale.
    pub const NEXT_HOPS_TOUCHED: &str = "NEXT_HOPS_TOUCHED";
    /// `DEVMAP` by interface index: where frames may be redirected to.
    pub const EGRESS: &str = "EGRESS";
    /// `PERCPU_ARRAY` of packets and bytes by [`crate::Outcome`].
    pub const OUTCOMES: &str = "OUTCOMES";
    /// `PERCPU_ARRAY` of counters by [`crate::Tally`].
    pub const TALLIES: &str = "TALLIES";
    /// `PERCPU_ARRAY` of one [`crate::clones::Admission`].
    pub const ADMISSION: &str = "ADMISSION";
    /// `PERCPU_ARRAY` of destinations seen once.
    pub const SEEN: &str = "SEEN";
    /// `ARRAY` of one [`crate::config::ClockReading`].
    pub const CLOCK: &str = "CLOCK";
    /// `HASH` of packets by [`crate::RedirectError`].
    pub const REDIRECT_ERRORS: &str = "REDIRECT_ERRORS";
    /// `ARRAY` of one [`crate::Probe`].
    pub const PROBE: &str = "PROBE";
}

/// Names of global constants of the object, set before it is loaded.
pub mod globals {
    /// `u32`: sets of flows per CPU and family, a power of two.
    pub const FLOW_SETS: &str = "FLOW_SETS";
    /// `[u64; 4]`: odd and secret, see [`crate::flows::flow_set`].
    pub const FLOW_SEED: &str = "FLOW_SEED";
    /// `u32`: the network namespace served, by the inode number of `/proc/PID/ns/net`.
    pub const NETNS: &str = "NETNS";
    /// `u32`: offset of `net_device.ifindex` in the running kernel.
    pub const DEVICE_IFINDEX: &str = "DEVICE_IFINDEX";
    /// `u32`: offset of `net_device.nd_net.net`.
    pub const DEVICE_NET: &str = "DEVICE_NET";
    /// `u32`: offset of `net.ns.inum`.
    pub const NET_INUM: &str = "NET_INUM";
}

/// Names of the programs, as they stand in the object file.
pub mod programs {
    /// The forwarder.
    pub const FORWARD: &str = "route_cache";
    /// The same forwarder, which also logs a sample of the packets it sees.
    pub const FORWARD_TRACED: &str = "route_cache_traced";
    /// Reads the kernel's clocks into [`crate::maps::CLOCK`].
    pub const CLOCK: &str = "route_cache_clock";
    /// Programs on raw tracepoints that count what came of redirects, and those tracepoints.
    pub const ON_TRACEPOINTS: [(&str, &str); 3] = [
        ("route_cache_redirect_err", "xdp_redirect_err"),
        ("route_cache_devmap_xmit", "xdp_devmap_xmit"),
        ("route_cache_exception", "xdp_exception"),
    ];
    /// Redirects the probe frame.
    pub const PROBE: &str = "route_cache_probe";
    /// Programs on raw tracepoints that hear what became of it, and those tracepoints.
    pub const PROBE_ON_TRACEPOINTS: [(&str, &str); 2] = [
        ("route_cache_probe_refused", "xdp_redirect_err"),
        ("route_cache_probe_sent", "xdp_devmap_xmit"),
    ];
}
