//! Polls of a real kernel. Root: each test has a network namespace of its own.

use std::time::Instant;

use super::{Poller, Reason, Subject, tcx_programs, tracking};
use crate::fib::family::{IpFamily, PerFamily};
use crate::fib::netlink::namespace::{in_namespace, index, run, with_veth};
use crate::fib::why::{Code, Why};

fn poll() -> Vec<Reason> {
    Poller::default().all_reasons().expect("the kernel answers")
}

fn sentences() -> Vec<String> {
    poll().into_iter().map(|reason| reason.sentence).collect()
}

#[test]
fn nothing_stands_against_it_in_a_fresh_namespace() {
    in_namespace(|| assert_eq!(poll(), []));
}

#[test]
fn a_chain_matters_while_it_has_rules() {
    in_namespace(|| {
        run("nft add table inet filter");
        run("nft 'add chain inet filter forward { type filter hook forward priority 0; }'");
        assert_eq!(poll(), [], "an empty chain that accepts does nothing");
        run("nft add rule inet filter forward counter");
        assert_eq!(
            poll(),
            [Reason {
                code: Code::Netfilter,
                interface: None,
                family: None,
                sentence: "nftables: chain `forward` of table `inet filter` has rules on the \
                           forward hook"
                    .to_owned(),
            }]
        );
        run("nft flush chain inet filter forward");
        assert_eq!(poll(), []);
    });
}

#[test]
fn a_chain_matters_while_its_policy_is_drop() {
    in_namespace(|| {
        run("nft add table ip filter");
        run("nft 'add chain ip filter f { type filter hook forward priority 0; policy drop; }'");
        assert_eq!(
            sentences(),
            ["nftables: chain `f` of table `ip filter` drops packets on the forward hook"]
        );
        run("nft 'add chain ip filter f { policy accept; }'");
        assert_eq!(poll(), []);
    });
}

#[test]
fn chains_on_the_way_of_forwarded_packets_matter_to_their_family_and_others_do_not() {
    in_namespace(|| {
        for family in ["ip", "inet", "ip6"] {
            run(&format!("nft add table {family} t"));
            for hook in ["prerouting", "input", "forward", "output", "postrouting"] {
                run(&format!(
                    "nft 'add chain {family} t {hook} {{ type filter hook {hook} priority 0; }}'
                     nft add rule {family} t {hook} counter"
                ));
            }
        }
        run("nft add chain ip t side && nft add rule ip t side counter");
        let reasons = poll();
        assert_eq!(reasons.len(), 9, "{reasons:#?}");
        for (family, concerned) in
            [("ip", Some(IpFamily::V4)), ("ip6", Some(IpFamily::V6)), ("inet", None)]
        {
            for hook in ["prerouting", "forward", "postrouting"] {
                let part = format!("`{hook}` of table `{family} t` has rules on the {hook} hook");
                let is_it = |reason: &&Reason| reason.sentence.contains(&part);
                let reason = reasons.iter().find(is_it).expect("it is found");
                assert_eq!(reason.family, concerned, "{part}");
            }
        }
    });
}

