//! What the operator orders while the agent runs: settings, reload, drain. The event loop carries it out, so that it has
//! one order with what the kernel says.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use route_cache_common::{Config, Family as _, V4, V6};
use tokio::sync::{mpsc, oneshot};

use super::{Shared, breaker::Search, event_loop::EventLoop, timeout_event};
use crate::{
    cli::{AgentOptions, CloneOn},
    config::{self, Setting, Settings, Value},
    events::{Direction, Event},
    log,
    sweep::{
        Sweeper,
        flush::{Choice, flush},
        policy::Reason,
        settings::{self as timeouts, Seconds},
    },
};

/// An order.
#[derive(Debug)]
pub(crate) enum Order {
    /// Sets a value.
    Set(Setting, Value),
    /// Drains the tables of all CPUs (S13).
    Drain,
    /// Clones were removed that flows were noted down from.
    VoidFlows,
}

/// An order, and where the answer goes.
pub(super) type Ordered = (Order, oneshot::Sender<Result<String>>);

/// Routes whose trie is small: it stays in the cache of a CPU, and costs less than a clone that does not.
const SMALL_TRIE: usize = 8_192;

/// Orders that wait at most; who has one more waits himself.
const QUEUE: usize = 16;

/// Where orders are given.
#[derive(Debug, Clone)]
pub(crate) struct Orders(mpsc::Sender<Ordered>);

impl Orders {
    /// Both ends of the queue.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Ordered>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Gives an order and waits until it is carried out. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that the agent is stopping.
    pub(crate) fn give(&self, order: Order) -> Result<String> {
        let (answer, answered) = oneshot::channel();
        let stopping = || anyhow!("the agent is stopping");
        self.0.blocking_send((order, answer)).map_err(|_| stopping())?;
        answered.blocking_recv().map_err(|_| stopping())?
    }
}

impl EventLoop {
    /// Carries out an order.
    pub(super) fn obey(&mut self, (order, answer): Ordered) {
        let done = match order {
            Order::Set(setting, value) => self.set(setting, value),
            Order::Drain => Ok(self.drain()),
            Order::VoidFlows => {
                self.void_flows();
                Ok(String::new())
            }
        };
        // Who asked may have gone.
        let _gone = answer.send(done);
    }

    fn set(&mut self, setting: Setting, value: Value) -> Result<String> {
        let current = self.shared.options();
        let before = current.settings.value(setting);
        let settings =
            current.settings.set(setting, value).map_err(|problems| anyhow!("{problems}"))?;
        let after = settings.value(setting);
        let done = format!("{setting}: {before} -> {after}");
        self.adopt(settings)?;
        self.tell_setting(setting, &before, &after, "control socket".to_owned());
        tracing::info!("set by the control socket: {done}");
        Ok(done)
    }

    /// SIGHUP: reads file and environment again. A bad one changes nothing.
    pub(super) fn reload(&mut self) {
        let reloaded = match config::reload(&self.shared.options().settings) {
            Ok(reloaded) => reloaded,
            Err(problems) => {
                tracing::error!("not reloaded, nothing has changed: {problems}");
                return;
            }
        };
        for change in &reloaded.needs_restart {
            tracing::warn!("needs a restart: {change}");
        }
        for change in &reloaded.changed {
            tracing::info!("reloaded: {change}");
            self.tell_setting(change.setting, &change.from, &change.to, change.origin.clone());
        }
        if let Err(error) = self.adopt(reloaded.settings) {
            tracing::error!("cannot adopt what was reloaded: {error:#}");
        }
    }

    fn tell_setting(&self, setting: Setting, from: &Value, to: &Value, origin: String) {
        let (from, to) = (from.to_string(), to.to_string());
        let name = setting.spec().name.into();
        self.shared.journal.push(Event::Setting { name, from, to, origin });
    }

    /// Puts settings in force.
    fn adopt(&mut self, settings: Settings) -> Result<()> {
        let options = AgentOptions::from(settings);
        let now = self.shared.clock.now();
        let mut policy = self.shared.policy.write();
        let (known, before) = (*policy.settings(), policy.rtexpire().0);
        for (setting, old, new) in [
            (timeouts::Setting::RtMinExpire, known.rtminexpire.0, options.rtminexpire.as_secs()),
            (timeouts::Setting::RtExpire, known.rtexpire.0, options.rtexpire.as_secs()),
            (timeouts::Setting::RtMaxCache, known.rtmaxcache, options.rtmaxcache.into()),
            (
                timeouts::Setting::SweepInterval,
                known.sweep_interval.0,
                options.sweep_interval.as_secs(),
            ),
        ] {
            if old != new {
                policy.set(setting, new, now)?;
            }
        }
        let in_force = policy.rtexpire().0;
        drop(policy);
        if in_force != before {
            self.shared.journal.push(timeout_event(before, in_force, Direction::Set));
        }
        log::set_level(options.log_level);
        self.shared.set_options(options);
        self.steer_tiers();
        self.shared.wake_sweepers();
        Ok(())
    }

    fn drain(&mut self) -> String {
        let drained = self.shared.policy.write().drain(self.shared.clock.now());
        self.void_flows();
        self.shared.tell_drain(&drained);
        self.shared.wake_sweepers();
        let cpus = self.shared.cpus_of(&drained).len();
        tracing::info!("draining the clones of {cpus} CPUs");
        match cpus {
            0 => "all CPUs are draining, or were drained within this second".to_owned(),
            count => format!("draining the clones of {count} CPUs"),
        }
    }

