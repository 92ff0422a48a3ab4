//! Row 44: who may still be believed.

use route_cache_common::{Config, Outcome};

use super::{
    bench::{SMALL, on_bench},
    frame::Frame,
};

#[test]
fn row_44_past_the_deadline_everything_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let frame = Frame::udp().bytes();
        let plane = &mut bench.plane;
        let now = plane.clock_reader.read(&mut plane.ebpf).expect("the clock is read").jiffies;
        let hz = plane.clock.hz();
        bench.configure(|config| config.deadline = now + 3600 * hz);
        bench.forwards(&frame, Outcome::ForwardedRoute);
        for deadline in [0, 1, now - 1] {
            bench.configure(|config| config.deadline = deadline);
            bench.passes(&frame, Outcome::PassExpired);
        }
        bench.configure(|config| config.deadline = u64::MAX);
        bench.forwards(&frame, Outcome::ForwardedClone);
    });
}

#[test]
fn a_family_that_stands_aside_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let frame = Frame::udp().bytes();
        bench.forwards(&frame, Outcome::ForwardedRoute);
        bench.configure(|config| config.flags = Config::CHECK_SOURCE);
        bench.passes(&frame, Outcome::PassDisabled);
        bench.configure(|config| config.flags = Config::ACCELERATE4);
        bench.forwards(&frame, Outcome::ForwardedClone);
    });
}
