//! IPv6 routes by several next hops, told by the kernel one next hop at a time.

use std::collections::BTreeMap;

use route_cache_lab::{Host, RawSocket, wait_until};

use crate::{
    ecmp::{FLOWS, is_even, settled, share},
    ipv6::{BEYOND, Router6},
    router::PATIENCE,
    stream::{BOUND, Exit, arrivals},
};

const BOTH: &str = "nexthop via 2001:db8:2::2 dev right nexthop via 2001:db8:3::2 dev right2";

impl Router6 {
    /// Sends a packet of each flow. Gives where they came out, and how many left by XDP.
    fn look(&self) -> (BTreeMap<u32, Exit>, u64) {
        let at = |host: &Host| RawSocket::open(&host.namespace, host.interface).unwrap();
        let (server, other) = (at(&self.server), at(&self.other));
        let sender = self.sender();
        let before = self.forwarded();
        for number in 0..FLOWS {
            sender.send(&self.datagram(number, number)).unwrap();
        }
        (arrivals(&server, &other), self.forwarded() - before)
    }

    #[track_caller]
    fn settled_paths(
        &self,
        as_they_should: impl Fn(&BTreeMap<u32, Exit>) -> bool,
    ) -> BTreeMap<u32, Exit> {
        settled(self, || self.look(), as_they_should)
    }
}

fn all_at(exit: Exit) -> impl Fn(&BTreeMap<u32, Exit>) -> bool {
    move |paths| share(paths, exit) == FLOWS as usize
}

#[test]
fn row_21_ipv6_flows_take_both_ways_and_the_one_that_is_left() {
    let router = Router6::start("six-ecmp");
    router.ip6(&format!("route replace 2001:db8:9::/48 {BOTH}"));
    let paths = router.settled_paths(is_even);
    for _ in 0..3 {
        assert_eq!(router.look(), (paths.clone(), u64::from(FLOWS)), "{}", router.story());
    }
    for (gone, left) in [
        ("via 2001:db8:3::2 dev right2", Exit::Server),
        ("via 2001:db8:2::2 dev right", Exit::Other),
    ] {
        router.ip6(&format!("route delete 2001:db8:9::/48 {gone}"));
        router.settled_paths(all_at(left));
        router.ip6(&format!("route append 2001:db8:9::/48 {gone}"));
        router.settled_paths(is_even);
    }
    router.ip6(&format!("route replace 2001:db8:9::/48 {BOTH} weight 15"));
    let paths = router.settled_paths(|paths| share(paths, Exit::Other) > 105);
    assert!(share(&paths, Exit::Server) > 0);
}

#[test]
fn row_21_ipv6_flows_that_the_kernel_picks_a_way_for_are_left_to_it() {
    let router = Router6::start("six-ecmp-kernel");
    router.ip6(&format!("route replace 2001:db8:9::/48 {BOTH}"));
    router.settled_paths(is_even);
    let policy = |value| {
        router.router.sysctl("net/ipv6/fib_multipath_hash_policy", value).unwrap();
    };
    policy("2");
    wait_until("the kernel to have all flows", PATIENCE, || router.look().1 == 0).unwrap();
    let (paths, forwarded) = router.look();
    assert_eq!((paths.len(), forwarded), (FLOWS as usize, 0), "{}", router.story());
    assert!(router.get(BEYOND)["reason"].to_string().contains("fib_multipath_hash_policy"));
    policy("0");
    router.settled_paths(is_even);
}

#[test]
fn row_22_ipv6_flows_leave_a_link_that_goes_down_and_no_others_move() {
    let router = Router6::start("six-ecmp-down");
    router.ip6(&format!("route replace 2001:db8:9::/48 {BOTH}"));
    let before = router.settled_paths(is_even);
    let a_flow_by = |exit| *before.iter().find(|(_, by)| **by == exit).unwrap().0;
    let down = || router.ip6("link set right2 down");
    // Its neighbours and addresses go with a link, and do not come back with it.
    let up = || {
        router.ip6("link set right2 up");
        router.ip6("address replace 2001:db8:3::1/64 dev right2 nodad");
        router.router.exec(&["ping", "-6", "-q", "-c", "1", "-W", "5", "2001:db8:3::2"]).unwrap();
    };
    router
        .during_datagrams("link down, a flow by it", a_flow_by(Exit::Other), BOUND, down)
        .moves(Exit::Other, Exit::Server);
    let paths = router.settled_paths(all_at(Exit::Server));
    wait_until("the tables to be read again", PATIENCE, || {
        router.agent.status().unwrap()["resyncs"]["link"].as_u64() > Some(0)
    })
    .unwrap();
    // While they are read and after that.
    for _ in 0..10 {
        assert_eq!(router.look(), (paths.clone(), u64::from(FLOWS)), "{}", router.story());
    }
    up();
    router.settled_paths(|paths| *paths == before);
    router
        .during_datagrams("link down, a flow by the other", a_flow_by(Exit::Server), BOUND, down)
        .stays(Exit::Server);
    up();
    router.settled_paths(|paths| *paths == before);
}

#[test]
fn row_24_an_ipv6_group_of_next_hop_objects_is_followed_with_and_without_compat_mode() {
    for mode in ["1", "0"] {
        let router = Router6::start("six-ecmp-objects");
        router.router.sysctl("net/ipv4/nexthop_compat_mode", mode).unwrap();
        router.ip("nexthop add id 1 via 2001:db8:2::2 dev right");
        router.ip("nexthop add id 2 via 2001:db8:3::2 dev right2");
        router.ip("nexthop add id 10 group 1/2");
        router.ip6("route replace 2001:db8:9::/48 nhid 10");
        router.settled_paths(is_even);
        router.ip("nexthop replace id 10 group 2");
        router.settled_paths(all_at(Exit::Other));
        router.ip("nexthop replace id 10 group 1/2");
        router.settled_paths(is_even);
        // A member that goes leaves the group without a message about the group.
        router.ip("nexthop delete id 2");
        router.settled_paths(all_at(Exit::Server));
    }
}
