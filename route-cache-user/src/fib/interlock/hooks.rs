//! Functions on the hooks of netfilter (`nft list hooks`): conntrack, and whatever else a module or a BPF program has put there.
//! net/netfilter/nfnetlink_hook.c, Linux 5.14; not every kernel is built with it.

use std::io;

use nix::errno::Errno;

use super::nftables::ATTEMPTS;
use super::reason::Reason;
use super::subsystem::Subsystem;
use crate::fib::family::IpFamily;
use crate::fib::netlink::{DumpError, Exchange, Malformed, Message, Request};
use crate::fib::why::Code;

static NFNETLINK_HOOK: Subsystem = Subsystem::of_module("nfnetlink_hook");

/// NFNL_MSG_HOOK_GET is 0.
const NFNL_MSG_HOOK_GET: u16 = (libc::NFNL_SUBSYS_HOOK as u16) << 8;

// include/uapi/linux/netfilter/nfnetlink_hook.h
const NFNLA_HOOK_HOOKNUM: u16 = 1;
const NFNLA_HOOK_FUNCTION_NAME: u16 = 4;
const NFNLA_HOOK_MODULE_NAME: u16 = 5;
const NFNLA_HOOK_CHAIN_INFO: u16 = 6;
const NFNLA_HOOK_INFO_TYPE: u16 = 2;
const NFNL_HOOK_TYPE_NFTABLES: u32 = 1;

/// The hooks that forwarded packets pass, and what they are called.
const HOOKS: [(i32, &str); 3] = [
    (libc::NF_INET_PRE_ROUTING, "prerouting"),
    (libc::NF_INET_FORWARD, "forward"),
    (libc::NF_INET_POST_ROUTING, "postrouting"),
];

/// How the names of functions begin that are judged elsewhere, or do nothing to a packet that is only forwarded.
const HARMLESS: [&str; 9] = [
    // By their chains.
    "nft_do_chain",
    // By their tables.
    "ipt_do_table",
    "ip6t_do_table",
    "iptable_",
    "ip6table_",
    // They translate what conntrack follows, which has functions of its own.
    "nf_nat_",
    // br_netfilter: for bridged packets.
    "ip_sabotage_in",
    // They judge packets that carry labels, which come from rules or from IPsec.
    "apparmor_",
    "smack_",
];

/// So do those of SELinux, unless its policy has it look at all packets (`selinux_policycap_alwaysnetwork`).
const SELINUX: &str = "selinux_";
const ALWAYS_CHECK_NETWORK: &str = "/sys/fs/selinux/policy_capabilities/always_check_network";

/// What stands against each family; nothing where this kernel does not tell its hooks.
pub(super) fn reasons() -> Result<Option<Vec<Reason>>, DumpError> {
    if !NFNETLINK_HOOK.may_be_there() {
        return Ok(None);
    }
    let mut netfilter = match Exchange::open(libc::NETLINK_NETFILTER) {
        Err(DumpError::Unsupported) => {
            NFNETLINK_HOOK.is_missing();
            return Ok(None);
        }
        other => other?,
    };
    let labels_alone = judges_labels_alone(&std::fs::read(ALWAYS_CHECK_NETWORK));
    let mut reasons = Vec::new();
    for family in IpFamily::ALL {
        let mut functions = Vec::new();
        for (hook, name) in HOOKS {
            match functions_on(&mut netfilter, family, hook, labels_alone) {
                Ok(found) => functions.extend(found.into_iter().map(|function| (function, name))),
                // nfnetlink answers so when it knows no such subsystem (net/netfilter/nfnetlink.c).
                Err(DumpError::Refused(Errno::EINVAL)) => {
                    NFNETLINK_HOOK.is_missing();
                    return Ok(None);
                }
                // A kernel without IPv6 has none of its hooks.
                Err(DumpError::Unsupported) => {}
                Err(error) => return Err(error),
            }
        }
        reasons.extend(reason(family, &functions));
    }
    Ok(Some(reasons))
}

/// The functions on a hook that are not harmless.
fn functions_on(
    netfilter: &mut Exchange,
    family: IpFamily,
    hook: i32,
    labels_alone: bool,
) -> Result<Vec<String>, DumpError> {
    let protocol = match family {
        IpFamily::V4 => libc::NFPROTO_IPV4,
        IpFamily::V6 => libc::NFPROTO_IPV6,
    };
    // struct nfgenmsg: family, NFNETLINK_V0
    let question = Request::dump(NFNL_MSG_HOOK_GET, &[protocol as u8, 0, 0, 0])
        .attribute(NFNLA_HOOK_HOOKNUM, &hook.to_be_bytes());
    whole(|| {
        let mut functions = Vec::new();
        netfilter.dump(question.clone(), |message| {
            functions.extend(function(message)?.filter(|name| !is_harmless(name, labels_alone)));
            Ok(())
        })?;
        Ok(functions)
    })
}

