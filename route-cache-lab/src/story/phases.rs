//! The three phases: the kernel alone, with the cache, and at the hosts' default offloads.

use anyhow::Result;

use super::{
    meter::Meter,
    report::Report,
    stage::Stage,
    traffic::{flood::flood, iperf, ping::ping, probe::probe},
};
use crate::{Agent, Checksums, Lab, Snmp, link::offload};

// Shares of the time, in hundredths.
const TCP: u64 = 13;
const UDP: u64 = 7;
const SMALL: u64 = 8;
const PROBE: u64 = 6;

/// Without the agent, for comparison.
pub(super) fn kernel_only(stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let (lab, interrupt) = (stage.lab, stage.interrupt);
    let stop = || interrupt.is_raised();
    let (small, tcp) = (stage.share(SMALL), stage.share(TCP));

    // Frames without a socket buffer are taken only by an interface with NAPI, which attaching XDP turns on by itself.
    let napi = |on| offload(&lab.router, &lab.client.router_interface, "gro", on);
    napi(true)?;
    report.kernel.small =
        stage.step("kernel only, small packets", None, || flood(lab, small, stop))?;
    napi(false)?;
    report.kernel.tcp =
        stage.step("kernel only, TCP, complete checksums", None, || iperf::tcp(lab, tcp, stop))?;
    send_checksums(lab, Checksums::Partial)?;
    report.kernel.tcp_default =
        stage.step("kernel only, TCP, default offloads", None, || iperf::tcp(lab, tcp, stop))?;
    send_checksums(lab, Checksums::Complete)
}

/// With the cache, and checksums that are complete as from a wire.
pub(super) fn with_cache(stage: &mut Stage<'_>, agent: &Agent, report: &mut Report) -> Result<()> {
    let (lab, interrupt) = (stage.lab, stage.interrupt);
    let stop = || interrupt.is_raised();
    let step = |name: &str| format!("with the cache, {name}");

    let before = Meter::read(lab, agent)?;
    let pinging = stage.share(UDP);
    let pinged = stage.step(&step("ping"), Some(agent), || ping(lab, pinging))?;
    report.checks.note(
        pinged.received == pinged.sent,
        format!("ping: {} of {} requests were answered", pinged.received, pinged.sent),
    );
    report.forwarded_by_xdp("ping", 2 * pinged.sent, &before.since(lab, agent)?);

    let before = Meter::read(lab, agent)?;
    let udp = stage.share(UDP);
    let dropped =
        || Ok::<_, anyhow::Error>(Snmp::read(&lab.server.namespace)?.get("Udp", "RcvbufErrors"));
    let dropped_before = dropped()?;
    let sent = stage.step(&step("iperf3 UDP"), Some(agent), || iperf::udp(lab, udp, stop))?;
    // iperf3 takes a small socket buffer. What the server's kernel dropped there had passed the router.
    let at_socket = dropped()? - dropped_before;
    let on_the_way = sent.lost.saturating_sub(at_socket);
    report.checks.note(
        on_the_way == 0,
        format!("iperf3 UDP: {on_the_way} of {} datagrams were lost on the way", sent.sent),
    );
    report.forwarded_by_xdp("iperf3 UDP", sent.sent, &before.since(lab, agent)?);

    let before = Meter::read(lab, agent)?;
    let probing = stage.share(PROBE);
    let probed = stage.step(&step("numbered UDP"), Some(agent), || probe(lab, probing, stop))?;
    report.probed("with the cache", probed);
    report.forwarded_by_xdp("numbered UDP", probed.sent, &before.since(lab, agent)?);

    let before = Meter::read(lab, agent)?;
    let transfer = stage.share(TCP);
    report.cache.tcp =
        stage.step(&step("iperf3 TCP"), Some(agent), || iperf::tcp(lab, transfer, stop))?;
    // Every segment has 1,448 bytes of payload or fewer.
    let least =
        report.cache.tcp.bits_per_second / 8.0 / 1448.0 * transfer.as_secs_f64().round().max(1.0);
    report.forwarded_by_xdp("iperf3 TCP", (least * 0.9) as u64, &before.since(lab, agent)?);

    let before = Meter::read(lab, agent)?;
    let small = stage.share(SMALL);
    let flooded = stage.step(&step("small packets"), Some(agent), || flood(lab, small, stop))?;
    report.cache.small = flooded;
    report.forwarded_by_xdp("small packets", flooded.arrived, &before.since(lab, agent)?);
    Ok(())
}

/// With the cache, and checksums that are left to be completed (row 39a).
pub(super) fn default_offloads(
    stage: &mut Stage<'_>,
    agent: &Agent,
    report: &mut Report,
) -> Result<()> {
    let (lab, interrupt) = (stage.lab, stage.interrupt);
    let stop = || interrupt.is_raised();
    send_checksums(lab, Checksums::Partial)?;
    let before = Meter::read(lab, agent)?;
    let broken_before = Snmp::read(&lab.server.namespace)?.checksum_errors();

    let (transfer, probing) = (stage.share(TCP), stage.share(PROBE));
    report.cache.tcp_default = stage
        .step("default offloads, iperf3 TCP", Some(agent), || iperf::tcp(lab, transfer, stop))?;
    let probed =
        stage.step("default offloads, numbered UDP", Some(agent), || probe(lab, probing, stop))?;

    let done = before.since(lab, agent)?;
    let broken = Snmp::read(&lab.server.namespace)?.checksum_errors() - broken_before;
    let passed = done.outcome("pass_partial_checksum");
    report.checks.note(
        passed > probed.sent && done.by_kernel > 0,
        format!(
            "default offloads: {passed} packets with a partial checksum were left to the kernel"
        ),
    );
    report.checks.note(
        broken == 0,
        format!("default offloads: {broken} segments arrived at the server with a broken checksum"),
    );
    report.probed("default offloads", probed);
    Ok(())
}

/// Ends the agent and looks what it leaves.
pub(super) fn end(lab: &Lab, agent: &mut Agent, report: &mut Report) -> Result<()> {
    let status = match agent.ended() {
        Some(status) => status,
        None => agent.stop()?,
    };
    report.checks.note(status.success(), format!("the agent ended when told to: {status}"));
    let links = lab.router.exec(&["ip", "-details", "link", "show"])?;
    report.checks.note(
        !links.contains("prog/xdp"),
        "no XDP program is left on the router's interfaces".to_owned(),
    );
    Ok(())
}

fn send_checksums(lab: &Lab, checksums: Checksums) -> Result<()> {
    lab.client.send_checksums(checksums)?;
    lab.server.send_checksums(checksums)
}
