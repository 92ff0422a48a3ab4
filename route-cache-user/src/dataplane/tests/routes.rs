//! Routes: the longest match, what shadows what, and where frames may go.

use route_cache_common::{Action, MacAddresses, NextHopId, Outcome, next_hop::NextHopVersion};

use super::{
    bench::{OUT_MAC, SMALL, on_bench},
    frame::Frame,
    model,
};
use crate::fib::plan::Plan;

#[test]
fn no_route_passes() {
    on_bench(SMALL, |bench| bench.passes(&Frame::udp().bytes(), Outcome::PassNoRoute));
}

#[test]
fn the_longest_match_wins() {
    on_bench(SMALL, |bench| {
        let prefixes = ["0.0.0.0/0", "10.0.0.0/8", "10.2.0.0/16", "10.2.3.0/24", "10.2.3.4/32"];
        let mac = |i: u32| [2, 0, 0, 0, 9, i as u8];
        for (i, prefix) in (0..).zip(prefixes) {
            let addresses = MacAddresses::new(mac(i), OUT_MAC);
            let version = NextHopVersion { addresses, ..bench.gateway(i) };
            let id = bench.set_hop(i, version);
            bench.add_route(prefix, Action::Via(id), 0);
        }
        let destinations =
            [[11, 0, 0, 1], [10, 3, 0, 1], [10, 2, 4, 1], [10, 2, 3, 5], [10, 2, 3, 4]];
        for (i, destination) in (0..).zip(destinations) {
            let frame = Frame::to(destination);
            for how in [Outcome::ForwardedRoute, Outcome::ForwardedClone] {
                let (outcome, bytes) = bench.send(&frame);
                assert_eq!(outcome, how);
                assert_eq!(bytes, model::forwarded(&frame, mac(i), OUT_MAC), "{destination:?}");
            }
        }
    });
}

#[test]
fn rows_23_and_23a_a_route_left_to_the_kernel_shadows_the_less_specific() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        // Every outcome but the two that forward can stand in a route.
        let reasons = Outcome::ALL.iter().filter(|outcome| !outcome.is_forwarded());
        for (net, reason) in (1..).zip(reasons) {
            bench.add_route(&format!("10.2.{net}.0/24"), Action::Pass(*reason), 0);
            for _ in 0..2 {
                bench.passes(&Frame::to([10, 2, net, 7]), *reason);
            }
        }
        bench.add_route("10.2.0.9/32", Action::Pass(Outcome::PassRoute), 0);
        bench.passes(&Frame::to([10, 2, 0, 9]), Outcome::PassRoute);
        bench.forwards(&Frame::to([10, 2, 0, 8]), Outcome::ForwardedRoute);
    });
}

#[test]
fn row_37_an_interface_that_is_not_in_the_device_map_gets_nothing() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
        bench.write(&Plan { egress_closed: vec![bench.egress], ..bench.plan() });
        // By the clone and by the route, with padding and without: the frame is as it came.
        for destination in [[10, 2, 0, 2], [10, 2, 0, 3]] {
            let frame = Frame { destination, ..Frame::udp() };
            bench.passes(&frame.bytes(), Outcome::PassEgress);
            let padded = Frame { padding: vec![7; 20], ..frame };
            bench.passes(&padded.bytes(), Outcome::PassEgress);
        }
        bench.write(&Plan { egress_opened: vec![bench.egress], ..bench.plan() });
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedClone);
        // What passed left no clone.
        bench.forwards(&Frame::to([10, 2, 0, 3]), Outcome::ForwardedRoute);
    });
}

#[test]
fn row_42_out_by_the_interface_it_came_in_by_passes() {
    on_bench(SMALL, |bench| {
        let version = NextHopVersion { ifindex: bench.ingress, ..bench.gateway(0) };
        let id = bench.set_hop(0, version);
        bench.add_route("10.2.0.0/16", Action::Via(id), 0);
        for _ in 0..2 {
            bench.passes(&Frame::udp().bytes(), Outcome::PassSameInterface);
        }
        let version = bench.gateway(0);
        bench.set_hop(0, version);
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
    });
}

#[test]
fn a_next_hop_that_has_another_holder_by_now_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
        let version = NextHopVersion { id: NextHopId::new(0, 1).0, ..bench.gateway(0) };
        bench.set_hop(0, version);
        // By the clone and by the route.
        for destination in [[10, 2, 0, 2], [10, 2, 0, 3]] {
            bench.passes(&Frame::to(destination), Outcome::PassRace);
        }
        let beyond = NextHopId::new(SMALL.hops, 0);
        bench.add_route("10.3.0.0/16", Action::Via(beyond), 0);
        bench.passes(&Frame::to([10, 3, 0, 1]), Outcome::PassRace);
    });
}
