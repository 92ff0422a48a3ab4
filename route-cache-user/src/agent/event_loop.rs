//! The event loop: hears the kernel, keeps the promise, and is the only writer of what the program reads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU8, AtomicU64},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use route_cache_common::{Config, Family as _, Outcome, Tally, V4, V6, next_hop::NextHopVersion};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    PROMISE, Shared, State,
    asking::{Asking, RING},
    breaker::{Breaker, Forwarded, Search},
    orders::{Ordered, Orders},
    pressure::Watch,
    probes::Probes,
    redirects,
    resync::{Resync, Step, finished},
    trace,
};
use crate::{
    audit::Audit,
    cli::{AgentOptions, IndexMode},
    dataplane::{
        Dataplane, GROUPS, Sizes,
        attach::{Attachments, Wanted},
        clock::ClockReader,
        forwarder,
        probe::Prober,
    },
    events::{Event as Happening, Journal},
    fib::{
        dump,
        family::{IpFamily, NetFamily, PerFamily},
        install::Written,
        interlock,
        message::{Event, Link},
        mirror::{Fib, Limits},
        netlink::{Batch, Bell, Dumper, Monitor, Received},
        plan::Plan,
        tables::{Cause, Tables},
    },
    maps::Writer,
    metrics::Measured,
    sweep::{Policy, Sweeper},
};

/// How often the promise is renewed.
const TICK: Duration = Duration::from_secs(1);

/// How often what cannot be heard is asked for: with the time that the answer takes, a change is followed within a second.
const POLL: Duration = Duration::from_millis(500);

/// An agent that was not heard of for so long was stopped or starved.
pub(super) const STALL: Duration = Duration::from_secs(3);

/// Batches taken in before a promise; if there is more, the promise waits for the next tick.
const CATCH_UP: u32 = 64;

/// How long a destination that was seen once is remembered.
const ADMISSION_WINDOW: Duration = Duration::from_secs(1);

/// Netlink receive buffer: 100,000 route changes take about 80 MB of it.
const RECEIVE_BUFFER: usize = 128 << 20;

/// The event loop and what it alone owns.
pub(super) struct EventLoop {
    pub(super) shared: Arc<Shared>,
    wanted: Wanted,
    pub(super) ebpf: aya::Ebpf,
    pub(super) writer: Writer,
    clock_reader: ClockReader,
    /// Nothing where the kernel tells what probe frames would.
    pub(super) probes: Option<Probes>,
    pub(super) config: Config,
    last_tick: Option<Instant>,
    /// Clones made, by CPU, as last told.
    created: Vec<u64>,
    /// [`Config::FLOWS`], [`Config::CLONE_ON_FIRST`] and their like: see [`EventLoop::wanted_tiers`].
    pub(super) tiers: u64,
    breaker: Breaker,
    /// What is worth looking for before the routes.
    pub(super) search: Search,
    monitor: Monitor,
    /// For questions about single neighbours.
    dumper: Dumper,
    resync: Resync,
    /// Rings when rules or policies change.
    bell: Bell,
    poller: Arc<interlock::Poller>,
    interlocks: Option<JoinHandle<Result<interlock::Found>>>,
    asking: Asking,
    orders: mpsc::Receiver<Ordered>,
    pub(super) pressure: Watch,
    pub(super) redirects: redirects::Watch,
}

