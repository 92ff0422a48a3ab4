//! What the maps take at the default sizes, by the kernel's own account.
//!
//! ```text
//! fixed                      57 MiB   generations, next hops, interfaces, hash buckets; the index, 33 MiB
//! flows       4 MiB for each CPU      32 bytes a flow
//! clones      9 MiB for each CPU      buckets, and 112 bytes a clone
//! routes                    256 MiB   64 bytes a node of the trie; a node for each prefix and for each fork
//! ```
//!
//! The memory of clones and routes is taken as they come.

use std::{collections::BTreeSet, fs};

use aya::maps::lpm_trie::Key;
use nix::sched::{CloneFlags, unshare};
use route_cache_common::{Action, Outcome, Route, Tally};

use super::{
    super::{Sizes, possible_cpus},
    bench::on_bench,
    frame::Frame,
};

/// What the agent starts with.
const DEFAULT: Sizes = Sizes {
    clones_per_cpu: 65_536,
    routes: 2_097_152,
    hops: 16_384,
    flows_per_cpu: 65_536,
    index: true,
};

const MIB: u64 = 1 << 20;
const FIXED: u64 = 57 * MIB;
const FLOWS_OF_A_CPU: u64 = 4 * MIB;
const CLONES_OF_A_CPU: u64 = 9 * MIB;
/// The kernel accounts for the prefixes, not for the forks, and not for the 8 bytes with which it allocates each.
const ROUTES: u64 = 256 * MIB;
const NODE: u64 = 64 - 8;

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

    // Every prefix at a distance from the last one, so that the trie forks as much as it can.
    let address = |i: u32| i.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let keys: Vec<_> = (1..DEFAULT.routes).map(|i| Key::new(32, address(i))).collect();
    let action = Action::Pass(Outcome::PassRoute);
    let route = Route { action, slot: 0, generation: 0, mtu: 0, prefix_len: 32 };
    let values = vec![route.pack(); keys.len()];
    bench.plane.writer.v4.write_routes(&keys, &values).expect("as many fit as were asked for");
    let routes = account(|map| map.kind == LPM_TRIE);
    let one_more = bench.plane.writer.v4.write_routes(&[Key::new(32, [0; 4])], &values[..1]);
    assert!(one_more.is_err(), "and not one more");

    println!("empty {empty}, clones of a CPU {clones}, routes {routes} bytes");
    assert!(empty <= FIXED + cpus * (MIB + FLOWS_OF_A_CPU), "{empty} bytes in empty maps");
    assert!(clones <= CLONES_OF_A_CPU, "{clones} bytes in a CPU's clones");
    let nodes = u64::from(DEFAULT.routes);
    assert!(0 < routes && routes <= nodes * NODE, "{routes} bytes in prefixes");
    assert_eq!(2 * nodes * (NODE + 8), ROUTES);
    let bound = FIXED + cpus * (CLONES_OF_A_CPU + FLOWS_OF_A_CPU) + ROUTES;
    assert!(account(|_| true) <= bound, "in all more than {bound} bytes");
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
