//! The routes that the agent finds at its start, written while they are planned.

use std::net::Ipv4Addr;

use route_cache_common::{Config, Outcome};

use super::{super::Sizes, bench::SMALL, mirror::on_mirror_of};

/// More than are written at a time, several times over.
const MANY: u32 = 60_000;

const NEAR: [u8; 4] = [10, 0, 2, 2];
const FAR: [u8; 4] = [10, 0, 2, 3];

/// An address in a /24, by its number.
fn inside(number: u32) -> [u8; 4] {
    (0x1400_0007 + (number << 8)).to_be_bytes()
}

#[test]
fn the_routes_of_the_start_are_all_in_the_trie_and_in_the_index() {
    on_mirror_of(Sizes { index: true, routes: 1 << 16, ..SMALL }, |mirror| {
        mirror.bench.tiers = Config::NO_CLONES;
        let many = (0..MANY).map(|number| {
            let [a, b, c, _] = inside(number);
            (format!("{a}.{b}.{c}.0/24"), NEAR)
        });
        // Around all of them, and inside the last.
        let last = Ipv4Addr::from(inside(MANY - 1));
        let few = [("20.0.0.0/8".to_owned(), FAR), (format!("{last}/32"), FAR)];
        mirror.restart(few.into_iter().chain(many));
        assert_ne!(mirror.bench.config.flags & Config::INDEX4, 0);
        for indexed in [true, false] {
            if !indexed {
                mirror.bench.configure(|config| config.flags &= !Config::INDEX4);
            }
            for number in (0..MANY - 1).step_by(997).chain([MANY - 2]) {
                mirror.forwards(inside(number), NEAR, Outcome::ForwardedRoute);
            }
            mirror.forwards(inside(MANY - 1), FAR, Outcome::ForwardedRoute);
            mirror.forwards(inside(MANY), FAR, Outcome::ForwardedRoute);
        }
    });
}
