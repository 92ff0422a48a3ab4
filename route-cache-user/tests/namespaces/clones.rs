//! The life of clones in a live agent.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;
use serde_json::Value;

use crate::{
    router::{Flow, PATIENCE, Place, Router, grown},
    stream::Exit,
};

const SHORT_LIFE: [&str; 4] = ["--rtexpire", "2s", "--sweep-interval", "1s"];

fn clones(router: &Router) -> Vec<Value> {
    router.agent.json(&["show", "clones"]).unwrap().as_array().unwrap().clone()
}

#[test]
fn s1_the_first_packet_makes_a_clone_and_all_of_it_is_shown() {
    let router = Router::start("shown");
    assert!(clones(&router).is_empty());
    assert_eq!(router.get("10.9.0.1")["outcome"], "forwarded_route");
    router.ip("route change 10.9.0.0/16 via 10.0.2.2 mtu 1400");
    let account = router.during("nothing", || ());
    account.stays(Exit::Server);
    let length = router.frame(router.flow(), 0).len() as u64;
    let (mut packets, mut bytes) = (0, 0);
    let all = clones(&router);
    assert!(!all.is_empty());
    for clone in &all {
        let names: BTreeSet<_> = clone.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "dst",
            "family",
            "cpu",
            "prefix",
            "via",
            "dev",
            "mtu",
            "packets",
            "bytes",
            "idle_seconds",
            "expires_in_seconds",
            "state",
        ];
        assert_eq!(names, expected.into(), "{clone}");
        assert_eq!(clone["dst"], "10.9.0.1");
        assert_eq!(clone["family"], "ipv4");
        assert_eq!(clone["prefix"], "10.9.0.0/16");
        assert_eq!(clone["via"], "10.0.2.2");
        assert_eq!(clone["dev"], "right");
        assert_eq!(clone["mtu"], 1400);
        let idle = clone["idle_seconds"].as_f64().unwrap();
        let left = clone["expires_in_seconds"].as_f64().unwrap();
        assert!((idle + left - 3600.0).abs() < 0.1, "{clone}");
        packets += clone["packets"].as_u64().unwrap();
        bytes += clone["bytes"].as_u64().unwrap();
    }
    assert_eq!((packets, bytes), (account.sent(), account.sent() * length), "{all:?}");
    let told = router.get("10.9.0.1");
    assert_eq!(told["outcome"], "forwarded_clone");
    assert_eq!(told["clones"].as_array().unwrap().len(), all.len());
}

/// Without a gateway the destination is its own next hop, and `via` is empty.
#[test]
fn s1_a_neighbour_on_the_link_has_a_clone_of_the_connected_route() {
    let router = Router::start("on-link");
    let flow = Flow { destination: router.other.address, ..router.flow() };
    router.await_forwarding(flow);
    let told = router.get("10.0.3.2");
    assert_eq!(told["clones"][0]["prefix"], "10.0.3.0/24", "{told}");
    assert_eq!(told["clones"][0]["via"], Value::Null, "{told}");
    assert_eq!(told["clones"][0]["dev"], "right2", "{told}");
}

/// One packet for each call, so that the time of the last is known.
fn send_one(router: &Router) {
    let before = router.forwarded();
    router.sender().send(&router.frame(router.flow(), 0)).unwrap();
    wait_until("the packet to be forwarded", PATIENCE, || router.forwarded() == before + 1)
        .unwrap();
}

