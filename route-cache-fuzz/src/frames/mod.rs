//! Random frames: most of them such as are forwarded, the others almost.

mod v4;
mod v6;

use crate::{
    case::{PORTS, Sent},
    known::Net,
    random::Random,
    tables::Tables,
    topology::{host_mac, port_mac},
};

/// Frames to be sent one behind the other.
pub fn batch(random: &mut Random, tables: &Tables, count: usize) -> Vec<Sent> {
    // Flows: clones, and what stands in front of them, are made by a first packet and used by the next.
    let flows: Vec<Sent> = (0..count / 12 + 1).map(|_| one(random, tables, 5)).collect();
    (0..count)
        .map(|number| {
            if random.percent(35) {
                return one(random, tables, 65);
            }
            let mut sent = random.pick(&flows);
            renumber(&mut sent.frame, number as u16);
            // One that looks like those of a known flow but is not to be forwarded, or not as they are.
            if random.percent(8) {
                disturb(random, tables, &mut sent);
            }
            sent
        })
        .collect()
}

/// A frame that something is changed in, in so many of a hundred cases.
fn one(random: &mut Random, tables: &Tables, odd: usize) -> Sent {
    let port = random.below(PORTS);
    let odd = random.percent(odd);
    let mut frame = match random.below(100) {
        0 if odd => noise(random, port),
        1 if odd => arp(random, port),
        0..55 => v4::frame(random, tables, port, odd),
        _ => v6::frame(random, tables, port, odd),
    };
    if odd {
        match random.below(20) {
            0 => frame = tagged(random, &frame),
            1 => frame.truncate(14 + random.below(frame.len() - 13)),
            2 => frame.extend(vec![0xa5; random.below(60)]),
            3 => {
                for _ in 0..=random.below(3) {
                    let at = random.below(frame.len().min(100));
                    frame[at] = random.next() as u8;
                }
                if random.percent(70) {
                    v4::set_checksum(&mut frame);
                }
            }
            4 => {
                let to =
                    [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1], host_mac(port, 3)];
                let to = if random.percent(20) {
                    port_mac((port + 1) % PORTS)
                } else {
                    random.pick(&to)
                };
                frame[..6].copy_from_slice(&to);
            }
            _ => {}
        }
    }
    // A short frame is padded by whoever sends it.
    if frame.len() < 60 && random.percent(30) {
        frame.resize(60, 0);
    }
    Sent { port, frame }
}

fn ethernet(port: usize, ethertype: u16) -> Vec<u8> {
    [&port_mac(port)[..], &host_mac(port, 2), &ethertype.to_be_bytes()].concat()
}

fn noise(random: &mut Random, port: usize) -> Vec<u8> {
    let ethertype = random.pick(&[0x0800, 0x86dd, 0x88cc, 0x8847, 0x8863, 0x888e, 0x0027]);
    let len = random.below(200);
    [ethernet(port, ethertype), random.bytes(len)].concat()
}

/// From somebody who is no next hop, about whom it tells.
fn arp(random: &mut Random, port: usize) -> Vec<u8> {
    let host = 200 + random.below(50) as u8;
    let mut frame = ethernet(port, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, random.pick(&[1, 1, 2])]);
    frame.extend(host_mac(port, host));
    frame.extend([10, 0, port as u8, host, 0, 0, 0, 0, 0, 0]);
    frame.extend([10, 0, random.below(PORTS) as u8, random.pick(&[1, 2, 77])]);
    frame
}

fn tagged(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    let tpid = random.pick(&[[0x81, 0x00], [0x81, 0x00], [0x88, 0xa8]]);
    let tci = random.pick(&[[0, 0], [0, 5], [0xe0, 0], [0x0f, 0xff]]);
    [&frame[..12], &tpid, &tci, &frame[12..]].concat()
}

/// Gives a frame of a flow another source or number of hops, or sends it in by another port.
fn disturb(random: &mut Random, tables: &Tables, sent: &mut Sent) {
    match sent.frame.get(12..15) {
        Some([0x08, 0x00, 0x45]) if sent.frame.len() >= 34 => match random.below(8) {
            0 => sent.frame[22] = random.pick(&[0, 1, 2]),
            1 => enter_by(random.below(PORTS), sent),
            _ => {
                let from = v4::source(random, tables, sent.port);
                sent.frame[26..30].copy_from_slice(&from.to_be_bytes());
            }
        },
        Some([0x86, 0xdd, 0x60]) if sent.frame.len() >= 54 => match random.below(8) {
            0 => sent.frame[21] = random.pick(&[0, 1, 2]),
            1 => enter_by(random.below(PORTS), sent),
            _ => {
                let from = v6::source(random, tables, sent.port);
                sent.frame[22..38].copy_from_slice(&from.to_be_bytes());
            }
        },
        _ => return,
    }
    v4::set_checksum(&mut sent.frame);
}

