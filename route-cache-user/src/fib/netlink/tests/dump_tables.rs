//! Dumps of everything but routes.

use std::net::{IpAddr, Ipv4Addr};

use super::super::namespace::{in_namespace, index, kernel_before, run, with_veth};
use super::super::{DumpError, Dumper, Table};
use super::dump;
use crate::fib::family::IpFamily;
use crate::fib::message::{Address, Event, Link, Neighbour, Netconf, Qdisc, Rule};

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

#[test]
fn a_link_is_dumped_with_its_name_kind_address_and_master() {
    with_veth(|| {
        run("ip link add bridge type bridge && ip link set left master bridge mtu 1400");
        let links: Vec<Link> = dump(Table::Links)
            .into_iter()
            .map(|event| match event {
                Event::Link(link) => link,
                other => panic!("not a link: {other:?}"),
            })
            .collect();
        assert_eq!(links.len(), 4, "lo, left, right and bridge: {links:?}");
        let left = links.iter().find(|link| link.name == "left").expect("left is there");
        assert_eq!(left.ifindex, index("left"));
        assert_eq!(left.kind.as_deref(), Some("veth"));
        assert_eq!(left.mac, Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(left.master, Some(index("bridge")));
        assert_eq!((left.mtu, left.hardware, left.bus.as_deref()), (1400, 1, None));
        assert_eq!(left.xdp_program, None);
        assert_ne!(left.flags & libc::IFF_UP as u32, 0);
    });
}

#[test]
fn addresses_are_dumped_with_the_local_side_of_a_point_to_point_link() {
    with_veth(|| {
        run("ip address add 192.0.2.1 peer 192.0.2.2/32 dev right");
        let events = dump(Table::Addresses(IpFamily::V4));
        let address = |name, local: [u8; 4], prefix_len| {
            let local = local.into();
            Event::Address(Address { ifindex: index(name), local, prefix_len })
        };
        assert!(events.contains(&address("left", [10, 0, 0, 1], 24)));
        assert!(events.contains(&address("right", [192, 0, 2, 1], 32)));
        assert!(events.contains(&address("lo", [127, 0, 0, 1], 8)));
        assert_eq!(events.len(), 3, "{events:?}");
    });
}

#[test]
fn neighbours_are_dumped_without_proxy_entries_and_other_families() {
    with_veth(|| {
        run("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev left nud permanent
             ip neigh add proxy 10.0.0.3 dev left
             ip neigh add fe80::2 lladdr 02:00:00:00:00:02 dev left nud permanent
             bridge fdb add 02:00:00:00:00:03 dev left self");
        let neighbour = Event::Neighbour(Neighbour {
            ifindex: index("left"),
            address: GATEWAY,
            state: libc::NUD_PERMANENT,
            lladdr: Some([2, 0, 0, 0, 0, 2]),
        });
        assert_eq!(dump(Table::Neighbours(IpFamily::V4)), [neighbour]);
    });
}

#[test]
fn settings_of_every_interface_and_of_all_and_default_are_dumped() {
    with_veth(|| {
        run("sysctl -qw net.ipv4.conf.left.forwarding=1 net.ipv4.conf.left.rp_filter=2 \
             net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=0");
        let settings: Vec<Netconf> = dump(Table::Netconf(IpFamily::V4))
            .into_iter()
            .map(|event| match event {
                Event::Netconf(netconf) => netconf,
                other => panic!("not settings: {other:?}"),
            })
            .collect();
        let of = |ifindex: i32| settings.iter().find(|netconf| netconf.ifindex == ifindex);
        let left = of(index("left").cast_signed()).expect("left is there");
        assert_eq!((left.forwarding, left.rp_filter), (Some(true), Some(2)));
        assert_eq!(of(Netconf::ALL).expect("all is there").rp_filter, Some(1));
        assert_eq!(of(Netconf::DEFAULT).expect("default is there").rp_filter, Some(0));
        assert_eq!(settings.len(), 5, "lo, left, right, all and default: {settings:?}");
    });
}

#[test]
fn the_default_rules_select_nothing_and_every_selector_is_seen() {
    with_veth(|| {
        let rules = || -> Vec<Rule> {
            dump(Table::Rules(IpFamily::V4))
                .into_iter()
                .map(|event| match event {
                    Event::Rule(rule) => rule,
                    other => panic!("not a rule: {other:?}"),
                })
                .collect()
        };
        let lookup = |priority, table| Rule {
            family: IpFamily::V4,
            priority,
            table,
            action: 1,
            iif: None,
            oif: None,
            l3mdev: false,
            inverted: false,
            selective: false,
        };
        let defaults = [lookup(0, 255), lookup(32766, 254), lookup(32767, 253)];
        assert_eq!(rules(), defaults);

        run("ip rule add priority 5 lookup 1000 protocol 42");
        assert_eq!(rules().get(1), Some(&lookup(5, 1000)), "who made a rule is no selector");
        run("ip rule del priority 5");

        for selector in [
            "from 192.0.2.0/24",
            "to 192.0.2.0/24",
            "tos 0x10",
            "iif left",
            "oif left",
            "fwmark 1",
            "uidrange 0-9",
            "ipproto tcp",
            "sport 53",
            "dport 53",
            "tun_id 5",
            "not from 192.0.2.0/24",
            "suppress_prefixlength 0",
            "suppress_ifgroup 3",
        ] {
            run(&format!("ip rule add {selector} priority 5 lookup 1000"));
            let rules = rules();
            let left = Some("left");
            let rule = rules.get(1).expect("the rule");
            let marks = (rule.iif.as_deref(), rule.oif.as_deref(), rule.inverted, rule.selective);
            let wanted = match selector {
                "iif left" => (left, None, false, false),
                "oif left" => (None, left, false, false),
                "not from 192.0.2.0/24" => (None, None, true, true),
                _ => (None, None, false, true),
            };
            assert_eq!(marks, wanted, "{selector}");
            run("ip rule del priority 5");
        }
        run("ip rule add priority 5 blackhole");
        assert_eq!(rules().get(1).map(|rule| (rule.action, rule.selective)), Some((6, false)));
    });
}

#[test]
fn queueing_disciplines_are_dumped() {
    with_veth(|| {
        run("tc qdisc add dev left clsact");
        let clsact = Event::Qdisc(Qdisc {
            ifindex: index("left"),
            handle: 0xffff_0000,
            parent: 0xffff_fff1,
            kind: "clsact".to_owned(),
        });
        assert!(dump(Table::Qdiscs).contains(&clsact));
    });
}

#[test]
fn xdp_features_are_dumped_for_every_device() {
    with_veth(|| {
        if kernel_before(6, 3) {
            let mut dumper = Dumper::open().expect("netlink sockets open");
            let outcome = dumper.dump(Table::XdpFeatures, drop);
            return assert!(matches!(outcome, Err(DumpError::Unsupported)), "{outcome:?}");
        }
        let events = dump(Table::XdpFeatures);
        let indices: Vec<u32> = events
            .iter()
            .map(|event| match event {
                Event::XdpFeatures { ifindex, .. } => *ifindex,
                other => panic!("not XDP features: {other:?}"),
            })
            .collect();
        for name in ["lo", "left", "right"] {
            assert!(indices.contains(&index(name)), "{name} of {events:?}");
        }
    });
}

#[test]
fn a_stale_neighbour_is_probed_on_request_and_others_are_left_alone() {
    with_veth(|| {
        run("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev left nud stale
             ip neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev left nud permanent
             ip neigh add 10.0.0.4 lladdr 02:00:00:00:00:04 dev left nud stale extern_learn");
        let left = index("left");
        let mut dumper = Dumper::open().expect("netlink sockets open");
        let mut confirm = |last| {
            let address = IpAddr::from([10, 0, 0, last]);
            dumper.confirm_neighbour(left, address).expect("the kernel answers")
        };
        assert!(confirm(2));
        assert!(!confirm(3), "permanent");
        assert!(!confirm(4), "learned by another");
        assert!(!confirm(5), "unknown");
        let state = |last| {
            dump(Table::Neighbours(IpFamily::V4)).into_iter().find_map(|event| match event {
                Event::Neighbour(known) if known.address == IpAddr::from([10, 0, 0, last]) => {
                    Some(known.state)
                }
                _ => None,
            })
        };
        assert_eq!(state(2), Some(libc::NUD_DELAY));
        assert_eq!(state(3), Some(libc::NUD_PERMANENT));
        assert_eq!(state(4), Some(libc::NUD_STALE));
        assert_eq!(state(5), None);
    });
}

#[test]
fn every_table_can_be_dumped_again_on_the_same_sockets() {
    in_namespace(|| {
        let mut dumper = Dumper::open().expect("netlink sockets open");
        for table in Table::ALL.into_iter().chain(Table::ALL) {
            match dumper.dump(table, drop) {
                Ok(()) => {}
                Err(DumpError::Unsupported) if table == Table::XdpFeatures => {}
                Err(error) => panic!("{table:?}: {error}"),
            }
        }
    });
}

#[test]
fn a_table_that_changes_while_it_is_read_is_called_interrupted() {
    with_veth(|| {
        // More than is read ahead.
        run("seq 1 12000 | awk '{ printf \"address add 20.0.%d.%d/32 dev left\\n\", \
             $1 / 256, $1 % 256 }' | ip -batch -");
        let mut dumper = Dumper::open().expect("netlink sockets open");
        let mut changed = false;
        let outcome = dumper.dump(Table::Addresses(IpFamily::V4), |_| {
            if !std::mem::replace(&mut changed, true) {
                run("ip address add 20.1.0.1/32 dev right");
            }
        });
        assert!(matches!(outcome, Err(DumpError::Interrupted)), "{outcome:?}");
        let mut count = 0;
        dumper
            .dump(Table::Addresses(IpFamily::V4), |_| count += 1)
            .expect("the next dump is whole again");
        assert_eq!(count, 12_003, "with lo, left and right");
    });
}
