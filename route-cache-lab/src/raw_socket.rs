//! Whole frames, sent and captured on an interface.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::write,
};

use crate::{Namespace, patience, sys};

/// Larger than any frame: GRO merges TCP segments up to 64 KiB before a capture sees them.
const BUFFER: usize = 1 << 17;

/// An AF_PACKET socket on one interface. It sees what comes in there, not what goes out.
///
/// VLAN tags, which the kernel takes out of received frames, are put back. Hosts of the lab have GRO on, so that TCP
/// segments of one flow that arrive in one burst may be captured as one frame; UDP and lone segments arrive as they are.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    place: String,
}

impl RawSocket {
    /// Opens a socket on an interface in a namespace. It captures from now on.
    ///
    /// # Errors
    /// If there is no such interface, or the kernel refuses.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let place = format!("{interface} in {}", namespace.name());
        let open = || sys::packet_socket(if_nametoindex(interface)?);
        let socket = namespace
            .run_in(open)?
            .with_context(|| format!("cannot open a packet socket on {place}"))?;
        Ok(Self { socket, place })
    }

    /// Sends a frame out of the interface.
    ///
    /// # Errors
    /// If the kernel refuses, for example with `EMSGSIZE` because it is larger than the interface's MTU allows.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let began = Instant::now();
        loop {
            match self.offer(frame)? {
                // The ring of the veth's peer is full: its reader needs the processor.
                false if began.elapsed() < patience(PATIENCE) => std::thread::yield_now(),
                false => bail!(
                    "cannot send a frame of {} bytes on {}: not taken",
                    frame.len(),
                    self.place
                ),
                true => return Ok(()),
            }
        }
    }

    /// Sends a frame, header and all, that the peer of the veth may drop. Says whether it took it: not if its ring is full,
    /// it is down, or the frame is larger than its MTU.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn offer(&self, frame: &[u8]) -> Result<bool> {
        let sent = loop {
            match write(&self.socket, frame) {
                Err(Errno::EAGAIN) => {
                    let _writable = self.poll(PollFlags::POLLOUT, Duration::from_secs(1))?;
                }
                Err(Errno::ENOBUFS) => return Ok(false),
                result => break result,
            }
        };
        sent.with_context(|| {
            format!("cannot send a frame of {} bytes on {}", frame.len(), self.place)
        })?;
        Ok(true)
    }

    /// The next frame that came in, or nothing if none comes within `timeout`.
    ///
    /// # Errors
    /// If the interface went down or away.
    pub fn recv(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        self.recv_until(Instant::now() + patience(timeout))
    }

    fn recv_until(&self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match sys::receive(&self.socket, &mut buffer) {
                Ok((length, tag)) => {
                    buffer.truncate(length);
                    if let Some((protocol, control)) = tag {
                        let bytes = [protocol.to_be_bytes(), control.to_be_bytes()].concat();
                        buffer.splice(12..12, bytes);
                    }
                    return Ok(Some(buffer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot receive on {}", self.place));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.poll(PollFlags::POLLIN, left)? {
                return Ok(None);
            }
        }
    }

    /// Captures frames for which `filter` holds until there are `count` of them or `timeout` is over.
    ///
    /// # Errors
    /// If the interface went down or away.
    pub fn capture(
        &self,
        mut filter: impl FnMut(&[u8]) -> bool,
        count: usize,
        timeout: Duration,
    ) -> Result<Vec<Vec<u8>>> {
        let deadline = Instant::now() + patience(timeout);
        let mut captured = Vec::new();
        while captured.len() < count {
            match self.recv_until(deadline)? {
                Some(frame) if filter(&frame) => captured.push(frame),
                Some(_) => {}
                None => break,
            }
        }
        Ok(captured)
    }

    /// Throws away what came in so far.
    ///
    /// # Errors
    /// If the interface went down or away.
    pub fn drain(&self) -> Result<()> {
        while self.recv(Duration::ZERO)?.is_some() {}
        Ok(())
    }

    /// Whether the socket became ready within `timeout`.
    fn poll(&self, flags: PollFlags, timeout: Duration) -> Result<bool> {
        // Rounded up: with 0 ms left of the timeout the loop would spin.
        let timeout =
            PollTimeout::try_from(timeout + Duration::from_millis(1)).unwrap_or(PollTimeout::NONE);
        match poll(&mut [PollFd::new(self.socket.as_fd(), flags)], timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error).with_context(|| format!("cannot wait for {}", self.place)),
        }
    }
}
