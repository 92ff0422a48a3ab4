//! `set`, `flush`, `drain`, `purge` and `monitor` against a server on a Unix socket.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags};

use super::{
    ClientCommand,
    client::ask_and_print,
    monitor::follow_until,
    tests::{client, printed, usage_error, words},
};
use crate::{
    control::{
        Limits,
        fake::{Fake, Live, Place},
        tests::Server,
    },
    events::{Direction, Event},
};

fn shown(line: &str) -> String {
    let shown = printed(line, Fake::default(), false).unwrap();
    println!("$ route-cache {line}\n{shown}");
    shown
}

#[test]
fn each_order_prints_what_was_done() {
    for (line, done) in [
        ("set rtexpire 5m", "set rtexpire to 5m"),
        ("set sweep-interval 90", "set sweep_interval to 90s"),
        ("set rtmaxcache auto", "set rtmaxcache to auto"),
        ("flush", "flush all clones"),
        ("flush 192.0.2.1", "flush the clones to 192.0.2.1/32"),
        ("flush 10.1.0.0/8 --dev eth0", "flush the clones to 10.0.0.0/8 through eth0"),
        ("flush --family ipv4", "flush the clones of ipv4"),
        ("drain", "drain all CPUs"),
        ("purge --dev eth1", "purge eth1"),
        ("purge --force --dev eth1", "purge eth1 by force"),
    ] {
        assert_eq!(shown(line), format!("{done}: done?\n"));
    }
}

#[test]
fn bad_values_are_errors_that_name_what_would_be_right() {
    for (line, wrong) in [
        ("set rtexpire banana", "rtexpire cannot be 'banana': expected whole seconds"),
        ("set rtexpire -5", "must not be negative"),
        ("set rtexpire -5s", "must not be negative"),
        ("set rtexpire 99999999999999999999h", "more than 4294967295 seconds"),
        ("set rtmaxcache 99999999999", "rtmaxcache cannot be '99999999999'"),
        ("set rtexpires 5m", "no setting is called 'rtexpires': did you mean rtexpire?"),
        ("set max-routes 5", "cannot change without a restart; what can: exempt_interfaces"),
        ("flush 10.0.0.0/8 --family ipv6", "10.0.0.0/8 is ipv4 and not ipv6"),
        ("purge --dev sixteen-letters-", "cannot be the name of an interface"),
    ] {
        let error = format!("{:#}", printed(line, Fake::default(), false).unwrap_err());
        println!("$ route-cache {line}\nerror: {error}");
        assert!(error.contains(wrong), "{line}: {error}");
    }
}

#[test]
fn wrong_words_are_usage_errors() {
    for line in [
        "set",
        "set rtexpire",
        "set rtexpire 5m 6m",
        "flush banana",
        "flush 10.0.0.0/33",
        "flush --family ipx",
        "drain now",
        "purge",
        "purge eth0",
        "monitor now",
        "--rtexpire 5m drain",
    ] {
        usage_error(line);
    }
}

#[test]
fn the_socket_may_be_named_after_the_value() {
    let (command, socket) = client("set rtexpire 5m --control-socket /tmp/s");
    assert_eq!(command, ClientCommand::Set { name: "rtexpire".into(), value: "5m".into() });
    assert_eq!(socket.to_str(), Some("/tmp/s"));
    assert_eq!(client("monitor -f --json").0, ClientCommand::Monitor { json: true, follow: true });
}