impl EventLoop {
    /// Subscribes, reads the tables, loads, attaches, and makes the first promise.
    pub(super) fn start(options: AgentOptions, wanted: Wanted) -> Result<(Self, Arc<Shared>)> {
        let sizes = Sizes {
            clones_per_cpu: options.clones_per_cpu,
            routes: options.max_routes,
            hops: options.max_next_hops,
            flows_per_cpu: options.flow_entries,
            index: options.index != IndexMode::Off,
        };
        Dataplane::check_requirements()?;
        // Subscribe first, then dump: nothing is missed in between.
        let monitor = Monitor::open(RECEIVE_BUFFER)?;
        let bell = Bell::open()?;
        let traced = options.trace_packets.is_some();
        // Both take their time, the tables if they are large.
        let (tables, loaded) = thread::scope(|scope| {
            let loading = scope.spawn(|| Dataplane::load(sizes, traced));
            let tables = dump::all();
            let broke_off = |_| Err(anyhow!("the thread that loads the BPF programs broke off"));
            (tables, loading.join().unwrap_or_else(broke_off))
        });
        let tables = tables.context("cannot read the kernel's tables")?;
        wanted.check(tables.links.values().map(|link| link.name.as_str()))?;
        let Dataplane {
            mut ebpf,
            writer,
            clones,
            flows,
            counters,
            redirect_errors,
            clock_reader,
            clock,
        } = loaded?;
        if traced {
            trace::packets(&mut ebpf)?;
        }
        let limits = Limits {
            routes: sizes.routes,
            hops: sizes.hops,
            groups: GROUPS,
            bypass: options.bypass_netfilter,
        };
        let window = u32::try_from(clock.seconds(ADMISSION_WINDOW.as_secs())).unwrap_or(u32::MAX);
        let trace_every = options.trace_packets.unwrap_or(0);
        let config = Config { trace_every, window, ..Config::default() };
        let does_the_kernel_tell = monitor.hears_xdp_features();
        let probes = Probes::are_wanted(options.egress_check, does_the_kernel_tell).then(|| {
            // Both are heard in the same way.
            let watched = redirect_errors.as_ref().map_err(|error| anyhow!("{error:#}"));
            Probes::begin(watched.and_then(|_| Prober::load(&mut ebpf)))
        });
        let (redirects, redirect_errors) = redirects::Watch::begin(redirect_errors);
        let state = State {
            fib: Fib::new(limits),
            attachments: Attachments::new(forwarder(traced), options.xdp_mode),
            resyncs: BTreeMap::new(),
            overruns: 0,
            redirect_errors,
        };
        let (orders, given) = Orders::channel();
        let started = Instant::now();
        let pressure = Watch::begin(clock.hz());
        let shared = Arc::new(Shared {
            orders,
            journal: Arc::new(Journal::new(started)),
            audit: Audit::default(),
            generations: writer.generations().context("cannot open the generations")?,
            measured: Measured::new().context("cannot set up the histograms")?,
            flags: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            pressure: AtomicU8::new(0),
            adjustments: Default::default(),
            started,
            policy: Policy::new(&options, 2 * clones.cpus(), &clock),
            clock,
            sweepers: PerFamily {
                v4: clones.v4.iter().map(|_| Sweeper::default()).collect(),
                v6: clones.v6.iter().map(|_| Sweeper::default()).collect(),
            },
            clones,
            flows,
            counters,
            state: RwLock::new(state),
            options: RwLock::new(Arc::new(options)),
        });
        let mut event_loop = Self {
            shared: Arc::clone(&shared),
            wanted,
            ebpf,
            writer,
            clock_reader,
            probes,
            config,
            last_tick: None,
            created: Vec::new(),
            tiers: 0,
            breaker: Breaker::default(),
            search: Search::default(),
            monitor,
            dumper: Dumper::open().context("cannot open a netlink socket")?,
            resync: Resync::default(),
            bell,
            poller: Arc::default(),
            interlocks: None,
            asking: Asking::default(),
            orders: given,
            pressure,
            redirects,
        };
        event_loop.tiers = event_loop.wanted_tiers();
        event_loop.begin(tables)?;
        Ok((event_loop, shared))
    }

    /// Attaches, fills the maps, and only then makes the first promise.
    fn begin(&mut self, tables: Tables) -> Result<()> {
        let wanted: Vec<_> =
            tables.links.values().filter(|link| self.wanted.matches(&link.name)).cloned().collect();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        for link in &wanted {
            let below = link.vlan.and_then(|vlan| tables.links.get(&vlan.lower?));
            let attached = self.attach(&mut state, link, below);
            // What a glob happens to match may be something no program can be attached to, such as lo.
            match attached {
                Err(error) if self.wanted.names(&link.name) => return Err(error),
                Err(error) => tracing::warn!("not attached: {error:#}"),
                Ok(()) => {}
            }
        }
        if !state.attachments.is_any() {
            bail!("none of the interfaces wanted could be attached");
        }
        let bypass = self.shared.options().bypass_netfilter;
        let found = self.poller.poll(&tables.subjects(), bypass)?;
        state.fib.set_interlocks(found);
        *state.resyncs.entry(Cause::Start).or_default() += 1;
        state.fib.replace(tables);
        if self.probes.is_some() {
            state.fib.believe_probes();
        }
        self.probe(&mut state);
        let (plan, first) = self.writer.write_first(&mut state.fib, self.shared.options().index)?;
        self.carry_out(&mut state, plan, first)?;
        drop(state);
        self.promise()?;
        let state = self.shared.read();
        tell_reasons::<V4>(&state);
        tell_reasons::<V6>(&state);
        Ok(())
    }

