//! Redirects that the kernel accepts and that come to nothing: counted, shown, and not repeated for ever.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;
use route_cache_lab::{Frame, RawSocket, link::offload, wait_until};
use serde_json::{Value, json};

use crate::{
    router::{BEYOND, PATIENCE, PORTS, Place, Router},
    stream::Exit,
};

/// The first back-off, the trial, and what a busy machine adds.
const COMES_BACK: Duration = Duration::from_secs(30);

impl Router {
    /// Packets lost so far, by interface and cause.
    fn lost(&self) -> Vec<(String, String, u64)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let status = self.agent.status().unwrap();
        let entries = status["redirect_errors"].as_array().unwrap().iter();
        entries
            .map(|entry| {
                let packets = entry["packets"].as_u64().unwrap();
                (text(&entry["interface"]), text(&entry["cause"]), packets)
            })
            .collect()
    }

    /// What `monitor --json` tells of an event.
    fn events(&self, name: &str) -> Vec<Value> {
        let told = self.agent.cli(&["monitor", "--json"]).unwrap().stdout;
        let events = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["event"] == name).collect()
    }

    /// Loses packets: the far end stops taking them while the agent, which would hear of it at once, sleeps.
    fn lose(&self, count: u64) {
        self.agent.signal(Signal::SIGSTOP).unwrap();
        offload(&self.server.namespace, self.server.interface, "gro", false).unwrap();
        let sender = self.sender();
        for number in 0..count {
            sender.send(&self.frame(self.flow(), number as u32)).unwrap();
        }
        self.agent.signal(Signal::SIGCONT).unwrap();
    }

    fn send_long_until_right_is_out_of_use(&self) {
        let sender = self.sender();
        wait_until("right to be out of use", PATIENCE, || {
            for _ in 0..20 {
                sender.send(&self.long_frame()).unwrap();
            }
            self.interface("right").unwrap()["egress"] == false
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}", self.story()));
    }

    fn long_frame(&self) -> Vec<u8> {
        let (from, to) = ((self.client.address, PORTS.0), (BEYOND, PORTS.1));
        Frame::udp(from, to, &[0; 1000]).sent_by(&self.client).build()
    }
}

#[test]
fn lost_packets_are_counted_by_interface_and_cause_and_not_those_of_other_namespaces() {
    const COUNT: u64 = 50;
    let router = Router::forwarding("lost");
    // The same indexes, another namespace.
    let twin = Router::forwarding("lost-twin");
    for name in ["left", "right"] {
        assert_eq!(
            router.interface(name).unwrap()["ifindex"],
            twin.interface(name).unwrap()["ifindex"]
        );
    }
    assert_eq!(router.lost(), []);

    router.lose(COUNT);

    // Linux 6.3 and newer ask the features first; before, the driver is asked.
    let lost = |cause: &str| vec![("right".to_owned(), cause.to_owned(), COUNT)];
    let is_told = |found: &Vec<_>| *found == lost("EOPNOTSUPP") || *found == lost("ENXIO");
    wait_until("the lost packets to be told", PATIENCE, || is_told(&router.lost()))
        .unwrap_or_else(|error| panic!("{error:#}: {:?}; {}", router.lost(), router.story()));
    let (_, cause, _) = router.lost().remove(0);
    let metric =
        format!("route_cache_redirect_errors_total{{interface=\"right\",cause=\"{cause}\"}} 50");
    let metrics = router.agent.metrics().unwrap();
    assert!(metrics.lines().any(|line| line == metric.as_str()), "{metrics}");
    assert_eq!(router.interface("right").unwrap()["redirect_errors"], COUNT);
    assert_eq!(router.interface("left").unwrap()["redirect_errors"], 0);
    let told = router.events("redirect-errors");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["dev"], &told[0]["cause"]), (&json!("right"), &json!(&cause)));
    let shown = router.agent.cli(&["status"]).unwrap().stdout;
    assert!(shown.contains(&format!("redirect errors   right {cause} 50")), "{shown}");

    // The agent knows by now, and nothing is lost any more.
    router.await_interface_reason("right", "takes no redirected frames");
    router.during("gro off", || ()).stays(Exit::Server);
    offload(&router.server.namespace, router.server.interface, "gro", true).unwrap();
    router.await_forwarding(router.flow());
    assert_eq!(router.lost(), lost(&cause));
    // Its own, once they are told, and none of the others.
    twin.lose(3);
    wait_until("the twin's packets to be told", PATIENCE, || !twin.lost().is_empty()).unwrap();
    assert_eq!(twin.lost(), [("right".to_owned(), cause, 3)], "{}", twin.story());
}

