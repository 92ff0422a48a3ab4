//! The index in front of the IPv4 routes: its answers are those of the trie, whatever changes.

use std::time::Instant;

use ipnet::Ipv4Net;
use route_cache_common::{Config, Outcome, Route, V4};

use super::{
    super::Sizes,
    bench::{OUT_MAC, SMALL},
    frame::Frame,
    mirror::{Mirror, on_mirror_of},
    model,
    mutate::Random,
};
use crate::cli::IndexMode;

const INDEXED: Sizes = Sizes { index: true, routes: 4096, ..SMALL };

/// Switches the index on, of what is installed.
fn begin(mirror: &mut Mirror<'_>) {
    let Mirror { bench, fib, .. } = mirror;
    let writer = &mut bench.plane.writer;
    writer.steer_index(IndexMode::On, fib, &mut bench.config).expect("there is room");
    assert_ne!(bench.config.flags & Config::INDEX4, 0);
}

/// Takes a prefix out of the trie behind the mirror's back: what is forwarded still, the index knows.
fn remove_from_the_trie(mirror: &mut Mirror<'_>, prefix: &str) {
    let net: Ipv4Net = prefix.parse().expect("a prefix");
    let key = aya::maps::lpm_trie::Key::new(net.prefix_len().into(), net.network().octets());
    mirror.bench.plane.writer.v4.remove_routes(&[key]).expect("removable");
}

#[test]
fn the_index_answers_where_the_trie_would_and_nowhere_else() {
    on_mirror_of(INDEXED, |mirror| {
        mirror.bench.tiers = Config::NO_CLONES;
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        begin(mirror);
        mirror.route("10.3.0.0/16", Some([10, 0, 2, 3]));
        mirror.route("10.3.7.128/25", Some([10, 0, 2, 2]));
        for prefix in ["10.2.0.0/16", "10.3.0.0/16"] {
            remove_from_the_trie(mirror, prefix);
        }
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.forwards([10, 3, 0, 2], [10, 0, 2, 3], Outcome::ForwardedRoute);
        mirror.forwards([10, 3, 7, 200], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.bench.passes(&Frame::to([10, 3, 7, 2]), Outcome::PassNoRoute);
        mirror.bench.configure(|config| config.flags &= !Config::INDEX4);
        mirror.bench.passes(&Frame::to([10, 2, 0, 2]), Outcome::PassNoRoute);
    });
}

#[test]
fn what_the_index_finds_is_cloned_from_the_trie() {
    on_mirror_of(INDEXED, |mirror| {
        begin(mirror);
        mirror.route("10.0.0.0/8", Some([10, 0, 2, 2]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        let mut tables = mirror.bench.plane.clones.v4.iter();
        let clone = tables.find_map(|table| table.get([10, 2, 3, 2]).expect("readable"));
        let route = Route::unpack(clone.expect("it was made").route);
        assert_eq!(route.prefix_len, 8);
        let installed = mirror.fib.v4.installed.get(&"10.0.0.0/8".parse().expect("a prefix"));
        assert_eq!(route.slot, installed.expect("it is installed").slot);
        // So it is void when the route changes, and when a more specific one comes.
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 3]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 3], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 3], Outcome::ForwardedClone);
        mirror.delete_route("10.2.0.0/16", Some([10, 0, 2, 3]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.replace_route("10.0.0.0/8", Some([10, 0, 2, 3]));
        mirror.forwards([10, 2, 3, 2], [10, 0, 2, 3], Outcome::ForwardedRoute);
        // What is on the link, and what passes, by the index as well.
        mirror.route("10.77.0.0/24", None);
        mirror.bench.passes(&Frame::to([10, 77, 0, 1]), Outcome::PassNeighbour);
        mirror.neighbour([10, 77, 0, 1], [2, 0, 0, 7, 7, 7]);
        mirror.forwards([10, 77, 0, 1], [10, 77, 0, 1], Outcome::ForwardedRoute);
        mirror.blackhole("10.77.0.0/25");
        mirror.bench.passes(&Frame::to([10, 77, 0, 1]), Outcome::PassRoute);
    });
}

#[test]
fn under_random_changes_every_packet_goes_where_the_longest_match_says() {
    for tiers in [Config::NO_CLONES, Config::FLOWS] {
        on_mirror_of(INDEXED, |mirror| {
            mirror.bench.tiers = tiers;
            let mut random = Random::new();
            let gateways = [[10, 0, 2, 2], [10, 0, 2, 3]];
            let mut routes = std::collections::BTreeMap::<Ipv4Net, [u8; 4]>::new();
            for round in 0..600 {
                if round == 50 {
                    begin(mirror);
                }
                let len = [16, 20, 22, 23, 24, 24, 25, 28, 32][random.below(9)];
                let address = [10, 9, random.below(8) as u8, random.below(256) as u8];
                let net = Ipv4Net::new(address.into(), len).expect("a length").trunc();
                let gateway = gateways[random.below(2)];
                match routes.get(&net).copied() {
                    Some(known) if random.below(2) == 0 => {
                        mirror.delete_route(&net.to_string(), Some(known));
                        routes.remove(&net);
                    }
                    Some(_) => {
                        mirror.replace_route(&net.to_string(), Some(gateway));
                        routes.insert(net, gateway);
                    }
                    None => {
                        mirror.route(&net.to_string(), Some(gateway));
                        routes.insert(net, gateway);
                    }
                }
                for _ in 0..12 {
                    let to = [10, 9, random.below(8) as u8, random.below(256) as u8];
                    let covering = routes
                        .iter()
                        .filter(|(net, _)| net.contains(&std::net::Ipv4Addr::from(to)));
                    let longest = covering.max_by_key(|(net, _)| net.prefix_len());
                    let frame = Frame::to(to);
                    let (outcome, bytes) = mirror.bench.send(&frame);
                    match longest {
                        None => assert_eq!(outcome, Outcome::PassNoRoute, "{to:?}"),
                        Some((net, gateway)) => {
                            assert!(outcome.is_forwarded(), "{outcome:?} for {to:?} by {net}");
                            let out = model::forwarded(&frame, mirror.mac_of(*gateway), OUT_MAC);
                            assert_eq!(bytes, out, "{to:?} by {net}, {outcome:?}");
                        }
                    }
                }
            }
            assert_eq!(mirror.fib.reasons::<V4>(), []);
        });
    }
}

#[test]
fn without_room_there_is_no_index() {
    on_mirror_of(SMALL, |mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        let Mirror { bench, fib, .. } = &mut *mirror;
        let writer = &mut bench.plane.writer;
        writer.steer_index(IndexMode::On, fib, &mut bench.config).expect("nothing happens");
        assert_eq!(bench.config.flags & Config::INDEX4, 0);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
    });
}

