//! Writes a plan to the maps, in the order that keeps old answers from looking new:
//!
//! 1. what makes packets pass (own addresses, closed interfaces, next hops as they are now);
//! 2. routes, the more specific first;
//! 3. the index, whose answers are as old as those of the trie until then;
//! 4. generations, which void what was copied from the routes that changed;
//! 5. the config line, with the flow epoch.

use std::{io, time::Instant};

use anyhow::{Context as _, Result, bail};
use aya::maps::{MapError, lpm_trie::Key};
use route_cache_common::{Config, V4, V6, route::RouteWords};

use super::{
    family::{NetFamily, PerFamily},
    mirror::Fib,
    plan::Plan,
};
use crate::{
    cli::IndexMode,
    maps::{RouteMaps, Writer},
};

/// IPv4 routes from which on they are indexed,
const MANY_ROUTES: usize = 16_384;

/// and below which they are not any more.
const FEW_ROUTES: usize = MANY_ROUTES / 2;

/// Routes written with one system call.
pub(super) const AT_A_TIME: usize = 16_384;

/// Whether so many IPv4 routes are to be indexed.
pub(super) const fn is_indexed(mode: IndexMode, is_kept: bool, routes: usize) -> bool {
    match mode {
        IndexMode::Off => false,
        IndexMode::On => true,
        IndexMode::Auto if is_kept => routes >= FEW_ROUTES,
        IndexMode::Auto => routes >= MANY_ROUTES,
    }
}

/// What writing a plan came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// All of it.
    All,
    /// The kernel has no room for all routes.
    Full,
}

impl Written {
    /// Nothing that did not fit, of either family.
    pub(crate) const BOTH: PerFamily<Self> = PerFamily { v4: Self::All, v6: Self::All };

    /// What this and what was written before come to.
    pub(crate) const fn and(self, before: Self) -> Self {
        match before {
            Self::All => self,
            Self::Full => before,
        }
    }

    /// What must not stand in the config line.
    const fn flag<F: NetFamily>(self) -> u64 {
        match self {
            Self::All => 0,
            Self::Full => F::ACCELERATE,
        }
    }
}

impl Writer {
    /// Writes a plan, and the config line with it. `before` is what routes came to that were written before.
    pub(crate) fn install(
        &mut self,
        plan: &Plan,
        before: PerFamily<Written>,
        config: &mut Config,
    ) -> Result<PerFamily<Written>> {
        for address in &plan.locals_added {
            let entered = self.local_addresses.insert(address.octets(), 1, 0);
            entered.with_context(|| format!("cannot enter own address {address}"))?;
        }
        if config.local_filter != plan.local_filter {
            // Addresses are entered before the filter admits to them, and removed after.
            config.local_filter = plan.local_filter;
            self.write_config(config)?;
        }
        for address in &plan.locals_removed {
            benign_if_missing(self.local_addresses.remove(&address.octets()))
                .with_context(|| format!("cannot remove own address {address}"))?;
        }
        for &(ifindex, word) in &plan.ports {
            if ifindex >= self.ports.len() {
                continue;
            }
            let written = self.ports.set(ifindex, word, 0);
            written.with_context(|| format!("cannot set up ingress interface {ifindex}"))?;
        }
        for key in &plan.vlans_removed {
            benign_if_missing(self.vlans.remove(key)).context("cannot remove a VLAN device")?;
        }
        for &(key, ifindex) in &plan.vlans_added {
            // One that does not fit is left to the kernel.
            if let Err(error) = self.vlans.insert(key, ifindex, 0) {
                tracing::warn!("cannot enter VLAN device {ifindex}: {error}");
            }
        }
        for &ifindex in &plan.egress_closed {
            let closed = self.close_egress(ifindex);
            closed.with_context(|| format!("cannot close interface {ifindex} for redirects"))?;
        }
        for &ifindex in &plan.egress_opened {
            // A device that is gone by now is no device to send to.
            if let Err(error) = self.open_egress(ifindex) {
                tracing::warn!("cannot open interface {ifindex} for redirects: {error}");
            }
        }
        for (index, element) in &plan.hops {
            self.write_hop(*index, element)
                .with_context(|| format!("cannot write next hop {index}"))?;
        }
        for &(bucket, id) in &plan.buckets {
            let written = self.groups.set(bucket, id.0, 0);
            written.with_context(|| format!("cannot write bucket {bucket} of the groups"))?;
        }
        self.install_neighbours::<V4>(plan)?;
        self.install_neighbours::<V6>(plan)?;
        let v4 = self.install_routes::<V4>(plan)?.and(before.v4);
        let v6 = self.install_routes::<V6>(plan)?.and(before.v6);
        if let Err(error) = self
            .index
            .change(plan.v4.routes.iter().copied(), plan.v4.routes_removed.iter().copied())
        {
            // Half of a change is in it: nobody may look there.
            self.stop_indexing(config)?;
            tracing::warn!("the index of IPv4 routes is switched off for now: {error:#}");
        }
        let (slots, generations): (Vec<_>, Vec<_>) = plan.generations.iter().copied().unzip();
        if let Err((_, error)) = self.write_generations(&slots, &generations) {
            return Err(error).context("cannot raise generations");
        }
        config.flags = plan.flags & !(v4.flag::<V4>() | v6.flag::<V6>()) | self.index.flag();
        if plan.voids_flows() {
            config.void_flows();
        }
        self.write_config(config)?;
        Ok(PerFamily { v4, v6 })
    }

