//! What the operator has a running agent do: `set`, `flush`, `drain`, `purge`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;
use serde_json::Value;

use crate::{
    router::{BEYOND, PATIENCE, Place, Router},
    stream::Exit,
};

/// Another destination by the same route as [`BEYOND`].
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 9, 200, 1);

/// What a command that is carried out says.
#[track_caller]
fn does(router: &Router, command: &[&str]) -> String {
    let finished = router.agent.cli(command).unwrap();
    assert_eq!(finished.code, 0, "{command:?}: {}{}", finished.stdout, finished.stderr);
    finished.stdout
}

/// What a command that is refused says.
#[track_caller]
fn refuses(router: &Router, command: &[&str]) -> String {
    let finished = router.agent.cli(command).unwrap();
    assert_eq!(finished.code, 1, "{command:?}: {}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.stdout, "", "{command:?}");
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    finished.stderr
}

fn settings(router: &Router) -> Value {
    router.agent.status().unwrap()["settings"].clone()
}

fn timeout(router: &Router) -> Value {
    router.agent.status().unwrap()["timeout"].clone()
}

#[test]
fn s16_rtexpire_set_acts_at_once_on_the_clones_there_are() {
    let router = Router::with(Place::new("set"), &["--sweep-interval", "1h"]);
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    let set = Instant::now();
    let said = does(&router, &["set", "rtexpire", "2s"]);
    assert!(said.contains("rtexpire") && said.contains("2s"), "{said}");
    assert_eq!(timeout(&router)["rtexpire_seconds"], 2);
    let page = router.agent.metrics().unwrap();
    assert!(page.contains("\nroute_cache_rtexpire_seconds 2\n"), "{page}");
    let left = router.clones_of(BEYOND);
    assert!(left.iter().all(|clone| clone["expires_in_seconds"].as_f64() <= Some(2.1)), "{left:?}");
    wait_until("the clones to go", PATIENCE, || router.tables("live") == 0)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert!(set.elapsed() > Duration::from_secs(2) - Duration::from_millis(50));
    assert!(set.elapsed() < Duration::from_millis(4500), "{:?}", set.elapsed());
    assert_eq!(router.expired("timeout"), cpus);
    let entry = &settings(&router)["rtexpire"];
    assert_eq!((&entry["value"], &entry["origin"]), (&"2s".into(), &"control socket".into()));
    assert!(router.agent.log().contains("rtexpire: 1h -> 2s"), "{}", router.story());
}

#[test]
fn s9_raising_rtexpire_does_not_lengthen_what_was_given() {
    let router = Router::with(Place::new("raise"), &["--rtexpire", "3s"]);
    router.clone_on_every_cpu(BEYOND);
    let made = Instant::now();
    does(&router, &["set", "rtexpire", "1h"]);
    router.clone_on_every_cpu(SECOND);
    wait_until("the older clones to go", PATIENCE, || router.clones_of(BEYOND).is_empty()).unwrap();
    assert!(made.elapsed() < Duration::from_millis(5500), "{:?}", made.elapsed());
    let later = router.clones_of(SECOND);
    assert!(!later.is_empty());
    assert!(later.iter().all(|clone| clone["expires_in_seconds"].as_f64() > Some(3500.0)));
}

#[test]
fn s16_units_and_the_other_settings() {
    let router = Router::start("units");
    for (value, seconds) in [("90", 90), ("91s", 91), ("5m", 300), ("1h", 3600), ("0", 0)] {
        does(&router, &["set", "rtexpire", value]);
        assert_eq!(timeout(&router)["rtexpire_seconds"], seconds, "{value}");
    }
    does(&router, &["set", "rtexpire", "1h"]);
    does(&router, &["set", "rtminexpire", "20s"]);
    does(&router, &["set", "rtmaxcache", "1000"]);
    let now = timeout(&router);
    assert_eq!((&now["rtminexpire_seconds"], &now["rtmaxcache"]), (&20.into(), &1000.into()));
    // As on the command line and as in the file.
    for (name, value) in [("sweep-interval", "7s"), ("sweep_interval", "8s")] {
        does(&router, &["set", name, value]);
        assert_eq!(settings(&router)["sweep_interval"]["value"], value);
    }
    does(&router, &["set", "clone_on", "second-packet"]);
    does(&router, &["set", "exempt_interfaces", "vrrp*"]);
    does(&router, &["set", "log_level", "debug"]);
    assert_eq!(settings(&router)["log_level"]["value"], "debug");
}

/// Bad input changes nothing, and says what is wrong with it.
#[test]
fn what_cannot_be_set_is_refused_and_changes_nothing() {
    let router = Router::forwarding("refused");
    let (before, at) = (settings(&router), timeout(&router));
    let account = router.during("bad orders", || {
        for (name, value, says) in [
            ("rtexpire", "banana", "such as 90, 90s, 5m or 1h"),
            ("rtexpire", "-5", "negative"),
            ("rtexpire", "-5s", "negative"),
            ("rtexpire", "", "such as 90, 90s, 5m or 1h"),
            ("rtexpire", "5d", "such as 90, 90s, 5m or 1h"),
            ("rtexpire", "4294967296", "more than 4294967295"),
            ("rtexpire", "99999999999999999999999999", "more than 4294967295"),
            ("rtexpire", "1193047h", "more than 4294967295"),
            ("rtminexpire", "0", "at least 1s"),
            // More than rtexpire.
            ("rtminexpire", "2h", "rtexpire"),
            ("rtmaxcache", "0", "at least 1"),
            ("rtmaxcache", "-1", "negative"),
            ("rtmaxcache", "65537", "clones_per_cpu"),
            ("sweep_interval", "0", "at least 1s"),
            ("clone_on", "never", "expected auto, second-packet or first-packet"),
            ("rtexpires", "5", "did you mean rtexpire?"),
            ("sweepinterval", "5", "did you mean sweep_interval?"),
            ("\u{1b}[2J", "5", "no setting is called"),
            ("clones_per_cpu", "10", "restart"),
            ("interfaces", "other0", "restart"),
        ] {
            let said = refuses(&router, &["set", name, value]);
            assert!(said.contains(says), "set {name} {value}: {said}");
            assert!(!said.contains('\u{1b}'), "{said:?}");
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        }
    });
    account.stays(Exit::Server);
    assert_eq!(settings(&router), before);
    assert_eq!(timeout(&router), at);
}

/// Half a request that hangs, and a hundred clients at once, half of whom ask what cannot be: each is answered, and no
/// packet is lost.
#[test]
fn half_a_request_and_a_hundred_clients_at_once_hold_up_nobody() {
    let router = Router::forwarding("clients");
    let socket = router.agent.control_socket();
    let send = |request: &str| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let answer = |stream: UnixStream| -> Value {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    };
    let before = settings(&router);
    let account = router.during("clients", || {
        let half = send("{\"command\":\"set\",\"name\":\"rtexpire\",");
        let (router, send, answer) = (&router, &send, &answer);
        std::thread::scope(|scope| {
            for client in 0..100 {
                scope.spawn(move || {
                    if client % 2 == 0 {
                        let told = answer(send("{\"command\":\"status\"}\n"));
                        assert_eq!(told["ok"]["pid"], router.agent.pid(), "{told}");
                    } else {
                        let banana =
                            r#"{"command":"set","name":"rtexpire","value":"banana"}"#.to_owned();
                        let told = answer(send(&(banana + "\n")));
                        let error = told["error"].as_str().unwrap_or_else(|| panic!("{told}"));
                        assert!(error.contains("such as 90, 90s, 5m or 1h"), "{error}");
                    }
                });
            }
        });
        let told = answer(half);
        assert!(told["error"].to_string().contains("no complete request"), "{told}");
    });
    account.stays(Exit::Server);
    assert_eq!(settings(&router), before);
    assert!(!router.agent.log().contains("panicked"), "{}", router.story());
}

#[test]
fn flush_removes_what_fits_and_counts_it() {
    let router = Router::with(Place::new("flush"), &["--clone-on", "first-packet"]);
    let other = router.other.address;
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    for destination in [SECOND, router.server.address, other] {
        router.clone_on_every_cpu(destination);
    }
    let count = |destination| router.clones_of(destination).len() as u64;
    let mut flushed = 0;
    let mut flush = |arguments: &[&str], removed: u64| {
        let said = does(&router, &[&["flush"], arguments].concat());
        assert!(said.contains(&format!("{removed} clones removed")), "{arguments:?}: {said}");
        flushed += removed;
        assert_eq!(router.expired("flush"), flushed, "{arguments:?}: {}", router.story());
    };
    flush(&["192.0.2.0/24"], 0);
    flush(&["--family", "ipv6"], 0);
    flush(&["10.9.200.0/24"], cpus);
    assert_eq!((count(SECOND), count(BEYOND)), (0, cpus));
    flush(&["10.0.0.0/16", "--dev", "right"], cpus);
    assert_eq!((count(router.server.address), count(other)), (0, cpus));
    flush(&["--dev", "right2"], cpus);
    assert_eq!((count(other), count(BEYOND)), (0, cpus));
    // And those of the hosts' answers.
    flush(&["--family", "ipv4"], router.tables("live"));
    assert_eq!(router.tables("live"), 0);
    flush(&[], 0);

    let refused = refuses(&router, &["flush", "--dev", "nonesuch"]);
    assert!(refused.contains("nonesuch"), "{refused}");
    assert_ne!(router.agent.cli(&["flush", "no-prefix"]).unwrap().code, 0);
}

#[test]
fn flush_drain_and_purge_lose_no_packet() {
    let router = Router::forwarding("no-loss");
    let account = router.during("flush, drain, purge", || {
        for _ in 0..10 {
            does(&router, &["flush"]);
            does(&router, &["flush", "10.9.0.0/16", "--dev", "right"]);
            does(&router, &["drain"]);
            does(&router, &["purge", "--dev", "right"]);
        }
    });
    account.stays(Exit::Server);
    wait_until("the drain", PATIENCE, || router.expired("drain") > 0)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert!(router.expired("flush") > 0, "{}", router.story());
    assert!(router.expired("link_down") > 0, "{}", router.story());
    // All of it forwarded by XDP, and none asked twice.
    router.await_forwarding(router.flow());
}

#[test]
fn s13_a_drain_takes_every_clone_of_every_cpu_and_a_second_one_nothing() {
    let router = Router::with(Place::new("drain"), &["--sweep-interval", "1h"]);
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    let said = does(&router, &["drain"]);
    assert!(said.contains(&format!("{cpus} CPUs")), "{said}");
    wait_until("the drain", PATIENCE, || router.tables("live") == 0)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert_eq!(router.expired("drain"), cpus);
    // Within the same second of the agent's clock nothing is drained again: one of three pairs does not straddle two.
    let skipped = (0..3).any(|_| {
        std::thread::sleep(Duration::from_millis(1100));
        let first = does(&router, &["drain"]);
        assert!(first.contains(&format!("{cpus} CPUs")), "{first}");
        router.clone_on_every_cpu(BEYOND);
        let drained = router.expired("drain");
        let second = does(&router, &["drain"]);
        second.contains("all CPUs are draining, or were drained within this second")
            && router.expired("drain") == drained
            && router.clones_of(BEYOND).len() as u64 == cpus
    });
    assert!(skipped, "{}", router.story());
}

#[test]
fn s15_purge_removes_the_clones_through_an_interface_and_spares_exempt_ones() {
    let arguments = ["--exempt-interface", "right", "--clone-on", "first-packet"];
    let router = Router::with(Place::new("purge"), &arguments);
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    router.clone_on_every_cpu(router.other.address);
    let said = does(&router, &["purge", "--dev", "right"]);
    assert!(said.contains("exempt") && said.contains("--force"), "{said}");
    assert_eq!(router.expired("link_down"), 0);
    assert_eq!(router.clones_of(BEYOND).len() as u64, cpus);

    let said = does(&router, &["purge", "--dev", "right2"]);
    assert!(said.contains(&format!("{cpus} clones")), "{said}");
    assert_eq!(router.expired("link_down"), cpus);
    assert!(router.clones_of(router.other.address).is_empty());
    assert_eq!(router.clones_of(BEYOND).len() as u64, cpus);

    does(&router, &["purge", "--dev", "right", "--force"]);
    assert_eq!(router.expired("link_down"), 2 * cpus);
    assert!(router.clones_of(BEYOND).is_empty());
    router.await_forwarding(router.flow());
    let refused = refuses(&router, &["purge", "--dev", "nonesuch"]);
    assert!(refused.contains("nonesuch"), "{refused}");
}
