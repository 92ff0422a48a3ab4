//! The IPv4 header: whether it is one, and what it asks for.

use route_cache_common::Outcome;

use super::{
    bench::{SMALL, on_bench},
    frame::Frame,
};

#[test]
fn row_3_a_wrong_version_or_header_length_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        for version_ihl in (0u8..=255).filter(|value| !matches!(value, 0x45..=0x4f)) {
            let frame = Frame { version_ihl, ..Frame::udp() }.bytes();
            bench.passes(&frame, Outcome::PassMalformed);
        }
    });
}

#[test]
fn row_3_a_frame_cut_within_the_headers_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let frame = Frame::udp().bytes();
        // The kernel runs no program on less than an Ethernet header.
        for len in 14..frame.len() {
            bench.passes(&frame[..len], Outcome::PassMalformed);
        }
    });
}

#[test]
fn row_4_a_wrong_header_checksum_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let frame = Frame::udp().bytes();
        // Every single bit of the header but those of version and lengths, of which other checks speak first.
        for bit in (8..16).chain(32..160) {
            let mut frame = frame.clone();
            frame[14 + bit / 8] ^= 1 << (bit % 8);
            bench.passes(&frame, Outcome::PassChecksum);
        }
        bench.forwards(&frame, Outcome::ForwardedRoute);
    });
}

#[test]
fn row_4_both_ways_to_write_a_zero_checksum_are_right() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let checksum = Frame { id: 0, ..Frame::udp() }.bytes()[24..26].to_vec();
        let id = u16::from_be_bytes([checksum[0], checksum[1]]);
        for checksum in [0, 0xffff] {
            let frame = Frame { id, checksum: Some(checksum), ..Frame::udp() }.bytes();
            let (outcome, bytes) = bench.send(&frame);
            assert!(outcome.is_forwarded(), "{checksum:#x}: {outcome:?}");
            assert_eq!(bytes[24..26], [1, 0]);
        }
    });
}

#[test]
fn row_5_a_length_beyond_the_frame_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let right = Frame::udp();
        let len = 20 + right.payload.len() as u16;
        for total_len in [0, 19, len + 1, len + 100, 0xffff] {
            let frame = Frame { total_len: Some(total_len), ..Frame::udp() }.bytes();
            bench.passes(&frame, Outcome::PassMalformed);
        }
    });
}

#[test]
fn row_5_padding_is_cut_off() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let bare = bench.send(&Frame::udp().bytes()).1;
        for len in [1, 2, 13, 46, 1000] {
            let frame = Frame { padding: vec![0xee; len], ..Frame::udp() }.bytes();
            bench.forwards(&frame, Outcome::ForwardedClone);
            assert_eq!(bench.send(&frame).1, bare, "{len} bytes of padding");
        }
        // A datagram that is nothing but its header.
        let frame = Frame { padding: vec![0xee; 26], ..Frame::of(253, Vec::new()) }.bytes();
        bench.forwards(&frame, Outcome::ForwardedClone);
    });
}

#[test]
fn row_6_options_pass() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        for version_ihl in 0x46..=0x4f {
            let mut payload = vec![1; usize::from(version_ihl & 15) * 4 - 20];
            payload.extend(Frame::udp().payload);
            let frame = Frame { version_ihl, payload, ..Frame::udp() }.bytes();
            bench.passes(&frame, Outcome::PassOptions);
        }
    });
}

#[test]
fn row_11_fragments_are_forwarded() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
        // First, middle, last; and don't-fragment with an offset, which the kernel does not mind either.
        for fragment in [0x2000, 0x2001, 0x00b9, 0x1fff, 0x40b9] {
            let frame = Frame { fragment, ..Frame::udp() }.bytes();
            bench.forwards(&frame, Outcome::ForwardedClone);
        }
    });
}
