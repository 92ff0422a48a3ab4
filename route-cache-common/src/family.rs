//! The two address families. What differs between them is here; the rest is written once.

use crate::{Config, FlowKey, Port};

/// An IPv4 address in network byte order, as it stands in the packet.
pub type Address4 = [u8; 4];

/// An IPv6 address in network byte order, as it stands in the packet.
pub type Address6 = [u8; 16];

/// An address family: its addresses, its maps, its flags.
pub trait Family: Copy + Eq + core::fmt::Debug + Send + Sync + 'static {
    /// An address in network byte order.
    type Address: Copy + Eq + core::hash::Hash + core::fmt::Debug + Send + Sync + 'static;
    /// Prefix length of a host route.
    const HOST_PREFIX_LEN: u8;
    /// Flag of [`Config::flags`]: packets of this family may be forwarded.
    const ACCELERATE: u64;
    /// Flag of [`Port::flags`]: packets of this family received here may be forwarded.
    const ACCELERATE_PORT: u16;
    /// Flag of [`Config::flags`]: groups pick by ports, too (`fib_multipath_hash_policy` 1).
    const HASH_PORTS: u64;
    /// Flag of [`Config::flags`]: packets go by the routes alone, for the moment.
    const BY_ROUTES: u64;
    /// Name of the map of flows: `ARRAY` of [`crate::FlowSet`], a segment for each CPU.
    const FLOWS: &'static str;
    /// Name of the map of clones: `ARRAY_OF_MAPS` by CPU, of `HASH`: destination to [`crate::ClonedRoute`].
    const CLONES: &'static str;
    /// Name of the map of routes: `ARRAY_OF_MAPS` by CPU, of `LPM_TRIE`: prefix to [`crate::Route`].
    const ROUTES: &'static str;
    /// Name of the map of on-link destinations: `HASH`, [`crate::next_hop::NeighbourKey`] to next-hop id.
    const NEIGHBOURS: &'static str;

    /// The destination out of the key of a flow.
    fn flow_destination(key: FlowKey) -> Self::Address;
}

/// IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V6;

impl Family for V4 {
    type Address = Address4;
    const HOST_PREFIX_LEN: u8 = 32;
    const ACCELERATE: u64 = Config::ACCELERATE4;
    const ACCELERATE_PORT: u16 = Port::ACCELERATE4;
    const HASH_PORTS: u64 = Config::HASH_PORTS4;
    const BY_ROUTES: u64 = Config::BY_ROUTES4;
    const FLOWS: &'static str = "FLOWS4";
    const CLONES: &'static str = "CLONES4";
    const ROUTES: &'static str = "ROUTES4";
    const NEIGHBOURS: &'static str = "NEIGHBOURS4";

    fn flow_destination([first, _]: FlowKey) -> Address4 {
        (first as u32).to_ne_bytes()
    }
}

impl Family for V6 {
    type Address = Address6;
    const HOST_PREFIX_LEN: u8 = 128;
    const ACCELERATE: u64 = Config::ACCELERATE6;
    const ACCELERATE_PORT: u16 = Port::ACCELERATE6;
    const HASH_PORTS: u64 = Config::HASH_PORTS6;
    const BY_ROUTES: u64 = Config::BY_ROUTES6;
    const FLOWS: &'static str = "FLOWS6";
    const CLONES: &'static str = "CLONES6";
    const ROUTES: &'static str = "ROUTES6";
    const NEIGHBOURS: &'static str = "NEIGHBOURS6";

    fn flow_destination(key: FlowKey) -> Address6 {
        let mut address = [0; 16];
        let words = key.into_iter().flat_map(|half| [half as u32, (half >> 32) as u32]);
        for (bytes, word) in address.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        address
    }
}
