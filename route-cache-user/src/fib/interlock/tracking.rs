//! Rules that have conntrack follow all packets of their family, whatever chain they stand in (`nf_ct_netns_get`), for
//! kernels that do not tell the functions on their hooks. `nf_tables_fill_rule_info` in net/netfilter/nf_tables_api.c.

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::nftables::{ATTEMPTS, NF_TABLES, SUBSYSTEM};
use super::reason::Reason;
use crate::fib::family::IpFamily;
use crate::fib::netlink::{Attribute, DumpError, Exchange, Malformed, Message, Request};
use crate::fib::why::Code;

const NFT_MSG_NEWRULE: u16 = SUBSYSTEM | libc::NFT_MSG_NEWRULE as u16;
const NFT_MSG_GETRULE: u16 = SUBSYSTEM | libc::NFT_MSG_GETRULE as u16;
const NFT_MSG_NEWSET: u16 = SUBSYSTEM | libc::NFT_MSG_NEWSET as u16;
const NFT_MSG_GETSET: u16 = SUBSYSTEM | libc::NFT_MSG_GETSET as u16;
const NFT_MSG_GETGEN: u16 = SUBSYSTEM | libc::NFT_MSG_GETGEN as u16;

// include/uapi/linux/netfilter/nf_tables.h
const NFTA_GEN_ID: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_EXPRESSIONS: u16 = 18;
const NFTA_DYNSET_EXPR: u16 = 7;
const NFTA_DYNSET_EXPRESSIONS: u16 = 10;
const NFTA_OBJREF_IMM_TYPE: u16 = 1;
/// The same in include/uapi/linux/netfilter/nf_tables_compat.h: what iptables-nft leaves to the old modules.
const NFTA_MATCH_NAME: u16 = 1;

/// Expressions that make the kernel follow connections; `tproxy` that it puts fragments together.
const EXPRESSIONS: [&str; 8] =
    ["ct", "nat", "masq", "redir", "connlimit", "synproxy", "flow_offload", "tproxy"];

/// The same among the matches and targets of iptables.
const EXTENSIONS: [&str; 21] = [
    "conntrack",
    "state",
    "connmark",
    "connbytes",
    "connlabel",
    "connlimit",
    "helper",
    "cluster",
    "socket",
    "CLUSTERIP",
    "CT",
    "NOTRACK",
    "CONNMARK",
    "CONNSECMARK",
    "DNAT",
    "SNAT",
    "MASQUERADE",
    "REDIRECT",
    "NETMAP",
    "SYNPROXY",
    "TPROXY",
];

/// Objects that follow connections: NFT_OBJECT_CT_HELPER, _CONNLIMIT, _CT_TIMEOUT, _CT_EXPECT, _SYNPROXY.
const OBJECTS: [u32; 5] = [3, 5, 7, 9, 10];

/// What was found in a generation of the rules: there may be very many, so they are read only when they have changed.
#[derive(Debug, Default)]
pub(super) struct Read {
    generation: Option<u32>,
    reasons: Vec<Reason>,
}

/// A chain or a set: family (NFPROTO_*), which of the two, table and name.
type Asking = (u8, &'static str, String, String);

/// One reason for each chain, and for each set whose elements follow connections.
pub(super) fn reasons(last: &mut Read) -> Result<Vec<Reason>, DumpError> {
    if !NF_TABLES.may_be_there() {
        return Ok(Vec::new());
    }
    match read(last) {
        // nfnetlink answers so when it knows no nf_tables (net/netfilter/nfnetlink.c).
        Err(DumpError::Unsupported | DumpError::Refused(Errno::EINVAL)) => {
            NF_TABLES.is_missing();
            Ok(Vec::new())
        }
        answer => answer,
    }
}

fn read(last: &mut Read) -> Result<Vec<Reason>, DumpError> {
    let mut netfilter = Exchange::open(libc::NETLINK_NETFILTER)?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let generation = generation(&mut netfilter)?;
        if generation.is_some() && generation == last.generation {
            return Ok(last.reasons.clone());
        }
        match asking(&mut netfilter) {
            Err(DumpError::Interrupted) if attempts < ATTEMPTS => {}
            Err(error) => return Err(error),
            Ok(asking) => {
                let reasons = asking.into_iter().filter_map(reason).collect();
                *last = Read { generation, reasons };
                return Ok(last.reasons.clone());
            }
        }
    }
}

