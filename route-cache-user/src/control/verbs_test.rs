//! Orders over real Unix sockets.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    thread,
};

use super::{
    Limits,
    action::Action,
    fake::{Fake, Live},
    tests::{Server, brief, error_of, read_answer},
};
use crate::{config::parse_setting, events::Event};

#[test]
fn each_order_is_done_and_answered_with_a_sentence() {
    let server = Server::start(Fake::default(), Limits::default());
    for (order, done) in [
        (r#"{"command":"set","name":"rtexpire","value":"300"}"#, "set rtexpire to 5m"),
        (r#"{"command":"set","name":"sweep-interval","value":"90s"}"#, "set sweep_interval to 90s"),
        (r#"{"command":"flush"}"#, "flush all clones"),
        (r#"{"command":"flush","prefix":"10.1.2.3/8"}"#, "flush the clones to 10.0.0.0/8"),
        (
            r#"{"command":"flush","prefix":"10.0.0.0/8","dev":"eth1","family":"ipv4"}"#,
            "flush the clones to 10.0.0.0/8 through eth1",
        ),
        (r#"{"command":"flush","family":"ipv6"}"#, "flush the clones of ipv6"),
        (r#"{"command":"drain"}"#, "drain all CPUs"),
        (r#"{"command":"purge","dev":"eth1"}"#, "purge eth1"),
        (r#"{"command":"purge","dev":"eth1","force":true}"#, "purge eth1 by force"),
    ] {
        let answer = server.ask(format!("{order}\n").as_bytes());
        assert_eq!(answer["ok"]["message"], format!("{done}: done\x1b"), "{order}: {answer}");
    }
}

#[test]
fn what_cannot_be_done_is_told_and_nothing_reaches_the_agent() {
    let live = Live::new();
    let server = Server::start(live.clone(), Limits::default());
    for (order, wrong) in [
        (r#""set","name":"rtexpire","value":"banana""#, "rtexpire cannot be 'banana': expected"),
        (r#""set","name":"rtexpire","value":"-5""#, "must not be negative"),
        (r#""set","name":"rtexpire","value":"99999999999999999999h""#, "more than"),
        (r#""set","name":"rtexpire","value":"""#, "rtexpire cannot be ''"),
        (r#""set","name":"rtmaxcache","value":"4294967296""#, "rtmaxcache cannot be"),
        (r#""set","name":"rtexpires","value":"5""#, "did you mean rtexpire?"),
        (r#""set","name":"max_routes","value":"5""#, "cannot change without a restart"),
        (r#""set","name":"rtexpire""#, "missing field `value`"),
        (r#""set","name":"rtexpire","value":5"#, "expected a string"),
        (r#""set","name":"rtexpire","value":"5","now":1"#, "unknown field `now`"),
        (r#""flush","prefix":"10.0.0.0/33""#, "not a request"),
        (r#""flush","prefix":"banana""#, "not a request"),
        (r#""flush","family":"ipx""#, "no family is called 'ipx': there are ipv4 and ipv6"),
        (r#""flush","prefix":"10.0.0.0/8","family":"ipv6""#, "10.0.0.0/8 is ipv4 and not ipv6"),
        (r#""flush","dev":"a/b""#, "'a/b' cannot be the name of an interface"),
        (r#""flush","dve":"eth0""#, "unknown field `dve`"),
        (r#""purge""#, "missing field `dev`"),
        (r#""purge","dev":"""#, "cannot be the name of an interface"),
        (r#""purge","dev":"sixteen-letters-""#, "cannot be the name of an interface"),
        (r#""purge","dev":"a\u001b\n""#, r"'a\u{1b}\n' cannot be the name"),
        (r#""purge","dev":"eth0","force":"yes""#, "expected a boolean"),
        (r#""drain","cpu":1"#, "unknown field `cpu`"),
    ] {
        let answer = server.ask(format!("{{\"command\":{order}}}\n").as_bytes());
        let error = error_of(&answer);
        assert!(error.contains(wrong), "{order}: {error:?} does not say {wrong:?}");
    }
    assert_eq!(live.0.read().take(10), []);
}

#[test]
fn an_order_the_agent_fails_at_is_told() {
    let server = Server::start(Fake { broken: true, ..Fake::default() }, Limits::default());
    let answer = server.ask(b"{\"command\":\"drain\"}\n");
    assert_eq!(error_of(&answer), "cannot read the map CLONES: Bad file descriptor");
}

#[test]
fn half_an_order_is_not_done() {
    let live = Live::new();
    let server = Server::start(live.clone(), brief());
    let mut hanging = server.connect();
    hanging.write_all(b"{\"command\":\"drain\"").unwrap();
    drop(server.connect().write_all(b"{\"command\":\"flush\""));
    assert!(error_of(&read_answer(&hanging)).contains("no complete request"));
    assert_eq!(live.0.read().take(10), []);
}

#[test]
fn a_hundred_orders_at_once_are_all_done_once() {
    let live = Live::new();
    let server = Server::start(live.clone(), Limits::default());
    let answers = Arc::new(Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let answer = server.ask(b"{\"command\":\"drain\"}\n");
                answers.lock().unwrap().push(answer);
            });
        }
    });
    assert!(answers.lock().unwrap().iter().all(|answer| answer["ok"]["message"].is_string()));
    let done = live.0.read().take(usize::MAX);
    assert_eq!(done.len(), 100);
    assert!(done.iter().all(|e| e.event == Event::Flush { what: "drain all CPUs".into() }));
}

#[test]
fn an_order_reaches_the_agent_parsed() {
    let (setting, value) = parse_setting("rtexpire", "1h").unwrap();
    assert_eq!(Action::set("rtexpire", "3600s").unwrap(), Action::Set(setting, value));
    let flush = |prefix: &str| Action::flush(Some(prefix.parse().unwrap()), None, None).unwrap();
    assert_eq!(
        flush("2001:db8::1/64"),
        Action::Flush {
            prefix: Some("2001:db8::/64".parse().unwrap()),
            dev: None,
            family: Some(crate::fib::family::IpFamily::V6)
        }
    );
    assert_eq!(
        Action::flush(None, Some("eth0"), None).unwrap(),
        Action::Flush { prefix: None, dev: Some("eth0".into()), family: None }
    );
}
