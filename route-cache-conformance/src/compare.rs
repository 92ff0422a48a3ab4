//! What was captured, made comparable, and compared.

use std::collections::BTreeMap;

use crate::case::{Allowance, Case, Station};

/// Frames by the host that they came to, sorted: between a frame that XDP forwards and one that the kernel answers no
/// order is promised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture(BTreeMap<Station, Vec<Vec<u8>>>);

const ETHERNET: usize = 14;

impl Capture {
    /// Takes a frame in, normalised.
    pub fn add(&mut self, station: Station, frame: Vec<u8>) {
        let frames = self.0.entry(station).or_default();
        frames.push(normalised(frame));
        frames.sort();
    }

    /// How many frames came to a host, or to any.
    pub fn count(&self, station: Option<Station>) -> usize {
        let of = |one: Station| self.0.get(&one).map_or(0, Vec::len);
        station.map_or_else(|| Station::ALL.into_iter().map(of).sum(), of)
    }

    /// What is wrong with it as what the kernel alone makes of a case.
    pub fn against_kernel(&self, case: &Case) -> Vec<String> {
        let anywhere = case.kernel.iter().any(|arrival| arrival.at.is_none());
        let places: Vec<Option<Station>> =
            if anywhere { vec![None] } else { Station::ALL.map(Some).to_vec() };
        let mut wrong = Vec::new();
        for place in places {
            let expected: usize =
                case.kernel.iter().filter(|a| a.at == place).map(|a| a.frames).sum();
            let name = place.map_or("any host", Station::name);
            let came = self.count(place);
            if came != expected {
                wrong.push(format!("kernel alone: {came} frames at {name}, not {expected}"));
            }
        }
        for arrival in case.kernel {
            let Some(expected) = arrival.icmp else { continue };
            let frames = arrival.at.and_then(|station| self.0.get(&station));
            if !frames.into_iter().flatten().any(|frame| icmp(frame) == Some(expected)) {
                wrong.push(format!("kernel alone: no ICMP message of type and code {expected:?}"));
            }
        }
        wrong
    }

    /// Where another capture differs; nothing if it does not, or only as is allowed.
    pub fn differences(&self, other: &Self, allowed: Option<Allowance>) -> Vec<String> {
        match allowed {
            None => self.plain_differences(other),
            Some(Allowance::Member) => {
                self.without_member().plain_differences(&other.without_member())
            }
        }
    }

    fn plain_differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for station in Station::ALL {
            let none = Vec::new();
            let of = |capture: &Self| capture.0.get(&station).unwrap_or(&none).clone();
            let (kernel, cache) = (of(self), of(other));
            let name = station.name();
            if kernel.len() != cache.len() {
                differences.push(format!(
                    "{name}: {} frames without the cache, {} with it",
                    kernel.len(),
                    cache.len()
                ));
            }
            for (kernel, cache) in kernel.iter().zip(&cache) {
                differences.extend(difference(kernel, cache).map(|text| format!("{name}: {text}")));
            }
        }
        differences
    }

    /// All frames as if they had come to one host, without link-layer addresses.
    fn without_member(&self) -> Self {
        let mut merged = Self::default();
        for mut frame in self.0.values().flatten().cloned() {
            frame.iter_mut().take(12).for_each(|byte| *byte = 0);
            merged.add(Station::Server, frame);
        }
        merged
    }
}

/// The first byte in which two frames differ, or their lengths.
fn difference(kernel: &[u8], cache: &[u8]) -> Option<String> {
    if kernel == cache {
        return None;
    }
    let same = kernel.iter().zip(cache).take_while(|(a, b)| a == b).count();
    let byte = |frame: &[u8]| frame.get(same).map_or("none".to_owned(), |b| format!("{b:02x}"));
    Some(format!(
        "{} and {} bytes, byte {same} is {} without the cache and {} with it",
        kernel.len(),
        cache.len(),
        byte(kernel),
        byte(cache)
    ))
}

/// The one place where what may legitimately vary is taken out.
///
/// The kernel numbers the IPv4 packets that it makes itself (`ip_select_ident`): identification and header checksum of what
/// has one of the router's addresses as source, 10.0.N.1, and of echo replies, which no case sends, differ each time.
/// Everything else is compared as it is.
fn normalised(mut frame: Vec<u8>) -> Vec<u8> {
    let from_router = ethertype(&frame) == Some(0x0800)
        && (matches!(frame.get(26..30), Some([10, 0, _, 1])) || icmp(&frame) == Some((0, 0)));
    if from_router {
        for byte in [18, 19, 24, 25] {
            frame[byte] = 0;
        }
    }
    frame
}

/// Whether a frame is part of what a case makes happen. ARP and neighbour discovery, which go their own ways in time, are
/// not, nor is what interfaces and groups announce by themselves (MLD, IGMP, router and neighbour solicitations), nor are the
/// agent's own probe frames (docs/operating.md).
pub fn counts(frame: &[u8]) -> bool {
    match ethertype(frame) {
        Some(0x0806) | None => false,
        Some(0x88b5) => !frame.starts_with(&[0x01, 0x80, 0xc2, 0, 0, 0x0e]),
        Some(0x0800) => frame.get(23) != Some(&2),
        Some(0x86dd) => !matches!(icmp6(frame), Some((130..=136 | 143, _))) && !is_mld(frame),
        Some(0x8100) => counts(&[&frame[..12], frame.get(16..).unwrap_or_default()].concat()),
        Some(_) => true,
    }
}

