//! What the agent tells about itself, read when asked.
//!
//! [`rows`]: the listings; [`explain`]: why a packet goes where it goes; [`standing`]: what stands aside, and why.

mod explain;
mod members;
mod memory;
mod rows;
mod standing;

use std::{collections::BTreeMap, net::IpAddr, ops::Bound, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use route_cache_common::{Config, Outcome, Tally, V4, V6};

use self::{
    explain::{Destination, Steps},
    rows::{HOP_STATES, HopNames, clone_entry, hop_entry, hop_state, route_entry},
};
use crate::{
    agent::{
        Shared, State,
        orders::{Order, admission_mode},
        redirects::cause_name,
    },
    audit,
    config::Effective,
    control::{
        Action, Packet, Source,
        protocol::{
            AuditReport, CloneEntry, CloneTable, Count, Explanation, InterfaceEntry, NextHopEntry,
            RedirectErrorEntry, RouteEntry, SettingEntry, Status, Tiers, Timeout,
        },
    },
    events::{Event, Journal},
    fib::{
        family::{IpFamily, NetFamily},
        message::Ifindex,
        verdict::{HopKey, Way},
    },
    maps::Untold,
    sweep::{
        exempt::Exempt,
        flush::{Choice, flush},
        policy::Reason,
    },
};

/// Rows converted at a time, so that the event loop does not wait for a listing.
const BATCH: usize = 4096;

/// For the mirror to hear what a kernel that answers otherwise has just told.
const SOON: Duration = Duration::from_millis(20);

/// For it to have taken in all that was told.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The answers.
pub(crate) struct View {
    shared: Arc<Shared>,
}

impl View {
    /// A view of a running agent.
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn clone_tables<F: NetFamily>(&self) -> Result<Vec<CloneTable>> {
        let shared = &*self.shared;
        // The program counts both families together.
        let tally = |tally| match F::FAMILY {
            IpFamily::V4 => shared.counters.tally(tally),
            IpFamily::V6 => Ok(vec![0; shared.clones.cpus()]),
        };
        let refused = tally(Tally::CloneRefused)?;
        let deferred = tally(Tally::CloneDeferred)?;
        let tables = F::clones(&shared.clones).iter().zip(&shared.sweepers[F::FAMILY]);
        Ok(tables
            .zip(shared.live::<F>()?.into_iter().zip(refused.into_iter().zip(deferred)))
            .map(|((table, sweeper), (live, (refused, deferred)))| CloneTable {
                family: F::FAMILY.name().into(),
                cpu: table.cpu,
                live,
                capacity: table.capacity.into(),
                created: live + table.removed(),
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
        let mut clones = self.clone_tables::<V4>()?;
        clones.extend(self.clone_tables::<V6>()?);
        let interfaces = self.interfaces()?;
        let (maps, resident) = (memory::of_maps()?, memory::resident()?);
        let state = shared.read();
        let (v4, ipv6) = (standing::family::<V4>(&state), standing::family::<V6>(&state));
        let routes = [
            (V4::FAMILY.name().to_owned(), state.fib.v4.installed.len() as u64),
            (V6::FAMILY.name().to_owned(), state.fib.v6.installed.len() as u64),
        ];
        let mut next_hops = BTreeMap::from(HOP_STATES.map(|state| (state.to_owned(), 0)));
        for (_, hop) in state.fib.hops.iter() {
            *next_hops.entry(hop_state(hop.version()).to_owned()).or_default() += 1;
        }
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: shared.started.elapsed().as_secs_f64(),
            netns: shared.options().netns.clone(),
            accelerating: v4.accelerating,
            reasons: v4.reasons,
            codes: v4.codes,
            ipv6,
            settings: self.settings(),
            tiers: Tiers {
                flows: shared.flags() & Config::FLOWS != 0,
                clones: admission_mode(shared.flags()).into(),
                index: shared.flags() & Config::INDEX4 != 0,
            },
            timeout: self.timeout(),
            outcomes,
            clones,
            routes: BTreeMap::from(routes),
            next_hops,
            resyncs: state
                .resyncs
                .iter()
                .map(|(cause, count)| (cause.name().to_owned(), *count))
                .collect(),
            netlink_overruns: state.overruns,
            audits: shared.audit.audits(),
            audit_mismatches: shared.audit.mismatches(),
            redirect_errors: redirect_errors(&state),
            redirect_errors_unknown: state.redirect_errors.as_ref().err().cloned(),
            map_memory_bytes: maps.values().sum(),
            map_memory: maps,
            resident_memory_bytes: resident,
            interfaces,
        })
    }

    fn clones(&self) -> Result<Vec<CloneEntry>> {
        let mut entries = self.clones_of_family::<V4>()?;
        entries.extend(self.clones_of_family::<V6>()?);
        entries.sort_unstable_by_key(|entry| (entry.dst, entry.cpu));
        Ok(entries)
    }

    fn routes(&self) -> Result<Vec<RouteEntry>> {
        let mut entries = self.routes_of_family::<V4>();
        entries.extend(self.routes_of_family::<V6>());
        Ok(entries)
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
        let port_of = |ifindex| state.fib.tables.port_of(ifindex);
        let wanted = |ifindex: &Ifindex| {
            let below = port_of(*ifindex);
            state.attachments.is_attached(below)
                // A VLAN device on a VLAN device, for the reason why it stands aside.
                || state.attachments.is_attached(port_of(below))
                || state.attachments.failure(*ifindex).is_some()
        };
        let links = state.fib.tables.links.values().filter(|link| wanted(&link.ifindex));
        Ok(links.map(|link| standing::interface(&state, link)).collect())
    }

    fn histograms(&self) -> Vec<prometheus::Histogram> {
        self.shared.measured.all()
    }

    fn get(&self, packet: &Packet) -> Result<Explanation> {
        let mut explanation = self.explain(packet)?;
        // The mirror may be a message behind, or just reading what the kernel does not tell.
        let caught_up = &self.shared.audit.caught_up;
        let due = caught_up.after_now();
        for patience in [SOON, CATCH_UP] {
            if explanation.kernel.agreement != explain::DIFFERS {
                break;
            }
            let _in_time: bool = caught_up.wait(due, patience);
            explanation = self.explain(packet)?;
        }
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
            Action::Flush { prefix, dev, family } => {
                let ifindex = dev.as_deref().map(|dev| self.ifindex(dev)).transpose()?;
                let removed = flush(shared, &Choice { prefix, family, ifindex }, Reason::Flush)?;
                shared.orders.give(Order::VoidFlows)?;
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
                let choice = Choice { ifindex, ..Choice::default() };
                let removed = flush(shared, &choice, Reason::LinkDown)?;
                shared.orders.give(Order::VoidFlows)?;
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

    fn clones_of_family<F: NetFamily>(&self) -> Result<Vec<CloneEntry>> {
        let names = HopNames::new(&self.shared.read());
        let mut entries = Vec::new();
        for table in F::clones(&self.shared.clones) {
            let untold = self.untold::<F>(table.cpu)?;
            table
                .visit(BATCH, |destinations, clones| {
                    let state = self.shared.read();
                    let now = self.shared.clock.now();
                    let seen = destinations.iter().zip(clones);
                    entries.extend(seen.filter_map(|(to, clone)| {
                        let clone = untold.told(*to, *clone, now);
                        clone_entry::<F>(&self.shared, &state, &names, table.cpu, *to, &clone)
                    }));
                })
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
        }
        Ok(entries)
    }

    fn routes_of_family<F: NetFamily>(&self) -> Vec<RouteEntry> {
        let mut entries = Vec::new();
        let mut from: Bound<F::Net> = Bound::Unbounded;
        loop {
            let state = self.shared.read();
            let routes = &F::tables(&state.fib.tables).routes;
            let mut last = None;
            for net in routes.range((from, Bound::Unbounded)).take(BATCH) {
                entries.extend(route_entry::<F>(&state, &net));
                last = Some(net);
            }
            match last {
                Some(net) => from = Bound::Excluded(net),
                None => return entries,
            }
        }
    }

    fn explain(&self, packet: &Packet) -> Result<Explanation> {
        let iif = packet.iif.as_deref().map(|iif| self.ifindex(iif)).transpose()?;
        match (packet.dst, packet.from) {
            (IpAddr::V4(dst), Some(IpAddr::V4(from))) => {
                self.explain_to::<V4>(packet, dst.octets(), Some(from.octets()), iif)
            }
            (IpAddr::V4(dst), _) => self.explain_to::<V4>(packet, dst.octets(), None, iif),
            (IpAddr::V6(dst), Some(IpAddr::V6(from))) => {
                self.explain_to::<V6>(packet, dst.octets(), Some(from.octets()), iif)
            }
            (IpAddr::V6(dst), _) => self.explain_to::<V6>(packet, dst.octets(), None, iif),
        }
    }

    fn explain_to<F: NetFamily>(
        &self,
        packet: &Packet,
        dst: F::Address,
        from: Option<F::Address>,
        iif: Option<Ifindex>,
    ) -> Result<Explanation> {
        let clones = self.clones_to::<F>(dst)?;
        let state = self.shared.read();
        let installed = &F::mirrored(&state.fib).installed;
        let net = installed.longest_match(dst);
        let way = net.and_then(|net| installed.get(&net)).map(|known| known.verdict.way);
        let members = match &way {
            Some(Way::Group(key)) => members::members(&state, key),
            Some(Way::Via(_) | Way::OnLink(_) | Way::Pass(..)) | None => Vec::new(),
        };
        let hop = match way {
            Some(Way::Via(key)) => Some(key),
            Some(Way::OnLink(ifindex)) => Some(HopKey::Neighbour((ifindex, F::ip(dst)))),
            Some(Way::Group(_) | Way::Pass(..)) | None => None,
        };
        let mut steps = Steps::default();
        explain::arrive::<F>(&self.shared, &state, iif, &mut steps);
        explain::admit::<F>(dst, &mut steps);
        explain::send::<F>(&state, from, iif, &mut steps);
        let to = Destination::<F> { dst, net, way, clones: &clones, flags: self.shared.flags() };
        let (outcome, reason, ours) = explain::follow(&state, &to, iif, &mut steps);
        let route = net.and_then(|net| route_entry::<F>(&state, &net));
        let next_hop = hop.and_then(|key| hop_entry(&state, key));
        let question = explain::question(&state.fib.tables, F::ip(dst), packet.from, iif);
        // The event loop does not wait for the kernel.
        drop(state);
        let name = |ifindex| self.shared.read().fib.tables.link_name(ifindex);
        let kernel = explain::compare(&question, outcome, ours.as_ref(), &name);
        Ok(Explanation {
            dst: packet.dst,
            from: packet.from,
            iif: packet.iif.clone(),
            steps: steps.into_entries(),
            outcome: outcome.name().into(),
            reason,
            route,
            next_hop,
            members,
            clones,
            kernel,
        })
    }

    fn clones_to<F: NetFamily>(&self, dst: F::Address) -> Result<Vec<CloneEntry>> {
        let names = HopNames::new(&self.shared.read());
        let mut entries = Vec::new();
        for table in F::clones(&self.shared.clones) {
            let found = table
                .get(dst)
                .with_context(|| format!("cannot read the clones of CPU {}", table.cpu))?;
            let Some(clone) = found else { continue };
            let clone = self.untold::<F>(table.cpu)?.told(dst, clone, self.shared.clock.now());
            let state = self.shared.read();
            entries.extend(clone_entry::<F>(&self.shared, &state, &names, table.cpu, dst, &clone));
        }
        Ok(entries)
    }

    fn untold<F: NetFamily>(&self, cpu: u32) -> Result<Untold<F>> {
        let untold = self.shared.flows.untold(cpu);
        untold.with_context(|| format!("cannot read the flows of CPU {cpu}"))
    }
}

fn redirect_errors(state: &State) -> Vec<RedirectErrorEntry> {
    let errors = state.redirect_errors.iter().flatten();
    errors
        .map(|(error, packets)| RedirectErrorEntry {
            interface: state.fib.tables.link_name(error.ifindex),
            cause: cause_name(error.cause),
            packets: *packets,
        })
        .collect()
}
