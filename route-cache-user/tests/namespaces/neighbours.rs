//! Neighbours whose packets XDP forwards, so that the kernel does not see them in use.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{router::Router, stream::Exit};

/// The state of the server as `ip neigh` names it.
fn state(router: &Router) -> String {
    let shown = router.ip("neigh show 10.0.2.2 dev right");
    shown.split_whitespace().last().unwrap_or("none").to_owned()
}

#[test]
fn row_32_a_stale_neighbour_is_kept_alive_by_the_packets_that_xdp_forwards() {
    let router = Router::start("alive");
    for (name, value) in [
        ("base_reachable_time_ms", "1000"),
        ("delay_first_probe_time", "1"),
        ("gc_stale_time", "2"),
        ("locktime", "0"),
    ] {
        router.router.sysctl(&format!("net/ipv4/neigh/right/{name}"), value).unwrap();
    }
    // Its timer still runs by the old time: a new entry has the new one.
    router.ip("neigh del 10.0.2.2 dev right");
    router.await_forwarding(router.flow());
    let before = router.forwarded();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut revivals = 0;
    let began = Instant::now();
    let account = router.during("neighbour timers", || {
        let mut last = state(&router);
        while began.elapsed() < Duration::from_secs(11) {
            let now = state(&router);
            *seen.entry(now.clone()).or_default() += 1;
            revivals += u32::from(now == "REACHABLE" && last != "REACHABLE");
            last = now;
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    account.stays(Exit::Server);
    // A timer of about a second, a tick of a second, and a probe: a round of at most four seconds.
    assert!(revivals >= 2, "confirmed {revivals} times in 11 s; states seen: {seen:?}");
    assert!(!seen.contains_key("FAILED") && !seen.contains_key("INCOMPLETE"), "{seen:?}");
    let forwarded = router.forwarded() - before;
    assert!(forwarded > account.sent() * 9 / 10, "{forwarded} of {} by XDP", account.sent());
    eprintln!("neighbour: confirmed {revivals} times in 11 s; states seen: {seen:?}");
}

/// Nobody asks for a neighbour that no packet is for.
#[test]
fn row_32_an_idle_neighbour_may_go_stale() {
    let router = Router::forwarding("idle");
    router.ip("neigh replace 10.0.2.2 lladdr 02:00:00:00:02:02 dev right nud stale");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(state(&router), "STALE");
    // The first packet that uses it has it confirmed.
    router.await_forwarding(router.flow());
    route_cache_lab::wait_until("the neighbour to be confirmed", crate::router::PATIENCE, || {
        state(&router) == "REACHABLE"
    })
    .unwrap();
}
