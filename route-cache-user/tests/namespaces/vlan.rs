//! VLAN devices, on the way in and on the way out, and VRFs. Skipped, saying so, by kernels that have none of them.

use std::{net::Ipv4Addr, time::Duration};

use route_cache_lab::{Frame, Ipv4View, RawSocket, wait_until};

use crate::router::{BINARY, PATIENCE, PORTS, Place, Router, attached_programs};

/// By 10.8.0.0/16 behind the server's VLAN 200.
const TAGGED: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);

/// A place with `left.100` and `right.200`, or nothing on a kernel without VLAN devices.
pub fn place(label: &str) -> Option<Place> {
    let place = Place::new(label);
    let add =
        ["ip", "link", "add", "link", "left", "name", "left.100", "type", "vlan", "id", "100"];
    let added = place.router.run(&add).unwrap();
    if added.code != 0 {
        eprintln!("skipped: no VLAN devices here: {}", added.stderr.trim());
        return None;
    }
    place.ip("link add link right name right.200 type vlan id 200");
    place.ip("addr add 10.0.100.1/24 dev left.100");
    place.ip("addr add 10.0.200.1/24 dev right.200");
    place.ip("link set left.100 address 02:00:00:00:64:01 up");
    place.ip("link set right.200 up");
    let server = &place.server.namespace;
    server
        .exec(&[
            "ip", "link", "add", "link", "eth0", "name", "eth0.200", "type", "vlan", "id", "200",
        ])
        .unwrap();
    server.exec(&["ip", "link", "set", "eth0.200", "up"]).unwrap();
    let mac = route_cache_lab::link::readable(place.server.mac);
    place.ip(&format!("neigh replace 10.0.200.2 dev right.200 nud permanent lladdr {mac}"));
    place.ip("route add 10.8.0.0/16 via 10.0.200.2");
    Some(place)
}

/// Both ends of the links say that no tag is kept beside a frame.
pub fn show_tags(place: &Place) {
    for interface in ["left", "right"] {
        show_tags_of(place, interface);
    }
}

fn show_tags_of(place: &Place, interface: &str) {
    let features = ["rx-vlan-hw-parse", "off", "rx-vlan-stag-hw-parse", "off"];
    let argv: Vec<_> = ["ethtool", "-K", interface].into_iter().chain(features).collect();
    place.router.exec(&argv).unwrap();
}

impl Router {
    /// Sends frames of a flow, tagged or not, until all of a handful end in one of the outcomes.
    #[track_caller]
    fn await_tagged(&self, vlan: Option<u16>, destination: Ipv4Addr, outcome: &str) {
        let sender = self.sender();
        let frame = self.tagged(vlan, destination);
        wait_until(&format!("{outcome} of {vlan:?} to {destination}"), PATIENCE, || {
            let count = |outcomes: &std::collections::BTreeMap<String, u64>| {
                let with =
                    |(name, count): (&String, &u64)| name.starts_with(outcome).then_some(*count);
                outcomes.iter().filter_map(with).sum::<u64>()
            };
            let before = count(&self.outcomes());
            (0..3).for_each(|_| sender.send(&frame).unwrap());
            let grew = || count(&self.outcomes()) >= before + 3;
            wait_until("the packets to be counted", Duration::from_millis(300), grew).is_ok()
        })
        .unwrap_or_else(|error| panic!("{error:#}: {:?}; {}", self.outcomes(), self.story()));
    }

    fn tagged(&self, vlan: Option<u16>, destination: Ipv4Addr) -> Vec<u8> {
        let source = if vlan.is_some() { [10, 0, 100, 2].into() } else { self.client.address };
        let frame = Frame::udp((source, PORTS.0), (destination, PORTS.1), b"some bytes");
        let frame = frame.sent_by(&self.client);
        match vlan {
            Some(id) => {
                let to = [2, 0, 0, 0, 0x64, 1];
                frame.macs(self.client.mac, to).vlan(id).build()
            }
            None => frame.build(),
        }
    }

