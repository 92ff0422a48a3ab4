//! Clones of single packets: idle, revived, expired.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;

use crate::{
    router::{PATIENCE, Place, Router},
    stream::Exit,
};

/// How long a clone lives here.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An expired clone is gone after this: a walk is due within a second, and takes its time on a busy machine.
const LATEST: Duration = Duration::from_millis(4500);

/// One packet to the server, and its answer.
fn ping(router: &Router) -> Instant {
    let before = Instant::now();
    let server = router.server.address.to_string();
    router.client.namespace.exec(&["ping", "-q", "-c", "1", "-W", "5", &server]).unwrap();
    before
}

fn server_clones(router: &Router) -> Vec<serde_json::Value> {
    router.clones_of(router.server.address)
}

#[test]
fn s8_a_clone_made_by_one_ping_is_listed_counts_down_and_is_gone_in_time() {
    // The walk is due when the clone expires, not only when the ten minutes of the interval are over.
    let router = Router::with(Place::new("ping"), &["--rtexpire", "2s"]);
    let sent = ping(&router);
    let answered = Instant::now();
    let first = server_clones(&router);
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0]["packets"], 1, "{first:?}");
    assert_eq!(first[0]["prefix"], "10.0.2.0/24", "{first:?}");
    // The answer has a clone as well.
    assert_eq!(router.clones_of(router.client.address).len(), 1);
    let mut left = Vec::new();
    wait_until("the clone to go", PATIENCE, || {
        let all = server_clones(&router);
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

#[test]
fn s8_with_a_timeout_of_zero_nothing_is_kept_and_packets_are_forwarded() {
    let router = Router::with(Place::new("zero"), &["--rtexpire", "0"]);
    router.await_forwarding(router.flow());
    let before = router.forwarded();
    let account = router.during("no cache", || thread::sleep(Duration::from_secs(2)));
    account.stays(Exit::Server);
    let forwarded = router.forwarded() - before;
    assert_eq!(forwarded, account.sent(), "{}", router.story());
    let ended = Instant::now();
    wait_until("the clones to go", PATIENCE, || router.tables("live") == 0).unwrap();
    assert!(ended.elapsed() < Duration::from_millis(2500), "{:?}", ended.elapsed());
    assert!(router.clones_of(Ipv4Addr::new(10, 9, 0, 1)).is_empty());
    assert!(router.expired("timeout") > 0, "{}", router.story());
}