/// Not a bound, but a figure: what a full table costs when it is indexed at once, and a default route that changes.
#[test]
fn a_large_table_is_indexed_at_once() {
    const ROUTES: u32 = 1 << 18;
    let sizes = Sizes { routes: 1 << 19, ..INDEXED };
    on_mirror_of(sizes, |mirror| {
        let gateway = [10, 0, 2, 2];
        mirror.route("0.0.0.0/0", Some([10, 0, 2, 3]));
        mirror.routes(
            (0..ROUTES).map(|n| format!("{}/24", std::net::Ipv4Addr::from(0x1400_0000 + (n << 8)))),
            gateway,
        );
        let began = Instant::now();
        begin(mirror);
        eprintln!("{ROUTES} routes and a default route: indexed in {:?}", began.elapsed());
        mirror.bench.tiers = Config::NO_CLONES;
        let began = Instant::now();
        mirror.replace_route("0.0.0.0/0", Some(gateway));
        eprintln!("the default route changed in {:?}", began.elapsed());
        let began = Instant::now();
        mirror.delete_route("20.0.7.0/24", Some(gateway));
        eprintln!("a /24 went in {:?}", began.elapsed());
        mirror.forwards([99, 9, 9, 9], gateway, Outcome::ForwardedRoute);
        mirror.forwards([20, 0, 7, 1], gateway, Outcome::ForwardedRoute);
    });
}