    /// Sends one frame, and gives it as it comes out at an interface of the server.
    #[track_caller]
    fn at_server(&self, interface: &str, vlan: Option<u16>, destination: Ipv4Addr) -> Vec<u8> {
        let socket = RawSocket::open(&self.server.namespace, interface).unwrap();
        self.sender().send(&self.tagged(vlan, destination)).unwrap();
        loop {
            let frame = socket.recv(PATIENCE).unwrap().expect("the frame arrives");
            if Ipv4View::of(&frame).is_some_and(|view| view.destination() == destination) {
                return frame;
            }
        }
    }
}

#[test]
fn rows_34_and_35_frames_are_forwarded_between_vlans_as_the_kernel_does() {
    let Some(place) = place("vlan") else { return };
    show_tags(&place);
    let plain = Ipv4Addr::new(10, 9, 0, 1);
    let ways = [
        ("eth0.200", Some(100), TAGGED),
        ("eth0", Some(100), plain),
        ("eth0.200", None, TAGGED),
        ("eth0", None, plain),
    ];
    let router = Router::with(place, &[]);
    let by_xdp = ways.map(|(at, vlan, to)| {
        router.await_tagged(vlan, to, "forwarded_");
        let before = router.forwarded();
        let frame = router.at_server(at, vlan, to);
        assert_eq!(router.forwarded(), before + 1);
        frame
    });
    router.ip("rule add pref 10 to 10.8.0.0/15 lookup main");
    router.await_reason("policy rule 10");
    for ((at, vlan, to), by_xdp) in ways.into_iter().zip(by_xdp) {
        assert_eq!(router.at_server(at, vlan, to), by_xdp, "{vlan:?} to {to}");
    }
    router.ip("rule del pref 10");
    router.await_tagged(Some(100), TAGGED, "forwarded_");

    assert!(!router.clones_of(TAGGED).is_empty(), "{}", router.story());
    router.audit_is_clean(1);
    let hops = router.agent.json(&["show", "nexthops"]).unwrap();
    let hop = hops.as_array().unwrap().iter().find(|hop| hop["dev"] == "right.200").unwrap();
    assert_eq!((&hop["vlan"], &hop["port"]), (&200.into(), &"right".into()));
    let device = router.interface("left.100").expect("a row of left.100");
    assert_eq!((&device["port"], &device["accelerating"]), (&"left".into(), &true.into()));
}

#[test]
fn row_34_vlan_devices_come_and_go_while_the_agent_runs() {
    let Some(place) = place("vlan-live") else { return };
    show_tags(&place);
    let router = Router::with(place, &[]);
    router.await_tagged(Some(100), TAGGED, "forwarded_");
    router.await_tagged(Some(101), TAGGED, "pass_vlan");
    router.ip("link set left.100 down");
    router.await_tagged(Some(100), TAGGED, "pass_interface");
    router.ip("link set left.100 up");
    router.await_tagged(Some(100), TAGGED, "forwarded_");
    router.router.sysctl("net/ipv4/conf/left.100/forwarding", "0").unwrap();
    router.await_tagged(Some(100), TAGGED, "pass_interface");
    router.await_tagged(None, TAGGED, "forwarded_");
    router.router.sysctl("net/ipv4/conf/left.100/forwarding", "1").unwrap();
    router.await_tagged(Some(100), TAGGED, "forwarded_");

    router.ip("link del left.100");
    router.await_tagged(Some(100), TAGGED, "pass_vlan");
    router.ip("link add link left name again type vlan id 101");
    router.ip("link set again address 02:00:00:00:64:01 up");
    router.await_tagged(Some(101), TAGGED, "forwarded_");
    router.await_tagged(Some(100), TAGGED, "pass_vlan");
}

