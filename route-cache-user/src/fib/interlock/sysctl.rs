//! Settings of /proc/sys/net/ipv4 that change how packets are forwarded. Documentation/networking/ip-sysctl.rst.

use std::io::ErrorKind;

use anyhow::Context;

use super::reason::Reason;

const USE_PMTU: &str = "/proc/sys/net/ipv4/ip_forward_use_pmtu";

/// The settings in force in the calling thread's namespace.
pub(super) fn reasons() -> anyhow::Result<Vec<Reason>> {
    let value = match std::fs::read_to_string(USE_PMTU) {
        Ok(value) => value,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {USE_PMTU}")),
    };
    Ok(match value.trim() {
        "0" => Vec::new(),
        _ => vec![Reason::everywhere(
            "sysctl",
            "net.ipv4.ip_forward_use_pmtu is set: the kernel limits forwarded packets to path MTUs it \
             was told of, which only it knows",
        )],
    })
}
