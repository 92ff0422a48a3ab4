//! What the agent tells about itself, read when asked.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ipnet::{IpNet, Ipv4Net};
use route_cache_common::{Address4, Clone4, Outcome, Route, Tally, next_hop::NextHopVersion};

use crate::{
    agent::{PROMISE, Shared, State},
    control::{
        Action, Source,
        protocol::{
            CloneEntry, CloneTable, Count, Explanation, InterfaceEntry, NextHopEntry, RouteEntry,
            Status,
        },
    },
    events::Journal,
    fib::{
        message::{Ifindex, KernelRoute},
        verdict::{HopKey, Verdict, Way, kind_name, table_name},
    },
    sweep::policy::{self, Reason},
};

const FAMILY: &str = "ipv4";

/// Rows converted at a time, so that the event loop does not wait for a listing.
const BATCH: usize = 4096;

/// The answers.
pub(crate) struct View {
    shared: Arc<Shared>,
}

impl View {
    /// A view of a running agent.
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn clone_tables(&self) -> Result<Vec<CloneTable>> {
        let shared = &*self.shared;
        let created = shared.counters.tally(Tally::CloneCreated)?;
        let refused = shared.counters.tally(Tally::CloneRefused)?;
        let deferred = shared.counters.tally(Tally::CloneDeferred)?;
        let tables = shared.clones.iter().zip(&shared.sweepers);
        Ok(tables
            .zip(created.into_iter().zip(refused.into_iter().zip(deferred)))
            .map(|((table, sweeper), (created, (refused, deferred)))| CloneTable {
                family: FAMILY.into(),
                cpu: table.cpu,
                live: created.saturating_sub(table.removed()),
                capacity: table.capacity.into(),
                created,
                expired: Reason::ALL
                    .map(|reason| (reason.name().into(), sweeper.expired(reason)))
                    .into(),
                refused,
                deferred,
            })
            .collect())
    }

