//! What the agent tells about itself, read when asked.
//!
//! [`rows`]: the listings; [`explain`]: why a packet goes where it goes.

mod explain;
mod rows;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    ops::Bound,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail};
use ipnet::Ipv4Net;
use route_cache_common::{Outcome, Tally};

use self::rows::{HOP_STATES, HopNames, clone_entry, hop_entry, hop_state, route_entry};
use crate::{
    agent::{Shared, orders::Order},
    audit,
    config::Effective,
    control::{
        Action, Family, Source,
        protocol::{
            AuditReport, CloneEntry, CloneTable, Count, Explanation, InterfaceEntry, NextHopEntry,
            RouteEntry, SettingEntry, Status, Timeout,
        },
    },
    events::{Event, Journal},
    fib::{
        message::Ifindex,
        verdict::{HopKey, Way},
    },
    sweep::{
        exempt::Exempt,
        flush::{Choice, flush},
        policy::Reason,
    },
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
                // Removals are counted a batch at a time, while the program fills the room already.
                live: created.saturating_sub(table.removed()).min(table.capacity.into()),
                capacity: table.capacity.into(),
                created,
                expired: Reason::ALL
                    .map(|reason| (reason.name().into(), sweeper.expired(reason)))
                    .into(),
                refused,
                deferred,
                last_walk: sweeper.last_walk(),
            })
            .collect())
    }

    fn settings(&self) -> BTreeMap<String, SettingEntry> {
        let options = self.shared.options();
        let entry = |effective: Effective| {
            let entry =
                SettingEntry { value: effective.value.to_string(), origin: effective.origin };
            (effective.setting.to_string(), entry)
        };
        options.settings.effective().map(entry).collect()
    }

    fn timeout(&self) -> Timeout {
        let policy = self.shared.policy.read();
        let [shrunk, recovered] = self.shared.adjustments();
        Timeout {
            rtexpire_seconds: policy.rtexpire().0,
            rtminexpire_seconds: policy.settings().rtminexpire.0,
            rtmaxcache: policy.settings().rtmaxcache,
            shrunk,
            recovered,
            memory_pressure: self.shared.pressure().name().into(),
        }
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
            netns: shared.options().netns.clone(),
            accelerating: reasons.is_empty(),
            reasons,
            settings: self.settings(),
            timeout: self.timeout(),
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
            audits: shared.audit.audits(),
            audit_mismatches: shared.audit.mismatches(),
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
                        clone_entry(&self.shared, &state, &names, table.cpu, *destination, clone)
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

    fn histograms(&self) -> Vec<prometheus::Histogram> {
        self.shared.measured.all()
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
        let (outcome, reason) =
            explain::explain(&state, dst, prefix, hop, !explanation.clones.is_empty());
        explanation.outcome = outcome.name().into();
        explanation.reason = reason;
        Ok(explanation)
    }

    fn audit(&self) -> Result<AuditReport> {
        audit::all(&self.shared)
    }

    fn act(&self, action: Action) -> Result<String> {
        let shared = &*self.shared;
        let what = action.to_string();
        match action {
            Action::Set(setting, value) => shared.orders.give(Order::Set(setting, value)),
            Action::Drain => shared.orders.give(Order::Drain),
            Action::Flush { family: Some(Family::Ipv6), .. } => Ok("no clone is IPv6".to_owned()),
            Action::Flush { prefix, dev, family: Some(Family::Ipv4) | None } => {
                let ifindex = dev.as_deref().map(|dev| self.ifindex(dev)).transpose()?;
                let removed = flush(shared, &Choice { prefix, ifindex }, Reason::Flush)?;
                let what = what.trim_start_matches("flush ").to_owned();
                shared.journal.push(Event::Flush { what });
                Ok(format!("{removed} clones removed"))
            }
            Action::Purge { dev, force } => {
                let exempt = Exempt::new(shared.options().exempt_interfaces.clone());
                if exempt.spares(&dev, force) {
                    return Ok(format!("{dev} is exempt: nothing removed (--force includes it)"));
                }
                let ifindex = Some(self.ifindex(&dev)?);
                let removed = flush(shared, &Choice { prefix: None, ifindex }, Reason::LinkDown)?;
                let done = format!("{removed} clones through {dev} removed");
                shared.journal.push(Event::Purge { dev });
                Ok(done)
            }
        }
    }

    fn events(&self) -> Arc<Journal> {
        Arc::clone(&self.shared.journal)
    }
}

impl View {
    fn ifindex(&self, name: &str) -> Result<Ifindex> {
        let state = self.shared.read();
        let link = state.fib.tables.links.values().find(|link| link.name == name);
        link.map(|link| link.ifindex).ok_or_else(|| anyhow!("no such interface: {name}"))
    }

    fn clones_of(&self, dst: Ipv4Addr) -> Result<Vec<CloneEntry>> {
        let names = HopNames::new(&self.shared.read());
        let mut entries = Vec::new();
        for table in &self.shared.clones {
            let found = table
                .get(dst.octets())
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
            if let Some(clone) = found {
                entries.extend(clone_entry(
                    &self.shared,
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