#[test]
fn the_help_of_set_lists_what_can_be_set_and_nothing_else() {
    for line in ["set --help", "set -h"] {
        let help = words(line).unwrap_err();
        assert_eq!(help.exit_code(), 0);
        let help = help.to_string();
        let (_, settings) = help.split_once("What can be set").unwrap();
        for name in ["rtexpire", "rtminexpire", "rtmaxcache", "sweep_interval", "clone_on"] {
            assert!(settings.contains(&format!("\n  {name} ")), "{name}: {help}");
        }
        assert!(!settings.contains("max_routes"), "{help}");
        assert!(settings.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn without_follow_monitor_prints_what_is_there() {
    let text = shown("monitor");
    let lines: Vec<_> = text.lines().map(|line| line.split_once("s ").unwrap().1).collect();
    assert_eq!(lines, ["resync (start)", "link tun?[2J up"]);
    let json = printed("monitor --json", Fake::default(), true).unwrap();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "resync");
    assert_eq!(lines[1]["dev"], "tun\x1b[2J");
    assert!(lines[0]["at_seconds"].is_number());
}

#[test]
fn every_event_is_a_line_for_people() {
    let live = Live::new();
    let text = |s: &'static str| s.to_owned();
    let dst = "10.0.2.2".parse().unwrap();
    for event in [
        Event::CloneExpired { dst, cpu: 0, reason: "timeout".into(), idle_seconds: 2.0 },
        Event::ClonesCreated { cpu: 1, count: 1 },
        Event::ClonesExpired { cpu: 1, reason: "drain".into(), count: 4711 },
        Event::Timeout {
            from_seconds: 1600.0,
            to_seconds: 1066.6666,
            direction: Direction::Shrunk,
        },
        Event::Drain { cpus: vec![0, 1] },
        Event::Purge { dev: text("eth0") },
        Event::Flush { what: text("all clones") },
        Event::AuditMismatch {
            dst,
            cpu: 1,
            clone: text("via 10.0.2.2 dev eth1"),
            kernel: text("No route to host"),
        },
        Event::Pressure { level: "sweep".into() },
        Event::Setting {
            name: "rtexpire".into(),
            from: text("1h"),
            to: text("5m"),
            origin: text("control socket"),
        },
        Event::Skipped { count: 12 },
    ] {
        live.0.push(event);
    }
    let server = Server::start(live, Limits::default());
    let mut out = Vec::new();
    ask_and_print(client("monitor").0, server.path(), false, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    println!("{out}");
    let lines: Vec<_> = out.lines().map(|line| line.split_once("s ").unwrap().1).collect();
    assert_eq!(
        lines,
        [
            "clone 10.0.2.2 of CPU 0 expired (timeout), idle 2s",
            "1 clone created on CPU 1",
            "4711 more clones of CPU 1 expired (drain)",
            "timeout shrunk from 1600s to 1066.667s",
            "drain of CPU 0, 1",
            "purge of eth0",
            "flush of all clones",
            "clone 10.0.2.2 of CPU 1 said via 10.0.2.2 dev eth1, the kernel says No route to host: removed",
            "memory pressure: sweep",
            "rtexpire set from 1h to 5m (control socket)",
            "12 events are missing here: read too slowly",
        ]
    );
}

/// Hands over each write.
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows on a thread; hands out what is printed, what ends it, and how it ended.
fn following(
    server: &Server,
) -> (mpsc::Receiver<String>, io::PipeWriter, thread::JoinHandle<anyhow::Result<()>>) {
    let (lines, printed) = mpsc::channel();
    let (ends, end) = io::pipe().unwrap();
    let socket = server.path().to_owned();
    let followed = thread::spawn(move || {
        let ends = [PollFd::new(ends.as_fd(), PollFlags::POLLIN)];
        follow_until(&socket, &ends, true, &mut io::LineWriter::new(Lines(lines)))
    });
    (printed, end, followed)
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn follow_ends_well_when_told_to_and_when_nobody_reads() {
    let live = Live::new();
    let server = Server::start(live.clone(), Limits::default());
    let (printed, end, followed) = following(&server);
    for cause in ["start", "overrun"] {
        live.0.push(Event::Resync { cause: cause.into() });
        assert!(printed.recv_timeout(SOON).unwrap().contains(cause));
    }
    drop(end);
    followed.join().unwrap().unwrap();

    let (printed, _end, followed) = following(&server);
    printed.recv_timeout(SOON).unwrap();
    drop(printed);
    live.0.push(Event::Resync { cause: "link".into() });
    followed.join().unwrap().unwrap();
}

#[test]
fn follow_fails_when_the_agent_goes_away_or_refuses() {
    let live = Live::new();
    live.0.push(Event::Resync { cause: "start".into() });
    let server = Server::start(live, Limits { followers: 1, ..Limits::default() });
    let (printed, _end, followed) = following(&server);
    printed.recv_timeout(SOON).unwrap();
    let (_, _end, refused) = following(&server);
    let error = refused.join().unwrap().unwrap_err().to_string();
    assert_eq!(error, "busy: 1 clients follow already, try again later");
    drop(server);
    let error = followed.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("ended the stream"), "{error}");
    let place = Place::new();
    let command = client("monitor --follow").0;
    let error =
        ask_and_print(command, &place.socket(), false, &mut io::sink()).unwrap_err().to_string();
    assert!(error.contains("no agent listens on"), "{error}");
}