    fn settings(&self) -> BTreeMap<String, u64> {
        let options = &self.shared.options;
        BTreeMap::from(
            [
                ("rtexpire_seconds", options.rtexpire.as_secs()),
                ("sweep_interval_seconds", options.sweep_interval.as_secs()),
                ("clones_per_cpu", options.clones_per_cpu.into()),
                ("max_routes", options.max_routes.into()),
                ("max_next_hops", options.max_next_hops.into()),
                ("promise_seconds", PROMISE.as_secs()),
                ("kernel_hz", self.shared.clock.hz()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }
}

impl Source for View {
    fn status(&self) -> Result<Status> {
        let shared = &*self.shared;
        let mut outcomes = BTreeMap::new();
        for outcome in Outcome::ALL {
            let count = shared.counters.outcome(*outcome)?;
            outcomes.insert(
                outcome.name().to_owned(),
                Count { packets: count.packets, bytes: count.bytes },
            );
        }
        let clones = self.clone_tables()?;
        let interfaces = self.interfaces()?;
        let state = shared.read();
        let reasons = state.fib.reasons();
        let mut next_hops = BTreeMap::from(HOP_STATES.map(|state| (state.to_owned(), 0)));
        for (_, hop) in state.fib.hops.iter() {
            *next_hops.entry(hop_state(hop.version()).to_owned()).or_default() += 1;
        }
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: shared.started.elapsed().as_secs_f64(),
            netns: shared.options.netns.clone(),
            accelerating: reasons.is_empty(),
            reasons,
            settings: self.settings(),
            outcomes,
            clones,
            routes: BTreeMap::from([(FAMILY.to_owned(), state.fib.installed.len() as u64)]),
            next_hops,
            resyncs: state
                .resyncs
                .iter()
                .map(|(cause, count)| (cause.name().to_owned(), *count))
                .collect(),
            netlink_overruns: state.overruns,
            map_memory_bytes: map_memory()?,
            interfaces,
        })
    }

    fn clones(&self) -> Result<Vec<CloneEntry>> {
        let names = HopNames::new(&self.shared.read());
        let mut entries = Vec::new();
        for table in &self.shared.clones {
            table
                .visit(BATCH, |destinations, clones| {
                    let state = self.shared.read();
                    let seen = destinations.iter().zip(clones);
                    entries.extend(seen.filter_map(|(destination, clone)| {
                        self.clone_entry(&state, &names, table.cpu, *destination, clone)
                    }));
                })
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
        }
        entries.sort_unstable_by_key(|entry| (entry.dst, entry.cpu));
        Ok(entries)
    }

    fn routes(&self) -> Result<Vec<RouteEntry>> {
        let mut entries = Vec::new();
        let mut from: Bound<Ipv4Net> = Bound::Unbounded;
        loop {
            let state = self.shared.read();
            let mut last = None;
            for prefix in state
                .fib
                .tables
                .routes
                .range((from, Bound::Unbounded))
                .map(|(net, _)| *net)
                .take(BATCH)
            {
                entries.extend(route_entry(&state, &prefix));
                last = Some(prefix);
            }
            match last {
                Some(prefix) => from = Bound::Excluded(prefix),
                None => return Ok(entries),
            }
        }
    }

    fn next_hops(&self) -> Result<Vec<NextHopEntry>> {
        let state = self.shared.read();
        Ok(state
            .fib
            .hops
            .iter()
            .map(|(key, _)| hop_entry(&state, *key))
            .collect::<Option<_>>()
            .unwrap_or_default())
    }

    fn interfaces(&self) -> Result<Vec<InterfaceEntry>> {
        let state = self.shared.read();
        let wanted = |ifindex: &Ifindex| {
            state.attachments.is_attached(*ifindex) || state.attachments.failure(*ifindex).is_some()
        };
        let links = state.fib.tables.links.values().filter(|link| wanted(&link.ifindex));
        Ok(links
            .map(|link| {
                let attached = state.attachments.is_attached(link.ifindex);
                let failure = state.attachments.failure(link.ifindex).map(str::to_owned);
                let ingress = state.fib.ingress(link.ifindex);
                let egress = state.fib.egress(link.ifindex);
                let mut reasons: Vec<_> =
                    failure.into_iter().chain(ingress.iter().cloned()).collect();
                if let Err(against) = &egress
                    && !reasons.contains(&against.reason)
                {
                    reasons.push(against.reason.clone());
                }
                InterfaceEntry {
                    name: link.name.clone(),
                    ifindex: link.ifindex,
                    mode: if attached { state.attachments.mode_name() } else { "none" }.into(),
                    accelerating: attached && ingress.is_empty() && state.fib.reasons().is_empty(),
                    egress: egress.is_ok(),
                    reasons,
                }
            })
            .collect())
    }

    fn get(&self, address: IpAddr) -> Result<Explanation> {
        let IpAddr::V4(dst) = address else {
            bail!("{address}: IPv6 is left to the kernel, all of it");
        };
        let clones = self.clones_of(dst)?;
        let state = self.shared.read();
        let prefix = (0..=32)
            .rev()
            .filter_map(|len| Ipv4Net::new(dst, len).ok().map(|net| net.trunc()))
            .find(|net| state.fib.installed.contains_key(net));
        let mut explanation = Explanation {
            dst: address,
            outcome: String::new(),
            reason: String::new(),
            route: prefix.and_then(|prefix| route_entry(&state, &prefix)),
            next_hop: None,
            clones,
        };
        let hop = match prefix
            .and_then(|prefix| state.fib.installed.get(&prefix))
            .map(|known| known.verdict.way)
        {
            Some(Way::Via(key)) => Some(key),
            Some(Way::OnLink(ifindex)) => Some(HopKey::Neighbour((ifindex, dst))),
            Some(Way::Pass(..)) | None => None,
        };
        explanation.next_hop = hop.and_then(|key| hop_entry(&state, key));
        let (outcome, reason) = explain(&state, dst, prefix, hop, !explanation.clones.is_empty());
        explanation.outcome = outcome.name().into();
        explanation.reason = reason;
        Ok(explanation)
    }

    fn act(&self, action: Action) -> Result<String> {
        bail!("this agent cannot {action} yet")
    }

    fn events(&self) -> Arc<Journal> {
        Arc::new(Journal::new(self.shared.started))
    }
}

impl View {
    fn clones_of(&self, dst: Ipv4Addr) -> Result<Vec<CloneEntry>> {
        let names = HopNames::new(&self.shared.read());
        let mut entries = Vec::new();
        for table in &self.shared.clones {
            let found = table
                .get(dst.octets())
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
            if let Some(clone) = found {
                entries.extend(self.clone_entry(
                    &self.shared.read(),
                    &names,
                    table.cpu,
                    dst.octets(),
                    &clone,
                ));
            }
        }
        Ok(entries)
    }

