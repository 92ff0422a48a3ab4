//! The kernel's routes of one family, by prefix.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    ops::RangeBounds,
};

use route_cache_common::Family;

use super::{
    family::{IpFamily, NetFamily},
    hashed::HashedMap,
    message::{Hop, Ifindex, RouteInfo, RouteTarget},
    pool::{Handle, Pool},
    tables::Cause,
    verdict::{TABLE_DEFAULT, TABLE_LOCAL},
};

/// Routes of all tables by prefix; those of one prefix in the order in which the kernel would try them.
#[derive(Debug)]
pub(crate) struct Routes<F: NetFamily> {
    by_prefix: BTreeMap<F::Net, Handle>,
    lists: Pool<Vec<RouteInfo>>,
    /// Prefixes of table local that are wider than one address.
    pub(crate) local_nets: BTreeSet<F::Net>,
    /// Prefixes with routes in table default.
    pub(crate) default_nets: BTreeSet<F::Net>,
    /// Prefixes with a route by a next-hop object.
    pub(crate) by_object: HashedMap<u32, BTreeSet<F::Net>>,
    /// Tables that had a route since the last dump, and whether one that is neither unicast nor an error.
    pub(crate) used_tables: HashedMap<u32, bool>,
    /// Next-hop objects with a route that has an MTU, and how many of them.
    sized: HashedMap<u32, usize>,
    /// Counts the objects that came to be of `sized` or went.
    sized_changes: u64,
}

impl<F: NetFamily> Default for Routes<F> {
    fn default() -> Self {
        Self {
            by_prefix: BTreeMap::new(),
            lists: Pool::default(),
            local_nets: BTreeSet::new(),
            default_nets: BTreeSet::new(),
            by_object: HashedMap::default(),
            used_tables: HashedMap::default(),
            sized: HashedMap::default(),
            sized_changes: 0,
        }
    }
}

impl RouteInfo {
    /// Place among the routes of one prefix, smallest first: `fib_find_alias` sorts by table, DSCP and metric. IPv6 looks
    /// local up before main as well, and has no DSCP.
    fn order(&self) -> (std::cmp::Reverse<u32>, std::cmp::Reverse<u8>, u32) {
        (std::cmp::Reverse(self.table), std::cmp::Reverse(self.tos), self.metric)
    }

    /// The same route, whatever the state of its next hops. Of IPv4 the kernel has routes beside each other that differ only in
    /// what they say besides (`fib_find_info`); of IPv6 it does not (`rt6_duplicate_nexthop`).
    fn same(&self, other: &Self, family: IpFamily) -> bool {
        let says = |route: &Self| (route.mtu, route.protocol);
        self.order() == other.order()
            && (family == IpFamily::V6 || says(self) == says(other))
            && self.kind == other.kind
            && self.limited == other.limited
            && self.target.same(&other.target)
    }

    /// Whether this is the same IPv6 route, whatever the state of its next hops, and none of these differs from what it says.
    pub(super) fn is_evenly(&self, other: &Self) -> bool {
        !self.is_uneven && self.mtu == other.mtu && self.same(other, IpFamily::V6)
    }
}

fn same_hop(a: &Hop, b: &Hop) -> bool {
    (a.ifindex, a.gateway) == (b.ifindex, b.gateway)
}

impl RouteTarget {
    /// The interface of the first next hop.
    pub(crate) fn first_interface(&self) -> Option<Ifindex> {
        self.hops().first().map(|hop| hop.ifindex).filter(|ifindex| *ifindex != 0)
    }

    /// The next-hop object.
    const fn object(&self) -> Option<u32> {
        match self {
            Self::Object(id) => Some(*id),
            Self::None | Self::Hop(_) | Self::Multipath(_) => None,
        }
    }

    /// Next hops given in the route itself.
    pub(crate) fn hops(&self) -> &[Hop] {
        match self {
            Self::Hop(hop) => std::slice::from_ref(hop),
            Self::Multipath(hops) => hops,
            Self::None | Self::Object(_) => &[],
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hop(a), Self::Hop(b)) => same_hop(a, b),
            (Self::Multipath(a), Self::Multipath(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| a.weight == b.weight && same_hop(a, b))
            }
            (Self::None | Self::Object(_) | Self::Hop(_) | Self::Multipath(_), _) => self == other,
        }
    }

    /// IPv6 tells the next hops of a route in an order that depends on whom it tells of: here they have one.
    fn sorted(mut self, family: IpFamily) -> Self {
        if let (Self::Multipath(hops), IpFamily::V6) = (&mut self, family) {
            hops.sort_unstable_by_key(|hop| (hop.ifindex, hop.gateway));
        }
        self
    }

    /// Whether all its next hops are among those of another.
    fn is_part_of(&self, other: &Self) -> bool {
        let among = |hop: &Hop| other.hops().iter().any(|known| same_hop(known, hop));
        !self.hops().is_empty() && self.hops().iter().all(among)
    }
}

