//! Routes, next hops, neighbours, interfaces and addresses change, and the very next packets follow.

use std::net::Ipv4Addr;

use route_cache_lab::{
    Frame, Ipv4View, Namespace, RawSocket,
    link::{offload, readable},
    wait_until,
};

use crate::{
    router::{Flow, PATIENCE, Router},
    stream::{BOUND, Exit, NEW_ADDRESS},
};

#[test]
fn row_30_a_changed_route_is_followed() {
    let router = Router::forwarding("change");
    let account = router.during("ip route change", || {
        router.ip("route change 10.9.0.0/16 via 10.0.3.2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(router.flow());
    assert_eq!(router.get("10.9.0.1")["route"]["via"], "10.0.3.2");

    let account = router.during("ip route replace", || {
        router.ip("route replace 10.9.0.0/16 via 10.0.2.2");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_30_a_more_specific_route_takes_over_and_gives_back() {
    let router = Router::forwarding("specific");
    let neighbour = Flow { destination: Ipv4Addr::new(10, 9, 128, 1), ..router.flow() };
    router.await_forwarding(neighbour);
    let account = router.during("ip route add, more specific", || {
        router.ip("route add 10.9.0.0/24 via 10.0.3.2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(router.flow());

    let account = router.during("ip route del, covered by another", || {
        router.ip("route del 10.9.0.0/24");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());

    // Clones outside of the more specific one were in nobody's way.
    router
        .during_flow("a more specific route elsewhere", neighbour, BOUND, || {
            router.ip("route add 10.9.0.0/24 via 10.0.3.2");
        })
        .stays(Exit::Server);
}

#[test]
fn s5_a_host_route_replaces_the_clone() {
    let router = Router::forwarding("host-route");
    let account = router.during("ip route add, a host route", || {
        router.ip("route add 10.9.0.1/32 via 10.0.3.2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(router.flow());
    let clones = router.get("10.9.0.1")["clones"].clone();
    assert_eq!(clones[0]["prefix"], "10.9.0.1/32", "{clones}");
}

#[test]
fn row_30_a_deleted_route_leaves_nothing() {
    let router = Router::forwarding("delete");
    router
        .during("ip route del, nothing left", || {
            router.ip("route del 10.9.0.0/16");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_no_route");
    assert_eq!(router.get("10.9.0.1")["outcome"], "pass_no_route");

    router
        .during("ip route add, the first", || {
            router.ip("route add 10.9.0.0/16 via 10.0.2.2");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_23_a_blackhole_beats_the_clone_of_its_covering_route() {
    for kind in ["blackhole", "unreachable", "prohibit"] {
        let router = Router::forwarding(kind);
        router
            .during(&format!("ip route add {kind}"), || {
                router.ip(&format!("route add {kind} 10.9.0.0/24"));
            })
            .moves(Exit::Server, Exit::Nowhere);
        router.await_pass(router.flow(), "pass_route");
        let told = router.get("10.9.0.1");
        assert!(told["reason"].to_string().contains(kind), "{told}");

        router
            .during(&format!("ip route del {kind}"), || {
                router.ip(&format!("route del {kind} 10.9.0.0/24"));
            })
            .moves(Exit::Nowhere, Exit::Server);
        router.await_forwarding(router.flow());
    }
}

#[test]
fn row_23_a_throw_route_goes_on_to_the_next_rule() {
    let router = Router::forwarding("throw");
    router.ip("route add 10.9.0.0/16 via 10.0.3.2 table default");
    let account = router.during("ip route add throw", || {
        router.ip("route add throw 10.9.0.0/24");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_pass(router.flow(), "pass_route");
}

#[test]
fn row_21_a_multipath_route_is_followed_by_the_next_packet() {
    let router = Router::forwarding("multipath");
    let account = router.during("ip route change to multipath", || {
        router.ip(
            "route change 10.9.0.0/16 nexthop via 10.0.3.2 nexthop via 10.0.3.2 onlink dev right2",
        );
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(router.flow());
    router.ip("route change 10.9.0.0/16 via 10.0.2.2");
    router.await_forwarding(router.flow());
}

#[test]
fn row_24_a_replaced_next_hop_object_is_followed_without_a_route_message() {
    let router = Router::start("object");
    router.ip("nexthop add id 10 via 10.0.2.2 dev right");
    router.ip("route replace 10.9.0.0/16 nhid 10");
    router.await_forwarding(router.flow());
    let account = router.during("ip nexthop replace", || {
        router.ip("nexthop replace id 10 via 10.0.3.2 dev right2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(router.flow());

    router
        .during("ip nexthop replace by a blackhole", || {
            router.ip("nexthop replace id 10 blackhole");
        })
        .moves(Exit::Other, Exit::Nowhere);
    router
        .during("ip nexthop replace of a blackhole", || {
            router.ip("nexthop replace id 10 via 10.0.2.2 dev right");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());

    router
        .during("ip nexthop del", || {
            router.ip("nexthop del id 10");
        })
        .moves(Exit::Server, Exit::Nowhere);
    // The kernel took the route along, and said nothing of it.
    wait_until("the route to go", PATIENCE, || router.get("10.9.0.1")["route"].is_null()).unwrap();
}

/// The covering route is used again when the route goes with its next-hop object.
#[test]
fn row_24_a_deleted_next_hop_object_uncovers_the_route_below() {
    let router = Router::start("object-below");
    router.ip("nexthop add id 10 via 10.0.3.2 dev right2");
    router.ip("route add 10.9.0.0/24 nhid 10");
    router.await_forwarding(router.flow());
    let account = router.during("ip nexthop del, covered by another", || {
        router.ip("nexthop del id 10");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_33_a_neighbours_new_address_is_followed() {
    let router = Router::forwarding("new-mac");
    let address = readable(NEW_ADDRESS);
    let account = router.during("ip neigh replace", || {
        router.ip(&format!("neigh replace 10.0.2.2 lladdr {address} dev right nud reachable"));
    });
    account.moves(Exit::Server, Exit::ServerAnew).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_33_a_gratuitous_arp_is_followed() {
    let router = Router::forwarding("gratuitous");
    // The kernel protects an entry that it has just confirmed (`locktime`).
    router.router.sysctl("net/ipv4/neigh/right/locktime", "0").unwrap();
    let server = &router.server;
    let address = readable(NEW_ADDRESS);
    server.namespace.exec(&["ip", "link", "set", "eth0", "address", &address]).unwrap();
    let announcer = RawSocket::open(&server.namespace, "eth0").unwrap();
    let (ip, broadcast) = (server.address.octets(), [0xff; 6]);
    // An ARP request for its own address: Ethernet, IPv4, who has.
    let announcement = [
        &broadcast[..],
        &NEW_ADDRESS,
        &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
        &NEW_ADDRESS,
        &ip,
        &[0; 6],
        &ip,
    ]
    .concat();
    let account = router.during("gratuitous ARP", || announcer.send(&announcement).unwrap());
    account.moves(Exit::Server, Exit::ServerAnew).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_31_a_deleted_neighbour_is_resolved_by_the_kernel() {
    let router = Router::forwarding("no-neighbour");
    let account = router.during("ip neigh del", || {
        router.ip("neigh del 10.0.2.2 dev right");
    });
    account.moves(Exit::Server, Exit::Server).without_loss();
    router.await_forwarding(router.flow());

    // Nobody answers any more: no packet is sent to the address that was known.
    router.server.namespace.exec(&["ip", "link", "set", "eth0", "arp", "off"]).unwrap();
    router
        .during("ip neigh del, nobody answers", || {
            router.ip("neigh del 10.0.2.2 dev right");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_neighbour");
}

#[test]
fn row_38_an_egress_that_is_set_down_is_left_at_once() {
    let router = Router::forwarding("down");
    router.ip("route add 10.9.0.0/16 via 10.0.3.2 metric 100");
    router
        .during("ip link set down, egress", || {
            router.ip("link set right down");
        })
        .moves(Exit::Server, Exit::Other);
    router.await_forwarding(router.flow());
}

#[test]
fn f7_routes_of_an_egress_that_was_down_come_back_with_it() {
    let router = Router::forwarding("down-up");
    router
        .during("ip link set down, no other way", || {
            router.ip("link set right down");
        })
        .moves(Exit::Server, Exit::Nowhere);
    wait_until("the route to go", PATIENCE, || router.get("10.9.0.1")["route"].is_null()).unwrap();
    router.ip("link set right up");
    router.ip("route add 10.9.0.0/16 via 10.0.2.2");
    router.await_forwarding(router.flow());
}

#[test]
fn row_38_an_egress_without_carrier_is_left_to_the_kernel() {
    let router = Router::forwarding("carrier");
    router
        .during("loss of carrier", || {
            router.server.namespace.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_egress");
    router.await_interface_reason("right", "no carrier");
    router.server.namespace.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    router.await_forwarding(router.flow());
}

/// The kernel skips the next hop without carrier when it is told to.
#[test]
fn row_22_a_next_hop_without_carrier_is_skipped_as_the_kernel_does() {
    let router = Router::forwarding("linkdown");
    router.ip("route add 10.9.0.0/16 via 10.0.3.2 metric 100");
    for scope in ["all", "right"] {
        let name = format!("net/ipv4/conf/{scope}/ignore_routes_with_linkdown");
        router.router.sysctl(&name, "1").unwrap();
    }
    router
        .during("loss of carrier, ignore_routes_with_linkdown", || {
            router.server.namespace.exec(&["ip", "link", "set", "eth0", "down"]).unwrap();
        })
        .moves(Exit::Server, Exit::Other);
}

#[test]
fn f7_an_egress_that_is_deleted_under_traffic_is_left_at_once() {
    let mut router = Router::forwarding("deleted");
    router.ip("route add 10.9.0.0/16 via 10.0.3.2 metric 100");
    router
        .during("ip link del, egress", || {
            router.ip("link del right");
        })
        .moves(Exit::Server, Exit::Other);
    router.await_forwarding(router.flow());
    assert!(router.interface("right").is_none());
    assert!(router.agent.ended().is_none(), "{}", router.agent.log());
    assert!(!router.agent.log().contains("panicked"), "{}", router.agent.log());
}

#[test]
fn f9_nothing_goes_to_the_new_owner_of_an_index_by_old_entries() {
    let router = Router::forwarding("index");
    let row = router.interface("right").unwrap();
    let index = row["ifindex"].as_u64().unwrap();
    let stranger = Namespace::create("stranger").unwrap();
    router
        .during("ip link del, index used again", || {
            router.ip("link del right");
            router.ip(&format!(
                "link add stranger index {index} type veth peer name eth0 netns {}",
                stranger.name()
            ));
            stranger.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
            offload(&stranger, "eth0", "gro", true).unwrap();
            router.ip("link set stranger up");
        })
        .moves(Exit::Server, Exit::Nowhere);
    let receiver = RawSocket::open(&stranger, "eth0").unwrap();
    for number in 0..100 {
        router.sender().send(&router.frame(router.flow(), number)).unwrap();
    }
    let is_ours = |frame: &[u8]| {
        Ipv4View::of(frame).is_some_and(|view| view.destination() == router.flow().destination)
    };
    assert!(receiver.capture(is_ours, 1, BOUND).unwrap().is_empty());
}

#[test]
fn row_16_an_address_added_here_takes_the_packets_of_its_clone() {
    let router = Router::forwarding("address");
    router
        .during("ip address add, the destination", || {
            router.ip("address add 10.9.0.1/32 dev left");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_local");
    let told = router.get("10.9.0.1");
    assert_eq!(told["outcome"], "pass_local");
    assert!(told["reason"].to_string().contains("left"), "{told}");
    assert!(told["clones"].as_array().unwrap().is_empty(), "{told}");

    router
        .during("ip address del, the destination", || {
            router.ip("address del 10.9.0.1/32 dev left");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
}

/// The route falls with the address through which its gateway was reached.
#[test]
fn s14_a_deleted_address_takes_its_routes_along() {
    let router = Router::forwarding("address-gone");
    router.ip("route add 10.9.0.0/16 via 10.0.3.2 metric 100");
    router
        .during("ip address del, the egress's own", || {
            router.ip("address del 10.0.2.1/24 dev right");
        })
        .moves(Exit::Server, Exit::Other);
    router.await_forwarding(router.flow());
}

/// Routes that prefer a deleted address as source vanish without a message (`fib_sync_down_addr`).
#[test]
fn s14_a_deleted_address_takes_the_routes_along_that_prefer_it_as_source() {
    let router = Router::start("source");
    router.ip("address add 10.0.77.1/32 dev lo");
    router.ip("route add 10.9.0.0/24 via 10.0.3.2 src 10.0.77.1");
    router.await_forwarding(router.flow());
    let account = router.during("ip address del, preferred source", || {
        router.ip("address del 10.0.77.1/32 dev lo");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_12_an_address_added_here_is_no_source_any_more() {
    let router = Router::start("spoofed");
    let spoofed = Flow { source: Ipv4Addr::new(10, 77, 0, 1), ..router.flow() };
    router.ip("route add 10.77.0.0/16 via 10.0.1.2");
    router.await_forwarding(spoofed);
    router
        .during_flow("ip address add, the source", spoofed, BOUND, || {
            router.ip("address add 10.77.0.1/32 dev lo");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(spoofed, "pass_martian_source");
}

#[test]
fn row_37_an_egress_whose_peer_turns_gro_off_is_left_to_the_kernel() {
    let router = Router::forwarding("gro");
    router
        .during("ethtool -K PEER gro off", || {
            offload(&router.server.namespace, "eth0", "gro", false).unwrap();
        })
        .moves(Exit::Server, Exit::Server);
    router.await_pass(router.flow(), "pass_egress");
    router.await_interface_reason("right", "GRO");
    let account = router.during("ethtool -K PEER gro on", || {
        offload(&router.server.namespace, "eth0", "gro", true).unwrap();
    });
    account.moves(Exit::Server, Exit::Server).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_43a_an_interface_that_moves_to_another_namespace_is_let_go() {
    let router = Router::forwarding("moved");
    let elsewhere = Namespace::create("elsewhere").unwrap();
    let is_attached =
        || elsewhere.exec(&["ip", "-d", "link", "show", "left"]).unwrap().contains("xdp");
    router
        .during("ip link set netns, ingress", || {
            router.ip(&format!("link set left netns {}", elsewhere.name()));
        })
        .moves(Exit::Server, Exit::Nowhere);
    assert!(!is_attached(), "{}", router.story());
    assert!(router.interface("left").is_none());

    router
        .during("ip link set netns, egress", || {
            router.ip(&format!("link set right netns {}", elsewhere.name()));
        })
        .moves(Exit::Nowhere, Exit::Nowhere);
    let egress = elsewhere.exec(&["ip", "-d", "link", "show", "right"]).unwrap();
    assert!(!egress.contains("xdp"), "{egress}");
}

#[test]
fn f8_a_renamed_interface_goes_on() {
    let router = Router::forwarding("renamed");
    for (interface, name) in [("right", "wan"), ("left", "lan")] {
        let before = router.forwarded();
        let account = router.during(&format!("ip link set {interface} name {name}"), || {
            router.ip(&format!("link set {interface} name {name}"));
        });
        account.stays(Exit::Server);
        wait_until("the packets to be counted", PATIENCE, || {
            router.forwarded() - before >= account.sent()
        })
        .unwrap();
        wait_until("the new name", PATIENCE, || router.interface(name).is_some()).unwrap();
    }
}

#[test]
fn row_1_a_new_address_of_the_ingress_is_the_only_one_that_counts() {
    let router = Router::forwarding("ingress-mac");
    // Frames to the address that was are somebody else's now.
    router
        .during("ip link set address, ingress", || {
            router.ip("link set left address 02:00:00:00:01:77");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_other_host");
    router
        .during("ip link set address back, ingress", || {
            router.ip("link set left address 02:00:00:00:01:01");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_33_a_new_address_of_the_egress_is_the_source_of_what_follows() {
    let router = Router::forwarding("egress-mac");
    let account = router.during("ip link set address, egress", || {
        router.ip("link set right address 02:00:00:00:02:77");
    });
    account.moves(Exit::Server, Exit::Server);
    let server = RawSocket::open(&router.server.namespace, "eth0").unwrap();
    router.await_forwarding(router.flow());
    let is_ours = |frame: &[u8]| {
        Ipv4View::of(frame).is_some_and(|view| view.destination() == router.flow().destination)
    };
    for frame in server.capture(is_ours, 5, PATIENCE).unwrap() {
        assert_eq!(Ipv4View::of(&frame).unwrap().source_mac(), [2, 0, 0, 0, 2, 0x77]);
    }
}

#[test]
fn f13_flushed_neighbours_are_resolved_without_loss() {
    let router = Router::forwarding("flush");
    let account = router.during("ip neigh flush all", || {
        router.ip("neigh flush all");
    });
    account.stays(Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_38_an_ingress_that_was_down_is_used_again() {
    let router = Router::forwarding("ingress-down");
    router
        .during("ip link set down, ingress", || {
            router.ip("link set left down");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.ip("link set left up");
    router.await_forwarding(router.flow());
}

#[test]
fn row_16_a_local_route_takes_its_whole_prefix() {
    let router = Router::forwarding("local-route");
    router.ip("route add 10.9.0.0/24 via 10.0.3.2");
    router.await_forwarding(router.flow());
    // Wider than the route above: the kernel looks table local up first, or both as one; never the cache alone.
    router
        .during("ip route add local", || {
            router.ip("route add local 10.9.0.0/28 dev lo");
        })
        .moves(Exit::Other, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_local");
    router
        .during("ip route del local", || {
            router.ip("route del local 10.9.0.0/28 dev lo");
        })
        .moves(Exit::Nowhere, Exit::Other);
    router.await_forwarding(router.flow());
}

#[test]
fn row_21_a_group_of_next_hop_objects_and_its_members_are_followed() {
    let router = Router::forwarding("group");
    router.ip("nexthop add id 1 via 10.0.3.2 dev right2");
    router.ip("nexthop add id 2 via 10.0.3.2 dev right2");
    router.ip("nexthop add id 10 group 1/2");
    let account = router.during("ip route replace by a group", || {
        router.ip("route replace 10.9.0.0/16 nhid 10");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(router.flow());

    let account = router.during("ip nexthop replace, members", || {
        router.ip("nexthop replace id 1 via 10.0.2.2 dev right");
        router.ip("nexthop replace id 2 via 10.0.2.2 dev right");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.ip("route replace 10.9.0.0/16 nhid 1");
    router.await_forwarding(router.flow());
}

/// Many prefixes follow one write.
#[test]
fn row_24_all_routes_of_a_next_hop_object_follow_it() {
    let router = Router::start("shared-object");
    router.ip("nexthop add id 10 via 10.0.2.2 dev right");
    for number in 0..50 {
        router.ip(&format!("route add 10.9.{number}.0/24 nhid 10"));
    }
    let last = Flow { destination: Ipv4Addr::new(10, 9, 49, 1), ..router.flow() };
    router.await_forwarding(last);
    let account = router.during_flow("ip nexthop replace, 50 routes", last, BOUND, || {
        router.ip("nexthop replace id 10 via 10.0.3.2 dev right2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_forwarding(last);
}

#[test]
fn routes_of_one_prefix_follow_each_other_in_the_kernels_order() {
    let router = Router::forwarding("metrics");
    // Appended behind: nothing changes.
    router
        .during("ip route append", || {
            router.ip("route append 10.9.0.0/16 via 10.0.3.2");
        })
        .stays(Exit::Server);
    let account = router.during("ip route del, the first of two", || {
        router.ip("route del 10.9.0.0/16 via 10.0.2.2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    let account = router.during("ip route prepend", || {
        router.ip("route prepend 10.9.0.0/16 via 10.0.2.2");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn a_route_for_a_dscp_is_the_kernels_to_choose() {
    let router = Router::forwarding("dscp");
    let marked = || {
        let to = (router.flow().destination, 4001);
        Frame::udp((router.client.address, 4000), to, &[0; 4]).tos(0x10).sent_by(&router.client)
    };
    let other = RawSocket::open(&router.other.namespace, "eth0").unwrap();
    router
        .during("ip route add tos", || {
            router.ip("route add 10.9.0.0/16 tos 0x10 via 10.0.3.2");
        })
        .stays(Exit::Server);
    router.await_pass(router.flow(), "pass_route");
    router.sender().send(&marked().build()).unwrap();
    let is_marked = |frame: &[u8]| Ipv4View::of(frame).is_some_and(|view| view.tos() == 0x10);
    assert_eq!(other.capture(is_marked, 1, PATIENCE).unwrap().len(), 1);
    router.ip("route del 10.9.0.0/16 tos 0x10");
    router.await_forwarding(router.flow());
}

/// The destination is on the link: each has a neighbour of its own.
#[test]
fn row_31_a_destination_on_the_link_is_its_own_next_hop() {
    let router = Router::start("on-link");
    // Packets that wait for an answer would come out late: one at a time does.
    router.router.sysctl("net/ipv4/neigh/right/unres_qlen_bytes", "0").unwrap();
    router.ip("route change 10.9.0.0/16 dev right");
    // Nobody answers for it.
    router.await_pass(router.flow(), "pass_neighbour");
    router
        .during("ip neigh add, on the link", || {
            router.ip("neigh replace 10.9.0.1 lladdr 02:00:00:00:02:02 dev right");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
    let account = router.during("ip neigh replace, on the link", || {
        let address = readable(NEW_ADDRESS);
        router.ip(&format!("neigh replace 10.9.0.1 lladdr {address} dev right"));
    });
    account.moves(Exit::Server, Exit::ServerAnew).without_loss();
    router
        .during("ip neigh del, on the link", || {
            router.ip("neigh del 10.9.0.1 dev right");
        })
        .moves(Exit::ServerAnew, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_neighbour");
}

/// Routes vanish with their link without a message. It comes back at once; the tables are read no more than once a
/// second, and have just been.
#[test]
fn row_38_a_route_that_vanished_with_its_link_is_not_used_when_the_link_is_back() {
    for (what, gone, back) in [
        ("ip link set down, up", "link set right down", "link set right up"),
        (
            "ip address del, add",
            "address del 10.0.2.1/24 dev right",
            "address add 10.0.2.1/24 dev right",
        ),
    ] {
        let router = Router::forwarding("flap");
        router.ip("address add 10.7.7.1/32 dev lo");
        router.ip("address del 10.7.7.1/32 dev lo");
        let account = router.during(what, || {
            router.ip(gone);
            router.ip(back);
            // The next hop that the route had is usable again.
            router.router.exec(&["ping", "-q", "-c", "1", "-W", "5", "10.0.2.2"]).unwrap();
        });
        account.moves(Exit::Server, Exit::Nowhere);
        router.ip("route add 10.9.0.0/16 via 10.0.2.2");
        router.await_forwarding(router.flow());
    }
}
