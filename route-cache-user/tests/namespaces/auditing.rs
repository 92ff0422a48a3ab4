//! The kernel is asked about clones.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::{Frame, wait_until};
use serde_json::Value;

use crate::{
    router::{BEYOND, Flow, PATIENCE, Place, Router},
    stream::NEW_ADDRESS,
    traffic::flooded,
};

const ICMP: u8 = 1;

/// A router on the link of the server that nobody told the agent of.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 9);

/// A number in the agent's status.
fn count(router: &Router, name: &str) -> u64 {
    router.agent.status().unwrap()[name].as_u64().unwrap()
}

/// Has the kernel believe that the way to [`BEYOND`] is by [`ELSEWHERE`]: an ICMP redirect of the server, as if the
/// router itself had sent a packet there. The kernel forwards by it, and tells nobody.
fn redirect(router: &Router) {
    for name in ["all", "right"] {
        let sysctl = format!("net/ipv4/conf/{name}/accept_redirects");
        router.router.sysctl(&sysctl, "1").unwrap();
    }
    let lladdr = route_cache_lab::link::readable(NEW_ADDRESS);
    router.ip(&format!("neigh add {ELSEWHERE} lladdr {lladdr} dev right nud permanent"));
    let server = &router.server;
    // Only the answer to a ping is the kernel's own and needs no socket (`icmp_err`).
    let mut inside = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, ICMP, 0, 0];
    inside.extend(server.gateway.octets());
    inside.extend(BEYOND.octets());
    inside.extend([0; 8]);
    let mut redirect = vec![5, 1, 0, 0];
    redirect.extend(ELSEWHERE.octets());
    redirect.extend(inside);
    let frame = Frame::ipv4(server.address, server.gateway, ICMP, &redirect).sent_by(server);
    let socket = route_cache_lab::RawSocket::open(&server.namespace, server.interface).unwrap();
    wait_until("the kernel to believe the redirect", PATIENCE, || {
        socket.send(&frame.clone().build()).unwrap();
        router.ip(&format!("route get {BEYOND}")).contains(&format!("via {ELSEWHERE} "))
    })
    .unwrap();
}

#[test]
fn the_kernel_agrees_with_hundreds_of_clones() {
    const DESTINATIONS: u32 = 500;
    let router = Router::with(Place::new("audit"), &["--audit-rate", "400"]);
    router.route_flood();
    router.ip("route add 10.32.0.64/26 via 10.0.2.2 mtu 1400");
    router.ip("nexthop add id 7 via 10.0.2.2 dev right");
    router.ip("route add 10.32.0.128/26 nhid 7");
    router.await_forwarding(Flow { destination: router.other.address, ..router.flow() });
    router.await_forwarding(Flow { destination: flooded(129), ..router.flow() });
    router.flood(DESTINATIONS, Duration::from_millis(200));
    wait_until("the clones", PATIENCE, || router.clones().len() as u32 > DESTINATIONS)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    let clones = router.clones().len() as u64;
    let began = Instant::now();
    let (report, code) = router.agent.audit().unwrap();
    eprintln!("audit: {clones} clones in {:?}, the client included", began.elapsed());
    assert_eq!((&report["differences"], code), (&Value::Array(Vec::new()), 0), "{report}");
    assert_eq!(report["checked"].as_u64(), Some(clones), "{report}");
    let text = router.agent.cli(&["audit"]).unwrap().stdout;
    assert_eq!(text, format!("{clones} clones checked, 0 differences\n"));
    // By itself it asks about all of them within a few seconds.
    let before = count(&router, "audits");
    wait_until("the audit to go round", PATIENCE, || count(&router, "audits") >= before + clones)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert_eq!(count(&router, "audit_mismatches"), 0, "{}", router.story());
    assert_eq!(router.expired("audit"), 0);
}