#[test]
fn chains_of_devices_concern_these_devices() {
    with_veth(|| {
        run("nft add table netdev t
             nft 'add chain netdev t in { type filter hook ingress devices = { left, right } \
                  priority 0; }'
             nft 'add chain netdev t out { type filter hook egress device right priority 0; }'
             nft add table inet t
             nft 'add chain inet t in { type filter hook ingress device left priority 0; }'");
        assert_eq!(poll(), []);
        run("nft add rule netdev t in counter
             nft add rule netdev t out counter
             nft add rule inet t in counter");
        let mut found: Vec<_> = poll()
            .into_iter()
            .map(|reason| (reason.interface.expect("of an interface"), reason.sentence))
            .collect();
        found.sort_unstable();
        let row = |device: &str, sentence: &str| (device.to_owned(), sentence.to_owned());
        assert_eq!(
            found,
            [
                row(
                    "left",
                    "nftables: chain `in` of table `inet t` has rules on the ingress hook of `left`"
                ),
                row(
                    "left",
                    "nftables: chain `in` of table `netdev t` has rules on the ingress hook of `left`"
                ),
                row(
                    "right",
                    "nftables: chain `in` of table `netdev t` has rules on the ingress hook of `right`"
                ),
                row(
                    "right",
                    "nftables: chain `out` of table `netdev t` has rules on the egress hook of `right`"
                ),
            ]
        );
    });
}

#[test]
fn tables_of_iptables_legacy_matter() {
    in_namespace(|| {
        run("iptables-legacy -t filter -A FORWARD -j ACCEPT");
        let sentences = sentences();
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        assert!(sentences[0].starts_with("iptables-legacy: table `filter` is in use"));
    });
}

#[test]
fn tables_of_ip6tables_legacy_matter_to_ipv6_alone() {
    in_namespace(|| {
        run("ip6tables-legacy -t filter -A FORWARD -j ACCEPT");
        let reasons = poll();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].sentence.starts_with("ip6tables-legacy: table `filter` is in use"));
        assert_eq!(reasons[0].family, Some(IpFamily::V6));
    });
}

#[test]
fn proxied_neighbours_and_the_mtu_of_ipv6_are_found() {
    with_veth(|| {
        let interfaces = [(2, "left"), (3, "right")].map(|(ifindex, name)| Subject {
            ifindex,
            name: name.to_owned(),
            may_hide_tags: false,
            may_merge: false,
            is_virtual: true,
        });
        run("sysctl -qw net.ipv6.conf.left.mtu=1400 net.ipv6.conf.right.disable_ipv6=1");
        let found = Poller::default().poll(&interfaces, true).expect("the kernel answers");
        assert_eq!((found.mtu6[&2], found.mtu6[&3]), (1400, 1500));
        let against = &found.by_interface[&3];
        assert_eq!(
            against.v6,
            [Why::new(Code::Ipv6Disabled, "IPv6 is disabled on right (disable_ipv6)")]
        );
        assert_eq!((against.v4.len(), found.by_interface.len()), (0, 1));
        assert!(found.everywhere.v6.is_empty());
        run("sysctl -qw net.ipv6.conf.all.proxy_ndp=1");
        let found = Poller::default().poll(&interfaces, true).expect("the kernel answers");
        assert_eq!((found.everywhere.v4.len(), found.everywhere.v6.len()), (0, 1));
    });
}

#[test]
fn rules_of_iptables_nft_matter_like_any_nftables_rule() {
    in_namespace(|| {
        run("iptables-nft -A FORWARD -j ACCEPT");
        assert_eq!(
            sentences(),
            ["nftables: chain `FORWARD` of table `ip filter` has rules on the forward hook"]
        );
        run("iptables-nft -D FORWARD -j ACCEPT");
        assert_eq!(poll(), []);
    });
}

