//! The part of a plan that is about next-hop groups and VLAN devices.

use std::collections::{BTreeMap, BTreeSet};

use route_cache_common::{MAX_IFINDEX, route::BUCKETS, vlan_key};

use super::{
    family::IpFamily,
    groups::{GroupKey, Member},
    interlock::Picking,
    message::Ifindex,
    mirror::Fib,
    plan::{NO_ROOM_FOR_HOPS, Plan},
    verdict::{HopKey, Judged},
};

impl Fib {
    /// Who the members of a group are, and where its buckets lead.
    pub(super) fn plan_group(
        &mut self,
        key: &GroupKey<HopKey>,
        hops: &mut BTreeSet<HopKey>,
        plan: &mut Plan,
    ) {
        let (Judged { all, usable }, reason) = match self.judge_group(key) {
            Ok(judged) => (judged, None),
            Err(reason) => (Judged::default(), Some(reason)),
        };
        for Member { key: member, .. } in &all {
            hops.insert(*member);
            match self.hops.take(*member) {
                Some(hop) => hop.routes += 1,
                None => match key.family {
                    IpFamily::V4 => self.v4.full = Some(NO_ROOM_FOR_HOPS),
                    IpFamily::V6 => self.v6.full = Some(NO_ROOM_FOR_HOPS),
                },
            }
        }
        let id = |member: &Member<HopKey>| Some((self.hops.get(&member.key)?.id, member.weight));
        let ids: Vec<_> = usable.iter().filter_map(id).collect();
        let Some(group) = self.groups.get_mut(key) else { return };
        let first = group.number * BUCKETS;
        let changed = group.buckets.deal(&ids);
        plan.buckets.extend(changed.into_iter().map(|(bucket, id)| (first + bucket, id)));
        group.reason = reason;
        // After the new ones were taken: who stays keeps its id.
        for member in std::mem::replace(&mut group.members, all) {
            self.release_hop(member.key, hops);
        }
    }

    fn judge_group(&self, key: &GroupKey<HopKey>) -> Result<Judged, String> {
        match self.interlocks.picking[key.family] {
            Picking::Kernel(reason) => Err(reason.into()),
            Picking::Addresses | Picking::Ports => self.tables.members_of(key),
        }
    }

    /// The VLAN devices on these interfaces.
    pub(super) fn vlans_above(&self, ports: &BTreeSet<Ifindex>) -> Vec<Ifindex> {
        let links = self.tables.links.values();
        let lower = |link: &&super::message::Link| link.vlan.and_then(|vlan| vlan.lower);
        links
            .filter(|link| lower(link).is_some_and(|lower| ports.contains(&lower)))
            .map(|link| link.ifindex)
            .collect()
    }

    /// Which VLAN devices there are on which interface.
    pub(super) fn plan_vlans(&mut self, plan: &mut Plan) {
        let mut wanted = BTreeMap::new();
        for link in self.tables.links.values() {
            if let Some(vlan) = link.vlan
                && let Ok(lower) = self.tables.below(link, vlan)
                && lower < MAX_IFINDEX
            {
                wanted.insert(vlan_key(lower, vlan.id), link.ifindex);
            }
        }
        let gone = self.vlans.keys().filter(|key| !wanted.contains_key(key));
        plan.vlans_removed.extend(gone);
        let new = wanted.iter().filter(|(key, ifindex)| self.vlans.get(key) != Some(ifindex));
        plan.vlans_added.extend(new.map(|(key, ifindex)| (*key, *ifindex)));
        self.vlans = wanted;
    }
}
