//! Subscriptions of which only that something was said matters: whoever hears it asks.

use std::{io, time::Duration};

use anyhow::Context;
use netlink_sys::Socket;
use tokio::{io::unix::AsyncFd, time::Instant};

use super::monitor::{Datagram, readable, receive_ready, subscribe};

/// XFRMNLGRP_POLICY, include/uapi/linux/xfrm.h.
const POLICIES: u32 = 4;

/// Room for a few messages: if more are lost, something was said all the same.
const RECEIVE_BUFFER: usize = 64 << 10;

/// Least time between two rings: rules are changed in many small steps.
const SPACING: Duration = Duration::from_millis(50);

/// Rings when rules of nftables or policies of IPsec may have changed, in the network namespace of the thread that opened it.
pub(crate) struct Bell {
    /// Nothing on kernels without netfilter, or without IPsec.
    rules: Option<AsyncFd<Socket>>,
    policies: Option<AsyncFd<Socket>>,
    buffer: Vec<u8>,
    last: Option<Instant>,
}

impl Bell {
    /// Subscribes. Needs a tokio runtime with I/O.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let rules = subscribe_if_there(libc::NETLINK_NETFILTER, libc::NFNLGRP_NFTABLES as u32)
            .context("subscribing to changes of nftables")?;
        let policies = subscribe_if_there(libc::NETLINK_XFRM, POLICIES)
            .context("subscribing to changes of IPsec policies")?;
        Ok(Self { rules, policies, buffer: vec![0; RECEIVE_BUFFER], last: None })
    }

    /// Waits until something was said since the last time. Dropped while it waits, it has heard nothing.
    pub(crate) async fn rung(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                ready = readable(self.rules.as_ref()) => ready,
                ready = readable(self.policies.as_ref()) => ready,
            }
            .context("waiting for a netlink socket")?;
            if let Some(last) = self.last {
                tokio::time::sleep_until(last + SPACING).await;
            }
            if self.hear().context("reading from a netlink socket")? {
                self.last = Some(Instant::now());
                return Ok(());
            }
        }
    }

    /// Takes all that was said; whether it was anything.
    fn hear(&mut self) -> io::Result<bool> {
        let mut heard = false;
        for socket in [&self.rules, &self.policies].into_iter().flatten() {
            loop {
                match receive_ready(socket, &mut self.buffer)? {
                    Datagram::Nothing => break,
                    Datagram::Foreign => {}
                    Datagram::Lost | Datagram::From(_) => heard = true,
                }
            }
        }
        Ok(heard)
    }
}

fn subscribe_if_there(protocol: i32, group: u32) -> io::Result<Option<AsyncFd<Socket>>> {
    match subscribe(protocol, &[group], RECEIVE_BUFFER) {
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Ok(None),
        other => other.map(Some),
    }
}
