//! The commands that the lab and the tests call.

use std::path::Path;

use anyhow::{Result, bail};

use super::{apt, say};
use crate::invoke::find;

/// A command and the Debian package that it comes in.
pub(super) type Needed = (&'static str, &'static str);

/// Of the lab.
pub(super) const LAB: [Needed; 4] =
    [("ip", "iproute2"), ("ethtool", "ethtool"), ("ping", "iputils-ping"), ("iperf3", "iperf3")];

/// Of the tests, besides.
pub(super) const TESTS: [Needed; 6] = [
    ("nft", "nftables"),
    ("iptables-legacy", "iptables"),
    ("tcpdump", "tcpdump"),
    ("promtool", "prometheus"),
    ("bird", "bird2"),
    ("vtysh", "frr"),
];

/// A real full table, and what reads it: packages that bring files, and no commands.
const FULL_TABLE: [(&str, &str); 2] = [
    ("/var/lib/location/database.db", "libloc-database"),
    ("/usr/lib/python3/dist-packages/location/__init__.py", "python3-location"),
];

/// Makes sure that there is a full table.
pub(super) fn full_table() -> Result<()> {
    let is_missing = |&&(file, _): &&(&str, &'static str)| !Path::new(file).exists();
    let packages: Vec<&str> = FULL_TABLE.iter().filter(is_missing).map(|&(_, p)| p).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !apt::available() {
        bail!(
            "the full table is measured with Debian's libloc-database\ntype this: {}\nor measure without: cargo xtask bench --quick",
            apt::command_line(&packages)
        );
    }
    apt::install(&packages)
}

/// Of other kernels.
pub(super) const VIRTUAL_MACHINE: [Needed; 3] =
    [("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("xz", "xz-utils")];

/// Makes sure that all of them are there.
pub(super) fn ready(needed: &[Needed]) -> Result<()> {
    let missing = missing(needed);
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|&(_, package)| package).collect();
        if !apt::available() {
            let names: Vec<&str> = missing.iter().map(|&(command, _)| command).collect();
            bail!(
                "missing commands: {}\ntype this (on Debian): {}",
                names.join(", "),
                apt::command_line(&packages)
            );
        }
        apt::install(&packages)?;
    }
    let names: Vec<&str> = needed.iter().map(|&(command, _)| command).collect();
    say(&format!("commands: {}", names.join(", ")));
    Ok(())
}

fn missing(needed: &[Needed]) -> Vec<Needed> {
    needed.iter().copied().filter(|&(command, _)| find(command).is_none()).collect()
}
