//! Step: may this packet be forwarded at all, whatever the route (forwarding.md rows 1, 2, 4, 7 to 9, 12, 13, 15, 17,
//! 26, 34, 39a). Each check is a function of what it looks at.

use route_cache_common::{Action, Config, Family, Outcome, Port, Route, next_hop::NextHopVersion};

use crate::{
    family::Datapath,
    headers::{Ethernet, Header, Transport},
    maps, next_hop,
    packet::Packet,
    parse::{Datagram, Link},
};

/// Row 34: the interface that receives the packet is the VLAN device, where there is a tag. One for VLAN 0 says nothing
/// but a priority; it is left to the kernel, too.
#[inline(always)]
pub fn device(port: u32, link: Link) -> Result<u32, Outcome> {
    if link.tag_len == 0 {
        return Ok(port);
    }
    maps::vlan_device(port, link.vlan as u16).ok_or(Outcome::PassVlan)
}

/// The ingress interface must be one whose packets of this family may be forwarded.
#[inline(always)]
pub fn port<F: Family>(port: Option<Port>) -> Result<Port, Outcome> {
    match port {
        Some(port) if port.flags & F::ACCELERATE_PORT != 0 => Ok(port),
        _ => Err(Outcome::PassInterface),
    }
}

/// Rows 1 and 2: the frame must be addressed to the ingress interface itself.
#[inline(always)]
pub fn link(packet: &Packet<'_>, port: Port) -> Result<(), Outcome> {
    let Some(ethernet) = packet.get::<Ethernet>(0) else {
        return Err(Outcome::PassMalformed);
    };
    let destination = ethernet.addresses.destination();
    if destination == port.mac {
        return Ok(());
    }
    // The I/G bit of IEEE 802. No interface's own address has it.
    if destination[0] & 1 != 0 {
        return Err(Outcome::PassLinkMulticast);
    }
    Err(Outcome::PassOtherHost)
}

/// Row 4.
#[inline(always)]
pub fn intact<F: Datapath>(datagram: &Datagram<'_, F>) -> Result<(), Outcome> {
    if !datagram.ip.is_intact() {
        return Err(Outcome::PassChecksum);
    }
    Ok(())
}

/// Rows 7, 12, 26 and 39a: what a packet has that others of its flow need not have: TTL, source and transport checksum.
#[inline(always)]
pub fn packet<F: Datapath>(
    packet: &Packet<'_>,
    datagram: &Datagram<'_, F>,
    port: Port,
    config: &Config,
) -> Result<(), Outcome> {
    if datagram.ip.hop_limit() <= 1 {
        return Err(Outcome::PassTtl);
    }
    F::check_source(datagram.ip.source(), config)?;
    if port.flags & Port::PARTIAL_CHECKSUMS != 0 {
        complete_checksum(packet, datagram)?;
    }
    Ok(())
}

/// Whether the way back to the source counts.
#[inline(always)]
pub const fn checks_reverse_path<F: Datapath>(port: Port) -> bool {
    F::HAS_REVERSE_PATH_FILTER && port.flags & (Port::REVERSE_STRICT | Port::REVERSE_LOOSE) != 0
}

/// Row 17: the way back to the source (`__fib_validate_source`, net/ipv4/fib_frontend.c). What the routes do not tell
/// with certainty, a group for example, passes.
#[inline(always)]
pub fn reverse_path<F: Datapath>(source: F::Key, device: u32, port: Port) -> Result<(), Outcome> {
    if !checks_reverse_path::<F>(port) {
        return Ok(());
    }
    let Some(words) = F::route(source) else {
        return Err(Outcome::PassReversePath);
    };
    let back = match Route::unpack(words).action {
        Action::OnLink(ifindex) => ifindex,
        Action::Via(id) => next_hop::device(id),
        Action::Group(_) | Action::Pass(_) => return Err(Outcome::PassReversePath),
    };
    if port.flags & Port::REVERSE_STRICT != 0 && back != device {
        return Err(Outcome::PassReversePath);
    }
    Ok(())
}

