//! Time to live and header checksum on the way out.

use route_cache_common::Outcome;

use super::{
    bench::{GATEWAY_MAC, OUT_MAC, SMALL, XDP_REDIRECT, on_bench},
    frame::Frame,
    model,
};

#[test]
fn row_7_a_ttl_of_0_or_1_passes_undecremented() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&Frame { ttl: 2, ..Frame::udp() }.bytes(), Outcome::ForwardedRoute);
        for ttl in [0, 1] {
            bench.passes(&Frame { ttl, ..Frame::udp() }.bytes(), Outcome::PassTtl);
        }
        bench.forwards(&Frame { ttl: 255, ..Frame::udp() }.bytes(), Outcome::ForwardedClone);
    });
}

/// The identification is chosen so that the checksum becomes each value there is.
#[test]
fn row_7_every_checksum_comes_out_as_the_kernel_has_it() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let without_id = Frame { id: 0, checksum: Some(0), ..Frame::udp() }.bytes();
        let rest = model::sum(&without_id[14..34]);
        for checksum in 0..=0xffff {
            let id = !model::sum(&[rest.to_be_bytes(), u16::to_be_bytes(checksum)].concat());
            check(bench, &Frame { id, checksum: Some(checksum), ..Frame::udp() }.bytes());
        }
    });
}

#[test]
fn row_7_every_ttl_of_every_protocol_comes_out_as_the_kernel_has_it() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        for ttl in 2..=255 {
            for protocol in 0..=255 {
                check(bench, &Frame { ttl, protocol, ..Frame::udp() }.bytes());
            }
        }
    });
}

fn check(bench: &super::bench::Bench, frame: &[u8]) {
    let ran = bench.run(frame);
    assert_eq!(ran.action, XDP_REDIRECT, "{frame:02x?}");
    assert_eq!(ran.bytes, model::forwarded(frame, GATEWAY_MAC, OUT_MAC), "{frame:02x?}");
    let [before, after] =
        [frame, &ran.bytes].map(|bytes| u16::from_be_bytes([bytes[24], bytes[25]]));
    assert_eq!(after, model::kernel_decrease_ttl(before), "{frame:02x?}");
}
