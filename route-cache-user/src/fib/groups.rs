//! Groups of next hops: who has which number, and which member each bucket leads to.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use route_cache_common::{NextHopId, route::BUCKETS};

use super::family::IpFamily;

/// A member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Member<K> {
    /// The next hop.
    pub(crate) key: K,
    /// Its weight, from 1.
    pub(crate) weight: u32,
}

/// What a group is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey<K> {
    /// Of the routes that lead there: how one of the members is picked is a setting of the family.
    pub(crate) family: IpFamily,
    /// Its members.
    pub(crate) of: GroupOf<K>,
}

/// Who tells the members of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum GroupOf<K> {
    /// A next-hop object that is a group: a change of its members is none of the routes that use it.
    Object(u32),
    /// The next hops of multipath routes; routes with the same ones share a group.
    Members(Arc<[Member<K>]>),
}

/// A group that has a number.
#[derive(Debug)]
pub(crate) struct Group<K> {
    /// Its number.
    pub(crate) number: u32,
    /// Routes that lead to it.
    pub(crate) routes: u64,
    /// Its members as they were last judged, each of which holds its next hop.
    pub(crate) members: Vec<Member<K>>,
    /// Where the buckets lead, as they were last written.
    pub(crate) buckets: Buckets,
    /// Why it is left to the kernel, if it is.
    pub(crate) reason: Option<String>,
}

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups<K> {
    by_key: BTreeMap<GroupKey<K>, Group<K>>,
    /// By number: whose it is.
    holders: BTreeMap<u32, GroupKey<K>>,
    free: VecDeque<(u32, Buckets)>,
    /// Given back since [`Groups::settle`]: clones of the routes that led there may still be used.
    resting: Vec<(u32, Buckets)>,
    fresh: u32,
    capacity: u32,
}

impl<K: Copy + Ord> Groups<K> {
    /// As many numbers as the map has groups of buckets.
    pub(crate) const fn new(capacity: u32) -> Self {
        Self {
            by_key: BTreeMap::new(),
            holders: BTreeMap::new(),
            free: VecDeque::new(),
            resting: Vec::new(),
            fresh: 0,
            capacity,
        }
    }

    /// The group of a key.
    pub(crate) fn get(&self, key: &GroupKey<K>) -> Option<&Group<K>> {
        self.by_key.get(key)
    }

    /// The group of a key, to be changed.
    pub(crate) fn get_mut(&mut self, key: &GroupKey<K>) -> Option<&mut Group<K>> {
        self.by_key.get_mut(key)
    }

    /// The group with a number.
    pub(crate) fn of(&self, number: u32) -> Option<&Group<K>> {
        self.by_key.get(self.holders.get(&number)?)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group<K>> {
        self.by_key.values()
    }

    /// Keys of all of them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &GroupKey<K>> {
        self.by_key.keys()
    }

    /// The group of a key, and the key as it is held here; a new one, without members, if it has none. Nothing if all
    /// numbers are taken.
    pub(crate) fn take(&mut self, key: &GroupKey<K>) -> Option<(GroupKey<K>, &mut Group<K>)> {
        if !self.by_key.contains_key(key) {
            let (number, buckets) = self.unused()?;
            let group = Group { number, routes: 0, members: Vec::new(), buckets, reason: None };
            self.by_key.insert(key.clone(), group);
            self.holders.insert(number, key.clone());
        }
        let held = self.by_key.get_key_value(key)?.0.clone();
        Some((held, self.by_key.get_mut(key)?))
    }

    fn unused(&mut self) -> Option<(u32, Buckets)> {
        if let Some(unused) = self.free.pop_front() {
            return Some(unused);
        }
        let number = self.fresh;
        self.fresh += u32::from(number < self.capacity);
        (number < self.capacity).then(|| (number, Buckets::default()))
    }

    /// Takes the number from a key. It rests until [`Groups::settle`]. Returns what the group was.
    pub(crate) fn give_back(&mut self, key: &GroupKey<K>) -> Option<Vec<Member<K>>> {
        let group = self.by_key.remove(key)?;
        self.holders.remove(&group.number);
        self.resting.push((group.number, group.buckets));
        Some(group.members)
    }

