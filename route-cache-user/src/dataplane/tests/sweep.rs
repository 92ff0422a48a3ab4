//! A full table of a million clones, walked as the sweeper walks it: judged by the policy and the mirror, deleted in
//! batches.

use std::time::{Duration, Instant};

use route_cache_common::{ClonedRoute, Outcome, V4};

use super::{
    super::Sizes,
    bench::SMALL,
    mirror::{Mirror, on_mirror_of},
};
use crate::{
    maps::CloneTable,
    sweep::{
        life::{Better, Life},
        policy::{Fate, Walk},
        settings::{Seconds, Settings},
    },
};

const CLONES: u32 = 1 << 20;

/// As many as the sweeper takes at a time.
const BATCH: usize = 4096;

const ROUNDS: usize = 3;

/// Judging all, and deleting all, take no longer than so many times the kernel's own reading of them (LOOKUP_BATCH): a
/// ratio holds on a machine that has other things to do as well. What is left of it beside the reading is small; deletions
/// are system calls of the same size, and free memory.
const JUDGING: f64 = 1.5;
const DELETING: f64 = 6.0;

fn address(number: u32) -> [u8; 4] {
    (0x0a10_0000 + number).to_be_bytes()
}

/// The table in which the calling thread's packets leave their clones.
fn own<'a>(mirror: &'a Mirror<'_>, destination: [u8; 4]) -> &'a CloneTable<V4> {
    let mut tables = mirror.bench.plane.clones.v4.iter();
    let holds = |table: &&CloneTable<V4>| table.get(destination).is_ok_and(|clone| clone.is_some());
    tables.find(holds).expect("the packet made a clone")
}

/// The whole table holds clones like this one.
fn fill(table: &CloneTable<V4>, clone: ClonedRoute) {
    let numbers: Vec<_> = (0..CLONES).collect();
    for batch in numbers.chunks(BATCH) {
        let destinations: Vec<_> = batch.iter().map(|&number| address(number)).collect();
        table.put(&destinations, &vec![clone; batch.len()]).expect("there is room");
    }
}

/// One walk with the decisions of the sweeper: its result, how long it took, and in how many batches the clones came.
fn walk(mirror: &Mirror<'_>, table: &CloneTable<V4>, life: &mut Life) -> (Walk, Duration, u64) {
    let clock = &mirror.bench.plane.clock;
    let ticket = life.begin_walk(0, clock.now()).expect("a walk is due");
    let began = Instant::now();
    let (mut walk, mut dying, mut batches) = (Walk::default(), Vec::new(), 0);
    table
        .visit(BATCH, |destinations, clones| {
            batches += 1;
            let now = clock.now();
            for (destination, clone) in destinations.iter().zip(clones) {
                walk.found += 1;
                let stale = mirror.fib.stale(clone, |_| false);
                match life.judge(ticket.purpose(), clone.last_used, stale, now) {
                    Fate::Keep(expiry) => walk.note_expiry(expiry),
                    Fate::Expire(_) => dying.push(*destination),
                }
            }
        })
        .expect("readable");
    for batch in dying.chunks(BATCH) {
        walk.killed += table.delete(batch).expect("deletable");
    }
    let took = began.elapsed();
    let _next = life.end_walk(ticket, walk, clock.now());
    (walk, took, batches)
}

/// Smallest, median and largest.
fn spread(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [times[0], times[times.len() / 2], times[times.len() - 1]]
}

#[test]
fn s9_a_million_clones_are_walked_in_batches_and_judged_as_fast_as_they_are_read() {
    let sizes = Sizes { clones_per_cpu: CLONES, ..SMALL };
    on_mirror_of(sizes, |mirror| {
        mirror.route("10.0.0.0/8", Some([10, 0, 2, 2]));
        mirror.forwards(address(0), [10, 0, 2, 2], Outcome::ForwardedRoute);
        let mirror = &*mirror;
        let table = own(mirror, address(0));
        let clone = table.get(address(0)).expect("readable").expect("it was made");
        let clock = &mirror.bench.plane.clock;
        let mut times: [Vec<Duration>; 3] = Default::default();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            fill(table, clone);
            eprintln!("filled in {:?}", began.elapsed());
            let life = || {
                let settings = Settings {
                    rtexpire: Seconds(3600),
                    rtminexpire: Seconds(10),
                    rtmaxcache: CLONES.into(),
                    sweep_interval: Seconds(600),
                };
                Life::new(1, clock.hz(), settings, Better::ALL, clock.now())
            };
            let (kept, took, batches) = walk(mirror, table, &mut life());
            assert_eq!((kept.found, kept.killed), (CLONES.into(), 0));
            // A bucket that does not fit waits for the next batch: each is nearly full.
            assert!(batches <= 2 * u64::from(CLONES) / BATCH as u64, "{batches} batches");
            times[0].push(took);

            let began = Instant::now();
            let mut seen = 0;
            table.visit(BATCH, |destinations, _| seen += destinations.len()).expect("readable");
            assert_eq!(seen, CLONES as usize);
            times[1].push(began.elapsed());

            let mut draining = life();
            assert_eq!(draining.drain(clock.now()), [0]);
            let (drained, took, _) = walk(mirror, table, &mut draining);
            assert_eq!((drained.found, drained.killed), (CLONES.into(), CLONES.into()));
            assert_eq!(table.get(address(0)).expect("readable"), None);
            times[2].push(took);
        }
        let [judging, reading, deleting] = times.map(spread);
        for (what, [least, median, most], bound) in [
            ("LOOKUP_BATCH alone", reading, 1.0),
            ("judge all", judging, JUDGING),
            ("judge and delete all", deleting, DELETING),
        ] {
            let ratio = median.as_secs_f64() / reading[1].as_secs_f64();
            eprintln!(
                "{CLONES} clones: {what}: median {median:?} ({least:?} to {most:?}), {ratio:.2} times LOOKUP_BATCH"
            );
            assert!(ratio <= bound, "{what}: {ratio:.2} times LOOKUP_BATCH");
        }
    });
}