#[test]
fn row_40_rules_that_follow_connections_matter_in_whatever_chain_they_stand() {
    in_namespace(|| {
        let poller = Poller::default();
        let found = || poller.all_reasons().expect("the kernel answers");
        let families = || found().iter().map(|reason| reason.family).collect::<Vec<_>>();
        run("nft add table ip t
             nft 'add chain ip t in { type filter hook input priority 0; }'
             nft add chain ip t side
             nft add rule ip t in counter
             nft add rule ip t in tcp dport 22 accept");
        assert_eq!(found(), [], "what is delivered here is not forwarded");
        for rule in ["ct state established accept", "ip saddr 192.0.2.1 ct count over 5 drop"] {
            run(&format!("nft add rule ip t in {rule}"));
            assert_eq!(families(), [Some(IpFamily::V4)], "{rule}");
            assert!(found()[0].sentence.contains("conntrack follows all packets"), "{:?}", found());
            run("nft flush chain ip t in");
            assert_eq!(found(), [], "{rule}");
        }
        run("ip6tables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP");
        assert_eq!(families(), [Some(IpFamily::V6)], "{:?}", found());
        run("nft flush chain ip6 filter INPUT");
        run("nft add table inet t
             nft 'add chain inet t n { type nat hook output priority 0; }'
             nft add rule inet t n tcp dport 80 redirect to :8080");
        let both = found();
        assert!(IpFamily::ALL.into_iter().all(|f| both.iter().any(|r| r.is_of(f))), "{both:?}");
        run("nft flush ruleset");
        assert_eq!(found(), []);
    });
}

/// Of kernels that do not tell the functions on their hooks: what the rules say.
#[test]
fn row_40_sets_and_rules_with_several_expressions_are_read_for_what_follows_connections() {
    in_namespace(|| {
        let found = || tracking::reasons(&mut tracking::Read::default()).expect("an answer");
        run("nft add table ip t && nft add chain ip t c
             nft 'add set ip t plain { type ipv4_addr; flags dynamic; counter; }'
             nft 'add set ip t seen { type ipv4_addr; flags dynamic; }'
             nft add rule ip t c 'update @seen { ip saddr counter }'");
        assert_eq!(found(), []);
        run("nft add rule ip t c 'add @seen { ip saddr counter ct count over 5 }'");
        assert_eq!(found().len(), 1, "{:?}", found());
        assert!(found()[0].sentence.contains("chain `c`"), "{:?}", found());
        run("nft flush chain ip t c");
        assert_eq!(found(), []);
        run("nft 'add set ip t counted { type ipv4_addr; flags dynamic; ct count over 20; }'");
        assert!(found()[0].sentence.contains("set `counted` of table `ip t`"), "{:?}", found());
    });
}

#[test]
fn ipsec_policies_for_forwarded_and_outgoing_packets_matter() {
    in_namespace(|| {
        let policy = |verb, dir| {
            run(&format!("ip xfrm policy {verb} src 192.0.2.0/24 dst 198.51.100.0/24 dir {dir}"));
        };
        policy("add", "in");
        assert_eq!(poll(), [], "what is delivered here is not forwarded");
        policy("add", "fwd");
        policy("add", "out");
        assert_eq!(
            sentences(),
            ["IPsec: 1 policies for forwarded and 1 for outgoing packets (`ip xfrm policy`)"]
        );
        policy("del", "fwd");
        assert_eq!(poll().len(), 1);
        policy("del", "out");
        assert_eq!(poll(), []);
        run("ip xfrm policy setdefault fwd block");
        assert_eq!(poll().first().map(|reason| reason.code), Some(Code::Xfrm));
    });
}

#[test]
fn forwarding_by_path_mtu_matters() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward_use_pmtu=1");
        assert_eq!(poll().first().map(|reason| reason.code), Some(Code::Sysctl));
        run("sysctl -qw net.ipv4.ip_forward_use_pmtu=0");
        assert_eq!(poll(), []);
    });
}

#[test]
fn an_interface_without_tcx_programs_has_none() {
    with_veth(|| assert_eq!(tcx_programs("left").expect("the kernel answers"), [0; 0]));
}

#[test]
fn row_40_an_interface_that_went_during_a_poll_has_no_tcx_programs_and_the_poll_goes_on() {
    with_veth(|| {
        let subjects = ["gone", "left"].map(|name| Subject {
            ifindex: if name == "gone" { 4000 } else { index(name) },
            name: name.into(),
            may_hide_tags: true,
            may_merge: true,
            is_virtual: true,
        });
        let found = Poller::default().poll(&subjects, false).expect("the kernel answers");
        assert_eq!(found.everywhere, PerFamily::default());
    });
}

#[test]
fn a_poll_that_finds_nothing_is_cheap() {
    with_veth(|| {
        poll();
        let fastest = (0..50)
            .map(|_| {
                let start = Instant::now();
                poll();
                start.elapsed()
            })
            .min()
            .expect("there were some");
        // Alone it takes 0.1 ms; the rest is room for a machine that does other things as well.
        assert!(fastest.as_micros() < 2000, "{fastest:?}");
        println!("fastest poll: {fastest:?}");
    });
}
