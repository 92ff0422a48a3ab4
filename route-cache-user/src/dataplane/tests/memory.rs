//! What the maps take at the default sizes, by the kernel's own account.
//!
//! ```text
//! fixed                      73 MiB   generations, next hops, interfaces, hash buckets; the index, 33 MiB
//! flows       4 MiB for each CPU      32 bytes a flow; 65,536 of each family
//! clones     20 MiB for each CPU      buckets, and 112 bytes a clone, 128 of IPv6; 65,536 of each
//! routes                    256 MiB   64 bytes a node of the trie; a node for each prefix and for each fork
//! IPv6 routes               384 MiB   96 bytes a node
//! ```
//!
//! The memory of clones and routes is taken as they come.

use std::{collections::BTreeSet, fs};

use aya::maps::lpm_trie::Key;
use nix::sched::{CloneFlags, unshare};
use route_cache_common::{Action, ClonedRoute, Outcome, Route, Tally};

use super::{
    super::{Sizes, possible_cpus},
    bench::on_bench,
    frame::Frame,
};
use crate::{fib::family::NetFamily, maps::RouteMaps};

/// What the agent starts with.
const DEFAULT: Sizes = Sizes {
    clones_per_cpu: 65_536,
    routes: 2_097_152,
    hops: 16_384,
    flows_per_cpu: 65_536,
    index: true,
};

const MIB: u64 = 1 << 20;
const FIXED: u64 = 73 * MIB;
const FLOWS_OF_A_CPU: u64 = 4 * MIB;
/// Of each family.
const CLONES_OF_A_CPU: u64 = 10 * MIB;
/// The kernel accounts for the prefixes, not for the forks, and not for the 8 bytes with which it allocates each.
const ROUTES: u64 = 256 * MIB;
const NODE: u64 = 64 - 8;
const ROUTES6: u64 = 384 * MIB;
const NODE6: u64 = 96 - 8;

/// Types of maps (include/uapi/linux/bpf.h).
const LPM_TRIE: u64 = 11;

#[test]
fn s20_memory_is_bounded_by_the_sizes() {
    // A table of descriptors of its own: other tests load and unload meanwhile.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FILES).expect("a thread may");
            let others = maps().into_iter().map(|map| map.id).collect();
            on_bench(DEFAULT, |bench| fill_up(bench, &others));
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn fill_up(bench: &mut super::bench::Bench, others: &BTreeSet<u64>) {
    let account = |which: fn(&Map) -> bool| -> u64 {
        let own = maps().into_iter().filter(|map| !others.contains(&map.id));
        own.filter(which).map(|map| map.bytes).sum()
    };
    let cpus = u64::from(possible_cpus().expect("Linux tells"));
    bench.add_default_route();
    let empty = account(|_| true);
    for [high, low] in (0..=u16::MAX).map(u16::to_be_bytes) {
        bench.run(&Frame::to([10, 2, high, low]));
    }
    let created: u64 =
        bench.plane.counters.tally(Tally::CloneCreated).expect("readable").iter().sum();
    assert_eq!(created, u64::from(DEFAULT.clones_per_cpu), "one CPU's table is full");
    let with_clones = account(|_| true);
    let clones = with_clones - empty + MIB;

    let clone = ClonedRoute::new([0; 4], 0, 0);
    let wide = |i: u32| {
        let [a, b, c, d] = i.wrapping_mul(0x9e37_79b1).to_be_bytes();
        [0x20, 1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    };
    let before = account(|_| true);
    let destinations: Vec<_> = (0..DEFAULT.clones_per_cpu).map(wide).collect();
    let table = &bench.plane.clones.v6[0];
    table.put(&destinations, &vec![clone; destinations.len()]).expect("there is room");
    let clones6 = account(|_| true) - before + MIB;

    // Every prefix at a distance from the last one, so that the trie forks as much as it can.
    let address = |i: u32| i.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let before = account(|map| map.kind == LPM_TRIE);
    fill_trie(&bench.plane.writer.v4, address);
    let routes = account(|map| map.kind == LPM_TRIE) - before;
    fill_trie(&bench.plane.writer.v6, wide);
    let routes6 = account(|map| map.kind == LPM_TRIE) - before - routes;

    println!(
        "empty {empty}, clones of a CPU {clones} and {clones6}, routes {routes} and {routes6} bytes"
    );
    assert!(empty <= FIXED + cpus * (2 * MIB + FLOWS_OF_A_CPU), "{empty} bytes in empty maps");
    assert!(clones <= CLONES_OF_A_CPU, "{clones} bytes in a CPU's clones");
    assert!(clones6 <= CLONES_OF_A_CPU, "{clones6} bytes in a CPU's IPv6 clones");
    let nodes = u64::from(DEFAULT.routes);
    assert!(0 < routes && routes <= nodes * NODE, "{routes} bytes in prefixes");
    assert!(0 < routes6 && routes6 <= nodes * NODE6, "{routes6} bytes in IPv6 prefixes");
    assert_eq!(2 * nodes * (NODE + 8), ROUTES);
    assert_eq!(2 * nodes * (NODE6 + 8), ROUTES6);
    let per_cpu = 2 * CLONES_OF_A_CPU + FLOWS_OF_A_CPU;
    let bound = FIXED + cpus * per_cpu + ROUTES + ROUTES6;
    assert!(account(|_| true) <= bound, "in all more than {bound} bytes");
}

fn fill_trie<F: NetFamily>(maps: &RouteMaps<F>, address: impl Fn(u32) -> F::Address) {
    let len = u32::from(F::HOST_PREFIX_LEN);
    let keys: Vec<_> = (1..DEFAULT.routes).map(|i| Key::new(len, address(i))).collect();
    let route = Route {
        action: Action::Pass(Outcome::PassRoute),
        slot: 0,
        generation: 0,
        mtu: 0,
        prefix_len: F::HOST_PREFIX_LEN,
    };
    let values = vec![route.pack(); keys.len()];
    maps.write_routes(&keys, &values).expect("as many fit as were asked for");
    let one_more = |shorter| Key::new(len - shorter, address(DEFAULT.routes));
    let is_full = (0..2).any(|i| maps.write_routes(&[one_more(i)], &values[..1]).is_err());
    assert!(is_full, "and not one more");
}

/// A map that this thread has open.
#[derive(Debug)]
struct Map {
    id: u64,
    kind: u64,
    bytes: u64,
}

fn maps() -> Vec<Map> {
    let all = fs::read_dir("/proc/thread-self/fdinfo").expect("readable").flatten();
    // A descriptor may be closed by now.
    all.filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|info| {
            let field = |name: &str| {
                let line = info.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse().ok()
            };
            Some(Map {
                id: field("map_id:")?,
                kind: field("map_type:")?,
                bytes: field("memlock:")?,
            })
        })
        .collect()
}
