use proptest::prelude::*;

use super::super::{parse_setting, table::Setting};
use super::Machine;

#[test]
fn values_are_taken_under_either_name() {
    for (name, text, setting, value) in [
        ("rtexpire", "90", Setting::RtExpire, "90s"),
        ("rtexpire", "90s", Setting::RtExpire, "90s"),
        ("rtexpire", "5m", Setting::RtExpire, "5m"),
        ("rtexpire", "60m", Setting::RtExpire, "1h"),
        ("rtexpire", "0", Setting::RtExpire, "0s"),
        ("sweep-interval", "1h", Setting::SweepInterval, "1h"),
        ("sweep_interval", "1h", Setting::SweepInterval, "1h"),
        ("rtmaxcache", "auto", Setting::RtMaxCache, "auto"),
        ("exempt-interfaces", "vrrp*,eth9", Setting::ExemptInterfaces, "vrrp* eth9"),
        ("clone-on", "first-packet", Setting::CloneOn, "first-packet"),
    ] {
        let (found, parsed) = parse_setting(name, text).unwrap();
        assert_eq!((found, &*parsed.to_string()), (setting, value), "{name} {text}");
    }
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    const DURATION: &str = "expected whole seconds, minutes or hours, such as 90, 90s, 5m or 1h";
    for (name, text, expected) in [
        ("rtexpires", "1", "no setting is called 'rtexpires': did you mean rtexpire?"),
        (
            "sweep-intervall",
            "1",
            "no setting is called 'sweep-intervall': did you mean sweep_interval?",
        ),
        ("rtexpire", "banana", &*format!("rtexpire cannot be 'banana': {DURATION}")),
        ("rtexpire", "", &*format!("rtexpire cannot be '': {DURATION}")),
        ("rtexpire", "-1", "rtexpire cannot be '-1': must not be negative"),
        ("rtexpire", "-5m", "rtexpire cannot be '-5m': must not be negative"),
        (
            "rtexpire",
            "99999999999999999999h",
            "rtexpire cannot be '99999999999999999999h': more than 4294967295 seconds",
        ),
        (
            "rtmaxcache",
            "-1",
            "rtmaxcache cannot be '-1': must not be negative: expected 1 to 16777216, or auto",
        ),
        (
            "rtmaxcache",
            "banana",
            "rtmaxcache cannot be 'banana': expected a whole number from 1 to 16777216, or auto",
        ),
        (
            "rtmaxcache",
            "99999999999999999999",
            "rtmaxcache cannot be '99999999999999999999': more than 16777216",
        ),
        (
            "audit-rate",
            "-1",
            "audit_rate cannot be '-1': must not be negative: expected 1 to 100000, or 0",
        ),
        ("audit_rate", "100001", "audit_rate cannot be '100001': more than 100000"),
        (
            "audit_rate",
            "off",
            "audit_rate cannot be 'off': expected a whole number from 1 to 100000, or 0",
        ),
        (
            "clone-on",
            "\u{1b}[2J",
            "clone_on cannot be '\\u{1b}[2J': expected auto, second-packet or first-packet",
        ),
        (
            "max-routes",
            "5",
            "max_routes cannot change without a restart; what can: exempt_interfaces, rtexpire, rtminexpire, \
             rtmaxcache, sweep_interval, clone_on, cache, audit_rate, log_level",
        ),
    ] {
        let error = parse_setting(name, text).unwrap_err().to_string();
        println!("{error}");
        assert_eq!(error, expected);
    }
}

#[test]
fn a_value_that_does_not_go_with_the_others_changes_nothing() {
    let settings = Machine::new("rtminexpire = 20").load().unwrap();
    let (setting, value) = parse_setting("rtexpire", "10").unwrap();
    let error = settings.set(setting, value).unwrap_err().to_string();
    assert!(
        error.ends_with("rtminexpire (20s) is more than rtexpire (10s, control socket)"),
        "{error}"
    );
    assert_eq!(settings.value(Setting::RtExpire).to_string(), "1h");
    for (name, text) in [("rtexpire", "0"), ("rtexpire", "20"), ("rtmaxcache", "65536")] {
        let (setting, value) = parse_setting(name, text).unwrap();
        settings.set(setting, value).unwrap();
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_gets_an_answer_of_one_short_line(
        name in prop_oneof![".*", "rt(min)?expire|rtmaxcache|exempt-interfaces|log_level"],
        text in ".*",
    ) {
        if let Err(error) = parse_setting(&name, &text) {
            let error = error.to_string();
            prop_assert!(!error.contains(char::is_control) && error.len() < 4000, "{}", error);
        }
    }
}
