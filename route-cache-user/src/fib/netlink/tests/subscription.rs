//! What the subscription itself promises: losses are told, strangers are not believed.

use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::super::namespace::{run, with_veth};
use super::super::{Received, Request};
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
