//! Row 39a: transport checksums that somebody has yet to complete, and the payload, which nobody touches.

use route_cache_common::{Outcome, Port};

use super::{
    bench::{Bench, SMALL, on_bench},
    frame::{Frame, Transport},
};

fn guarded(test: impl FnOnce(&mut Bench) + Send) {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
        bench.set_port(Port::PARTIAL_CHECKSUMS);
        test(bench);
    });
}

#[test]
fn row_39a_complete_checksums_are_forwarded_and_partial_ones_pass() {
    guarded(|bench| {
        for of in [Frame::tcp, |checksum| Frame::udp_to_port(8192, checksum)] {
            bench.forwards(&of(Transport::Complete).bytes(), Outcome::ForwardedClone);
            bench.passes(&of(Transport::Partial).bytes(), Outcome::PassPartialChecksum);
        }
    });
}

#[test]
fn row_39a_a_udp_checksum_of_zero_is_none_to_complete() {
    guarded(|bench| {
        let frame = Frame::udp_to_port(8192, Transport::Set(0)).bytes();
        bench.forwards(&frame, Outcome::ForwardedClone);
    });
}

/// A sender completes a checksum before it fragments, and a later fragment has none.
#[test]
fn row_39a_fragments_are_forwarded_whatever_stands_there() {
    guarded(|bench| {
        for fragment in [0x2000, 0x2003, 0x0003] {
            for of in [Frame::tcp, |checksum| Frame::udp_to_port(4789, checksum)] {
                let frame = Frame { fragment, ..of(Transport::Partial) }.bytes();
                bench.forwards(&frame, Outcome::ForwardedClone);
            }
        }
        // Of a protocol that is not known, a fragment is no better known.
        let frame = Frame { fragment: 0x2000, ..Frame::of(132, vec![0; 20]) }.bytes();
        bench.passes(&frame, Outcome::PassPartialChecksum);
    });
}

#[test]
fn row_39a_tunnels_pass_because_of_the_checksum_inside() {
    guarded(|bench| {
        for port in [4789, 8472, 6081, 6080, 5555] {
            for checksum in [Transport::Complete, Transport::Partial, Transport::Set(0)] {
                let frame = Frame::udp_to_port(port, checksum).bytes();
                bench.passes(&frame, Outcome::PassPartialChecksum);
            }
            // The port with its bytes swapped is another port.
            let frame = Frame::udp_to_port(port.swap_bytes(), Transport::Complete).bytes();
            bench.forwards(&frame, Outcome::ForwardedClone);
        }
    });
}

#[test]
fn row_39a_protocols_with_checksums_of_their_own_pass_and_icmp_does_not() {
    guarded(|bench| {
        bench
            .forwards(&Frame::of(1, vec![8, 0, 0, 0, 0, 1, 0, 1]).bytes(), Outcome::ForwardedClone);
        // IPv4 in IPv4, DCCP, IPv6 in IPv4, GRE, SCTP, UDP-Lite.
        for protocol in [4, 33, 41, 47, 132, 136] {
            let frame = Frame::of(protocol, vec![0; 24]).bytes();
            bench.passes(&frame, Outcome::PassPartialChecksum);
        }
    });
}

#[test]
fn row_39a_a_transport_header_that_is_cut_short_passes() {
    guarded(|bench| {
        for (frame, needed) in [(Frame::tcp(Transport::Complete), 18), (Frame::udp(), 8)] {
            for len in 0..needed {
                let cut = Frame { payload: frame.payload[..len].to_vec(), ..frame.clone() };
                bench.passes(&cut.bytes(), Outcome::PassPartialChecksum);
            }
        }
    });
}

#[test]
fn row_39a_without_the_guard_nobody_looks() {
    guarded(|bench| {
        bench.set_port(0);
        for frame in [
            Frame::tcp(Transport::Partial),
            Frame::udp_to_port(8192, Transport::Partial),
            Frame::udp_to_port(4789, Transport::Complete),
            Frame::of(132, vec![0; 20]),
        ] {
            bench.forwards(&frame.bytes(), Outcome::ForwardedClone);
        }
    });
}

/// The model takes the payload over from the frame that came; this compares it in so many words.
#[test]
fn the_payload_stays_as_it_is() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        for frame in [Frame::tcp(Transport::Complete), Frame::udp(), Frame::of_size(1500)] {
            let bytes = bench.send(&frame.bytes()).1;
            assert_eq!(bytes[34..], frame.payload);
        }
    });
}