    /// Runs until SIGINT or SIGTERM.
    pub(super) async fn serve(&mut self) -> Result<()> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let memory_is_short = self.pressure.woken();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut events = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = tick.tick() => self.tick(&mut events)?,
                // Before the tables: those may go on changing for long.
                found = finished(&mut self.interlocks) => self.polled(found),
                () = reached(self.asking.deadline()) => self.stop_believing(),
                rung = self.bell.rung() => {
                    rung.context("cannot listen to changes of nftables and IPsec any more")?;
                    self.ring();
                }
                _ = poll.tick() => self.ask_interlocks(),
                received = self.monitor.next(&mut events) => {
                    self.hear(received.context("cannot listen to the kernel any more")?, &mut events);
                }
                step = self.resync.next() => match step {
                    Step::Due => self.start_resync(),
                    Step::Finished(tables) => self.resynced(tables),
                },
                Some(order) = self.orders.recv() => self.obey(order),
                _ = hangup.recv() => self.reload(),
                () = memory_is_short.notified() => self.steer_pressure(),
            }
        }
    }

    /// Renews the promise.
    ///
    /// The promise is that the tables are those of now: it is given only when all that the kernel has said was taken in.
    /// An agent that was stopped would else vouch for what is old.
    fn tick(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let since_last = self.last_tick.replace(Instant::now()).map(|last| last.elapsed());
        if since_last.is_some_and(|since| since > STALL) {
            // What is only asked for may have changed unheard: nothing is forwarded until it was asked for again.
            self.interlocks = None;
            self.asking.give_up();
            let sentence = "the agent stood still; looking at what XDP would bypass";
            self.take_in(interlock::Found::unknown(sentence.into()));
            self.ring();
        }
        if self.catch_up(events)? {
            if let Err(error) = self.promise() {
                tracing::error!(
                    "cannot renew the promise to the data plane; it will pass everything: {error:#}"
                );
            }
            self.shared.audit.caught_up.note();
        }
        self.watch_redirects();
        self.probe_again();
        self.confirm_stale();
        self.read_breaker(since_last.unwrap_or(TICK));
        self.steer_tiers();
        self.steer_pressure();
        self.tell_created();
        if self.shared.read().fib.may_fit_now() {
            self.resync.want(Cause::Doubt);
        }
        Ok(())
    }

    /// What XDP would bypass has changed: it is asked for at once.
    fn ring(&mut self) {
        self.asking.ring(Instant::now());
        self.ask_interlocks();
    }

    /// Asks for what the kernel does not tell by itself, or only that it has changed. Who asks already has the answer of before
    /// a change: it is asked again then.
    fn ask_interlocks(&mut self) {
        if self.interlocks.is_some() {
            return;
        }
        self.asking.begin(Instant::now());
        let (shared, poller) = (Arc::clone(&self.shared), Arc::clone(&self.poller));
        let bypass = self.shared.options().bypass_netfilter;
        self.interlocks = Some(tokio::task::spawn_blocking(move || {
            let subjects = shared.read().fib.tables.subjects();
            poller.poll(&subjects, bypass)
        }));
    }

    /// Looks at how many packets find flow or clone.
    fn read_breaker(&mut self, since_last: Duration) {
        if self.keeps_no_clones() {
            self.breaker.reset();
            self.search = Search::default();
            return;
        }
        let by_cpu = |outcome| self.shared.counters.outcome_by_cpu(outcome);
        let (Ok(flows), Ok(clones), Ok(routes)) = (
            by_cpu(Outcome::ForwardedFlow),
            by_cpu(Outcome::ForwardedClone),
            by_cpu(Outcome::ForwardedRoute),
        ) else {
            return;
        };
        let counted = flows.iter().zip(clones.iter()).zip(routes.iter());
        let forwarded = counted.map(|((flows, clones), routes)| Forwarded {
            flows: flows.packets,
            clones: clones.packets,
            routes: routes.packets,
        });
        let is_cheap = self.cheap_routes() != 0;
        self.search = self.breaker.read(forwarded.collect(), since_last, is_cheap);
    }

    /// Takes in what the kernel has said by now. Returns whether that was all.
    fn catch_up(&mut self, events: &mut Vec<Event>) -> Result<bool> {
        for _ in 0..CATCH_UP {
            let batch = self.monitor.queued(events);
            let Batch { received, is_all } =
                batch.context("cannot listen to the kernel any more")?;
            if received != Received::Events || !events.is_empty() {
                self.hear(received, events);
            }
            if is_all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn promise(&mut self) -> Result<()> {
        let reading = self.clock_reader.read(&mut self.ebpf)?;
        self.shared.clock.set(reading);
        self.config.deadline = reading.jiffies + self.shared.clock.seconds(PROMISE.as_secs());
        self.writer.write_config(&self.config)?;
        self.shared.note_deadline(self.config.deadline);
        Ok(())
    }

    /// Takes in what the kernel said.
    fn hear(&mut self, received: Received, events: &mut Vec<Event>) {
        let heard = Instant::now();
        let doubt = match received {
            Received::Events => None,
            Received::Overrun => Some(Cause::Overrun),
            Received::Doubt(what) => {
                tracing::warn!(
                    "a netlink message could not be read; reading the tables anew: {what}"
                );
                Some(Cause::Doubt)
            }
        };
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        let mut causes: Vec<_> = doubt.into_iter().collect();
        if doubt == Some(Cause::Overrun) {
            state.overruns += 1;
            tracing::warn!("the kernel dropped netlink messages; reading the tables anew");
        }
        for event in events.drain(..) {
            self.resync.note(&event);
            self.tell_link(&state, &event);
            self.follow_link(&mut state, &event);
            self.forget_failures(&mut state, &event);
            causes.extend(state.fib.apply(event));
        }
        for cause in causes {
            if cause.distrusts() {
                state.fib.distrust(cause);
            }
            self.resync.want(cause);
        }
        if self.is_probe_urgent() {
            self.probe(&mut state);
        }
        self.install_or_distrust(&mut state);
        self.shared.measured.change.observe(heard.elapsed().as_secs_f64());
    }

    /// Puts down that an interface came up, went down or went away.
    fn tell_link(&self, state: &State, event: &Event) {
        let links = &state.fib.tables.links;
        let (dev, state) = match event {
            Event::Link(link) => {
                let was = links.get(&link.ifindex).map(Link::is_running);
                if was == Some(link.is_running()) {
                    return;
                }
                (link.name.clone(), if link.is_running() { "up" } else { "down" })
            }
            Event::LinkGone(ifindex) | Event::LinkMoved(ifindex) => match links.get(ifindex) {
                Some(link) => (link.name.clone(), "gone"),
                None => return,
            },
            _ => return,
        };
        self.shared.journal.push(Happening::Link { dev, state: state.into() });
    }

    /// Attaches to interfaces that appear and match, lets go of those that vanish or are renamed away.
    fn follow_link(&mut self, state: &mut State, event: &Event) {
        match event {
            // One that was renamed away stays attached: it is the interface that was asked for.
            Event::Link(link)
                if self.wanted.matches(&link.name) && !state.fib.is_attached(link.ifindex) =>
            {
                let below = link.vlan.and_then(|vlan| vlan.lower);
                let below = below.and_then(|lower| state.fib.tables.links.get(&lower)).cloned();
                self.attach_late(state, link, below.as_ref());
            }
            Event::LinkGone(ifindex) | Event::LinkMoved(ifindex) => {
                if let Some(port) = state.fib.set_gone(*ifindex)
                    && state.attachments.detach(port)
                {
                    let (port, gone) =
                        (state.fib.tables.link_name(port), state.fib.tables.link_name(*ifindex));
                    tracing::info!("let go of {port}: {gone} is gone");
                }
            }
            _ => {}
        }
    }

    /// Attaches for an interface: at itself, or `below` a VLAN device, which gets its frames from there.
    fn attach(&mut self, state: &mut State, link: &Link, below: Option<&Link>) -> Result<()> {
        let name = &link.name;
        let port = match link.vlan {
            None => link,
            Some(_) => below.with_context(|| {
                format!("{name}: the interface below is in another network namespace")
            })?,
        };
        if !state.attachments.is_attached(port.ifindex) {
            state.attachments.attach(&mut self.ebpf, port)?;
            let mode = state.attachments.mode_name();
            match link.vlan {
                None => tracing::info!("attached to {name} ({mode})"),
                Some(_) => tracing::info!("attached to {} ({mode}), for {name}", port.name),
            }
        }
        state.fib.set_attached(link.ifindex, port.ifindex);
        Ok(())
    }

    fn attach_late(&mut self, state: &mut State, link: &Link, below: Option<&Link>) {
        let failed_before =
            state.attachments.failure(below.unwrap_or(link).ifindex).map(str::to_owned);
        if let Err(error) = self.attach(state, link, below) {
            let error = format!("{error:#}");
            if failed_before.as_ref() != Some(&error) {
                tracing::warn!("not attached: {error}");
            }
        }
    }

    fn start_resync(&mut self) {
        if let Some(cause) = self.resync.start() {
            tracing::debug!("reading the kernel's tables ({})", cause.name());
            *self.shared.write().resyncs.entry(cause).or_default() += 1;
            self.shared.journal.push(Happening::Resync { cause: cause.name().into() });
        }
    }

    /// The dump is in: what happened since it began is repeated on it, then it takes the place of what was known.
    fn resynced(&mut self, tables: Result<Box<Tables>>) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        match tables {
            Ok(mut tables) => {
                self.resync.catch_up(&mut tables);
                if !tables.unsure.is_empty() {
                    self.resync.want(Cause::Link);
                }
                if !tables.unsure_objects.is_empty() {
                    self.resync.want(Cause::NextHop);
                }
                state.fib.replace(*tables);
                if let Some(cause) = self.resync.distrusted() {
                    state.fib.distrust(cause);
                }
                self.probe(&mut state);
                self.install_or_distrust(&mut state);
            }
            Err(error) => {
                tracing::warn!("cannot read the kernel's tables; trying again: {error:#}");
                state.fib.distrust(Cause::Doubt);
                self.resync.want(Cause::Doubt);
                self.install_or_distrust(&mut state);
            }
        }
    }

    fn polled(&mut self, found: Result<interlock::Found>) {
        let is_believed = self.asking.answered(Instant::now());
        if self.asking.has_rung() {
            self.ask_interlocks();
        }
        if !is_believed {
            return;
        }
        let found = found.unwrap_or_else(|error| {
            let sentence = format!("it cannot be told what XDP would bypass: {error:#}");
            interlock::Found::unknown(sentence)
        });
        self.take_in(found);
    }

    /// The poll does not answer, and what it found the last time is old.
    fn stop_believing(&mut self) {
        self.asking.set_late();
        let sentence = format!(
            "what XDP would bypass was asked for, {RING:?} after a change or {STALL:?} ago, and there is no answer"
        );
        self.take_in(interlock::Found::unknown(sentence));
    }

    fn take_in(&mut self, found: interlock::Found) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        if state.fib.interlocks == found {
            return;
        }
        for family in IpFamily::ALL {
            let (known, new) =
                (&state.fib.interlocks.everywhere[family], &found.everywhere[family]);
            let title = family.title();
            for reason in new.iter().filter(|reason| !known.contains(reason)) {
                tracing::warn!("{title} passes to the kernel: {}", reason.sentence);
            }
            if new.is_empty() && !known.is_empty() {
                tracing::info!("nothing of {title} that XDP would bypass is left");
            }
        }
        state.fib.set_interlocks(found);
        self.install_or_distrust(&mut state);
    }

    /// Installs what changed. What cannot be written cannot be vouched for.
    pub(super) fn install_or_distrust(&mut self, state: &mut State) {
        if let Err(error) = self.install(state) {
            tracing::error!(
                "cannot write to the data plane; everything passes until the tables are read anew: {error:#}"
            );
            state.fib.distrust(Cause::Doubt);
            state.fib.set_unwritten();
            self.resync.want(Cause::Doubt);
            self.config.flags = 0;
            self.writer.index.forget();
            if let Err(error) = self.writer.write_config(&self.config) {
                tracing::error!(
                    "cannot even stop the data plane; its promise runs out in {PROMISE:?}: {error:#}"
                );
            }
        }
    }

    fn install(&mut self, state: &mut State) -> Result<()> {
        let plan = state.fib.plan();
        self.carry_out(state, plan, Written::BOTH)
    }

    /// Writes a plan. `before` is what routes came to that were written before it.
    fn carry_out(
        &mut self,
        state: &mut State,
        mut plan: Plan,
        before: PerFamily<Written>,
    ) -> Result<()> {
        plan.flags |= self.tiers;
        // The program stops at once where the plan says so; where the plan lets it go on, that is written last.
        let both = V4::ACCELERATE | V6::ACCELERATE;
        if self.config.flags & both & !plan.flags != 0 {
            self.config.flags &= plan.flags | !both;
            self.writer.write_config(&self.config)?;
        }
        let written = self.writer.install(&plan, before, &mut self.config)?;
        if written.v4 == Written::Full {
            self.writer.stop_indexing(&mut self.config)?;
        } else {
            let mode = self.shared.options().index;
            self.writer.steer_index(mode, &state.fib, &mut self.config)?;
        }
        self.shared.note_flags(self.config.flags);
        for family in IpFamily::ALL {
            if written[family] == Written::Full {
                let what = "the kernel has no room for all routes (--max-routes)";
                state.fib.set_full(family, what);
            }
        }
        if !plan.generations.is_empty() || !plan.hops.is_empty() {
            self.shared.all_sweepers().for_each(Sweeper::call);
        }
        Ok(())
    }

    /// Puts down how many clones were made since the last time; the data plane announces none.
    fn tell_created(&mut self) {
        let Ok(created) = self.shared.counters.tally(Tally::CloneCreated) else {
            return;
        };
        let told = std::mem::replace(&mut self.created, created);
        for (cpu, now) in self.created.iter().enumerate() {
            let count = now - told.get(cpu).copied().unwrap_or(0).min(*now);
            if count > 0 {
                let cpu = u32::try_from(cpu).unwrap_or(u32::MAX);
                self.shared.journal.push(Happening::ClonesCreated { cpu, count });
            }
        }
        self.shared.journal.tick();
    }

    /// Has the kernel confirm the stale next hops that carried packets, as a packet of its own would (row 32).
    fn confirm_stale(&mut self) {
        let shared = Arc::clone(&self.shared);
        let state = shared.read();
        for (key, hop) in state.fib.hops.iter() {
            if hop.version().flags & NextHopVersion::STALE == 0 {
                continue;
            }
            let index = hop.id.index();
            if !matches!(self.writer.touched.get(&index, 0), Ok(mark) if mark != 0) {
                continue;
            }
            let confirmed = match state.fib.tables.neighbour_of(*key) {
                Ok((ifindex, address)) => self.dumper.confirm_neighbour(ifindex, address),
                Err(_) => continue,
            };
            match confirmed {
                Ok(_asked) => {
                    if let Err(error) = self.writer.touched.set(index, 0, 0) {
                        tracing::warn!("cannot clear the mark of next hop {index}: {error}");
                    }
                }
                Err(error) => tracing::debug!("cannot have next hop {index} confirmed: {error}"),
            }
        }
    }

    /// Detaches everywhere and takes the promise back.
    pub(super) fn stop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.write();
        self.config.deadline = 0;
        if let Err(error) = self.writer.write_config(&self.config) {
            tracing::warn!("cannot take the promise back: {error:#}");
        }
        let interfaces: Vec<_> = state.fib.tables.links.keys().copied().collect();
        for ifindex in interfaces {
            if state.attachments.detach(ifindex) {
                tracing::info!("detached from {}", state.fib.tables.link_name(ifindex));
            }
        }
    }
}

/// Waits for a point in time; where there is none, for ever.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn tell_reasons<F: NetFamily>(state: &State) {
    let (title, routes) = (F::FAMILY.title(), F::mirrored(&state.fib).installed.len());
    match state.fib.reasons::<F>().as_slice() {
        [] => tracing::info!("forwarding {title}: {routes} routes mirrored"),
        reasons => {
            let reasons: Vec<_> = reasons.iter().map(|why| why.sentence.as_str()).collect();
            tracing::warn!("{title} passes to the kernel: {}", reasons.join("; "));
        }
    }
}
