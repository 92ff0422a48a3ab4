//! Writes a plan to the maps, in the order that keeps old answers from looking new:
//!
//! 1. what makes packets pass (own addresses, closed interfaces, next hops as they are now);
//! 2. routes, the more specific first;
//! 3. generations, which void what was copied from the routes that changed;
//! 4. the config line, with the flow epoch.

use std::io;

use anyhow::{Context as _, Result, bail};
use aya::maps::{MapError, lpm_trie::Key};
use ipnet::Ipv4Net;
use route_cache_common::{Address4, Config};

use super::plan::Plan;
use crate::maps::Writer;

/// What writing a plan came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// All of it.
    All,
    /// The kernel has no room for all routes.
    Full,
}

impl Writer {
    /// Writes a plan, and the config line with it.
    pub(crate) fn install(&mut self, plan: &Plan, config: &mut Config) -> Result<Written> {
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
            let entered = self.vlans.insert(key, ifindex, 0);
            entered.with_context(|| format!("cannot enter VLAN device {ifindex}"))?;
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
        for (key, id) in &plan.neighbours_added {
            let entered = self.neighbours.insert(key, id.0, 0);
            entered.with_context(|| format!("cannot enter neighbour {:?}", key.address))?;
        }
        for key in &plan.neighbours_removed {
            benign_if_missing(self.neighbours.remove(key)).context("cannot remove a neighbour")?;
        }
        let written = self.install_routes(plan)?;
        config.flags = plan.flags;
        config.flow_epoch += u64::from(plan.changes_routes());
        self.write_config(config)?;
        Ok(written)
    }

    /// Writes the config line.
    pub(crate) fn write_config(&mut self, config: &Config) -> Result<()> {
        self.config.set(0, config, 0).context("cannot write the config line")
    }

    fn install_routes(&mut self, plan: &Plan) -> Result<Written> {
        let (keys, values): (Vec<_>, Vec<_>) =
            plan.routes.iter().map(|(net, words)| (key(net), *words)).unzip();
        let written = match self.write_routes(&keys, &values) {
            Ok(()) => Written::All,
            Err((_, error))
                if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::ENOMEM)) =>
            {
                Written::Full
            }
            Err((done, error)) => bail!("cannot write route {:?}: {error}", plan.routes.get(done)),
        };
        let removed: Vec<_> = plan.routes_removed.iter().map(key).collect();
        self.remove_routes(&removed).context("cannot remove routes")?;
        let (slots, generations): (Vec<_>, Vec<_>) = plan.generations.iter().copied().unzip();
        match self.write_generations(&slots, &generations) {
            Ok(()) => Ok(written),
            Err((_, error)) => Err(error).context("cannot raise generations"),
        }
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

fn key(net: &Ipv4Net) -> Key<Address4> {
    Key::new(u32::from(net.prefix_len()), net.network().octets())
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
