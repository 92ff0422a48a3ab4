//! The settings from the command line to the agent, and `config check`.

use std::{fs, path::Path, time::Duration};

use super::{Invocation, command_line::Refusal, config_check::write_settings, tests::words_with};
use crate::{
    config::{Setting, Settings, reload},
    control::fake::Place,
};

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let place = Place::new();
    let file = place.path().join("config.toml");
    fs::write(&file, "interfaces = ['e']\nrtexpire = 1\nmax_routes = 1\nclones_per_cpu = 1\n")
        .unwrap();
    let environment = [("ROUTE_CACHE_RTEXPIRE", "2s"), ("ROUTE_CACHE_MAX_ROUTES", "2")];
    let Ok(Invocation::Agent(options)) = words_with("--rtexpire 3s", &environment, &file) else {
        panic!("the file names an interface");
    };
    assert_eq!(options.rtexpire, Duration::from_secs(3));
    assert_eq!((options.max_routes, options.clones_per_cpu), (2, 1));
    fs::write(&file, "interfaces = ['e']\nrtexpire = 1\nclones_per_cpu = 5\n").unwrap();
    let reloaded = reload(&options.settings).unwrap();
    assert_eq!(reloaded.settings.value(Setting::RtExpire).to_string(), "3s");
}

#[test]
fn a_file_that_is_asked_for_must_be_there_and_be_right() {
    let place = Place::new();
    let (file, standard) = (place.path().join("config.toml"), place.path().join("standard"));
    let line = format!("--interface e --config {}", file.display());
    let environment = [("ROUTE_CACHE_CONFIG", file.to_str().unwrap())];
    for text in [None, Some("rtexpire = 'banana'\n")] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        for refused in
            [words_with(&line, &[], &standard), words_with("-i e", &environment, &standard)]
        {
            let Err(Refusal::Settings(problems)) = refused else { panic!("{refused:?}") };
            assert!(problems.to_string().starts_with(file.to_str().unwrap()), "{problems}");
        }
    }
    assert!(words_with("--interface e", &[], &standard).is_ok());
}

#[test]
fn a_client_finds_the_agent_as_the_agent_found_its_socket_even_if_the_file_was_broken_since() {
    let place = Place::new();
    let file = place.path().join("config.toml");
    let environment = [("ROUTE_CACHE_CONTROL_SOCKET", "/tmp/e")];
    let socket =
        |line: &str, environment: &[(&str, &str)]| match words_with(line, environment, &file) {
            Ok(Invocation::Client { control_socket, .. }) => control_socket,
            other => panic!("{other:?}"),
        };
    assert_eq!(socket("status", &[]), Path::new("/run/route-cache/control.sock"));
    fs::write(&file, "control_socket = '/tmp/f'\nrtexpire = 'banana'\n").unwrap();
    assert_eq!(socket("status", &[]), Path::new("/tmp/f"));
    assert_eq!(socket("status", &environment), Path::new("/tmp/e"));
    assert_eq!(socket("status --control-socket /tmp/c", &environment), Path::new("/tmp/c"));
    let wrong = [("ROUTE_CACHE_CONTROL_SOCKET", "\n")];
    assert!(matches!(words_with("status", &wrong, &file), Err(Refusal::Settings(_))));
    assert!(matches!(
        words_with("status --config /nonexistent", &[], &file),
        Err(Refusal::Settings(_))
    ));
}

#[test]
fn config_check_shows_each_setting_with_its_origin() {
    let place = Place::new();
    let file = place.path().join("config.toml");
    fs::write(&file, "# here\nrtexpire = '5s'\n").unwrap();
    let line = format!("--max-routes 7 config check --config {}", file.display());
    let Ok(Invocation::CheckConfig { sources }) = words_with(&line, &[], &file) else { panic!() };
    let environment = [("ROUTE_CACHE_CLONES_PER_CPU", "1000")].into_iter().collect();
    let mut out = Vec::new();
    write_settings(&Settings::load(sources, &environment).unwrap(), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    println!("$ route-cache {line}\n{out}");
    let path = file.display();
    assert!(out.starts_with(&format!("{path}: fine\n")), "{out}");
    assert!(
        out.ends_with("No interface is named: an agent needs --interface NAME-OR-GLOB as well.\n")
    );
    for (setting, value, from) in [
        ("rtexpire", "5s", &*format!("file {path}:2")),
        ("rtminexpire", "5s", "default, lowered to rtexpire"),
        ("rtmaxcache", "750", "default, 3/4 of clones_per_cpu"),
        ("clones_per_cpu", "1000", "environment ROUTE_CACHE_CLONES_PER_CPU"),
        ("max_routes", "7", "command line"),
        ("netns", "self", "default"),
    ] {
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(setting));
        let line = line.unwrap_or_else(|| panic!("{setting} is not there: {out}"));
        let (_, rest) = line.split_once(setting).unwrap();
        let (shown, origin) = rest.trim().split_once(' ').unwrap();
        assert_eq!((shown, origin.trim()), (value, from));
    }
}
