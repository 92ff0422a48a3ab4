//! The flat index of IPv4's /24s (see [`route_cache_common::index`]): what each must say, and what a change of routes
//! changes in it.
//!
//! Of every /24 it is known how long the prefix is whose code it has. A route that comes takes the /24s whose prefixes
//! are no longer than its own; one that goes gives those that it has to the route that covers it. So a change touches
//! the /24s of its own prefix and no others, and no order among the prefixes is needed.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use ipnet::Ipv4Net;
use route_cache_common::{
    Route,
    index::{ASK_TRIE, Code, INDEX_PREFIX_LEN},
    route::RouteWords,
};

use super::hashed::{HashedMap, HashedSet};

/// How long the index takes to answer, many times over: no reader holds a code for so long.
const REST: Duration = Duration::from_secs(10);

/// Bit of an owner: the /24 has longer prefixes in it.
const SPLIT: u8 = 0x80;

/// /24s in all of IPv4.
const NETS: usize = 1 << INDEX_PREFIX_LEN;

/// What the index says.
#[derive(Debug)]
pub(crate) struct Index {
    /// By /24: one more than the length of the prefix whose code it has, or 0; and [`SPLIT`].
    owners: Vec<u8>,
    /// Codes of the routes that are no longer than /24.
    routes: HashedMap<Place, Code>,
    /// Those that are longer,
    longer: HashedSet<Ipv4Net>,
    /// and how many of them each /24 has.
    splits: HashedMap<u32, u32>,
    codes: Codes,
}

/// The first /24 of a prefix and its length, in four bytes: there may be a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(u32);

impl Place {
    const fn of(first: u32, len: u8) -> Self {
        Self(first << 8 | len as u32)
    }
}

/// Where codes and their meanings are written.
pub(crate) struct Target<'a> {
    /// The codes by /24.
    pub(crate) table: &'a [AtomicU16],
    /// Says what a code means. It does before the code is used.
    pub(crate) define: &'a mut dyn FnMut(Code, RouteWords) -> anyhow::Result<()>,
}

impl Target<'_> {
    fn set(&self, net: usize, code: Code) {
        if let Some(place) = self.table.get(net) {
            place.store(code, Ordering::Relaxed);
        }
    }
}

impl Index {
    /// Of no routes: every /24 asks the trie.
    pub(crate) fn new() -> Self {
        Self {
            owners: vec![0; NETS],
            routes: HashedMap::default(),
            longer: HashedSet::default(),
            splits: HashedMap::default(),
            codes: Codes::default(),
        }
    }

    /// The same, with room for so many routes.
    pub(crate) fn with_capacity(routes: usize) -> Self {
        let mut index = Self::new();
        index.routes.reserve(routes);
        index
    }

    /// Enters routes into an index that has none: fastest if they come shortest first, and those of a length as they lie.
    pub(crate) fn build(
        routes: impl ExactSizeIterator<Item = (Ipv4Net, RouteWords)>,
        to: &mut Target<'_>,
    ) -> anyhow::Result<Self> {
        let (mut index, now) = (Self::with_capacity(routes.len()), Instant::now());
        for (net, words) in routes {
            index.insert(net, words, now, to)?;
        }
        Ok(index)
    }

    /// A route comes, or leads another way.
    pub(crate) fn insert(
        &mut self,
        net: Ipv4Net,
        words: RouteWords,
        now: Instant,
        to: &mut Target<'_>,
    ) -> anyhow::Result<()> {
        let (first, len) = place(net);
        if len > INDEX_PREFIX_LEN {
            if self.longer.insert(net) {
                *self.splits.entry(first).or_default() += 1;
                self.owners[first as usize] |= SPLIT;
                to.set(first as usize, ASK_TRIE);
            }
            return Ok(());
        }
        let code = self.codes.take(meaning(words), now, to.define)?;
        let known = self.routes.insert(Place::of(first, len), code);
        if known != Some(code) {
            for net in nets(first, len) {
                let owner = self.owners[net];
                if owner & !SPLIT <= len + 1 {
                    self.owners[net] = owner & SPLIT | (len + 1);
                    if owner & SPLIT == 0 {
                        to.set(net, code);
                    }
                }
            }
        }
        if let Some(known) = known {
            self.codes.give_back(known, now);
        }
        Ok(())
    }

