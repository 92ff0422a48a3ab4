//! `get` with the words of `ip route get`: every step, and the kernel's own answer beside it.

use serde_json::Value;

use crate::{
    ipv6::Router6,
    router::{Flow, Router},
    vlan,
};

/// What is asked, and what is told: the outcome, the step that decides and a part of what it says, a part of the kernel's
/// answer, and whether that agrees.
struct Case {
    words: &'static str,
    outcome: &'static str,
    decided: Option<(&'static str, &'static str)>,
    kernel: &'static str,
    agreement: &'static str,
}

/// A packet that is forwarded, and so by the kernel.
const fn forwarded(words: &'static str, kernel: &'static str) -> Case {
    Case { words, outcome: "forwarded_route", decided: None, kernel, agreement: "agrees" }
}

/// A packet that passes at a step.
const fn passes(
    words: &'static str,
    outcome: &'static str,
    decided: (&'static str, &'static str),
    kernel: &'static str,
) -> Case {
    Case { words, outcome, decided: Some(decided), kernel, agreement: "kernel_decides" }
}

fn get(router: &Router, words: &str) -> Value {
    let argv: Vec<_> = ["get"].into_iter().chain(words.split(' ')).collect();
    router.agent.json(&argv).unwrap()
}

fn step<'a>(told: &'a Value, name: &str) -> &'a Value {
    let steps = told["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}: {told}"))
}

fn holds(router: &Router, case: &Case) {
    let Case { words, outcome, decided, kernel, agreement } = case;
    let told = get(router, words);
    assert_eq!(told["outcome"], *outcome, "{words}: {told}");
    let steps = told["steps"].as_array().unwrap();
    let decides = steps.iter().find(|step| step["result"] == "passes");
    assert_eq!(
        decides.map(|step| &step["step"]),
        decided.map(|(step, _)| Value::from(step)).as_ref(),
        "{words}: {told}"
    );
    if let (Some(step), Some((_, reason))) = (decides, decided) {
        assert_eq!(step["outcome"], *outcome, "{words}: {told}");
        assert_eq!(step["reason"], told["reason"], "{words}: {told}");
        assert!(step["reason"].as_str().unwrap().contains(reason), "{words}: {told}");
    }
    let answer = &told["kernel"];
    let said = answer["answer"].as_str().or(answer["error"].as_str()).unwrap();
    assert!(said.contains(kernel), "{words}: {told}");
    assert_eq!(answer["agreement"], *agreement, "{words}: {told}");
    assert_eq!(answer["question"], format!("ip route get {words}"), "{words}");
    let argv: Vec<_> = ["get"].into_iter().chain(words.split(' ')).collect();
    let text = router.agent.cli(&argv).unwrap();
    assert_eq!(text.code, 0, "{}", text.stderr);
    for part in [outcome, said, *agreement] {
        assert!(text.stdout.contains(part), "{words}: {}", text.stdout);
    }
}

