//! Settings that change how packets are forwarded, and that nothing announces. Documentation/networking/ip-sysctl.rst.

use std::io::ErrorKind;

use anyhow::Context;

use super::reason::Reason;
use crate::fib::family::IpFamily;
use crate::fib::why::{Code, Why};

const USE_PMTU: &str = "/proc/sys/net/ipv4/ip_forward_use_pmtu";
const PROXY_NDP: &str = "/proc/sys/net/ipv6/conf/all/proxy_ndp";

/// The settings in force in the calling thread's namespace.
pub(super) fn reasons() -> anyhow::Result<Vec<Reason>> {
    let mut reasons = Vec::new();
    if is_set(USE_PMTU)? {
        let sentence = "net.ipv4.ip_forward_use_pmtu is set: the kernel limits forwarded packets to path MTUs it \
                        was told of, which only it knows";
        reasons.push(Reason::everywhere(Code::Sysctl, sentence).of(IpFamily::V4));
    }
    if is_set(PROXY_NDP)? {
        let sentence = "net.ipv6.conf.all.proxy_ndp is set: the kernel looks every destination up among the \
                        addresses it answers for";
        reasons.push(Reason::everywhere(Code::Sysctl, sentence).of(IpFamily::V6));
    }
    Ok(reasons)
}

/// What the settings of an interface say about IPv6: what stands against it, and its MTU. Nothing where there is no IPv6.
pub(super) fn ipv6_of(interface: &str) -> anyhow::Result<(Vec<Why>, Option<u32>)> {
    let file = |name: &str| format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
    let mut against = Vec::new();
    if is_set(&file("disable_ipv6"))? {
        let sentence = format!("IPv6 is disabled on {interface} (disable_ipv6)");
        against.push(Why::new(Code::Ipv6Disabled, sentence));
    }
    let mtu = read(&file("mtu"))?.and_then(|value| value.parse().ok());
    Ok((against, mtu))
}

fn is_set(file: &str) -> anyhow::Result<bool> {
    Ok(read(file)?.is_some_and(|value| value != "0"))
}

fn read(file: &str) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {file}")),
    }
}
