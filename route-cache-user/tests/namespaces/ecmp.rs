//! Routes by several next hops: every flow has its path, and goes by another only when its own is gone.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use route_cache_lab::{Frame, Host, Ipv4View, RawSocket, wait_until};

use crate::{
    router::{Flow, PATIENCE, Router},
    stream::{BOUND, Exit, arrivals},
};

/// Flows of one look: enough that none of two paths is missed by chance.
pub const FLOWS: u32 = 128;

/// In which 10.9.0.0/16 has the server and the other host as next hops.
fn router(label: &str) -> Router {
    let router = Router::start(label);
    router.ip(&format!("route replace 10.9.0.0/16 {BOTH}"));
    router.await_forwarding(router.flow());
    router
}

/// The first of the flows' sources; the router has no route back, and checks none.
const SOURCES: Ipv4Addr = Ipv4Addr::new(10, 70, 0, 0);

const BOTH: &str = "nexthop via 10.0.2.2 dev right nexthop via 10.0.3.2 dev right2";

impl Router {
    /// Sends a packet of each flow. Gives where they came out, and how many left by XDP.
    fn look(&self) -> (BTreeMap<u32, Exit>, u64) {
        let at = |host: &Host| RawSocket::open(&host.namespace, host.interface).unwrap();
        let (server, other) = (at(&self.server), at(&self.other));
        let sender = self.sender();
        let before = self.forwarded();
        for number in 0..FLOWS {
            let source = Ipv4Addr::from_bits(SOURCES.to_bits() + number);
            sender.send(&self.frame(Flow { source, ..self.flow() }, number)).unwrap();
        }
        (arrivals(&server, &other), self.forwarded() - before)
    }

    /// Where each of the flows goes; all arrive, by XDP.
    #[track_caller]
    fn paths(&self) -> BTreeMap<u32, Exit> {
        let (paths, forwarded) = self.look();
        assert_eq!(paths.len(), FLOWS as usize, "{}", self.story());
        assert_eq!(forwarded, u64::from(FLOWS), "{}", self.story());
        paths
    }

    /// Waits until all flows arrive by XDP and go as they should.
    #[track_caller]
    fn settled_paths(
        &self,
        as_they_should: impl Fn(&BTreeMap<u32, Exit>) -> bool,
    ) -> BTreeMap<u32, Exit> {
        settled(self, || self.look(), as_they_should)
    }

    /// Has the kernel learn the other host's link-layer address.
    fn resolve_other(&self) {
        // The kernel hears of a carrier up to a second late.
        let ping = ["ping", "-q", "-c", "1", "-W", "5", "10.0.3.2"];
        wait_until("the other host to answer", PATIENCE, || self.router.exec(&ping).is_ok())
            .unwrap();
    }
}

/// Waits until all flows arrive by XDP and go as they should, and the kernel agrees with the clones.
#[track_caller]
pub fn settled(
    router: &Router,
    look: impl Fn() -> (BTreeMap<u32, Exit>, u64),
    as_they_should: impl Fn(&BTreeMap<u32, Exit>) -> bool,
) -> BTreeMap<u32, Exit> {
    let mut seen = Default::default();
    wait_until("the paths to settle", PATIENCE, || {
        seen = look();
        let (paths, forwarded) = &seen;
        paths.len() == FLOWS as usize && *forwarded == u64::from(FLOWS) && as_they_should(paths)
    })
    .unwrap_or_else(|error| panic!("{error:#}: {seen:?}; {}", router.story()));
    router.audit_is_clean(1);
    seen.0
}

/// How many flows come out there.
pub fn share(paths: &BTreeMap<u32, Exit>, exit: Exit) -> usize {
    paths.values().filter(|at| **at == exit).count()
}

/// About as many flows go by the one as by the other.
pub fn is_even(paths: &BTreeMap<u32, Exit>) -> bool {
    (40..=88).contains(&share(paths, Exit::Server))
}