/// An answer that nothing has interrupted; of one that changes this often in a row, that it is not known.
fn whole<T>(mut ask: impl FnMut() -> Result<T, DumpError>) -> Result<T, DumpError> {
    for _ in 1..ATTEMPTS {
        match ask() {
            Err(DumpError::Interrupted) => {}
            answer => return answer,
        }
    }
    ask()
}

/// What a function is called; nothing if it is a chain's. A kernel without names of functions tells none.
fn function(message: &Message<'_>) -> Result<Option<String>, Malformed> {
    let (_, attributes) = message.split::<4>()?;
    let (mut name, mut module) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            NFNLA_HOOK_FUNCTION_NAME => name = Some(attribute.text()),
            NFNLA_HOOK_MODULE_NAME => module = Some(attribute.text()),
            NFNLA_HOOK_CHAIN_INFO => {
                for info in attribute.nested() {
                    let info = info?;
                    if info.kind == NFNLA_HOOK_INFO_TYPE && info.be32()? == NFNL_HOOK_TYPE_NFTABLES
                    {
                        return Ok(None);
                    }
                }
            }
            _ => {}
        }
    }
    let nameless = || module.map_or_else(|| "one without a name".into(), |m| format!("one of {m}"));
    Ok(Some(name.unwrap_or_else(nameless)))
}

/// Whether SELinux judges packets that carry labels alone, by what the file of its policy's capability says.
fn judges_labels_alone(always_check_network: &io::Result<Vec<u8>>) -> bool {
    match always_check_network {
        Ok(value) => value.trim_ascii() == b"0",
        // A kernel without SELinux, or one that runs without it.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is_harmless(function: &str, labels_alone: bool) -> bool {
    HARMLESS.iter().any(|prefix| function.starts_with(prefix))
        || labels_alone && function.starts_with(SELINUX)
}

fn reason(family: IpFamily, functions: &[(String, &'static str)]) -> Option<Reason> {
    if functions.is_empty() {
        return None;
    }
    let what = if functions.iter().any(|(name, _)| name.contains("conntrack")) {
        "conntrack follows all packets, because a rule of any chain or a module asks for it"
    } else {
        "functions of the kernel or of BPF programs"
    };
    let named: Vec<_> =
        functions.iter().map(|(function, hook)| format!("`{function}` on {hook}")).collect();
    let sentence = format!("netfilter: {what}: {} (`nft list hooks`)", named.join(", "));
    Some(Reason::everywhere(Code::Netfilter, sentence).of(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_40_hooks_that_change_whenever_they_are_read_are_not_known() {
        let mut asked = 0;
        let mut interrupted = |times| {
            asked = 0;
            whole(|| {
                asked += 1;
                if asked > times { Ok(asked) } else { Err(DumpError::Interrupted) }
            })
        };
        assert_eq!(interrupted(0).expect("an answer"), 1);
        assert_eq!(interrupted(ATTEMPTS - 1).expect("an answer"), ATTEMPTS);
        assert!(matches!(interrupted(ATTEMPTS), Err(DumpError::Interrupted)));
    }

    #[test]
    fn row_40_selinux_judges_labels_alone_unless_its_policy_says_else_or_cannot_be_read() {
        let says = |text: &str| judges_labels_alone(&Ok(text.into()));
        assert!(says("0") && says("0\n") && !says("1") && !says(""));
        let fails = |kind: io::ErrorKind| judges_labels_alone(&Err(kind.into()));
        assert!(fails(io::ErrorKind::NotFound) && !fails(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn row_40_functions_that_are_not_known_as_harmless_stand_against_their_family() {
        for harmless in ["nft_do_chain_inet", "nf_nat_ipv4_pre_routing", "selinux_ip_forward"] {
            assert!(is_harmless(harmless, true), "{harmless}");
        }
        for other in ["ipv4_conntrack_in", "nf_confirm", "nf_hook_run_bpf", "ip_vs_reply4"] {
            assert!(!is_harmless(other, true), "{other}");
        }
        assert!(!is_harmless("selinux_ip_forward", false));
        assert!(is_harmless("nf_nat_ipv4_pre_routing", false));
        assert_eq!(reason(IpFamily::V4, &[]), None);
        let conntrack = [("ipv6_conntrack_in".to_owned(), "prerouting")];
        let against = reason(IpFamily::V6, &conntrack).expect("it stands against IPv6");
        assert_eq!((against.family, against.code), (Some(IpFamily::V6), Code::Netfilter));
        assert!(against.sentence.contains("conntrack follows"), "{against:?}");
        let bpf = [("nf_hook_run_bpf".to_owned(), "forward")];
        let against = reason(IpFamily::V4, &bpf).expect("it stands against IPv4").sentence;
        assert!(against.contains("BPF") && against.contains("`nf_hook_run_bpf` on forward"));
    }
}
