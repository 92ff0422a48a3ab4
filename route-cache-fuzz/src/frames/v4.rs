//! IPv4.

use std::net::Ipv4Addr;

use route_cache_lab::frame::checksum::{checksum, pseudo_header};

use super::{destination, ethernet, size, transport, transport_checksum};
use crate::{random::Random, tables::Tables};

/// A frame into a port; `odd` ones have something about them.
pub(super) fn frame(random: &mut Random, tables: &Tables, port: usize, odd: bool) -> Vec<u8> {
    let mut to = destination(random, tables, false, odd) as u32;
    let [a, b] = [random.next() as u8, random.next() as u8];
    let mut from = u32::from_be_bytes([172, 16 + port as u8, a, b]);
    let mut protocol = random.pick(&[17, 17, 17, 17, 6, 6, 1]);
    let mut ttl = random.pick(&[64, 255, 2, 3]);
    let mut fragment = random.pick(&[0_u16, 0x4000]);
    let (mut version, mut tos, mut options) = (0x45_u8, 0, Vec::new());
    let mut stated = None;
    let mut ethertype = 0x0800;
    let mut wrong = false;
    if odd {
        match random.below(16) {
            0 => ttl = random.pick(&[0, 1, 1, 2]),
            1 | 2 => from = source(random, tables, port),
            3 | 4 => to = special(random, tables, port),
            5 => fragment = random.pick(&[0x2000, 0x2001, 0x0010, 0x6000, 0x8000, 0x1fff, 0xa000]),
            6 => {
                options = any_options(random);
                version = 0x45 + (options.len() / 4) as u8;
            }
            7 => version = random.pick(&[0x40, 0x44, 0x46, 0x4f, 0x55, 0x65, 0x05]),
            8 => stated = Some(random.pick(&[0, 19, 20, 21, 27, 28, 40, 60, 1500, 0xffff])),
            9 => protocol = random.pick(&[0, 1, 2, 4, 41, 47, 50, 51, 89, 103, 132, 136, 255]),
            10 => wrong = true,
            11 => ethertype = random.pick(&[0x86dd, 0x8847, 0x0806, 0x8100]),
            12 => tos = random.next() as u8,
            _ => {}
        }
    }
    let header = 20 + options.len();
    let len = size(random, tables, header + 20) - header;
    let (mut bytes, at) = transport(random, protocol, odd, len);
    if let Some(at) = at.filter(|at| at + 2 <= bytes.len()) {
        let pseudo = match protocol {
            1 => Vec::new(),
            _ => pseudo_header(
                Ipv4Addr::from(from),
                Ipv4Addr::from(to),
                protocol,
                bytes.len() as u16,
            ),
        };
        let sum = transport_checksum(random, odd, &pseudo, &bytes);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let total = stated.unwrap_or((header + bytes.len()) as u16);
    let mut frame = ethernet(port, ethertype);
    frame.extend([version, tos]);
    frame.extend(total.to_be_bytes());
    frame.extend((random.next() as u16).to_be_bytes());
    frame.extend(fragment.to_be_bytes());
    frame.extend([ttl, protocol, 0, 0]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend(&options);
    frame.extend(&bytes);
    set_checksum(&mut frame);
    if wrong {
        let bit = random.below(16);
        frame[24 + bit / 8] ^= 1 << (bit % 8);
    }
    frame
}

/// A source that is not one of those behind the port: one that the kernel may not take, or one that it has routes to.
pub(super) fn source(random: &mut Random, tables: &Tables, port: usize) -> u32 {
    if random.percent(25) {
        return destination(random, tables, false, true) as u32;
    }
    special(random, tables, port)
}

/// Addresses that are not like others.
fn special(random: &mut Random, tables: &Tables, port: usize) -> u32 {
    let own: Vec<u128> = tables.own.iter().filter(|(v6, _)| !v6).map(|(_, a)| *a).collect();
    if !own.is_empty() && random.percent(25) {
        return random.pick(&own) as u32;
    }
    let other = random.below(4) as u8;
    let [a, b] = [random.next() as u8, random.next() as u8];
    let special = [
        [10, 0, port as u8, 1],
        [10, 0, other, 1],
        [10, 0, other, 255],
        [10, 0, other, 0],
        [10, 0, port as u8, 40 + a % 9],
        [10, 99, a % 3, if b < 128 { 255 } else { 0 }],
        [0, 0, 0, 0],
        [0, a, b, 1],
        [127, 0, 0, 1],
        [127, a, b, 9],
        [224, 0, 0, 1],
        [224, 0, 0, 5],
        [239, a, b, 1],
        [240, a, b, 1],
        [255, 255, 255, 255],
        [255, 255, 255, 254],
        [169, 254, a, b],
        [172, 16 + other, a, b],
        [a, b, a ^ b, 7],
    ];
    u32::from_be_bytes(random.pick(&special))
}

/// Options that the kernel looks at, without the one that it writes the time into.
fn any_options(random: &mut Random) -> Vec<u8> {
    let some: [&[u8]; 8] = [
        &[1, 1, 1, 1],
        &[0, 0, 0, 0],
        &[7, 7, 4, 0, 0, 0, 0, 0],
        &[131, 7, 4, 10, 0, 1, 2, 0],
        &[137, 7, 4, 10, 0, 1, 2, 0],
        &[148, 4, 0, 0],
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[7, 3, 9, 0],
    ];
    random.pick(&some).to_vec()
}

/// The header's length, if all of it is there.
fn header(frame: &[u8]) -> Option<usize> {
    let len = usize::from(frame.get(14)? & 15).max(5) * 4;
    let is_it = frame.get(12..14) == Some(&[8, 0]);
    (is_it && frame.len() >= 14 + len).then_some(len)
}

/// Makes the checksum of the header right.
pub(super) fn set_checksum(frame: &mut [u8]) {
    let Some(len) = header(frame) else { return };
    frame[24..26].fill(0);
    let right = checksum(&[&frame[14..14 + len]]);
    frame[24..26].copy_from_slice(&right.to_be_bytes());
}

/// Whether it is.
pub(super) fn has_checksum(frame: &[u8]) -> bool {
    header(frame).is_some_and(|len| checksum(&[&frame[14..14 + len]]) == 0)
}
