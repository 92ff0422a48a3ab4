//! Two routers that are the same but for the agent in one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
};

use anyhow::{Context, Result, bail};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use route_cache_lab::{Agent, wait_until};
use serde_json::{Value, json};

use crate::{
    case::{Case, PORTS, Step},
    compare::{Comparer, Output},
    known::Known,
    side::{PATIENCE, Side},
    topology,
};

/// The kernel keeps something of a case that commands do not bring back, such as who uses the anycast address of a network:
/// only new routers are as they were.
#[derive(Debug, thiserror::Error)]
#[error("the routers cannot be brought back to where a case begins")]
pub struct Altered;

/// Both routers.
pub struct World {
    /// Ends before its router.
    agent: Agent,
    cache: Side,
    kernel: Side,
    comparer: Comparer,
    /// What both routers are after a reset.
    pristine: String,
    /// What brings back what the last case changed and [`topology::reset`] does not know of.
    undo: Vec<String>,
    fences: u32,
    /// A case had a local route: the kernel never forgets that (`fib_has_custom_local_routes`).
    had_local: bool,
    /// A case had a policy rule: nor that (`fib_unmerge`, `fib4_has_custom_rules`).
    had_rule: bool,
}

impl World {
    /// Builds both, and starts the agent in one.
    pub fn new(agent: &Path) -> Result<Self> {
        let (cache, kernel) = (Side::new("cache")?, Side::new("kernel")?);
        let mut setup = Agent::setup(agent)?.arguments(&["--netns", cache.router().name()]);
        for port in 0..PORTS {
            setup = setup.arguments(&["--interface", &format!("p{port}")]);
        }
        let agent = setup.start()?;
        cache.merge_nothing()?;
        let mut world = Self {
            agent,
            cache,
            kernel,
            comparer: Comparer::default(),
            pristine: String::new(),
            undo: Vec::new(),
            fences: 0,
            had_local: false,
            had_rule: false,
        };
        world.reset()?;
        world.pristine = world.cache.state()?;
        Ok(world)
    }

    /// Brings both routers to where a case begins, and the agent along.
    pub fn reset(&mut self) -> Result<()> {
        for side in [&mut self.cache, &mut self.kernel] {
            side.reset(&self.undo)?;
        }
        self.undo.clear();
        self.calm()?;
        for side in [&self.cache, &self.kernel] {
            let wrong = side.batch(&topology::ways_back())?;
            if !wrong.is_empty() {
                bail!("a router does not take the routes that each case begins with: {wrong}");
            }
        }
        if !self.pristine.is_empty() {
            self.agree(Some(&self.pristine)).context(Altered)?;
        }
        self.agent
            .ask(&json!({"command": "flush", "prefix": null, "dev": null, "family": null}))?;
        self.follow()
    }

    /// Runs a case from the start, up to the first difference.
    pub fn run(&mut self, case: &Case, known: &Known) -> Result<Vec<String>> {
        self.reset()?;
        for step in &case.steps {
            let differences = self.step(step, known)?;
            if !differences.is_empty() {
                return Ok(differences);
            }
        }
        Ok(Vec::new())
    }

    /// Changes both routers, waits until the agent has taken that in, sends the frames, and compares.
    pub fn step(&mut self, step: &Step, known: &Known) -> Result<Vec<String>> {
        self.change(&step.commands)?;
        let cache = self.cache.exchange(&step.frames)?;
        let kernel = self.kernel.exchange(&step.frames)?;
        Ok(self.comparer.differences(&cache, &kernel, known))
    }

    /// What comes out of both routers, the cache's first, without a comparison.
    pub fn outputs(&mut self, step: &Step) -> Result<(Output, Output)> {
        self.change(&step.commands)?;
        Ok((self.cache.exchange(&step.frames)?, self.kernel.exchange(&step.frames)?))
    }

    fn change(&mut self, commands: &[String]) -> Result<()> {
        if commands.is_empty() {
            return Ok(());
        }
        let cache = self.cache.apply(commands)?;
        let kernel = self.kernel.apply(commands)?;
        if cache != kernel {
            bail!("the routers do not take the same commands: {commands:#?}\n{cache}\n{kernel}");
        }
        self.had_local |= commands.iter().any(|command| command.starts_with("ip route add local "));
        self.had_rule |= commands.iter().any(|command| command.contains(" rule add "));
        self.undo.extend(commands.iter().filter_map(|command| undo(command)));
        if commands.iter().any(|command| settles_later(command)) {
            self.calm()?;
            self.agree(None)?;
        }
        self.follow()
    }

