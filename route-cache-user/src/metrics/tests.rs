//! Scrapes over real TCP connections, on loopback.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{Limits, bind, families, serve};
use crate::control::fake::Fake;

struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(source: Fake, limits: Limits) -> Server {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let shutdown = async { stopped.await.unwrap_or_default() };
            runtime.unwrap().block_on(serve(listener, Arc::new(source), limits, shutdown)).unwrap();
        };
        Server { address, stop: Some(stop), thread: Some(thread::spawn(work)) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Status line with headers, and body.
    fn request(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn brief() -> Limits {
    let header = Duration::from_millis(300);
    Limits { header, connection: Duration::from_secs(1), ..Limits::default() }
}

#[test]
fn a_scrape_shows_every_family_with_its_values() {
    let server = Server::start(Fake::default(), Limits::default());
    let (head, body) = server.request("GET", "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "route_cache_packets_total{outcome=\"forwarded_clone\"} 1234567",
        "route_cache_packets_total{outcome=\"pass_ttl\"} 0",
        "route_cache_bytes_total{outcome=\"forwarded_route\"} 392",
        "route_cache_clones{family=\"ipv4\",cpu=\"1\"} 1",
        "route_cache_clone_capacity{family=\"ipv4\",cpu=\"0\"} 65536",
        "route_cache_clones_created_total{family=\"ipv4\",cpu=\"0\"} 4",
        "route_cache_clones_expired_total{family=\"ipv4\",reason=\"timeout\"} 4",
        "route_cache_clone_refusals_total{family=\"ipv4\",reason=\"full\"} 0",
        "route_cache_routes{family=\"ipv4\"} 3",
        "route_cache_next_hops{state=\"incomplete\"} 1",
        "route_cache_redirect_errors_total{interface=\"eth1\",cause=\"ENXIO\"} 17",
        "route_cache_netlink_overruns_total 0",
        "route_cache_audits_total 12",
        "route_cache_audit_mismatches_total 1",
        "route_cache_resyncs_total{cause=\"start\"} 1",
        "route_cache_interface_attached{interface=\"eth0\",mode=\"native\"} 1",
        "route_cache_interface_accelerating{family=\"ipv4\",interface=\"eth1\"} 1",
        "route_cache_accelerating{family=\"ipv4\"} 1",
        "route_cache_accelerating{family=\"ipv6\"} 0",
        "route_cache_stands_aside{family=\"ipv6\",interface=\"\",reason=\"forwarding\"} 1",
        "route_cache_map_memory_bytes{map=\"routes4\"} 457280",
        "process_resident_memory_bytes 20971520",
        "route_cache_build_info{version=\"0.1.0\"} 1",
        "route_cache_uptime_seconds 7384.5",
        "route_cache_scrape_errors_total 0",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} is not in\n{body}");
    }
    for family in families::ALL {
        assert!(body.contains(&format!("# HELP {} ", family.name)), "{} is missing", family.name);
    }
}

#[test]
fn promtool_has_nothing_to_say_about_a_scrape() {
    let server = Server::start(Fake::default(), Limits::default());
    let (_, body) = server.request("GET", "/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install -y --no-install-recommends prometheus");
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert_eq!(String::from_utf8_lossy(&said), "");
}

/// `promtool test rules` on an hour of one reason.
fn is_alerted(reason: &str) -> bool {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/alerts.yml");
    let series = format!(
        r#"route_cache_stands_aside{{family="ipv4",interface="eth0",instance="r",reason="{reason}"}}"#
    );
    let test = format!(
        "rule_files: ['{rules}']\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  \
         - series: '{series}'\n    values: '1x60'\n  promql_expr_test:\n  \
         - expr: count(ALERTS{{alertname=\"RouteCacheStandsAside\",alertstate=\"firing\"}})\n    eval_time: 30m\n    \
         exp_samples: [{{labels: '{{}}', value: 1}}]\n"
    );
    let name = format!("route-cache-{}-{reason}.yml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, test).unwrap();
    let tested = Command::new("promtool").args(["test", "rules"]).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    tested.status.success()
}

#[test]
fn a_router_is_alerted_to_what_can_be_removed_and_not_to_what_it_has_for_ever() {
    for reason in ["netfilter", "xfrm", "unknown", "redirects_fail", "hidden_tags"] {
        assert!(is_alerted(reason), "{reason}");
    }
    for reason in [
        "not_attached",
        "not_asked_for",
        "forwarding",
        "carrier",
        "ipv6_disabled",
        "qdisc",
        "no_redirects",
    ] {
        assert!(!is_alerted(reason), "{reason}");
    }
}

#[test]
fn the_alerts_are_rules_over_metrics_that_there_are() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/alerts.yml");
    let checked = Command::new("promtool").args(["check", "rules", file]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let text = std::fs::read_to_string(file).unwrap();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_of_name(c));
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("route_cache_")).collect();
    assert!(named.contains(families::STANDS_ASIDE.name), "{named:?}");
    for name in named {
        assert!(families::ALL.iter().any(|family| family.name == name), "{name}");
    }
}

#[test]
fn each_metric_is_listed_once_and_counters_end_in_total() {
    let names: BTreeSet<_> = families::ALL.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), families::ALL.len());
    for family in families::ALL {
        let counts = family.kind == prometheus::proto::MetricType::COUNTER;
        assert_eq!(family.name.ends_with("_total"), counts, "{}", family.name);
    }
}

