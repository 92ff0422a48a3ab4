//! Clones of single packets: idle, revived, expired.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;

use crate::{
    router::{BEYOND, PATIENCE, Place, Router, grown},
    stream::Exit,
};

/// How long a clone lives here.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// An expired clone is gone after this: a walk is due within a second, and takes its time on a busy machine.
pub const LATEST: Duration = Duration::from_millis(4500);

/// One packet to the server, and its answer.
pub fn ping(router: &Router) -> Instant {
    let before = Instant::now();
    let server = router.server.address.to_string();
    router.client.namespace.exec(&["ping", "-q", "-c", "1", "-W", "5", &server]).unwrap();
    before
}

pub fn server_clones(router: &Router) -> Vec<serde_json::Value> {
    router.clones_of(router.server.address)
}

#[test]
fn s8_a_clone_made_by_one_ping_is_listed_counts_down_and_is_gone_in_time() {
    // The walk is due when the clone expires, not only when the ten minutes of the interval are over.
    let router = Router::with(Place::new("ping"), &["--rtexpire", "2s"]);
    lives_its_time(&router);
}

/// With `rtexpire` 2 s: from a ping on, the clone is listed, counts down, and is gone in time.
pub fn lives_its_time(router: &Router) {
    let sent = ping(router);
    let answered = Instant::now();
    let first = server_clones(router);
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0]["packets"], 1, "{first:?}");
    assert_eq!(first[0]["prefix"], "10.0.2.0/24", "{first:?}");
    // The answer has a clone as well.
    assert_eq!(router.clones_of(router.client.address).len(), 1);
    let mut left = Vec::new();
    wait_until("the clone to go", PATIENCE, || {
        let all = server_clones(router);
        left.extend(all.first().map(|clone| clone["expires_in_seconds"].as_f64().unwrap()));
        all.is_empty()
    })
    .unwrap();
    assert!(sent.elapsed() >= TIMEOUT, "gone after {:?}", sent.elapsed());
    assert!(answered.elapsed() <= LATEST, "gone after {:?}", answered.elapsed());
    assert!(left.is_sorted_by(|a, b| a >= b), "{left:?}");
    assert!(left[0] > 1.0 && left[0] <= 2.0, "{left:?}");
    assert!(*left.last().unwrap() < 1.0, "{left:?}");
    wait_until("both to be counted", PATIENCE, || router.expired("timeout") == 2)
        .unwrap_or_else(|error| panic!("{error:#}: {}", router.story()));
    assert_eq!(router.tables("live"), 0, "{}", router.story());
}

#[test]
fn s7_a_packet_in_between_revives_it() {
    let router = Router::with(Place::new("revive"), &["--rtexpire", "2s"]);
    let began = ping(&router);
    let mut last = began;
    // Without its packets the clone would go three times meanwhile.
    while began.elapsed() < 3 * LATEST {
        thread::sleep(Duration::from_millis(1200));
        let listed = server_clones(&router);
        assert!(
            !listed.is_empty() || last.elapsed() >= TIMEOUT,
            "gone {:?} after its last packet",
            last.elapsed()
        );
        last = ping(&router);
    }
    let answered = Instant::now();
    wait_until("the clone to go", PATIENCE, || server_clones(&router).is_empty()).unwrap();
    assert!(last.elapsed() >= TIMEOUT, "gone after {:?}", last.elapsed());
    assert!(answered.elapsed() <= LATEST, "gone after {:?}", answered.elapsed());
}

/// The data plane decides nothing by the timeout: what is idle for long but was not swept yet is used again.
#[test]
fn s7_s9_a_revived_clone_counts_its_packets_on() {
    let router = Router::with(Place::new("counts"), &["--rtexpire", "1h"]);
    for packets in 1..=3 {
        ping(&router);
        let all = server_clones(&router);
        let sum: u64 = all.iter().map(|clone| clone["packets"].as_u64().unwrap()).sum();
        assert_eq!(sum, packets, "{all:?}");
    }
    assert_eq!(router.expired("timeout"), 0);
}

/// What the tables count of clones made and not made, all CPUs together.
fn tallies(router: &Router) -> [u64; 3] {
    ["created", "refused", "deferred"].map(|name| router.tables(name))
}

/// With `rtexpire` 0 in force: everything is forwarded by the route, and no clone is made of it.
fn keeps_none(router: &Router) {
    let (before, tallied) = (router.outcomes(), tallies(router));
    let mut listed = Vec::new();
    let account = router.during("no cache", || {
        for _ in 0..20 {
            ping(router);
            listed.extend(router.clones());
        }
    });
    account.stays(Exit::Server);
    assert!(listed.is_empty(), "{listed:?}");
    let counted = grown(&before, &router.outcomes());
    // Each ping and its answer, and the stream.
    assert!(counted["forwarded_route"] >= account.sent() + 2 * 20, "{counted:?}");
    assert!(!counted.contains_key("forwarded_clone"), "{counted:?}");
    assert_eq!(tallies(router), tallied, "{}", router.story());
    assert_eq!(router.tables("live"), 0, "{}", router.story());
}

#[test]
fn s8_with_a_timeout_of_zero_nothing_is_kept_and_packets_are_forwarded() {
    let router = Router::with(Place::new("zero"), &["--rtexpire", "0"]);
    router.await_forwarding(router.flow());
    keeps_none(&router);
    // Not even one of the first packets after the start.
    assert_eq!(tallies(&router), [0; 3], "{}", router.story());
    assert_eq!(router.expired("timeout"), 0, "{}", router.story());
    assert!(router.clones_of(Ipv4Addr::new(10, 9, 0, 1)).is_empty());
    let set = router.agent.cli(&["set", "rtexpire", "2s"]).unwrap();
    assert_eq!(set.code, 0, "{}", set.stderr);
    router.clone_on_every_cpu(BEYOND);
    wait_until("the clones to go", PATIENCE, || router.tables("live") == 0).unwrap();
}

#[test]
fn s8_a_timeout_set_to_zero_takes_all_clones_at_once_and_another_brings_them_back() {
    let arguments = ["--sweep-interval", "1h", "--clone-on", "first-packet"];
    let router = Router::with(Place::new("set-zero"), &arguments);
    let set = |value: &str| {
        let finished = router.agent.cli(&["set", "rtexpire", value]).unwrap();
        assert_eq!(finished.code, 0, "{}", finished.stderr);
    };
    for _ in 0..2 {
        let gone = router.expired("timeout");
        let cpus = router.clone_on_every_cpu(BEYOND) as u64;
        let live = router.tables("live");
        assert!(live >= cpus, "{}", router.story());
        set("0");
        let ordered = Instant::now();
        wait_until("the clones to go", PATIENCE, || router.tables("live") == 0)
            .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
        // A walk would be due a second later.
        assert!(ordered.elapsed() < Duration::from_millis(700), "{:?}", ordered.elapsed());
        eprintln!("latency: rtexpire 0: {live} clones gone within {:?}", ordered.elapsed());
        assert_eq!(router.expired("timeout"), gone + live, "{}", router.story());
        keeps_none(&router);
        set("2s");
    }
    ping(&router);
    let listed = server_clones(&router);
    assert_eq!(listed.len(), 1, "{listed:?}");
    wait_until("the clones to go", PATIENCE, || router.tables("live") == 0).unwrap();
}
