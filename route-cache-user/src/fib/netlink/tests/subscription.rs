//! What the subscription itself promises: losses are told, strangers are not believed.

use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::super::namespace::{in_namespace, run, with_veth};
use super::super::{Bell, Received, Request};
use super::ear::{Ear, hear};
use crate::fib::message::Event;

#[test]
fn a_loss_is_reported_and_nothing_older_follows_it() {
    with_veth(|| {
        let mut ear = Ear::open(4096);
        run("seq 1 5000 | awk '{ printf \"route add 20.%d.%d.0/24 via 10.0.0.2\\n\", \
             $1 / 256, $1 % 256 }' | ip -batch -");
        let mut events = Vec::new();
        let received = ear.next(&mut events, Duration::from_secs(5));
        assert_eq!(received, Some(Received::Overrun));
        assert!(events.is_empty(), "{} events came before the loss was told", events.len());
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2");
        let prefix = "192.0.2.0/24".parse().expect("a prefix");
        assert!(matches!(event, Event::Route { route, .. } if route.prefix == prefix));
    });
}

#[test]
fn what_another_process_sends_is_not_believed() {
    hear(|ear| {
        let mut address = SocketAddr::new(0, 0);
        ear.monitor.route_socket().get_address(&mut address).expect("it is bound");
        let mut liar = Socket::new(NETLINK_ROUTE).expect("a socket opens");
        liar.bind_auto().expect("it binds");
        let lie = Request::get(libc::RTM_DELLINK, &[0; 16]).finish(0);
        liar.send_to(&lie, &address, 0).expect("the lie is told");
        run("ip link add truth type veth peer name true");
        let events = ear.until(|event| matches!(event, Event::Link(_)));
        assert!(!events.contains(&Event::LinkGone(0)), "{events:?}");
    });
}

#[test]
fn waiting_can_be_given_up_without_losing_anything() {
    hear(|ear| {
        let mut events = Vec::new();
        while ear.next(&mut events, Duration::from_millis(100)).is_some() {}
        events.clear();
        assert_eq!(ear.next(&mut events, Duration::from_millis(1)), None);
        let event = ear.route_after("ip route add 192.0.2.0/24 via 10.0.0.2");
        assert!(matches!(event, Event::Route { .. }));
        assert!(events.is_empty());
    });
}

#[test]
fn rows_40_and_41_the_bell_rings_once_for_each_change_of_rules_and_policies() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let inside = runtime.enter();
        let mut bell = Bell::open().expect("the bell opens");
        drop(inside);
        let mut rings_within = |limit: u64| {
            let limit = Duration::from_millis(limit);
            let rung = async { tokio::time::timeout(limit, bell.rung()).await.ok() };
            runtime.block_on(rung).map(|rung| rung.expect("the sockets live")).is_some()
        };
        assert!(!rings_within(20), "nothing has changed");
        for change in [
            "nft add table ip t",
            "nft 'add chain ip t f { type filter hook forward priority 0; policy drop; }'",
            "nft delete table ip t",
            "ip xfrm policy add dir fwd src 192.0.2.0/24 dst 198.51.100.0/24 action block",
            "ip xfrm policy flush",
            "ip xfrm policy setdefault fwd block",
        ] {
            run(change);
            assert!(rings_within(5000), "{change}");
            assert!(!rings_within(100), "a second time after {change}");
        }
    });
}