#[test]
fn s8_an_idle_clone_counts_down_and_goes_in_time() {
    let router = Router::with(Place::new("expiry"), &SHORT_LIFE);
    let sent = Instant::now();
    send_one(&router);
    let (mut last, mut states) = (f64::INFINITY, BTreeSet::new());
    let mut seen = 0;
    wait_until("the clone to go", PATIENCE, || {
        let all = clones(&router);
        if let Some(clone) = all.first() {
            let left = clone["expires_in_seconds"].as_f64().unwrap();
            assert!(left <= last && left <= 2.0, "{left} s left after {last} s");
            last = left;
            seen += 1;
            states.insert(clone["state"].as_str().unwrap().to_owned());
        }
        all.is_empty()
    })
    .unwrap();
    let lived = sent.elapsed();
    let allowed = Duration::from_secs(2)..Duration::from_millis(4500);
    assert!(allowed.contains(&lived), "the clone was gone after {lived:?}");
    assert!(seen > 10 && last < 1.0, "seen {seen} times, the last with {last} s left");
    assert_eq!(states, ["expiring".to_owned(), "in-use".to_owned()].into());
    let status = router.agent.status().unwrap();
    let expired: u64 = status["clones"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["expired"]["timeout"].as_u64().unwrap())
        .sum();
    assert_eq!(expired, 1, "{}", status["clones"]);
    eprintln!("a clone with rtexpire 2 s was gone after {lived:?}");
}

#[test]
fn s7_a_packet_revives_an_idle_clone() {
    let router = Router::with(Place::new("revival"), &SHORT_LIFE);
    let sent = Instant::now();
    // Packets of one thread may take turns among CPUs: all clones there are must live.
    while sent.elapsed() < Duration::from_secs(5) {
        send_one(&router);
        assert!(!clones(&router).is_empty());
        thread::sleep(Duration::from_millis(1200));
        assert!(!clones(&router).is_empty(), "gone 1.2 s after its last packet");
    }
    wait_until("the clones to go", PATIENCE, || clones(&router).is_empty()).unwrap();
}

/// A route that changes takes its clones along from the listing at once, from the table by the next walk.
#[test]
fn s9_clones_of_a_changed_route_go() {
    let router = Router::forwarding("changed");
    router.ip("route change 10.9.0.0/16 via 10.0.3.2");
    wait_until("the clones to go", PATIENCE, || clones(&router).is_empty()).unwrap();
    wait_until("the sweeper to remove them", PATIENCE, || {
        let status = router.agent.status().unwrap();
        let tables = status["clones"].as_array().unwrap();
        tables.iter().all(|table| table["live"] == 0)
            && tables.iter().any(|table| table["expired"]["route"] != 0)
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", router.story()));
}

#[test]
fn f6_a_full_table_refuses_clones_and_no_packet() {
    const DESTINATIONS: u32 = 200;
    let router = Router::with(Place::new("full"), &["--clones-per-cpu", "4"]);
    router.await_forwarding(router.flow());
    let before = router.outcomes();
    let server = route_cache_lab::RawSocket::open(&router.server.namespace, "eth0").unwrap();
    let sender = router.sender();
    let mut expected = BTreeSet::new();
    for round in 0..2 {
        for number in 0..DESTINATIONS {
            let destination = Ipv4Addr::from(0x0a09_0200 + number);
            let flow = Flow { destination, ..router.flow() };
            sender.send(&router.frame(flow, number)).unwrap();
            expected.insert((destination, round));
        }
    }
    let count = expected.len();
    let to_net = |frame: &[u8]| {
        route_cache_lab::Ipv4View::of(frame).is_some_and(|v| v.destination().octets()[1] == 9)
    };
    assert_eq!(server.capture(to_net, count, PATIENCE).unwrap().len(), count);
    let counted = grown(&before, &router.outcomes());
    let forwarded: u64 =
        counted.iter().filter(|(name, _)| name.starts_with("forwarded")).map(|(_, n)| n).sum();
    assert_eq!(forwarded, count as u64, "{counted:?}");
    let status = router.agent.status().unwrap();
    let tables = status["clones"].as_array().unwrap();
    let sum = |name: &str| tables.iter().map(|table| table[name].as_u64().unwrap()).sum::<u64>();
    assert!(sum("refused") > 0 && sum("refused") < forwarded, "{}", status["clones"]);
    assert!(tables.iter().all(|table| table["live"].as_u64() <= Some(4)), "{}", status["clones"]);
    assert!(clones(&router).len() <= 4 * tables.len());
}
