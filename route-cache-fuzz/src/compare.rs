//! What came out of the ports of both routers, made comparable, and compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    case::{PORTS, hex},
    known::Known,
};

/// What came out of each port, in order.
pub type Output = [Vec<Vec<u8>>; PORTS];

/// Compares, and remembers of which answers the kernel has given so many that its limits may apply.
#[derive(Debug, Default)]
pub struct Comparer {
    limited: BTreeMap<(Limit, Vec<u8>), u32>,
}

/// Limits that cannot be turned off in a namespace. They depend on time, so that two routers may reach them at different
/// packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    /// `ip_error`: unreachable answers to one source; a burst of five, then one a second.
    Unreachable,
    /// `ip_rt_send_redirect`: redirects to one source, further and further apart.
    Redirect,
    /// `ip6_forward`: redirects about one destination; a burst of six, then one a second.
    Redirect6,
}

impl Limit {
    const fn burst(self) -> u32 {
        match self {
            Self::Unreachable => 4,
            Self::Redirect => 1,
            Self::Redirect6 => 4,
        }
    }
}

impl Comparer {
    /// Where the output of the router with the cache differs from the kernel's; nothing if it does not.
    pub fn differences(&mut self, cache: &Output, kernel: &Output, known: &Known) -> Vec<String> {
        let beyond = self.count(kernel);
        let taken = |output: &Output| comparable(output, known, &beyond);
        let (cache, kernel) = (taken(cache), taken(kernel));
        let mut wrong = Vec::new();
        for place in 0..=PORTS {
            let name = if place == PORTS { "by a member".to_owned() } else { format!("p{place}") };
            let (cache, kernel) = (&cache[place], &kernel[place]);
            let lost = without(kernel, cache);
            let gained = without(cache, kernel);
            let of = |side, frame: &Vec<u8>| format!("{name} {side}: {}", hex(frame));
            wrong.extend(lost.iter().map(|frame| of("kernel only", frame)));
            wrong.extend(gained.iter().map(|frame| of("cache only", frame)));
            // A group may have put a flow's frames on other ports.
            if lost.is_empty() && gained.is_empty() && place != PORTS {
                let (cache, kernel) = (flows(cache), flows(kernel));
                let moved = kernel.iter().filter(|(flow, frames)| cache.get(*flow) != Some(frames));
                wrong.extend(moved.map(|(flow, frames)| {
                    let ids = |frames: &[&Vec<u8>]| {
                        let id = |frame: &&Vec<u8>| frame.get(18..20).map(hex).unwrap_or_default();
                        frames.iter().map(id).collect::<Vec<_>>().join(" ")
                    };
                    let other = cache.get(flow).map(|frames| ids(frames)).unwrap_or_default();
                    format!("{name} order of {}: kernel {}, cache {other}", hex(flow), ids(frames))
                }));
            }
        }
        wrong
    }

    /// Counts what is limited, and says what is beyond by now.
    fn count(&mut self, kernel: &Output) -> BTreeSet<(Limit, Vec<u8>)> {
        for key in kernel.iter().flatten().filter_map(|frame| limited(frame)) {
            *self.limited.entry(key).or_default() += 1;
        }
        let over = self.limited.iter().filter(|((limit, _), count)| **count > limit.burst());
        over.map(|(key, _)| key.clone()).collect()
    }
}

/// Frames by port, those left by a member of a group in a place of their own.
fn comparable(
    output: &Output,
    known: &Known,
    beyond: &BTreeSet<(Limit, Vec<u8>)>,
) -> [Vec<Vec<u8>>; PORTS + 1] {
    let mut places: [Vec<Vec<u8>>; PORTS + 1] = Default::default();
    for (port, frames) in output.iter().enumerate() {
        for frame in frames.iter().filter(|frame| counts(frame)) {
            if limited(frame).is_some_and(|key| beyond.contains(&key)) {
                continue;
            }
            if reported(frame).is_some_and(|((v6, destination), is_redirect)| {
                known.is_uneven(v6, destination) || is_redirect && known.is_group(v6, destination)
            }) {
                continue;
            }
            let mut frame = normalised(frame.clone(), known);
            let to = destination(&frame);
            let by_member = to.is_some_and(|(v6, destination)| {
                known.has_member(v6, destination, port, &frame[..6])
            });
            if by_member && to.is_some_and(|(v6, destination)| known.is_uneven(v6, destination)) {
                continue;
            }
            if by_member {
                frame[..12].fill(0);
            }
            places[if by_member { PORTS } else { port }].push(frame);
        }
    }
    places
}

/// What is in `all` and not in `others`, each as often.
fn without<'a>(all: &'a [Vec<u8>], others: &[Vec<u8>]) -> Vec<&'a Vec<u8>> {
    let mut left: BTreeMap<&Vec<u8>, usize> = BTreeMap::new();
    others.iter().for_each(|frame| *left.entry(frame).or_default() += 1);
    let is_extra = |frame: &&Vec<u8>| match left.get_mut(*frame) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    all.iter().filter(is_extra).collect()
}

/// Frames by flow: addresses, protocol and what are ports in TCP and UDP.
fn flows(frames: &[Vec<u8>]) -> BTreeMap<Vec<u8>, Vec<&Vec<u8>>> {
    let mut flows: BTreeMap<Vec<u8>, Vec<&Vec<u8>>> = BTreeMap::new();
    for frame in frames {
        let flow = match ethertype(frame) {
            Some(0x0800) if frame.len() >= 38 => [&frame[23..24], &frame[26..38]].concat(),
            Some(0x86dd) if frame.len() >= 58 => [&frame[20..21], &frame[22..58]].concat(),
            _ => continue,
        };
        flows.entry(flow).or_default().push(frame);
    }
    flows
}

