//! Frames that are almost right: valid ones with a few things changed, and plain noise.

use std::env;

use super::{
    bench::{GATEWAY_MAC, IN_MAC},
    frame::{Frame, Transport},
    model,
};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(u64);

impl Random {
    /// From `ROUTE_CACHE_SEED` if it is set, else a new one; printed, so that a failure can be run again.
    pub(super) fn new() -> Self {
        const VARIABLE: &str = "ROUTE_CACHE_SEED";
        let seed = env::var(VARIABLE).map_or_else(
            |_| u64::from(std::process::id()) << 32 | u64::from(nanoseconds()),
            |seed| seed.parse().expect("a number"),
        );
        println!("{VARIABLE}={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

fn nanoseconds() -> u32 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is later than 1970").subsec_nanos()
}

/// A frame: most often a valid one with up to three things changed.
pub(super) fn frame(random: &mut Random, destinations: &[[u8; 4]], sources: &[[u8; 4]]) -> Vec<u8> {
    if random.below(50) == 0 {
        let len = 14 + random.below(200);
        return random.bytes(len);
    }
    let mut frame = match random.below(6) {
        0 => Frame::tcp(random.pick(&[Transport::Complete, Transport::Partial])),
        1 => Frame::of(1, vec![8; 8]),
        2 => {
            let size = random.pick(&[20, 28, 199, 200, 201, 699, 700, 701, 1499, 1500, 1501, 3000]);
            Frame::of_size(size)
        }
        3 => {
            let port = random.pick(&[53, 443, 4789, 8472, 6081, 6080, 5555]);
            Frame::udp_to_port(port, random.pick(&[Transport::Partial, Transport::Set(0)]))
        }
        _ => Frame::udp(),
    };
    frame.destination = random.pick(destinations);
    frame.source = random.pick(sources);
    for _ in 0..random.below(3) {
        change_field(random, &mut frame);
    }
    let mut bytes = frame.bytes();
    if random.below(4) == 0 {
        change_bytes(random, &mut bytes);
    }
    bytes
}

fn change_field(random: &mut Random, frame: &mut Frame) {
    match random.below(14) {
        0 => frame.to = random.pick(&[GATEWAY_MAC, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], IN_MAC]),
        1 => frame.ethertype = random.pick(&[0x0806, 0x86dd, 0x8100, 0x88cc, 0x0800]),
        2 => frame.version_ihl = random.pick(&[0x40, 0x44, 0x46, 0x4f, 0x55, 0x65, random.0 as u8]),
        3 => frame.id = random.next() as u16,
        4 => frame.fragment = random.pick(&[0, 0x2000, 0x2001, 0x1fff, 0x4000, 0x8000]),
        5 => frame.ttl = random.pick(&[0, 1, 2, 3, 128, 255]),
        6 => frame.protocol = random.pick(&[0, 1, 2, 4, 6, 17, 47, 50, 132, 136, 255]),
        7 => frame.source = random.bytes(4).try_into().expect("4 bytes"),
        8 => frame.destination = random.bytes(4).try_into().expect("4 bytes"),
        9 => frame.payload.truncate(random.below(40)),
        10 => frame.total_len = Some(random.pick(&[0, 19, 20, 21, 28, 40, 41, 100, 0xffff])),
        11 => frame.checksum = Some(random.next() as u16),
        12 => {
            let len = random.below(64);
            frame.padding = random.bytes(len);
        }
        _ => frame.payload[..].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31)),
    }
}

/// Cuts, lengthens or overwrites, and most often makes the header checksum right again, so that it is not what stops
/// the frame.
fn change_bytes(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(3) {
        0 => bytes.truncate(14 + random.below(bytes.len() - 13)),
        1 => {
            let len = random.below(100);
            let more = random.bytes(len);
            bytes.extend(more);
        }
        _ => {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
        }
    }
    if bytes.len() >= 34 && random.below(4) != 0 {
        bytes[24..26].copy_from_slice(&[0, 0]);
        let checksum = !model::sum(&bytes[14..34]);
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
}
