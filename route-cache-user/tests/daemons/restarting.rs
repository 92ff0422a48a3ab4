//! The daemon restarts gracefully: its routes stay, and packets do not notice.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use route_cache_lab::RawSocket;

use crate::{
    daemon::{Choice, Kind, Loss},
    place::{Place, arrived, sample},
    speaker::{PREFIXES, inside},
};

/// A packet every so often.
const PERIOD: Duration = Duration::from_millis(1);

fn routes_stay_while_the_daemon_restarts(label: &str, kind: Kind) {
    let mut place = Place::start(label, kind, Choice::First, Loss::Keeps);
    let (server, all) = (place.server.address, PREFIXES as usize);
    place.await_via("learned", server);
    place.delivers(true);

    let receiver = RawSocket::open(&place.server.namespace, place.server.interface).unwrap();
    let sender = RawSocket::open(&place.client.namespace, place.client.interface).unwrap();
    let frame = place.frame(inside(0), 1);
    let (over, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let before = place.forwarded();
    thread::scope(|scope| {
        let end = End(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                sender.send(&frame).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PERIOD);
            }
        });
        place.restart_daemon();
        place.wait("the prefixes to be learned anew", || {
            place.daemon.learned() == u64::from(PREFIXES)
        });
        assert_eq!(place.kernel_routes(""), all, "{}", place.story());
        drop(end);
    });
    let sent = u64::from(count.load(Ordering::Relaxed));
    assert_eq!(arrived(&receiver), sent, "some were lost; {}", place.story());
    let by_xdp = place.forwarded() - before;
    eprintln!("{kind:?}: {by_xdp} of {sent} packets by XDP while the daemon restarted");
    assert!(by_xdp > sent / 2, "only {by_xdp} of {sent} by XDP; {}", place.story());
    place.await_via("restarted", server);
    place.delivers(true);
    place.audit_is_clean(sample().count() as u64);

    // The new one is in charge of the routes that the old one has left.
    for upstream in [&place.first, &place.second] {
        upstream.as_ref().unwrap().withdraw();
    }
    place.await_none("withdrawn after the restart");
    place.audit_is_clean(0);
    place.kept_up();
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn routes_of_bird_stay_while_it_restarts() {
    routes_stay_while_the_daemon_restarts("bird-restart", Kind::Bird);
}

#[test]
fn routes_of_frr_stay_while_it_restarts() {
    routes_stay_while_the_daemon_restarts("frr-restart", Kind::Frr);
}
