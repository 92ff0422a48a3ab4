//! Those who follow the events, over real Unix sockets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Limits,
    fake::{Fake, Live},
    tests::{Server, error_of},
};
use crate::events::{Entry, Event};

const FOLLOW: &[u8] = b"{\"command\":\"monitor\",\"follow\":true}\n";

/// A follower that has been let in.
struct Follower(BufReader<UnixStream>);

impl Follower {
    fn of(server: &Server) -> Follower {
        let mut stream = server.connect();
        stream.write_all(FOLLOW).unwrap();
        Follower(BufReader::new(stream))
    }

    /// The next event; nothing at the end.
    fn next(&mut self) -> Option<Entry> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        (read > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")))
    }

    fn expect(&mut self, n: u32) {
        assert_eq!(self.next().unwrap().event, event(n));
    }
}

fn event(n: u32) -> Event {
    Event::Drain { cpus: vec![n] }
}

fn refused(server: &Server) -> bool {
    let answer = server.ask(FOLLOW);
    answer.get("error").is_some_and(|_| error_of(&answer).contains("follow already"))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_follow_the_last_events_come_and_then_the_end() {
    let live = Live::new();
    let server = Server::start(live.clone(), Limits::default());
    let ask = || {
        let mut stream = server.connect();
        stream.write_all(b"{\"command\":\"monitor\"}\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert_eq!(ask(), "");
    (0..2000).for_each(|n| live.0.push(event(n)));
    let answer = ask();
    assert_eq!(answer.lines().count(), 1024);
    let last: Entry = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
    assert_eq!(last.event, event(1999));
}

#[test]
fn a_follower_hears_what_was_and_what_comes_and_the_end_of_the_agent() {
    let live = Live::new();
    live.0.push(event(0));
    let server = Server::start(live.clone(), Limits::default());
    let mut follower = Follower::of(&server);
    follower.expect(0);
    for n in 1..5 {
        live.0.push(event(n));
        follower.expect(n);
    }
    assert_eq!(server.ask(b"{\"command\":\"drain\"}\n")["ok"]["message"], "drain all CPUs");
    assert_eq!(follower.next().unwrap().event, Event::Flush { what: "drain all CPUs".into() });
    drop(server);
    assert_eq!(follower.next(), None);
}

#[test]
fn the_ninth_follower_is_refused_until_one_of_the_eight_goes() {
    let live = Live::new();
    live.0.push(event(0));
    let server = Server::start(live.clone(), Limits::default());
    let mut followers: Vec<_> = (0..8).map(|_| Follower::of(&server)).collect();
    followers.iter_mut().for_each(|follower| follower.expect(0));
    assert!(refused(&server));
    // Nothing happens, so that no write can find out that it went.
    drop(followers.pop());
    eventually("its place is free", || {
        let mut stream = server.connect();
        stream.write_all(FOLLOW).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.contains("\"drain\"")
    });
    live.0.push(event(1));
    followers.iter_mut().for_each(|follower| follower.expect(1));
}

#[test]
fn a_follower_that_has_nothing_more_to_say_still_listens_and_its_end_is_noticed() {
    let live = Live::new();
    let limits = Limits { followers: 1, ..Limits::default() };
    let server = Server::start(live.clone(), limits);
    let mut follower = Follower::of(&server);
    follower.0.get_ref().shutdown(Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(600));
    live.0.push(event(0));
    follower.expect(0);
    assert!(refused(&server));
    drop(follower);
    eventually("its place is free", || {
        let mut follower = Follower::of(&server);
        let mut line = String::new();
        follower.0.read_line(&mut line).unwrap();
        line.contains("\"drain\"")
    });
}

#[test]
fn a_follower_that_talks_is_not_heard_and_goes_on_listening() {
    let live = Live::new();
    let server = Server::start(live.clone(), Limits::default());
    let mut follower = Follower::of(&server);
    follower.0.get_ref().write_all(&[b'x'; 100_000]).unwrap();
    live.0.push(event(0));
    follower.expect(0);
}

/// Pushes until told to stop, about 20,000 events a second.
fn busily(live: &Live, stop: &AtomicBool) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..100 {
            live.0.push(event(n));
            n += 1;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_follower_that_does_not_read_is_cut_and_one_that_reads_slowly_is_told_what_it_missed() {
    let live = Live::new();
    let reading = Duration::from_millis(700);
    let server = Server::start(live.clone(), Limits { reading, ..Limits::default() });
    let (stop, began) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        scope.spawn(|| busily(&live, &stop));
        let slow = scope.spawn(|| {
            // A little every now and then, for longer than the one that reads nothing has.
            let mut follower = Follower::of(&server);
            let mut skipped = 0;
            while began.elapsed() < Duration::from_secs(5) {
                for _ in 0..400 {
                    if let Event::Skipped { count } = follower.next().expect("not cut").event {
                        skipped += count;
                    }
                }
                thread::sleep(Duration::from_millis(100));
            }
            skipped
        });
        let mut deaf = Follower::of(&server);
        thread::sleep(Duration::from_secs(3));
        let mut heard = Vec::new();
        deaf.0.read_to_end(&mut heard).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "cut: the end comes at once");
        assert!(!heard.is_empty());
        assert_eq!(server.ask(b"{\"command\":\"status\"}\n")["ok"]["pid"], 4711);
        let skipped = slow.join();
        stop.store(true, Ordering::Relaxed);
        assert!(skipped.unwrap() > 0);
    });
}

#[test]
fn a_follower_outlives_the_time_others_have_for_their_answers() {
    let live = Live::new();
    let brief = Duration::from_millis(100);
    let limits = Limits { patience: brief, reading: brief, ..Limits::default() };
    let server = Server::start(live.clone(), limits);
    let mut follower = Follower::of(&server);
    for n in 0..4 {
        thread::sleep(Duration::from_millis(250));
        live.0.push(event(n));
        follower.expect(n);
    }
}

#[test]
fn a_hundred_clients_are_served_while_followers_come_and_go_and_do_not_read() {
    let live = Live::new();
    let server = Server::start(live.clone(), Limits::default());
    let stop = AtomicBool::new(false);
    let answers = thread::scope(|scope| {
        scope.spawn(|| busily(&live, &stop));
        let _deaf: Vec<_> = (0..7).map(|_| Follower::of(&server)).collect();
        // One that comes before the place of the last is free is refused; it is a line all the same.
        scope.spawn(|| (0..50).for_each(|_| drop(server.ask(FOLLOW))));
        let clients: Vec<_> =
            (0..100).map(|_| scope.spawn(|| server.ask(b"{\"command\":\"clones\"}\n"))).collect();
        let answers: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        stop.store(true, Ordering::Relaxed);
        answers
    });
    assert!(answers.into_iter().all(|answer| answer.unwrap()["ok"].as_array().unwrap().len() == 2));
}

#[test]
fn half_a_request_to_follow_is_no_follower() {
    let limits = Limits { followers: 1, patience: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(Fake::default(), limits);
    let mut half = server.connect();
    half.write_all(&FOLLOW[..FOLLOW.len() - 5]).unwrap();
    assert!(matches!(Follower::of(&server).next().unwrap().event, Event::Resync { .. }));
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("no complete request"), "{answer}");
}
