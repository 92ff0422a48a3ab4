//! Clones: made on first use, counted on, void when their route changes.

use route_cache_common::{
    Action, ClonedRoute, Config, NextHopId, Outcome, Route, Tally, clones::Admission,
};

use super::{
    super::Sizes,
    bench::{Bench, SMALL, on_bench},
    frame::Frame,
    mirror::on_mirror,
};
use crate::fib::plan::{Plan, RoutePlan};

/// The clones of a destination, over all CPUs.
fn clones_of(bench: &Bench, destination: [u8; 4]) -> Vec<ClonedRoute> {
    let tables = bench.plane.clones.v4.iter();
    tables.filter_map(|table| table.get(destination).expect("readable")).collect()
}

fn tally(bench: &Bench, tally: Tally) -> u64 {
    bench.plane.counters.tally(tally).expect("readable").iter().sum()
}

#[test]
fn s1_the_first_packet_clones_the_route_and_the_next_ones_use_the_clone() {
    on_bench(SMALL, |bench| {
        let slot = bench.add_default_route();
        let frame = Frame { padding: vec![0; 11], ..Frame::udp() }.bytes();
        let before =
            bench.plane.clock_reader.read(&mut bench.plane.ebpf).expect("readable").jiffies;
        bench.forwards(&frame, Outcome::ForwardedRoute);
        for _ in 0..9 {
            bench.forwards(&frame, Outcome::ForwardedClone);
        }
        let after = bench.plane.clock_reader.read(&mut bench.plane.ebpf).expect("readable").jiffies;
        let clones = clones_of(bench, [10, 2, 0, 2]);
        let [clone] = clones[..] else {
            panic!("one CPU's packets made {} clones", clones.len());
        };
        let route = Route::unpack(clone.route);
        assert_eq!((route.slot, route.generation, route.prefix_len, route.mtu), (slot, 0, 16, 0));
        assert!(matches!(route.action, Action::Via(id) if id.index() == 0), "{route:?}");
        assert_eq!((clone.packets, clone.bytes), (10, 10 * (frame.len() as u64 - 11)));
        assert!(before <= clone.created && clone.created <= clone.last_used);
        assert!(clone.last_used <= after);
        assert_eq!(tally(bench, Tally::CloneCreated), 1);
        assert_eq!(clones_of(bench, [10, 2, 0, 3]), []);
    });
}

#[test]
fn s2_multicast_destinations_never_clone() {
    on_bench(SMALL, |bench| {
        bench.add_route("0.0.0.0/0", Action::Via(NextHopId::new(0, 0)), 0);
        bench.passes(&Frame::to([224, 0, 0, 5]), Outcome::PassMulticast);
        assert_eq!(clones_of(bench, [224, 0, 0, 5]), []);
    });
}

#[test]
fn s6_every_change_of_routes_raises_the_flow_epoch_and_nothing_else_does() {
    on_bench(SMALL, |bench| {
        let epoch = |bench: &mut Bench| {
            let mut epoch = 0;
            bench.configure(|config| epoch = config.flow_epoch);
            epoch
        };
        let before = epoch(bench);
        bench.add_route("10.3.0.0/16", Action::Pass(Outcome::PassRoute), 0);
        assert_eq!(epoch(bench), before + 1);
        bench.set_port(0);
        assert_eq!(epoch(bench), before + 1);
    });
}

#[test]
fn a_frame_that_passes_leaves_no_clone() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.add_route("10.2.9.0/24", Action::Pass(Outcome::PassRoute), 0);
        bench.passes(&Frame::of_size(1501).bytes(), Outcome::PassMtu);
        bench.passes(&Frame::to([10, 2, 9, 1]), Outcome::PassRoute);
        assert_eq!(clones_of(bench, [10, 2, 0, 2]), []);
        assert_eq!(clones_of(bench, [10, 2, 9, 1]), []);
    });
}