#[test]
fn row_21_flows_spread_over_the_next_hops_and_each_keeps_its_path() {
    let router = router("ecmp");
    let paths = router.paths();
    assert!(is_even(&paths), "{paths:?}");
    for _ in 0..3 {
        assert_eq!(router.paths(), paths);
    }
    router.audit_is_clean(1);
}

#[test]
fn row_21_weights_are_followed_by_the_next_packet() {
    let router = router("ecmp-weights");
    assert!(is_even(&router.paths()));
    router.ip("route replace 10.9.0.0/16 nexthop via 10.0.2.2 dev right weight 15 \
         nexthop via 10.0.3.2 dev right2");
    let is_uneven = |paths: &BTreeMap<_, _>| share(paths, Exit::Server) > 105;
    let paths = router.settled_paths(is_uneven);
    assert!(share(&paths, Exit::Other) > 0);
}

#[test]
fn row_22_the_flows_of_a_link_that_goes_down_take_the_other_and_no_others_move() {
    let router = router("ecmp-down");
    let before = router.paths();
    let by_other = before.iter().find(|(_, exit)| **exit == Exit::Other).unwrap().0;
    let flow = Flow { source: Ipv4Addr::from_bits(SOURCES.to_bits() + by_other), ..router.flow() };
    let account = router.during_flow("link down", flow, BOUND, || {
        router.ip("link set right2 down");
    });
    account.moves(Exit::Other, Exit::Server);
    assert_eq!(share(&router.paths(), Exit::Server), FLOWS as usize);
    router.audit_is_clean(1);

    router.ip("link set right2 up");
    router.resolve_other();
    router.settled_paths(|paths| *paths == before);
}

#[test]
fn row_22_routes_by_a_link_without_carrier_are_skipped_if_the_operator_says_so() {
    let router = router("ecmp-linkdown");
    let carrier = |state| {
        router.other.namespace.exec(&["ip", "link", "set", "eth0", state]).unwrap();
    };
    let before = router.paths();
    for scope in ["all", "right2"] {
        let ignore = format!("net/ipv4/conf/{scope}/ignore_routes_with_linkdown");
        router.router.sysctl(&ignore, "1").unwrap();
        carrier("down");
        let paths = router.settled_paths(|paths| share(paths, Exit::Server) == FLOWS as usize);
        for (flow, exit) in &before {
            assert!(*exit != Exit::Server || paths[flow] == Exit::Server);
        }
        carrier("up");
        router.resolve_other();
        router.settled_paths(|paths| *paths == before);
        router.router.sysctl(&ignore, "0").unwrap();
    }
}

#[test]
fn row_31_the_share_of_a_member_whose_neighbour_is_unknown_is_the_kernels() {
    let router = router("ecmp-neighbour");
    let before = router.paths();
    router.ip("neigh flush dev right2");
    // Its flows pass; the kernel resolves, and all are forwarded again.
    router.settled_paths(|paths| *paths == before);
}

#[test]
fn row_24_a_group_of_next_hop_objects_is_followed_with_and_without_compat_mode() {
    for mode in ["1", "0"] {
        let router = Router::start("ecmp-objects");
        router.router.sysctl("net/ipv4/nexthop_compat_mode", mode).unwrap();
        router.ip("nexthop add id 1 via 10.0.2.2 dev right");
        router.ip("nexthop add id 2 via 10.0.3.2 dev right2");
        router.ip("nexthop add id 10 group 1/2");
        router.ip("route replace 10.9.0.0/16 nhid 10");
        let paths = router.settled_paths(is_even);
        assert_eq!(router.paths(), paths);

        router.ip("nexthop replace id 10 group 1,15/2,1");
        router.settled_paths(|paths| share(paths, Exit::Server) > 105);

        router.ip("nexthop replace id 10 group 2");
        router.settled_paths(|paths| share(paths, Exit::Other) == FLOWS as usize);

        router.ip("nexthop replace id 10 group 1/2");
        router.settled_paths(is_even);
        // One member leads elsewhere now.
        router.ip("nexthop replace id 2 via 10.0.2.2 dev right");
        router.settled_paths(|paths| share(paths, Exit::Server) == FLOWS as usize);

        // A member that goes leaves the group without a message about the group.
        router.ip("nexthop replace id 2 via 10.0.3.2 dev right2");
        router.settled_paths(is_even);
        router.ip("nexthop del id 1");
        router.settled_paths(|paths| share(paths, Exit::Other) == FLOWS as usize);

        router.ip("nexthop del id 10");
        router.await_pass(router.flow(), "pass_no_route");
    }
}

