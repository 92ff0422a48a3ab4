//! Numbered datagrams of known content, of which every single one is to arrive once and unchanged.

use std::{
    io::ErrorKind,
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::Lab;

const PORT: u16 = 4100;
/// Sent in one go; well below the 256 frames that the ring of a veth holds.
const BURST: u64 = 16;
/// Between bursts: 16,000 datagrams a second.
const PAUSE: Duration = Duration::from_millis(1);
/// What has not arrived this long after the last one was sent is lost.
const STRAGGLE: Duration = Duration::from_millis(500);

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probed {
    /// Datagrams sent.
    pub sent: u64,
    /// Of these, arrived.
    pub arrived: u64,
    /// Arrived more than once.
    pub duplicates: u64,
    /// Arrived with other content than was sent.
    pub damaged: u64,
}

impl Probed {
    /// Whether every datagram arrived once and unchanged.
    #[must_use]
    pub fn is_perfect(self) -> bool {
        self.sent > 0 && self.arrived == self.sent && self.duplicates == 0 && self.damaged == 0
    }
}

/// Probes the way from client to server.
///
/// # Errors
/// If a socket fails.
pub fn probe(lab: &Lab, duration: Duration, stop: impl Fn() -> bool + Sync) -> Result<Probed> {
    let receiver = lab
        .server
        .namespace
        .run_in(|| UdpSocket::bind((lab.server.address, PORT)))?
        .context("cannot open the probe's receiver")?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    // So large that nothing is lost at the receiver for want of CPU.
    setsockopt(&receiver, RcvBufForce, &(64 << 20)).context("cannot enlarge a socket buffer")?;
    let sender = lab
        .client
        .namespace
        .run_in(|| UdpSocket::bind((lab.client.address, 0)))?
        .context("cannot open the probe's sender")?;
    sender.connect((lab.server.address, PORT))?;

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, &done));
        let sent = send(&sender, duration, stop);
        done.store(true, Ordering::Release);
        let received = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Probed { sent: sent?, ..received })
    })
}

fn send(socket: &UdpSocket, duration: Duration, stop: impl Fn() -> bool) -> Result<u64> {
    let deadline = Instant::now() + duration;
    let mut number = 0;
    while Instant::now() < deadline && !stop() {
        for _ in 0..BURST {
            socket.send(&content(number)).context("cannot send a probe")?;
            number += 1;
        }
        thread::sleep(PAUSE);
    }
    Ok(number)
}

fn receive(socket: &UdpSocket, done: &AtomicBool) -> Result<Probed> {
    let mut seen: Vec<bool> = Vec::new();
    let mut probed = Probed::default();
    let mut buffer = [0; 2048];
    let mut quiet_since = Instant::now();
    while !done.load(Ordering::Acquire) || quiet_since.elapsed() < STRAGGLE {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error).context("cannot receive a probe"),
        };
        quiet_since = Instant::now();
        let Some(number) = number_of(&buffer[..length]) else {
            probed.damaged += 1;
            continue;
        };
        let index = number as usize;
        if seen.len() <= index {
            seen.resize(index + 1, false);
        }
        if std::mem::replace(&mut seen[index], true) {
            probed.duplicates += 1;
        } else {
            probed.arrived += 1;
        }
    }
    Ok(probed)
}

/// The number, and bytes that follow from it, in a length that follows from it too: even and odd, small and large.
fn content(number: u64) -> Vec<u8> {
    let length = 8 + (number * 37 % 1400) as usize;
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((8..length).map(|at| (number as usize).wrapping_mul(31).wrapping_add(at) as u8));
    bytes
}

/// The number of a datagram, if its content is what it should be.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    // A damaged number may be huge; no probe sends that many.
    (number < 1 << 32 && content(number) == bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_its_number_and_any_damage() {
        for number in [0, 1, 1399, 123_456] {
            let mut bytes = content(number);
            assert_eq!(number_of(&bytes), Some(number));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_eq!(number_of(&bytes), None);
        }
    }
}