    /// A route goes.
    pub(crate) fn remove(&mut self, net: Ipv4Net, now: Instant, to: &Target<'_>) {
        let (first, len) = place(net);
        if len > INDEX_PREFIX_LEN {
            if self.longer.remove(&net) {
                self.unsplit(first, to);
            }
            return;
        }
        let Some(code) = self.routes.remove(&Place::of(first, len)) else {
            return;
        };
        let (cover, covering) = self.cover(first, len);
        for net in nets(first, len) {
            let owner = self.owners[net];
            if owner & !SPLIT == len + 1 {
                self.owners[net] = owner & SPLIT | cover;
                if owner & SPLIT == 0 {
                    to.set(net, covering);
                }
            }
        }
        self.codes.give_back(code, now);
    }

    /// One prefix less in a /24.
    fn unsplit(&mut self, net: u32, to: &Target<'_>) {
        let left = self.splits.get_mut(&net).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            self.splits.remove(&net);
            self.owners[net as usize] &= !SPLIT;
            let (_, code) = self.cover(net, INDEX_PREFIX_LEN + 1);
            to.set(net as usize, code);
        }
    }

    /// The longest route shorter than `len` around a /24: as an owner, and its code.
    fn cover(&self, net: u32, len: u8) -> (u8, Code) {
        let covers = (0..len).rev().filter_map(|len| {
            let first = net & mask(len);
            self.routes.get(&Place::of(first, len)).map(|code| (len + 1, *code))
        });
        covers.into_iter().next().unwrap_or((0, ASK_TRIE))
    }
}

/// The first /24 of a prefix, or the one that a longer prefix lies in; and its length.
fn place(net: Ipv4Net) -> (u32, u8) {
    (u32::from(net.network()) >> (32 - INDEX_PREFIX_LEN), net.prefix_len())
}

/// The part of a /24's number that a shorter prefix determines.
const fn mask(len: u8) -> u32 {
    let free = (INDEX_PREFIX_LEN - len) as u32;
    !((1 << free) - 1)
}

fn nets(first: u32, len: u8) -> std::ops::Range<usize> {
    let first = first as usize;
    first..first + (1 << (INDEX_PREFIX_LEN - len))
}

/// What a code for a route says: slot and generation are in the trie alone.
fn meaning(words: RouteWords) -> RouteWords {
    let route = Route::unpack(words);
    Route { slot: Route::NO_SLOT, generation: 0, prefix_len: 0, ..route }.pack()
}

/// Codes, one for each meaning.
#[derive(Debug, Default)]
struct Codes {
    by_meaning: HashedMap<RouteWords, Code>,
    /// By code: what it means, and how many routes have it.
    used: Vec<(RouteWords, u32)>,
    /// Nobody's any more, and since when.
    resting: VecDeque<(Code, Instant)>,
}

impl Codes {
    /// The code of a meaning, for one more route. If all are taken, the route's packets ask the trie.
    fn take(
        &mut self,
        meaning: RouteWords,
        now: Instant,
        define: &mut dyn FnMut(Code, RouteWords) -> anyhow::Result<()>,
    ) -> anyhow::Result<Code> {
        if let Some(&code) = self.by_meaning.get(&meaning) {
            self.used[usize::from(code)].1 += 1;
            return Ok(code);
        }
        if self.used.is_empty() {
            // ASK_TRIE means nothing else.
            self.used.push(([0; 4], 1));
        }
        let rested = self.resting.front().is_some_and(|(_, since)| now - *since >= REST);
        let code = match Code::try_from(self.used.len()) {
            _ if rested => self.resting.pop_front().map_or(ASK_TRIE, |(code, _)| code),
            Ok(code) => {
                self.used.push(([0; 4], 0));
                code
            }
            Err(_) => ASK_TRIE,
        };
        if code != ASK_TRIE {
            define(code, meaning)?;
            self.used[usize::from(code)] = (meaning, 1);
            self.by_meaning.insert(meaning, code);
        }
        Ok(code)
    }

