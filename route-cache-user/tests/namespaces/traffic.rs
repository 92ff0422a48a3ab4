//! Floods of many destinations, a flow that must not notice them, and packets on a chosen CPU.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use route_cache_lab::{RawSocket, wait_until};

use crate::{
    router::{Flow, PATIENCE, Router, UNNUMBERED},
    stream::numbered,
};

/// Frames that a flood sends in one go: few enough for the ring of a veth.
const BURST: u32 = 32;

/// Time between two packets of the flow, and after which a packet of it is through.
const PERIOD: Duration = Duration::from_millis(1);
const TRANSIT: Duration = Duration::from_millis(100);

impl Router {
    /// Routes 10.32.0.0/13 to the other host, so that a flood leaves the link of the server alone.
    pub fn route_flood(&self) {
        self.ip("route add 10.32.0.0/13 via 10.0.3.2");
        let first = Flow { destination: flooded(0), ..self.flow() };
        wait_until("the route of the flood", PATIENCE, || {
            self.get(&first.destination.to_string())["outcome"] == "forwarded_route"
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    /// Sends a packet to each of so many destinations, evenly over `duration`.
    pub fn flood(&self, destinations: u32, duration: Duration) {
        let sender = self.sender();
        let began = Instant::now();
        for number in 0..destinations {
            if number % BURST == 0 {
                let due = began + duration * number / destinations;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let flow = Flow { destination: flooded(number), ..self.flow() };
            sender.send(&self.frame(flow, UNNUMBERED)).unwrap();
        }
    }

    /// Does `work` while a flow to the server goes on. Not one packet of it is lost. Gives their number as well.
    #[track_caller]
    pub fn while_flowing<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let server = RawSocket::open(&self.server.namespace, self.server.interface).unwrap();
        let sender = self.sender();
        let (count, over, sent) =
            (AtomicU32::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let send = || {
            while !over.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                sender.send(&self.frame(self.flow(), number)).unwrap();
                thread::sleep(PERIOD);
            }
            sent.store(true, Ordering::Release);
        };
        // Received as they come: a socket does not hold all of a long flow.
        let receive = || {
            let mut arrived = Vec::new();
            loop {
                let is_last_look = sent.load(Ordering::Acquire);
                match server.recv(TRANSIT).unwrap() {
                    Some(frame) => arrived.extend(numbered(&frame).map(|(number, _)| number)),
                    None if is_last_look => return arrived,
                    None => {}
                }
            }
        };
        let (worked, mut arrived) = thread::scope(|scope| {
            let (sending, receiving) = (scope.spawn(send), scope.spawn(receive));
            // However this ends, the sender does.
            let end = End(&over);
            wait_until("the flow to flow", PATIENCE, || count.load(Ordering::Relaxed) > 50)
                .unwrap();
            let worked = work();
            drop(end);
            sending.join().unwrap();
            (worked, receiving.join().unwrap())
        });
        arrived.sort_unstable();
        let count = count.load(Ordering::Relaxed);
        let lost: Vec<_> = (0..count).filter(|n| arrived.binary_search(n).is_err()).collect();
        assert!(lost.is_empty(), "{} of {count} lost: {lost:?}; {}", lost.len(), self.story());
        assert_eq!(arrived.len(), count as usize, "some packets came twice");
        (worked, count.into())
    }

    /// Sends packets to a destination on every CPU until each has a clone of it. Gives the number of CPUs.
    #[track_caller]
    pub fn clone_on_every_cpu(&self, destination: Ipv4Addr) -> usize {
        let cpus = self.cpus();
        let frame = self.frame(Flow { destination, ..self.flow() }, UNNUMBERED);
        let sender = self.sender();
        wait_until("a clone on every CPU", PATIENCE, || {
            for cpu in 0..cpus {
                let send = || {
                    let mut only = CpuSet::new();
                    only.set(cpu).unwrap();
                    sched_setaffinity(Pid::from_raw(0), &only).unwrap();
                    // The second makes a clone where the first does not.
                    (0..2).for_each(|_| sender.send(&frame).unwrap());
                };
                thread::scope(|scope| scope.spawn(send).join().unwrap());
            }
            self.clones_of(destination).len() == cpus
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
        cpus
    }
}

/// The destinations of a flood, one after the other.
pub fn flooded(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 32, 0, 0)) + number)
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
