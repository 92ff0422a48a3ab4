//! iptables-legacy: the tables it uses. net/netfilter/x_tables.c.

use std::io::ErrorKind;

use anyhow::Context;

use super::reason::Reason;

/// The file of the calling thread's namespace; `/proc/self` would be that of the process.
const TABLES: &str = "/proc/thread-self/net/ip_tables_names";

/// One reason for each table, whether it holds rules or not: that can only be asked with a socket option
/// for which there is no safe call.
pub(super) fn reasons() -> anyhow::Result<Vec<Reason>> {
    match std::fs::read_to_string(TABLES) {
        Ok(names) => Ok(names.lines().map(reason).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {TABLES}")),
    }
}

fn reason(table: &str) -> Reason {
    Reason::everywhere(
        "netfilter",
        format!(
            "iptables-legacy: table `{table}` is in use and may hold rules; if it holds none, unload \
             the module `iptable_{table}`, or do without iptables-legacy (iptables-nft is looked into)"
        ),
    )
}
