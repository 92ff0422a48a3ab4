//! More destinations than there is room for: the timeout shrinks, memory stays bounded, and flows go on.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;

use crate::{
    pressure::PressureFile,
    router::{PATIENCE, Place, Router, grown},
    traffic::flooded,
};

const DESTINATIONS: u32 = 200_000;

/// Two thirds each, and back by a half each, in whole seconds.
const DOWN: [u64; 16] =
    [3600, 2400, 1600, 1066, 710, 473, 315, 210, 140, 93, 62, 41, 27, 18, 12, 10];
const UP: [u64; 15] = [15, 22, 33, 49, 73, 109, 163, 244, 366, 549, 823, 1234, 1851, 2776, 3600];

/// The value of a metric with exactly these labels.
fn metric(page: &str, name: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{page}")).parse().unwrap()
}

/// A router that nothing but its own tables presses.
fn start(label: &str, arguments: &[&str]) -> Router {
    let place = Place::new(label);
    let calm = PressureFile::new(&place, "0.00");
    let router = Router::with_environment(place, arguments, &[calm.variable()]);
    router.route_flood();
    router
}

/// The kernel's memory for a clone: two cache lines at most.
const CLONE_BYTES: u64 = 128;

fn memory(router: &Router) -> u64 {
    router.agent.status().unwrap()["map_memory_bytes"].as_u64().unwrap()
}

/// Packets of these counts that went through the router: by XDP; and a few by the kernel, as one of 65,536 checksums
/// looks like one that is to be completed.
fn through(counted: &BTreeMap<String, u64>) -> u64 {
    let rare = counted.get("pass_partial_checksum").copied().unwrap_or_default();
    assert!(rare < 40, "{counted:?}");
    let forwarded = counted.iter().filter(|(name, _)| name.starts_with("forwarded"));
    forwarded.map(|(_, count)| count).sum::<u64>() + rare
}

/// Watches a value until `is_last` holds of it: each change of it, and when.
fn watch(
    router: &Router,
    what: &str,
    patience: Duration,
    mut look: impl FnMut(&str),
    last: u64,
) -> Vec<(u64, Instant)> {
    let mut seen: Vec<(u64, Instant)> = Vec::new();
    wait_until(what, patience, || {
        let page = router.agent.metrics().unwrap();
        look(&page);
        let now = metric(&page, "route_cache_rtexpire_seconds");
        if seen.last().is_none_or(|(value, _)| *value != now) {
            seen.push((now, Instant::now()));
        }
        now == last
    })
    .unwrap_or_else(|error| panic!("{error:#}; seen: {seen:?}; {}", router.story()));
    seen
}

#[test]
fn s11_the_timeout_walks_down_and_recovers_and_a_flow_loses_nothing() {
    let router = start(
        "staircase",
        &[
            "--rtmaxcache",
            "1000",
            "--sweep-interval",
            "1s",
            "--clone-on",
            "first-packet",
            // Room for all of them: it is `rtmaxcache` that presses here, and nothing else.
            "--clones-per-cpu",
            "262144",
        ],
    );
    let (mut most, base) = (0, memory(&router));
    let bounded = |page: &str| {
        let tables = page.lines().filter(|line| line.starts_with("route_cache_clones{"));
        let live: Vec<u64> =
            tables.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(live.iter().all(|live| *live <= 262_144), "{live:?}");
        most = most.max(live.iter().sum::<u64>());
        let maps = page.lines().filter(|line| line.starts_with("route_cache_map_memory_bytes{"));
        let now: u64 =
            maps.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert!(now > 0, "{page}");
        assert!(now <= base + live.len() as u64 * 262_144 * CLONE_BYTES, "{base} -> {now}");
    };
    let (down, sent) = router.while_flowing(|| {
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| router.flood(DESTINATIONS, Duration::from_secs(10)));
            let down =
                watch(&router, "the timeout to shrink", Duration::from_secs(60), bounded, 10);
            flood.join().unwrap();
            down
        })
    });
    let values: Vec<u64> = down.iter().map(|(value, _)| *value).collect();
    assert_eq!(values, DOWN);
    // No step before the sweep interval is over. When a step is seen hangs on when one looks: only all of them are timed.
    let (first, last) = (down[1].1, down[down.len() - 1].1);
    let least = Duration::from_millis(900) * (down.len() as u32 - 2);
    assert!(last - first > least, "{down:?}: {:?}", last - first);
    assert!(most > 10_000, "{most} clones at most: no flood");

    // Its clones expire ten seconds later at the most, and the timeout grows back as it shrank.
    let patience = Duration::from_secs(60);
    let (up, more) =
        router.while_flowing(|| watch(&router, "the timeout to recover", patience, |_| (), 3600));
    let mut values: Vec<u64> = up.iter().map(|(value, _)| *value).collect();
    assert_eq!(values.remove(0), 10);
    assert_eq!(values, UP);
    for pair in up[1..].windows(2) {
        let apart = pair[1].1 - pair[0].1;
        assert!(apart > Duration::from_millis(900), "{pair:?}: {apart:?}");
    }
    let page = router.agent.metrics().unwrap();
    let adjusted = "route_cache_timeout_adjustments_total";
    assert_eq!(metric(&page, &format!("{adjusted}{{direction=\"shrunk\"}}")), 15, "{page}");
    assert_eq!(metric(&page, &format!("{adjusted}{{direction=\"recovered\"}}")), 15, "{page}");
    let status = router.agent.status().unwrap();
    assert_eq!(status["timeout"]["shrunk"], 15);
    assert_eq!(status["timeout"]["recovered"], 15);
    // Each had a clone, but for rare checksums; and each clone has expired, but for those of the flow.
    let rare = router.agent.outcome("pass_partial_checksum").unwrap();
    let created = router.tables("created");
    assert!(created + rare >= u64::from(DESTINATIONS), "{}", router.story());
    assert_eq!(router.expired("timeout"), created - router.tables("live"), "{}", router.story());
    assert!(router.clones_of(flooded(0)).is_empty());
    eprintln!("{} packets of the flow, none lost", sent + more);
}

