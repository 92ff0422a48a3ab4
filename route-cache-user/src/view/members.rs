//! The members of a next-hop group, in words.

use route_cache_common::route::BUCKETS;

use crate::{
    agent::State,
    control::protocol::MemberEntry,
    fib::{groups::GroupKey, verdict::HopKey},
};

/// The members of a group, in the order in which the kernel names them.
pub(super) fn members(state: &State, key: &GroupKey<HopKey>) -> Vec<MemberEntry> {
    let Some(group) = state.fib.groups.get(key) else {
        return Vec::new();
    };
    let tables = &state.fib.tables;
    let member = |member: &crate::fib::groups::Member<HopKey>| {
        let hop = state.fib.hops.get(&member.key)?;
        let at = tables.neighbour_of(member.key).ok();
        let buckets = group.buckets.count(hop.id);
        let reason = match (&hop.reason, buckets) {
            (Some(reason), _) => Some(reason.clone()),
            (None, 0) => Some("the kernel skips it".to_owned()),
            (None, _) => None,
        };
        Some(MemberEntry {
            id: hop.id.index(),
            address: at.map(|(_, address)| address),
            dev: at.map_or_else(|| "-".into(), |(ifindex, _)| tables.link_name(ifindex)),
            weight: member.weight,
            share: format!("{buckets}/{BUCKETS}"),
            usable: reason.is_none(),
            reason,
        })
    };
    group.members.iter().filter_map(member).collect()
}