/// The one place where what may legitimately vary is taken out.
///
/// - *Numbers*: the kernel numbers the IPv4 packets and the IPv6 fragments that it makes itself (`ip_select_ident`,
///   `ipv6_select_ident`); identification and header checksum of what has an address of the router as source, or is an
///   echo reply.
/// - *Times*: what the kernel fills in for the IPv4 timestamp option and for ICMP timestamp requests.
fn normalised(mut frame: Vec<u8>, known: &Known) -> Vec<u8> {
    if ethertype(&frame) == Some(0x86dd) && frame.len() >= 62 {
        // In a fragment header.
        if frame[20] == 44 && known.is_own6(&frame[22..38]) {
            frame[58..62].fill(0);
        }
        return frame;
    }
    if ethertype(&frame) != Some(0x0800) || frame.len() < 34 {
        return frame;
    }
    let made_here = known.is_own4(&frame[26..30]) || matches!(icmp(&frame), Some((0 | 14, _)));
    if made_here {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    let header = 14 + usize::from(frame[14] & 15) * 4;
    if header > 34 && frame.len() >= header && frame[34..header].contains(&68) {
        frame[24..26].fill(0);
        frame[34..header].fill(0);
    }
    if icmp(&frame).is_some_and(|(kind, _)| kind == 14) && frame.len() >= header + 20 {
        frame[header + 2..header + 4].fill(0);
        frame[header + 12..header + 20].fill(0);
    }
    frame
}

/// Whether a frame is part of what was made happen. Not what interfaces say by themselves: ARP requests, and IGMP, MLD and
/// neighbour discovery of the router itself.
fn counts(frame: &[u8]) -> bool {
    match ethertype(frame) {
        Some(0x0806) => frame.get(20..22) != Some(&[0, 1]),
        Some(0x0800) => frame.get(23) != Some(&2) || !frame.get(26..30).is_some_and(is_own4),
        Some(0x86dd) => {
            let from_here = frame.get(22..38).is_some_and(is_own6);
            let says = |at: usize| matches!(frame.get(at), Some(130..=137 | 143));
            let discovery = match frame.get(20) {
                Some(58) => says(54),
                Some(0) => frame.get(54) == Some(&58) && says(62),
                _ => false,
            };
            !(from_here && discovery && !is_redirect6(frame))
        }
        _ => true,
    }
}

fn is_redirect6(frame: &[u8]) -> bool {
    frame.get(20) == Some(&58) && frame.get(54) == Some(&137)
}

/// What of a frame is limited by the kernel, and for whom.
fn limited(frame: &[u8]) -> Option<(Limit, Vec<u8>)> {
    if ethertype(frame) == Some(0x86dd) && is_redirect6(frame) && frame.len() >= 94 {
        return Some((Limit::Redirect6, frame[78..94].to_vec()));
    }
    let (kind, code) = icmp(frame)?;
    if !is_own4(frame.get(26..30)?) {
        return None;
    }
    let receiver = frame.get(30..34)?.to_vec();
    match (kind, code) {
        (3, 0 | 1 | 13) => Some((Limit::Unreachable, receiver)),
        (5, _) => Some((Limit::Redirect, receiver)),
        _ => None,
    }
}

/// An address that the router may have as its own: those of the ports, and those that cases add.
pub(crate) fn is_own4(address: &[u8]) -> bool {
    matches!(address, [10, 0, 0..=3, 1] | [10, 99, _, _])
}

/// The same of IPv6.
pub(crate) fn is_own6(address: &[u8]) -> bool {
    address.starts_with(&[0xfe, 0x80])
        || address.starts_with(&[0xfd, 0, 0, 0, 0, 0, 0])
        || address == [0; 16]
}

fn destination(frame: &[u8]) -> Option<(bool, u128)> {
    match ethertype(frame)? {
        0x0800 => {
            let bytes: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
            Some((false, u128::from(u32::from_be_bytes(bytes))))
        }
        0x86dd => {
            let bytes: [u8; 16] = frame.get(38..54)?.try_into().ok()?;
            Some((true, u128::from_be_bytes(bytes)))
        }
        _ => None,
    }
}

/// Where the packet was to go that an ICMP error is about, and whether the error is a redirect.
fn reported(frame: &[u8]) -> Option<((bool, u128), bool)> {
    let number =
        |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
    match ethertype(frame)? {
        0x0800 => {
            let (kind, _) = icmp(frame).filter(|(kind, _)| matches!(kind, 3 | 4 | 5 | 11 | 12))?;
            let quoted = 14 + usize::from(frame[14] & 15) * 4 + 8;
            Some(((false, number(frame.get(quoted + 16..quoted + 20)?)), kind == 5))
        }
        0x86dd if frame.get(20) == Some(&58) => match frame.get(54)? {
            1..=4 => Some(((true, number(frame.get(86..102)?)), false)),
            137 => Some(((true, number(frame.get(78..94)?)), true)),
            _ => None,
        },
        _ => None,
    }
}

fn ethertype(frame: &[u8]) -> Option<u16> {
    frame.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn icmp(frame: &[u8]) -> Option<(u8, u8)> {
    let at = 14 + usize::from(frame.get(14)? & 15) * 4;
    let is_it = ethertype(frame) == Some(0x0800) && frame.get(23) == Some(&1);
    is_it.then_some((*frame.get(at)?, *frame.get(at + 1)?))
}
