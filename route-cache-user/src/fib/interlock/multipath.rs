//! How the kernel picks one of several next hops: `fib_multipath_hash_policy` and `fib_multipath_use_neigh`.
//! Documentation/networking/ip-sysctl.rst.

use std::io::ErrorKind;

use anyhow::Context;

use crate::fib::family::PerFamily;

/// How next-hop groups of a family are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Picking {
    /// By addresses.
    #[default]
    Addresses,
    /// By addresses, protocol and ports.
    Ports,
    /// In a way that is left to the kernel.
    Kernel(&'static str),
}

/// What is in force in the calling thread's namespace.
pub(super) fn picking() -> anyhow::Result<PerFamily<Picking>> {
    let mut v4 = of_policy(read("/proc/sys/net/ipv4/fib_multipath_hash_policy")?.as_deref());
    if !matches!(read("/proc/sys/net/ipv4/fib_multipath_use_neigh")?.as_deref(), None | Some("0")) {
        v4 = Picking::Kernel("fib_multipath_use_neigh is on");
    }
    let v6 = of_policy(read("/proc/sys/net/ipv6/fib_multipath_hash_policy")?.as_deref());
    Ok(PerFamily { v4, v6 })
}

fn of_policy(policy: Option<&str>) -> Picking {
    match policy {
        // A kernel that has no choice has no multipath routes, either.
        None | Some("0") => Picking::Addresses,
        Some("1") => Picking::Ports,
        Some(_) => Picking::Kernel("fib_multipath_hash_policy is neither 0 nor 1"),
    }
}

fn read(path: &str) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {path}")),
    }
}
