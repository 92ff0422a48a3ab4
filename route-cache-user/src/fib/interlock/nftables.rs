//! nf_tables: base chains that see forwarded packets. `nf_tables_fill_chain_info` in
//! net/netfilter/nf_tables_api.c.

use nix::errno::Errno;

use super::reason::Reason;
use super::subsystem::Subsystem;
use crate::fib::family::IpFamily;
use crate::fib::netlink::{Attribute, DumpError, Exchange, Malformed, Message, Request};
use crate::fib::why::Code;

pub(super) static NF_TABLES: Subsystem = Subsystem::of_module("nf_tables");

pub(super) const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8;
const NFT_MSG_NEWCHAIN: u16 = SUBSYSTEM | libc::NFT_MSG_NEWCHAIN as u16;
const NFT_MSG_GETCHAIN: u16 = SUBSYSTEM | libc::NFT_MSG_GETCHAIN as u16;

// include/uapi/linux/netfilter/nf_tables.h
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_DEVICE_NAME: u16 = 1;
/// Linux 6.16: all interfaces whose names begin so.
const NFTA_DEVICE_PREFIX: u16 = 2;

/// Rule sets are replaced in transactions; one that changes this often in a row is not read at all.
pub(super) const ATTEMPTS: usize = 5;

/// Chains with rules, or with a policy other than accept.
pub(super) fn reasons() -> Result<Vec<Reason>, DumpError> {
    if !NF_TABLES.may_be_there() {
        return Ok(Vec::new());
    }
    for _ in 1..ATTEMPTS {
        match chains() {
            Err(DumpError::Interrupted) => {}
            // nfnetlink answers so when it knows no nf_tables (net/netfilter/nfnetlink.c).
            Err(DumpError::Unsupported | DumpError::Refused(Errno::EINVAL)) => {
                NF_TABLES.is_missing();
                return Ok(Vec::new());
            }
            answer => return answer,
        }
    }
    chains()
}

fn chains() -> Result<Vec<Reason>, DumpError> {
    let mut reasons = Vec::new();
    // struct nfgenmsg: any family, NFNETLINK_V0
    let question = Request::dump(NFT_MSG_GETCHAIN, &[0; 4]);
    Exchange::open(libc::NETLINK_NETFILTER)?.dump(question, |message| {
        if message.kind == NFT_MSG_NEWCHAIN {
            let chain = Chain::parse(message)?;
            if chain.acts() {
                reasons.extend(chain.reasons());
            }
        }
        Ok(())
    })?;
    Ok(reasons)
}

#[derive(Default)]
struct Chain {
    family: i32,
    table: String,
    name: String,
    /// Nothing for chains that are only jumped to.
    hook: Option<i32>,
    devices: Vec<String>,
    drops: bool,
    rules: u32,
}

impl Chain {
    fn parse(message: &Message<'_>) -> Result<Self, Malformed> {
        let (&[family, ..], attributes) = message.split::<4>()?;
        let mut chain = Self { family: i32::from(family), ..Self::default() };
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                NFTA_CHAIN_TABLE => chain.table = attribute.text(),
                NFTA_CHAIN_NAME => chain.name = attribute.text(),
                NFTA_CHAIN_HOOK => chain.parse_hook(&attribute)?,
                NFTA_CHAIN_POLICY => {
                    chain.drops = attribute.be32()?.cast_signed() != libc::NF_ACCEPT;
                }
                // Rules and jumps that lead here. Nobody may jump to a base chain, so these are its rules;
                // that spares a dump of all rules, of which there may be very many.
                NFTA_CHAIN_USE => chain.rules = attribute.be32()?,
                _ => {}
            }
        }
        Ok(chain)
    }

    fn parse_hook(&mut self, hook: &Attribute<'_>) -> Result<(), Malformed> {
        for attribute in hook.nested() {
            let attribute = attribute?;
            match attribute.kind {
                NFTA_HOOK_HOOKNUM => self.hook = Some(attribute.be32()?.cast_signed()),
                NFTA_HOOK_DEV => self.devices.push(attribute.text()),
                NFTA_HOOK_DEVS => {
                    for device in attribute.nested() {
                        let device = device?;
                        match device.kind {
                            NFTA_DEVICE_NAME => self.devices.push(device.text()),
                            NFTA_DEVICE_PREFIX => self.devices.push(device.text() + "*"),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        // A chain on one device names it in both ways.
        self.devices.sort_unstable();
        self.devices.dedup();
        Ok(())
    }

    fn acts(&self) -> bool {
        self.rules > 0 || self.drops
    }

    fn reasons(&self) -> Vec<Reason> {
        let (name, family) = match self.family {
            libc::NFPROTO_IPV4 => ("ip", Some(IpFamily::V4)),
            libc::NFPROTO_IPV6 => ("ip6", Some(IpFamily::V6)),
            libc::NFPROTO_INET => ("inet", None),
            libc::NFPROTO_NETDEV => ("netdev", None),
            _ => return Vec::new(),
        };
        let everywhere = |hook| {
            let reason = Reason::everywhere(Code::Netfilter, self.sentence(name, hook));
            vec![Reason { family, ..reason }]
        };
        match (self.family, self.hook) {
            (libc::NFPROTO_NETDEV, Some(libc::NF_NETDEV_INGRESS)) => {
                self.on_devices(name, "ingress")
            }
            (libc::NFPROTO_NETDEV, Some(NF_NETDEV_EGRESS)) => self.on_devices(name, "egress"),
            (libc::NFPROTO_NETDEV, _) => Vec::new(),
            (_, Some(libc::NF_INET_PRE_ROUTING)) => everywhere("prerouting"),
            (_, Some(libc::NF_INET_FORWARD)) => everywhere("forward"),
            (_, Some(libc::NF_INET_POST_ROUTING)) => everywhere("postrouting"),
            (libc::NFPROTO_INET, Some(libc::NF_INET_INGRESS)) => self.on_devices(name, "ingress"),
            _ => Vec::new(),
        }
    }

    fn on_devices(&self, family: &str, hook: &str) -> Vec<Reason> {
        let sentence = self.sentence(family, hook);
        let on_device = |device: &String| Reason {
            interface: Some(device.clone()),
            ..Reason::everywhere(Code::Netfilter, format!("{sentence} of `{device}`"))
        };
        self.devices.iter().map(on_device).collect()
    }

    fn sentence(&self, family: &str, hook: &str) -> String {
        let Self { name, table, .. } = self;
        let what = match (self.rules, self.drops) {
            (0, _) => "drops packets",
            (_, false) => "has rules",
            (_, true) => "has rules and drops what they do not accept",
        };
        format!("nftables: chain `{name}` of table `{family} {table}` {what} on the {hook} hook")
    }
}

/// Linux 5.16, include/uapi/linux/netfilter.h.
const NF_NETDEV_EGRESS: i32 = 1;