    /// Waits until the kernel has done what it does on its own.
    fn calm(&mut self) -> Result<()> {
        for side in [&mut self.cache, &mut self.kernel] {
            let mut failed = None;
            wait_until("a router to be calm", PATIENCE, || match side.look() {
                Ok(calm) => calm,
                Err(error) => {
                    failed = Some(error);
                    true
                }
            })
            .with_context(|| side.state().unwrap_or_default())?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits until both routers are the same, or both are this.
    fn agree(&self, wanted: Option<&str>) -> Result<()> {
        let (mut cache, mut kernel) = (String::new(), String::new());
        let agreed = wait_until("both routers to have the same tables", PATIENCE, || {
            cache = self.cache.state().unwrap_or_default();
            kernel = self.kernel.state().unwrap_or_default();
            !cache.is_empty() && cache == kernel && wanted.is_none_or(|wanted| cache == wanted)
        });
        agreed.with_context(|| {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
            let wanted = lines(wanted.unwrap_or(&kernel));
            let (cache, kernel) = (lines(&cache), lines(&kernel));
            let odd = |other: &BTreeSet<String>| {
                wanted.symmetric_difference(other).cloned().collect::<Vec<_>>()
            };
            format!("cache: {:#?}\nkernel: {:#?}", odd(&cache), odd(&kernel))
        })
    }

    /// Waits until the agent has heard all that its kernel has said, and has nothing more to read.
    ///
    /// A route that is of no use to anybody is added: events come in order, so that whoever knows it knows what was before.
    fn follow(&mut self) -> Result<()> {
        let number = self.fences % 0xffff;
        self.fences += 1;
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 254, 0, 0)) + number);
        let route = format!("blackhole {address}/32 proto {}", topology::PROTOCOL);
        let wrong = self.cache.batch(&[format!("route add {route}")])?;
        if !wrong.is_empty() {
            bail!("the router does not take a route to wait for: {wrong}");
        }
        let prefix = format!("{address}/32");
        let get = json!({"command": "get", "address": address});
        wait_until("the agent to have heard of a route", PATIENCE, || {
            self.agent.ask(&get).is_ok_and(|told| told["route"]["prefix"] == *prefix)
        })
        .with_context(|| self.story())?;
        self.cache.batch(&[format!("route del {route}")])?;
        let interfaces = json!({"command": "interfaces"});
        wait_until("the agent to have read all tables", PATIENCE, || {
            let doubts = |told: Value| told.to_string().contains("being read");
            self.agent.ask(&json!({"command": "status"})).is_ok_and(|told| !doubts(told))
                && self.agent.ask(&interfaces).is_ok_and(|told| !doubts(told))
        })
        .with_context(|| self.story())
    }

    /// Commands for what a reset does not bring back.
    pub fn history(&self) -> String {
        let mut commands = String::new();
        if self.had_local {
            commands += "ip route add local 10.99.255.0/24 dev p0 proto 77\nip route del local 10.99.255.0/24 dev p0\n";
        }
        if self.had_rule {
            for ip in ["ip", "ip -6"] {
                commands +=
                    &format!("{ip} rule add pref 99 oif p0 lookup 99\n{ip} rule del pref 99\n");
            }
        }
        commands
    }

    /// Packets that the agent has seen, by outcome.
    pub fn outcomes(&self) -> Result<BTreeMap<String, u64>> {
        let status = self.agent.ask(&json!({"command": "status"}))?;
        let outcomes = status["outcomes"].as_object().context("a status without outcomes")?;
        Ok(outcomes
            .iter()
            .map(|(name, count)| (name.clone(), count["packets"].as_u64().unwrap_or_default()))
            .collect())
    }

    /// For an error.
    pub fn story(&self) -> String {
        let status = self.agent.status().map_or_else(|e| format!("{e:#}"), |s| s.to_string());
        format!("the agent's status: {status}\nits log:\n{}", self.agent.log())
    }
}

/// Has what follows run on one CPU: clones and flows are kept by CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Whether the kernel goes on doing something after the command.
fn settles_later(command: &str) -> bool {
    command.starts_with("ip link") || command.starts_with("ip address")
}

/// What brings back what the command changed, unless [`topology::reset`] does.
fn undo(command: &str) -> Option<String> {
    if let Some(rest) = command.strip_prefix("ip address add ") {
        return Some(format!("ip address del {}", rest.trim_end_matches(" nodad")));
    }
    if command.contains(" rule add ") {
        return Some(command.replacen(" rule add ", " rule del ", 1));
    }
    let (name, _) = command.strip_prefix("sysctl ")?.split_once('=')?;
    Some(format!("sysctl {name}={}", topology::default_of(name)))
}