    /// The routes that led to the groups given back so far are gone from the data plane, their clones included.
    pub(crate) fn settle(&mut self) {
        self.free.extend(self.resting.drain(..));
    }
}

/// The buckets of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buckets(Box<[NextHopId]>);

impl Default for Buckets {
    /// As the map is at start.
    fn default() -> Self {
        Self(vec![NextHopId(0); BUCKETS as usize].into())
    }
}

impl Buckets {
    /// How many buckets lead to a next hop.
    pub(crate) fn count(&self, id: NextHopId) -> usize {
        self.0.iter().filter(|held| **held == id).count()
    }

    /// Deals the buckets out by weight, leaving as many as possible where they are. Returns those that changed, by
    /// position.
    ///
    /// Each member gets its share of the buckets within one, and at least one: members that outnumber the buckets are
    /// the caller's to refuse. Without any member all buckets lead nowhere.
    pub(crate) fn deal(&mut self, members: &[(NextHopId, u32)]) -> Vec<(u32, NextHopId)> {
        let mut wanted = quotas(members);
        let mut vacant = Vec::new();
        for (position, held) in self.0.iter().enumerate() {
            match wanted.get_mut(held) {
                Some(quota) if *quota > 0 => *quota -= 1,
                _ => vacant.push(position),
            }
        }
        let mut takers =
            wanted.iter().flat_map(|(id, quota)| std::iter::repeat_n(*id, *quota as usize));
        vacant
            .into_iter()
            .filter_map(|position| {
                let id = takers.next().unwrap_or(NextHopId::NONE);
                let held = self.0.get_mut(position)?;
                (std::mem::replace(held, id) != id).then_some((position as u32, id))
            })
            .collect()
    }
}

