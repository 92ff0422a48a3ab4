//! What the agent attaches to, when, and what it lets go of.

use std::path::Path;

use route_cache_lab::{
    Agent, Namespace,
    link::{End, connect, offload},
    wait_until,
};

use crate::{
    router::{BINARY, PATIENCE, Place, Router, attached_programs},
    stream::Exit,
};

/// Attached as a `bpf_link`, in the driver: nothing that would outlive the agent.
#[test]
fn programs_are_attached_natively_by_links() {
    let router = Router::start("links");
    let pid = router.agent.pid();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let links = descriptors
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .filter(|text| text.contains("link_type:\txdp"))
        .count();
    assert_eq!(links, 2);
    let shown = router.router.exec(&["ip", "-json", "-d", "link", "show", "left"]).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    // XDP_ATTACHED_DRV.
    assert_eq!(shown[0]["xdp"]["mode"], 1, "{shown}");
    // Netlink may not take off what a link holds.
    let taken = router.router.run(&["ip", "link", "set", "left", "xdp", "off"]).unwrap();
    assert_ne!(taken.code, 0, "a program that a link holds was taken off over netlink");
    assert_eq!(attached_programs(&router.router), ["left", "right"]);
    for name in ["left", "right"] {
        assert_eq!(router.interface(name).unwrap()["mode"], "native");
    }
}

#[test]
fn a_glob_takes_what_matches_and_nothing_else() {
    let place = Place::new("glob");
    let agent = Agent::start(Path::new(BINARY), &place.router, &["right*"]).unwrap();
    assert_eq!(attached_programs(&place.router), ["right", "right2"]);
    drop(agent);
    assert!(attached_programs(&place.router).is_empty());
}

