//! RTM_NEWRULE and RTM_DELRULE. `fib_nl_fill_rule` in net/core/fib_rules.c, `fib4_rule_fill` in
//! net/ipv4/fib_rules.c.

use super::wire::{Malformed, Message};
use crate::fib::{family::IpFamily, message::Rule};

// include/uapi/linux/fib_rules.h
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_L3MDEV: u16 = 19;
const FRA_PROTOCOL: u16 = 21;

/// "Not set", in the attributes that suppress; every rule carries FRA_SUPPRESS_PREFIXLEN.
const NO_SUPPRESSOR: u32 = u32::MAX;

/// FIB_RULE_PERMANENT and FIB_RULE_FIND_SADDR, which select nothing, and FIB_RULE_IIF_DETACHED and
/// FIB_RULE_OIF_DETACHED, which say that there is no interface of the name now. FIB_RULE_INVERT and
/// FIB_RULE_UNRESOLVED do.
const HARMLESS_FLAGS: u32 = 0x0000_0001 | 0x0001_0000 | 0x0000_0008 | 0x0000_0010;

/// A policy rule of IPv4 or IPv6; nothing for other families.
pub(super) fn parse(message: &Message<'_>) -> Result<Option<Rule>, Malformed> {
    // struct fib_rule_hdr
    let (header, attributes) = message.split::<12>()?;
    let &[family, to_len, from_len, tos, table, _, _, action, f0, f1, f2, f3] = header;
    let Some(family) = IpFamily::of_number(family) else {
        return Ok(None);
    };
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut rule = Rule {
        family,
        priority: 0,
        table: u32::from(table),
        action,
        iif: None,
        oif: None,
        l3mdev: false,
        inverted: flags & !HARMLESS_FLAGS != 0,
        selective: to_len != 0 || from_len != 0 || tos != 0,
    };
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            FRA_PRIORITY => rule.priority = attribute.u32()?,
            FRA_TABLE => rule.table = attribute.u32()?,
            FRA_SUPPRESS_PREFIXLEN | FRA_SUPPRESS_IFGROUP => {
                rule.selective |= attribute.u32()? != NO_SUPPRESSOR;
            }
            FRA_IIFNAME => rule.iif = Some(attribute.text()),
            FRA_OIFNAME => rule.oif = Some(attribute.text()),
            FRA_L3MDEV => rule.l3mdev = true,
            FRA_PAD | FRA_PROTOCOL => {}
            // Selectors of today and of kernels to come: one that is not understood is taken to matter.
            _ => rule.selective = true,
        }
    }
    Ok(Some(rule))
}
