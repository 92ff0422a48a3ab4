//! Neighbours whose packets XDP forwards, so that the kernel does not see them in use.

use std::{collections::BTreeMap, time::Duration};

use crate::{ipv6::Router6, router::Router};

/// The server, as the router knows it in one family.
struct Server {
    /// As in /proc/sys/net.
    family: &'static str,
    address: &'static str,
}

const IPV4: Server = Server { family: "ipv4", address: "10.0.2.2" };
const IPV6: Server = Server { family: "ipv6", address: "2001:db8:2::2" };

/// The state of the server as `ip neigh` names it.
fn state(router: &Router, server: &Server) -> String {
    let shown = router.ip(&format!("neigh show {} dev right", server.address));
    shown.split_whitespace().last().unwrap_or("none").to_owned()
}

fn row_32_stays_alive(router: &Router, server: &Server) {
    for (name, value) in [
        ("base_reachable_time_ms", "1000"),
        ("delay_first_probe_time", "1"),
        ("gc_stale_time", "2"),
        ("locktime", "0"),
    ] {
        router.router.sysctl(&format!("net/{}/neigh/right/{name}", server.family), value).unwrap();
    }
    let client = &router.client.namespace;
    let ping = |count: &str| {
        client.exec(&["ping", "-q", "-i", "0.01", "-c", count, server.address]).unwrap()
    };
    // Its timer still runs by the old time: a new entry has the new one.
    router.ip(&format!("neigh del {} dev right", server.address));
    ping("20");
    let before = router.forwarded();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut revivals = 0;
    let heard = std::thread::scope(|scope| {
        let pinging = scope.spawn(|| ping("1100"));
        let mut last = state(router, server);
        while !pinging.is_finished() {
            let now = state(router, server);
            *seen.entry(now.clone()).or_default() += 1;
            revivals += u32::from(now == "REACHABLE" && last != "REACHABLE");
            last = now;
            std::thread::sleep(Duration::from_millis(20));
        }
        pinging.join().unwrap()
    });
    assert!(heard.contains(" 0% packet loss"), "{heard}");
    // A timer of about a second, a tick of a second, and a probe: a round of at most four seconds.
    assert!(revivals >= 2, "confirmed {revivals} times in 11 s; states seen: {seen:?}");
    assert!(!seen.contains_key("FAILED") && !seen.contains_key("INCOMPLETE"), "{seen:?}");
    let forwarded = router.forwarded() - before;
    assert!(forwarded > 2 * 1100 * 9 / 10, "{forwarded} by XDP; {}", router.story());
    eprintln!("neighbour: confirmed {revivals} times in 11 s; states seen: {seen:?}");
}

#[test]
fn row_32_a_stale_neighbour_is_kept_alive_by_the_packets_that_xdp_forwards() {
    row_32_stays_alive(&Router::forwarding("alive"), &IPV4);
}

#[test]
fn row_32_a_stale_neighbour_of_ipv6_is_kept_alive_likewise() {
    row_32_stays_alive(&Router6::start("alive6"), &IPV6);
}

/// Nobody asks for a neighbour that no packet is for.
#[test]
fn row_32_an_idle_neighbour_may_go_stale() {
    let router = Router::forwarding("idle");
    router.ip("neigh replace 10.0.2.2 lladdr 02:00:00:00:02:02 dev right nud stale");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(state(&router, &IPV4), "STALE");
    // The first packet that uses it has it confirmed.
    router.await_forwarding(router.flow());
    route_cache_lab::wait_until("the neighbour to be confirmed", crate::router::PATIENCE, || {
        state(&router, &IPV4) == "REACHABLE"
    })
    .unwrap();
}
