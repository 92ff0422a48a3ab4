//! The lab itself, with the kernel as the only router. Needs root.

use std::{net::UdpSocket, path::Path, time::Duration};

use route_cache_lab::{
    Checksums, Frame, Ipv4View, Lab, Namespace, RawSocket, Snmp,
    counters::InterfaceCount,
    namespace::{existing, reap_stale},
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_namespace_goes_with_its_owner() {
    let namespace = Namespace::create("owner").unwrap();
    let (name, path) = (namespace.name().to_owned(), namespace.path());
    assert!(existing().unwrap().iter().any(|(existing, _)| *existing == name));
    drop(namespace);
    assert!(!path.exists());
}

#[test]
fn a_namespace_goes_with_a_panic() {
    let panicked = std::thread::spawn(|| {
        let namespace = Namespace::create("panic").unwrap();
        std::panic::panic_any(namespace.path());
    });
    let path = panicked.join().unwrap_err().downcast::<std::path::PathBuf>().unwrap();
    assert!(!path.exists());
}

/// A second instance of this test binary is killed while it holds a lab.
#[test]
fn namespaces_go_with_a_killed_process() {
    const HOLD: &str = "ROUTE_CACHE_LAB_HOLD";
    if std::env::var_os(HOLD).is_some() {
        let _lab = Lab::new("held").unwrap();
        loop {
            std::thread::park();
        }
    }
    let own = std::env::current_exe().unwrap().display().to_string();
    let setting = format!("{HOLD}=1");
    let name = "namespaces_go_with_a_killed_process";
    // `env` executes the binary in its own place, so that the pid is that of the holder.
    let argv = ["env", &setting, &own, "--exact", name, "--nocapture"];
    let holder = route_cache_lab::Running::start(&argv, None).unwrap();
    let pid = holder.pid();
    let held = || existing().unwrap().iter().filter(|(_, creator)| *creator == pid).count();
    wait_until("the three namespaces of the holder", PATIENCE, || held() == 3).unwrap();
    drop(holder);
    wait_until("the namespaces of the killed holder to go", PATIENCE, || held() == 0).unwrap();
}

#[test]
fn a_stale_namespace_is_reaped() {
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let name = format!("rc-{}-1-stale", gone.id());
    let ours = Namespace::create("alive").unwrap();
    ours.exec(&["ip", "netns", "add", &name]).unwrap();
    // Another test may reap it first.
    reap_stale().unwrap();
    assert!(!Path::new("/run/netns").join(&name).exists());
    assert!(ours.path().exists());
}

#[test]
fn a_failing_command_says_what_and_where() {
    let namespace = Namespace::create("failing").unwrap();
    let error = namespace.exec(&["ip", "link", "set", "nothing", "up"]).unwrap_err().to_string();
    assert!(error.contains("ip link set nothing up"), "{error}");
    assert!(error.contains(namespace.name()) && error.contains("Cannot find device"), "{error}");
}

#[test]
fn a_process_ends_with_its_guard() {
    let namespace = Namespace::create("process").unwrap();
    let running = namespace.spawn(&["sh", "-c", "echo ready; exec sleep 600"]).unwrap();
    wait_until("its output", PATIENCE, || running.stdout() == "ready\n").unwrap();
    let process = Path::new("/proc").join(running.pid().to_string());
    assert!(process.exists());
    drop(running);
    assert!(!process.exists());
}

#[test]
fn packets_pass_the_router() {
    let lab = Lab::new("ping").unwrap();
    let before = Snmp::read(&lab.router).unwrap();
    lab.resolve_neighbours().unwrap();
    assert_eq!(Snmp::read(&lab.router).unwrap().forwarded() - before.forwarded(), 2);
}

#[test]
fn a_sent_frame_is_captured_behind_the_router() {
    let lab = Lab::new("frame").unwrap();
    lab.resolve_neighbours().unwrap();
    let sender = RawSocket::open(&lab.client.namespace, "eth0").unwrap();
    let receiver = RawSocket::open(&lab.server.namespace, "eth0").unwrap();
    let frame = Frame::udp((lab.client.address, 4000), (lab.server.address, 4001), b"payload");
    sender.send(&frame.sent_by(&lab.client).build()).unwrap();

    let is_ours =
        |frame: &[u8]| Ipv4View::of(frame).is_some_and(|v| v.ports() == Some((4000, 4001)));
    let captured = receiver.capture(is_ours, 1, PATIENCE).unwrap();
    let view = Ipv4View::of(&captured[0]).unwrap();
    assert_eq!((view.ttl(), view.transport().len()), (63, 15));
    assert_eq!(
        (view.source_mac(), view.destination_mac()),
        (lab.server.gateway_mac, lab.server.mac)
    );
    assert!(view.header_checksum_holds() && view.transport_checksum_holds());
    assert_eq!(InterfaceCount::read(&lab.router, "right").unwrap().tx_dropped, 0);
}

#[test]
fn a_vlan_tag_is_captured_with_its_frame() {
    let lab = Lab::new("vlan").unwrap();
    let sender = RawSocket::open(&lab.client.namespace, "eth0").unwrap();
    let receiver = RawSocket::open(&lab.router, "left").unwrap();
    let frame = Frame::ping(lab.client.address, lab.server.address, 1, b"tagged")
        .sent_by(&lab.client)
        .vlan(0x2007)
        .build();
    sender.send(&frame).unwrap();
    let captured = receiver.capture(|bytes| bytes == frame, 1, PATIENCE).unwrap();
    assert_eq!(captured, [frame]);
}

#[test]
fn hosts_send_checksums_as_asked() {
    for (checksums, partial) in [(Checksums::Complete, false), (Checksums::Partial, true)] {
        let lab = Lab::with_checksums("checksums", checksums).unwrap();
        let receiver = RawSocket::open(&lab.router, "left").unwrap();
        let address = (lab.client.address, 0);
        let socket = lab.client.namespace.run_in(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.send_to(b"payload", (lab.server.address, 4002)).unwrap();
        let to_port = |frame: &[u8]| {
            Ipv4View::of(frame).is_some_and(|v| v.ports().is_some_and(|(_, to)| to == 4002))
        };
        let captured = receiver.capture(to_port, 1, PATIENCE).unwrap();
        let view = Ipv4View::of(&captured[0]).unwrap();
        assert_eq!(view.transport_checksum_is_partial(), partial, "{checksums:?}");
        assert_eq!(view.transport_checksum_holds(), !partial, "{checksums:?}");
    }
}

#[test]
fn a_second_server_is_reached() {
    let lab = Lab::new("second").unwrap();
    let server2 = lab.add_host("server2", "right2", "10.0.3.0/24").unwrap();
    lab.client.namespace.exec(&["ping", "-c", "1", "-W", "5", "10.0.3.2"]).unwrap();
    assert_eq!((server2.mac, server2.gateway_mac), ([2, 0, 0, 0, 3, 2], [2, 0, 0, 0, 3, 1]));
}
