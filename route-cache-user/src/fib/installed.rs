//! Routes as they were last written.

use super::{
    family::NetFamily,
    hashed::HashedMap,
    pool::{Handle, Pool},
    verdict::Verdict,
};

/// A route as it was last written. Its words follow from these, from the generation of its slot and the id of its next
/// hop.
#[derive(Debug, Clone)]
pub(crate) struct InstalledRoute {
    /// The judgement it came from.
    pub(crate) verdict: Verdict,
    /// Its slot.
    pub(crate) slot: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    verdict: Handle,
    slot: u32,
}

/// What stands in the trie of a family.
#[derive(Debug)]
pub(crate) struct Installed<F: NetFamily> {
    by_prefix: HashedMap<F::Net, Entry>,
    verdicts: Pool<Verdict>,
}

impl<F: NetFamily> Default for Installed<F> {
    fn default() -> Self {
        Self { by_prefix: HashedMap::default(), verdicts: Pool::default() }
    }
}

impl<F: NetFamily> Installed<F> {
    /// The route of a prefix.
    pub(crate) fn get(&self, net: &F::Net) -> Option<InstalledRoute> {
        let entry = self.by_prefix.get(net)?;
        let verdict = self.verdicts.get(entry.verdict)?.clone();
        Some(InstalledRoute { verdict, slot: entry.slot })
    }

    /// Whether a prefix has a route.
    pub(crate) fn contains(&self, net: &F::Net) -> bool {
        self.by_prefix.contains_key(net)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_prefix.len()
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.by_prefix.reserve(more);
    }

    /// Their prefixes, in no order.
    pub(crate) fn nets(&self) -> impl Iterator<Item = F::Net> {
        self.by_prefix.keys().copied()
    }

    /// The longest prefix that covers an address.
    pub(crate) fn longest_match(&self, address: F::Address) -> Option<F::Net> {
        let prefixes = (0..=F::HOST_PREFIX_LEN).rev().filter_map(|len| F::prefix(address, len));
        prefixes.into_iter().find(|net| self.contains(net))
    }

    /// Notes a route as written.
    pub(super) fn insert(&mut self, net: F::Net, route: InstalledRoute) {
        let entry = Entry { verdict: self.verdicts.take(route.verdict), slot: route.slot };
        if let Some(known) = self.by_prefix.insert(net, entry) {
            self.verdicts.give_back(known.verdict);
        }
    }

    /// Notes a route as removed.
    pub(super) fn remove(&mut self, net: &F::Net) {
        if let Some(known) = self.by_prefix.remove(net) {
            self.verdicts.give_back(known.verdict);
        }
    }
}
