//! ICMP echo there and back.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::Lab;

/// One every 10 ms.
const PER_SECOND: f64 = 100.0;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinged {
    /// Requests sent.
    pub sent: u64,
    /// Answers received.
    pub received: u64,
}

/// Pings the server from the client.
///
/// # Errors
/// If `ping` cannot be started or says something else than it always does.
pub fn ping(lab: &Lab, duration: Duration) -> Result<Pinged> {
    let count = ((duration.as_secs_f64() * PER_SECOND) as u64).max(10).to_string();
    let server = lab.server.address.to_string();
    let argv = ["ping", "-n", "-q", "-i", "0.01", "-W", "2", "-c", &count, &server];
    let finished = lab.client.namespace.run(&argv)?;
    parse(&finished.stdout).with_context(|| {
        format!("cannot read what ping says: {}{}", finished.stdout, finished.stderr)
    })
}

/// Reads `50 packets transmitted, 50 received, 0% packet loss, time 512ms`.
fn parse(text: &str) -> Option<Pinged> {
    let line = text.lines().find(|line| line.contains(" packets transmitted"))?;
    let number = |part: &str| part.split_whitespace().next()?.parse().ok();
    let mut parts = line.split(", ");
    Some(Pinged { sent: number(parts.next()?)?, received: number(parts.next()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_last_but_one_line() {
        let text = "PING 10.0.2.2\n\n--- 10.0.2.2 ping statistics ---\n\
                    50 packets transmitted, 49 received, +1 duplicates, 2% packet loss, time 512ms\nrtt\n";
        assert_eq!(parse(text), Some(Pinged { sent: 50, received: 49 }));
        assert_eq!(parse("ping: unknown host"), None);
    }
}