impl<F: NetFamily> Routes<F> {
    /// The routes of a prefix, best first.
    pub(crate) fn get(&self, net: &F::Net) -> &[RouteInfo] {
        self.by_prefix.get(net).map_or(&[], |handle| self.list(*handle))
    }

    fn list(&self, handle: Handle) -> &[RouteInfo] {
        self.lists.get(handle).map_or(&[], Vec::as_slice)
    }

    /// Whether a prefix has routes.
    pub(crate) fn contains(&self, net: &F::Net) -> bool {
        self.by_prefix.contains_key(net)
    }

    /// How many prefixes have routes.
    pub(crate) fn len(&self) -> usize {
        self.by_prefix.len()
    }

    /// All prefixes.
    pub(crate) fn nets(&self) -> impl Iterator<Item = F::Net> {
        self.by_prefix.keys().copied()
    }

    /// Prefixes in order: by address, the shorter first.
    pub(crate) fn range(&self, range: impl RangeBounds<F::Net>) -> impl Iterator<Item = F::Net> {
        self.by_prefix.range(range).map(|(net, _)| *net)
    }

    /// All prefixes with their routes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (F::Net, &[RouteInfo])> {
        self.by_prefix.iter().map(|(net, handle)| (*net, self.list(*handle)))
    }

    /// Puts a route where the kernel has it among those of its prefix (`fib_table_insert`, `fib6_add_rt2node`).
    pub(crate) fn insert(
        &mut self,
        net: F::Net,
        route: RouteInfo,
        replace: bool,
        append: bool,
    ) -> Option<Cause> {
        let mut route = RouteInfo { target: route.target.sorted(F::FAMILY), ..route };
        self.note_nets(&net, &route);
        // A dump comes in order: what is behind all others has nobody beside it.
        if self.by_prefix.last_key_value().is_none_or(|(last, _)| *last < net) {
            self.set_new(net, vec![route]);
            return None;
        }
        let mut all = self.get(&net).to_vec();
        let mut doubt = None;
        if F::FAMILY == IpFamily::V6 {
            // Next hops that join a route are told along with those it has, as if all were like the last.
            let (order, target) = (route.order(), route.target.clone());
            let joins = !replace && matches!(target, RouteTarget::Multipath(_));
            for known in all
                .extract_if(.., |known| known.order() == order && known.target.is_part_of(&target))
            {
                route.is_uneven |= joins
                    && (known.is_uneven
                        || (known.mtu, known.limited) != (route.mtu, route.limited));
            }
            if route.is_uneven {
                route.mtu = 0;
            }
        }
        let first = all.partition_point(|known| known.order() < route.order());
        let after = all.partition_point(|known| known.order() <= route.order());
        if replace && first < after {
            // What else IPv6 has of this metric may have gone with it, or not.
            if F::FAMILY == IpFamily::V6 && after - first > 1 {
                doubt = Some(Cause::Doubt);
            }
            all[first] = route;
        } else if let Some(known) =
            all[first..after].iter_mut().find(|known| known.same(&route, F::FAMILY))
        {
            *known = route;
        } else {
            all.insert(if append { after } else { first }, route);
        }
        self.set(net, all);
        doubt
    }

    /// Marks the routes of a prefix that lead by these next hops, in this order among its routes, as uneven.
    pub(crate) fn mark_uneven(&mut self, net: F::Net, marked: &RouteInfo) {
        let mut all = self.get(&net).to_vec();
        for route in all.iter_mut().filter(|route| **route == *marked) {
            route.is_uneven = true;
            route.mtu = 0;
        }
        self.set(net, all);
    }

    /// Takes that back of one that was marked, which says so much besides.
    pub(crate) fn mark_even(&mut self, net: F::Net, route: &RouteInfo) {
        let mut all = self.get(&net).to_vec();
        for marked in all.iter_mut().filter(|known| known.is_uneven && known.same(route, F::FAMILY))
        {
            (marked.is_uneven, marked.mtu) = (false, route.mtu);
        }
        self.set(net, all);
    }

    /// Takes a route out. Whether the prefix is known, and whether what is left may be wrong.
    pub(crate) fn remove(&mut self, net: F::Net, route: &RouteInfo) -> (bool, Option<Cause>) {
        if !self.contains(&net) {
            return (false, None);
        }
        let route = &RouteInfo { target: route.target.clone().sorted(F::FAMILY), ..route.clone() };
        let mut all = self.get(&net).to_vec();
        let doubt =
            if let Some(position) = all.iter().position(|known| known.same(route, F::FAMILY)) {
                all.remove(position);
                None
            } else if F::FAMILY == IpFamily::V6 && leaves(&mut all, route) {
                None
            } else {
                // The prefix is known and this route of it is not.
                Some(Cause::Doubt)
            };
        self.set(net, all);
        (true, doubt)
    }

    /// Enters the routes of a prefix that has none.
    fn set_new(&mut self, net: F::Net, all: Vec<RouteInfo>) {
        self.note_sized(&[], &sized_objects(&all));
        let handle = self.lists.take(all);
        self.by_prefix.insert(net, handle);
    }

    fn set(&mut self, net: F::Net, all: Vec<RouteInfo>) {
        self.note_sized(&sized_objects(self.get(&net)), &sized_objects(&all));
        let known = if all.is_empty() {
            self.by_prefix.remove(&net)
        } else {
            let handle = self.lists.take(all);
            self.by_prefix.insert(net, handle)
        };
        if let Some(known) = known {
            self.lists.give_back(known);
        }
        self.forget_nets(&net);
    }

    /// The next-hop objects by which routes lead that have an MTU.
    pub(crate) fn sized(&self) -> impl Iterator<Item = u32> {
        self.sized.keys().copied()
    }

    /// Changes when [`Routes::sized`] does.
    pub(crate) const fn sized_changes(&self) -> u64 {
        self.sized_changes
    }

    /// Routes with an MTU by these objects go, and others come.
    fn note_sized(&mut self, gone: &[u32], come: &[u32]) {
        for id in come {
            let count = self.sized.entry(*id).or_default();
            self.sized_changes += u64::from(*count == 0);
            *count += 1;
        }
        for id in gone {
            if let Some(count) = self.sized.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    self.sized.remove(id);
                    self.sized_changes += 1;
                }
            }
        }
    }

    /// Enters a route into the indexes.
    fn note_nets(&mut self, net: &F::Net, route: &RouteInfo) {
        // Unicast, blackhole, unreachable, prohibit, throw.
        *self.used_tables.entry(route.table).or_default() |= !matches!(route.kind, 1 | 6..=9);
        if route.table == TABLE_DEFAULT {
            self.default_nets.insert(*net);
        }
        if route.table == TABLE_LOCAL && F::prefix_len(net) < <F as Family>::HOST_PREFIX_LEN {
            self.local_nets.insert(*net);
        }
        if let RouteTarget::Object(id) = route.target {
            self.by_object.entry(id).or_default().insert(*net);
        }
    }

    /// Takes a prefix out of the indexes that its routes no longer justify.
    fn forget_nets(&mut self, net: &F::Net) {
        let has = |table| self.get(net).iter().any(|route| route.table == table);
        let (local, default) = (has(TABLE_LOCAL), has(TABLE_DEFAULT));
        if !default {
            self.default_nets.remove(net);
        }
        if !local {
            self.local_nets.remove(net);
        }
        // Entries of `by_object` may outlive their route: re-judging a prefix once too often is harmless.
    }
}

