//! IPv6.

use super::{destination, ethernet, size, transport, transport_checksum};
use crate::{random::Random, tables::Tables};

/// A frame into a port; `odd` ones have something about them.
pub(super) fn frame(random: &mut Random, tables: &Tables, port: usize, odd: bool) -> Vec<u8> {
    let mut to = destination(random, tables, true, odd);
    let sources = 0x2001_0db8_f000_u128 << 80;
    let mut from = sources | (port as u128) << 80 | random.wide() & u128::from(u64::MAX);
    let mut protocol = random.pick(&[17, 17, 17, 17, 6, 6, 58]);
    let mut hop_limit = random.pick(&[64, 255, 2, 3]);
    let (mut first, mut ethertype) = ([0x60, 0, 0, 0], 0x86dd);
    let mut extensions: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut stated = None;
    if odd {
        match random.below(14) {
            0 => hop_limit = random.pick(&[0, 1, 1, 2]),
            1 | 2 => from = source(random, tables, port),
            3 | 4 => to = special(random, tables, port),
            5..8 => {
                for _ in 0..=random.below(3) {
                    extensions.push(extension(random));
                }
            }
            8 => first = [random.pick(&[0x60, 0x6f, 0x40, 0x50, 0x00, 0xf0]), 0x3a, 1, 2],
            9 => stated = Some(random.pick(&[0, 1, 8, 20, 40, 1460, 0xffff])),
            10 => {
                protocol = random
                    .pick(&[0, 1, 2, 4, 41, 43, 47, 50, 51, 59, 60, 89, 103, 132, 135, 136, 255])
            }
            11 => ethertype = random.pick(&[0x0800, 0x8847, 0x8100]),
            _ => {}
        }
    }
    let chain: usize = extensions.iter().map(|(_, bytes)| bytes.len()).sum();
    let len = size(random, tables, 40 + chain + 20) - 40 - chain;
    let (mut bytes, at) = transport(random, protocol, odd, len);
    // What changes the router's own neighbours is another matter.
    if protocol == 58 && matches!(bytes.first(), Some(133..=137)) && hop_limit == 255 {
        hop_limit = 64;
    }
    if let Some(at) = at.filter(|at| at + 2 <= bytes.len()) {
        let mut pseudo = [from.to_be_bytes(), to.to_be_bytes()].concat();
        pseudo.extend((bytes.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        let sum = transport_checksum(random, odd, &pseudo, &bytes);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let payload = stated.unwrap_or((chain + bytes.len()) as u16);
    let next = |index: usize| extensions.get(index).map_or(protocol, |(kind, _)| *kind);
    let mut frame = ethernet(port, ethertype);
    frame.extend(first);
    frame.extend(payload.to_be_bytes());
    frame.extend([next(0), hop_limit]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    for (index, (_, bytes)) in extensions.iter().enumerate() {
        frame.push(next(index + 1));
        frame.extend(&bytes[1..]);
    }
    frame.extend(&bytes);
    frame
}

/// An extension header: its number, and its bytes with the first, the number of the next, still open.
fn extension(random: &mut Random) -> (u8, Vec<u8>) {
    match random.below(8) {
        0 => (0, vec![0, 0, 1, 4, 0, 0, 0, 0]),
        1 => (0, vec![0, 0, 5, 2, 0, 0, 1, 0]),
        2 => (0, vec![0, 0, random.pick(&[0x1e, 0x5e, 0x9e, 0xde]), 4, 0, 0, 0, 0]),
        3 => (43, vec![0, 0, random.pick(&[0, 2, 3, 4]), random.pick(&[0, 1]), 0, 0, 0, 0]),
        4 => (44, vec![0, 0, 0, random.pick(&[0, 1]), 0, 0, 0, 7]),
        5 => (44, vec![0, 0, 1, random.pick(&[0, 1, 0x39]), 0, 0, 0, 7]),
        6 => (51, vec![0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        _ => (60, vec![0, 0, 1, 4, 0, 0, 0, 0]),
    }
}

/// A source that is not one of those behind the port: one that the kernel may not take, or one that it has routes to.
pub(super) fn source(random: &mut Random, tables: &Tables, port: usize) -> u128 {
    if random.percent(25) {
        return destination(random, tables, true, true);
    }
    special(random, tables, port)
}

/// Addresses that are not like others.
fn special(random: &mut Random, tables: &Tables, port: usize) -> u128 {
    let own: Vec<u128> = tables.own.iter().filter(|(v6, _)| *v6).map(|(_, a)| *a).collect();
    if !own.is_empty() && random.percent(25) {
        return random.pick(&own);
    }
    let fd = 0xfd00_u128 << 112;
    let (port, other) = (port as u128, random.below(4) as u128);
    let any = random.wide();
    let low = any & u128::from(u64::MAX);
    let special = [
        fd | port << 64 | 1,
        fd | other << 64 | 1,
        // The anycast address of the network's routers.
        fd | other << 64,
        fd | port << 64 | 0x40 | low & 7,
        0,
        1,
        0xfe80_u128 << 112 | low,
        0xfec0_u128 << 112 | low,
        0xff02_u128 << 112 | 1,
        0xff02_u128 << 112 | 2,
        0xff05_u128 << 112 | 2,
        0xff0e_u128 << 112 | low,
        0xff01_u128 << 112 | 1,
        0xffff_0a08_0001,
        0x0a08_0001,
        0x0064_ff9b_u128 << 96 | 0x0a08_0001,
        0x2002_0a08_0001_u128 << 80 | 1,
        0xfc00_u128 << 112 | low,
        any,
    ];
    random.pick(&special)
}
