//! The command line, and each client command against a server on a Unix socket.

use std::{
    fs,
    io::{self, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::error::ErrorKind;

use super::{
    AgentOptions, ClientCommand, CloneOn, Invocation, XdpMode,
    client::ask_and_print,
    command_line::{Listing, Refusal, try_parse},
    duration::{human, parse},
};
use crate::{
    config::Environment,
    control::{
        Limits,
        fake::{Fake, Place},
        tests::Server,
    },
};

/// A machine where nothing is set.
pub(super) fn words(line: &str) -> Result<Invocation, clap::Error> {
    words_with(line, &[], Path::new("/nonexistent/config.toml")).map_err(|refusal| match refusal {
        Refusal::Usage(error) => error,
        Refusal::Settings(problems) => panic!("{line}: {problems}"),
    })
}

pub(super) fn words_with(
    line: &str,
    environment: &[(&str, &str)],
    standard_path: &Path,
) -> Result<Invocation, Refusal> {
    let environment: Environment = environment.iter().copied().collect();
    let words = std::iter::once("route-cache").chain(line.split_whitespace());
    try_parse(words, &environment, standard_path)
}

fn agent(line: &str) -> AgentOptions {
    match words(line) {
        Ok(Invocation::Agent(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

pub(super) fn client(line: &str) -> (ClientCommand, PathBuf) {
    match words(line) {
        Ok(Invocation::Client { command, control_socket }) => (command, control_socket),
        other => panic!("{line}: {other:?}"),
    }
}

pub(super) fn usage_error(line: &str) -> String {
    let error = words(line).map(|parsed| panic!("{line}: {parsed:?}")).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{line}: {error}");
    error.to_string()
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let options = agent("--interface eth0");
    assert_eq!(options.interfaces.len(), 1);
    assert_eq!(options.netns, None);
    assert_eq!(options.xdp_mode, XdpMode::Native);
    assert_eq!(options.listen_address.to_string(), "127.0.0.1:9477");
    assert_eq!(options.rtexpire, Duration::from_secs(3600));
    assert_eq!(options.sweep_interval, Duration::from_secs(600));
    assert_eq!(options.clones_per_cpu, 65_536);
    assert_eq!(options.max_routes, 2_097_152);
    assert_eq!(options.max_next_hops, 16_384);
    assert!(!options.bypass_netfilter);
    assert_eq!(options.trace_packets, None);
    assert_eq!(options.exempt_interfaces, []);
    assert_eq!(options.rtminexpire, Duration::from_secs(10));
    assert_eq!(options.rtmaxcache, 49_152);
    assert_eq!(options.clone_on, CloneOn::Auto);
    assert_eq!(options.audit_rate, 10);
    assert_eq!(options.control_socket, Path::new("/run/route-cache/control.sock"));
    let level = tracing::level_filters::LevelFilter::from(options.log_level);
    assert_eq!(level, tracing::level_filters::LevelFilter::INFO);
}

#[test]
fn every_option_of_the_agent_is_taken() {
    let options = agent(
        "--interface eth0 -i veth* --netns router --xdp-mode skb --listen-address [::1]:0 \
         --rtexpire 5m --sweep-interval 1s --clones-per-cpu 1 --max-routes 10 --max-next-hops 1048576 \
         --bypass-netfilter --trace-packets --log-level trace --control-socket /tmp/s \
         --exempt-interface vrrp* --rtminexpire 2m --rtmaxcache 1 --clone-on first-packet --audit-rate 0",
    );
    assert_eq!(options.exempt_interfaces[0].as_str(), "vrrp*");
    assert_eq!(options.rtminexpire, Duration::from_secs(120));
    assert_eq!(options.rtmaxcache, 1);
    assert_eq!(options.clone_on, CloneOn::FirstPacket);
    assert_eq!(options.audit_rate, 0);
    assert!(options.interfaces[1].matches("veth12") && !options.interfaces[1].matches("eth0"));
    assert_eq!(options.netns.as_deref(), Some("router"));
    assert_eq!(options.xdp_mode, XdpMode::Skb);
    assert_eq!(options.rtexpire, Duration::from_secs(300));
    assert_eq!(options.sweep_interval, Duration::from_secs(1));
    assert_eq!(options.max_next_hops, 1 << 20);
    assert!(options.bypass_netfilter);
    assert_eq!(options.trace_packets, Some(1000));
    assert_eq!(options.control_socket, Path::new("/tmp/s"));
    assert_eq!(agent("--interface e --trace-packets=1").trace_packets, Some(1));
}

#[test]
fn an_agent_without_interface_is_a_usage_error_with_a_hint() {
    for line in ["", "--netns router", "--control-socket /tmp/s"] {
        let error = usage_error(line);
        assert!(error.contains("--interface NAME-OR-GLOB"), "{error}");
        assert!(error.contains("status"), "{error}");
    }
}

#[test]
fn wrong_values_are_usage_errors_that_name_the_option() {
    for (option, value) in [
        ("--interface", "a/b"),
        ("--interface", "sixteen-letters-"),
        ("--interface", "eth["),
        ("--netns", ""),
        ("--xdp-mode", "offload"),
        ("--listen-address", "9477"),
        ("--listen-address", "localhost:9477"),
        ("--listen-address", "127.0.0.1:99999"),
        ("--rtexpire", "banana"),
        ("--rtexpire", "-1"),
        ("--rtexpire", "99999999999999999999h"),
        ("--sweep-interval", "0"),
        ("--clones-per-cpu", "0"),
        ("--clones-per-cpu", "16777217"),
        ("--clones-per-cpu", "-1"),
        ("--max-routes", "0"),
        ("--max-routes", "4294967296"),
        ("--max-next-hops", "1048577"),
        ("--trace-packets", "0"),
        ("--log-level", "loud"),
        ("--exempt-interface", "a/b"),
        ("--rtminexpire", "0"),
        ("--rtmaxcache", "0"),
        ("--rtmaxcache", "16777217"),
        ("--clone-on", "third-packet"),
        ("--bypass-netfilter", "maybe"),
    ] {
        let given = format!("{option}={value}");
        let error = words(&format!("--interface eth0 {given}")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(option), "{given}: {error}");
    }
}

#[test]
fn durations_are_whole_seconds_minutes_or_hours() {
    for (text, seconds) in [
        ("0", 0),
        ("0h", 0),
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h", 3600),
        ("007m", 420),
        ("4294967295", 4_294_967_295),
        ("1193046h", 4_294_965_600),
    ] {
        assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in [
        "",
        "s",
        "-1",
        "-1s",
        "+1",
        "1.5h",
        "1e3",
        "banana",
        "5 m",
        " 5m",
        "5M",
        "5d",
        "1h30m",
        "5ms",
        "0x10",
        "٣s",
        "é",
        "4294967296",
        "1193047h",
        "18446744073709551615h",
        "99999999999999999999999999",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert_eq!(parse("-1s").unwrap_err(), "must not be negative");
}

#[test]
fn durations_are_shown_in_their_two_largest_units() {
    for (seconds, text) in [
        (0.0, "0s"),
        (-5.0, "0s"),
        (f64::NAN, "0s"),
        (3.99, "3s"),
        (60.0, "1m0s"),
        (312.0, "5m12s"),
        (7384.5, "2h3m"),
        (370_000.0, "4d6h"),
    ] {
        assert_eq!(human(seconds), text);
    }
}

#[test]
fn client_commands_take_their_options_before_and_after() {
    for line in [
        "--control-socket /tmp/s show clones --json",
        "show --control-socket /tmp/s --json clones",
        "show clones --json --control-socket /tmp/s",
    ] {
        let (command, socket) = client(line);
        assert!(matches!(command, ClientCommand::Show { listing: Listing::Clones, .. }), "{line}");
        assert!(command.json(), "{line}");
        assert_eq!(socket, Path::new("/tmp/s"), "{line}");
    }
    for listing in ["clones", "routes", "nexthops", "interfaces"] {
        assert!(!client(&format!("show {listing}")).0.json());
    }
    assert!(client("get 2001:db8::1 --json").0.json());
    assert!(client("status --json").0.json());
}

#[test]
fn wrong_commands_are_usage_errors() {
    for line in [
        "banana",
        "show",
        "show bananas",
        "get",
        "get banana",
        "get 1.2.3",
        "get 192.0.2.1 from",
        "get 192.0.2.1 from 2001:db8::1",
        "get 192.0.2.1 iif no/name",
        "get 192.0.2.1 mark 1",
        "status now",
        "audit 192.0.2.1",
        "config",
        "config chekc",
    ] {
        usage_error(line);
    }
    let error = usage_error("--interface eth0 --rtexpire -5");
    assert!(error.contains("must not be negative"), "{error}");
    let error = usage_error("--interface eth0 status");
    assert!(error.contains("--interface is an option of the agent"), "{error}");
    let error = usage_error("--rtexpire 3600s show clones");
    assert!(error.contains("--rtexpire"), "{error}");
}

#[test]
fn help_shows_every_option_and_ends_with_examples() {
    for line in ["--help", "-h"] {
        let help = words(line).unwrap_err();
        assert_eq!(help.kind(), ErrorKind::DisplayHelp);
        assert_eq!(help.exit_code(), 0);
        let help = help.to_string();
        for option in
            ["--interface", "--bypass-netfilter", "--trace-packets", "--control-socket", "--config"]
        {
            assert!(help.contains(option), "{option}");
        }
        assert!(help.split_once("Examples:").unwrap().1.contains("route-cache get 192.0.2.1"));
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    assert_eq!(words("--version").unwrap_err().exit_code(), 0);
}

pub(super) fn printed(line: &str, source: Fake, pretty: bool) -> anyhow::Result<String> {
    let server = Server::start(source, Limits::default());
    let mut out = Vec::new();
    ask_and_print(client(line).0, server.path(), pretty, &mut out)?;
    Ok(String::from_utf8(out)?)
}

fn shown(line: &str) -> String {
    let shown = printed(line, Fake::default(), false).unwrap();
    println!("$ route-cache {line}\n{shown}");
    shown
}

#[test]
fn status_says_whether_it_works_and_counts_what_happened() {
    let status = shown("status");
    assert!(status.starts_with("route-cache 0.1.0, pid 4711, up 2h3m"), "{status}");
    assert!(status.contains("IPv4: accelerating\n"));
    assert!(status.contains("\n  forwarding: IPv6 forwarding is off"), "{status}");
    assert!(status.contains("not_attached: the driver has no XDP"), "{status}");
    assert!(status.contains("forwarded_clone  1234567  100.0%  120987566\n"));
    assert!(!status.contains("pass_ttl"), "outcomes that never happened are left out");
    assert!(status.contains("next hops         incomplete 1, usable 1\n"));
    assert!(status.contains("audits            12, disagreements 1\n"));
}

#[test]
fn tables_have_one_line_a_record_and_no_control_characters() {
    for (listing, records) in [("clones", 2), ("routes", 3), ("nexthops", 2), ("interfaces", 3)] {
        let table = shown(&format!("show {listing}"));
        assert_eq!(table.lines().count(), records + 1, "{table}");
        for line in table.lines() {
            assert!(!line.contains(char::is_control) && line.trim_end() == line, "{line:?}");
        }
    }
    let clones = shown("show clones");
    assert!(clones.lines().all(|line| line.len() <= 100), "{clones}");
    let clone = clones.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        clone,
        [
            "198.51.100.0",
            "0",
            "198.51.100.0/24",
            "192.0.2.254",
            "eth1",
            "617283",
            "60493734",
            "0s",
            "59m59s",
            "in-use"
        ]
    );
}

#[test]
fn get_reads_as_an_explanation() {
    let text = shown("get 198.51.100.0");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..7],
        [
            "destination  198.51.100.0",
            "",
            "STEP       RESULT     WHY",
            "interface  not_asked  give `iif NAME`",
            "route      ok         198.51.100.0/24 of table main",
            "",
            "verdict      forwarded by XDP (forwarded_clone)",
        ]
    );
    assert_eq!(
        lines[8],
        "route        198.51.100.0/24 via 192.0.2.254 dev eth1 table main metric 0"
    );
    assert!(lines[10].starts_with("clones       cpu 0: 617283 packets"));
    assert!(lines[11].starts_with("             cpu 1: "));
    let text = shown("get 203.0.113.1 from 192.0.2.9 iif eth0");
    assert!(
        text.starts_with("destination  203.0.113.1\nsource       192.0.2.9\ninterface    eth0\n"),
        "{text}"
    );
    assert!(text.contains("verdict      left to the kernel (pass_no_route)\n"), "{text}");
    assert!(text.contains("clones       none\n"), "{text}");
    assert!(text.contains("kernel       RTNETLINK answers: Network is unreachable?\n"), "{text}");
    assert!(text.ends_with("compared     kernel_decides: the kernel decides\n"), "{text}");
}

#[test]
fn an_audit_that_finds_something_shows_it_and_is_1() {
    let audited = |clones| {
        let source = Fake { clones, ..Fake::default() };
        let server = Server::start(source, Limits::default());
        let mut out = Vec::new();
        let code = ask_and_print(client("audit").0, server.path(), false, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), code)
    };
    let (text, code) = audited(None);
    assert_eq!(code, ExitCode::FAILURE);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "DESTINATION   CPU  DIFFERENCE  CLONE                     KERNEL",
            "198.51.100.0    1  next_hop    via 192.0.2.254 dev eth1  via 192.0.2.253 dev eth1",
            "2 clones checked, 1 difference",
        ]
    );
    let (text, code) = audited(Some(0));
    assert_eq!((&*text, code), ("0 clones checked, 0 differences\n", ExitCode::SUCCESS));
}

#[test]
fn json_is_one_line_for_programs_and_indented_for_people() {
    for (line, array) in [
        ("status --json", false),
        ("show clones --json", true),
        ("show routes --json", true),
        ("show nexthops --json", true),
        ("show interfaces --json", true),
        ("get 198.51.100.0 --json", false),
        ("audit --json", false),
    ] {
        let text = printed(line, Fake::default(), false).unwrap();
        assert_eq!(text.lines().count(), 1, "{line}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.is_array(), array, "{line}");
        let pretty = printed(line, Fake::default(), true).unwrap();
        assert!(pretty.lines().count() > 1, "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty).unwrap(), value, "{line}");
    }
    let clones = printed("show clones --json", Fake::default(), false).unwrap();
    let clones: serde_json::Value = serde_json::from_str(&clones).unwrap();
    let mut names: Vec<_> = clones[0].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "bytes",
            "cpu",
            "dev",
            "dst",
            "expires_in_seconds",
            "family",
            "idle_seconds",
            "mtu",
            "packets",
            "prefix",
            "state",
            "via"
        ]
    );
}

#[test]
fn an_error_of_the_agent_is_the_client_s_error() {
    let broken = Fake { broken: true, ..Fake::default() };
    for line in ["status", "show clones", "show routes --json", "get 192.0.2.1", "audit"] {
        let error = printed(line, broken, false).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot read the map CLONES: Bad file descriptor",
            "{line}"
        );
    }
}

fn failure(socket: &Path) -> String {
    let error = ask_and_print(client("status").0, socket, false, &mut io::sink()).unwrap_err();
    println!("error: {error:#}");
    format!("{error:#}")
}

#[test]
fn without_an_agent_the_error_names_the_path_and_what_to_check() {
    let place = Place::new();
    let path = place.socket();
    let expected = format!("no agent listens on {}: is route-cache running?", path.display());
    assert!(failure(&path).contains(&expected));
    drop(UnixListener::bind(&path).unwrap());
    assert!(failure(&path).contains(&expected));
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(failure(&file).contains("is not a socket"));
    assert!(failure(&place.path().join("x".repeat(200))).contains("cannot connect to"));
}

#[test]
fn a_server_that_is_no_agent_is_an_error() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    for (answer, expected) in [
        ("", "closed the connection before it had answered"),
        ("{\"ok\":", "closed the connection before it had answered"),
        ("hello\n", "not as an agent of this version does"),
        ("{\"ok\":{\"version\":1}}\n", "not as an agent of this version does"),
    ] {
        let listener = listener.try_clone().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(&stream), &mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = failure(&place.socket());
        assert!(error.contains(expected), "{error}");
        server.join().unwrap();
    }
}

/// Fails as stdout does.
struct Fails(io::ErrorKind);

impl Write for Fails {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_stops_early_is_no_error_but_a_full_disk_is() {
    let server = Server::start(Fake::default(), Limits::default());
    for line in ["status", "status --json", "show clones", "get 192.0.2.1", "audit"] {
        let command = client(line).0;
        let mut out = Fails(io::ErrorKind::BrokenPipe);
        ask_and_print(command.clone(), server.path(), false, &mut out).unwrap();
        let mut out = Fails(io::ErrorKind::StorageFull);
        let error = ask_and_print(command, server.path(), false, &mut out).unwrap_err();
        assert!(format!("{error:#}").contains("cannot write the answer to stdout"), "{error:#}");
    }
}