#[test]
fn what_the_agent_cannot_see_is_found_told_and_removed() {
    let router = Router::with(Place::new("redirect"), &["--audit-rate", "0"]);
    router.await_forwarding(router.flow());
    router.audit_is_clean(1);
    redirect(&router);
    let clones = router.clones_of(BEYOND).len() as u64;
    assert!(clones > 0);
    let (report, code) = router.agent.audit().unwrap();
    assert_eq!(code, 1, "{report}");
    let differences = report["differences"].as_array().unwrap();
    assert_eq!(differences.len() as u64, clones, "{report}; {}", router.story());
    for found in differences {
        assert_eq!(found["dst"], BEYOND.to_string());
        assert_eq!(found["difference"], "next_hop");
        assert_eq!(found["clone"], "via 10.0.2.2 dev right");
        assert_eq!(found["kernel"], "via 10.0.2.9 dev right");
    }
    assert_eq!(count(&router, "audit_mismatches"), clones);
    assert_eq!(router.expired("audit"), clones);
    assert!(router.clones_of(BEYOND).is_empty());
    let told = "10.9.0.1 on CPU";
    assert!(router.agent.log().contains(told), "{}", router.agent.log());
    let events = router.agent.cli(&["monitor"]).unwrap().stdout;
    assert!(
        events.contains("said via 10.0.2.2 dev right, the kernel says via 10.0.2.9"),
        "{events}"
    );
    let metrics = router.agent.metrics().unwrap();
    let mismatches = format!("route_cache_audit_mismatches_total {clones}\n");
    assert!(metrics.contains(&mismatches), "{metrics}");

    // The next packet clones the same route again. Left alone with 0, found by itself with more.
    router.await_forwarding(router.flow());
    let audits = count(&router, "audits");
    assert_eq!(audits, 2 * clones, "with --audit-rate 0 only who is told to asks");
    router.agent.cli(&["set", "audit_rate", "50"]).unwrap();
    wait_until("the disagreement to be found", PATIENCE, || {
        count(&router, "audit_mismatches") > clones
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    wait_until("the clones to go", PATIENCE, || router.clones_of(BEYOND).is_empty()).unwrap();
}

/// The mirror is always a moment behind; that is no disagreement.
#[test]
fn a_route_that_changes_all_the_time_is_never_a_disagreement() {
    const CHANGES: u32 = 300;
    const ENOUGH: u64 = 10;
    let router = Router::forwarding("flapping");
    let over = AtomicBool::new(false);
    let mut batch = String::new();
    for number in 0..CHANGES {
        let via = if number % 2 == 0 { "10.0.3.2" } else { "10.0.2.2" };
        batch += &format!("ip route replace 10.9.0.0/16 via {via}; sleep 0.005; ");
    }
    let (checked, began) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let sender = router.sender();
            while !over.load(Ordering::Relaxed) {
                sender.send(&router.frame(router.flow(), 0)).unwrap();
                thread::sleep(Duration::from_micros(500));
            }
        });
        // A change voids the clone: where the machine is busy an audit seldom finds one.
        let changing = scope.spawn(|| {
            loop {
                router.router.exec(&["sh", "-ec", &batch]).unwrap();
                if checked.load(Ordering::Relaxed) > ENOUGH || began.elapsed() > PATIENCE {
                    break;
                }
            }
        });
        let mut reports = Vec::new();
        while !changing.is_finished() {
            let audited = router.agent.audit();
            let found = audited.as_ref().ok().and_then(|(report, _)| report["checked"].as_u64());
            checked.fetch_add(found.unwrap_or_default(), Ordering::Relaxed);
            reports.push(audited);
        }
        over.store(true, Ordering::Relaxed);
        sending.join().unwrap();
        changing.join().unwrap();
        for report in reports {
            let (report, code) = report.unwrap();
            assert_eq!(code, 0, "{report}; {}", router.story());
        }
    });
    let checked = checked.into_inner();
    assert!(checked > ENOUGH, "only {checked} clones were there to be checked");
    assert_eq!(count(&router, "audit_mismatches"), 0, "{}", router.story());
    eprintln!("audit: {checked} clones checked while their route changed");
}