/// Which generation of the rules is in force. Taken before they are read, so that what changes meanwhile is read again.
fn generation(netfilter: &mut Exchange) -> Result<Option<u32>, DumpError> {
    let mut generation = None;
    netfilter.ask(Request::get(NFT_MSG_GETGEN, &[0; 4]), |answer| {
        let (_, attributes) = answer.split::<4>()?;
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.kind == NFTA_GEN_ID {
                generation = Some(attribute.be32()?);
            }
        }
        Ok(())
    })?;
    Ok(generation)
}

/// The chains with such rules, and the sets with such expressions.
fn asking(netfilter: &mut Exchange) -> Result<BTreeSet<Asking>, DumpError> {
    let mut asking = BTreeSet::new();
    netfilter.dump(Request::dump(NFT_MSG_GETRULE, &[0; 4]), |message| {
        if message.kind == NFT_MSG_NEWRULE {
            asking.extend(tracking_rule(message)?);
        }
        Ok(())
    })?;
    netfilter.dump(Request::dump(NFT_MSG_GETSET, &[0; 4]), |message| {
        if message.kind == NFT_MSG_NEWSET {
            asking.extend(tracking_set(message)?);
        }
        Ok(())
    })?;
    Ok(asking)
}

/// A set whose elements have connections followed.
fn tracking_set(message: &Message<'_>) -> Result<Option<Asking>, Malformed> {
    let (&[family, ..], attributes) = message.split::<4>()?;
    let (mut table, mut set, mut tracks) = (String::new(), String::new(), false);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            NFTA_SET_TABLE => table = attribute.text(),
            NFTA_SET_NAME => set = attribute.text(),
            NFTA_SET_EXPR => tracks |= is_tracking(&attribute)?,
            NFTA_SET_EXPRESSIONS => tracks |= is_any_tracking(&attribute)?,
            _ => {}
        }
    }
    Ok(tracks.then_some((family, "set", table, set)))
}

/// The chain of a rule that has connections followed.
fn tracking_rule(message: &Message<'_>) -> Result<Option<Asking>, Malformed> {
    let (&[family, ..], attributes) = message.split::<4>()?;
    let (mut table, mut chain, mut tracks) = (String::new(), String::new(), false);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            NFTA_RULE_TABLE => table = attribute.text(),
            NFTA_RULE_CHAIN => chain = attribute.text(),
            NFTA_RULE_EXPRESSIONS => tracks |= is_any_tracking(&attribute)?,
            _ => {}
        }
    }
    Ok(tracks.then_some((family, "chain", table, chain)))
}

fn is_any_tracking(expressions: &Attribute<'_>) -> Result<bool, Malformed> {
    for expression in expressions.nested() {
        if is_tracking(&expression?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_tracking(expression: &Attribute<'_>) -> Result<bool, Malformed> {
    let (mut name, mut data) = (String::new(), None);
    for attribute in expression.nested() {
        let attribute = attribute?;
        match attribute.kind {
            NFTA_EXPR_NAME => name = attribute.text(),
            NFTA_EXPR_DATA => data = Some(attribute),
            _ => {}
        }
    }
    let inside = |wanted: u16| {
        let attributes = data.iter().flat_map(Attribute::nested);
        attributes.flatten().find(move |attribute| attribute.kind == wanted)
    };
    match name.as_str() {
        "match" | "target" => Ok(inside(NFTA_MATCH_NAME)
            .is_some_and(|extension| EXTENSIONS.contains(&extension.text().as_str()))),
        // Of one that a map names the kind is not told here.
        "objref" => match inside(NFTA_OBJREF_IMM_TYPE) {
            Some(kind) => Ok(OBJECTS.contains(&kind.be32()?)),
            None => Ok(true),
        },
        "dynset" => match (inside(NFTA_DYNSET_EXPR), inside(NFTA_DYNSET_EXPRESSIONS)) {
            (Some(one), _) => is_tracking(&one),
            (None, Some(several)) => is_any_tracking(&several),
            (None, None) => Ok(false),
        },
        name => Ok(EXPRESSIONS.contains(&name)),
    }
}

fn reason((family, what, table, asking): Asking) -> Option<Reason> {
    let (name, family) = match i32::from(family) {
        libc::NFPROTO_IPV4 => ("ip", Some(IpFamily::V4)),
        libc::NFPROTO_IPV6 => ("ip6", Some(IpFamily::V6)),
        libc::NFPROTO_INET => ("inet", None),
        // Both families, with it (`nf_ct_netns_get`).
        libc::NFPROTO_BRIDGE => ("bridge", None),
        _ => return None,
    };
    let sentence = format!(
        "nftables: conntrack follows all packets, because {what} `{asking}` of table `{name} {table}` asks for it (`ct`, nat)"
    );
    Some(Reason { family, ..Reason::everywhere(Code::Netfilter, sentence) })
}
