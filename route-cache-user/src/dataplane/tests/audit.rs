//! Clones that contradict the kernel, written by hand.

use route_cache_common::{ClonedRoute, Outcome, V4};

use super::{
    frame::Frame,
    mirror::{Mirror, on_mirror},
};
use crate::{
    audit::{
        ask::Asker,
        compare::Difference,
        examine::{Seen, ask, ingresses},
    },
    fib::{netlink::namespace::run, verdict::HopKey},
};

const BEYOND: [u8; 4] = [10, 9, 0, 1];
const BY_HAND: [u8; 4] = [10, 9, 0, 2];
const BY_SEVERAL: [u8; 4] = [10, 7, 0, 1];

/// Routes by 10.0.2.2 and 10.0.2.3 that the kernel and the mirror have both.
fn agree(mirror: &mut Mirror<'_>) {
    run(
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.in.rp_filter=0 \
         && ip address add 10.0.1.1/24 dev in && ip address add 10.0.2.1/24 dev out \
         && ip route add 10.9.0.0/16 via 10.0.2.2 && ip route add 10.8.0.0/16 via 10.0.2.3",
    );
    mirror.route("10.9.0.0/16", Some([10, 0, 2, 2]));
    mirror.route("10.8.0.0/16", Some([10, 0, 2, 3]));
}

/// The clone of a destination.
fn clone_of(mirror: &Mirror<'_>, key: [u8; 4]) -> ClonedRoute {
    let mut tables = mirror.bench.plane.clones.v4.iter();
    tables.find_map(|table| table.get(key).expect("readable")).expect("it has a clone")
}

/// Puts a clone where the data plane finds it.
fn put(mirror: &Mirror<'_>, key: [u8; 4], clone: ClonedRoute) {
    for table in &mirror.bench.plane.clones.v4 {
        table.put(&[key], &[clone]).expect("there is room");
    }
}

/// Nothing for a clone that is not used; else what the kernel has against it.
fn audited(mirror: &Mirror<'_>, key: [u8; 4]) -> Option<Option<Difference>> {
    let generations = mirror.bench.plane.writer.generations().expect("a handle");
    let clone = clone_of(mirror, key);
    let seen = Seen::<V4>::new((&mirror.fib, &generations), 0, key, &clone).expect("readable")?;
    let (mut asker, from) = (Asker::open().expect("a socket"), ingresses(&mirror.fib));
    assert_eq!(from.len(), 1, "packets come in by `in` alone");
    let differs = ask(&mut asker, &seen.ours, &from).expect("an answer");
    Some(differs.map(|(difference, _)| difference))
}

#[test]
fn a_clone_with_the_next_hop_of_another_route_is_found() {
    on_mirror(|mirror| {
        agree(mirror);
        mirror.forwards(BEYOND, [10, 0, 2, 2], Outcome::ForwardedRoute);
        assert_eq!(audited(mirror, BEYOND), Some(None));
        // The program takes its word for it.
        let mut wrong = clone_of(mirror, BEYOND);
        let key = HopKey::Neighbour((mirror.bench.egress, [10, 0, 2, 3].into()));
        wrong.route[0] = mirror.fib.hops.get(&key).expect("it has one").id.0;
        put(mirror, BY_HAND, wrong);
        mirror.forwards(BY_HAND, [10, 0, 2, 3], Outcome::ForwardedClone);
        assert_eq!(audited(mirror, BY_HAND), Some(Some(Difference::NextHop)));
        // So it does of an MTU.
        let mut large = clone_of(mirror, BEYOND);
        large.route[3] |= 1400 << 16;
        put(mirror, BY_HAND, large);
        assert_eq!(audited(mirror, BY_HAND), Some(Some(Difference::Mtu)));
    });
}

/// Whichever of them the kernel chooses.
#[test]
fn a_way_that_only_the_clone_or_only_the_kernel_has_is_found() {
    on_mirror(|mirror| {
        agree(mirror);
        run("ip route add 10.7.0.0/16 nexthop via 10.0.2.2 nexthop via 10.0.2.3");
        mirror.multipath("10.7.0.0/16", &[[10, 0, 2, 2], [10, 0, 2, 3]]);
        assert_eq!(mirror.bench.send(&Frame::to(BY_SEVERAL)).0, Outcome::ForwardedRoute);
        assert_eq!(audited(mirror, BY_SEVERAL), Some(None));
        for other in [
            "via 10.0.2.2",
            "via 10.0.2.3",
            "nexthop via 10.0.2.2 nexthop via 10.0.2.3 nexthop via 10.0.2.4",
        ] {
            run(&format!("ip route replace 10.7.0.0/16 {other}"));
            assert_eq!(audited(mirror, BY_SEVERAL), Some(Some(Difference::NextHop)), "{other}");
        }
    });
}

#[test]
fn a_clone_that_the_program_does_not_use_is_not_asked_about() {
    on_mirror(|mirror| {
        agree(mirror);
        mirror.forwards(BEYOND, [10, 0, 2, 2], Outcome::ForwardedRoute);
        run("ip route replace 10.9.0.0/16 via 10.0.2.3");
        mirror.replace_route("10.9.0.0/16", Some([10, 0, 2, 3]));
        assert_eq!(audited(mirror, BEYOND), None);
        mirror.forwards(BEYOND, [10, 0, 2, 3], Outcome::ForwardedRoute);
        assert_eq!(audited(mirror, BEYOND), Some(None));
    });
}

/// A generation that the mirror raised and that did not reach the program: the clone is used on, so it is asked about.
#[test]
fn what_the_program_uses_is_asked_about_whatever_the_mirror_thinks() {
    on_mirror(|mirror| {
        agree(mirror);
        mirror.forwards(BEYOND, [10, 0, 2, 2], Outcome::ForwardedRoute);
        run("ip route replace 10.9.0.0/16 via 10.0.2.3");
        mirror.miss_replace("10.9.0.0/16", Some([10, 0, 2, 3]));
        mirror.forwards(BEYOND, [10, 0, 2, 2], Outcome::ForwardedClone);
        assert_eq!(audited(mirror, BEYOND), Some(Some(Difference::NextHop)));
    });
}
