//! Settings that leave packets to the kernel: they are found, named, obeyed, and the cache goes on when they are gone.

use std::net::Ipv4Addr;

use route_cache_lab::wait_until;

use crate::{
    router::{Flow, PATIENCE, Router},
    stream::{ASKED, BOUND, Exit, POLLED},
};

/// A source that the client has no address of, and that is reached by `right2`.
fn spoofed(router: &Router) -> Flow {
    router.ip("route add 10.77.0.0/16 via 10.0.3.2");
    Flow { source: Ipv4Addr::new(10, 77, 0, 1), ..router.flow() }
}

#[test]
fn row_17_strict_rp_filter_drops_the_same_and_the_rest_is_forwarded() {
    let router = Router::start("rp-strict");
    let spoofed = spoofed(&router);
    for scope in ["left", "all"] {
        router.await_forwarding(spoofed);
        let name = format!("net/ipv4/conf/{scope}/rp_filter");
        router
            .during_flow(&format!("rp_filter 1 on {scope}"), spoofed, BOUND, || {
                router.router.sysctl(&name, "1").unwrap();
            })
            .moves(Exit::Server, Exit::Nowhere);
        router.await_pass(spoofed, "pass_reverse_path");
        router.await_forwarding(router.flow());
        router.during("rp_filter 1, an honest source", || ()).stays(Exit::Server);

        router
            .during_flow(&format!("rp_filter 0 on {scope}"), spoofed, BOUND, || {
                router.router.sysctl(&name, "0").unwrap();
            })
            .moves(Exit::Nowhere, Exit::Server);
    }
    router.await_forwarding(spoofed);
}