#[test]
fn row_24_next_hop_objects_go_with_the_carrier_and_do_not_come_back_with_it() {
    let router = Router::start("ecmp-carrier");
    router.ip("nexthop add id 1 via 10.0.2.2 dev right");
    router.ip("route replace 10.9.0.0/16 nhid 1");
    router.await_forwarding(router.flow());
    let carrier = |state| {
        router.server.namespace.exec(&["ip", "link", "set", "eth0", state]).unwrap();
    };
    carrier("down");
    wait_until("the kernel to drop the object", PATIENCE, || router.ip("nexthop show").is_empty())
        .unwrap();
    carrier("up");
    router.router.exec(&["ping", "-q", "-c", "1", "-W", "5", "10.0.2.2"]).unwrap();
    router.await_pass(router.flow(), "pass_no_route");
    let (paths, forwarded) = router.look();
    assert_eq!((paths.len(), forwarded), (0, 0));
}

#[test]
fn row_21_what_the_kernel_picks_in_its_own_way_is_left_to_it() {
    let router = router("ecmp-kernel");
    let setting = |name: &str, value| router.router.sysctl(name, value).unwrap();
    for (name, value, text) in [
        ("net/ipv4/fib_multipath_hash_policy", "2", "fib_multipath_hash_policy"),
        ("net/ipv4/fib_multipath_use_neigh", "1", "fib_multipath_use_neigh"),
    ] {
        setting(name, value);
        wait_until("the kernel to have all flows", PATIENCE, || router.look().1 == 0).unwrap();
        assert!(router.get("10.9.0.1")["reason"].to_string().contains(text));
        let (paths, forwarded) = router.look();
        assert_eq!((paths.len(), forwarded), (FLOWS as usize, 0));
        setting(name, "0");
        router.await_forwarding(router.flow());
    }
    router.ip("nexthop add id 1 via 10.0.2.2 dev right");
    router.ip("nexthop add id 2 via 10.0.3.2 dev right2");
    router.ip("nexthop add id 10 group 1/2 type resilient buckets 8");
    router.ip("route replace 10.9.0.0/16 nhid 10");
    router.await_pass(router.flow(), "pass_route");
    assert!(router.get("10.9.0.1")["reason"].to_string().contains("resilient"));
}

#[test]
fn row_21_ports_count_if_the_policy_says_so() {
    const COUNT: u16 = 64;
    let router = router("ecmp-ports");
    let at_server = || {
        let server = RawSocket::open(&router.server.namespace, router.server.interface).unwrap();
        let sender = router.sender();
        let flow = router.flow();
        for port in 5000..5000 + COUNT {
            let frame = Frame::udp((flow.source, port), (flow.destination, 7), b"ports");
            sender.send(&frame.sent_by(&router.client).build()).unwrap();
        }
        let mut count = 0;
        while let Some(frame) = server.recv(Duration::from_millis(100)).unwrap() {
            let to = Ipv4View::of(&frame).map(|view| view.destination());
            count += usize::from(to == Some(flow.destination));
        }
        count
    };
    assert!([0, COUNT.into()].contains(&at_server()));
    router.router.sysctl("net/ipv4/fib_multipath_hash_policy", "1").unwrap();
    wait_until("the policy to be found", PATIENCE, || (12..=52).contains(&at_server())).unwrap();
    let before = router.forwarded();
    at_server();
    assert_eq!(router.forwarded() - before, u64::from(COUNT));
}