#[test]
fn row_35_the_egress_follows_the_vlan_device_and_the_interface_below() {
    let Some(place) = place("vlan-egress") else { return };
    show_tags(&place);
    let router = Router::with(place, &[]);
    router.await_tagged(None, TAGGED, "forwarded_");
    router.ip("link set right.200 mtu 1400");
    router.await_tagged(None, TAGGED, "forwarded_");
    router.ip("link set right.200 type vlan egress-qos-map 0:3");
    router.await_tagged(None, TAGGED, "pass_egress");
    assert!(router.get("10.8.0.1")["reason"].to_string().contains("egress priority mapping"));
    router.ip("link set right.200 type vlan egress-qos-map 0:0");
    router.router.exec(&["tc", "qdisc", "add", "dev", "right.200", "root", "pfifo"]).unwrap();
    router.await_tagged(None, TAGGED, "pass_egress");
    router.router.exec(&["tc", "qdisc", "del", "dev", "right.200", "root"]).unwrap();
    router.router.exec(&["tc", "qdisc", "add", "dev", "right", "root", "pfifo"]).unwrap();
    router.await_tagged(None, TAGGED, "pass_egress");

    router.ip("link add link right name service type vlan proto 802.1ad id 5");
    router.ip("link add link right.200 name inner type vlan id 6");
    for (name, text) in [("service", "802.1ad"), ("inner", "a VLAN device on a VLAN device")] {
        router.ip(&format!("link set {name} up"));
        router.await_interface_reason(name, text);
    }
}

#[test]
fn row_34_a_veth_that_may_keep_tags_beside_its_frames_stands_aside() {
    let Some(place) = place("vlan-hidden") else { return };
    let router = Router::with(place, &[]);
    router.await_interface_reason("left", "may keep tags out of sight of XDP");
    router.await_interface_reason("left.100", "may keep tags out of sight of XDP");
    router.await_tagged(Some(100), TAGGED, "pass_interface");
    router.await_tagged(None, TAGGED, "pass_interface");
    show_tags_of(&router, "left");
    router.await_tagged(Some(100), TAGGED, "forwarded_");
    router.await_tagged(None, TAGGED, "forwarded_");
    router.ip("link del left.100");
    router.router.exec(&["ethtool", "-K", "left", "rx-vlan-hw-parse", "on"]).unwrap();
    // Without VLAN devices there is nobody to take tagged frames for.
    router.await_tagged(None, TAGGED, "forwarded_");
}

#[test]
fn row_34_an_agent_asked_for_a_vlan_device_attaches_below_and_forwards_that_alone() {
    let Some(place) = place("vlan-alone") else { return };
    show_tags(&place);
    let netns = place.router.name().to_owned();
    let setup = route_cache_lab::Agent::setup(std::path::Path::new(BINARY)).unwrap();
    let setup = setup.arguments(&["--netns", &netns, "--interface", "left.100"]);
    let agent = setup.start().unwrap();
    let router = Router::around(agent, place);
    router.await_tagged(Some(100), TAGGED, "forwarded_");
    router.await_tagged(None, TAGGED, "pass_interface");
    assert_eq!(attached_programs(&router.router), ["left"]);
    router.ip("link del left.100");
    wait_until("the agent to let go", PATIENCE, || attached_programs(&router.router).is_empty())
        .unwrap();
    router.ip("link add link left name left.100 type vlan id 100");
    router.ip("link set left.100 address 02:00:00:00:64:01 up");
    router.await_tagged(Some(100), TAGGED, "forwarded_");
}

#[test]
fn row_20_an_interface_of_a_vrf_stands_aside_and_the_others_go_on() {
    let router = Router::forwarding("vrf");
    let added =
        router.router.run(&["ip", "link", "add", "red", "type", "vrf", "table", "10"]).unwrap();
    if added.code != 0 {
        eprintln!("skipped: no VRF here: {}", added.stderr.trim());
        return;
    }
    router.ip("link set red up");
    let rules = router.ip("rule show");
    assert!(rules.contains("l3mdev"), "{rules}");
    router.await_forwarding(router.flow());
    router.ip("link set right2 master red");
    router.await_forwarding(router.flow());
    router.ip("route add 10.7.0.0/16 dev right2 table 10");
    router.ip("link set left master red");
    router.await_interface_reason("left", "enslaved to red");
    router.await_pass(router.flow(), "pass_interface");
}
