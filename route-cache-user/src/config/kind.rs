//! The kinds of values, and how each is read from text.

use std::num::IntErrorKind;

use clap::ValueEnum;
use glob::Pattern;

use super::value::Value;
use crate::cli::duration;

/// Longest interface name the kernel takes, in bytes.
const LONGEST_NAME: usize = 15;

/// Longest path of a Unix socket, in bytes.
const LONGEST_SOCKET: usize = 107;

/// What a value may be. `or` is the word that stands for none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole seconds, at least this many.
    Duration { least: u64 },
    /// 1 to `most`.
    Count { most: u32, or: Option<&'static str> },
    /// So many a second: 0 to `most`.
    Rate { most: u32 },
    /// 0 to `most`; 0 for none at all.
    Size { most: u32 },
    /// Yes or no.
    Flag,
    /// Names of interfaces, or patterns of them; `none` for an empty list.
    Names,
    /// IP address and port.
    Address,
    /// A network namespace.
    Name { or: &'static str },
    /// The path of a Unix socket.
    Path,
    /// See [`XdpMode`](crate::cli::XdpMode).
    XdpMode,
    /// See [`LogLevel`](crate::cli::LogLevel).
    LogLevel,
    /// See [`CloneOn`](crate::cli::CloneOn).
    CloneOn,
    /// See [`IndexMode`](crate::cli::IndexMode).
    IndexMode,
    /// See [`EgressCheck`](crate::cli::EgressCheck).
    EgressCheck,
}

impl Kind {
    /// Reads a value as people type it.
    ///
    /// # Errors
    ///
    /// What is wrong, as a sentence without its subject.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Count { or: Some(word), .. } | Self::Name { or: word } if text == word => {
                Ok(Value::Absent(word))
            }
            Self::Duration { least } => seconds(text, least),
            Self::Count { most, or } => count(text, most, or).map(Value::Count),
            Self::Rate { .. } if text == "0" => Ok(Value::Count(0)),
            Self::Rate { most } => count(text, most, Some("0")).map(Value::Count),
            Self::Size { .. } if text == "0" => Ok(Value::Count(0)),
            Self::Size { most } => count(text, most, Some("0")).map(Value::Count),
            Self::Flag => flag(text).map(Value::Flag),
            Self::Names => names(text).map(Value::Names),
            Self::Address => text
                .parse()
                .map(Value::Address)
                .map_err(|_| "expected IP:PORT, such as 127.0.0.1:9477 or [::1]:9477".to_owned()),
            Self::Name { .. } => path_like(text, "namespace").map(Value::Name),
            Self::Path if text.len() > LONGEST_SOCKET => Err(format!(
                "longer than the {LONGEST_SOCKET} bytes that the path of a socket may have"
            )),
            Self::Path => path_like(text, "path").map(|path| Value::Path(path.into())),
            Self::XdpMode => word(text).map(Value::XdpMode),
            Self::LogLevel => word(text).map(Value::LogLevel),
            Self::CloneOn => word(text).map(Value::CloneOn),
            Self::IndexMode => word(text).map(Value::IndexMode),
            Self::EgressCheck => word(text).map(Value::EgressCheck),
        }
    }
}

fn seconds(text: &str, least: u64) -> Result<Value, String> {
    let duration = duration::parse(text)?;
    if duration.as_secs() < least {
        return Err(format!("must be at least {least}s"));
    }
    Ok(Value::Duration(duration))
}

fn count(text: &str, most: u32, or: Option<&str>) -> Result<u32, String> {
    let or = or.map(|word| format!(", or {word}")).unwrap_or_default();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expected a whole number from 1 to {most}{or}"));
    }
    if digits.len() < text.len() {
        return Err(format!("must not be negative: expected 1 to {most}{or}"));
    }
    match text.parse::<u32>() {
        Ok(0) => Err(format!("must be at least 1{or}")),
        Ok(number) if number <= most => Ok(number),
        Err(error) if *error.kind() != IntErrorKind::PosOverflow => Err(error.to_string()),
        Ok(_) | Err(_) => Err(format!("more than {most}")),
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// Names between commas or blanks, neither of which anybody has in the name of an interface.
fn names(text: &str) -> Result<Vec<Pattern>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let between = |c: char| c == ',' || c.is_whitespace();
    let names: Vec<_> = text
        .split(between)
        .filter(|name| !name.is_empty())
        .map(interface)
        .collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err("expected the name of an interface, or none".into());
    }
    Ok(names)
}

/// Reads the name of an interface, or a pattern of names.
///
/// # Errors
///
/// What is wrong, as a sentence without its subject.
pub(super) fn interface(text: &str) -> Result<Pattern, String> {
    let never = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.contains(never) {
        return Err("not the name of an interface".into());
    }
    if !text.contains(['*', '?', '[']) && text.len() > LONGEST_NAME {
        return Err(format!("longer than {LONGEST_NAME} bytes, which no interface name can be"));
    }
    Pattern::new(text).map_err(|error| format!("not a pattern: {}", error.msg))
}

fn path_like(text: &str, what: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err(format!("expected a {what}"));
    }
    Ok(text.to_owned())
}

fn word<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| format!("expected {}", words::<T>()))
}

/// `error, warn or info`.
fn words<T: ValueEnum>() -> String {
    let names: Vec<_> = T::value_variants().iter().filter_map(T::to_possible_value).collect();
    let names: Vec<&str> = names.iter().map(|name| name.get_name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
