//! An agent for tests, and a place for its sockets.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, bail};
use route_cache_common::Outcome;

use super::{
    Action, Packet, Source,
    protocol::{
        AuditReport, AuditedClone, CloneEntry, CloneTable, Count, Explanation, FamilyInterface,
        FamilyStatus, InterfaceEntry, KernelAnswer, NextHopEntry, RedirectErrorEntry, RouteEntry,
        SettingEntry, Status, StepEntry, Tiers, Timeout, Walked,
    },
};
use crate::events::{Event, Journal};

/// Answers with what would be there after some traffic.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fake {
    /// How many clones it has; 2 by default.
    pub(crate) clones: Option<u32>,
    /// Whether every question fails.
    pub(crate) broken: bool,
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}

impl Fake {
    fn works(&self) -> Result<()> {
        if self.broken {
            bail!("cannot read the map CLONES: Bad file descriptor");
        }
        Ok(())
    }
}

impl Source for Fake {
    fn status(&self) -> Result<Status> {
        self.works()?;
        let table = |cpu| CloneTable {
            family: "ipv4".into(),
            cpu,
            live: 1,
            capacity: 65_536,
            created: 4,
            expired: counts(&[("timeout", 2), ("route", 1)]),
            refused: 0,
            deferred: 0,
            last_walk: Walked { found: 4, killed: 1 },
        };
        let mut outcomes: BTreeMap<_, _> =
            Outcome::ALL.iter().map(|o| (o.name().to_owned(), Count::default())).collect();
        for (outcome, packets) in [
            (Outcome::ForwardedClone, 1_234_567),
            (Outcome::ForwardedRoute, 4),
            (Outcome::PassLocal, 321),
        ] {
            outcomes.insert(outcome.name().into(), Count { packets, bytes: packets * 98 });
        }
        Ok(Status {
            version: "0.1.0".into(),
            pid: 4711,
            uptime_seconds: 7384.5,
            netns: Some("router".into()),
            accelerating: true,
            reasons: Vec::new(),
            codes: Vec::new(),
            ipv6: FamilyStatus {
                accelerating: false,
                reasons: vec!["IPv6 forwarding is off (net.ipv6.conf.all.forwarding)".into()],
                codes: vec!["forwarding".into()],
            },
            settings: BTreeMap::from([(
                "rtexpire".to_owned(),
                SettingEntry { value: "1h".into(), origin: "default".into() },
            )]),
            tiers: Tiers { flows: true, clones: "all".into(), index: false },
            timeout: Timeout {
                rtexpire_seconds: 2400,
                rtminexpire_seconds: 10,
                rtmaxcache: 49_152,
                shrunk: 1,
                recovered: 0,
                memory_pressure: "none".into(),
            },
            outcomes,
            clones: vec![table(0), table(1)],
            routes: counts(&[("ipv4", 3)]),
            next_hops: counts(&[("usable", 1), ("incomplete", 1)]),
            resyncs: counts(&[("start", 1)]),
            netlink_overruns: 0,
            audits: 12,
            audit_mismatches: 1,
            redirect_errors: vec![RedirectErrorEntry {
                interface: "eth1".into(),
                cause: "ENXIO".into(),
                packets: 17,
            }],
            redirect_errors_unknown: None,
            map_memory_bytes: 31_457_280,
            map_memory: counts(&[("index4", 31_000_000), ("routes4", 457_280)]),
            resident_memory_bytes: 20_971_520,
            interfaces: self.interfaces()?,
        })
    }

    fn clones(&self) -> Result<Vec<CloneEntry>> {
        self.works()?;
        let clone = |n: u32| CloneEntry {
            dst: IpAddr::from((0xc633_6400 + n / 2).to_be_bytes()),
            family: "ipv4".into(),
            cpu: n % 2,
            prefix: "198.51.100.0/24".parse().unwrap(),
            via: Some("192.0.2.254".parse().unwrap()),
            dev: "eth1".into(),
            mtu: 1500,
            packets: 617_283,
            bytes: 60_493_734,
            idle_seconds: 0.25,
            expires_in_seconds: 3599.75,
            state: "in-use".into(),
        };
        Ok((0..self.clones.unwrap_or(2)).map(clone).collect())
    }

    fn routes(&self) -> Result<Vec<RouteEntry>> {
        self.works()?;
        let route =
            |prefix: &str, kind: &str, via: Option<&str>, reason: Option<&str>| RouteEntry {
                prefix: prefix.parse().unwrap(),
                family: "ipv4".into(),
                table: if kind == "local" { "local" } else { "main" }.into(),
                kind: kind.into(),
                via: via.map(|via| via.parse().unwrap()),
                dev: (kind != "blackhole").then(|| "eth1".into()),
                metric: 0,
                mtu: None,
                accelerated: reason.is_none(),
                reason: reason.map(str::to_owned),
            };
        Ok(vec![
            route("198.51.100.0/24", "unicast", Some("192.0.2.254"), None),
            route("192.0.2.1/32", "local", None, Some("an address of this host")),
            route("10.0.0.0/8", "blackhole", None, Some("blackhole is left to the kernel")),
        ])
    }

