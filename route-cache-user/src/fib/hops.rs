//! Next hops: who has which id, who needs it, and what was last written for it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use route_cache_common::{NextHop, NextHopId, next_hop::NextHopVersion};

use super::{message::Ifindex, verdict::HopKey};

/// A next hop that has an id.
#[derive(Debug)]
pub(crate) struct Hop {
    /// Its id.
    pub(crate) id: NextHopId,
    /// Routes that lead to it.
    pub(crate) routes: u64,
    /// The element as it was last written: both versions and which is current.
    pub(crate) element: NextHop,
    /// Why it is not usable, if it is not.
    pub(crate) reason: Option<String>,
    /// It stands in the neighbours map.
    pub(crate) listed: bool,
}

impl Hop {
    /// The version readers see.
    pub(crate) const fn version(&self) -> &NextHopVersion {
        &self.element.versions[(self.element.current & 1) as usize]
    }
}

/// All next hops.
#[derive(Debug)]
pub(crate) struct Hops {
    by_key: BTreeMap<HopKey, Hop>,
    /// Given back, oldest first, with the element as last written: an index rests as long as possible before it is
    /// used again, and its version number goes on.
    free: VecDeque<(NextHopId, NextHop)>,
    /// By index: whose it is, so that an id can be looked up.
    holders: Vec<Option<HopKey>>,
    fresh: u32,
    capacity: u32,
}

impl Hops {
    /// As many ids as the next-hop map has elements.
    pub(crate) const fn new(capacity: u32) -> Self {
        Self {
            by_key: BTreeMap::new(),
            free: VecDeque::new(),
            holders: Vec::new(),
            fresh: 0,
            capacity,
        }
    }

    /// The next hop of a key.
    pub(crate) fn get(&self, key: &HopKey) -> Option<&Hop> {
        self.by_key.get(key)
    }

    /// Who has an id now, and what for; nothing if it is nobody's any more.
    pub(crate) fn of(&self, id: NextHopId) -> Option<(&HopKey, &Hop)> {
        let key = self.holders.get(id.index() as usize)?.as_ref()?;
        self.by_key.get_key_value(key).filter(|(_, hop)| hop.id == id)
    }

    /// The next hop of a key, to be changed.
    pub(crate) fn get_mut(&mut self, key: &HopKey) -> Option<&mut Hop> {
        self.by_key.get_mut(key)
    }

    /// Forgets what was written for each, so that the next plan writes it again.
    pub(super) fn set_unwritten(&mut self) {
        for hop in self.by_key.values_mut() {
            hop.element.current += 1;
            hop.element.versions[(hop.element.current & 1) as usize] = NextHopVersion::default();
            hop.listed = false;
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HopKey, &Hop)> {
        self.by_key.iter()
    }

    /// Keys of the neighbours on an interface that have an id.
    pub(crate) fn on_interface(&self, ifindex: Ifindex) -> impl Iterator<Item = HopKey> + '_ {
        let from = HopKey::Neighbour((ifindex, IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let to = HopKey::Neighbour((ifindex, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))));
        self.by_key.range(from..=to).map(|(key, _)| *key)
    }

    /// The id of a key, a new one if it has none; nothing if all are taken.
    pub(crate) fn take(&mut self, key: HopKey) -> Option<&mut Hop> {
        if !self.by_key.contains_key(&key) {
            let (id, element) = self.unused()?;
            let index = id.index() as usize;
            if self.holders.len() <= index {
                self.holders.resize(index + 1, None);
            }
            self.holders[index] = Some(key);
            self.by_key.insert(key, Hop { id, routes: 0, element, reason: None, listed: false });
        }
        self.by_key.get_mut(&key)
    }

    fn unused(&mut self) -> Option<(NextHopId, NextHop)> {
        // Fresh ones first: the longer an index rests, the better.
        if self.fresh < self.capacity {
            let index = self.fresh;
            self.fresh += 1;
            return Some((NextHopId::new(index, 0), NextHop::default()));
        }
        let (id, element) = self.free.pop_front()?;
        Some((NextHopId::new(id.index(), (id.serial() + 1) % NextHopId::SERIALS), element))
    }

    /// Takes the id from a key. What was written for it must be unusable by now.
    pub(crate) fn give_back(&mut self, key: &HopKey) {
        if let Some(hop) = self.by_key.remove(key) {
            if let Some(holder) = self.holders.get_mut(hop.id.index() as usize) {
                *holder = None;
            }
            self.free.push_back((hop.id, hop.element));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_used_again_has_another_id() {
        let key = |last| HopKey::Neighbour((2, IpAddr::from([10, 0, 0, last])));
        let mut hops = Hops::new(2);
        let first = hops.take(key(1)).unwrap().id;
        hops.take(key(2)).unwrap();
        assert!(hops.take(key(3)).is_none());
        hops.give_back(&key(1));
        let again = hops.take(key(3)).unwrap().id;
        assert_eq!(again.index(), first.index());
        assert_ne!(again, first);
        assert_eq!(hops.on_interface(2).count(), 2);
        assert!(hops.of(first).is_none());
        assert_eq!(hops.of(again).map(|(key, _)| *key), Some(key(3)));
    }
}
