//! Subscriptions: everything the kernel changes is heard here, or its loss is.

use std::io;

use anyhow::Context;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::unix::AsyncFd;

use super::event;
use super::exchange::{DumpError, Exchange};
use super::netdev::Family;
use super::wire::{Malformed, Message, messages};
use crate::fib::message::Event;

/// The groups of rtnetlink, include/uapi/linux/rtnetlink.h.
const GROUPS: [u32; 12] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV6_NETCONF,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_NEXTHOP,
    libc::RTNLGRP_TC,
];

/// A notification is one message; the longest, links with many virtual functions, stay below this.
const BUFFER: usize = 64 * 1024;

/// Datagrams in one batch: enough to amortise, few enough to leave the task to others.
const BATCH: usize = 256;

/// Datagrams thrown away after a loss before it is reported anyway.
const DRAIN: usize = 1 << 20;

/// How a batch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// Well.
    Events,
    /// The kernel ran out of buffer and messages were lost. What was queued up to now was thrown
    /// away with them, so that a dump made from here on is never followed by something older.
    Overrun,
    /// A message could not be understood. Everything else was.
    Doubt(String),
}

/// What [`Monitor::queued`] found.
pub(crate) struct Batch {
    /// How it ended.
    pub(crate) received: Received,
    /// Nothing more was queued.
    pub(crate) is_all: bool,
}

/// Subscriptions of one network namespace (the one the calling thread is in).
pub(crate) struct Monitor {
    route: AsyncFd<Socket>,
    /// Nothing on kernels without the family `netdev`.
    netdev: Option<(Family, AsyncFd<Socket>)>,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Subscribes. Needs a tokio runtime with I/O, and CAP_NET_ADMIN for a buffer beyond `rmem_max`.
    pub(crate) fn open(receive_buffer_bytes: usize) -> anyhow::Result<Self> {
        let route = subscribe(libc::NETLINK_ROUTE, &GROUPS, receive_buffer_bytes)
            .context("subscribing to rtnetlink")?;
        let mut generic = Exchange::open(libc::NETLINK_GENERIC).context("asking for `netdev`")?;
        let netdev = match Family::find(&mut generic) {
            Ok(family) => {
                let groups = [family.group];
                let socket = subscribe(libc::NETLINK_GENERIC, &groups, receive_buffer_bytes)
                    .context("subscribing to the netlink family `netdev`")?;
                Some((family, socket))
            }
            Err(DumpError::Unsupported) => None,
            Err(error) => return Err(error).context("asking for the netlink family `netdev`"),
        };
        Ok(Self { route, netdev, buffer: vec![0; BUFFER] })
    }

    /// Whether changes of XDP features are heard.
    pub(crate) fn hears_xdp_features(&self) -> bool {
        self.netdev.is_some()
    }

    /// The rtnetlink socket, for a test that talks to it.
    #[cfg(test)]
    pub(super) fn route_socket(&self) -> &Socket {
        self.route.get_ref()
    }

    /// Waits until the kernel said something and appends it to `events`. Dropped while it waits, it
    /// has taken nothing.
    pub(crate) async fn next(&mut self, events: &mut Vec<Event>) -> anyhow::Result<Received> {
        let before = events.len();
        loop {
            let route = tokio::select! {
                ready = self.route.readable() => ready.map(|_| true),
                ready = readable(self.netdev.as_ref().map(|(_, socket)| socket)) => ready.map(|()| false),
            }
            .context("waiting for a netlink socket")?;
            let Batch { received, .. } = match &self.netdev {
                Some((family, socket)) if !route => {
                    let receive = |buffer: &mut [u8]| receive_ready(socket, buffer);
                    read_batch(receive, &mut self.buffer, events, |message| family.parse(message))
                }
                _ => {
                    let receive = |buffer: &mut [u8]| receive_ready(&self.route, buffer);
                    read_batch(receive, &mut self.buffer, events, event::parse)
                }
            }
            .context("reading from a netlink socket")?;
            if received == Received::Overrun {
                self.drain().context("reading from a netlink socket")?;
            }
            // Readiness without a word, or about things the mirror does not hold: wait on.
            if received != Received::Events || events.len() > before {
                return Ok(received);
            }
        }
    }