#[test]
fn an_egress_that_takes_nothing_is_taken_out_of_use_and_comes_back() {
    let router = Router::forwarding("failing");
    let server = RawSocket::open(&router.server.namespace, router.server.interface).unwrap();
    let mtu = |mtu: &str| {
        let argv = ["ip", "link", "set", router.server.interface, "mtu", mtu];
        router.server.namespace.exec(&argv).unwrap();
    };
    let is_long = |frame: &[u8]| frame.len() > 1000;
    // What the far end takes does not show at this one.
    mtu("600");
    router.send_long_until_right_is_out_of_use();
    router.await_interface_reason("right", "redirects to right fail (dropped): ");
    let row = router.interface("right").unwrap();
    assert_eq!((&row["egress"], &row["accelerating"]), (&json!(false), &json!(true)), "{row}");
    assert_eq!(router.get(&BEYOND.to_string())["outcome"], "pass_egress");
    let lost = router.lost();
    assert!(
        lost.len() == 1 && lost[0].0 == "right" && lost[0].1 == "dropped" && lost[0].2 >= 20,
        "{lost:?}"
    );

    // What the kernel can deliver arrives, and nothing is redirected.
    let forwarded = router.forwarded();
    router.while_flowing(thread::yield_now);
    assert_eq!(router.forwarded(), forwarded, "{}", router.story());
    assert_eq!(router.lost(), lost);

    // The cause goes, unseen; it is found out by trying.
    mtu("1500");
    wait_until("right to be used again", COMES_BACK, || {
        router.interface("right").unwrap()["egress"] == true
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    router.await_forwarding(router.flow());
    server.drain().unwrap();
    let forwarded = router.forwarded();
    router.sender().send(&router.long_frame()).unwrap();
    let arrived = server.capture(is_long, 1, PATIENCE).unwrap();
    assert_eq!((arrived.len(), router.forwarded()), (1, forwarded + 1));
    let states: Vec<_> = router.events("egress").iter().map(|e| e["state"].clone()).collect();
    assert_eq!(states, ["out of use", "tried again"]);
}

#[test]
fn a_change_of_the_link_ends_the_back_off() {
    let router = Router::forwarding("failing-link");
    let argv = |mtu| ["ip", "link", "set", router.server.interface, "mtu", mtu];
    router.server.namespace.exec(&argv("600")).unwrap();
    router.send_long_until_right_is_out_of_use();
    router.server.namespace.exec(&argv("1500")).unwrap();
    // Sooner than the back-off is over; the event tells that it was not waited for.
    router.ip("link set right mtu 1400");
    router.await_forwarding(router.flow());
    let states: Vec<_> = router.events("egress").iter().map(|e| e["state"].clone()).collect();
    assert_eq!(states, ["out of use"]);
}

#[test]
fn where_it_cannot_be_told_it_forwards_and_says_so() {
    const HIDE: &str = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let router = Router::set_up(Place::new("unwatched"), &[], |setup| {
        setup.launched_by(&["unshare", "--mount", "sh", "-c", HIDE, "sh"])
    });
    router.await_forwarding(router.flow());
    let status = router.agent.status().unwrap();
    let why = status["redirect_errors_unknown"].as_str().unwrap();
    assert!(why.contains("cannot read /sys/kernel/btf/vmlinux"), "{why}");
    assert_eq!(status["redirect_errors"], json!([]));
    assert_eq!(router.interface("right").unwrap()["redirect_errors"], Value::Null);
    assert!(!router.agent.metrics().unwrap().contains("route_cache_redirect_errors_total"));
    let shown = router.agent.cli(&["status"]).unwrap().stdout;
    assert!(shown.contains("redirect errors   not counted: the kernel tells nothing"), "{shown}");
    let log = router.agent.log();
    assert_eq!(log.matches("redirects that fail are not counted").count(), 1, "{log}");
}
