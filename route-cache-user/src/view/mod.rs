//! What the agent tells about itself, read when asked.
//!
//! [`rows`]: the listings; [`explain`]: why a packet goes where it goes.

mod explain;
mod members;
mod memory;
mod rows;

use std::{collections::BTreeMap, net::IpAddr, ops::Bound, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use route_cache_common::{Config, Outcome, Tally, V4, V6};

use self::rows::{HOP_STATES, HopNames, clone_entry, hop_entry, hop_state, route_entry};
use crate::{
    agent::{
        Shared, State,
        orders::{Order, admission_mode},
        redirects::cause_name,
    },
    audit,
    config::Effective,
    control::{
        Action, Source,
        protocol::{
            AuditReport, CloneEntry, CloneTable, Count, Explanation, FamilyInterface, FamilyStatus,
            InterfaceEntry, NextHopEntry, RedirectErrorEntry, RouteEntry, SettingEntry, Status,
            Tiers, Timeout,
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
        let reasons = state.fib.reasons::<V4>();
        let reasons6 = state.fib.reasons::<V6>();
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
            accelerating: reasons.is_empty(),
            reasons,
            ipv6: FamilyStatus { accelerating: reasons6.is_empty(), reasons: reasons6 },
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
        Ok(links
            .map(|link| {
                let port = port_of(link.ifindex);
                let attached = state.attachments.is_attached(port);
                let asked_for = state.fib.is_attached(link.ifindex);
                let failure = state.attachments.failure(link.ifindex).map(str::to_owned);
                let of_family = |family| interface_status(&state, family, link.ifindex);
                let (v4, v6) = (of_family(IpFamily::V4), of_family(IpFamily::V6));
                let alone = (attached && !asked_for)
                    .then(|| "only VLAN devices of it were asked for".to_owned());
                let reasons = failure.into_iter().chain(alone).chain(v4.reasons).collect();
                InterfaceEntry {
                    name: link.name.clone(),
                    ifindex: link.ifindex,
                    port: (port != link.ifindex).then(|| state.fib.tables.link_name(port)),
                    mode: if attached { state.attachments.mode_name() } else { "none" }.into(),
                    accelerating: asked_for && v4.ingress && state.fib.reasons::<V4>().is_empty(),
                    egress: v4.egress,
                    reasons,
                    redirect_errors: errors_of(&state, link.ifindex),
                    ipv6: FamilyInterface {
                        accelerating: asked_for
                            && v6.ingress
                            && state.fib.reasons::<V6>().is_empty(),
                        egress: v6.egress,
                        reasons: v6.reasons,
                    },
                }
            })
            .collect())
    }

    fn histograms(&self) -> Vec<prometheus::Histogram> {
        self.shared.measured.all()
    }

    fn get(&self, address: IpAddr) -> Result<Explanation> {
        match address {
            IpAddr::V4(dst) => self.get_of_family::<V4>(dst.octets()),
            IpAddr::V6(dst) => self.get_of_family::<V6>(dst.octets()),
        }
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

    fn get_of_family<F: NetFamily>(&self, dst: F::Address) -> Result<Explanation> {
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
        let (outcome, reason) =
            explain::explain::<F>(&state, F::ip(dst), net, hop, !clones.is_empty());
        Ok(Explanation {
            dst: F::ip(dst),
            outcome: outcome.name().into(),
            reason,
            route: net.and_then(|net| route_entry::<F>(&state, &net)),
            next_hop: hop.and_then(|key| hop_entry(&state, key)),
            members,
            clones,
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

fn errors_of(state: &State, ifindex: Ifindex) -> Option<u64> {
    let errors = state.redirect_errors.as_ref().ok()?.iter();
    Some(errors.filter(|(error, _)| error.ifindex == ifindex).map(|(_, packets)| packets).sum())
}

/// What an interface is good for, for one family.
struct InterfaceStatus {
    ingress: bool,
    egress: bool,
    reasons: Vec<String>,
}

fn interface_status(state: &State, family: IpFamily, ifindex: Ifindex) -> InterfaceStatus {
    let mut reasons = state.fib.ingress(family, ifindex);
    let ingress = reasons.is_empty();
    let egress = state.fib.egress(family, ifindex);
    if let Err(against) = &egress
        && !reasons.contains(&against.reason)
    {
        reasons.push(against.reason.clone());
    }
    InterfaceStatus { ingress, egress: egress.is_ok(), reasons }
}
