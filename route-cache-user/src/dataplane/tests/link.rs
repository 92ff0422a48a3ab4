//! What arrives: interfaces, MAC addresses, ethertypes.

use route_cache_common::{Outcome, Port};

use super::{
    bench::{GATEWAY_MAC, IN_MAC, SMALL, on_bench},
    frame::Frame,
};
use crate::fib::plan::Plan;

#[test]
fn row_1_a_frame_for_another_host_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        bench.passes(&Frame { to: GATEWAY_MAC, ..Frame::udp() }.bytes(), Outcome::PassOtherHost);
        for byte in 0..6 {
            let mut to = IN_MAC;
            to[byte] ^= 0x10;
            bench.passes(&Frame { to, ..Frame::udp() }.bytes(), Outcome::PassOtherHost);
        }
        bench.forwards(&Frame::udp().bytes(), Outcome::ForwardedRoute);
    });
}

#[test]
fn row_2_a_group_frame_with_a_unicast_datagram_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        for to in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [3, 0, 0, 0, 1, 1]] {
            let frame = Frame { to, ..Frame::udp() }.bytes();
            bench.passes(&frame, Outcome::PassLinkMulticast);
        }
    });
}

#[test]
fn row_45_other_ethertypes_pass() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        // ARP, service VLAN, LLDP, 802.1X, MPLS, PPPoE, a length of 802.3.
        for ethertype in [0x0806, 0x88a8, 0x88cc, 0x888e, 0x8847, 0x8864, 0x0026, 0x0801, 0x0008] {
            let frame = Frame { ethertype, ..Frame::udp() }.bytes();
            bench.passes(&frame, Outcome::PassEthertype);
        }
    });
}

#[test]
fn row_18_an_interface_that_stands_aside_passes() {
    on_bench(SMALL, |bench| {
        bench.add_default_route();
        let frame = Frame::udp().bytes();
        bench.forwards(&frame, Outcome::ForwardedRoute);
        for word in [0, Port { mac: IN_MAC, flags: Port::PARTIAL_CHECKSUMS }.pack()] {
            bench.write(&Plan { ports: vec![(bench.ingress, word)], ..bench.plan() });
            bench.passes(&frame, Outcome::PassInterface);
        }
        bench.set_port(0);
        bench.forwards(&frame, Outcome::ForwardedClone);
    });
}
