//! Runs the contenders round by round, and sees that each did what it is named for.

use std::{collections::BTreeMap, sync::Barrier};

use anyhow::{Context, Result, bail, ensure};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use route_cache_bench_ebpf::{FLOOD_OF, Traffic};
use serde::Serialize;

use crate::{
    contender::{self, Contender, Way},
    frame,
    router::{CLONES_PER_CPU, Counts, Router, xdp},
    scenario::{self, Scenario},
};

/// Frames that the kernel takes through at a time.
const BATCH: u32 = 64;

/// Packets of the run that tells how many a slot takes.
const TRIAL: u32 = 32_768;

/// The share of packets that may go astray: the counters are read a moment before and after.
const ASTRAY: f64 = 0.001;

/// Attempts to warm up.
const ATTEMPTS: u32 = 10;

/// How long and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Effort {
    /// Rounds: each contender once.
    pub(crate) rounds: usize,
    /// Milliseconds that a contender runs in a round.
    pub(crate) slot_ms: u64,
    /// Seed of everything random.
    pub(crate) seed: u64,
}

/// What came of a contender in a scenario.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Which.
    pub(crate) contender: &'static str,
    /// Nanoseconds for a packet on one CPU, by round.
    pub(crate) ns: Vec<f64>,
    /// Million packets a second on all CPUs, by round.
    pub(crate) mpps: Vec<f64>,
    /// The share of packets from the list that a clone forwarded, over all rounds; the agent's contenders only.
    pub(crate) hit_rate: Option<f64>,
}

/// The routers that contenders run in.
pub(crate) struct Routers {
    /// With clones.
    pub(crate) cached: Router,
    /// Without.
    pub(crate) uncached: Router,
}

impl Routers {
    fn of(&mut self, contender: &Contender) -> &mut Router {
        match contender.router {
            contender::Router::Cached => &mut self.cached,
            contender::Router::Uncached => &mut self.uncached,
        }
    }
}

/// One contender in one scenario.
struct Entrant {
    index: usize,
    contender: Contender,
    packets: u32,
    measured: Measured,
    hits: u64,
    from_list: u64,
}

/// Measures all contenders of a scenario. The list must be set.
pub(crate) fn scenario(
    routers: &mut Routers,
    scenario: &Scenario,
    all: &[u128],
    order: &[u128],
    effort: Effort,
) -> Result<Vec<Measured>> {
    routers.cached.await_calm()?;
    warm_up(routers, scenario, all, effort)?;
    let traffic = |index: usize| Traffic {
        contender: index as u32,
        listed: order.len() as u32,
        flood: scenario.flood,
        ..Traffic::default()
    };
    for router in [&mut routers.cached, &mut routers.uncached] {
        router.set_list(order, effort.seed)?;
    }
    routers.cached.set_flows(all)?;
    let mut entrants = Vec::new();
    for (index, contender) in contender::ALL.into_iter().enumerate() {
        if !scenario.has(contender.name) {
            continue;
        }
        let router = routers.of(&contender);
        router.set_traffic(traffic(index))?;
        // Twice: the first run finds cold caches.
        let packets = packets(router, scenario, effort)?;
        let name = contender.name;
        entrants.push(Entrant {
            index,
            contender,
            packets,
            measured: Measured {
                contender: name,
                ns: Vec::new(),
                mpps: Vec::new(),
                hit_rate: None,
            },
            hits: 0,
            from_list: 0,
        });
    }
    for _ in 0..effort.rounds {
        for entrant in &mut entrants {
            let router = routers.of(&entrant.contender);
            router.set_traffic(traffic(entrant.index))?;
            let before = router.counts()?;
            let ns = run(router, entrant.packets, scenario.cpus)?;
            let moved = difference(&before, &router.counts()?);
            let sent = u64::from(entrant.packets) * scenario.cpus as u64;
            check(&entrant.contender, scenario, sent, &moved).with_context(|| {
                format!(
                    "{} in \"{}\" did not do what it is named for",
                    entrant.contender.name,
                    scenario.title()
                )
            })?;
            entrant.hits += contender::hits(&moved.outcomes);
            entrant.from_list += moved.from_list;
            entrant.measured.ns.push(mean(&ns));
            entrant.measured.mpps.push(ns.iter().map(|ns| 1e3 / ns).sum());
        }
    }
    let finish = |entrant: Entrant| {
        let is_agent = matches!(entrant.contender.way, Way::Agent(_));
        let share = entrant.hits as f64 / entrant.from_list as f64;
        let hit_rate = (is_agent && entrant.from_list > 0).then_some(share);
        Measured { hit_rate, ..entrant.measured }
    };
    Ok(entrants.into_iter().map(finish).collect())
}

/// How many packets a contender gets in a round, on each CPU.
fn packets(router: &mut Router, scenario: &Scenario, effort: Effort) -> Result<u32> {
    if !scenario.warm {
        // How often a cold cache is hit depends on how much has gone through: as much from the list in every scenario.
        return Ok(TRIAL / (FLOOD_OF - scenario.flood) * FLOOD_OF);
    }
    // Twice: the first run finds cold caches.
    run(router, TRIAL, scenario.cpus)?;
    let ns = mean(&run(router, TRIAL, scenario.cpus)?);
    let packets = (effort.slot_ms as f64 * 1e6 / ns) as u32;
    Ok(packets.max(BATCH * 16) / BATCH * BATCH)
}