#[test]
fn f6_memory_stays_at_its_bound_however_many_destinations_there_are() {
    const CAPACITY: u64 = 16_384;
    let router = start(
        "bounded",
        &["--rtmaxcache", "1000", "--sweep-interval", "1s", "--clone-on", "first-packet"]
            .into_iter()
            .chain(["--clones-per-cpu", "16384"])
            .collect::<Vec<_>>(),
    );
    let before = router.outcomes();
    let base = memory(&router);
    let looks = std::cell::Cell::new(0_u32);
    let ((), sent) = router.while_flowing(|| {
        std::thread::scope(|scope| {
            let flood = scope.spawn(|| router.flood(DESTINATIONS, Duration::from_secs(10)));
            while !flood.is_finished() {
                let status = router.agent.status().unwrap();
                for table in status["clones"].as_array().unwrap() {
                    assert_eq!(table["capacity"], CAPACITY);
                }
                let (now, tables) = (
                    &status["map_memory_bytes"],
                    status["clones"].as_array().unwrap().len() as u64,
                );
                assert!(now.as_u64().unwrap() <= base + tables * CAPACITY * CLONE_BYTES, "{now}");
                looks.set(looks.get() + 1);
            }
            flood.join().unwrap();
        });
    });
    assert!(looks.get() > 20, "{} looks only", looks.get());
    let counted = grown(&before, &router.outcomes());
    // What found no room was forwarded all the same.
    assert_eq!(through(&counted), sent + u64::from(DESTINATIONS), "{counted:?}");
    assert!(router.tables("created") > CAPACITY, "{}", router.story());
    // A full table is drained (S13), or sheds what the shrunk timeout lets go.
    assert!(router.expired("drain") + router.tables("refused") > 0, "{}", router.story());
}

#[test]
fn a_scan_makes_no_more_clones_than_its_budget_and_pushes_out_no_flow() {
    const SCANNED: u32 = 60_000;
    const BUDGET: u64 = 1024;
    let router = start("scan", &["--clone-on", "auto"]);
    router.await_forwarding(router.flow());
    let cpus = router.cpus() as u64;
    let (created, deferred) = (router.tables("created"), router.tables("deferred"));
    let before = router.outcomes();
    let began = Instant::now();
    let ((), sent) = router.while_flowing(|| router.flood(SCANNED, Duration::from_secs(4)));
    let seconds = began.elapsed().as_secs() + 2;
    let (created, deferred) =
        (router.tables("created") - created, router.tables("deferred") - deferred);
    // The flow makes a clone on each CPU it comes by.
    assert!(created <= BUDGET * seconds * cpus + cpus, "{created} in {seconds} s on {cpus} CPUs");
    assert!(created > BUDGET, "{created}");
    let all = u64::from(SCANNED);
    let counted = grown(&before, &router.outcomes());
    let told = created + deferred;
    assert!((all - 40..=all + 2 * cpus).contains(&told), "{created} + {deferred}");
    let by = |name: &str| counted.get(name).copied().unwrap_or_default();
    let by_clone = by("forwarded_flow") + by("forwarded_clone");
    // At most the first two packets of the flow on each CPU went by the route, and one with a rare checksum.
    assert!(
        by_clone >= sent - 2 * cpus - 1,
        "{by_clone} of {sent} by a clone or a flow: {counted:?}"
    );
    assert_eq!(through(&counted), sent + all, "{counted:?}");
    wait_until("the flow to be listed still", PATIENCE, || {
        !router.clones_of(router.flow().destination).is_empty()
    })
    .unwrap();
}