#[test]
fn a_full_table_refuses_the_clone_and_forwards_the_packet() {
    on_bench(Sizes { clones_per_cpu: 4, ..SMALL }, |bench| {
        let slot = bench.add_default_route();
        for last in 1..=4 {
            bench.forwards(&Frame::to([10, 2, 0, last]), Outcome::ForwardedRoute);
        }
        for _ in 0..3 {
            bench.forwards(&Frame::to([10, 2, 0, 9]), Outcome::ForwardedRoute);
        }
        bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedClone);
        let tallies = |bench: &Bench| {
            [Tally::CloneCreated, Tally::CloneReplaced, Tally::CloneRefused]
                .map(|which| tally(bench, which))
        };
        assert_eq!(tallies(bench), [4, 0, 3]);
        // A clone that is void is replaced in place, in a full table, too.
        let (prefix, words) = (
            "10.2.0.0/16".parse().expect("a prefix"),
            Route { generation: 1, ..Route::unpack(clones_of(bench, [10, 2, 0, 1])[0].route) },
        );
        let routes = vec![(prefix, words.pack())];
        bench.write(&Plan {
            v4: RoutePlan { routes, ..RoutePlan::default() },
            generations: vec![(slot, 1)],
            ..bench.plan()
        });
        bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedRoute);
        bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedClone);
        assert_eq!(tallies(bench), [4, 1, 3]);
        // Room again.
        let table =
            bench.plane.clones.v4.iter().find(|t| t.get([10, 2, 0, 2]).is_ok_and(|c| c.is_some()));
        assert_eq!(table.expect("it was made").delete(&[[10, 2, 0, 2]]).expect("it goes"), 1);
        bench.forwards(&Frame::to([10, 2, 0, 9]), Outcome::ForwardedRoute);
        bench.forwards(&Frame::to([10, 2, 0, 9]), Outcome::ForwardedClone);
    });
}

#[test]
fn destinations_seen_once_in_a_flood_are_forwarded_and_do_not_push_out_those_in_use() {
    let sizes = Sizes { clones_per_cpu: 4096, ..SMALL };
    on_bench(sizes, |bench| {
        bench.add_default_route();
        // A window that does not end while this runs.
        bench.configure(|config| config.window = u32::MAX);
        let address = |n: u64| [10, 2, (n >> 8) as u8, n as u8];
        for n in 0..Admission::BUDGET + 500 {
            bench.forwards(&Frame::to(address(n)), Outcome::ForwardedRoute);
        }
        assert_eq!(tally(bench, Tally::CloneCreated), Admission::BUDGET);
        assert_eq!(tally(bench, Tally::CloneDeferred), 500);
        bench.forwards(&Frame::to(address(7)), Outcome::ForwardedClone);
        // The second packet makes the clone.
        let late = address(Admission::BUDGET + 499);
        bench.forwards(&Frame::to(late), Outcome::ForwardedRoute);
        bench.forwards(&Frame::to(late), Outcome::ForwardedClone);
        assert_eq!(tally(bench, Tally::CloneCreated), Admission::BUDGET + 1);
    });
}

#[test]
fn the_agent_decides_whether_first_packets_make_clones() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.configure(|config| {
            config.window = u32::MAX;
            config.flags |= Config::CLONE_ON_SECOND;
        });
        for how in [Outcome::ForwardedRoute, Outcome::ForwardedRoute, Outcome::ForwardedClone] {
            bench.forwards(&Frame::to([10, 2, 0, 1]), how);
        }
    });
}

#[test]
fn s8_where_none_is_to_be_kept_packets_are_forwarded_and_make_no_clone() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let all =
            [Tally::CloneCreated, Tally::CloneReplaced, Tally::CloneRefused, Tally::CloneDeferred];
        let tallies = |bench: &Bench| all.map(|which| tally(bench, which));
        let before = tallies(bench);
        // Whatever else is said of first and second packets.
        for more in [0, Config::CLONE_ON_FIRST, Config::CLONE_ON_SECOND] {
            bench.configure(|config| {
                let others = Config::CLONE_ON_FIRST | Config::CLONE_ON_SECOND;
                config.flags = config.flags & !others | Config::NO_CLONES | more;
            });
            for _ in 0..3 {
                bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedRoute);
            }
        }
        assert_eq!(clones_of(bench, [10, 2, 0, 1]), []);
        assert_eq!(tallies(bench), before);
        bench.configure(|config| {
            config.flags = config.flags & !Config::NO_CLONES | Config::CLONE_ON_FIRST;
        });
        bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedRoute);
        bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedClone);
        // What there is is not looked at; it is the agent's to remove.
        bench.configure(|config| config.flags |= Config::NO_CLONES);
        bench.forwards(&Frame::to([10, 2, 0, 1]), Outcome::ForwardedRoute);
    });
}

