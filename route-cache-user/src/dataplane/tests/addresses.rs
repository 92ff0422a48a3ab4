//! Addresses that are never forwarded, whatever the routes say.

use route_cache_common::{Action, Config, Outcome};

use super::{
    bench::{Bench, SMALL, on_bench},
    frame::Frame,
};
use crate::fib::plan::Plan;

/// Everything has a route, so that nothing passes for lack of one.
fn route_everything(bench: &mut Bench) {
    bench.add_default_route();
    let version = bench.gateway(0);
    let id = bench.set_hop(0, version);
    bench.add_route("0.0.0.0/0", Action::Via(id), 0);
}

fn from(source: [u8; 4]) -> Vec<u8> {
    Frame { source, ..Frame::udp() }.bytes()
}

#[test]
fn row_12_martian_sources_pass() {
    on_bench(SMALL, |bench| {
        route_everything(bench);
        for source in [
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [127, 0, 0, 1],
            [127, 255, 255, 255],
            [224, 0, 0, 1],
            [239, 255, 255, 255],
            [255, 255, 255, 255],
        ] {
            bench.passes(&from(source), Outcome::PassMartianSource);
        }
        // Their neighbours are like any other; class E is routed since Linux 2.6.25.
        for source in [[1, 0, 0, 0], [126, 1, 1, 1], [128, 0, 0, 1], [223, 1, 1, 1], [240, 0, 0, 1]]
        {
            assert!(bench.send(&from(source)).0.is_forwarded(), "{source:?}");
        }
    });
}

#[test]
fn row_13_martian_destinations_pass() {
    on_bench(SMALL, |bench| {
        route_everything(bench);
        for destination in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [127, 255, 255, 255]] {
            bench.passes(&Frame::to(destination), Outcome::PassMartianDestination);
        }
        for destination in [[1, 0, 0, 0], [126, 1, 1, 1], [128, 0, 0, 1], [223, 1, 1, 1]] {
            bench.forwards(&Frame::to(destination), Outcome::ForwardedRoute);
        }
    });
}

#[test]
fn row_15_multicast_passes() {
    on_bench(SMALL, |bench| {
        route_everything(bench);
        for destination in [[224, 0, 0, 1], [232, 1, 1, 1], [239, 255, 255, 255]] {
            bench.passes(&Frame::to(destination), Outcome::PassMulticast);
        }
        bench.passes(&Frame::to([255; 4]), Outcome::PassBroadcast);
    });
}

/// The filter is asked first; where it says "perhaps", the table decides.
#[test]
fn row_12_an_own_address_as_source_passes_and_one_that_looks_like_it_does_not() {
    on_bench(SMALL, |bench| {
        route_everything(bench);
        let own = [10, 1, 0, 1];
        let bit = Config::local_filter_bit(own);
        let lookalike = (0..=u8::MAX)
            .flat_map(|c| (2..=u8::MAX).map(move |d| [10, 1, c, d]))
            .find(|address| Config::local_filter_bit(*address) == bit)
            .expect("65,000 addresses share 256 bits");
        for source in [own, lookalike] {
            assert!(bench.send(&from(source)).0.is_forwarded());
        }
        let mut local_filter = [0; 4];
        local_filter[bit.0] |= 1 << bit.1;
        bench.write(Plan { locals_added: vec![own.into()], local_filter, ..bench.plan() });
        bench.passes(&from(own), Outcome::PassMartianSource);
        assert!(bench.send(&from(lookalike)).0.is_forwarded());
        bench.write(Plan {
            locals_removed: vec![own.into()],
            local_filter: [0; 4],
            ..bench.plan()
        });
        assert!(bench.send(&from(own)).0.is_forwarded());
    });
}

/// `__fib_validate_source` drops sources that have a route other than unicast, if there are such local routes.
#[test]
fn row_12_sources_are_looked_up_when_asked_for() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let sources = [
            ("10.11.0.0/16", Outcome::PassLocal, true),
            ("10.12.0.0/16", Outcome::PassBroadcast, true),
            ("10.13.0.0/16", Outcome::PassRoute, true),
            // Unicast routes that cannot be used for now.
            ("10.14.0.0/16", Outcome::PassNeighbour, false),
            ("10.15.0.0/16", Outcome::PassEgress, false),
        ];
        for (prefix, reason, _) in sources {
            bench.add_route(prefix, Action::Pass(reason), 0);
        }
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
        for (net, (_, _, martian)) in (11..).zip(sources) {
            bench.configure(|config| config.flags &= !Config::CHECK_SOURCE);
            bench.forwards(&from([10, net, 0, 2]), Outcome::ForwardedClone);
            bench.configure(|config| config.flags |= Config::CHECK_SOURCE);
            if martian {
                bench.passes(&from([10, net, 0, 2]), Outcome::PassMartianSource);
            } else {
                bench.forwards(&from([10, net, 0, 2]), Outcome::ForwardedClone);
            }
        }
        // No route at all, and a route by a gateway.
        for source in [[192, 168, 0, 1], [10, 2, 0, 9]] {
            bench.forwards(&from(source), Outcome::ForwardedClone);
        }
    });
}
