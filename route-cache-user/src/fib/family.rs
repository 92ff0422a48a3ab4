//! The address families as types: their prefixes, and where each keeps its part of what is known.

use std::{
    fmt::{Debug, Display},
    hash::Hash,
    net::IpAddr,
    sync::mpsc::SyncSender,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use route_cache_common::{Family, V4, V6, next_hop::NeighbourKey};

pub(crate) use super::ip_family::{IpFamily, PerFamily};
use super::{
    first::{Chunk, First},
    message::Ifindex,
    mirror::{Fib, Mirrored},
    plan::{Plan, RoutePlan},
    tables::{FamilyTables, Tables},
    verdict::{TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN},
};
use crate::maps::{CloneTable, CloneTables, RouteMaps, Writer};

/// A family as a type: its prefixes, and its part of everything that has one for each family.
pub(crate) trait NetFamily: Family<Address: aya::Pod + Ord + Default> {
    /// As a value.
    const FAMILY: IpFamily;
    /// The tables that the kernel's own policy rules look up, and their priorities (row 19).
    const RULES: &'static [(u32, u32)];
    /// A prefix without host bits.
    type Net: Copy + Ord + Hash + Debug + Display + Into<IpNet> + Send + Sync + 'static;
    /// Key of the neighbours map.
    type OnLink: aya::Pod + Copy + Eq + Hash + Debug + Send + Sync + 'static;

    /// A prefix of this family, host bits cleared; nothing if it is of the other.
    fn net(net: IpNet) -> Option<Self::Net>;
    /// The prefix of this length around an address; nothing if it is longer than an address.
    fn prefix(address: Self::Address, len: u8) -> Option<Self::Net>;
    /// Its length.
    fn prefix_len(net: &Self::Net) -> u8;
    /// Its first address.
    fn network(net: &Self::Net) -> Self::Address;
    /// The next shorter prefix.
    fn supernet(net: &Self::Net) -> Option<Self::Net>;
    /// Whether a prefix covers another, or is the same.
    fn contains(net: &Self::Net, other: &Self::Net) -> bool;
    /// An address, whose family does not matter any more.
    fn ip(address: Self::Address) -> IpAddr;
    /// Key of the neighbours map.
    fn on_link(ifindex: Ifindex, address: Self::Address) -> Self::OnLink;

    /// The kernel's tables.
    fn tables(tables: &Tables) -> &FamilyTables<Self>;
    /// The kernel's tables, to be changed.
    fn tables_mut(tables: &mut Tables) -> &mut FamilyTables<Self>;
    /// What is installed.
    fn mirrored(fib: &Fib) -> &Mirrored<Self>;
    /// What is installed, to be changed.
    fn mirrored_mut(fib: &mut Fib) -> &mut Mirrored<Self>;
    /// What is to be written.
    fn plan(plan: &Plan) -> &RoutePlan<Self>;
    /// Where routes go that are planned at the start.
    fn first<'a>(first: &'a First<'_>) -> &'a SyncSender<Chunk<Self>>;
    /// What is to be written, to be added to.
    fn plan_mut(plan: &mut Plan) -> &mut RoutePlan<Self>;
    /// The maps that the event loop writes.
    fn maps(writer: &mut Writer) -> &mut RouteMaps<Self>;
    /// The clone tables, by CPU.
    fn clones(clones: &CloneTables) -> &[CloneTable<Self>];
}

macro_rules! family {
    ($family:ident, $net:ident, $part:ident, $rules:expr) => {
        impl NetFamily for $family {
            const FAMILY: IpFamily = IpFamily::$family;
            const RULES: &'static [(u32, u32)] = &$rules;
            type Net = $net;
            type OnLink = NeighbourKey<Self::Address>;

            fn net(net: IpNet) -> Option<$net> {
                match net {
                    IpNet::$family(net) => Some(net.trunc()),
                    _ => None,
                }
            }

            fn prefix(address: Self::Address, len: u8) -> Option<$net> {
                $net::new(address.into(), len).ok().map(|net| net.trunc())
            }

            fn prefix_len(net: &$net) -> u8 {
                net.prefix_len()
            }

            fn network(net: &$net) -> Self::Address {
                net.network().octets()
            }

            fn supernet(net: &$net) -> Option<$net> {
                net.supernet()
            }

            fn contains(net: &$net, other: &$net) -> bool {
                net.contains(other)
            }

            fn ip(address: Self::Address) -> IpAddr {
                IpAddr::$family(address.into())
            }

            fn on_link(ifindex: Ifindex, address: Self::Address) -> Self::OnLink {
                NeighbourKey { ifindex, address }
            }

            fn tables(tables: &Tables) -> &FamilyTables<Self> {
                &tables.$part
            }

            fn tables_mut(tables: &mut Tables) -> &mut FamilyTables<Self> {
                &mut tables.$part
            }

            fn mirrored(fib: &Fib) -> &Mirrored<Self> {
                &fib.$part
            }

            fn mirrored_mut(fib: &mut Fib) -> &mut Mirrored<Self> {
                &mut fib.$part
            }

            fn plan(plan: &Plan) -> &RoutePlan<Self> {
                &plan.$part
            }

            fn first<'a>(first: &'a First<'_>) -> &'a SyncSender<Chunk<Self>> {
                &first.$part
            }

            fn plan_mut(plan: &mut Plan) -> &mut RoutePlan<Self> {
                &mut plan.$part
            }

            fn maps(writer: &mut Writer) -> &mut RouteMaps<Self> {
                &mut writer.$part
            }

            fn clones(clones: &CloneTables) -> &[CloneTable<Self>] {
                &clones.$part
            }
        }
    };
}

family!(V4, Ipv4Net, v4, [(0, TABLE_LOCAL), (32_766, TABLE_MAIN), (32_767, TABLE_DEFAULT)]);
family!(V6, Ipv6Net, v6, [(0, TABLE_LOCAL), (32_766, TABLE_MAIN)]);

/// The prefixes that cover a prefix, itself excluded, longest first.
pub(crate) fn ancestors<F: NetFamily>(net: &F::Net) -> impl Iterator<Item = F::Net> + use<F> {
    std::iter::successors(F::supernet(net), F::supernet)
}
