//! As many small packets as the client can send.

use std::{
    io::IoSlice,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, MultiHeaders, sendmmsg},
};

use crate::{
    Frame, Lab, RawSocket,
    counters::InterfaceCount,
    link::{Mac, readable},
};

/// Behind the server; a network that RFC 2544 sets aside for measurements.
const NETWORK: &str = "198.18.0.0/24";
/// Packets go to this many addresses of it in turn, each of which becomes a clone.
const DESTINATIONS: u8 = 200;
/// The gateway to it, which does not exist. Frames to a strange link-layer address arrive at the server's interface,
/// are counted there, and go no further, so that the server costs next to nothing.
const SINK: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 77);
const SINK_MAC: Mac = [2, 0, 0, 0, 2, 77];
/// Handed to the kernel in one system call.
const BATCH: usize = 50;

/// How it went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flooded {
    /// Frames that the client's interface took.
    pub sent: u64,
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

/// Teaches the router the way to the sink.
///
/// # Errors
/// If `ip` refuses.
pub fn prepare(lab: &Lab) -> Result<()> {
    let (sink, mac) = (SINK.to_string(), readable(SINK_MAC));
    lab.router.exec(&[
        "ip",
        "neighbour",
        "replace",
        &sink,
        "lladdr",
        &mac,
        "dev",
        &lab.server.router_interface,
        "nud",
        "permanent",
    ])?;
    lab.router.exec(&["ip", "route", "replace", NETWORK, "via", &sink]).map(drop)
}

/// Floods the router.
///
/// # Errors
/// If the socket fails.
pub fn flood(lab: &Lab, duration: Duration, stop: impl Fn() -> bool) -> Result<Flooded> {
    let socket =
        RawSocket::open(&lab.client.namespace, lab.client.interface)?.into_bulk_sender()?;
    let frames = frames(lab);
    let count = |host: &crate::Host| InterfaceCount::read(&host.namespace, host.interface);
    let before = (count(&lab.client)?.tx_packets, count(&lab.server)?.rx_packets);
    let started = Instant::now();
    while started.elapsed() < duration && !stop() {
        for batch in frames.chunks(BATCH) {
            send(&socket, batch)?;
        }
    }
    let duration = started.elapsed();
    let after = (count(&lab.client)?.tx_packets, count(&lab.server)?.rx_packets);
    Ok(Flooded { sent: after.0 - before.0, arrived: after.1 - before.1, duration })
}

/// The smallest frames that Ethernet knows, without their frame check sequence.
fn frames(lab: &Lab) -> Vec<Vec<u8>> {
    let source = (lab.client.address, 4200);
    (1..=DESTINATIONS)
        .map(|host| {
            let destination = (Ipv4Addr::new(198, 18, 0, host), 9);
            Frame::udp(source, destination, b"small").sent_by(&lab.client).pad_to(60).build()
        })
        .collect()
}

fn send(socket: &OwnedFd, frames: &[Vec<u8>]) -> Result<()> {
    let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
    let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
    let addresses = vec![None; slices.len()];
    let flags = MsgFlags::empty();
    match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, addresses, [], flags) {
        // The ring of the veth, or the buffer of the socket, is full: that is what a flood is for.
        Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error).context("cannot send small packets"),
    }
}
