//! Probe frames: what leaves, and what is heard of it.

use nix::errno::Errno;
use route_cache_common::Probe;

use super::{
    super::probe::{Answer, Prober},
    bench::{Bench, OUT_MAC, SMALL, on_bench},
    frame::Frame,
    live::{listen, receive, send_live},
};
use crate::fib::netlink::namespace::{index, run};

/// What `ask` answers of an interface.
fn ask(bench: &mut Bench, prober: &mut Prober, interface: &str) -> Answer {
    prober.ask(&mut bench.plane.ebpf, index(interface), OUT_MAC).expect("the frame is sent")
}

#[test]
fn row_37_a_probe_frame_is_taken_or_refused_as_any_redirected_frame() {
    on_bench(SMALL, |bench| {
        let mut prober = Prober::load(&mut bench.plane.ebpf).expect("this kernel takes them");
        // Linux 6.3 and newer ask the features first; before, the driver is asked.
        let refused = [Answer::Refused(Errno::EOPNOTSUPP), Answer::Refused(Errno::ENXIO)];
        for _ in 0..2 {
            // Its far end has an XDP program.
            assert_eq!(ask(bench, &mut prober, "out"), Answer::Sent);
            assert!(refused.contains(&ask(bench, &mut prober, "in")));
            // No driver, and none that takes them.
            assert_eq!(ask(bench, &mut prober, "lo"), Answer::Refused(Errno::EOPNOTSUPP));
        }
        run("ethtool -K in-far gro on");
        assert_eq!(ask(bench, &mut prober, "in"), Answer::Sent);
        run("ethtool -K in-far gro off");
        assert!(refused.contains(&ask(bench, &mut prober, "in")));
        run("ip link set out down");
        assert_eq!(ask(bench, &mut prober, "out"), Answer::Refused(Errno::ENETDOWN));
        let counted = bench.plane.redirect_errors.as_ref().expect("they are counted");
        assert!(counted.read().expect("readable").is_empty(), "nobody's packet was lost");
    });
}

#[test]
fn row_37_a_probe_frame_is_one_that_nobody_forwards_or_answers() {
    on_bench(SMALL, |bench| {
        let mut prober = Prober::load(&mut bench.plane.ebpf).expect("this kernel takes them");
        let far = listen("out-far");
        assert_eq!(ask(bench, &mut prober, "out"), Answer::Sent);
        let frame = receive(&far);
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..6], [0x01, 0x80, 0xc2, 0, 0, 0x0e]);
        assert_eq!(frame[6..12], OUT_MAC);
        assert_eq!(frame[12..14], [0x88, 0xb5]);
    });
}

#[test]
fn row_37_frames_that_are_forwarded_meanwhile_are_no_answer() {
    on_bench(SMALL, |bench| {
        let mut prober = Prober::load(&mut bench.plane.ebpf).expect("this kernel takes them");
        bench.add_default_route();
        let far = listen("out-far");
        prober.listen(index("out")).expect("it is written");
        send_live(bench, &Frame::udp().bytes());
        receive(&far);
        assert_eq!(prober.heard().expect("readable"), Probe::SILENCE);
        run("ip link set out down");
        send_live(bench, &Frame::udp().bytes());
        let counted = bench.plane.redirect_errors.as_ref().expect("they are counted");
        assert_eq!(counted.read().expect("readable").len(), 1, "it was refused");
        assert_eq!(prober.heard().expect("readable"), Probe::SILENCE);
        let nobody = 60_000;
        let answer = prober.ask(&mut bench.plane.ebpf, nobody, OUT_MAC).expect("it is refused");
        assert_eq!(answer, Answer::Refused(Errno::EINVAL));
    });
}