#[test]
fn an_interface_that_appears_and_matches_is_attached_and_let_go_when_it_vanishes() {
    let place = Place::new("appears");
    let setup = Agent::setup(Path::new(BINARY)).unwrap();
    let argv = ["--netns", place.router.name(), "-i", "left", "-i", "late*"];
    let mut agent = setup.arguments(&argv).start().unwrap();
    let mode = |agent: &Agent, name: &str| {
        let interfaces = agent.json(&["show", "interfaces"]).unwrap();
        let row = interfaces.as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
        row.map(|row| row["mode"].clone())
    };
    for _ in 0..2 {
        let host = place.add_host("late", "late0", "10.0.4.0/24").unwrap();
        place.ip("link add other0 type veth peer name other1");
        wait_until("late0 to be attached", PATIENCE, || {
            mode(&agent, "late0").is_some_and(|mode| mode == "native")
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", agent.log()));
        assert_eq!(attached_programs(&place.router), ["left", "late0"]);

        drop(host);
        place.ip("link del other0");
        wait_until("late0 to be let go", PATIENCE, || mode(&agent, "late0").is_none()).unwrap();
        assert_eq!(attached_programs(&place.router), ["left"]);
    }
    assert!(agent.ended().is_none());
    assert!(agent.log().contains("let go of late0"), "{}", agent.log());
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}

/// Renamed into what matches it is attached; it need not be new.
#[test]
fn an_interface_that_is_renamed_to_match_is_attached() {
    let place = Place::new("renamed");
    let setup = Agent::setup(Path::new(BINARY)).unwrap();
    let argv = ["--netns", place.router.name(), "-i", "left", "-i", "wan*"];
    let agent = setup.arguments(&argv).start().unwrap();
    assert_eq!(attached_programs(&place.router), ["left"]);
    place.ip("link set right name wan0");
    wait_until("wan0 to be attached", PATIENCE, || {
        attached_programs(&place.router) == ["left", "wan0"]
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", agent.log()));
}

#[test]
fn the_agents_own_namespace_is_served_without_netns() {
    let place = Place::new("inside");
    let setup = Agent::setup(Path::new(BINARY)).unwrap().inside(&place.router);
    // Its metrics are where it was started: in the namespace, where 127.0.0.1 is another.
    let agent = setup.arguments(&["-i", "left", "-i", "right"]).start().unwrap();
    assert_eq!(agent.status().unwrap()["netns"], serde_json::Value::Null);
    assert!(agent.metrics().is_err());
    let served = place.router.run_in(|| agent.metrics()).unwrap().unwrap();
    assert!(served.contains("route_cache_build_info"), "{served}");
}

#[test]
fn f22_a_second_agent_is_refused_and_the_first_untouched() {
    let router = Router::forwarding("second");
    let account = router.during("a second agent", || {
        let second = Agent::start(Path::new(BINARY), &router.router, &["left", "right2"]);
        let error = format!("{:#}", second.expect_err("the second agent to be refused"));
        assert!(error.contains("left: another XDP program is attached"), "{error}");
        assert!(error.contains("another route-cache agent"), "{error}");
    });
    account.stays(Exit::Server);
    assert_eq!(attached_programs(&router.router), ["left", "right"]);
    router.await_forwarding(router.flow());
}

/// An interface that appears with another's program on it is left to it, and the reason is shown.
#[test]
fn f10_an_interface_that_somebody_else_has_is_named() {
    let place = Place::new("taken");
    let first = Agent::start(Path::new(BINARY), &place.router, &["right2"]).unwrap();
    let setup = Agent::setup(Path::new(BINARY)).unwrap();
    let argv = ["--netns", place.router.name(), "-i", "left", "-i", "wan*"];
    let second = setup.arguments(&argv).start().unwrap();
    place.ip("link set right2 name wan0");
    let reasons = || {
        let interfaces = second.json(&["show", "interfaces"]).unwrap();
        let row = interfaces.as_array().unwrap().iter().find(|row| row["name"] == "wan0").cloned();
        row.filter(|row| row["mode"] == "none").map(|row| row["reasons"].to_string())
    };
    wait_until("the reason", PATIENCE, || {
        reasons().is_some_and(|reasons| reasons.contains("another XDP program is attached"))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", second.log()));
    drop(first);
    // Any change of the interface has the agent try again.
    place.ip("link set wan0 mtu 1400");
    wait_until("wan0 to be attached", PATIENCE, || {
        attached_programs(&place.router) == ["left", "wan0"] && reasons().is_none()
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", second.log()));
}

/// A namespace that is deleted under the agent takes its interfaces along.
#[test]
fn f7_the_router_outlives_the_namespace_of_its_neighbour() {
    let place = Place::new("host-gone");
    let peer = Namespace::create("peer").unwrap();
    place.ip(&format!("link add late type veth peer name eth0 netns {}", peer.name()));
    peer.exec(&["ip", "link", "set", "eth0", "up"]).unwrap();
    offload(&peer, "eth0", "gro", true).unwrap();
    place.ip("link set late up");
    let mut agent = Agent::start(Path::new(BINARY), &place.router, &["left", "late"]).unwrap();
    drop(peer);
    wait_until("the interface to go", PATIENCE, || {
        agent.json(&["show", "interfaces"]).unwrap().as_array().unwrap().len() == 1
    })
    .unwrap();
    assert!(agent.ended().is_none(), "{}", agent.log());
}

/// The interface that was asked for is a new one of the same name.
#[test]
fn f7_an_ingress_that_is_deleted_and_made_again_is_attached_again() {
    let router = Router::forwarding("again");
    let client = &router.client;
    router.ip("link del left");
    wait_until("left to be let go", PATIENCE, || router.interface("left").is_none()).unwrap();
    connect(
        End {
            namespace: &router.router,
            interface: "left",
            mac: client.gateway_mac,
            address: "10.0.1.1/24",
        },
        End {
            namespace: &client.namespace,
            interface: "eth0",
            mac: client.mac,
            address: "10.0.1.2/24",
        },
    )
    .unwrap();
    router.await_forwarding(router.flow());
    assert_eq!(attached_programs(&router.router), ["right", "left"]);
}
