//! Interfaces, addresses, routes and neighbours that go take their clones along, from the tables of all CPUs (S14).

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;

use crate::{
    router::{BEYOND, PATIENCE, Place, Router},
    stream::Exit,
};

/// Clones that a change takes along are removed within a second, on a machine that has other things to do as well.
const PURGED: Duration = Duration::from_millis(1500);

/// The clones that a change takes along, by its reason.
struct Purged {
    cpus: u64,
    /// Removed for the reason before.
    before: u64,
}

/// Has a clone of the destination on every CPU.
fn cloned(router: &Router, destination: Ipv4Addr, reason: &str) -> Purged {
    let cpus = router.clone_on_every_cpu(destination) as u64;
    Purged { cpus, before: router.expired(reason) }
}

impl Purged {
    /// They are gone from all tables within the bound after the change, for this reason.
    #[track_caller]
    fn goes(&self, router: &Router, destination: Ipv4Addr, reason: &str, changed: Instant) {
        wait_until(&format!("the clones to go ({reason})"), PATIENCE, || {
            router.expired(reason) >= self.before + self.cpus
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
        let late = changed.elapsed();
        assert!(late < PURGED, "removed {late:?} after the change");
        assert!(router.clones_of(destination).is_empty());
        eprintln!("purge: {reason}: removed within {late:?}");
    }
}

/// Walks come at the latest every ten minutes: what goes sooner was called for.
const ON_CALL: [&str; 2] = ["--sweep-interval", "10m"];

#[test]
fn s14_a_link_that_goes_down_takes_its_clones_along() {
    let router = Router::with(Place::new("down"), &ON_CALL);
    let clones = cloned(&router, BEYOND, "link_down");
    // Through another interface: it stays.
    router.clone_on_every_cpu(router.other.address);
    let changed = Instant::now();
    router.ip("link set right down");
    clones.goes(&router, BEYOND, "link_down", changed);
    assert_eq!(router.clones_of(router.other.address).len() as u64, clones.cpus);
}

#[test]
fn s14_a_lost_carrier_takes_the_clones_along() {
    let router = Router::with(Place::new("carrier"), &ON_CALL);
    let clones = cloned(&router, BEYOND, "link_down");
    let changed = Instant::now();
    router.server.namespace.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
    clones.goes(&router, BEYOND, "link_down", changed);

    router.server.namespace.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    router.await_forwarding(router.flow());
}

#[test]
fn s15_an_exempt_interface_keeps_its_clones_and_its_packets_pass() {
    let router = Router::with(Place::new("exempt"), &["--exempt-interface", "r*t"]);
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    let before = router.tables("live");
    router.server.namespace.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
    router.await_pass(router.flow(), "pass_egress");
    // Two walks called for would have found them.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(router.tables("live"), before, "{}", router.story());
    assert_eq!(router.clones_of(BEYOND).len() as u64, cpus);
    assert_eq!(router.expired("link_down"), 0);

    // The clones are good again as soon as the link is.
    router.server.namespace.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    router.await_forwarding(router.flow());
    assert_eq!(router.tables("created"), before, "{}", router.story());
}

#[test]
fn s14_a_deleted_address_takes_the_clones_of_its_network_along() {
    let router = Router::with(Place::new("address"), &ON_CALL);
    let destination = router.other.address;
    let clones = cloned(&router, destination, "address");
    router.clone_on_every_cpu(BEYOND);
    let changed = Instant::now();
    router.ip("address del 10.0.3.1/24 dev right2");
    clones.goes(&router, destination, "address", changed);
    assert_eq!(router.clones_of(BEYOND).len() as u64, clones.cpus);
}

#[test]
fn a_changed_route_takes_its_clones_along_and_no_packet_is_lost() {
    let router = Router::with(Place::new("route"), &ON_CALL);
    let clones = cloned(&router, BEYOND, "route");
    let changed = Instant::now();
    router.ip("route change 10.9.0.0/16 via 10.0.3.2");
    clones.goes(&router, BEYOND, "route", changed);

    // With packets on the way, the data plane renews them before the sweeper comes.
    router.clone_on_every_cpu(BEYOND);
    let account = router.during("ip route change", || {
        router.ip("route change 10.9.0.0/16 via 10.0.2.2");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    let all = router.clones_of(BEYOND);
    assert!(!all.is_empty() && all.iter().all(|clone| clone["via"] == "10.0.2.2"), "{all:?}");

    // A route that goes without another in its place.
    let clones = cloned(&router, BEYOND, "route");
    let changed = Instant::now();
    router.ip("route del 10.9.0.0/16");
    clones.goes(&router, BEYOND, "route", changed);
}

#[test]
fn a_lost_neighbour_takes_its_clones_along() {
    let router = Router::with(Place::new("neighbour"), &ON_CALL);
    let clones = cloned(&router, BEYOND, "neighbour");
    let changed = Instant::now();
    router.ip("neigh del 10.0.2.2 dev right");
    clones.goes(&router, BEYOND, "neighbour", changed);
    // The next packet has it resolved again.
    router.await_forwarding(router.flow());
}

/// A /32 of the kernel goes before the clone of that destination, and only that one is affected for good (S5).
#[test]
fn s5_a_host_route_replaces_a_clone_of_its_destination() {
    let router = Router::with(Place::new("host"), &ON_CALL);
    let clones = cloned(&router, BEYOND, "route");
    let changed = Instant::now();
    router.ip("route add 10.9.0.1/32 via 10.0.3.2");
    clones.goes(&router, BEYOND, "route", changed);
    router.ip("route del 10.9.0.1/32");

    router.clone_on_every_cpu(BEYOND);
    let account = router.during("ip route add 10.9.0.1", || {
        router.ip("route add 10.9.0.1/32 via 10.0.3.2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    let all = router.clones_of(BEYOND);
    assert!(!all.is_empty() && all.iter().all(|clone| clone["prefix"] == "10.9.0.1/32"), "{all:?}");
}

#[test]
fn s3_an_address_added_purges_the_clone_of_it() {
    let router = Router::with(Place::new("local"), &ON_CALL);
    let clones = cloned(&router, BEYOND, "address");
    let changed = Instant::now();
    router.ip("address add 10.9.0.1/32 dev right2");
    clones.goes(&router, BEYOND, "address", changed);
    router.await_pass(router.flow(), "pass_local");
    let told = router.get("10.9.0.1");
    assert!(told["reason"].as_str().unwrap().contains("right2"), "{told}");
    // It is never cloned, on no CPU.
    assert!(told["clones"].as_array().unwrap().is_empty(), "{told}");
}
