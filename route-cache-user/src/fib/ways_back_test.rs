//! What the ports ask of the way back to a source while the tables may hold routes that are none.

use std::net::IpAddr;

use route_cache_common::{Port, V4};

use super::{
    family::{IpFamily, NetFamily},
    message::{
        Address, Event, Hop, Link, Netconf, NextHopKind, NextHopObject, Rule, XDP_FEATURE_NDO_XMIT,
    },
    mirror::{Fib, Limits},
    plan::Plan,
    tables::{Cause, Tables},
};

const UP: u32 = 1;
const RUNNING: u32 = 1 << 16;
/// Where packets come in.
const HERE: u32 = 2;
/// Through which routes lead.
const THERE: u32 = 3;
const OBJECT: u32 = 7;

fn link(ifindex: u32, flags: u32) -> Event {
    Event::Link(Link {
        ifindex,
        name: format!("eth{ifindex}"),
        hardware: 1,
        flags,
        mac: Some([2, 0, 0, 0, 9, 1]),
        mtu: 1500,
        kind: None,
        bus: Some("pci".into()),
        master: None,
        xdp_program: None,
        vlan: None,
        takes_from: None,
    })
}

fn netconf(ifindex: i32, rp_filter: u8, ignores_linkdown: bool) -> Event {
    Event::Netconf(Netconf {
        family: IpFamily::V4,
        ifindex,
        forwarding: Some(true),
        rp_filter: Some(rp_filter),
        ignores_linkdown: Some(ignores_linkdown),
    })
}

/// What two interfaces tell that run, one of which has this rp_filter.
fn told(rp_filter: u8) -> Vec<Event> {
    let mut events = vec![netconf(Netconf::ALL, 0, false)];
    for (ifindex, rp_filter) in [(HERE, rp_filter), (THERE, 0)] {
        let local = IpAddr::from([10, 0, ifindex as u8, 1]);
        events.extend([
            link(ifindex, UP | RUNNING),
            Event::XdpFeatures { ifindex, features: XDP_FEATURE_NDO_XMIT },
            netconf(ifindex as i32, rp_filter, false),
            Event::Address(Address { ifindex, local, prefix_len: 24 }),
        ]);
    }
    let looks_up = |(priority, table): &(u32, u32)| {
        Event::Rule(Rule {
            family: IpFamily::V4,
            priority: *priority,
            table: *table,
            action: 1,
            iif: None,
            oif: None,
            l3mdev: false,
            inverted: false,
            selective: false,
        })
    };
    events.extend(V4::RULES.iter().map(looks_up));
    let gateway = Some(IpAddr::from([10, 0, THERE as u8, 2]));
    let hop = Hop { ifindex: THERE, gateway, encap: false, weight: 1, flags: 0 };
    events.push(Event::NextHopObject(NextHopObject { id: OBJECT, kind: NextHopKind::Hop(hop) }));
    events
}

fn tables(rp_filter: u8) -> Tables {
    let mut tables = Tables::default();
    for event in told(rp_filter) {
        let (_, cause) = tables.apply(event);
        assert_eq!(cause, None);
    }
    tables
}

fn begin(rp_filter: u8) -> Fib {
    let mut fib = Fib::new(Limits { routes: 64, hops: 9, groups: 3, bypass: false });
    fib.replace(tables(rp_filter));
    fib.set_attached(HERE, HERE);
    fib.plan();
    fib
}

/// What the port where packets come in asks for; nothing if it forwards no IPv4.
fn asked(fib: &Fib) -> Option<u16> {
    let port = Port::unpack(*fib.ports.get(&HERE)?);
    let reverse = port.flags & (Port::REVERSE_STRICT | Port::REVERSE_LOOSE);
    (port.flags & Port::ACCELERATE4 != 0).then_some(reverse)
}

fn hear(fib: &mut Fib, event: Event) -> (Plan, Option<Cause>) {
    let cause = fib.apply(event);
    (fib.plan(), cause)
}

#[test]
fn row_17_what_may_have_gone_with_an_interface_or_an_object_is_no_way_back() {
    for event in [link(THERE, 0), Event::NextHopObjectGone(OBJECT)] {
        let mut fib = begin(2);
        assert_eq!(asked(&fib), Some(Port::REVERSE_LOOSE));
        let (plan, cause) = hear(&mut fib, event);
        assert!(cause.is_some_and(|cause| !cause.distrusts()));
        assert_eq!(asked(&fib), Some(Port::REVERSE_STRICT));
        assert!(plan.voids_flows(), "flows were told that the source has a way back");
        // The interface may be up again by now: its routes are gone all the same.
        hear(&mut fib, link(THERE, UP | RUNNING));
        assert_eq!(asked(&fib), Some(Port::REVERSE_STRICT));
        fib.replace(tables(2));
        assert!(fib.plan().voids_flows());
        assert_eq!(asked(&fib), Some(Port::REVERSE_LOOSE));
    }
}

#[test]
fn row_17_routes_that_are_ignored_without_a_carrier_are_no_way_back() {
    let mut fib = begin(2);
    hear(&mut fib, netconf(THERE as i32, 0, true));
    assert_eq!(asked(&fib), Some(Port::REVERSE_LOOSE));
    // With objects on it a dump would be asked for as well.
    fib.tables.objects.clear();
    let (_, cause) = hear(&mut fib, link(THERE, UP));
    assert_eq!((asked(&fib), cause), (Some(Port::REVERSE_STRICT), None));
    hear(&mut fib, netconf(THERE as i32, 0, false));
    assert_eq!(asked(&fib), Some(Port::REVERSE_LOOSE));
    hear(&mut fib, netconf(THERE as i32, 0, true));
    assert_eq!(asked(&fib), Some(Port::REVERSE_STRICT));
    hear(&mut fib, link(THERE, UP | RUNNING));
    assert_eq!(asked(&fib), Some(Port::REVERSE_LOOSE));
}

#[test]
fn row_17_an_interface_that_was_down_waits_for_its_routes_to_be_read() {
    for rp_filter in [1, 2] {
        let mut fib = begin(rp_filter);
        hear(&mut fib, link(HERE, 0));
        hear(&mut fib, link(HERE, UP | RUNNING));
        assert_eq!(asked(&fib), None);
        fib.replace(tables(rp_filter));
        fib.plan();
        assert!(asked(&fib).is_some());
    }
}

#[test]
fn row_12_sources_that_are_looked_up_anyway_have_to_have_a_way_back_that_is_known() {
    let mut fib = begin(0);
    hear(&mut fib, link(THERE, 0));
    assert_eq!(asked(&fib), Some(0));
    fib.custom_rules = true;
    fib.plan();
    assert_eq!(asked(&fib), Some(Port::REVERSE_STRICT));
    fib.replace(tables(0));
    fib.plan();
    assert_eq!(asked(&fib), Some(0));
}
