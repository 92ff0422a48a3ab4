//! Veth pairs between namespaces.

use std::{io, os::fd::OwnedFd};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use crate::{
    Namespace,
    sys::{self, ProgramKind},
};

/// A link-layer address.
pub type Mac = [u8; 6];

/// One end of a veth pair.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The namespace it is put into.
    pub namespace: &'a Namespace,
    /// The name of the interface.
    pub interface: &'a str,
    /// Its link-layer address.
    pub mac: Mac,
    /// Its address and prefix length, as in `10.0.1.1/24`.
    pub address: &'a str,
}

/// Makes a veth pair, addresses it and sets it up.
///
/// # Errors
/// If `ip` or `ethtool` refuses.
pub fn connect(near: End<'_>, far: End<'_>) -> Result<()> {
    let (near_mac, far_mac) = (readable(near.mac), readable(far.mac));
    near.namespace.exec(&[
        "ip",
        "link",
        "add",
        near.interface,
        "address",
        &near_mac,
        "type",
        "veth",
        "peer",
        "name",
        far.interface,
        "address",
        &far_mac,
        "netns",
        far.namespace.name(),
    ])?;
    for end in [near, far] {
        let ns = end.namespace;
        ns.sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", end.interface), "1")?;
        ns.sysctl(&format!("net/ipv4/conf/{}/rp_filter", end.interface), "0")?;
        ns.exec(&["ip", "address", "add", end.address, "dev", end.interface])?;
        ns.exec(&["ip", "link", "set", end.interface, "up"])?;
    }
    Ok(())
}

/// Turns an offload of an interface `on` or `off`, by the name `ethtool -K` knows.
///
/// # Errors
/// If `ethtool` refuses.
pub fn offload(ns: &Namespace, interface: &str, name: &str, on: bool) -> Result<()> {
    let state = if on { "on" } else { "off" };
    ns.exec(&["ethtool", "-K", interface, name, state]).map(drop)
}

/// `r0 = 2; exit`: XDP_PASS of an XDP program, TC_ACT_SHOT of one on a hook of traffic control.
const TWO: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// Until the result is dropped, a program that passes everything is attached to an interface: its veth peer takes redirected
/// frames then, also without GRO, which would merge what is captured.
///
/// # Errors
/// If the kernel refuses.
pub fn attach_pass(ns: &Namespace, interface: &str) -> Result<OwnedFd> {
    attach(ProgramKind::XDP, ns, interface)
        .with_context(|| format!("cannot attach an XDP program to {interface} in {}", ns.name()))
}

/// Until the result is dropped, a tcx program drops all that comes in on an interface. Nothing where the kernel has no tcx.
///
/// # Errors
/// If the kernel refuses.
pub fn attach_tcx_drop(ns: &Namespace, interface: &str) -> Result<Option<OwnedFd>> {
    match attach(ProgramKind::TCX_INGRESS, ns, interface) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        other => other.map(Some).with_context(|| {
            format!("cannot attach a tcx program to {interface} in {}", ns.name())
        }),
    }
}

fn attach(kind: ProgramKind, ns: &Namespace, interface: &str) -> io::Result<OwnedFd> {
    let attached = ns.run_in(|| {
        let program = sys::load(kind, &TWO)?;
        sys::attach(kind, &program, if_nametoindex(interface)?)
    });
    attached.map_err(io::Error::other)?
}

/// A link-layer address as people write it.
#[must_use]
pub fn readable(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_are_readable() {
        assert_eq!(super::readable([2, 0, 0, 0, 0x0a, 0xff]), "02:00:00:00:0a:ff");
    }
}