/// MLD has a hop-by-hop header in front, which says "router alert" (RFC 3810), and is sent by the router itself.
fn is_mld(frame: &[u8]) -> bool {
    frame.get(20) == Some(&0) && frame.get(54) == Some(&58) && frame.first() == Some(&0x33)
}

fn ethertype(frame: &[u8]) -> Option<u16> {
    frame.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn icmp(frame: &[u8]) -> Option<(u8, u8)> {
    icmp6(frame).or_else(|| {
        let is_icmp = ethertype(frame) == Some(0x0800) && frame.get(23) == Some(&1);
        let at = ETHERNET + usize::from(frame.get(ETHERNET)? & 0x0f) * 4;
        is_icmp.then_some((*frame.get(at)?, *frame.get(at + 1)?))
    })
}

fn icmp6(frame: &[u8]) -> Option<(u8, u8)> {
    let is_icmp = ethertype(frame) == Some(0x86dd) && frame.get(20) == Some(&58);
    is_icmp.then_some((*frame.get(54)?, *frame.get(55)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        case::{V4, answer, at},
        cases::net::{sent, udp},
    };

    fn capture(station: Station, frames: &[Vec<u8>]) -> Capture {
        let mut capture = Capture::default();
        frames.iter().for_each(|frame| capture.add(station, frame.clone()));
        capture
    }

    #[test]
    fn every_byte_of_a_frame_counts() {
        let frame = sent(udp()).remove(0);
        let kernel = capture(Station::Server, std::slice::from_ref(&frame));
        assert_eq!(kernel.differences(&kernel, None), [""; 0]);
        for byte in 0..frame.len() {
            let mut altered = frame.clone();
            altered[byte] ^= 1;
            let cache = capture(Station::Server, &[altered]);
            assert_eq!(kernel.differences(&cache, None).len(), 1, "byte {byte}");
        }
    }

    #[test]
    fn a_frame_that_is_missing_doubled_cut_or_elsewhere_is_a_difference() {
        let frame = sent(udp()).remove(0);
        let kernel = capture(Station::Server, std::slice::from_ref(&frame));
        let cut = frame[..frame.len() - 1].to_vec();
        for cache in [
            Capture::default(),
            capture(Station::Server, &[frame.clone(), frame.clone()]),
            capture(Station::Server, &[cut]),
            capture(Station::Client, std::slice::from_ref(&frame)),
        ] {
            assert!(!kernel.differences(&cache, None).is_empty(), "{cache:?}");
        }
    }

    #[test]
    fn only_the_routers_own_packets_are_numbered_anew() {
        let own = sent(udp()).remove(0);
        let mut of_router = own.clone();
        of_router[26..30].copy_from_slice(&[10, 0, 1, 1]);
        for (frame, differences) in [(own, 1), (of_router, 0)] {
            let mut numbered = frame.clone();
            numbered[19] ^= 1;
            let kernel = capture(Station::Client, &[frame]);
            let cache = capture(Station::Client, &[numbered]);
            assert_eq!(kernel.differences(&cache, None).len(), differences);
        }
    }

    #[test]
    fn another_member_is_allowed_and_another_payload_is_not() {
        let frame = sent(udp()).remove(0);
        let mut member = frame.clone();
        member[..6].copy_from_slice(&[2, 0, 0, 0, 3, 2]);
        let kernel = capture(Station::Server, &[frame]);
        let other = capture(Station::Other, std::slice::from_ref(&member));
        assert!(kernel.differences(&other, Some(Allowance::Member)).is_empty());
        assert!(!kernel.differences(&other, None).is_empty());
        *member.last_mut().unwrap() ^= 1;
        let other = capture(Station::Other, &[member]);
        assert!(!kernel.differences(&other, Some(Allowance::Member)).is_empty());
    }

    #[test]
    fn what_the_kernel_is_expected_to_do_is_checked() {
        let frame = sent(udp()).remove(0);
        let arrives = Case { kernel: const { &[at(Station::Server, 1)] }, ..V4 };
        let answered = Case { kernel: const { &[answer(11, 0)] }, ..V4 };
        let came = capture(Station::Server, std::slice::from_ref(&frame));
        assert!(came.against_kernel(&arrives).is_empty());
        assert!(!Capture::default().against_kernel(&arrives).is_empty());
        assert!(!came.against_kernel(&V4).is_empty());
        assert!(!capture(Station::Client, &[frame]).against_kernel(&answered).is_empty());
    }

    #[test]
    fn arp_and_neighbour_discovery_do_not_count() {
        let frame = |ethertype: u16| {
            let mut frame = sent(udp()).remove(0);
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            frame
        };
        assert!(!counts(&frame(0x0806)));
        let tagged = |frame: Vec<u8>| [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat();
        assert!(!counts(&tagged(frame(0x0806))) && counts(&tagged(frame(0x0800))));
        assert!(counts(&frame(0x0800)) && counts(&frame(0x88cc)) && counts(&frame(0x86dd)));
    }
}
