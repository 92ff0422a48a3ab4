//! A value: any of the kinds, shown as one would type it.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use glob::Pattern;

use crate::cli::{CloneOn, EgressCheck, IndexMode, LogLevel, XdpMode};

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// None of its own, as this word says: `auto`, `off`, `self`.
    Absent(&'static str),
    Duration(Duration),
    Count(u32),
    Flag(bool),
    Names(Vec<Pattern>),
    Address(SocketAddr),
    Name(String),
    Path(PathBuf),
    XdpMode(XdpMode),
    LogLevel(LogLevel),
    CloneOn(CloneOn),
    IndexMode(IndexMode),
    EgressCheck(EgressCheck),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(word) => f.write_str(word),
            Self::Duration(duration) => match duration.as_secs() {
                0 => f.write_str("0s"),
                seconds if seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
                seconds if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
                seconds => write!(f, "{seconds}s"),
            },
            Self::Count(count) => write!(f, "{count}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Names(names) if names.is_empty() => f.write_str("none"),
            Self::Names(names) => {
                let names: Vec<&str> = names.iter().map(Pattern::as_str).collect();
                f.write_str(&names.join(" "))
            }
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::XdpMode(mode) => word(mode, f),
            Self::LogLevel(level) => word(level, f),
            Self::CloneOn(when) => word(when, f),
            Self::IndexMode(when) => word(when, f),
            Self::EgressCheck(how) => word(how, f),
        }
    }
}

fn word(value: &impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value.to_possible_value() {
        Some(possible) => f.write_str(possible.get_name()),
        None => Ok(()),
    }
}

/// What a value is in the agent.
pub(crate) trait FromValue: Sized {
    /// Nothing, if it is of another kind.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $pattern:pat => $result:expr;)*) => {
        $(impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                if let $pattern = value { Some($result) } else { None }
            }
        })*
    };
}

from_value! {
    Duration, Value::Duration(duration) => duration;
    u32, Value::Count(count) => count;
    bool, Value::Flag(flag) => flag;
    Vec<Pattern>, Value::Names(names) => names;
    SocketAddr, Value::Address(address) => address;
    String, Value::Name(name) => name;
    PathBuf, Value::Path(path) => path;
    XdpMode, Value::XdpMode(mode) => mode;
    LogLevel, Value::LogLevel(level) => level;
    CloneOn, Value::CloneOn(when) => when;
    IndexMode, Value::IndexMode(when) => when;
    EgressCheck, Value::EgressCheck(how) => how;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Absent(_) => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
