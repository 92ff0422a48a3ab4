//! Which interfaces take redirected frames, told by probe frames where the kernel does not tell, or if asked for (row 37).

use std::{
    fs,
    time::{Duration, Instant},
};

use route_cache_lab::{RawSocket, link::offload, wait_until};

use crate::{
    router::{PATIENCE, Place, Router},
    stream::Exit,
};

/// Between two probe frames to an interface that takes them, and what a busy machine adds.
const AGAIN: Duration = Duration::from_secs(20);

/// The far end of `right`.
fn server_socket(place: &Place) -> RawSocket {
    RawSocket::open(&place.server.namespace, place.server.interface).unwrap()
}

fn is_probe(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x88, 0xb5])
}

/// Whether the kernel is older than the features of devices (Linux 6.3).
fn tells_no_features() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (6, 3)
}

impl Router {
    fn set_gro(&self, is_on: bool) {
        offload(&self.server.namespace, self.server.interface, "gro", is_on).unwrap();
    }

    fn await_egress(&self, is_usable: bool, within: Duration) {
        wait_until(&format!("egress {is_usable} of right"), within, || {
            self.interface("right").unwrap()["egress"] == is_usable
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    /// The states of egress interfaces that events told of.
    fn told_of_egress(&self) -> Vec<serde_json::Value> {
        let told = self.agent.cli(&["monitor", "--json"]).unwrap().stdout;
        let events = told.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        events.filter(|e| e["event"] == "egress").map(|e| e["state"].clone()).collect()
    }
}

#[test]
fn row_37_a_probe_frame_is_sent_where_the_kernel_does_not_tell_and_else_only_if_asked_for() {
    for (arguments, is_wanted) in [
        (&[][..], tells_no_features()),
        (&["--egress-check", "features"], false),
        (&["--egress-check", "probe"], true),
    ] {
        let place = Place::new("probe-when");
        let server = server_socket(&place);
        let router = Router::with(place, arguments);
        let patience = if is_wanted { PATIENCE } else { Duration::from_secs(2) };
        let probes = server.capture(is_probe, 1, patience).unwrap();
        assert_eq!(!probes.is_empty(), is_wanted, "{arguments:?}");
        if is_wanted || !tells_no_features() {
            router.await_forwarding(router.flow());
        }
    }
}

#[test]
fn row_37_an_egress_is_used_while_probe_frames_are_taken() {
    let place = Place::new("probe");
    offload(&place.server.namespace, place.server.interface, "gro", false).unwrap();
    let router = Router::with(place, &["--egress-check", "probe"]);
    // Refused from the start: nothing is redirected, so nothing is lost.
    router.await_interface_reason("right", "the probe frame to right was refused: E");
    router.during("gro off", || ()).stays(Exit::Server);
    assert_eq!(router.get(&router.flow().destination.to_string())["outcome"], "pass_egress");
    router.set_gro(true);
    router.await_egress(true, AGAIN);
    router.await_forwarding(router.flow());
    // Nobody tells of the peer's GRO, and nobody's packet finds out: the next probe frame does.
    router.set_gro(false);
    router.await_egress(false, AGAIN);
    let errors = router.agent.status().unwrap()["redirect_errors"].clone();
    assert_eq!(errors, serde_json::json!([]), "no packet was lost for it");
    router.set_gro(true);
    router.await_egress(true, AGAIN);
    assert_eq!(router.told_of_egress(), ["in use", "out of use", "in use"]);
}

#[test]
fn row_37_a_packet_that_is_lost_has_the_egress_probed_at_once() {
    let place = Place::new("probe-lost");
    let server = server_socket(&place);
    let router = Router::with(place, &["--egress-check", "probe"]);
    router.await_forwarding(router.flow());
    server.drain().unwrap();
    // The next one would be ten seconds later.
    assert_eq!(server.capture(is_probe, 1, AGAIN).unwrap().len(), 1);
    router.set_gro(false);
    let began = Instant::now();
    let sender = router.sender();
    wait_until("right to be out of use", AGAIN, || {
        sender.send(&router.frame(router.flow(), 1)).unwrap();
        router.interface("right").unwrap()["egress"] == false
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    router.await_interface_reason("right", "the probe frame to right was refused: E");
}

#[test]
fn row_37_a_link_that_comes_back_is_probed_before_it_is_used() {
    let place = Place::new("probe-link");
    let server = server_socket(&place);
    let router = Router::with(place, &["--egress-check", "probe"]);
    router.await_forwarding(router.flow());
    router.ip("link set right down");
    router.await_egress(false, PATIENCE);
    router.set_gro(false);
    server.drain().unwrap();
    router.ip("link set right up");
    router.await_interface_reason("right", "the probe frame to right was refused: E");
    // It would have been taken out of use if it had been in use meanwhile.
    assert_eq!(router.told_of_egress(), [""; 0]);
    router.set_gro(true);
    router.await_egress(true, AGAIN);
    assert_eq!(router.told_of_egress(), ["in use"]);
}

#[test]
fn row_37_where_no_probe_frame_can_be_sent_packets_pass_with_the_reason() {
    const HIDE: &str = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let router = Router::set_up(Place::new("probe-not"), &["--egress-check", "probe"], |setup| {
        setup.launched_by(&["unshare", "--mount", "sh", "-c", HIDE, "sh"])
    });
    router.await_interface_reason("right", "no probe frame can be sent: the kernel tells nothing");
    router.await_pass(router.flow(), "pass_egress");
}