/// Row 39a: no frame whose transport checksum somebody has yet to complete.
///
/// A local sender behind a veth leaves the folded pseudo-header sum in the checksum field and has the device complete
/// it; a redirect loses the note that says so. A complete checksum has that value by chance once in 65,536: such a
/// packet passes, which is slower and right. What cannot be told passes too: tunnels may carry a partial checksum
/// inside, and protocols other than TCP, UDP and ICMP may have one of a kind that is not known here. Fragments have
/// complete checksums, because the sender completes them before it cuts (`ip_fragment`, `ip6_fragment`).
#[inline(always)]
pub fn complete_checksum<F: Datapath>(
    packet: &Packet<'_>,
    datagram: &Datagram<'_, F>,
) -> Result<(), Outcome> {
    let transport = Ethernet::LEN + F::Header::LEN;
    let offset = match datagram.ip.transport() {
        Transport::Icmp | Transport::Fragment => return Ok(()),
        Transport::Tcp => transport + 16,
        Transport::Udp => {
            match packet.get::<u16>(transport + 2) {
                Some(port) if !carries_a_tunnel(u16::from_be(*port)) => {}
                _ => return Err(Outcome::PassPartialChecksum),
            }
            transport + 6
        }
        Transport::Other => return Err(Outcome::PassPartialChecksum),
    };
    match packet.get::<u16>(offset) {
        Some(checksum) if *checksum != datagram.ip.pseudo_header_sum() => Ok(()),
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
/// from, which the kernel may answer with a redirect.
#[inline(always)]
pub fn way<F: Datapath>(
    datagram: &Datagram<'_, F>,
    route_mtu: u16,
    next_hop: &NextHopVersion,
    device: u32,
) -> Result<(), Outcome> {
    if next_hop.ifindex == device {
        return Err(Outcome::PassSameInterface);
    }
    let (len, route_mtu) = (datagram.ip.datagram_len(), usize::from(route_mtu));
    if len > usize::from(next_hop.mtu) || (route_mtu != 0 && len > route_mtu) {
        return Err(Outcome::PassMtu);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        packet::testing::{Bytes, datagram as udp, datagram6 as udp6},
        parse,
    };
    use route_cache_common::{V4, V6};

    const PORT: Port = Port { mac: [2, 0, 0, 0, 0, 1], flags: Port::ACCELERATE4 };

    /// Judges the frame by one of the steps.
    fn judge(
        mut bytes: Bytes,
        step: impl Fn(&Packet<'_>, &Datagram<'_, V4>) -> Result<(), Outcome>,
    ) -> Result<(), Outcome> {
        let packet = bytes.packet();
        let link = parse::link(&packet)?;
        let packet = packet.behind(link.tag_len);
        let datagram = parse::datagram::<V4>(&packet)?;
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
        assert_eq!(port::<V4>(None), Err(Outcome::PassInterface));
        let off = Port { flags: Port::PARTIAL_CHECKSUMS, ..PORT };
        assert_eq!(port::<V4>(Some(off)), Err(Outcome::PassInterface));
        assert_eq!(port::<V4>(Some(PORT)), Ok(PORT));
        assert_eq!(port::<V6>(Some(PORT)), Err(Outcome::PassInterface));
    }

    #[test]
    fn rows_1_and_2_only_frames_to_the_interface_itself() {
        let judge = |frame| judge(frame, |packet, _| link(packet, PORT));
        assert_eq!(judge(udp()), Ok(()));
        assert_eq!(judge(udp().byte(0, 3)), Err(Outcome::PassLinkMulticast));
        for byte in 0..6 {
            assert_eq!(judge(udp().byte(byte, 0x40)), Err(Outcome::PassOtherHost), "byte {byte}");
        }
    }

    #[test]
    fn rows_4_7_13_and_15_are_told_from_the_header() {
        let judge = |frame| {
            judge(frame, |whole, it| {
                intact(it)?;
                V4::check_destination(it.ip.destination())?;
                packet(whole, it, PORT, &Config::default())
            })
        };
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
        // Behind a tag it is the same.
        assert_eq!(judge(udp().tagged(9)), Ok(()));
        assert_eq!(judge(with(&partial).tagged(9)), Err(Outcome::PassPartialChecksum));
    }

    #[test]
    fn row_39a_the_same_for_ipv6() {
        let judge = |mut bytes: Bytes| {
            let packet = bytes.packet();
            complete_checksum::<V6>(&packet, &parse::datagram(&packet)?)
        };
        // 2001 + 0db8 + 1 + 2 + 2001 + 0db8 + 2 + 2 + 17 + 12 = 0x5b96.
        assert_eq!(judge(udp6()), Ok(()));
        let partial = udp6().byte(60, 0x5b).byte(61, 0x96);
        assert_eq!(judge(partial.clone()), Err(Outcome::PassPartialChecksum));
        // A fragment; ICMPv6; another extension header.
        assert_eq!(judge(partial.clone().byte(20, 44)), Ok(()));
        assert_eq!(judge(partial.clone().byte(20, 58)), Ok(()));
        assert_eq!(judge(partial.byte(20, 60)), Err(Outcome::PassPartialChecksum));
    }

    /// A way over interface 7.
    fn judge_way(device: u16, route: u16, ingress: u32) -> Result<(), Outcome> {
        let next_hop = NextHopVersion { mtu: device, ifindex: 7, ..NextHopVersion::default() };
        judge(udp(), |_, datagram| way(datagram, route, &next_hop, ingress))
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
