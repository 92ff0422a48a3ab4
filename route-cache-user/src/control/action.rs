//! What the operator can have the agent do, with everything parsed.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use ipnet::IpNet;

use crate::{
    config::{Setting, Value, parse_setting},
    fib::family::IpFamily,
};

/// An order to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Change a setting, one that can change at run time.
    Set(Setting, Value),
    /// Remove the clones that fit all that is given; with nothing given, all.
    Flush {
        /// Clones to these destinations; without host bits.
        prefix: Option<IpNet>,
        /// Clones through this interface.
        dev: Option<String>,
        /// Clones of this family; that of the prefix, if there is one.
        family: Option<IpFamily>,
    },
    /// Remove all clones, as under memory pressure (S13).
    Drain,
    /// Remove the clones through an interface, as if it had gone down (S14).
    Purge {
        /// Which.
        dev: String,
        /// Even if it is exempt (S15).
        force: bool,
    },
}

impl Action {
    /// From the words of the operator.
    pub(super) fn set(name: &str, value: &str) -> Result<Self> {
        let (setting, value) = parse_setting(name, value)?;
        Ok(Self::Set(setting, value))
    }

    /// From the words of the operator.
    pub(super) fn flush(
        prefix: Option<IpNet>,
        dev: Option<&str>,
        family: Option<&str>,
    ) -> Result<Self> {
        let of_prefix = prefix.map(|prefix| IpFamily::of(prefix.addr()));
        let given = family.map(parse_family).transpose()?;
        if let (Some(prefix), Some(of_prefix), Some(given)) = (prefix, of_prefix, given)
            && of_prefix != given
        {
            bail!("{prefix} is {of_prefix} and not {given}: give one or the other");
        }
        Ok(Self::Flush {
            prefix: prefix.map(|prefix| prefix.trunc()),
            dev: dev.map(interface).transpose()?,
            family: of_prefix.or(given),
        })
    }

    /// From the words of the operator.
    pub(super) fn purge(dev: &str, force: bool) -> Result<Self> {
        Ok(Self::Purge { dev: interface(dev)?, force })
    }
}

fn parse_family(text: &str) -> Result<IpFamily> {
    IpFamily::named(text)
        .ok_or_else(|| anyhow!("no family is called '{}': there are ipv4 and ipv6", start_of(text)))
}

/// A name that the kernel would allow (dev_valid_name).
pub(super) fn interface(name: &str) -> Result<String> {
    let forbidden = |byte: u8| byte.is_ascii_whitespace() || byte == b'/' || byte == b':';
    if matches!(name, "" | "." | "..") || name.len() > 15 || name.bytes().any(forbidden) {
        bail!("'{}' cannot be the name of an interface", start_of(name));
    }
    Ok(name.to_owned())
}

/// For a message: what was said may be as long as a request.
fn start_of(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// As one would say it: `flush the clones to 10.0.0.0/8 through eth1`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(setting, value) => write!(f, "set {setting} to {value}"),
            Self::Flush { prefix: None, dev: None, family: None } => {
                f.write_str("flush all clones")
            }
            Self::Flush { prefix, dev, family } => {
                f.write_str("flush the clones")?;
                match (prefix, family) {
                    (Some(prefix), _) => write!(f, " to {prefix}")?,
                    (None, Some(family)) => write!(f, " of {family}")?,
                    (None, None) => {}
                }
                match dev {
                    Some(dev) => write!(f, " through {}", dev.escape_debug()),
                    None => Ok(()),
                }
            }
            Self::Drain => f.write_str("drain all CPUs"),
            Self::Purge { dev, force: false } => write!(f, "purge {}", dev.escape_debug()),
            Self::Purge { dev, force: true } => {
                write!(f, "purge {} by force", dev.escape_debug())
            }
        }
    }
}
