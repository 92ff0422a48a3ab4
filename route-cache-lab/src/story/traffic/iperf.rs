//! iperf3, TCP and UDP.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Lab, wait_until};

/// How long iperf3 may take longer than it should.
const PATIENCE: Duration = Duration::from_secs(15);

/// Kept modest, so that what is lost is lost by the router and not for want of CPU.
const UDP_RATE: [&str; 5] = ["-u", "-b", "20M", "-l", "1200"];

/// How a TCP transfer went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp {
    /// What the receiver got.
    pub bits_per_second: f64,
    /// Segments sent again.
    pub retransmits: u64,
}

/// How UDP went.
#[derive(Debug, Clone, Copy)]
pub struct Udp {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that did not arrive.
    pub lost: u64,
}

/// Transfers from client to server as fast as it goes.
///
/// # Errors
/// If iperf3 fails, or `stop` says so.
pub fn tcp(lab: &Lab, duration: Duration, stop: impl Fn() -> bool) -> Result<Tcp> {
    let result = run(lab, duration, &[], stop)?;
    let number = |path: &str| result.pointer(path).with_context(|| format!("iperf3: no {path}"));
    Ok(Tcp {
        bits_per_second: number("/end/sum_received/bits_per_second")?.as_f64().unwrap_or_default(),
        retransmits: number("/end/sum_sent/retransmits")?.as_u64().unwrap_or_default(),
    })
}

/// Sends datagrams from client to server at a modest rate.
///
/// # Errors
/// If iperf3 fails, or `stop` says so.
pub fn udp(lab: &Lab, duration: Duration, stop: impl Fn() -> bool) -> Result<Udp> {
    let result = run(lab, duration, &UDP_RATE, stop)?;
    let number = |path: &str| {
        let value = result.pointer(path).and_then(Value::as_u64);
        value.with_context(|| format!("iperf3 did not report {path}"))
    };
    Ok(Udp { sent: number("/end/sum/packets")?, lost: number("/end/sum/lost_packets")? })
}

fn run(
    lab: &Lab,
    duration: Duration,
    arguments: &[&str],
    stop: impl Fn() -> bool,
) -> Result<Value> {
    let mut server = lab.server.namespace.spawn(&["iperf3", "-s", "-1", "--forceflush"])?;
    server.wait_for_text("Server listening", PATIENCE)?;

    // It takes whole seconds only.
    let seconds = duration.as_secs_f64().round().max(1.0);
    let (seconds_text, address) = (seconds.to_string(), lab.server.address.to_string());
    let argv = [&["iperf3", "-J", "-c", &address, "-t", &seconds_text], arguments].concat();
    let mut client = lab.client.namespace.spawn(&argv)?;
    let patience = Duration::from_secs_f64(seconds) + PATIENCE;
    wait_until("iperf3 to end", patience, || client.ended().is_some() || stop())?;
    if client.ended().is_none() {
        bail!("iperf3 was stopped");
    }
    let result: Value = serde_json::from_str(&client.stdout())
        .with_context(|| format!("iperf3 did not print JSON: {}", client.stderr().trim()))?;
    match result["error"].as_str() {
        Some(error) => bail!("`{}` in {}: {error}", argv.join(" "), lab.client.namespace.name()),
        None => Ok(result),
    }
}
