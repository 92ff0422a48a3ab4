//! Notifications about interfaces and what belongs to them, and about rules.

use std::net::IpAddr;

use super::super::namespace::{index, kernel_before, run};
use super::ear::hear;
use crate::fib::family::IpFamily;
use crate::fib::message::{Address, Event, Neighbour, Netconf, Rule, XDP_FEATURE_NDO_XMIT};

#[test]
fn a_link_that_goes_down_and_away_is_heard() {
    hear(|ear| {
        let right = index("right");
        let up = |event: &Event, wanted: bool| match event {
            Event::Link(link) => {
                link.ifindex == right && (link.flags & libc::IFF_UP as u32 != 0) == wanted
            }
            _ => false,
        };
        run("ip link set right down");
        ear.until(|event| up(event, false));
        run("ip link set right up");
        ear.until(|event| up(event, true));
        run("ip link del right");
        ear.until(|event| *event == Event::LinkGone(right));
    });
}

#[test]
fn a_port_that_leaves_a_bridge_is_not_a_link_that_is_gone() {
    hear(|ear| {
        run("ip link add bridge type bridge && ip link set left master bridge");
        let bridge = index("bridge");
        ear.until(|event| matches!(event, Event::Link(link) if link.master == Some(bridge)));
        run("ip link set left nomaster && ip link del bridge");
        let events = ear.until(|event| matches!(event, Event::LinkGone(_)));
        assert!(events.contains(&Event::LinkGone(bridge)), "{events:?}");
        assert!(events.iter().any(
            |event| matches!(event, Event::Link(link) if link.name == "left" && link.master.is_none())
        ));
    });
}

#[test]
fn addresses_that_come_and_go_are_heard() {
    hear(|ear| {
        let address = Address {
            ifindex: index("right"),
            local: IpAddr::from([192, 0, 2, 1]),
            prefix_len: 24,
        };
        run("ip address add 192.0.2.1/24 dev right");
        ear.until(|event| *event == Event::Address(address));
        run("ip address del 192.0.2.1/24 dev right");
        ear.until(|event| *event == Event::AddressGone(address));
    });
}

#[test]
fn neighbours_that_change_and_go_are_heard() {
    hear(|ear| {
        let (ifindex, address) = (index("left"), IpAddr::from([10, 0, 0, 2]));
        let lladdr = Some([2, 0, 0, 0, 0, 2]);
        let neighbour = |state| Event::Neighbour(Neighbour { ifindex, address, state, lladdr });
        run("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev left nud reachable");
        ear.until(|event| *event == neighbour(libc::NUD_REACHABLE));
        run("ip neigh change 10.0.0.2 lladdr 02:00:00:00:00:02 dev left nud stale");
        ear.until(|event| *event == neighbour(libc::NUD_STALE));
        run("ip neigh del 10.0.0.2 dev left");
        ear.until(|event| *event == Event::NeighbourGone { ifindex, address });
    });
}

#[test]
fn rules_that_come_and_go_are_heard() {
    hear(|ear| {
        let rule = Rule {
            family: IpFamily::V4,
            priority: 5,
            table: 1000,
            action: 1,
            iif: None,
            oif: None,
            l3mdev: false,
            inverted: false,
            selective: true,
        };
        run("ip rule add from 192.0.2.0/24 priority 5 lookup 1000");
        ear.until(|event| *event == Event::Rule(rule.clone()));
        run("ip rule del priority 5");
        ear.until(|event| *event == Event::RuleGone(rule.clone()));
    });
}

#[test]
fn forwarding_and_reverse_path_filters_that_change_are_heard() {
    hear(|ear| {
        let left = index("left").cast_signed();
        let forwarding = |event: &Event, wanted| match event {
            Event::Netconf(netconf) if netconf.family == IpFamily::V4 => {
                netconf.ifindex == left && netconf.forwarding == Some(wanted)
            }
            _ => false,
        };
        run("sysctl -qw net.ipv4.conf.left.forwarding=1");
        ear.until(|event| forwarding(event, true));
        run("sysctl -qw net.ipv4.ip_forward=1 && sysctl -qw net.ipv4.ip_forward=0");
        ear.until(|event| forwarding(event, false));
        run("sysctl -qw net.ipv4.conf.left.rp_filter=2 net.ipv4.conf.all.rp_filter=1");
        let filter = |event: &Event, ifindex, wanted| match event {
            Event::Netconf(Netconf { ifindex: of, rp_filter, .. }) => {
                *of == ifindex && *rp_filter == Some(wanted)
            }
            _ => false,
        };
        let events = ear.until(|event| filter(event, Netconf::ALL, 1));
        assert!(events.iter().any(|event| filter(event, left, 2)), "{events:?}");
        run("ip link del left");
        ear.until(|event| *event == Event::NetconfGone(IpFamily::V4, left.cast_unsigned()));
    });
}

#[test]
fn queueing_disciplines_that_come_and_go_are_heard() {
    hear(|ear| {
        let left = index("left");
        run("tc qdisc add dev left clsact && tc qdisc del dev left clsact");
        let events =
            ear.until(|event| matches!(event, Event::QdiscGone(qdisc) if qdisc.kind == "clsact"));
        assert!(events.iter().any(|event| matches!(
            event,
            Event::Qdisc(qdisc) if qdisc.ifindex == left && qdisc.parent == 0xffff_fff1
        )));
    });
}

#[test]
fn a_veth_peer_that_turns_gro_on_takes_redirected_frames_from_then_on() {
    hear(|ear| {
        assert_eq!(ear.monitor.hears_xdp_features(), !kernel_before(6, 3));
        if kernel_before(6, 3) {
            return;
        }
        let left = index("left");
        let takes = |event: &Event, wanted: bool| match event {
            Event::XdpFeatures { ifindex, features } => {
                *ifindex == left && (features & XDP_FEATURE_NDO_XMIT != 0) == wanted
            }
            _ => false,
        };
        run("ethtool -K right gro on");
        ear.until(|event| takes(event, true));
        run("ethtool -K right gro off");
        ear.until(|event| takes(event, false));
    });
}
