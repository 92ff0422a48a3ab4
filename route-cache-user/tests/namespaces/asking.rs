//! What the agent tells, however it is asked, and with many routes to tell of.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use route_cache_lab::{process::run, wait_until};

use crate::{
    router::{Flow, PATIENCE, Router},
    stream::Exit,
};

#[test]
fn s17_of_ipv6_it_is_said_that_it_is_left_to_the_kernel_while_it_is_not_forwarded() {
    let router = Router::start("family");
    let told = router.get("2001:db8::1");
    assert_eq!(told["outcome"], "pass_disabled", "{told}");
    assert!(told["reason"].to_string().contains("IPv6 forwarding is off"), "{told}");
    assert_eq!(router.agent.status().unwrap()["ipv6"]["accelerating"], false);
}

#[test]
fn get_says_what_happens_and_why() {
    let router = Router::start("get");
    for command in [
        "route add blackhole 10.20.0.0/16",
        "route add unreachable 10.21.0.0/16",
        "route add 10.22.0.0/16 via 10.0.2.99",
        "route add 10.23.0.0/16 nexthop via 10.0.2.2 nexthop via 10.0.3.2",
        "address add 10.24.0.1/32 dev right2",
    ] {
        router.ip(command);
    }
    let cases = [
        ("10.9.0.1", "forwarded_route", "10.9.0.0/16"),
        ("10.0.2.1", "pass_local", "right"),
        ("10.24.0.1", "pass_local", "right2"),
        ("10.0.2.255", "pass_broadcast", "broadcast"),
        ("255.255.255.255", "pass_broadcast", "limited broadcast"),
        ("224.0.0.9", "pass_multicast", "multicast"),
        ("127.0.0.1", "pass_martian_destination", "127/8"),
        ("10.20.0.1", "pass_route", "blackhole"),
        ("10.21.0.1", "pass_route", "unreachable"),
        ("10.22.0.1", "pass_neighbour", "10.0.2.99"),
        ("10.0.2.77", "pass_neighbour", "10.0.2.77"),
        ("10.23.0.1", "forwarded_route", "each flow has one of"),
        ("192.0.2.1", "pass_no_route", "no route covers 192.0.2.1"),
    ];
    wait_until("the last change", PATIENCE, || router.get("10.24.0.1")["outcome"] == "pass_local")
        .unwrap();
    for (address, outcome, reason) in cases {
        let told = router.get(address);
        assert_eq!(told["outcome"], outcome, "{told}");
        assert!(told["reason"].as_str().unwrap().contains(reason), "{address}: {told}");
        // What is told is what happens.
        if !address.starts_with("10.22") && !address.starts_with("10.0.2.77") {
            let flow = Flow { destination: address.parse().unwrap(), ..router.flow() };
            match outcome {
                "forwarded_route" => router.await_forwarding(flow),
                other => router.await_pass(flow, other),
            }
        }
        let text = router.agent.cli(&["get", address]).unwrap();
        assert_eq!(text.code, 0, "{}", text.stderr);
        assert!(text.stdout.contains(reason), "{}", text.stdout);
    }
    let told = router.get("10.9.0.1");
    assert_eq!(told["outcome"], "forwarded_clone", "{told}");
    let refused = router.agent.cli(&["get", "no-address"]).unwrap();
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn f4_many_routes_come_and_go_and_the_mirror_agrees() {
    const ROUTES: usize = 20_000;
    let router = Router::forwarding("many");
    let mirrored = || router.agent.status().unwrap()["routes"]["ipv4"].as_u64().unwrap() as usize;
    let before = mirrored();
    let batch = |action: &str| {
        let mut text = String::new();
        for number in 0..ROUTES {
            let (a, b) = (number / 256, number % 256);
            writeln!(text, "route {action} 11.{a}.{b}.0/24 via 10.0.3.2").unwrap();
        }
        let file = std::env::temp_dir().join(format!("{}-{action}", router.router.name()));
        fs::write(&file, text).unwrap();
        let done = router.router.exec(&["ip", "-batch", file.to_str().unwrap()]);
        fs::remove_file(file).unwrap();
        done.unwrap();
    };
    let follow = |what: &str, wanted: usize| {
        let began = Instant::now();
        let reached = wait_until(what, PATIENCE, || mirrored() == wanted);
        reached.unwrap_or_else(|error| panic!("{error:#}: {} mirrored", mirrored()));
        eprintln!("latency: {what}: mirrored {:?} after the end of the batch", began.elapsed());
    };
    // The stream that they do not concern does not notice.
    router.during("20,000 routes added", || batch("add")).stays(Exit::Server);
    follow("20,000 routes added", before + ROUTES);
    let last = Flow { destination: "11.78.31.1".parse().unwrap(), ..router.flow() };
    router.await_forwarding(last);

    // Their egress goes down: the kernel takes them away and does not say so.
    router.ip("link set right2 down");
    follow("20,000 routes gone without a word", before - 2);
    router.await_pass(last, "pass_no_route");
    router.ip("link set right2 up");
    follow("right2 up again", before);
    batch("add");
    follow("20,000 routes added again", before + ROUTES);
    router.during("20,000 routes deleted", || batch("del")).stays(Exit::Server);
    follow("20,000 routes deleted", before);
    let resyncs = router.agent.status().unwrap()["resyncs"].clone();
    assert!(resyncs["link"].as_u64() >= Some(1), "{resyncs}");
}

/// More news than the receive buffer holds, while the agent cannot read them.
#[test]
fn f4_an_overrun_is_noticed_and_the_tables_are_read_anew() {
    let router = Router::forwarding("overrun");
    // News of an interface are the largest.
    let mut text = String::new();
    for number in 0..100_000 {
        writeln!(text, "link set right2 alias {number:0>200}").unwrap();
    }
    writeln!(text, "route change 10.9.0.0/16 via 10.0.3.2").unwrap();
    let file = std::env::temp_dir().join(format!("{}-overrun", router.router.name()));
    fs::write(&file, text).unwrap();
    let began = Instant::now();
    router.agent.signal(Signal::SIGSTOP).unwrap();
    let done = router.router.exec(&["ip", "-batch", file.to_str().unwrap()]);
    fs::remove_file(file).unwrap();
    done.unwrap();
    // Its promise has run out by then.
    thread::sleep(Duration::from_secs(6).saturating_sub(began.elapsed()));
    let account = router.during("SIGCONT, overrun", || {
        router.agent.signal(Signal::SIGCONT).unwrap();
    });
    account.stays(Exit::Other);
    let resumed = Instant::now();
    router.await_forwarding(router.flow());
    eprintln!("latency: overrun: forwarding again {:?} after the stream", resumed.elapsed());
    let status = router.agent.status().unwrap();
    assert!(status["netlink_overruns"].as_u64() >= Some(1), "{}", status["netlink_overruns"]);
    assert!(status["resyncs"]["overrun"].as_u64() >= Some(1), "{}", status["resyncs"]);
    assert_eq!(router.get("10.9.0.1")["route"]["via"], "10.0.3.2");
}

#[test]
fn metrics_agree_with_the_status_and_promtool_finds_nothing() {
    let router = Router::forwarding("metrics");
    let metrics = router.agent.metrics().unwrap();
    let status = router.agent.status().unwrap();
    let value = |name: &str| -> u64 {
        let line = metrics
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let text = line.unwrap_or_else(|| panic!("no {name} in {metrics}")).rsplit(' ').next();
        text.unwrap().parse::<f64>().unwrap() as u64
    };
    for (name, count) in status["outcomes"].as_object().unwrap() {
        // Frames of ARP may have come in between.
        if name == "pass_ethertype" {
            continue;
        }
        let packets = value(&format!("route_cache_packets_total{{outcome=\"{name}\"}}"));
        assert_eq!(Some(packets), count["packets"].as_u64(), "{name}");
        let bytes = value(&format!("route_cache_bytes_total{{outcome=\"{name}\"}}"));
        assert_eq!(Some(bytes), count["bytes"].as_u64(), "{name}");
    }
    for table in status["clones"].as_array().unwrap() {
        let family = table["family"].as_str().unwrap();
        let labels = format!("{{family=\"{family}\",cpu=\"{}\"}}", table["cpu"]);
        assert_eq!(Some(value(&format!("route_cache_clones{labels}"))), table["live"].as_u64());
        let created = value(&format!("route_cache_clones_created_total{labels}"));
        assert_eq!(Some(created), table["created"].as_u64());
    }
    assert_eq!(
        Some(value("route_cache_routes{family=\"ipv4\"}")),
        status["routes"]["ipv4"].as_u64()
    );
    for (state, count) in status["next_hops"].as_object().unwrap() {
        let count = count.as_u64();
        assert_eq!(Some(value(&format!("route_cache_next_hops{{state=\"{state}\"}}"))), count);
    }
    for (cause, count) in status["resyncs"].as_object().unwrap() {
        let count = count.as_u64();
        let name = format!("route_cache_resyncs_total{{cause=\"{cause}\"}}");
        assert_eq!(Some(value(&name)), count);
    }
    for interface in ["left", "right"] {
        let labels = format!("{{interface=\"{interface}\",mode=\"native\"}}");
        assert_eq!(value(&format!("route_cache_interface_attached{labels}")), 1);
    }
    assert_eq!(value("route_cache_netlink_overruns_total"), 0);
    assert!(metrics.contains("route_cache_build_info{version="), "{metrics}");

    let file = std::env::temp_dir().join(format!("{}-metrics", router.router.name()));
    fs::write(&file, &metrics).unwrap();
    let checked =
        run(&["sh", "-c", "promtool check metrics < \"$0\"", file.to_str().unwrap()], None);
    fs::remove_file(file).unwrap();
    let checked = checked.unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert_eq!((checked.code, said.trim()), (0, ""));
}

#[test]
fn f18_garbage_and_hanging_clients_change_nothing() {
    let router = Router::forwarding("garbage");
    let socket = router.agent.control_socket().to_owned();
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The agent may have answered and closed before it has read all.
        let _ = stream.write_all(bytes);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let deep = [vec![b'['; 60_000], b"\n".to_vec()].concat();
    let long = vec![b'x'; 1 << 20];
    let garbage: [&[u8]; 8] = [
        b"garbage\n",
        b"\n",
        b"\0\xff\xfe\n",
        b"{\"command\":\"no-such\"}\n",
        b"{\"command\":\"get\",\"address\":\"nowhere\"}\n",
        b"{\"command\":7}\n",
        &deep,
        &long,
    ];
    let account = router.during("garbage on the control socket", || {
        for bytes in garbage {
            let answer = ask(bytes);
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert!(answer.is_empty() || answer.contains("error"), "{start}: {answer}");
        }
        assert!(ask(b"garbage\n").contains("not a request"));
    });
    account.stays(Exit::Server);

    let hanging: Vec<_> = (0..100).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let address = router.agent.metrics_address();
    let scraping: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let account = router.during_flow(
        "200 hanging clients",
        router.flow(),
        // Longer than the promise.
        Duration::from_secs(6),
        || (),
    );
    account.stays(Exit::Server);
    // They are sent away after a while, and who comes then is answered.
    wait_until("an answer", PATIENCE, || router.agent.status().is_ok()).unwrap();
    wait_until("the metrics", PATIENCE, || router.agent.metrics().is_ok()).unwrap();
    drop((hanging, scraping));
    assert_eq!(router.agent.outcome("pass_expired").unwrap(), 0);
    router.await_forwarding(router.flow());
    assert!(!router.agent.log().contains("panicked"), "{}", router.agent.log());
}
