//! What is to become of a frame, by the RFCs and the kernel's rules (docs/conformance.md), over plain bytes.

use route_cache_common::Outcome;

const ETHERNET: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAG: [u8; 2] = [0x81, 0x00];

/// A frame that is forwarded if its route says so.
#[derive(Debug, PartialEq, Eq)]
pub struct Forwardable {
    /// Bytes of the VLAN tag.
    pub tag_len: usize,
    /// The VLAN id in it.
    pub vlan: u32,
    /// Bytes of the network-layer header.
    pub header_len: usize,
    /// Bytes behind the datagram.
    pub padding: usize,
}

/// Makes it a frame to this address.
pub fn address(frame: &mut [u8], mac: [u8; 6]) {
    if let Some(destination) = frame.get_mut(..6) {
        destination.copy_from_slice(&mac);
    }
}

/// Makes the checksum of the IPv4 header right, if there is one.
pub fn make_intact(frame: &mut [u8]) {
    let at = if frame.get(12..14) == Some(&TAG) { ETHERNET + 4 } else { ETHERNET };
    if frame.get(at - 2..at) == Some(&IPV4.to_be_bytes())
        && let Some(header) = frame.get_mut(at..at + 20)
    {
        header[10..12].fill(0);
        let checksum = !sum(&[header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// What the frame is to an interface of this address, the routes aside.
pub fn judge(frame: &[u8], mac: [u8; 6]) -> Result<Forwardable, Outcome> {
    let tag_len = if frame.len() >= ETHERNET && frame[12..14] == TAG { 4 } else { 0 };
    let network = frame.get(ETHERNET + tag_len..).ok_or(Outcome::PassMalformed)?;
    let vlan = if tag_len == 0 { 0 } else { u32::from(word(frame, 14)) & 0x0fff };
    let (header_len, len) = match word(frame, 12 + tag_len) {
        IPV4 => (20, ipv4_len(network)?),
        IPV6 => (40, ipv6_len(network)?),
        _ => return Err(Outcome::PassEthertype),
    };
    if len < header_len || len > network.len() {
        return Err(Outcome::PassMalformed);
    }
    if frame[0] & 1 != 0 {
        return Err(Outcome::PassLinkMulticast);
    }
    if frame[..6] != mac {
        return Err(Outcome::PassOtherHost);
    }
    let (header, transport) = network.split_at(header_len);
    if header_len == 20 {
        ipv4(header, transport)?
    } else {
        ipv6(header, transport)?
    }
    Ok(Forwardable { tag_len, vlan, header_len, padding: network.len() - len })
}

fn ipv4_len(network: &[u8]) -> Result<usize, Outcome> {
    match network {
        [0x46..=0x4f, ..] if network.len() >= 20 => Err(Outcome::PassOptions),
        [0x45, ..] if network.len() >= 20 => Ok(usize::from(word(network, 2))),
        _ => Err(Outcome::PassMalformed),
    }
}

fn ipv6_len(network: &[u8]) -> Result<usize, Outcome> {
    match network {
        [0x60..=0x6f, ..] if network.len() >= 40 => match network[6] {
            0 => Err(Outcome::PassOptions),
            _ => Ok(40 + usize::from(word(network, 4))),
        },
        _ => Err(Outcome::PassMalformed),
    }
}

fn ipv4(header: &[u8], transport: &[u8]) -> Result<(), Outcome> {
    if sum(&[header]) != 0xffff {
        return Err(Outcome::PassChecksum);
    }
    match header[16..20] {
        [0 | 127, ..] => return Err(Outcome::PassMartianDestination),
        [224..=239, ..] => return Err(Outcome::PassMulticast),
        [255, 255, 255, 255] => return Err(Outcome::PassBroadcast),
        _ => {}
    }
    if header[8] < 2 {
        return Err(Outcome::PassTtl);
    }
    if matches!(header[12..16], [0 | 127 | 224..=239, ..] | [255, 255, 255, 255]) {
        return Err(Outcome::PassMartianSource);
    }
    let (protocol, is_fragment) = (header[9], word(header, 6) & 0x3fff != 0);
    if protocol == 1 || is_fragment && matches!(protocol, 6 | 17) {
        return Ok(());
    }
    let payload = word(header, 2) - 20;
    complete(protocol, transport, sum(&[&header[12..20], &[0, protocol], &payload.to_be_bytes()]))
}

fn ipv6(header: &[u8], transport: &[u8]) -> Result<(), Outcome> {
    match scope(&header[24..40]) {
        Scope::Global => {}
        Scope::Multicast => return Err(Outcome::PassMulticast),
        Scope::Narrow => return Err(Outcome::PassMartianDestination),
    }
    if header[7] < 2 {
        return Err(Outcome::PassTtl);
    }
    if !matches!(scope(&header[8..24]), Scope::Global) {
        return Err(Outcome::PassMartianSource);
    }
    let next_header = header[6];
    if matches!(next_header, 44 | 58) {
        return Ok(());
    }
    let pseudo_header = sum(&[&header[8..40], &[0, next_header], &header[4..6]]);
    complete(next_header, transport, pseudo_header)
}

enum Scope {
    Global,
    Multicast,
    Narrow,
}

fn scope(address: &[u8]) -> Scope {
    match address {
        [0xff, ..] => Scope::Multicast,
        [0xfe, second, ..] if second >> 6 == 0b10 => Scope::Narrow,
        _ if address[..8] == [0; 8] => Scope::Narrow,
        _ => Scope::Global,
    }
}

/// Row 39a: neither a checksum that is left to a device, nor anything of which that cannot be told.
fn complete(protocol: u8, transport: &[u8], pseudo_header: u16) -> Result<(), Outcome> {
    let field = match protocol {
        6 => transport.get(16..18),
        17 => match transport.get(2..4).map(|port| word(port, 0)) {
            None | Some(4789 | 5555 | 6080 | 6081 | 8472) => None,
            Some(_) => transport.get(6..8),
        },
        _ => None,
    };
    match field {
        Some(field) if word(field, 0) != pseudo_header => Ok(()),
        _ => Err(Outcome::PassPartialChecksum),
    }
}

/// The frame as it leaves: cut to the datagram, with these addresses and this tag, one hop less, its checksum computed
/// anew.
pub fn forwarded(frame: &[u8], it: &Forwardable, to: [u8; 6], from: [u8; 6], vlan: u16) -> Vec<u8> {
    let mut out = [to, from].concat();
    if vlan != 0 {
        out.extend(TAG);
        out.extend(vlan.to_be_bytes());
    }
    out.extend(&frame[12 + it.tag_len..frame.len() - it.padding]);
    let at = if vlan == 0 { ETHERNET } else { ETHERNET + 4 };
    let hops = at + if it.header_len == 20 { 8 } else { 7 };
    out[hops] -= 1;
    make_intact(&mut out);
    out
}

/// The Internet checksum's sum, not complemented (RFC 1071), of parts of even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    words.fold(0, |sum: u16, pair| {
        let (sum, carry) = sum.overflowing_add(word(pair, 0));
        sum + u16::from(carry)
    })
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
