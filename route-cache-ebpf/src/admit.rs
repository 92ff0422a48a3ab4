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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        packet::testing::{Bytes, datagram as udp},
        parse,
    };
    use route_cache_common::{NextHopId, Route, next_hop::NextHopVersion};

    const PORT: Port = Port { mac: [2, 0, 0, 0, 0, 1], flags: Port::ACCELERATE4 };

    /// Judges the frame by one of the steps.
    fn judge(
        mut bytes: Bytes,
        step: impl Fn(&Packet<'_>, &Datagram<'_>) -> Result<(), Outcome>,
    ) -> Result<(), Outcome> {
        let packet = bytes.packet();
        let datagram = parse::ipv4(&packet)?;
        step(&packet, &datagram)
    }

    /// With bytes of the header changed and its checksum right again.
    fn with(changes: &[(usize, u8)]) -> Bytes {
        let mut frame = udp();
        for (offset, value) in changes {
            frame = frame.byte(*offset, *value);
        }
        let sum = |bytes: &[u8]| {
            let words = bytes[14..34].chunks(2);
            words.fold(0u32, |sum, w| {
                let sum = sum + u32::from(u16::from_be_bytes([w[0], w[1]]));
                (sum & 0xffff) + (sum >> 16)
            })
        };
        let frame = frame.byte(24, 0).byte(25, 0);
        let [high, low] = (!(sum(&frame.bytes()) as u16)).to_be_bytes();
        frame.byte(24, high).byte(25, low)
    }

    #[test]
    fn an_interface_without_the_flag_stands_aside() {
        assert_eq!(port(None), Err(Outcome::PassInterface));
        let off = Port { flags: Port::PARTIAL_CHECKSUMS, ..PORT };
        assert_eq!(port(Some(off)), Err(Outcome::PassInterface));
        assert_eq!(port(Some(PORT)), Ok(PORT));
    }

    #[test]
    fn rows_1_and_2_only_frames_to_the_interface_itself() {
        let judge = |frame| judge(frame, |_, datagram| link(datagram.ethernet, PORT));
        assert_eq!(judge(udp()), Ok(()));
        assert_eq!(judge(udp().byte(0, 3)), Err(Outcome::PassLinkMulticast));
        for byte in 0..6 {
            assert_eq!(judge(udp().byte(byte, 0x40)), Err(Outcome::PassOtherHost), "byte {byte}");
        }
    }

    #[test]
    fn rows_4_7_13_and_15_are_told_from_the_header() {
        let judge = |frame| judge(frame, |_, it| datagram(it));
        assert_eq!(judge(udp()), Ok(()));
        assert_eq!(judge(udp().byte(18, 0xff)), Err(Outcome::PassChecksum));
        for (change, outcome) in [
            ((30, 0), Outcome::PassMartianDestination),
            ((30, 127), Outcome::PassMartianDestination),
            ((30, 224), Outcome::PassMulticast),
            ((30, 239), Outcome::PassMulticast),
            ((22, 0), Outcome::PassTtl),
            ((22, 1), Outcome::PassTtl),
        ] {
            assert_eq!(judge(with(&[change])), Err(outcome), "{change:?}");
        }
        let broadcast = with(&[(30, 255), (31, 255), (32, 255), (33, 255)]);
        assert_eq!(judge(broadcast), Err(Outcome::PassBroadcast));
        for change in [(30, 240), (30, 255), (30, 223), (22, 2)] {
            assert_eq!(judge(with(&[change])), Ok(()), "{change:?}");
        }
    }

    #[test]
    fn row_12_martian_sources() {
        let config = Config::default();
        for martian in [[0, 1, 1, 1], [127, 0, 0, 1], [224, 0, 0, 1], [239, 9, 9, 9], [255; 4]] {
            assert_eq!(source(martian, &config), Err(Outcome::PassMartianSource), "{martian:?}");
        }
        for fine in [[1, 0, 0, 1], [126, 0, 0, 1], [223, 0, 0, 1], [240, 0, 0, 1]] {
            assert_eq!(source(fine, &config), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn row_39a_a_transport_checksum_that_is_the_pseudo_header_sum_is_partial() {
        let judge = |frame| judge(frame, complete_checksum);
        // 10.0.1.2 + 10.0.2.2 + 17 + 12 = 0x0a00 + 0x0102 + 0x0a00 + 0x0202 + 0x0011 + 0x000c.
        let partial = [(40, 0x17), (41, 0x21)];
        assert_eq!(judge(udp()), Ok(()));
        assert_eq!(judge(with(&partial)), Err(Outcome::PassPartialChecksum));
        assert_eq!(judge(with(&[(40, 0), (41, 0)])), Ok(()), "no checksum");
        // A fragment; ICMP; SCTP; VXLAN; TCP cut short.
        assert_eq!(judge(with(&[partial[0], partial[1], (20, 0x20)])), Ok(()));
        assert_eq!(judge(with(&[(23, 1)])), Ok(()));
        assert_eq!(judge(with(&[(23, 132)])), Err(Outcome::PassPartialChecksum));
        assert_eq!(judge(with(&[(36, 0x12), (37, 0xb5)])), Err(Outcome::PassPartialChecksum));
        assert_eq!(judge(with(&[(23, 6)])), Err(Outcome::PassPartialChecksum));
    }

    /// A way over interface 7.
    fn judge_way(device: u32, route: u16, ingress: u32) -> Result<(), Outcome> {
        let action = route_cache_common::Action::Via(NextHopId(0));
        let route = Route { action, slot: 0, generation: 0, mtu: route, prefix_len: 0 }.pack();
        let next_hop = NextHopVersion { mtu: device, ifindex: 7, ..NextHopVersion::default() };
        let judged = Way { destination: [0; 4], route, clone: None, next_hop };
        judge(udp(), |_, datagram| way(datagram, &judged, ingress))
    }

    #[test]
    fn rows_8_to_10_the_smaller_mtu_counts() {
        for (device, route) in [(32, 0), (32, 32), (32, 1500), (1500, 32)] {
            assert_eq!(judge_way(device, route, 3), Ok(()), "{device}, {route}");
        }
        for (device, route) in [(31, 0), (31, 1500), (1500, 31), (0, 0)] {
            assert_eq!(judge_way(device, route, 3), Err(Outcome::PassMtu), "{device}, {route}");
        }
    }

    #[test]
    fn row_42_back_to_where_it_came_from() {
        assert_eq!(judge_way(1500, 0, 7), Err(Outcome::PassSameInterface));
    }
}