    fn give_back(&mut self, code: Code, now: Instant) {
        if code == ASK_TRIE {
            return;
        }
        if let Some((meaning, users)) = self.used.get_mut(usize::from(code)) {
            *users -= 1;
            if *users == 0 {
                self.by_meaning.remove(meaning);
                self.resting.push_back((code, now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use route_cache_common::{Action, NextHopId};

    use super::*;

    /// A table without a kernel.
    struct Paper {
        table: Vec<AtomicU16>,
        meanings: HashMap<Code, RouteWords>,
        index: Index,
        routes: BTreeMap<Ipv4Net, RouteWords>,
        now: Instant,
    }

    fn words(hop: u32) -> RouteWords {
        let action = Action::Via(NextHopId(hop));
        // Slot and generation differ from route to route; codes must not.
        Route { action, slot: hop * 7, generation: hop, mtu: 0, prefix_len: 9 }.pack()
    }

    impl Paper {
        fn new() -> Self {
            let table = (0..NETS).map(|_| AtomicU16::new(ASK_TRIE)).collect();
            let (meanings, routes) = (HashMap::new(), BTreeMap::new());
            Self { table, meanings, index: Index::new(), routes, now: Instant::now() }
        }

        fn change(&mut self, net: Ipv4Net, words: Option<RouteWords>) {
            let Self { table, meanings, index, routes, now } = self;
            let mut define = |code, words| {
                meanings.insert(code, words);
                Ok(())
            };
            let mut to = Target { table, define: &mut define };
            match words {
                Some(words) => {
                    index.insert(net, words, *now, &mut to).expect("paper is patient");
                    routes.insert(net, words);
                }
                None => {
                    index.remove(net, *now, &to);
                    routes.remove(&net);
                }
            }
        }

        /// What the program finds: by the index, or by the trie if that is to be asked.
        fn found(&self, address: u32) -> Option<RouteWords> {
            let code = self.table[(address >> 8) as usize].load(Ordering::Relaxed);
            if code == ASK_TRIE { self.longest(address) } else { Some(self.meanings[&code]) }
        }

        fn longest(&self, address: u32) -> Option<RouteWords> {
            let covering = self
                .routes
                .iter()
                .filter(|(net, _)| net.contains(&std::net::Ipv4Addr::from(address)));
            covering.max_by_key(|(net, _)| net.prefix_len()).map(|(_, words)| meaning(*words))
        }

        fn asks_the_trie(&self, address: u32) -> bool {
            self.table[(address >> 8) as usize].load(Ordering::Relaxed) == ASK_TRIE
        }
    }

    fn net(address: u32, len: u8) -> Ipv4Net {
        Ipv4Net::new(address.into(), len).expect("a length").trunc()
    }

    /// Crowded: 16 /24s and the /8 around them.
    fn address() -> impl Strategy<Value = u32> {
        prop_oneof![9 => 0x0a00_0000u32..0x0a00_1000, 1 => 0x0a00_0000u32..0x0a02_0000]
    }

    fn len() -> impl Strategy<Value = u8> {
        prop_oneof![1 => 8u8..16, 6 => 16u8..=24, 3 => 25u8..=32]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_index_always_finds_the_longest_match(
            changes in proptest::collection::vec((address(), len(), proptest::option::weighted(0.6, 0u32..5)), 1..120),
            asked in proptest::collection::vec(address(), 200),
        ) {
            let mut paper = Paper::new();
            for (address, len, hop) in changes {
                paper.change(net(address, len), hop.map(words));
                for address in asked.iter().copied().chain([address]) {
                    let found = paper.found(address).map(meaning);
                    prop_assert_eq!(found, paper.longest(address), "{:?}", std::net::Ipv4Addr::from(address));
                }
            }
            // The trie is asked where there are longer prefixes or none at all, and nowhere else.
            for address in asked {
                let inside = net(address, 24);
                let split = paper.routes.keys().any(|net| net.prefix_len() > 24 && inside.contains(net));
                let bare = paper.longest(address).is_none();
                prop_assert_eq!(paper.asks_the_trie(address), split || bare);
            }
        }

        #[test]
        fn an_index_built_at_once_is_the_one_that_grew(
            routes in proptest::collection::btree_map((address(), len()).prop_map(|(a, l)| net(a, l)), 0u32..5, 1..60),
        ) {
            let mut grown = Paper::new();
            for (net, hop) in &routes {
                grown.change(*net, Some(words(*hop)));
            }
            let mut built = Paper::new();
            let mut meanings = HashMap::new();
            let mut define = |code, words| { meanings.insert(code, words); Ok(()) };
            let all: Vec<_> = routes.iter().map(|(net, hop)| (*net, words(*hop))).collect();
            built.index = Index::build(all.into_iter(), &mut Target { table: &built.table, define: &mut define }).expect("paper is patient");
            (built.meanings, built.routes) = (meanings, grown.routes.clone());
            for address in (0x0a00_0000u32..0x0a02_0000).step_by(251) {
                prop_assert_eq!(built.found(address), grown.found(address));
            }
        }
    }

    #[test]
    fn a_code_means_something_else_only_after_it_has_rested() {
        let mut paper = Paper::new();
        let all = net(0x0a00_0000, 16);
        paper.change(all, Some(words(1)));
        let first = paper.table[0x0a_0000].load(Ordering::Relaxed);
        paper.change(all, Some(words(2)));
        let second = paper.table[0x0a_0000].load(Ordering::Relaxed);
        assert_ne!(first, second);
        paper.now += REST / 2;
        paper.change(all, Some(words(3)));
        assert_ne!(paper.table[0x0a_0000].load(Ordering::Relaxed), first);
        assert_eq!(paper.meanings[&first], meaning(words(1)));
        paper.now += REST / 2;
        paper.change(all, Some(words(4)));
        assert_eq!(paper.table[0x0a_0000].load(Ordering::Relaxed), first, "it was the oldest");
        assert_eq!(paper.meanings[&first], meaning(words(4)));
    }

    #[test]
    fn routes_that_lead_the_same_way_share_a_code() {
        let mut paper = Paper::new();
        for n in 0..100 {
            paper.change(net(0x0a00_0000 + (n << 8), 24), Some(words(1)));
        }
        assert_eq!(paper.meanings.len(), 1);
    }

    #[test]
    fn with_all_codes_taken_the_trie_is_asked() {
        let mut paper = Paper::new();
        for hop in 0..1 << 16 {
            paper.change(net(0x0a00_0000 + (hop << 8), 24), Some(words(hop)));
        }
        let last = 0x0a00_0000 + (((1 << 16) - 1) << 8);
        assert!(paper.asks_the_trie(last));
        assert_eq!(paper.found(0x0a00_0100), Some(meaning(words(1))));
        paper.change(net(0x0a00_0000, 24), None);
        paper.now += REST;
        paper.change(net(last, 24), Some(words(9_999_999)));
        assert!(!paper.asks_the_trie(last));
    }

    #[test]
    fn a_default_route_fills_what_nobody_has() {
        let mut paper = Paper::new();
        paper.change(net(0x0a00_0000, 8), Some(words(1)));
        paper.change(net(0, 0), Some(words(2)));
        assert_eq!(paper.found(0), Some(meaning(words(2))));
        assert_eq!(paper.found(u32::MAX), Some(meaning(words(2))));
        assert_eq!(paper.found(0x0aff_ffff), Some(meaning(words(1))));
        paper.change(net(0x0a00_0000, 8), None);
        assert_eq!(paper.found(0x0aff_ffff), Some(meaning(words(2))));
        paper.change(net(0, 0), None);
        assert!(paper.asks_the_trie(0) && paper.asks_the_trie(u32::MAX));
    }
}