/// How many buckets each member deserves: one, and its share of the rest, rounded by the largest remainders. Members that are
/// the same next hop are one.
fn quotas(members: &[(NextHopId, u32)]) -> BTreeMap<NextHopId, u64> {
    let mut weights = BTreeMap::new();
    for (id, weight) in members {
        *weights.entry(*id).or_insert(0) += u64::from(*weight);
    }
    let total: u64 = weights.values().sum::<u64>().max(1);
    let buckets = u64::from(BUCKETS);
    let mut quotas: BTreeMap<_, _> =
        weights.iter().map(|(id, weight)| (*id, (buckets * weight / total).max(1))).collect();
    // What has one that it does not deserve deserves no more.
    let mut by_remainder: Vec<_> = weights
        .iter()
        .map(|(id, weight)| (buckets * weight, *id))
        .filter(|(share, _)| *share >= total)
        .map(|(share, id)| (share % total, id))
        .collect();
    by_remainder.sort_unstable_by_key(|(remainder, id)| (std::cmp::Reverse(*remainder), *id));
    let mut dealt: u64 = quotas.values().sum();
    // Fewer are missing than there are members.
    for (_, id) in &by_remainder {
        if dealt < buckets {
            quotas.entry(*id).and_modify(|quota| *quota += 1);
            dealt += 1;
        }
    }
    // The smallest members got one that they do not deserve: the largest pay.
    while dealt > buckets {
        let Some(largest) = quotas.values_mut().max().filter(|quota| **quota > 1) else { break };
        *largest -= 1;
        dealt -= 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members() -> impl Strategy<Value = Vec<(NextHopId, u32)>> {
        prop::collection::btree_map(0u32..400, 1u32..=256, 1..100).prop_map(|members| {
            members.into_iter().map(|(id, weight)| (NextHopId(id + 1000), weight)).collect()
        })
    }

    fn counts(buckets: &Buckets) -> BTreeMap<NextHopId, usize> {
        buckets.0.iter().map(|id| (*id, buckets.count(*id))).collect()
    }

    proptest! {
        #[test]
        fn row_21_all_members_are_there_in_proportion_whatever_was_before(
            history in prop::collection::vec(members(), 1..6),
        ) {
            let mut buckets = Buckets::default();
            let mut written = buckets.0.to_vec();
            for members in history {
                for (position, id) in buckets.deal(&members) {
                    prop_assert_ne!(written[position as usize], id);
                    written[position as usize] = id;
                }
                prop_assert_eq!(&written[..], &buckets.0[..]);
                let total: u32 = members.iter().map(|(_, weight)| weight).sum();
                let counts = counts(&buckets);
                prop_assert_eq!(counts.len(), members.len());
                let exact = |weight: u32| 256.0 * f64::from(weight) / f64::from(total);
                // What members below one bucket get too much, others get too little.
                let gifts = members.iter().map(|(_, w)| (1.0 - exact(*w)).max(0.0)).sum::<f64>();
                for (id, weight) in members {
                    let difference = counts[&id] as f64 - exact(weight);
                    prop_assert!(difference <= 1.0, "{id:?} has {} for {}", counts[&id], exact(weight));
                    prop_assert!(difference >= -1.0 - gifts.ceil());
                }
            }
        }

        #[test]
        fn row_22_a_member_that_goes_leaves_the_buckets_of_the_others_alone(
            members in members().prop_filter("two", |members| members.len() > 1),
            index in any::<prop::sample::Index>(),
        ) {
            let mut buckets = Buckets::default();
            buckets.deal(&members);
            let before = buckets.clone();
            let mut left = members.clone();
            let (gone, _) = left.remove(index.index(members.len()));
            let changed = buckets.deal(&left);
            // Only what it had, and what rounding moves: at most one for each of the others.
            let moved = changed.iter().filter(|(at, _)| before.0[*at as usize] != gone).count();
            prop_assert!(moved <= left.len(), "{moved} of {} moved", left.len());
            prop_assert_eq!(changed.len() - moved, before.count(gone));
            prop_assert!(changed.iter().all(|(_, id)| *id != gone));
        }
    }

    #[test]
    fn equal_members_that_come_and_go_move_nothing_but_their_own() {
        let member = |id| (NextHopId(id), 1);
        let mut buckets = Buckets::default();
        assert_eq!(buckets.deal(&[member(1), member(2), member(3), member(4)]).len(), 256);
        assert_eq!(buckets.deal(&[member(1), member(2), member(4)]).len(), 64);
        assert_eq!(buckets.deal(&[member(1), member(2), member(3), member(4)]).len(), 64);
        assert_eq!(buckets.deal(&[member(1), member(2), member(3), member(4)]), []);
        assert_eq!(buckets.deal(&[]).len(), 256);
        assert_eq!(buckets.count(NextHopId::NONE), 256);
    }

    #[test]
    fn a_next_hop_that_stands_twice_in_a_group_counts_twice() {
        let mut buckets = Buckets::default();
        buckets.deal(&[(NextHopId(1), 1), (NextHopId(2), 2), (NextHopId(1), 1)]);
        assert_eq!((buckets.count(NextHopId(1)), buckets.count(NextHopId(2))), (128, 128));
    }

    #[test]
    fn a_number_that_was_given_back_rests_until_its_routes_are_gone() {
        let mut groups = Groups::<u32>::new(2);
        let key = |id| GroupKey { family: IpFamily::V4, of: GroupOf::Object(id) };
        let first = groups.take(&key(1)).unwrap().1.number;
        assert_eq!(groups.take(&key(1)).unwrap().1.number, first);
        groups.take(&key(2)).unwrap();
        assert!(groups.take(&key(3)).is_none());
        groups.give_back(&key(1));
        assert!(groups.take(&key(3)).is_none());
        groups.settle();
        assert_eq!(groups.take(&key(3)).unwrap().1.number, first);
        assert!(groups.get(&key(1)).is_none());
    }

    #[test]
    fn routes_with_the_same_next_hops_share_a_group() {
        let members = |weight| GroupKey {
            family: IpFamily::V4,
            of: GroupOf::Members([Member { key: 7, weight }].into()),
        };
        let mut groups = Groups::<u32>::new(8);
        let (held, _) = groups.take(&members(1)).unwrap();
        let (again, _) = groups.take(&members(1)).unwrap();
        let (GroupOf::Members(held), GroupOf::Members(again)) = (held.of, again.of) else {
            panic!("not by members")
        };
        assert!(Arc::ptr_eq(&held, &again));
        groups.take(&members(2)).unwrap();
        assert_eq!(groups.keys().count(), 2);
    }
}