#[test]
fn where_it_goes_by_the_routes_neither_flow_nor_clone_is_looked_at_until_it_does_not() {
    let sizes = Sizes { flows_per_cpu: 64, ..SMALL };
    on_bench(sizes, |bench| {
        bench.add_default_route();
        let outcome = |bench: &Bench, wanted| bench.forwards(&Frame::to([10, 2, 0, 1]), wanted);
        bench.configure(|config| config.flags |= Config::CLONE_ON_FIRST | Config::FLOWS);
        outcome(bench, Outcome::ForwardedRoute);
        outcome(bench, Outcome::ForwardedClone);
        let deferred = tally(bench, Tally::CloneDeferred);
        bench.configure(|config| config.flags |= Config::BY_ROUTES4);
        for _ in 0..3 {
            outcome(bench, Outcome::ForwardedRoute);
        }
        assert_eq!(clones_of(bench, [10, 2, 0, 1]).len(), 1, "what there is stays");
        assert_eq!(tally(bench, Tally::CloneDeferred), deferred, "nothing is weighed");
        // The other family's is nothing to this one.
        bench.configure(|config| {
            config.flags &= !(Config::BY_ROUTES4 | Config::FLOWS);
            config.flags |= Config::BY_ROUTES6;
        });
        outcome(bench, Outcome::ForwardedClone);
    });
}

#[test]
fn row_30_a_changed_route_voids_its_clones_and_nobody_elses() {
    on_mirror(|mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        mirror.route("10.3.0.0/16", Some([10, 0, 2, 2]));
        for destination in [[10, 2, 0, 2], [10, 3, 0, 2]] {
            mirror.forwards(destination, [10, 0, 2, 2], Outcome::ForwardedRoute);
        }
        mirror.replace_route("10.2.0.0/16", Some([10, 0, 2, 3]));
        mirror.forwards([10, 3, 0, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 3], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 3], Outcome::ForwardedClone);
        assert_eq!(tally(mirror.bench, Tally::CloneReplaced), 1);
    });
}

#[test]
fn row_30_a_deleted_route_voids_its_clones() {
    on_mirror(|mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        mirror.route("10.2.3.0/24", Some([10, 0, 2, 3]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 3], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 4, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.delete_route("10.2.3.0/24", Some([10, 0, 2, 3]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 4, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        mirror.delete_route("10.2.0.0/16", Some([10, 0, 2, 2]));
        for destination in [[10, 2, 3, 2], [10, 2, 4, 2]] {
            mirror.bench.passes(&Frame::to(destination), Outcome::PassNoRoute);
        }
    });
}

#[test]
fn row_30_a_more_specific_route_voids_the_clones_it_covers() {
    on_mirror(|mirror| {
        mirror.route("10.0.0.0/8", Some([10, 0, 2, 2]));
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        for destination in [[10, 2, 3, 2], [10, 9, 0, 2]] {
            mirror.forwards(destination, [10, 0, 2, 2], Outcome::ForwardedRoute);
        }
        mirror.route("10.2.3.0/24", Some([10, 0, 2, 3]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 3], Outcome::ForwardedRoute);
        mirror.forwards([10, 9, 0, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        // Row 23: one that is not forwarded does so, too.
        mirror.blackhole("10.2.3.2/32");
        mirror.bench.passes(&Frame::to([10, 2, 3, 2]), Outcome::PassRoute);
    });
}
