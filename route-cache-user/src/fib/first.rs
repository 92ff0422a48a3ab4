//! The routes of the start: written by a thread for each family while others are still planned.
//!
//! Nobody believes the tables before the first promise, so the order in which these are written does not matter.

use std::{
    mem,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use ipnet::IpNet;
use route_cache_common::{V4, V6, route::RouteWords};

use super::{
    family::{NetFamily, PerFamily},
    install::{AT_A_TIME, Written, is_indexed},
    mirror::Fib,
    plan::Plan,
};
use crate::{
    cli::IndexMode,
    maps::{IndexMap, RouteMaps, Writer},
};

/// So many times [`AT_A_TIME`] routes are planned ahead of those that are written.
const AHEAD: usize = 4;

/// Routes with what stands for them in the trie.
pub(crate) type Chunk<F> = Vec<(<F as NetFamily>::Net, RouteWords)>;

/// Takes routes as they are planned, and has them written and indexed.
pub(crate) struct First<'a> {
    pub(super) v4: SyncSender<Chunk<V4>>,
    pub(super) v6: SyncSender<Chunk<V6>>,
    index: &'a mut IndexMap,
    indexed: Result<()>,
}

impl First<'_> {
    /// Takes the routes out of a plan if they are enough to be written.
    pub(super) fn take_many<F: NetFamily>(&mut self, routes: &mut Chunk<F>) {
        if routes.len() >= AT_A_TIME {
            self.take::<F>(mem::replace(routes, Vec::with_capacity(AT_A_TIME)));
        }
    }

    /// Takes the last routes out of a plan.
    pub(super) fn take_last<F: NetFamily>(&mut self, routes: &mut Chunk<F>) {
        self.take::<F>(mem::take(routes));
    }

    /// Lets the threads end: nothing more can come. Whether all was indexed.
    fn end(self) -> Result<()> {
        self.indexed
    }

    fn take<F: NetFamily>(&mut self, routes: Chunk<F>) {
        let of_v4 = routes.iter().filter_map(|(net, words)| match (*net).into() {
            IpNet::V4(net) => Some((net, *words)),
            IpNet::V6(_) => None,
        });
        if self.indexed.is_ok() {
            self.indexed = self.index.change(of_v4, []);
        }
        // A thread that takes no more has failed, and says so at its end.
        let _ = F::first(self).send(routes);
    }
}

impl Writer {
    /// Plans what is to be written at the start. The routes are written and indexed already, as far as there is room.
    pub(crate) fn write_first(
        &mut self,
        fib: &mut Fib,
        mode: IndexMode,
    ) -> Result<(Plan, PerFamily<Written>)> {
        let count = fib.tables.v4.routes.len();
        if is_indexed(mode, false, count) {
            self.index.begin(count);
        }
        let Self { v4, v6, index, .. } = self;
        let (v4, v6) = (&*v4, &*v6);
        thread::scope(|scope| {
            let ((send4, receive4), (send6, receive6)) =
                (sync_channel::<Chunk<V4>>(AHEAD), sync_channel::<Chunk<V6>>(AHEAD));
            let writing4 = scope.spawn(move || write_all(v4, &receive4));
            let writing6 = scope.spawn(move || write_all(v6, &receive6));
            let mut first = First { v4: send4, v6: send6, index, indexed: Ok(()) };
            let plan = fib.plan_first(&mut first);
            let indexed = first.end();
            let broke_off = |_| Err(anyhow!("a thread that writes routes broke off"));
            let written = PerFamily {
                v4: writing4.join().unwrap_or_else(broke_off)?,
                v6: writing6.join().unwrap_or_else(broke_off)?,
            };
            indexed.context("cannot build the index of IPv4 routes")?;
            Ok((plan, written))
        })
    }
}

fn write_all<F: NetFamily>(maps: &RouteMaps<F>, routes: &Receiver<Chunk<F>>) -> Result<Written> {
    for chunk in routes {
        if maps.write(&chunk)? == Written::Full {
            return Ok(Written::Full);
        }
    }
    Ok(Written::All)
}
