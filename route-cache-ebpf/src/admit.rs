//! Step: may this packet be forwarded at all, whatever the route (forwarding.md rows 1, 2, 4, 7 to 9, 12, 13, 15,
//! 39a). Each check is a function of what it looks at.

use route_cache_common::{Address4, Config, Outcome, Port};

use crate::{
    clones::Way,
    headers::{Ethernet, Ipv4, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP},
    maps,
    packet::Packet,
    parse::Datagram,
};

/// The ingress interface must be one whose IPv4 packets may be forwarded.
#[inline(always)]
pub fn port(port: Option<Port>) -> Result<Port, Outcome> {
    match port {
        Some(port) if port.flags & Port::ACCELERATE4 != 0 => Ok(port),
        _ => Err(Outcome::PassInterface),
    }
}

/// Rows 1 and 2: the frame must be addressed to the ingress interface itself.
#[inline(always)]
pub fn link(ethernet: &Ethernet, port: Port) -> Result<(), Outcome> {
    if ethernet.is_group() {
        return Err(Outcome::PassLinkMulticast);
    }
    let [a, b, c, d, e, f] = port.mac;
    let ours = [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])];
    if ethernet.destination() != ours {
        return Err(Outcome::PassOtherHost);
    }
    Ok(())
}

/// Rows 4, 7, 13 and 15: checksum, TTL, and destinations that are never forwarded.
#[inline(always)]
pub fn datagram(datagram: &Datagram<'_>) -> Result<(), Outcome> {
    let ip = datagram.ip;
    if !ip.checksum_is_right() {
        return Err(Outcome::PassChecksum);
    }
    match ip.destination() {
        [0 | 127, ..] => return Err(Outcome::PassMartianDestination),
        [224..=239, ..] => return Err(Outcome::PassMulticast),
        [255, 255, 255, 255] => return Err(Outcome::PassBroadcast),
        _ => {}
    }
    if ip.ttl() <= 1 {
        return Err(Outcome::PassTtl);
    }
    Ok(())
}

/// Row 12: sources that the kernel drops as martian (`ip_route_input_slow` and `fib_validate_source`, net/ipv4).
#[inline(always)]
pub fn source(source: Address4, config: &Config) -> Result<(), Outcome> {
    match source {
        [0 | 127 | 224..=239, ..] | [255, 255, 255, 255] => return Err(Outcome::PassMartianSource),
        _ => {}
    }
    let (word, bit) = Config::local_filter_bit(source);
    if config.local_filter[word] >> bit & 1 != 0 && maps::is_local_address(source) {
        return Err(Outcome::PassMartianSource);
    }
    if config.flags & Config::CHECK_SOURCE != 0 && !maps::is_unicast_source(source) {
        return Err(Outcome::PassMartianSource);
    }
    Ok(())
}

/// Row 39a: no frame whose transport checksum somebody has yet to complete.
///
/// A local sender behind a veth leaves the folded pseudo-header sum in the checksum field and has the device complete
/// it; a redirect loses the note that says so. A complete checksum has that value by chance once in 65,536: such a
/// packet passes, which is slower and right. What cannot be told passes too: tunnels may carry a partial checksum
/// inside, and protocols other than TCP, UDP and ICMP may have one of a kind that is not known here. Fragments have
/// complete checksums, because the sender completes them before it cuts (`ip_fragment`).
#[inline(always)]
pub fn complete_checksum(packet: &Packet<'_>, datagram: &Datagram<'_>) -> Result<(), Outcome> {
    const TRANSPORT: usize = Ethernet::LEN + Ipv4::LEN;
    let ip = datagram.ip;
    let offset = match ip.protocol() {
        PROTOCOL_ICMP => return Ok(()),
        PROTOCOL_TCP | PROTOCOL_UDP if ip.is_fragment() => return Ok(()),
        PROTOCOL_TCP => TRANSPORT + 16,
        PROTOCOL_UDP => {
            match packet.get::<u16>(TRANSPORT + 2) {
                Some(port) if !carries_a_tunnel(u16::from_be(*port)) => {}
                _ => return Err(Outcome::PassPartialChecksum),
            }
            TRANSPORT + 6
        }
        _ => return Err(Outcome::PassPartialChecksum),
    };
    match packet.get::<u16>(offset) {
        Some(checksum) if *checksum != ip.pseudo_header_sum() => Ok(()),
        _ => Err(Outcome::PassPartialChecksum),
    }
}

/// Ports of UDP tunnels whose sender may leave the checksum *inside* to a device: VXLAN (IANA 4789, Linux 8472),
/// Geneve 6081, GUE 6080, FOU by convention 5555.
#[inline(always)]
fn carries_a_tunnel(port: u16) -> bool {
    matches!(port, 4789 | 8472 | 6081 | 6080 | 5555)
}

/// Rows 8 to 10 and 42: no packet larger than the MTU of the route or of the interface, and none back to where it came
/// from, which the kernel may answer with an ICMP redirect.
#[inline(always)]
pub fn way(datagram: &Datagram<'_>, way: &Way, ingress: u32) -> Result<(), Outcome> {
    if way.next_hop.ifindex == ingress {
        return Err(Outcome::PassSameInterface);
    }
    let len = u32::from(datagram.ip.total_len());
    let route_mtu = way.route_mtu();
    if len > way.next_hop.mtu || (route_mtu != 0 && len > u32::from(route_mtu)) {
        return Err(Outcome::PassMtu);
    }
    Ok(())
}
