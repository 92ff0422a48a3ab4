//! The way a packet goes, and the slow half of finding it and of noting it down.
//!
//! The functions here are not inlined: what a known flow needs is straight code with few registers in use, and the stack
//! of a BPF program is 512 bytes for all frames together.

use route_cache_common::{Config, Flow, NextHopId, Outcome, Port, Route, route::RouteWords};

use crate::{
    admit, clones,
    family::Datapath,
    flow_hash, flows,
    headers::{Frame, Header as _},
    maps::CloneRef,
    packet::Packet,
    parse, route,
};

/// How and when a frame came.
pub struct Arrival<'a> {
    /// The config line.
    pub config: &'a Config,
    /// The interface it came in by, the VLAN device for a tagged one.
    pub device: u32,
    /// Jiffies.
    pub now: u64,
    /// The flow epoch, read before anything is looked up.
    pub epoch: u32,
}

/// The way of a packet.
pub struct Way {
    /// Next hop or group, slot, generation and MTU; all zeros for a flow's.
    pub route: RouteWords,
    /// Where it was found.
    pub found: Found,
    /// The next hop.
    pub id: NextHopId,
}

/// Where the way of a packet was found.
pub enum Found {
    /// In the memo of its flow.
    Flow(&'static mut Flow),
    /// In a clone.
    Clone(CloneRef),
    /// In the routes.
    Route,
}

impl Way {
    /// None yet.
    #[inline(always)]
    pub fn none() -> Self {
        // Zeros that the compiler knows of become a call of `memset`, a loop over bytes: 10 ns for every packet.
        let zero = core::hint::black_box(0);
        Self { route: [zero; 4], found: Found::Route, id: NextHopId::NONE }
    }

    /// That of a flow which is known.
    #[inline(always)]
    pub fn follow(&mut self, flow: &'static mut Flow) {
        self.id = NextHopId(flow.id);
        self.found = Found::Flow(flow);
    }

    /// The route's own MTU, or 0.
    #[inline(always)]
    pub fn route_mtu(&self) -> u16 {
        Route::unpack(self.route).mtu
    }
}

/// The key of a packet's flow.
#[inline(always)]
pub fn key<F: Datapath>(ip: &F::Header, device: u32, port: Port) -> route_cache_common::FlowKey {
    let from = admit::checks_reverse_path::<F>(port).then(|| (ip.source(), device));
    F::flow_key(ip.destination(), from)
}

/// The way of a packet whose flow is not known; `is_stale` if it was a moment ago. The packet is an untagged one.
#[inline(never)]
pub fn find<F: Datapath>(
    packet: &Packet<'_>,
    arrival: &Arrival<'_>,
    port: u64,
    is_stale: bool,
    way: &mut Way,
) -> Result<(), Outcome> {
    let datagram = parse::datagram::<F>(packet)?;
    admit::reverse_path::<F>(datagram.ip.source(), arrival.device, Port::unpack(port))?;
    let hash = || flow_hash::of(packet, &datagram, arrival.config);
    let destination = datagram.ip.destination();
    if (is_stale || clones::are_wanted::<F>(arrival.config, F::fold(destination), arrival.now))
        && let Some(found) = clones::find::<F>(destination, hash)
    {
        *way = found;
        return Ok(());
    }
    *way = route::find::<F>(destination, arrival.config, hash)?;
    Ok(())
}

/// Counts a packet that was sent where its way was found, and notes the way down one tier up: a route as a clone, a clone
/// in lively use as a flow. The packet is an untagged one.
#[inline(never)]
pub fn settle<F: Datapath>(
    packet: &Packet<'_>,
    arrival: &Arrival<'_>,
    port: u64,
    way: &Way,
    bytes: u64,
) -> Outcome {
    let Some(Frame { ip, .. }) = packet.get::<Frame<F::Header>>(0) else {
        return Outcome::PassMalformed;
    };
    let Arrival { config, device, now, epoch, .. } = *arrival;
    let Found::Clone(clone) = &way.found else {
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
