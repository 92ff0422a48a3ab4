//! An event as a line for people.

use std::fmt::Write as _;

use super::table::printable;
use crate::events::{Direction, Entry, Event};

/// `12.345s clone 10.0.2.2 of CPU 0 expired (timeout), idle 2s`.
pub(super) fn describe(entry: &Entry) -> String {
    let mut line = format!("{:.3}s ", entry.at_seconds);
    // A String takes all that is written to it.
    let _ = match &entry.event {
        Event::CloneExpired { dst, cpu, reason, idle_seconds } => {
            let idle = seconds(*idle_seconds);
            write!(line, "clone {dst} of CPU {cpu} expired ({reason}), idle {idle}")
        }
        Event::ClonesCreated { cpu, count } => {
            write!(line, "{} created on CPU {cpu}", clones(*count, ""))
        }
        Event::ClonesExpired { cpu, reason, count } => {
            write!(line, "{} of CPU {cpu} expired ({reason})", clones(*count, "more "))
        }
        Event::Timeout { from_seconds, to_seconds, direction } => {
            let verb = match direction {
                Direction::Shrunk => "shrunk",
                Direction::Recovered => "recovered",
                Direction::Set => "set",
            };
            write!(
                line,
                "timeout {verb} from {} to {}",
                seconds(*from_seconds),
                seconds(*to_seconds)
            )
        }
        Event::Drain { cpus } => {
            let cpus: Vec<String> = cpus.iter().map(u32::to_string).collect();
            write!(line, "drain of CPU {}", cpus.join(", "))
        }
        Event::Purge { dev } => write!(line, "purge of {dev}"),
        Event::Flush { what } => write!(line, "flush of {what}"),
        Event::AuditMismatch { dst, cpu, clone, kernel } => {
            write!(line, "clone {dst} of CPU {cpu} said {clone}, the kernel says {kernel}: removed")
        }
        Event::Pressure { level } => write!(line, "memory pressure: {level}"),
        Event::Admission { mode } => write!(line, "admission of clones: {mode}"),
        Event::Resync { cause } => write!(line, "resync ({cause})"),
        Event::Link { dev, state } => write!(line, "link {dev} {state}"),
        Event::RedirectErrors { dev, cause, count } => {
            write!(line, "{count} redirected packets lost at {dev} ({cause})")
        }
        Event::Egress { dev, state, reason: Some(reason) } => {
            write!(line, "egress {dev} {state}: {reason}")
        }
        Event::Egress { dev, state, reason: None } => write!(line, "egress {dev} {state}"),
        Event::Setting { name, from, to, origin } => {
            write!(line, "{name} set from {from} to {to} ({origin})")
        }
        Event::Skipped { count: 1 } => write!(line, "1 event is missing here: read too slowly"),
        Event::Skipped { count } => {
            write!(line, "{count} events are missing here: read too slowly")
        }
    };
    printable(&line).into_owned()
}

fn clones(count: u64, more: &str) -> String {
    if count == 1 { format!("1 {more}clone") } else { format!("{count} {more}clones") }
}

/// With as many digits as matter, up to milliseconds.
fn seconds(seconds: f64) -> String {
    format!("{}s", (seconds * 1000.0).round() / 1000.0)
}
