//! BPF programs on the hooks of netfilter (Linux 6.4), for kernels that do not tell what is on their hooks. Of a program that
//! is attached the kernel tells neither namespace nor hook in a way that can be asked for here: any counts.

use aya::programs::{links::LinkType, loaded_links};

use super::reason::Reason;
use crate::fib::why::Code;

/// One reason for all of them. Who may not ask for programs (that takes CAP_SYS_ADMIN) does not learn of them.
pub(super) fn reason() -> Option<Reason> {
    let kinds = loaded_links().flatten().filter_map(|link| link.link_type().ok());
    of_kinds(kinds)
}

fn of_kinds(kinds: impl Iterator<Item = LinkType>) -> Option<Reason> {
    let count = kinds.filter(|kind| *kind == LinkType::Netfilter).count();
    let sentence = || {
        format!(
            "netfilter: {count} BPF programs on its hooks, perhaps of this namespace (`bpftool link`)"
        )
    };
    (count > 0).then(|| Reason::everywhere(Code::Netfilter, sentence()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_40_a_bpf_program_on_a_hook_of_netfilter_stands_against_both_families() {
        assert_eq!(of_kinds([LinkType::Xdp, LinkType::RawTracePoint].into_iter()), None);
        let against = of_kinds([LinkType::Xdp, LinkType::Netfilter].into_iter());
        let against = against.expect("it stands against it");
        assert_eq!((against.family, against.code), (None, Code::Netfilter));
        assert!(against.sentence.contains("1 BPF programs"), "{against:?}");
    }
}