#[test]
fn row_17_loose_rp_filter_drops_the_same_and_the_rest_is_forwarded() {
    let router = Router::start("rp-loose");
    let elsewhere = spoofed(&router);
    let nowhere = Flow { source: Ipv4Addr::new(10, 78, 0, 1), ..router.flow() };
    router.await_forwarding(nowhere);
    // The stricter of the two counts, and 2 is the larger.
    router.router.sysctl("net/ipv4/conf/all/rp_filter", "1").unwrap();
    router.await_pass(elsewhere, "pass_reverse_path");
    router.router.sysctl("net/ipv4/conf/left/rp_filter", "2").unwrap();
    router.await_forwarding(elsewhere);
    router.await_pass(nowhere, "pass_reverse_path");
    router.during_flow("rp_filter 2, a route back", elsewhere, BOUND, || ()).stays(Exit::Server);
    router
        .during_flow("ip route add, the way back", nowhere, BOUND, || {
            router.ip("route add 10.78.0.0/16 via 10.0.3.2");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(nowhere);
    router.ip("route replace blackhole 10.78.0.0/16");
    router.await_pass(nowhere, "pass_reverse_path");
    router.during_flow("a blackhole back", nowhere, BOUND, || ()).stays(Exit::Nowhere);

    // Without an address of its own, loose is as strict as strict.
    router.ip("route add 10.0.1.2 dev left scope link");
    router.ip("neigh replace 10.0.1.2 dev left nud permanent lladdr 02:00:00:00:00:11");
    router.ip("addr del 10.0.1.1/24 dev left");
    router.ip("route replace 10.0.1.2 dev left scope link");
    router.await_pass(elsewhere, "pass_reverse_path");
    router.during_flow("rp_filter 2, no address", elsewhere, BOUND, || ()).stays(Exit::Nowhere);
}

#[test]
fn row_18_forwarding_switched_off_is_obeyed() {
    let router = Router::forwarding("forwarding");
    for name in ["conf/left/forwarding", "ip_forward"] {
        let name = format!("net/ipv4/{name}");
        router
            .during(&format!("{name} 0"), || router.router.sysctl(&name, "0").unwrap())
            .moves(Exit::Server, Exit::Nowhere);
        router.await_interface_reason("left", "IPv4 forwarding is off on left");
        router.await_pass(router.flow(), "pass_interface");
        router
            .during(&format!("{name} 1"), || router.router.sysctl(&name, "1").unwrap())
            .moves(Exit::Nowhere, Exit::Server);
        router.await_forwarding(router.flow());
    }
}

#[test]
fn row_19_a_policy_rule_is_the_kernels() {
    let router = Router::forwarding("rule");
    router.ip("route add default via 10.0.3.2 table 100");
    let account = router.during("ip rule add", || {
        router.ip("rule add from 10.0.1.2 lookup 100");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_reason("can lead packets elsewhere");
    router.await_pass(router.flow(), "pass_disabled");
    assert_eq!(router.get("10.9.0.1")["outcome"], "pass_disabled");

    let account = router.during("ip rule del", || {
        router.ip("rule del from 10.0.1.2 lookup 100");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());
}

#[test]
fn row_19_a_rule_for_one_interface_leaves_the_others_alone() {
    let router = Router::forwarding("rule-iif");
    router.ip("route add default via 10.0.3.2 table 100");
    let account = router.during("ip rule add iif right", || {
        router.ip("rule add pref 50 iif right lookup 100");
    });
    account.stays(Exit::Server);
    router.await_interface_reason("right", "policy rule 50 is for packets from right");
    router.await_forwarding(router.flow());

    let account = router.during("ip rule add iif left", || {
        router.ip("rule add pref 60 iif left lookup 100");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_interface_reason("left", "policy rule 60 is for packets from left");
    router.await_pass(router.flow(), "pass_interface");
    let account = router.during("ip rule del iif left", || {
        router.ip("rule del pref 60");
    });
    account.moves(Exit::Other, Exit::Server).without_loss();
    router.await_forwarding(router.flow());

    // The way back is looked up as if the packet came from where it leaves, which is right.
    router.router.sysctl("net/ipv4/conf/left/rp_filter", "1").unwrap();
    router.await_interface_reason("left", "policy rule 50 can apply to the way back");
    router.during("rp_filter 1 and a rule", || ()).stays(Exit::Nowhere);
}

#[test]
fn row_19_rules_that_no_forwarded_packet_meets_change_nothing() {
    let router = Router::forwarding("rule-harmless");
    router.ip("route add default via 10.0.3.2 table 100");
    let account = router.during("harmless rules", || {
        router.ip("rule add pref 40 oif right lookup 100");
        router.ip("rule add pref 41 iif lo lookup 100");
        router.ip("rule add pref 42 lookup 200");
        router.ip("rule add pref 43 lookup main");
    });
    account.stays(Exit::Server);
    router.await_forwarding(router.flow());
    let before = router.forwarded();
    router.during("nothing", || ()).stays(Exit::Server);
    assert!(router.forwarded() > before);

    // A table looked up for all packets is harmless as long as it is empty.
    let account = router.during("a route in table 200", || {
        router.ip("route add 10.9.0.0/16 via 10.0.3.2 table 200");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    router.await_reason("policy rule 42 looks up table 200");
}

#[test]
fn row_19_a_missing_default_rule_is_noticed() {
    let router = Router::forwarding("no-rule");
    router
        .during("ip rule del, main", || {
            router.ip("rule del pref 32766");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_reason("in another order, or not all of them");
    router.ip("rule add pref 32766 lookup main");
    router.await_forwarding(router.flow());
}

#[test]
fn row_40_a_rule_in_the_forward_chain_is_found_and_obeyed() {
    let router = Router::forwarding("nft");
    let nft = |command: &str| {
        let argv: Vec<_> = ["nft"].into_iter().chain(command.split(' ')).collect();
        router.router.exec(&argv).unwrap();
    };
    nft("add table ip filter");
    nft("add chain ip filter forward { type filter hook forward priority 0 ; }");
    // A chain without rules that accepts changes nothing.
    router.await_forwarding(router.flow());
    router
        .during_flow("nft add rule drop", router.flow(), ASKED, || {
            nft("add rule ip filter forward ip daddr 10.9.0.0/16 counter drop");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_reason("forward");
    router.await_pass(router.flow(), "pass_disabled");

    let account = router.during("nft flush chain", || nft("flush chain ip filter forward"));
    account.moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());

    router
        .during_flow("nft policy drop", router.flow(), ASKED, || {
            nft("add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_reason("forward");
    nft("delete table ip filter");
    router.await_forwarding(router.flow());
}

#[test]
fn row_40_the_operator_may_consent_to_bypass_netfilter() {
    let place = crate::router::Place::new("consent");
    let router = Router::with(place, &["--bypass-netfilter"]);
    router.router.exec(&["nft", "add", "table", "ip", "filter"]).unwrap();
    let chain =
        "add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }";
    let argv: Vec<_> = ["nft"].into_iter().chain(chain.split(' ')).collect();
    router.router.exec(&argv).unwrap();
    router
        .during_flow("nft policy drop, with consent", router.flow(), POLLED, || ())
        .stays(Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_40_a_tc_hook_on_the_ingress_is_the_kernels() {
    let router = Router::forwarding("clsact");
    let tc = |command: &str| {
        let argv: Vec<_> = ["tc"].into_iter().chain(command.split(' ')).collect();
        router.router.exec(&argv).unwrap();
    };
    router
        .during("tc qdisc add clsact, ingress", || {
            tc("qdisc add dev left clsact");
        })
        .stays(Exit::Server);
    router.await_interface_reason("left", "clsact");
    router.await_pass(router.flow(), "pass_interface");
    tc("qdisc del dev left clsact");
    router.await_forwarding(router.flow());
}

#[test]
fn rows_19_and_40_status_interfaces_and_the_metric_name_the_same_reasons_while_they_are_in_force() {
    let router = Router::forwarding("codes");
    let is_counted = |labels: &str| {
        let line = format!("route_cache_stands_aside{{{labels}}} 1");
        router.agent.metrics().unwrap().lines().any(|found| found == line)
    };
    let of_family = r#"family="ipv4",interface="",reason="rules""#;
    let of_interface =
        ["ipv4", "ipv6"].map(|f| format!(r#"family="{f}",interface="left",reason="tc""#));
    assert!(!is_counted(of_family) && !of_interface.iter().any(|labels| is_counted(labels)));
    router.router.exec(&["tc", "qdisc", "add", "dev", "left", "clsact"]).unwrap();
    router.ip("rule add pref 100 from 10.0.1.2 lookup main");
    router.await_reason("policy rule 100");
    router.await_interface_reason("left", "clsact");
    let status = router.agent.status().unwrap();
    assert_eq!(status["codes"], serde_json::json!(["rules"]), "{status}");
    let left = router.interface("left").unwrap();
    // As an egress it has a queueing discipline that is not proven.
    assert_eq!(left["codes"], serde_json::json!(["tc", "qdisc"]), "{left}");
    // IPv6 is not forwarded here for another reason, and stands aside at the interface for this one as well.
    assert_eq!(status["ipv6"]["codes"], serde_json::json!(["forwarding"]), "{status}");
    assert!(left["ipv6"]["codes"].as_array().unwrap().contains(&"tc".into()), "{left}");
    for (argv, told) in [
        (&["status"][..], "\n  rules: policy rule 100 can lead packets elsewhere"),
        (&["show", "interfaces"], "tc: left has a tc clsact hook"),
    ] {
        let text = router.agent.cli(argv).unwrap().stdout;
        assert!(text.contains(told), "{text}");
    }
    assert!(is_counted(of_family) && of_interface.iter().all(|labels| is_counted(labels)));

    router.ip("rule del pref 100");
    router.router.exec(&["tc", "qdisc", "del", "dev", "left", "clsact"]).unwrap();
    wait_until("the reasons to go", PATIENCE, || {
        !is_counted(of_family) && !of_interface.iter().any(|labels| is_counted(labels))
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert_eq!(router.agent.status().unwrap()["codes"], serde_json::json!([]));
    assert_eq!(router.interface("left").unwrap()["codes"], serde_json::json!([]));
    router.await_forwarding(router.flow());
}

#[test]
fn row_40_a_queueing_discipline_on_the_egress_is_obeyed() {
    let router = Router::forwarding("tbf");
    let tc = |command: &str| {
        let argv: Vec<_> = ["tc"].into_iter().chain(command.split(' ')).collect();
        router.router.exec(&argv).unwrap();
    };
    // Too small a bucket for any packet: all are dropped.
    router
        .during("tc qdisc add tbf, egress", || {
            tc("qdisc add dev right root tbf rate 8bit burst 20 limit 20");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_interface_reason("right", "tbf");
    router.await_pass(router.flow(), "pass_egress");
    router
        .during("tc qdisc del tbf, egress", || {
            tc("qdisc del dev right root");
        })
        .moves(Exit::Nowhere, Exit::Server);
    router.await_forwarding(router.flow());
}

#[test]
fn row_41_a_forward_policy_of_ipsec_is_obeyed() {
    let router = Router::forwarding("xfrm");
    router
        .during_flow("ip xfrm policy add, block", router.flow(), ASKED, || {
            router.ip("xfrm policy add dir fwd src 10.0.1.0/24 dst 10.9.0.0/16 action block");
        })
        .moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_disabled");
    router.ip("xfrm policy flush");
    router.await_forwarding(router.flow());
}

#[test]
fn row_42_a_packet_that_leaves_where_it_came_in_is_the_kernels() {
    let router = Router::forwarding("same");
    let account = router.during("ip route change to the ingress", || {
        router.ip("route change 10.9.0.0/16 via 10.0.1.2");
    });
    account.moves(Exit::Server, Exit::Nowhere);
    router.await_pass(router.flow(), "pass_same_interface");
}

#[test]
fn row_36_an_enslaved_interface_stands_aside() {
    let router = Router::forwarding("bridge");
    let added = router.router.run(&["ip", "link", "add", "bridge", "type", "bridge"]).unwrap();
    if added.code != 0 {
        eprintln!("skipped: this kernel has no bridge: {}", added.stderr.trim());
        return;
    }
    router.ip("link set bridge up");
    router
        .during("ip link set master, ingress", || {
            router.ip("link set left master bridge");
        })
        .moves(Exit::Server, Exit::Server);
    router.await_interface_reason("left", "enslaved to bridge");
    router.ip("link set left nomaster");
    wait_until("the interface to be used again", PATIENCE, || {
        router.interface("left").is_some_and(|row| row["accelerating"] == true)
    })
    .unwrap();
    router.await_forwarding(router.flow());
}
