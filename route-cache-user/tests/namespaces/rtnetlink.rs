//! Routes changed by netlink messages, without a process for each.

use std::{net::Ipv4Addr, time::Instant};

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use route_cache_lab::Namespace;

/// Bytes of messages sent at a time.
const AT_A_TIME: usize = 32 << 10;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

/// NLM_F_REQUEST.
const REQUEST: u16 = 0x1;
/// NLM_F_ACK.
const ACKNOWLEDGE: u16 = 0x4;
/// NLM_F_REPLACE and NLM_F_CREATE.
const REPLACE: u16 = 0x100 | 0x400;

/// A socket to ask for changes.
pub struct Rtnetlink(Socket);

impl Rtnetlink {
    /// In a namespace.
    pub fn open(namespace: &Namespace) -> Self {
        Self(namespace.run_in(|| Socket::new(NETLINK_ROUTE)).unwrap().unwrap())
    }

    /// `ip route replace`. Returns the time right before.
    pub fn replace(&mut self, prefix: (Ipv4Addr, u8), gateway: Ipv4Addr) -> Instant {
        let message = message(prefix, Some(gateway), ACKNOWLEDGE);
        let before = Instant::now();
        self.send(&message);
        before
    }

    /// `ip route replace` of many prefixes, or `ip route delete` where there is no gateway, as fast as the kernel goes.
    pub fn change(
        &mut self,
        prefixes: impl Iterator<Item = (Ipv4Addr, u8)>,
        gateway: Option<Ipv4Addr>,
    ) {
        let mut prefixes = prefixes.peekable();
        let mut messages = Vec::with_capacity(AT_A_TIME);
        while let Some(prefix) = prefixes.next() {
            // The last of those that are sent at a time is acknowledged; the kernel tells of mistakes unasked.
            let is_last = prefixes.peek().is_none() || messages.len() + 128 > AT_A_TIME;
            messages.extend(message(prefix, gateway, if is_last { ACKNOWLEDGE } else { 0 }));
            if is_last {
                self.send(&messages);
                messages.clear();
            }
        }
    }

    /// Sends messages of which the last is acknowledged, and waits until it is.
    fn send(&mut self, messages: &[u8]) {
        const ERROR: u16 = 2;
        self.0.send(messages, 0).unwrap();
        let (answer, _) = self.0.recv_from_full().unwrap();
        assert_eq!(answer[4..6], ERROR.to_ne_bytes(), "{answer:02x?}");
        assert_eq!(answer[16..20], [0; 4], "the kernel refused the route: {answer:02x?}");
    }
}

/// One message. Its length is a multiple of four.
fn message(prefix: (Ipv4Addr, u8), gateway: Option<Ipv4Addr>, flags: u16) -> Vec<u8> {
    const RTA_DST: u16 = 1;
    const RTA_GATEWAY: u16 = 5;
    // AF_INET, length, source length, TOS, table main, protocol static, scope, unicast, flags.
    let mut body = vec![2, prefix.1, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    for (kind, address) in [(RTA_DST, Some(prefix.0)), (RTA_GATEWAY, gateway)] {
        let Some(address) = address else { continue };
        body.extend([8_u16, kind].iter().flat_map(|word| word.to_ne_bytes()));
        body.extend(address.octets());
    }
    let (kind, flags) = match gateway {
        Some(_) => (RTM_NEWROUTE, REQUEST | REPLACE | flags),
        None => (RTM_DELROUTE, REQUEST | flags),
    };
    let mut message = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend([kind, flags].iter().flat_map(|word| word.to_ne_bytes()));
    message.extend([0; 8]);
    message.extend(body);
    message
}
