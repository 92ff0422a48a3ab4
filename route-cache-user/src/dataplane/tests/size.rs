//! Rows 8 to 10: nothing larger than the MTU, whoever set it.

use route_cache_common::{Action, Outcome, next_hop::NextHopVersion};

use super::{
    bench::{SMALL, on_bench},
    frame::Frame,
};

fn of_size(total: usize, destination: [u8; 4]) -> Vec<u8> {
    Frame { destination, ..Frame::of_size(total) }.bytes()
}

#[test]
fn rows_8_and_9_larger_than_the_device_mtu_passes_with_and_without_df() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&of_size(1500, [10, 2, 0, 2]), Outcome::ForwardedRoute);
        for fragment in [0x4000, 0, 0x2000] {
            let frame = Frame { fragment, ..Frame::of_size(1501) }.bytes();
            bench.passes(&frame, Outcome::PassMtu);
        }
        // The MTU counts the datagram, not its padding.
        let padded = Frame { padding: vec![0; 40], ..Frame::of_size(1500) }.bytes();
        bench.forwards(&padded, Outcome::ForwardedClone);
    });
}

#[test]
fn row_10_the_smaller_of_route_and_device_mtu_counts() {
    on_bench(SMALL, |bench| {
        let version = bench.gateway(0);
        let id = bench.set_hop(0, version);
        for (prefix, mtu) in [("10.2.1.0/24", 600), ("10.2.2.0/24", 9000), ("10.2.3.0/24", 0)] {
            bench.add_route(prefix, Action::Via(id), mtu);
        }
        for (net, limit) in [(1, 600), (2, 1500), (3, 1500)] {
            let destination = [10, 2, net, 2];
            // Before there is a clone, and by the clone, which keeps the route's MTU.
            bench.passes(&of_size(limit + 1, destination), Outcome::PassMtu);
            bench.forwards(&of_size(limit, destination), Outcome::ForwardedRoute);
            bench.passes(&of_size(limit + 1, destination), Outcome::PassMtu);
            bench.forwards(&of_size(limit, destination), Outcome::ForwardedClone);
        }
    });
}

#[test]
fn row_10_a_change_of_the_device_mtu_counts_for_the_next_frame() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&Frame::of_size(1400).bytes(), Outcome::ForwardedRoute);
        for mtu in [1399, 1400, 68, 3000] {
            let version = NextHopVersion { mtu, ..bench.gateway(0) };
            bench.set_hop(0, version);
            bench.forwards(&Frame::of_size(mtu as usize).bytes(), Outcome::ForwardedClone);
            bench.passes(&Frame::of_size(mtu as usize + 1).bytes(), Outcome::PassMtu);
        }
    });
}