#[test]
fn each_step_of_an_ipv4_packet_is_told_and_is_what_happens() {
    let router = Router::start("explain");
    router.ip("route add blackhole 10.20.0.0/16");
    router.ip("address add 10.24.0.1/32 dev right2");
    router.router.sysctl("net/ipv4/conf/left/rp_filter", "1").unwrap();
    let spoofed = Flow { source: [10, 0, 3, 7].into(), ..router.flow() };
    router.await_pass(spoofed, "pass_reverse_path");
    for case in [
        forwarded(
            "10.9.0.7 from 10.0.1.2 iif left",
            "10.9.0.7 from 10.0.1.2 via 10.0.2.2 dev right iif left",
        ),
        passes(
            "10.20.0.1 from 10.0.1.2 iif left",
            "pass_route",
            ("route", "blackhole 10.20.0.0/16, table main, metric 0: a blackhole route"),
            "RTNETLINK answers: Invalid argument",
        ),
        passes(
            "10.9.0.1 from 10.0.3.7 iif left",
            "pass_reverse_path",
            ("reverse_path", "rp_filter is strict: 10.0.3.0/24, back to 10.0.3.7, leads by right2"),
            // Its errno is EXDEV in older kernels.
            "RTNETLINK answers: Invalid ",
        ),
        passes(
            "10.9.0.1 from 10.0.2.1 iif left",
            "pass_martian_source",
            ("source", "10.0.2.1 is an address of this host"),
            "RTNETLINK answers: Invalid argument",
        ),
        passes(
            "10.24.0.1 from 10.0.1.2 iif left",
            "pass_local",
            ("route", "an address of this host (of right2)"),
            "local 10.24.0.1 from 10.0.1.2 dev lo",
        ),
        passes(
            "10.0.1.2 from 10.0.1.7 iif left",
            "pass_same_interface",
            ("same_interface", "it would leave by left, where it came in"),
            "10.0.1.2 from 10.0.1.7 dev left iif left",
        ),
        passes(
            "192.0.2.1 from 10.0.1.2 iif left",
            "pass_no_route",
            ("route", "no route covers 192.0.2.1"),
            "RTNETLINK answers: Network is unreachable",
        ),
        passes(
            "127.0.0.1 from 10.0.1.2 iif left",
            "pass_martian_destination",
            ("destination", "127/8"),
            "RTNETLINK answers: Invalid argument",
        ),
    ] {
        holds(&router, &case);
        let told = get(&router, case.words);
        let address = |key: &str| told[key].as_str().unwrap().parse().unwrap();
        let flow = Flow { source: address("from"), destination: address("dst") };
        match case.outcome {
            "forwarded_route" => router.await_forwarding(flow),
            outcome => router.await_pass(flow, outcome),
        }
    }
    // No packets are sent to these: they would change what is told, or come in elsewhere.
    holds(
        &router,
        &passes(
            "10.0.2.77 from 10.0.1.2 iif left",
            "pass_neighbour",
            ("next_hop", "the link-layer address of 10.0.2.77 is not known"),
            "10.0.2.77 from 10.0.1.2 dev right iif left",
        ),
    );
    holds(
        &router,
        &passes(
            "10.9.0.1 from 10.0.3.2 iif right2",
            "pass_interface",
            ("interface", "no program is attached to right2"),
            "10.9.0.1 from 10.0.3.2 via 10.0.2.2 dev right iif right2",
        ),
    );
    let told = get(&router, "10.9.0.1 from 10.0.3.2 iif right2");
    assert_eq!(step(&told, "interface")["codes"], serde_json::json!(["not_attached"]));
}

#[test]
fn what_is_not_given_is_not_asked_and_the_kernel_is_asked_about_a_host_on_the_link() {
    let router = Router::start("explain-less");
    let told = get(&router, "10.9.0.1");
    for name in ["interface", "source", "reverse_path", "same_interface"] {
        assert_eq!(step(&told, name)["result"], "not_asked", "{told}");
    }
    assert_eq!(told["kernel"]["agreement"], "agrees", "{told}");
    let told = get(&router, "10.9.0.1 iif left");
    assert_eq!(step(&told, "interface")["result"], "ok", "{told}");
    assert_eq!(step(&told, "source")["result"], "not_asked", "{told}");
    assert_eq!(told["kernel"]["question"], "ip route get 10.9.0.1 from 10.0.1.2 iif left");
    assert_eq!(told["kernel"]["agreement"], "agrees", "{told}");
    let told = get(&router, "10.9.0.1 from 10.0.1.2");
    assert_eq!(told["kernel"]["agreement"], "unknown", "{told}");

    for (words, code, wrong) in [
        ("10.9.0.1 iif nowhere", 1, "no such interface: nowhere"),
        ("10.9.0.1 from 2001:db8::1", 2, "one family"),
        ("10.9.0.1 from nobody", 2, "'from' cannot be 'nobody'"),
        ("from 10.0.1.2", 2, "no destination"),
    ] {
        let argv: Vec<_> = ["get"].into_iter().chain(words.split(' ')).collect();
        let refused = router.agent.cli(&argv).unwrap();
        assert_eq!(refused.code, code, "{words}: {}", refused.stderr);
        assert!(refused.stderr.contains(wrong), "{words}: {}", refused.stderr);
    }
}