    fn next_hops(&self) -> Result<Vec<NextHopEntry>> {
        self.works()?;
        let next_hop = |id, address: &str, lladdr: Option<&str>| NextHopEntry {
            id,
            address: address.parse().unwrap(),
            dev: "eth1".into(),
            lladdr: lladdr.map(str::to_owned),
            neighbour: if lladdr.is_some() { "REACHABLE" } else { "INCOMPLETE" }.into(),
            vlan: None,
            port: None,
            mtu: 1500,
            routes: 1,
            usable: lladdr.is_some(),
            reason: lladdr.is_none().then(|| "the neighbour is not resolved".into()),
        };
        Ok(vec![
            next_hop(1, "192.0.2.254", Some("02:00:00:00:02:fe")),
            next_hop(2, "192.0.2.77", None),
        ])
    }

    fn interfaces(&self) -> Result<Vec<InterfaceEntry>> {
        self.works()?;
        let interface = |name: &str, ifindex, reasons: &[&str]| InterfaceEntry {
            name: name.into(),
            ifindex,
            port: None,
            mode: if reasons.is_empty() { "native" } else { "none" }.into(),
            accelerating: reasons.is_empty(),
            egress: reasons.is_empty(),
            reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
            codes: reasons.iter().map(|_| "not_attached".to_owned()).collect(),
            redirect_errors: Some(if name == "eth1" { 17 } else { 0 }),
            ipv6: FamilyInterface {
                accelerating: reasons.is_empty(),
                egress: reasons.is_empty(),
                reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
                codes: reasons.iter().map(|_| "not_attached".to_owned()).collect(),
            },
        };
        Ok(vec![
            interface("eth0", 2, &[]),
            interface("eth1", 3, &[]),
            interface("tun\x1b[2J", 4, &["the driver has no XDP; try --xdp-mode skb"]),
        ])
    }

    fn get(&self, packet: &Packet) -> Result<Explanation> {
        self.works()?;
        let Packet { dst, from, iif } = packet.clone();
        let covered = dst.to_string().starts_with("198.51.100.");
        let step = |step: &str, result: &str, outcome: Option<Outcome>, reason: &str| StepEntry {
            step: step.into(),
            result: result.into(),
            outcome: outcome.map(|outcome| outcome.name().into()),
            codes: Vec::new(),
            reason: reason.into(),
        };
        let (outcome, reason, last) = if covered {
            let last = step("route", "ok", None, "198.51.100.0/24 of table main");
            (Outcome::ForwardedClone, "a clone of 198.51.100.0/24 is current", last)
        } else {
            let outcome = Outcome::PassNoRoute;
            let last = step("route", "passes", Some(outcome), "no route covers it");
            (outcome, "no route covers it", last)
        };
        Ok(Explanation {
            dst,
            from,
            iif,
            steps: vec![step("interface", "not_asked", None, "give `iif NAME`"), last],
            outcome: outcome.name().into(),
            reason: reason.into(),
            route: self.routes()?.into_iter().next().filter(|_| covered),
            next_hop: self.next_hops()?.into_iter().next().filter(|_| covered),
            members: Vec::new(),
            clones: self.clones()?.into_iter().filter(|clone| clone.dst == dst).collect(),
            kernel: KernelAnswer {
                question: format!("ip route get {dst}"),
                answer: None,
                error: Some("RTNETLINK answers: Network is unreachable\x1b".into()),
                agreement: "kernel_decides".into(),
                reason: "the kernel decides".into(),
            },
        })
    }

    fn audit(&self) -> Result<AuditReport> {
        self.works()?;
        let difference = AuditedClone {
            dst: "198.51.100.0".parse().unwrap(),
            cpu: 1,
            difference: "next_hop".into(),
            clone: "via 192.0.2.254 dev eth1".into(),
            kernel: "via 192.0.2.253 dev eth1".into(),
        };
        let differences = if self.clones == Some(0) { Vec::new() } else { vec![difference] };
        let checked = self.clones.unwrap_or(2).into();
        Ok(AuditReport { checked, differences, ..AuditReport::default() })
    }

    fn act(&self, action: Action) -> Result<String> {
        self.works()?;
        Ok(format!("{action}: done\x1b"))
    }

    fn events(&self) -> Arc<Journal> {
        let journal = Journal::new(Instant::now());
        journal.push(Event::Resync { cause: "start".into() });
        journal.push(Event::Link { dev: "tun\x1b[2J".into(), state: "up".into() });
        Arc::new(journal)
    }
}

/// An agent in which something happens.
#[derive(Clone)]
pub(crate) struct Live(pub(crate) Arc<Journal>);

impl Live {
    pub(crate) fn new() -> Live {
        Live(Arc::new(Journal::new(Instant::now())))
    }
}

impl Source for Live {
    fn status(&self) -> Result<Status> {
        Fake::default().status()
    }
    fn clones(&self) -> Result<Vec<CloneEntry>> {
        Fake::default().clones()
    }
    fn routes(&self) -> Result<Vec<RouteEntry>> {
        Fake::default().routes()
    }
    fn next_hops(&self) -> Result<Vec<NextHopEntry>> {
        Fake::default().next_hops()
    }
    fn interfaces(&self) -> Result<Vec<InterfaceEntry>> {
        Fake::default().interfaces()
    }
    fn get(&self, packet: &Packet) -> Result<Explanation> {
        Fake::default().get(packet)
    }
    fn audit(&self) -> Result<AuditReport> {
        Fake::default().audit()
    }
    fn act(&self, action: Action) -> Result<String> {
        self.0.push(Event::Flush { what: action.to_string() });
        Ok(action.to_string())
    }
    fn events(&self) -> Arc<Journal> {
        Arc::clone(&self.0)
    }
}

/// A directory that is removed when dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rc-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