/// The next-hop objects of the routes that have an MTU.
fn sized_objects(routes: &[RouteInfo]) -> Vec<u32> {
    let sized = routes.iter().filter(|route| route.mtu != 0);
    sized.filter_map(|route| route.target.object()).collect()
}

/// IPv6 tells next hops that leave a multipath route one by one.
fn leaves(all: &mut [RouteInfo], route: &RouteInfo) -> bool {
    let RouteTarget::Hop(gone) = &route.target else {
        return false;
    };
    for known in all.iter_mut().filter(|known| known.order() == route.order()) {
        let RouteTarget::Multipath(hops) = &mut known.target else {
            continue;
        };
        if let Some(position) = hops.iter().position(|hop| same_hop(hop, gone)) {
            hops.remove(position);
            if let [last] = hops[..] {
                known.target = RouteTarget::Hop(last);
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv6Net;
    use route_cache_common::V6;

    use super::*;
    use crate::fib::{
        message::{Event, KernelRoute},
        tables::{Tables, Touched},
        verdict::Way,
    };

    const NET: &str = "2001:db8:9::/48";

    fn hop(last: u16) -> Hop {
        let gateway = Some([0x2001, 0xdb8, 2, 0, 0, 0, 0, last].into());
        Hop { ifindex: 2, gateway, encap: false, weight: 1, flags: 0 }
    }

    fn route(target: RouteTarget) -> KernelRoute {
        let info = RouteInfo {
            table: 254,
            kind: 1,
            tos: 0,
            protocol: 3,
            metric: 1024,
            mtu: 0,
            limited: None,
            is_uneven: false,
            target,
        };
        KernelRoute { prefix: NET.parse().unwrap(), info }
    }

    fn one(last: u16) -> RouteTarget {
        RouteTarget::Hop(hop(last))
    }

    fn several<const N: usize>(lasts: [u16; N]) -> RouteTarget {
        RouteTarget::Multipath(lasts.map(hop).to_vec())
    }

    fn targets(tables: &Tables) -> Vec<RouteTarget> {
        let routes = tables.v6.routes.get(&NET.parse().unwrap());
        routes.iter().map(|route| route.target.clone()).collect()
    }

    fn hear(tables: &mut Tables, target: RouteTarget, replace: bool) -> Option<Cause> {
        tables.apply(Event::Route { route: route(target), replace, append: false }).1
    }

    #[test]
    fn ipv6_next_hops_that_join_a_route_come_with_those_it_has_and_leave_one_by_one() {
        let mut tables = Tables::default();
        assert_eq!(hear(&mut tables, one(1), false), None);
        assert_eq!(hear(&mut tables, several([2, 1]), false), None);
        assert_eq!(targets(&tables), [several([1, 2])]);
        assert_eq!(hear(&mut tables, several([3, 2, 1]), false), None);
        for (gone, left) in [(2, several([1, 3])), (3, one(1))] {
            let (touched, cause) = tables.apply(Event::RouteGone(route(one(gone))));
            assert!(matches!(touched, Touched::Prefix(_)) && cause.is_none());
            assert_eq!(targets(&tables), [left]);
        }
        let (_, cause) = tables.apply(Event::RouteGone(route(one(7))));
        assert_eq!(cause, Some(Cause::Doubt), "of one that is not known");
        tables.apply(Event::RouteGone(route(one(1))));
        assert_eq!(tables.v6.routes.nets().count(), 0);
    }

    #[test]
    fn several_ipv6_routes_of_one_metric_pass_and_replacing_one_of_them_is_read_anew() {
        let mut tables = Tables::default();
        let net: Ipv6Net = NET.parse().unwrap();
        let way = |tables: &Tables| tables.verdict::<V6>(&net).unwrap().way;
        assert_eq!(hear(&mut tables, one(1), false), None);
        assert!(matches!(way(&tables), Way::Via(_)));
        assert_eq!(hear(&mut tables, one(2), false), None);
        assert!(matches!(way(&tables), Way::Pass(_, reason) if reason.contains("one metric")));
        assert_eq!(hear(&mut tables, one(3), true), Some(Cause::Doubt));
    }

    #[test]
    fn an_ipv6_route_for_single_sources_or_for_a_time_passes() {
        for reason in ["the prefix has routes for single sources", "the route expires"] {
            let mut tables = Tables::default();
            let mut limited = route(one(1));
            limited.info.limited = Some(reason);
            let limited = Event::Route { route: limited, replace: false, append: false };
            tables.apply(limited);
            let verdict = tables.verdict::<V6>(&NET.parse().unwrap()).unwrap();
            assert!(matches!(verdict.way, Way::Pass(_, why) if why == reason));
        }
    }

    #[test]
    fn a_route_of_a_full_table_takes_few_bytes() {
        let mut routes = Routes::<route_cache_common::V4>::default();
        for i in 0..1000_u32 {
            let net = ipnet::Ipv4Net::new((i << 12).into(), 24).unwrap();
            routes.insert(net, route(one(i as u16 % 7)).info, false, true);
        }
        assert_eq!(routes.lists.len(), 7, "what they have in common is kept once");
        assert_eq!(routes.nets().count(), 1000);
    }
}