#[test]
fn row_40_an_interface_that_stands_aside_is_named_with_its_reasons() {
    let router = Router6::start("explain-aside");
    router.router.exec(&["tc", "qdisc", "add", "dev", "left", "clsact"]).unwrap();
    router.await_interface_reason("left", "clsact");
    for (words, kernel) in [
        ("10.9.0.1 from 10.0.1.2 iif left", "via 10.0.2.2 dev right"),
        ("2001:db8:9::1 from 2001:db8:1::2 iif left", "via 2001:db8:2::2 dev right"),
    ] {
        let interface = ("interface", "left has a tc clsact hook");
        holds(&router, &passes(words, "pass_interface", interface, kernel));
        let told = get(&router, words);
        assert_eq!(step(&told, "interface")["codes"], serde_json::json!(["tc"]), "{told}");
        // The rest of the way is told all the same.
        assert_eq!(step(&told, "next_hop")["result"], "ok", "{told}");
    }
}

#[test]
fn each_step_of_an_ipv6_packet_is_told() {
    let router = Router6::start("explain-six");
    router.ip6("route add blackhole 2001:db8:20::/64");
    router.ip6("address add 2001:db8:24::1/128 dev right2 nodad");
    route_cache_lab::wait_until("the last change", crate::router::PATIENCE, || {
        router.get("2001:db8:24::1")["outcome"] == "pass_local"
    })
    .unwrap();
    for case in [
        forwarded(
            "2001:db8:9::7 from 2001:db8:1::2 iif left",
            "2001:db8:9::7 from 2001:db8:1::2 via 2001:db8:2::2 dev right iif left",
        ),
        // Nothing asks for the way back.
        forwarded("2001:db8:9::7 from 2001:db8:77::1 iif left", "via 2001:db8:2::2 dev right"),
        passes(
            "2001:db8:20::1 from 2001:db8:1::2 iif left",
            "pass_route",
            ("route", "a blackhole route"),
            "RTNETLINK answers: Invalid argument",
        ),
        passes(
            "2001:db8:9::7 from fe80::7 iif left",
            "pass_martian_source",
            ("source", "link-local"),
            "via 2001:db8:2::2 dev right",
        ),
        passes(
            "2001:db8:9::7 from 2001:db8:3::2 iif right2",
            "pass_interface",
            ("interface", "no program is attached to right2"),
            "via 2001:db8:2::2 dev right",
        ),
        passes(
            "2001:db8:24::1 from 2001:db8:1::2 iif left",
            "pass_local",
            ("route", "an address of this host (of right2)"),
            "local 2001:db8:24::1",
        ),
        passes(
            "2001:db8:2::77 from 2001:db8:1::2 iif left",
            "pass_neighbour",
            ("next_hop", "the link-layer address of 2001:db8:2::77 is not known"),
            "2001:db8:2::77 from 2001:db8:1::2 dev right",
        ),
    ] {
        holds(&router, &case);
    }
    let told = get(&router, "2001:db8:9::7 from 2001:db8:77::1 iif left");
    assert_eq!(step(&told, "reverse_path")["reason"], "IPv6 has no rp_filter");
}

#[test]
fn rows_34_and_35_a_vlan_device_is_told_with_its_port() {
    let Some(place) = vlan::place("explain-vlan") else {
        return;
    };
    vlan::show_tags(&place);
    let router = Router::with(place, &[]);
    let words = "10.8.0.1 from 10.0.100.7 iif left.100";
    holds(&router, &forwarded(words, "via 10.0.200.2 dev right.200 iif left.100"));
    let told = get(&router, words);
    let interface = step(&told, "interface")["reason"].as_str().unwrap();
    assert!(interface.contains("left.100 (VLAN 100 on left)"), "{told}");
}