    /// Appends to `events` what the kernel has said by now, up to a batch, without waiting.
    ///
    /// Reads whether or not tokio believes that there is something: in a process that was stopped, timers fire before
    /// tokio has looked at its descriptors (`epoll_wait` fails with EINTR).
    pub(crate) fn queued(&mut self, events: &mut Vec<Event>) -> anyhow::Result<Batch> {
        let mut read = || {
            let receive_route = |buffer: &mut [u8]| receive(self.route.get_ref(), buffer);
            let route = read_batch(receive_route, &mut self.buffer, events, event::parse)?;
            let Some((family, socket)) = &self.netdev else {
                return Ok(route);
            };
            let receive_netdev = |buffer: &mut [u8]| receive(socket.get_ref(), buffer);
            let parse = |message: &Message<'_>| family.parse(message);
            let netdev = read_batch(receive_netdev, &mut self.buffer, events, parse)?;
            let received = match (route.received, netdev.received) {
                (Received::Overrun, _) | (_, Received::Overrun) => Received::Overrun,
                (Received::Events, other) | (other, _) => other,
            };
            Ok::<_, io::Error>(Batch { received, is_all: route.is_all && netdev.is_all })
        };
        let mut batch = read().context("reading from a netlink socket")?;
        if batch.received == Received::Overrun {
            self.drain().context("reading from a netlink socket")?;
            batch.is_all = true;
        }
        Ok(batch)
    }

    fn drain(&mut self) -> io::Result<()> {
        let sockets = [Some(&self.route), self.netdev.as_ref().map(|(_, socket)| socket)];
        for socket in sockets.into_iter().flatten() {
            for _ in 0..DRAIN {
                match receive(socket.get_ref(), &mut self.buffer)? {
                    Datagram::Nothing => break,
                    Datagram::Lost | Datagram::Foreign | Datagram::From(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// Waits for a socket; where there is none, for ever.
pub(super) async fn readable(socket: Option<&AsyncFd<Socket>>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await.map(drop),
        None => std::future::pending().await,
    }
}

pub(super) fn subscribe(
    protocol: i32,
    groups: &[u32],
    buffer: usize,
) -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(protocol as isize)?;
    if let Err(force) = setsockopt(&socket, sockopt::RcvBufForce, &buffer) {
        setsockopt(&socket, sockopt::RcvBuf, &buffer)?;
        tracing::warn!(
            wanted = buffer,
            "the netlink receive buffer is limited by net.core.rmem_max ({force}): large changes \
             of routes will be read anew more often"
        );
    }
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    // The successor is `unsafe`, for descriptors that are replaced or closed while tokio waits for
    // them; this one is owned and neither happens.
    #[expect(deprecated)]
    AsyncFd::new(socket)
}

fn read_batch(
    receive: impl Fn(&mut [u8]) -> io::Result<Datagram>,
    buffer: &mut [u8],
    events: &mut Vec<Event>,
    parse: impl Fn(&Message<'_>) -> Result<Option<Event>, Malformed>,
) -> io::Result<Batch> {
    let mut doubt = None;
    let mut is_all = false;
    for _ in 0..BATCH {
        match receive(buffer)? {
            Datagram::Nothing => {
                is_all = true;
                break;
            }
            Datagram::Foreign => {}
            Datagram::Lost => return Ok(Batch { received: Received::Overrun, is_all }),
            Datagram::From(size) => {
                let Some(datagram) = buffer.get(..size) else {
                    doubt = Some(format!("a message of {size} bytes was cut"));
                    continue;
                };
                for message in messages(datagram) {
                    match message.and_then(|message| parse(&message)) {
                        Ok(Some(event)) => events.push(event),
                        Ok(None) => {}
                        Err(malformed) => doubt = Some(malformed.to_string()),
                    }
                }
            }
        }
    }
    Ok(Batch { received: doubt.map_or(Received::Events, Received::Doubt), is_all })
}

/// What one read brought.
pub(super) enum Datagram {
    /// Nothing is there now.
    Nothing,
    /// The kernel lost messages (ENOBUFS). It says so once, before what is still queued.
    Lost,
    /// Another process sent it: not to be believed.
    Foreign,
    /// This many bytes from the kernel; more than the buffer holds if it was cut.
    From(usize),
}

/// Like [`receive`], but tells tokio when there was nothing: it then waits for the next edge.
pub(super) fn receive_ready(socket: &AsyncFd<Socket>, buffer: &mut [u8]) -> io::Result<Datagram> {
    let outcome =
        socket.try_io(tokio::io::Interest::READABLE, |socket| match receive(socket, buffer)? {
            Datagram::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            datagram @ (Datagram::Lost | Datagram::Foreign | Datagram::From(_)) => Ok(datagram),
        });
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Datagram::Nothing),
        other => other,
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Datagram> {
    loop {
        let mut space: &mut [u8] = buffer;
        return match socket.recv_from(&mut space, libc::MSG_TRUNC) {
            Ok((_, sender)) if sender.port_number() != 0 => Ok(Datagram::Foreign),
            Ok((size, _)) => Ok(Datagram::From(size)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Datagram::Nothing),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Datagram::Lost),
            Err(error) => Err(error),
        };
    }
}
