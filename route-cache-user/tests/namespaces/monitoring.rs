//! What `monitor --follow --json` shows of what happens.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::{Running, process::run, wait_until};
use serde_json::Value;

use crate::{
    pressure::PressureFile,
    router::{BEYOND, BINARY, PATIENCE, Place, Router},
    stream::Exit,
};

/// A client that follows.
struct Follower(Running);

impl Follower {
    fn start(router: &Router) -> Self {
        let socket = router.agent.control_socket().display().to_string();
        let argv = [BINARY, "monitor", "--follow", "--json", "--control-socket", &socket];
        Self(Running::start(&argv, None).unwrap())
    }

    /// What it has printed so far: an object a line.
    fn events(&self) -> Vec<Value> {
        let printed = self.0.stdout();
        let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for an event that has all of these fields.
    #[track_caller]
    fn sees(&self, router: &Router, wanted: &Value) -> Value {
        let fits = |event: &Value| {
            wanted.as_object().unwrap().iter().all(|(name, value)| event[name] == *value)
        };
        let mut found = None;
        wait_until(&format!("the event {wanted}"), PATIENCE, || {
            found = self.events().into_iter().find(fits);
            found.is_some()
        })
        .unwrap_or_else(|error| {
            let events: Vec<_> = self.events().iter().map(Value::to_string).collect();
            panic!("{error:#}; events:\n{}\n{}", events.join("\n"), router.story())
        });
        found.unwrap()
    }
}

fn order(router: &Router, command: &[&str]) {
    let finished = router.agent.cli(command).unwrap();
    assert_eq!(finished.code, 0, "{command:?}: {}", finished.stderr);
}

#[test]
fn a_follower_sees_all_that_happens_and_why() {
    let place = Place::new("follow");
    let calm = PressureFile::new(&place, "0.00");
    let arguments = ["--sweep-interval", "1s", "--rtmaxcache", "1", "--clone-on", "first-packet"];
    let router = Router::with_environment(place, &arguments, &[calm.variable()]);
    let follower = Follower::start(&router);
    let sees = |wanted: Value| follower.sees(&router, &wanted);

    router.clone_on_every_cpu(BEYOND);
    order(&router, &["set", "rtexpire", "15s"]);
    let set = sees(serde_json::json!({"event": "setting", "name": "rtexpire", "to": "15s"}));
    assert_eq!((&set["from"], &set["origin"]), (&"1h".into(), &"control socket".into()), "{set}");
    sees(serde_json::json!({"event": "timeout", "direction": "set", "to_seconds": 15.0}));

    // More clones than `rtmaxcache` on a CPU, and then none.
    router.clone_on_every_cpu(router.other.address);
    sees(serde_json::json!({"event": "timeout", "direction": "shrunk", "from_seconds": 15.0,
        "to_seconds": 10.0}));
    order(&router, &["drain"]);
    sees(serde_json::json!({"event": "drain"}));
    sees(serde_json::json!({"event": "clone-expired", "reason": "drain", "dst": "10.9.0.1"}));
    sees(serde_json::json!({"event": "timeout", "direction": "recovered", "from_seconds": 10.0,
        "to_seconds": 15.0}));

    order(&router, &["set", "rtminexpire", "1s"]);
    order(&router, &["set", "rtexpire", "1s"]);
    router.clone_on_every_cpu(BEYOND);
    let expired =
        sees(serde_json::json!({"event": "clone-expired", "reason": "timeout", "dst": "10.9.0.1"}));
    assert!(expired["idle_seconds"].as_f64() >= Some(1.0), "{expired}");
    assert!(expired["cpu"].is_u64(), "{expired}");

    order(&router, &["set", "rtexpire", "1h"]);
    router.clone_on_every_cpu(BEYOND);
    order(&router, &["flush", "10.9.0.0/16"]);
    let flush = sees(serde_json::json!({"event": "flush"}));
    assert!(flush["what"].as_str().unwrap().contains("10.9.0.0/16"), "{flush}");
    order(&router, &["purge", "--dev", "right"]);
    sees(serde_json::json!({"event": "purge", "dev": "right"}));
    router.ip("link set right2 down");
    sees(serde_json::json!({"event": "link", "dev": "right2"}));
    sees(serde_json::json!({"event": "resync", "cause": "link"}));
    calm.set("12.00");
    sees(serde_json::json!({"event": "pressure", "level": "sweep"}));
    sees(serde_json::json!({"event": "clones-created"}));

    let events = follower.events();
    let times: Vec<f64> =
        events.iter().map(|event| event["at_seconds"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(events.iter().all(|event| event["event"] != "skipped"), "{events:?}");
    // Without --follow it is what happened so far, and an end.
    let socket = router.agent.control_socket().display().to_string();
    let told = run(&[BINARY, "monitor", "--json", "--control-socket", &socket], None).unwrap();
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stdout.lines().count() >= events.len(), "{}", told.stdout);
}

/// It is told what it missed, and nobody waits for it.
#[test]
fn a_slow_follower_stalls_nothing() {
    const DESTINATIONS: u32 = 30_000;
    let arguments = ["--sweep-interval", "1s", "--clone-on", "first-packet"];
    let router = Router::with(Place::new("slow"), &arguments);
    router.route_flood();
    let mut slow = UnixStream::connect(router.agent.control_socket()).unwrap();
    slow.write_all(b"{\"command\":\"monitor\",\"follow\":true}\n").unwrap();
    let ((), sent) = router.while_flowing(|| {
        let mut last = router.expired("flush");
        for round in 0..5 {
            router.flood(DESTINATIONS, Duration::from_secs(1));
            let asked = Instant::now();
            order(&router, &["flush"]);
            order(&router, &["drain"]);
            order(&router, &["set", "rtmaxcache", &(1000 + round).to_string()]);
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            let now = router.expired("flush");
            assert!(now > last, "{}", router.story());
            last = now;
            thread::sleep(Duration::from_millis(200));
        }
    });
    assert!(sent > 0);
    // Those who do read are served meanwhile.
    let quick = Follower::start(&router);
    order(&router, &["set", "rtmaxcache", "77"]);
    quick.sees(&router, &serde_json::json!({"event": "setting", "to": "77"}));
    let account = router.during("a slow follower", || thread::sleep(Duration::from_secs(1)));
    account.stays(Exit::Server);

    // What it finds when it reads at last is whole lines, in order.
    slow.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut lines = BufReader::new(slow).lines();
    let mut last = 0.0;
    let mut count = 0;
    while let Some(Ok(line)) = lines.next() {
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let at = event["at_seconds"].as_f64().unwrap_or_else(|| panic!("{line}"));
        assert!(at >= last, "{line} after {last}");
        last = at;
        count += 1;
    }
    assert!(count > 10, "{count} lines");
}