/// Sends two packets in a row to each destination, on each CPU, the second of which makes a clone, until a walk through
/// all of them finds a clone for each.
///
/// So many new destinations at once are a flood to the agent, if it looks at its counters just then.
fn warm_up(routers: &mut Routers, scenario: &Scenario, all: &[u128], effort: Effort) -> Result<()> {
    let Some(index) = contender::ALL.iter().position(|c| c.name == "cache") else {
        bail!("there is no contender named \"cache\"");
    };
    let is_too_long = all.len() > CLONES_PER_CPU as usize / 2;
    if scenario.flood == FLOOD_OF || !scenario.warm || !scenario.has("cache") || is_too_long {
        return Ok(());
    }
    let (router, listed) = (&mut routers.cached, all.len() as u32);
    router.set_list(all, effort.seed)?;
    let traffic = Traffic { contender: index as u32, listed, ..Traffic::default() };
    for _ in 0..ATTEMPTS {
        router.await_calm()?;
        router.set_traffic(Traffic { repeat_shift: 1, ..traffic })?;
        run(router, 2 * listed, scenario.cpus)?;
        router.set_traffic(traffic)?;
        let before = router.counts()?;
        // More hits than there were misses: the agent sees no flood in them.
        run(router, 3 * listed, scenario.cpus)?;
        let moved = difference(&before, &router.counts()?);
        let sent = f64::from(3 * listed) * scenario.cpus as f64;
        if contender::hits(&moved.outcomes) as f64 >= sent * (1.0 - ASTRAY) {
            return Ok(());
        }
    }
    bail!("the destinations did not all get clones in {ATTEMPTS} attempts")
}

/// Takes so many packets through on each of so many CPUs; nanoseconds for a packet, by CPU.
///
/// The kernel itself takes the time: without the making and unmaking of pages (more than 10 ms here), and without
/// the time in which other processes have the CPU. It tells whole nanoseconds, rounded down.
fn run(router: &mut Router, packets: u32, cpus: usize) -> Result<Vec<f64>> {
    let template = frame::template(router.family);
    let context = frame::context(template.len(), router.ingress);
    let program = &*xdp(&mut router.ebpf, &format!("generate{}", router.family.suffix()))?;
    let start = Barrier::new(cpus);
    let one = |cpu: usize| -> Result<f64> {
        let pinned = stay_on(cpu);
        start.wait();
        pinned.with_context(|| format!("cannot run on CPU {cpu}"))?;
        let ran = program
            .test_run(TestRunOptions {
                data_in: Some(&template),
                ctx_in: Some(&context),
                repeat: packets,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("the kernel does not run live frames")?;
        Ok(ran.duration.as_nanos() as f64)
    };
    let (one, namespace) = (&one, &router.namespace);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..cpus).map(|cpu| scope.spawn(move || namespace.run_in(|| one(cpu))?)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

fn stay_on(cpu: usize) -> Result<(), nix::Error> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn difference(before: &Counts, after: &Counts) -> Counts {
    let outcomes: BTreeMap<String, u64> = after
        .outcomes
        .iter()
        .map(|(name, count)| {
            (name.clone(), count - before.outcomes.get(name).copied().unwrap_or_default())
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    Counts {
        arrived: after.arrived - before.arrived,
        by_kernel: after.by_kernel - before.by_kernel,
        outcomes,
        from_list: after.from_list - before.from_list,
    }
}

/// A figure of a path that was not taken is worse than none.
fn check(contender: &Contender, scenario: &Scenario, sent: u64, moved: &Counts) -> Result<()> {
    let nearly_all = |count: u64| count as f64 >= sent as f64 * (1.0 - ASTRAY);
    let nearly_none = |count: u64| count as f64 <= sent as f64 * ASTRAY;
    ensure!(nearly_all(moved.arrived), "of {sent} frames {} arrived", moved.arrived);
    let by_agent: u64 = moved.outcomes.values().sum();
    let way = match (scenario.warm, scenario.flood) {
        (true, 0) if scenario.destinations <= scenario::FEW => contender.way,
        _ => contender.way_in_flood,
    };
    if way != Way::Kernel {
        ensure!(nearly_none(moved.by_kernel), "the kernel forwarded {} of {sent}", moved.by_kernel);
    }
    match way {
        Way::Agent(names) => {
            let named: u64 = names.iter().filter_map(|name| moved.outcomes.get(*name)).sum();
            let outcomes = &moved.outcomes;
            ensure!(nearly_all(named), "of {sent} packets the agent counted {outcomes:?}");
        }
        Way::Redirected => {
            ensure!(nearly_none(by_agent), "the agent saw {by_agent} of {sent}");
        }
        Way::Kernel => {
            ensure!(
                nearly_all(moved.by_kernel),
                "the kernel forwarded {} of {sent}",
                moved.by_kernel
            );
            ensure!(nearly_none(by_agent), "the agent saw {by_agent} of {sent}");
        }
    }
    Ok(())
}
