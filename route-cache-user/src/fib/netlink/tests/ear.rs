//! A monitor that a test can listen with.

use std::time::Duration;

use super::super::namespace::{run, with_veth};
use super::super::{Monitor, Received};
use crate::fib::message::Event;

const BUFFER: usize = 1 << 20;

/// A monitor with a runtime around it.
pub(super) struct Ear {
    runtime: tokio::runtime::Runtime,
    pub(super) monitor: Monitor,
}

impl Ear {
    /// Subscribes in the calling thread's namespace.
    pub(super) fn open(buffer: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let inside = runtime.enter();
        let monitor = Monitor::open(buffer).expect("the monitor opens");
        drop(inside);
        Self { runtime, monitor }
    }

    /// What is heard within `limit`.
    pub(super) fn next(&mut self, events: &mut Vec<Event>, limit: Duration) -> Option<Received> {
        let next = self.monitor.next(events);
        self.runtime
            .block_on(async { tokio::time::timeout(limit, next).await.ok() })
            .map(|received| received.expect("the socket lives"))
    }

    /// Everything heard until an event fits.
    pub(super) fn until(&mut self, fits: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        while !events.iter().any(&fits) {
            let received = self.next(&mut events, Duration::from_secs(5));
            assert_eq!(received, Some(Received::Events), "heard only {events:?}");
        }
        events
    }

    /// Runs a command and returns the first event of an IPv4 route that it causes. Of IPv6 the kernel makes routes by
    /// itself when it finds a link ready, whenever that is.
    pub(super) fn route_after(&mut self, command: &str) -> Event {
        run(command);
        let is_route = |event: &Event| match event {
            Event::Route { route, .. } | Event::RouteGone(route) => route.prefix.addr().is_ipv4(),
            _ => false,
        };
        self.until(is_route).into_iter().find(is_route).expect("until() found it")
    }
}

/// Runs `test` in a namespace with a pair of devices and an ear on it.
pub(super) fn hear<T: Send>(test: impl FnOnce(&mut Ear) -> T + Send) -> T {
    with_veth(|| test(&mut Ear::open(BUFFER)))
}
