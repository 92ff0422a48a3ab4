//! Two upstreams that are as good as each other (ECMP).

use crate::{
    daemon::{Choice, Kind, Loss},
    place::{Place, sample},
    speaker::PREFIXES,
};

fn both_ways_are_used(label: &str, kind: Kind) {
    let place = Place::start(label, kind, Choice::Both, Loss::Withdraws);
    let all = PREFIXES as usize;
    place.follow(
        "learned from both",
        || {
            let nexthops =
                place.router.exec(&["ip", "route", "show", "root", "100.64.0.0/10"]).unwrap();
            let by = |via: &str| nexthops.matches(via).count() == all;
            by("nexthop via 10.0.2.2 ") && by("nexthop via 10.0.3.2 ")
        },
        || place.agent_routes(None) == all,
    );
    for _ in 0..2 {
        let delivery = place.deliver();
        assert_eq!(
            delivery.server + delivery.other,
            delivery.sent,
            "{delivery:?}; {}",
            place.story()
        );
        // A fair coin gives less than this once in 10^12 times.
        assert!(delivery.server.min(delivery.other) > delivery.sent / 4, "{delivery:?}");
        assert_eq!(delivery.by_xdp, delivery.sent, "{delivery:?}; {}", place.story());
    }
    place.audit_is_clean(sample().count() as u64);

    place.second.as_ref().unwrap().withdraw();
    place.await_via("one of two withdrawn", place.server.address);
    place.delivers(true);
    place.audit_is_clean(sample().count() as u64);
    place.kept_up();
}

#[test]
fn both_ways_of_bird_are_used() {
    both_ways_are_used("bird-ecmp", Kind::Bird);
}

#[test]
fn both_ways_of_frr_are_used() {
    both_ways_are_used("frr-ecmp", Kind::Frr);
}
