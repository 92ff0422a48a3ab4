//! How long the agent takes to start beside the kernel's own dump of the same routes, and what it takes up then.

use std::{fmt, fs, os::fd::AsRawFd, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    libc,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
        socket,
    },
};
use route_cache_lab::{Agent, Namespace};
use serde::Serialize;

use crate::routes::Family;

/// Dumps before each start; the fastest counts.
const DUMPS: usize = 3;

/// A start of the agent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Start {
    /// Routes that the kernel told, those of its own table local among them.
    pub(crate) routes: u64,
    /// Milliseconds that it took to receive them all, without a look at what they say.
    pub(crate) dump_ms: f64,
    /// Milliseconds from the start of the process until it accelerated on every interface.
    pub(crate) start_ms: f64,
    /// KiB of memory that the process has afterwards (VmRSS).
    pub(crate) rss_kib: u64,
    /// KiB that it had at the most (VmHWM).
    pub(crate) peak_kib: u64,
    /// Bytes of the BPF maps, as the kernel accounts them.
    pub(crate) map_bytes: u64,
}

impl Start {
    /// Starts an agent in a namespace and sees what that takes.
    pub(crate) fn measure(
        namespace: &Namespace,
        family: Family,
        start: impl FnOnce() -> Result<Agent>,
    ) -> Result<(Agent, Self)> {
        let mut dump_ms = f64::INFINITY;
        let mut routes = 0;
        for _ in 0..DUMPS {
            let begun = Instant::now();
            routes = namespace.run_in(|| dump(family))??;
            dump_ms = dump_ms.min(begun.elapsed().as_secs_f64() * 1e3);
        }
        let begun = Instant::now();
        let agent = start()?;
        let start_ms = begun.elapsed().as_secs_f64() * 1e3;
        let status = agent.status()?;
        let map_bytes = status["map_memory_bytes"].as_u64();
        let map_bytes = map_bytes.context("the agent's status has no map_memory_bytes")?;
        let own = fs::read_to_string(format!("/proc/{}/status", agent.pid()))
            .context("cannot read the status of the agent's process")?;
        let (rss_kib, peak_kib) = (kib(&own, "VmRSS:")?, kib(&own, "VmHWM:")?);
        Ok((agent, Self { routes, dump_ms, start_ms, rss_kib, peak_kib, map_bytes }))
    }

    /// Start to dump.
    pub(crate) fn ratio(&self) -> f64 {
        self.start_ms / self.dump_ms
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_route = |bytes: u64| bytes / self.routes.max(1);
        write!(
            f,
            "start with {} routes: dump {:.0} ms, agent ready after {:.0} ms ({:.2} times that); {} MiB of memory, at most \
             {} MiB ({} bytes a route), maps {} MiB ({} bytes a route)",
            self.routes,
            self.dump_ms,
            self.start_ms,
            self.ratio(),
            self.rss_kib >> 10,
            self.peak_kib >> 10,
            per_route(self.rss_kib << 10),
            self.map_bytes >> 20,
            per_route(self.map_bytes),
        )
    }
}

fn kib(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.and_then(|line| line.split_whitespace().next());
    words
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("the status of the agent's process has no {name}"))
}

/// Asks for all routes of a family of the thread's namespace (RTM_GETROUTE with NLM_F_DUMP) and counts the messages.
fn dump(family: Family) -> Result<u64> {
    /// nlmsghdr.
    const HEADER: usize = 16;
    /// rtmsg.
    const ROUTE: usize = 12;
    let told = || "cannot dump the kernel's routes";
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .with_context(told)?;
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0)).with_context(told)?;
    let mut request = [0; HEADER + ROUTE];
    request[..4].copy_from_slice(&((HEADER + ROUTE) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETROUTE.to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[HEADER] = match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    };
    send(netlink.as_raw_fd(), &request, MsgFlags::empty()).with_context(told)?;
    let mut buffer = vec![0; 1 << 16];
    let mut routes = 0;
    loop {
        let length =
            recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()).with_context(told)?;
        let mut rest = &buffer[..length];
        while let Some((head, _)) = rest.split_first_chunk::<HEADER>() {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
            match i32::from(u16::from_ne_bytes([head[4], head[5]])) {
                libc::NLMSG_DONE => return Ok(routes),
                libc::NLMSG_ERROR => bail!("{}: the kernel refused", told()),
                _ => routes += 1,
            }
            ensure!(length >= HEADER, "{}: a message of {length} bytes", told());
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
