//! Clocks that jump or stand still: clones expire by the time that has passed, never early.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use route_cache_lab::wait_until;

use crate::{
    expiry::{LATEST, TIMEOUT, lives_its_time, ping, server_clones},
    router::{PATIENCE, Place, Router},
};

/// A container may have monotonic clocks of its own, which are not those of the kernel's jiffies.
#[test]
fn clock_jumps_of_a_time_namespace_neither_shorten_nor_lengthen_a_life() {
    let own = fs::read_link("/proc/self/ns/time").unwrap();
    for seconds in ["1000000", "-30"] {
        let launcher = ["unshare", "--time", "--monotonic", seconds, "--boottime", seconds];
        let router = Router::set_up(Place::new("time-ns"), &["--rtexpire", "2s"], |setup| {
            setup.launched_by(&launcher)
        });
        let theirs = fs::read_link(format!("/proc/{}/ns/time", router.agent.pid())).unwrap();
        assert_ne!(theirs, own, "the agent is not in a time namespace of its own");
        lives_its_time(&router);
    }
}

/// A step of the wall clock (NTP, an operator) is nothing to what nobody reads. Nor is one that goes on in suspend read:
/// jiffies stand still there.
#[test]
fn clock_jumps_of_the_wall_clock_are_never_read() {
    const CLOCKS: [&str; 7] = [
        "SystemTime",
        "UNIX_EPOCH",
        "CLOCK_REALTIME",
        "CLOCK_TAI",
        "CLOCK_BOOTTIME",
        "ktime_get_boot",
        "ktime_get_tai",
    ];
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crates = ["route-cache-common", "route-cache-ebpf", "route-cache-user"];
    let mut sources = Vec::new();
    crates.iter().for_each(|name| collect(&workspace.join(name).join("src"), &mut sources));
    let reads = |clock: &str| -> Vec<&PathBuf> {
        sources.iter().filter(|(_, text)| text.contains(clock)).map(|(path, _)| path).collect()
    };
    assert_eq!(CLOCKS.map(reads), [const { Vec::<&PathBuf>::new() }; 7], "{CLOCKS:?}");
    // The clocks that are read are found in this way.
    assert!(!reads("CLOCK_MONOTONIC").is_empty() && !reads("jiffies64").is_empty());
}

/// The product's own sources, without tests.
fn collect(directory: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
}

/// The agent stands still, as in a machine that is suspended or starved, while jiffies and packets go on.
#[test]
fn clock_jumps_seen_by_a_stopped_agent_expire_nothing_early() {
    const STOPPED: Duration = Duration::from_secs(3);
    let router = Router::with(Place::new("standstill"), &["--rtexpire", "6s"]);
    let sent = ping(&router);
    router.agent.signal(Signal::SIGSTOP).unwrap();
    // It is the time that is tested.
    thread::sleep(STOPPED);
    router.agent.signal(Signal::SIGCONT).unwrap();
    let mut lived = Vec::new();
    wait_until("the clone to go", PATIENCE, || {
        let is_there = !server_clones(&router).is_empty();
        if is_there {
            lived.push(sent.elapsed());
        }
        !is_there
    })
    .unwrap();
    assert!(sent.elapsed() >= 3 * TIMEOUT, "gone after {:?}", sent.elapsed());
    assert!(sent.elapsed() <= 2 * TIMEOUT + LATEST, "gone after {:?}", sent.elapsed());
    assert!(lived.len() > 10, "{lived:?}");
}

#[test]
fn clock_jumps_over_the_expiry_spare_a_clone_that_was_used_meanwhile() {
    let router = Router::with(Place::new("slept-over"), &["--rtexpire", "2s"]);
    // Always from the same CPU, or the later packet would make a clone of its own on another.
    let ping = |address: Ipv4Addr| {
        let (address, before) = (address.to_string(), Instant::now());
        let argv = ["taskset", "-c", "0", "ping", "-q", "-c", "1", "-W", "5", &address];
        router.client.namespace.exec(&argv).unwrap();
        before
    };
    ping(router.other.address);
    ping(router.server.address);
    let began = Instant::now();
    router.agent.signal(Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_millis(2500));
    // The promise holds: it is still the program that forwards, and by the clone that nobody removed.
    let last = ping(router.server.address);
    router.agent.signal(Signal::SIGCONT).unwrap();
    let is_idle = |router: &Router| router.clones_of(router.other.address).is_empty();
    wait_until("the idle clone to go", PATIENCE, || is_idle(&router)).unwrap();
    let used = server_clones(&router);
    assert!(!used.is_empty() || last.elapsed() >= TIMEOUT, "gone {:?} after use", last.elapsed());
    assert!(last.elapsed() < TIMEOUT, "too slow a machine to tell: {:?}", last.elapsed());
    let packets: u64 = used.iter().map(|clone| clone["packets"].as_u64().unwrap()).sum();
    assert_eq!(packets, 2, "{used:?} after {:?}", began.elapsed());
    wait_until("both to go", PATIENCE, || server_clones(&router).is_empty()).unwrap();
    assert!(last.elapsed() >= TIMEOUT, "gone after {:?}", last.elapsed());
}
