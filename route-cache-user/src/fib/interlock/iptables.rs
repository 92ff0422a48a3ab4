//! iptables-legacy: the tables it uses. net/netfilter/x_tables.c.

use std::io::ErrorKind;

use anyhow::Context;

use super::reason::Reason;
use crate::fib::family::IpFamily;
use crate::fib::why::Code;

/// The files of the calling thread's namespace, and the modules that make the tables; `/proc/self` would be that of the
/// process.
const TABLES: [(IpFamily, &str, &str); 2] = [
    (IpFamily::V4, "iptable", "/proc/thread-self/net/ip_tables_names"),
    (IpFamily::V6, "ip6table", "/proc/thread-self/net/ip6_tables_names"),
];

/// One reason for each table, whether it holds rules or not: that can only be asked with a socket option
/// for which there is no safe call.
pub(super) fn reasons() -> anyhow::Result<Vec<Reason>> {
    let mut reasons = Vec::new();
    for (family, module, file) in TABLES {
        match std::fs::read_to_string(file) {
            Ok(names) => reasons.extend(names.lines().map(|table| reason(family, module, table))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {file}")),
        }
    }
    Ok(reasons)
}

fn reason(family: IpFamily, module: &str, table: &str) -> Reason {
    let tool = match family {
        IpFamily::V4 => "iptables",
        IpFamily::V6 => "ip6tables",
    };
    let sentence = format!(
        "{tool}-legacy: table `{table}` is in use and may hold rules; if it holds none, unload \
         the module `{module}_{table}`, or do without {tool}-legacy ({tool}-nft is looked into)"
    );
    Reason::everywhere(Code::Netfilter, sentence).of(family)
}
