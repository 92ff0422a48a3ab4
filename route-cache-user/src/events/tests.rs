//! The journal and its readers.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Direction, Entry, Event, Journal, journal::KEPT, sampler::Sampler};

fn journal() -> Arc<Journal> {
    Arc::new(Journal::new(Instant::now()))
}

fn drain(cpu: u32) -> Event {
    Event::Drain { cpus: vec![cpu] }
}

fn expired(cpu: u32, reason: &'static str) -> Event {
    let dst = "10.0.2.2".parse().unwrap();
    Event::CloneExpired { dst, cpu, reason: reason.into(), idle_seconds: 2.0 }
}

fn events(entries: Vec<Entry>) -> Vec<Event> {
    entries.into_iter().map(|entry| entry.event).collect()
}

#[test]
fn every_event_is_one_flat_object_and_reads_back() {
    let dst = "2001:db8::1".parse().unwrap();
    let all = [
        (
            Event::CloneExpired { dst, cpu: 1, reason: "timeout".into(), idle_seconds: 2.5 },
            r#""event":"clone-expired","dst":"2001:db8::1","cpu":1,"reason":"timeout","idle_seconds":2.5"#,
        ),
        (
            Event::ClonesCreated { cpu: 0, count: 7 },
            r#""event":"clones-created","cpu":0,"count":7"#,
        ),
        (
            Event::ClonesExpired { cpu: 0, reason: "drain".into(), count: u64::MAX },
            r#""event":"clones-expired","cpu":0,"reason":"drain","count":18446744073709551615"#,
        ),
        (
            Event::Timeout {
                from_seconds: 3600.0,
                to_seconds: 2400.0,
                direction: Direction::Shrunk,
            },
            r#""event":"timeout","from_seconds":3600.0,"to_seconds":2400.0,"direction":"shrunk""#,
        ),
        (Event::Drain { cpus: vec![0, 1] }, r#""event":"drain","cpus":[0,1]"#),
        (Event::Purge { dev: "eth0".into() }, r#""event":"purge","dev":"eth0""#),
        (Event::Flush { what: "all clones".into() }, r#""event":"flush","what":"all clones""#),
        (Event::Pressure { level: "none".into() }, r#""event":"pressure","level":"none""#),
        (Event::Admission { mode: "few".into() }, r#""event":"admission","mode":"few""#),
        (Event::Resync { cause: "start".into() }, r#""event":"resync","cause":"start""#),
        (
            Event::Link { dev: "eth0".into(), state: "down".into() },
            r#""event":"link","dev":"eth0","state":"down""#,
        ),
        (
            Event::Setting {
                name: "rtexpire".into(),
                from: "1h".into(),
                to: "5m".into(),
                origin: "control socket".into(),
            },
            r#""event":"setting","name":"rtexpire","from":"1h","to":"5m","origin":"control socket""#,
        ),
        (Event::Skipped { count: 3 }, r#""event":"skipped","count":3"#),
    ];
    for (event, fields) in all {
        let entry = Entry { at_seconds: 12.345, event };
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(line, format!("{{\"at_seconds\":12.345,{fields}}}"));
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
    }
}

#[test]
fn the_last_1024_are_kept_and_times_never_go_back() {
    let journal = journal();
    for cpu in 0..3000 {
        journal.push(drain(cpu));
    }
    let entries = journal.read().take(usize::MAX);
    assert_eq!(entries.len(), KEPT);
    assert!(entries.is_sorted_by(|a, b| a.at_seconds <= b.at_seconds));
    // One who comes late has missed nothing: no gap is told.
    assert_eq!(entries[0].event, drain(3000 - KEPT as u32));
    assert_eq!(entries[KEPT - 1].event, drain(2999));
}

#[test]
fn a_slow_reader_is_told_how_many_events_it_missed() {
    let journal = journal();
    let mut reader = journal.read();
    journal.push(drain(0));
    assert_eq!(events(reader.take(10)), [drain(0)]);
    assert_eq!(reader.take(10), []);
    for cpu in 1..=KEPT as u32 + 5 {
        journal.push(drain(cpu));
    }
    assert_eq!(events(reader.take(2)), [Event::Skipped { count: 5 }, drain(6), drain(7)]);
    assert_eq!(reader.take(usize::MAX).len(), KEPT - 2);
}

#[test]
fn a_hundred_expired_clones_a_second_are_named_and_the_rest_is_counted() {
    let mut sampler = Sampler::default();
    let mut named = 0;
    for n in 0..1000 {
        let (cpu, reason) = (n % 2, if n < 500 { "timeout" } else { "drain" });
        named += usize::from(sampler.sample(expired(cpu, reason)).is_some());
    }
    assert_eq!(named, 100);
    assert_eq!(sampler.sample(drain(0)), Some(drain(0)), "all else is let through");
    assert_eq!(sampler.tick(0), [], "the second is not over");
    let left_out = |cpu, reason: &'static str, count| Event::ClonesExpired {
        cpu,
        reason: reason.into(),
        count,
    };
    assert_eq!(
        sampler.tick(1),
        [
            left_out(0, "drain", 250),
            left_out(0, "timeout", 200),
            left_out(1, "drain", 250),
            left_out(1, "timeout", 200)
        ]
    );
    assert_eq!(sampler.tick(9), [], "said once");
    assert!(sampler.sample(expired(0, "timeout")).is_some(), "another second");
}

#[test]
fn what_was_left_out_is_said_by_the_next_tick_and_everything_adds_up() {
    let journal = journal();
    let mut reader = journal.read();
    for _ in 0..500 {
        journal.push(expired(0, "timeout"));
    }
    thread::sleep(Duration::from_millis(1050));
    journal.tick();
    let told: u64 = events(reader.take(usize::MAX))
        .iter()
        .map(|event| match event {
            Event::CloneExpired { .. } => 1,
            Event::ClonesExpired { count, .. } => *count,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(told, 500);
}

#[test]
fn a_reader_that_waits_is_woken_from_any_thread_and_misses_nothing() {
    const EACH: u32 = 200;
    let journal = journal();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let mut reader = journal.read();
    let reading = runtime.spawn(async move {
        let mut seen = 0;
        while seen < 4 * EACH as usize {
            reader.wait().await;
            seen += reader.take(16).len();
        }
        seen
    });
    thread::scope(|scope| {
        for cpu in 0..4 {
            let journal = &journal;
            scope.spawn(move || (0..EACH).for_each(|_| journal.push(drain(cpu))));
        }
    });
    assert_eq!(runtime.block_on(reading).unwrap(), 4 * EACH as usize);
}

#[test]
fn a_million_expired_clones_cost_next_to_nothing() {
    let journal = journal();
    let began = Instant::now();
    for n in 0..1_000_000 {
        journal.push(expired(n % 2, "timeout"));
    }
    println!("1,000,000 events in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
