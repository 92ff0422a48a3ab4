//! As many small packets as the client can send.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use super::{
    frame_source::FrameSource,
    instruction::{EXIT, MOV_IMM, XDP_DROP, encode},
};
use crate::{Frame, Host, Lab, counters::InterfaceCount, sys};

/// A /24 behind the server, all of whose addresses are sent to; of those that RFC 2544 sets aside for measurements.
const NETWORK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flooded {
    /// Frames that arrived at the server's interface.
    pub arrived: u64,
    /// For how long.
    pub duration: Duration,
}

impl Flooded {
    /// Packets per second that arrived.
    #[must_use]
    pub fn rate(self) -> f64 {
        self.arrived as f64 / self.duration.as_secs_f64()
    }
}

/// Teaches the router the way.
///
/// # Errors
/// If `ip` refuses.
pub fn prepare(lab: &Lab) -> Result<()> {
    let (network, gateway) = (format!("{NETWORK}/24"), lab.server.address.to_string());
    lab.router.exec(&["ip", "route", "replace", &network, "via", &gateway]).map(drop)
}

/// Floods the router. Its interface to the client has to receive through NAPI: with XDP, or with GRO turned on.
///
/// # Errors
/// If the kernel cannot make frames.
pub fn flood(lab: &Lab, duration: Duration, stop: impl Fn() -> bool + Sync) -> Result<Flooded> {
    let count = |host: &Host| {
        Ok::<_, anyhow::Error>(InterfaceCount::read(&host.namespace, host.interface)?.rx_packets)
    };
    let sink = sink(&lab.server)?;
    let before = count(&lab.server)?;
    let started = Instant::now();
    lab.client.namespace.run_in(|| {
        let source = FrameSource::new(&lab.client, frame(lab))?;
        while started.elapsed() < duration && !stop() {
            source.send()?;
        }
        Ok::<_, anyhow::Error>(())
    })??;
    let duration = started.elapsed();
    let arrived = count(&lab.server)? - before;
    drop(sink);
    Ok(Flooded { arrived, duration })
}

/// Until it is dropped, what arrives at the host is counted and goes no further, so that it costs next to nothing.
fn sink(host: &Host) -> Result<OwnedFd> {
    let attach = || {
        let program = sys::load(
            sys::ProgramKind::XDP,
            &[encode(MOV_IMM, 0, 0, 0, XDP_DROP), encode(EXIT, 0, 0, 0, 0)],
        )?;
        sys::attach(sys::ProgramKind::XDP, &program, if_nametoindex(host.interface)?)
    };
    let attached: io::Result<OwnedFd> = host.namespace.run_in(attach)?;
    attached.context("cannot attach the XDP program that counts small packets at the server")
}

/// The smallest frame that Ethernet knows, without its frame check sequence.
fn frame(lab: &Lab) -> Vec<u8> {
    let (source, destination) = ((lab.client.address, 0x10ff), (NETWORK, 9));
    Frame::udp(source, destination, b"small").id(0xff).sent_by(&lab.client).pad_to(60).build()
}