    /// Builds the index where it is wanted and missing, or gives it up.
    pub(crate) fn steer_index(
        &mut self,
        mode: IndexMode,
        fib: &Fib,
        config: &mut Config,
    ) -> Result<()> {
        let (is_kept, count) = (self.index.flag() != 0, fib.v4.installed.len());
        let is_wanted = is_indexed(mode, is_kept, count) && self.index.has_room();
        match (is_kept, is_wanted) {
            (true, false) => {
                tracing::info!("{count} IPv4 routes: they are looked up in the trie");
                self.stop_indexing(config)
            }
            (false, true) => {
                let began = Instant::now();
                let built = self.index.build(fib.routes4().into_iter());
                built.context("cannot build the index of IPv4 routes")?;
                config.flags |= self.index.flag();
                self.write_config(config)?;
                tracing::info!("{count} IPv4 routes: indexed in {:?}", began.elapsed());
                Ok(())
            }
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Has the program look into the trie at once; what the index says does not matter any more.
    pub(crate) fn stop_indexing(&mut self, config: &mut Config) -> Result<()> {
        self.index.forget();
        config.flags &= !Config::INDEX4;
        self.write_config(config)
    }

    /// Writes the config line.
    pub(crate) fn write_config(&mut self, config: &Config) -> Result<()> {
        self.config.set(0, config, 0).context("cannot write the config line")
    }

    fn install_neighbours<F: NetFamily>(&mut self, plan: &Plan) -> Result<()> {
        let (plan, maps) = (F::plan(plan), F::maps(self));
        for (key, id) in &plan.neighbours_added {
            let entered = maps.neighbours.insert(key, id.0, 0);
            entered.with_context(|| format!("cannot enter neighbour {key:?}"))?;
        }
        for key in &plan.neighbours_removed {
            benign_if_missing(maps.neighbours.remove(key)).context("cannot remove a neighbour")?;
        }
        Ok(())
    }

    fn install_routes<F: NetFamily>(&mut self, plan: &Plan) -> Result<Written> {
        let (plan, maps) = (F::plan(plan), F::maps(self));
        let written = maps.write(&plan.routes)?;
        let removed: Vec<_> = plan.routes_removed.iter().map(key::<F>).collect();
        maps.remove_routes(&removed).context("cannot remove routes")?;
        Ok(written)
    }

    /// Fills the version that is not current, then makes it current (see [`route_cache_common::NextHop`]).
    fn write_hop(
        &mut self,
        index: u32,
        element: &route_cache_common::NextHop,
    ) -> Result<(), MapError> {
        let mut unseen = *element;
        unseen.current -= 1;
        self.next_hops.set(index, unseen, 0)?;
        self.next_hops.set(index, element, 0)
    }
}

impl<F: NetFamily> RouteMaps<F> {
    /// Writes routes in the order given, as far as there is room.
    pub(super) fn write(&self, routes: &[(F::Net, RouteWords)]) -> Result<Written> {
        // Few at a time: keys and values are copies, and there may be a million.
        for routes in routes.chunks(AT_A_TIME) {
            let (keys, values): (Vec<_>, Vec<_>) =
                routes.iter().map(|(net, words)| (key::<F>(net), *words)).unzip();
            match self.write_routes(&keys, &values) {
                Ok(()) => {}
                Err((_, error))
                    if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::ENOMEM)) =>
                {
                    return Ok(Written::Full);
                }
                Err((done, error)) => bail!("cannot write route {:?}: {error}", routes.get(done)),
            }
        }
        Ok(Written::All)
    }
}

fn key<F: NetFamily>(net: &F::Net) -> Key<F::Address> {
    Key::new(u32::from(F::prefix_len(net)), F::network(net))
}

/// `ENOENT` on a removal: somebody was faster, and the element is gone as wanted.
fn benign_if_missing(removal: Result<(), MapError>) -> Result<(), MapError> {
    match removal {
        Err(error) if is_missing(&error) => Ok(()),
        other => other,
    }
}

fn is_missing(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound | MapError::ElementNotFound => true,
        MapError::SyscallError(error) => error.io_error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