    /// A clone in words; nothing if the data plane does not use it any more.
    fn clone_entry(
        &self,
        state: &State,
        names: &HopNames,
        cpu: u32,
        destination: Address4,
        clone: &Clone4,
    ) -> Option<CloneEntry> {
        let clock = &self.shared.clock;
        let route = Route::unpack(clone.route);
        if state.fib.slots.generation(route.slot) != Some(route.generation) {
            return None;
        }
        let hop = names.0.get(&clone.route[0])?;
        let dst = Ipv4Addr::from(destination);
        let now = clock.now();
        let timeout = clock.seconds(self.shared.options.rtexpire.as_secs());
        let idle = clock.to_seconds(now.saturating_sub(clone.last_used));
        let route_mtu = Some(u32::from(route.mtu)).filter(|mtu| *mtu != 0);
        Some(CloneEntry {
            dst: dst.into(),
            family: FAMILY.into(),
            cpu,
            prefix: IpNet::V4(Ipv4Net::new(dst, route.prefix_len).ok()?.trunc()),
            via: Some(hop.address).filter(|via| *via != dst).map(IpAddr::V4),
            dev: hop.dev.clone(),
            mtu: route_mtu.map_or(hop.mtu, |mtu| mtu.min(hop.mtu)),
            packets: clone.packets,
            bytes: clone.bytes,
            idle_seconds: idle,
            expires_in_seconds: clock
                .to_seconds(policy::expiry(clone, timeout).saturating_sub(now)),
            state: if idle < IN_USE.as_secs_f64() { "in-use" } else { "expiring" }.into(),
        })
    }
}

/// A clone is in use while packets follow each other within this time.
const IN_USE: Duration = Duration::from_secs(1);

/// Next hops by id, in words.
struct HopNames(HashMap<u32, HopName>);

struct HopName {
    address: Ipv4Addr,
    dev: String,
    mtu: u32,
}

impl HopNames {
    fn new(state: &State) -> Self {
        let tables = &state.fib.tables;
        let named = state.fib.hops.iter().filter_map(|(key, hop)| {
            let (ifindex, address) = tables.neighbour_of(*key).ok()?;
            let mtu = tables.links.get(&ifindex).map_or(0, |link| link.mtu);
            Some((hop.id.0, HopName { address, dev: tables.link_name(ifindex), mtu }))
        });
        Self(named.collect())
    }
}

/// What happens to a packet that reaches the route lookup.
fn explain(
    state: &State,
    dst: Ipv4Addr,
    prefix: Option<Ipv4Net>,
    hop: Option<HopKey>,
    cloned: bool,
) -> (Outcome, String) {
    let reasons = state.fib.reasons();
    if !reasons.is_empty() {
        return (Outcome::PassDisabled, reasons.join("; "));
    }
    match dst.octets() {
        [0 | 127, ..] => {
            return (Outcome::PassMartianDestination, "0/8 and 127/8 are never forwarded".into());
        }
        [224..=239, ..] => {
            return (Outcome::PassMulticast, "multicast is left to the kernel".into());
        }
        [255, 255, 255, 255] => {
            return (Outcome::PassBroadcast, "the limited broadcast address".into());
        }
        _ => {}
    }
    let Some(prefix) = prefix else {
        return (Outcome::PassNoRoute, format!("no route covers {dst}"));
    };
    if let Some(Verdict { way: Way::Pass(outcome, reason), .. }) =
        state.fib.installed.get(&prefix).map(|known| known.verdict)
    {
        let owner = state.fib.tables.addresses.iter().find(|address| address.local == dst);
        let whose =
            owner.map(|address| format!(" (of {})", state.fib.tables.link_name(address.ifindex)));
        return (outcome, format!("{reason}{}", whose.unwrap_or_default()));
    }
    match hop.and_then(|key| state.fib.hops.get(&key)) {
        None => (
            Outcome::PassNeighbour,
            format!("the link-layer address of {dst} is not known: the kernel resolves it"),
        ),
        Some(hop) => match &hop.reason {
            Some(reason) => {
                let outcome =
                    Outcome::from_code(hop.version().pass as u8).unwrap_or(Outcome::PassNeighbour);
                (outcome, reason.clone())
            }
            None if cloned => (Outcome::ForwardedClone, format!("it has a clone of {prefix}")),
            None => {
                (Outcome::ForwardedRoute, format!("the first packet makes a clone of {prefix}"))
            }
        },
    }
}

fn route_entry(state: &State, prefix: &Ipv4Net) -> Option<RouteEntry> {
    let tables = &state.fib.tables;
    let best: &KernelRoute = tables.candidates(prefix).next()?;
    let verdict = state.fib.installed.get(prefix).map(|known| known.verdict);
    let (ifindex, via, reason) = match verdict.map(|verdict| verdict.way) {
        None => (None, None, Some("not installed yet".to_owned())),
        Some(Way::Pass(_, reason)) => {
            (best.target.first_interface(), None, Some(reason.to_owned()))
        }
        Some(Way::OnLink(ifindex)) => {
            (Some(ifindex), None, state.fib.egress(ifindex).err().map(|against| against.reason))
        }
        Some(Way::Via(key)) => {
            let neighbour = tables.neighbour_of(key).ok();
            let reason = state.fib.hops.get(&key).and_then(|hop| hop.reason.clone());
            (neighbour.map(|(ifindex, _)| ifindex), neighbour.map(|(_, address)| address), reason)
        }
    };
    Some(RouteEntry {
        prefix: IpNet::V4(*prefix),
        family: FAMILY.into(),
        table: table_name(best.table),
        kind: kind_name(best.kind).into(),
        via: via.map(IpAddr::V4),
        dev: ifindex.map(|ifindex| tables.link_name(ifindex)),
        metric: best.metric,
        mtu: Some(best.mtu).filter(|mtu| *mtu != 0),
        accelerated: reason.is_none(),
        reason,
    })
}

fn hop_entry(state: &State, key: HopKey) -> Option<NextHopEntry> {
    let hop = state.fib.hops.get(&key)?;
    let tables = &state.fib.tables;
    let at = tables.neighbour_of(key).ok();
    let neighbour = at.and_then(|at| tables.neighbours.get(&at));
    Some(NextHopEntry {
        id: hop.id.index(),
        address: IpAddr::V4(at.map_or(Ipv4Addr::UNSPECIFIED, |(_, address)| address)),
        dev: at.map_or_else(|| "-".into(), |(ifindex, _)| tables.link_name(ifindex)),
        lladdr: neighbour
            .and_then(|neighbour| neighbour.lladdr)
            .map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
        neighbour: neighbour.map_or("none", |neighbour| neighbour_state(neighbour.state)).into(),
        mtu: at.and_then(|(ifindex, _)| tables.links.get(&ifindex)).map_or(0, |link| link.mtu),
        routes: hop.routes,
        usable: hop.reason.is_none(),
        reason: hop.reason.clone(),
    })
}

/// States of next hops, as the metric names them.
const HOP_STATES: [&str; 4] = ["usable", "neighbour", "egress", "unsupported"];

fn hop_state(version: &NextHopVersion) -> &'static str {
    if version.flags & NextHopVersion::USABLE != 0 {
        return "usable";
    }
    match Outcome::from_code(version.pass as u8) {
        Some(Outcome::PassEgress) => "egress",
        Some(Outcome::PassRoute) => "unsupported",
        _ => "neighbour",
    }
}

/// The name of a neighbour's state, as `ip neigh` prints it.
fn neighbour_state(state: u16) -> &'static str {
    match state {
        0x01 => "incomplete",
        0x02 => "reachable",
        0x04 => "stale",
        0x08 => "delay",
        0x10 => "probe",
        0x20 => "failed",
        0x40 => "noarp",
        0x80 => "permanent",
        _ => "none",
    }
}

/// Kernel memory of the maps this process holds, as the kernel accounts it.
fn map_memory() -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir("/proc/self/fdinfo").context("cannot read /proc/self/fdinfo")? {
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else {
            continue;
        };
        if text.contains("map_type:") {
            let memlock = text.lines().find_map(|line| line.strip_prefix("memlock:"));
            total += memlock.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(total)
}
