//! Netlink: a datagram becomes events, or is malformed. Nothing else may come of it, whatever the bytes.

#![no_main]
#![allow(dead_code, unused_imports, reason = "only the codec is used of the agent's modules")]

use libfuzzer_sys::fuzz_target;

#[path = "../../route-cache-user/src/fib"]
mod fib {
    #[path = "ip_family.rs"]
    pub(crate) mod family;
    pub(crate) mod message;

    pub(crate) mod netlink {
        mod address;
        mod event;
        mod exchange;
        mod hop;
        mod link;
        mod neighbour;
        mod netconf;
        mod netdev;
        mod nexthop;
        mod qdisc;
        mod request;
        mod route;
        mod rule;
        mod wire;

        /// Reads a datagram as the agent does, as one of rtnetlink and as one of generic netlink.
        pub(crate) fn read(datagram: &[u8]) {
            let netdev = netdev::Family { id: 130, group: 5 };
            let mut read = 0;
            for message in wire::messages(datagram) {
                read += 1;
                let Ok(message) = message else { continue };
                if let Ok(Some(event)) = event::parse(&message) {
                    check(&event);
                }
                let _ = netdev.parse(&message);
                let _ = netdev::parse_family(&message);
            }
            // A message takes its header at least; what is malformed is the last.
            assert!(read <= datagram.len() / wire::MESSAGE_HEADER + 1);
        }

        /// What the tables take for granted.
        fn check(event: &super::message::Event) {
            use super::message::Event;

            if let Event::Route { route, .. } | Event::RouteGone(route) = event {
                assert_eq!(route.prefix, route.prefix.trunc(), "a prefix has no host bits");
            }
            if let Event::Address(address) | Event::AddressGone(address) = event {
                let most = if address.local.is_ipv4() { 32 } else { 128 };
                assert!(address.prefix_len <= most, "{address:?}");
            }
        }
    }
}

fuzz_target!(|datagram: &[u8]| fib::netlink::read(datagram));