/// Sends it in by a port.
fn enter_by(port: usize, sent: &mut Sent) {
    sent.port = port;
    sent.frame[..6].copy_from_slice(&port_mac(port));
    sent.frame[6..12].copy_from_slice(&host_mac(port, 2));
}

/// Gives a frame of a flow another number, to tell whether the order is kept.
fn renumber(frame: &mut [u8], number: u16) {
    if frame.len() < 34 {
        return;
    }
    if frame[12..15] == [0x86, 0xdd, 0x60] {
        // The flow label.
        frame[16..18].copy_from_slice(&number.to_be_bytes());
    }
    if frame[12..15] == [0x08, 0x00, 0x45] {
        let was_right = v4::has_checksum(frame);
        frame[18..20].copy_from_slice(&number.to_be_bytes());
        if was_right {
            v4::set_checksum(frame);
        }
    }
}

/// Where to: most often somewhere that the tables have a say about.
fn destination(random: &mut Random, tables: &Tables, v6: bool, odd: bool) -> u128 {
    let of_family = |(six, address): &(bool, u128)| (*six == v6).then_some(*address);
    let hosts: Vec<u128> = tables.hosts.iter().filter_map(of_family).collect();
    let nets = if odd || random.percent(10) { &tables.nets } else { &tables.reached };
    let nets: Vec<Net> = nets.iter().filter(|net| net.v6 == v6).copied().collect();
    match random.below(100) {
        0..12 if !hosts.is_empty() => random.pick(&hosts),
        0..80 if !nets.is_empty() => {
            let net = random.pick(&nets);
            match random.below(if odd { 12 } else { 40 }) {
                0 => net.base,
                1 => net.last(),
                2 => net.base.wrapping_sub(1),
                3 => net.last().wrapping_add(1),
                _ => net.base | random.wide() & (net.last() - net.base) & u128::from(u64::MAX),
            }
        }
        _ => on_link(random, v6),
    }
}

/// A host behind one of the ports.
fn on_link(random: &mut Random, v6: bool) -> u128 {
    let port = random.below(PORTS) as u128;
    let host = random.pick(&[2_u128, 2, 3, 3, 4, 5, 6, 7, 8, 9, 20, 20, 21, 21]);
    if v6 { (0xfd00_u128 << 112) | port << 64 | host } else { 0x0a00_0000 | port << 8 | host }
}

/// How many bytes the datagram is to have: around an MTU, or any.
fn size(random: &mut Random, tables: &Tables, least: usize) -> usize {
    let size = match random.below(10) {
        0 | 1 => random.pick(&tables.mtus) + random.below(5) - 2,
        2 => 1000 + random.below(520),
        _ => least + random.below(200),
    };
    size.clamp(least, 1600)
}

/// A checksum field that is right, half done, absent or wrong; given the sum of the pseudo header and the bytes.
fn transport_checksum(random: &mut Random, odd: bool, pseudo: &[u8], bytes: &[u8]) -> u16 {
    use route_cache_lab::frame::checksum::{checksum, sum};
    match random.below(8) {
        0 if odd => sum(&[pseudo]),
        1 if odd => 0,
        2 if odd => random.next() as u16,
        3 if odd => !sum(&[pseudo]),
        _ => checksum(&[pseudo, bytes]),
    }
}

/// TCP, UDP or ICMP header with what follows; `len` bytes in all. The checksum is filled in by the caller, at the offset.
fn transport(random: &mut Random, protocol: u8, odd: bool, len: usize) -> (Vec<u8>, Option<usize>) {
    let ports = [
        1024 + random.next() as u16 % 60000,
        match random.below(40) {
            0 => random.pick(&[4789, 8472, 6081, 6080, 5555]),
            _ => random.pick(&[53, 80, 443, 9]),
        },
    ];
    let mut bytes = ports.map(u16::to_be_bytes).concat();
    let checksum = match protocol {
        6 => {
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50]);
            bytes.extend([
                random.pick(&[0x02, 0x10, 0x18, 0x11, 0x04, 0xff]),
                0xff,
                0xff,
                0,
                0,
                0,
                0,
            ]);
            Some(16)
        }
        17 => {
            let stated = if odd && random.percent(10) { random.next() as u16 } else { len as u16 };
            bytes.extend(stated.to_be_bytes());
            bytes.extend([0, 0]);
            Some(6)
        }
        1 | 58 => {
            let kind = match (protocol, random.percent(70)) {
                (1, true) => 8,
                (1, false) => random.pick(&[0, 3, 4, 5, 11, 12, 13, 17]),
                (_, true) => 128,
                (_, false) => random.pick(&[1, 2, 3, 4, 129, 133, 135, 136, 137]),
            };
            bytes = vec![kind, random.pick(&[0, 0, 1, 4]), 0, 0];
            bytes.extend(random.bytes(4));
            Some(2)
        }
        _ => None,
    };
    let fill = random.next() as u8;
    bytes.resize(len.max(bytes.len()), fill);
    if odd && random.percent(5) {
        bytes.truncate(len.min(random.below(20)));
    }
    (bytes, checksum)
}