    /// Whether the cache is off, or `rtexpire` 0.
    pub(super) fn keeps_no_clones(&self) -> bool {
        !self.shared.options().cache || self.shared.policy.read().rtexpire() == Seconds(0)
    }

    /// What stands in front of the routes: nothing, or flows and clones as far as they are worth looking for.
    pub(super) fn wanted_tiers(&self) -> u64 {
        if self.keeps_no_clones() {
            return Config::NO_CLONES;
        }
        let flows = if self.shared.flows.exist() { Config::FLOWS } else { 0 };
        let searched = match (self.shared.options().clone_on, self.search) {
            // Who wants every first packet to make a clone has the last word.
            (CloneOn::FirstPacket, _) | (_, Search::All) => 0,
            (_, Search::Few) => Config::FEW_CLONES,
            (_, Search::Routes { is_flood: true }) => self.cheap_routes() | Config::FEW_CLONES,
            (_, Search::Routes { is_flood: false }) => self.cheap_routes(),
        };
        flows | searched | self.wanted_admission()
    }

    /// [`Config::BY_ROUTES4`] and [`Config::BY_ROUTES6`] of those whose routes cost less to find than a clone: by the
    /// index, or in a trie that is small.
    pub(super) fn cheap_routes(&self) -> u64 {
        let state = self.shared.read();
        let is_small = |routes: usize| routes <= SMALL_TRIE;
        let is_indexed = self.config.flags & Config::INDEX4 != 0;
        let v4 = is_indexed || is_small(state.fib.v4.installed.len());
        let v6 = is_small(state.fib.v6.installed.len());
        (u64::from(v4) * V4::BY_ROUTES) | (u64::from(v6) * V6::BY_ROUTES)
    }

    /// Whom the clone tables admit: as the operator set it, or as room allows. With a table more than half full, only
    /// destinations that are seen twice get a clone; with all below three eighths, first packets have their budget back.
    fn wanted_admission(&self) -> u64 {
        match self.shared.options().clone_on {
            CloneOn::FirstPacket => Config::CLONE_ON_FIRST,
            CloneOn::SecondPacket => Config::CLONE_ON_SECOND,
            CloneOn::Auto => match (self.shared.fill() * 8.0) as u32 {
                4.. => Config::CLONE_ON_SECOND,
                3 => self.tiers & Config::CLONE_ON_SECOND,
                0..=2 => 0,
            },
        }
    }

    /// Tells the program what stands in front of the routes, if that changes.
    pub(super) fn steer_tiers(&mut self) {
        const ALL: u64 = Config::CLONE_ON_FIRST
            | Config::CLONE_ON_SECOND
            | Config::NO_CLONES
            | Config::FEW_CLONES
            | Config::BY_ROUTES4
            | Config::BY_ROUTES6
            | Config::FLOWS;
        let tiers = self.wanted_tiers();
        if tiers == self.tiers {
            return;
        }
        let before = admission_mode(std::mem::replace(&mut self.tiers, tiers));
        self.config.flags = self.config.flags & !ALL | tiers;
        self.shared.note_flags(self.config.flags);
        let mode = admission_mode(tiers);
        if mode != before {
            tracing::info!("admission of clones: {before} -> {mode}");
            self.shared.journal.push(Event::Admission { mode: mode.into() });
        }
        if let Err(error) = self.writer.write_config(&self.config) {
            tracing::warn!("cannot change what stands in front of the routes: {error:#}");
        }
        if tiers == Config::NO_CLONES {
            self.keep_none();
        }
    }

    /// Flows are looked up anew: what was told to clones that go is not told to those that come.
    fn void_flows(&mut self) {
        self.config.void_flows();
        if let Err(error) = self.writer.write_config(&self.config) {
            tracing::warn!("cannot void the flows; they are believed a moment longer: {error:#}");
        }
    }

    /// No more clones are made: those there are go at once. One that a packet was just making goes at the next walk.
    fn keep_none(&self) {
        let shared = Arc::clone(&self.shared);
        // Off the event loop: nobody waits for it, and the promise must not.
        let _unawaited = tokio::task::spawn_blocking(move || {
            match flush(&shared, &Choice::default(), Reason::Timeout) {
                Ok(removed) => tracing::info!("no clones are kept: {removed} removed"),
                Err(error) => tracing::warn!(
                    "no clones are kept, but not all clones could be removed at once; the next walk tries again: {error}"
                ),
            }
        });
    }
}

/// For whom clones are looked for and made.
pub(crate) const fn admission_mode(flags: u64) -> &'static str {
    if flags & Config::NO_CLONES != 0 {
        "none"
    } else if flags & (Config::BY_ROUTES4 | Config::BY_ROUTES6) != 0 {
        "routes"
    } else if flags & Config::FEW_CLONES != 0 {
        "few"
    } else {
        "all"
    }
}

impl Shared {
    /// Puts down that these tables are drained.
    pub(super) fn tell_drain(&self, tables: &[usize]) {
        if !tables.is_empty() {
            let cpus = self.cpus_of(tables);
            let cpus = cpus.iter().filter_map(|cpu| u32::try_from(*cpu).ok()).collect();
            self.journal.push(Event::Drain { cpus });
        }
    }

    /// Those of all tables.
    pub(super) fn all_sweepers(&self) -> impl Iterator<Item = &Sweeper> {
        self.sweepers.v4.iter().chain(&self.sweepers.v6)
    }

    /// Has the sweepers look at what was decided.
    pub(super) fn wake_sweepers(&self) {
        self.all_sweepers().for_each(Sweeper::wake);
    }
}
