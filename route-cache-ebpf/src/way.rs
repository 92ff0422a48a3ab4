//! The way of a packet whose flow is not known: found in a clone or in the routes, and noted down one tier up.
//!
//! The functions here are not inlined: what a known flow needs is straight code with few registers in use, and the stack
//! of a BPF program is 512 bytes for all frames together.

use aya_ebpf::programs::XdpContext;
use route_cache_common::{Config, FlowKey, NextHopId, Outcome, Port, Route, route::RouteWords};

use crate::{
    admit, clones,
    family::Datapath,
    flow_hash, flows,
    headers::{Frame, Header as _, TAG_LEN},
    kernel,
    maps::CloneRef,
    next_hop,
    packet::Packet,
    parse::{self, Datagram},
    redirect, route,
};

/// How and when a frame came.
pub struct Arrival<'a> {
    /// The config line.
    pub config: &'a Config,
    /// The interface it came in by, the VLAN device for a tagged one.
    pub device: u32,
    /// Jiffies.
    pub now: u64,
    /// The flow epoch, read before all that is looked up.
    pub epoch: u32,
    /// The word of that interface: a [`Port`].
    pub port: u64,
}

/// The way of a packet.
pub struct Way {
    /// Next hop or group, slot, generation and MTU.
    pub route: RouteWords,
    /// The clone it was found in; none if in the routes.
    pub clone: Option<CloneRef>,
    /// The next hop.
    pub id: NextHopId,
}

impl Way {
    /// The route's own MTU, or 0.
    #[inline(always)]
    fn route_mtu(&self) -> u16 {
        Route::unpack(self.route).mtu
    }
}

/// The key of a packet's flow.
#[inline(always)]
pub fn key<F: Datapath>(ip: &F::Header, device: u32, port: Port) -> FlowKey {
    let from = admit::checks_reverse_path::<F>(port).then(|| (ip.source(), device));
    F::flow_key(ip.destination(), from)
}

/// Forwards a packet whose flow is not known; `is_stale` if it was a moment ago. `tag_len` bytes of VLAN tag stand before
/// the datagram, which was found to be intact and addressed to the interface.
#[inline(never)]
pub fn explore<F: Datapath>(
    ctx: &XdpContext,
    arrival: &Arrival<'_>,
    tag_len: usize,
    is_stale: bool,
) -> Outcome {
    forward::<F>(ctx, arrival, tag_len, is_stale).unwrap_or_else(|pass| pass)
}

/// Up to the redirect the steps only look; `Err` is the reason to leave the packet to the kernel.
#[inline(always)]
fn forward<F: Datapath>(
    ctx: &XdpContext,
    arrival: &Arrival<'_>,
    tag_len: usize,
    is_stale: bool,
) -> Result<Outcome, Outcome> {
    let Arrival { config, device, port, .. } = *arrival;
    let port = Port::unpack(port);
    let frame = kernel::frame(ctx);
    let untagged = frame.behind(tag_len);
    let datagram = parse::datagram::<F>(&untagged)?;
    F::check_destination(datagram.ip.destination())?;
    admit::packet(&untagged, &datagram, port, config)?;
    admit::reverse_path::<F>(datagram.ip.source(), device, port)?;
    let way = find::<F>(&untagged, &datagram, arrival, is_stale)?;
    let next_hop = next_hop::take(way.id)?;
    admit::way(&datagram, way.route_mtu(), &next_hop, device)?;
    let sent = redirect::send::<F>(ctx, tag_len, datagram.padding, &next_hop)?;
    let bytes = sent.len() as u64;
    let tag_len = if next_hop.vlan != 0 { TAG_LEN } else { 0 };
    Ok(settle::<F>(&sent.behind(tag_len), arrival, &way, bytes))
}

/// In a clone, where clones are looked for, or in the routes. The packet is an untagged one.
#[inline(always)]
fn find<F: Datapath>(
    packet: &Packet<'_>,
    datagram: &Datagram<'_, F>,
    arrival: &Arrival<'_>,
    is_stale: bool,
) -> Result<Way, Outcome> {
    let hash = || flow_hash::of(packet, datagram, arrival.config);
    let destination = datagram.ip.destination();
    if (is_stale || clones::are_wanted::<F>(arrival.config, F::fold(destination), arrival.now))
        && let Some(way) = clones::find::<F>(destination, hash)
    {
        return Ok(way);
    }
    route::find::<F>(destination, arrival.config, hash)
}

/// Counts a packet that was sent where its way was found, and notes the way down one tier up: a route as a clone, a clone
/// in lively use as a flow. The packet is an untagged one.
#[inline(never)]
fn settle<F: Datapath>(
    packet: &Packet<'_>,
    arrival: &Arrival<'_>,
    way: &Way,
    bytes: u64,
) -> Outcome {
    let Some(Frame { ip, .. }) = packet.get::<Frame<F::Header>>(0) else {
        return Outcome::PassMalformed;
    };
    let Arrival { config, device, now, epoch, port } = *arrival;
    let Some(clone) = &way.clone else {
        return clones::make::<F>(ip.destination(), way.route, config, now, bytes);
    };
    if clones::count(clone, now, bytes) {
        let key = key::<F>(ip, device, Port::unpack(port));
        if let Some(set) = flows::set::<F>(key, config) {
            flows::note::<F>(set, key, way.route, clone, epoch, now);
        }
    }
    Outcome::ForwardedClone
}