#[test]
fn a_status_that_cannot_be_read_is_500_with_the_reason_and_is_counted() {
    let server = Server::start(Fake { broken: true, ..Fake::default() }, Limits::default());
    let (head, body) = server.request("GET", "/metrics");
    assert!(head.starts_with("http/1.1 500"), "{head}");
    assert_eq!(body, "cannot read the map CLONES: Bad file descriptor\n");
}

#[test]
fn other_paths_are_404_other_methods_405_and_the_root_links_to_the_metrics() {
    let server = Server::start(Fake::default(), Limits::default());
    let (head, body) = server.request("GET", "/");
    assert!(head.starts_with("http/1.1 200") && head.contains("text/html"), "{head}");
    assert!(body.contains("href=\"/metrics\""), "{body}");
    assert!(server.request("GET", "/etc/passwd").0.starts_with("http/1.1 404"));
    let (head, _) = server.request("POST", "/metrics");
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: get, head"), "{head}");
    let (head, body) = server.request("HEAD", "/metrics");
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
}

#[test]
fn garbage_and_endless_headers_are_refused_and_the_next_scrape_works() {
    let server = Server::start(Fake::default(), Limits::default());
    for garbage in [b"\x16\x03\x01\x02\0\x01\0".to_vec(), b"GET / HTTP/1.1\r\nX: ".repeat(100_000)]
    {
        let mut stream = server.connect();
        let _ = stream.write_all(&garbage);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(server.request("GET", "/metrics").0.starts_with("http/1.1 200"));
}

#[test]
fn clients_that_hang_lose_their_places() {
    let server = Server::start(Fake::default(), Limits { connections: 8, ..brief() });
    let began = Instant::now();
    let mut hanging: Vec<_> = (0..8).map(|_| server.connect()).collect();
    hanging[0].write_all(b"GET /metrics HTTP/1.1\r\nHo").unwrap();
    assert!(server.request("GET", "/metrics").0.starts_with("http/1.1 200"));
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_hundred_scrapes_at_once_all_work() {
    let server = Server::start(Fake::default(), Limits::default());
    thread::scope(|scope| {
        let scrape = || server.request("GET", "/metrics").0.starts_with("http/1.1 200");
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(scrape)).collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap()));
    });
}

#[test]
fn a_busy_port_is_named_with_what_to_do() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = format!("{:#}", bind(address).unwrap_err());
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(error.contains("another program has the port"), "{error}");
    assert!(error.contains("--listen-address"), "{error}");
    let error = format!("{:#}", bind("192.0.2.1:9477".parse().unwrap()).unwrap_err());
    assert!(error.contains("no interface has the address"), "{error}");
}
