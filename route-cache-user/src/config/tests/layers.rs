use std::time::Duration;

use super::super::{Value, table::Setting};
use super::Machine;

fn seconds(seconds: u64) -> Value {
    Value::Duration(Duration::from_secs(seconds))
}

#[test]
fn the_nearest_source_wins_and_is_named() {
    let mut machine = Machine::new("");
    let check = |machine: &Machine, value: u64, origin: &str| {
        let settings = machine.load().unwrap();
        let path = machine.file().path.display().to_string();
        let effective = settings.effective().find(|one| one.setting == Setting::RtExpire).unwrap();
        assert_eq!(effective.value, seconds(value));
        assert_eq!(effective.origin.replace(&path, "FILE"), origin);
    };
    check(&machine, 3600, "default");
    machine.write("\nrtexpire = 100\n");
    check(&machine, 100, "file FILE:2");
    machine.environment = vec![("ROUTE_CACHE_RTEXPIRE", "200")];
    check(&machine, 200, "environment ROUTE_CACHE_RTEXPIRE");
    let machine = machine.option(Setting::RtExpire, "5m");
    check(&machine, 300, "command line");
    let settings = machine.load().unwrap().set(Setting::RtExpire, seconds(400)).unwrap();
    let effective = settings.effective().find(|one| one.setting == Setting::RtExpire).unwrap();
    assert_eq!((effective.value, &*effective.origin), (seconds(400), "control socket"));
}

#[test]
fn a_list_replaces_the_list_of_a_farther_source() {
    let machine = Machine::new("interfaces = ['eth0', 'eth1']\nexempt_interfaces = ['vrrp*']")
        .option(Setting::Interfaces, "eth2")
        .option(Setting::ExemptInterfaces, "none");
    let settings = machine.load().unwrap();
    assert_eq!(settings.value(Setting::Interfaces).to_string(), "eth2");
    assert_eq!(settings.value(Setting::ExemptInterfaces), Value::Names(Vec::new()));
}

#[test]
fn variables_that_are_empty_or_not_ours_say_nothing() {
    let mut machine = Machine::new("");
    machine.environment = vec![
        ("ROUTE_CACHE_RTEXPIRE", ""),
        ("ROUTE_CACHE_PORT", "tcp://10.0.0.1:9477"),
        ("rtexpire", "5"),
    ];
    assert_eq!(machine.load().unwrap().value(Setting::RtExpire), seconds(3600));
}

#[test]
fn a_wrong_variable_is_named_and_told_with_what_is_wrong_in_the_file() {
    let mut machine = Machine::new("max_routes = 0");
    machine.environment =
        vec![("ROUTE_CACHE_RTEXPIRE", "banana"), ("ROUTE_CACHE_INTERFACES", "a:b")];
    let text = machine.refused();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "FILE:1:14: max_routes cannot be 0: must be at least 1");
    assert_eq!(
        lines[1],
        "ROUTE_CACHE_INTERFACES: interfaces cannot be 'a:b': not the name of an interface"
    );
    assert!(lines[2].starts_with("ROUTE_CACHE_RTEXPIRE: rtexpire cannot be 'banana': expected"));
}

#[test]
fn values_that_are_impossible_together_are_refused_with_both_origins() {
    for (file, expected) in [
        ("rtminexpire = '2h'", "FILE:1:15: rtminexpire (2h) is more than rtexpire (1h, default)"),
        (
            "rtexpire = 5\nrtminexpire = 6",
            "FILE:2:15: rtminexpire (6s) is more than rtexpire (5s, file FILE:1)",
        ),
        (
            "rtmaxcache = 65537",
            "FILE:1:14: rtmaxcache (65537) is more than clones_per_cpu (65536, default)",
        ),
    ] {
        assert_eq!(Machine::new(file).refused(), expected);
    }
    let machine = Machine::new("clones_per_cpu = 10").option(Setting::RtMaxCache, "11");
    assert_eq!(
        machine.refused(),
        "FILE:1:18: clones_per_cpu (10) is less than rtmaxcache (11, command line)"
    );
    let machine = Machine::new("").option(Setting::RtExpire, "5").option(Setting::RtMinExpire, "6");
    assert_eq!(
        machine.refused(),
        "rtminexpire (6s, command line) is more than rtexpire (5s, command line)"
    );
}

#[test]
fn what_nobody_set_follows_what_somebody_did() {
    for (file, rtminexpire, rtmaxcache) in [
        ("", 10, 49_152),
        ("rtexpire = 2", 2, 49_152),
        ("rtexpire = 0", 0, 49_152),
        ("rtexpire = 0\nrtminexpire = 10", 10, 49_152),
        ("clones_per_cpu = 1000", 10, 750),
        ("clones_per_cpu = 1", 10, 1),
        ("clones_per_cpu = 16777216", 10, 12_582_912),
        ("rtmaxcache = 128", 10, 128),
        ("clones_per_cpu = 1000\nrtmaxcache = 'auto'", 10, 750),
    ] {
        let settings = Machine::new(file).load().unwrap();
        assert_eq!(settings.value(Setting::RtMinExpire), seconds(rtminexpire), "{file}");
        assert_eq!(settings.value(Setting::RtMaxCache), Value::Count(rtmaxcache), "{file}");
    }
}
