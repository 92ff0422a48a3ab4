//! A case: what is set up, what is changed, and what is sent in between. Written as text, so that one that was found can be
//! kept and run again.
//!
//! ```text
//! # anything
//! ip route add 10.8.0.0/16 via 10.0.1.2 proto 77
//! sysctl net/ipv4/conf/p0/rp_filter=1
//! send p0 020000000001...
//! ```
//!
//! Commands before the first frame are the set-up; what stands between frames is a change, which the agent has taken in
//! before the next frame is sent.

use std::fmt::{self, Write as _};

use anyhow::{Context, Result, bail};

/// How many ports each router has.
pub const PORTS: usize = 4;

/// A frame, and the port of the router that it is sent into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Number of the port.
    pub port: usize,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// Commands, and the frames sent when they are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// `ip …` and `sysctl name=value`.
    pub commands: Vec<String>,
    /// In the order in which they are sent.
    pub frames: Vec<Sent>,
}

/// Steps from a router as it is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// The first one is the set-up.
    pub steps: Vec<Step>,
}

impl Case {
    /// How many frames are sent.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.steps.iter().map(|step| step.frames.len()).sum()
    }

    /// All commands.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| &step.commands).map(String::as_str)
    }

    /// Reads the text.
    ///
    /// # Errors
    /// If a line is of no known kind.
    pub fn parse(text: &str) -> Result<Self> {
        let mut case = Self { steps: vec![Step::default()] };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let step = case.steps.last_mut().context("there is always a step")?;
            if let Some(rest) = line.strip_prefix("send p") {
                step.frames.push(sent(rest).with_context(|| format!("cannot read `{line}`"))?);
            } else if line.starts_with("ip ") || line.starts_with("sysctl ") {
                if step.frames.is_empty() {
                    step.commands.push(line.to_owned());
                } else {
                    case.steps.push(Step { commands: vec![line.to_owned()], frames: Vec::new() });
                }
            } else {
                bail!("`{line}` is neither `ip …`, `sysctl name=value` nor `send pN HEX`");
            }
        }
        Ok(case)
    }
}

fn sent(text: &str) -> Result<Sent> {
    let (port, digits) = text.split_once(' ').context("port and bytes are needed")?;
    let port = port.parse().ok().filter(|port| *port < PORTS).context("there is no such port")?;
    let pairs = digits.trim().as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let frame = pairs.map(byte).collect::<Option<_>>().context("the bytes are not hexadecimal")?;
    Ok(Sent { port, frame })
}

/// Bytes in hexadecimal, without anything between.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            for command in &step.commands {
                writeln!(f, "{command}")?;
            }
            for Sent { port, frame } in &step.frames {
                writeln!(f, "send p{port} {}", hex(frame))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "ip route add 10.8.0.0/16 dev p1\nsysctl a/b=1\nsend p0 0011ff\nip link set p1 down\n\
                    send p3 00\nsend p1 0a\n";
        let case = Case::parse(&format!("# found somewhere\n\n{text}")).unwrap();
        assert_eq!((case.steps.len(), case.frames()), (2, 3));
        assert_eq!(case.steps[1].frames[1], Sent { port: 1, frame: vec![10] });
        assert_eq!(case.to_string(), text);
        for wrong in ["send p4 00", "send p0 0x", "send p0", "rm -rf /"] {
            assert!(Case::parse(wrong).is_err(), "{wrong}");
        }
    }
}
