//! Step: the memo that a flow was fully checked (ARCHITECTURE.md, "Freshness").
//!
//! It spares the clone's hash lookup, two or three cache misses when there are many. A flow is noted down when its clone
//! is hit again soon, so that what comes once takes nobody's place. It is believed while the agent has not raised the
//! epoch that was read before its clone was looked up, and for a quarter of a second: then the clone is looked up, told of
//! the flow's packets, and believed or not.

use route_cache_common::{
    Action, Config, Flow, FlowKey, FlowSet, NextHopId, Route, route::RouteWords,
};

use crate::{family::Datapath, maps::CloneRef};

/// Units of the stamp a flow is believed, and within which a clone has to be hit twice to become one. With 250 jiffies
/// to the second, 0.26 s.
const BELIEVED: u16 = 4;

/// What is known of a flow.
pub enum Memo {
    /// Where it goes.
    Known(&'static mut Flow),
    /// It was known a moment ago: its clone should be looked up.
    Stale,
    /// Nothing.
    Unknown,
}

/// The set of a flow in this CPU's segment; nothing while flows are switched off.
#[inline(always)]
pub fn set<F: Datapath>(key: FlowKey, config: &Config) -> Option<&'static mut FlowSet> {
    if config.flags & (Config::FLOWS | Config::NO_CLONES | F::BY_ROUTES) != Config::FLOWS {
        return None;
    }
    F::flow_set(key)
}

/// What is known of the flow.
#[inline(always)]
pub fn find<F: Datapath>(key: FlowKey, config: &Config, epoch: u32, now: u64) -> Memo {
    let Some(set) = set::<F>(key, config) else {
        return Memo::Unknown;
    };
    let [first, second] = &mut set.ways;
    let flow = if first.key == key {
        first
    } else if second.key == key {
        second
    } else {
        return Memo::Unknown;
    };
    let is_believed = flow.epoch == epoch
        && Flow::stamp_at(now).wrapping_sub(flow.stamp) < BELIEVED
        && flow.packets() < Flow::PACKETS_MAX;
    if is_believed { Memo::Known(flow) } else { Memo::Stale }
}

/// Counts a packet of a flow.
#[inline(always)]
pub fn count(flow: &mut Flow, bytes: u64) {
    flow.used_packets = (flow.used_packets + 1) | Flow::USED;
    flow.bytes += bytes as u32;
}

/// Notes down the flow of a clone that was just hit, and tells clones of the packets of the flows that leave.
///
/// `epoch` is the one that was read before the clone was looked up. A route with an MTU of its own and one by several
/// next hops are looked at for every packet.
#[inline(always)]
pub fn note<F: Datapath>(
    set: &mut FlowSet,
    key: FlowKey,
    route: RouteWords,
    clone: &CloneRef,
    epoch: u32,
    now: u64,
) {
    let route = Route::unpack(route);
    let Action::Via(NextHopId(id)) = route.action else {
        return;
    };
    if route.mtu != 0 {
        return;
    }
    let stamp = Flow::stamp_at(now);
    let [first, second] = &mut set.ways;
    let is_dead = |flow: &Flow| flow.epoch != epoch || stamp.wrapping_sub(flow.stamp) >= BELIEVED;
    let is_spare = |flow: &Flow| flow.used_packets & Flow::USED == 0;
    let victim = if first.key == key {
        first
    } else if second.key == key || is_dead(second) {
        second
    } else if is_dead(first) || is_spare(first) {
        first
    } else if is_spare(second) {
        second
    } else {
        // Both are in use. They are spared once; if they are not used again, the next newcomer gets a place.
        first.used_packets &= Flow::PACKETS_MAX;
        second.used_packets &= Flow::PACKETS_MAX;
        return;
    };
    if victim.key == key {
        tell(victim, clone, now);
    } else if victim.packets() != 0
        && let Some(other) = F::clone_of(F::destination_of(victim.key))
    {
        tell(victim, &other, now);
    }
    *victim = Flow { key, id, epoch, stamp, used_packets: 0, bytes: 0 };
}

/// Tells a clone of the packets of a flow, if they were its own.
#[inline(always)]
fn tell(flow: &Flow, clone: &CloneRef, now: u64) {
    if flow.is_of(clone.created(), now) {
        clone.add(u64::from(flow.packets()), u64::from(flow.bytes));
    }
}

/// Whether a clone that was last used then is used often enough to have its flow noted down.
#[inline(always)]
pub fn is_soon(last_used: u64, now: u64) -> bool {
    now.wrapping_sub(last_used) < u64::from(BELIEVED) * Flow::STAMP_JIFFIES
}
