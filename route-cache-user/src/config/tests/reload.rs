use super::super::{
    Problems, Settings, parse_setting,
    reload::{Change, Reloaded, reload_with},
    table::Setting,
};
use super::Machine;

fn reload(machine: &Machine, current: &Settings) -> Result<Reloaded, Problems> {
    reload_with(current, &machine.environment())
}

fn names(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{}={}", change.setting, change.to)).collect()
}

#[test]
fn a_reload_changes_what_can_change_and_names_what_needs_a_restart() {
    for (file, changed, needs_restart) in [
        ("interfaces = ['e']", vec![], vec![]),
        ("interfaces = ['e', 'f']", vec![], vec!["interfaces=e f"]),
        ("interfaces = ['e']\nrtexpire = '1h'", vec![], vec![]),
        ("interfaces = ['e']\nrtexpire = '5m'", vec!["rtexpire=5m"], vec![]),
        ("interfaces = ['e']\nrtexpire = 5", vec!["rtexpire=5s", "rtminexpire=5s"], vec![]),
        ("interfaces = ['e']\nclones_per_cpu = 1000", vec![], vec!["clones_per_cpu=1000"]),
        (
            "interfaces = ['e']\nlog_level = 'debug'\nmax_routes = 9\nclone_on = 'first-packet'",
            vec!["clone_on=first-packet", "log_level=debug"],
            vec!["max_routes=9"],
        ),
    ] {
        let machine = Machine::new("interfaces = ['e']");
        let current = machine.load().unwrap();
        machine.write(file);
        let reloaded = reload(&machine, &current).unwrap();
        assert_eq!(names(&reloaded.changed), changed, "{file}");
        assert_eq!(names(&reloaded.needs_restart), needs_restart, "{file}");
        for setting in Setting::all().filter(|setting| !setting.spec().at_run_time) {
            assert_eq!(reloaded.settings.value(setting), current.value(setting), "{file}");
        }
        // What needs a restart is said at every reload; what changed has changed.
        let again = reload(&machine, &reloaded.settings).unwrap();
        assert_eq!(names(&again.changed), Vec::<String>::new());
        assert_eq!(names(&again.needs_restart), needs_restart);
    }
}

#[test]
fn a_change_reads_as_one_line() {
    let machine = Machine::new("interfaces = ['e']");
    let current = machine.load().unwrap();
    machine.write("interfaces = ['e']\nrtexpire = '5m'");
    let change = reload(&machine, &current).unwrap().changed.remove(0).to_string();
    let path = machine.file().path.display().to_string();
    assert_eq!(change.replace(&path, "FILE"), "rtexpire: 1h -> 5m (file FILE:2)");
}

#[test]
fn the_command_line_still_goes_first_after_a_reload() {
    let machine = Machine::new("").option(Setting::Interfaces, "e").option(Setting::RtExpire, "7");
    let current = machine.load().unwrap();
    machine.write("interfaces = ['f']\nrtexpire = 8\nsweep_interval = 9");
    let reloaded = reload(&machine, &current).unwrap();
    assert_eq!(names(&reloaded.changed), ["sweep_interval=9s"]);
    assert!(reloaded.needs_restart.is_empty());
}

#[test]
fn a_reload_ends_what_was_set_over_the_control_socket() {
    let machine = Machine::new("interfaces = ['e']\nrtexpire = '5m'");
    let current = machine.load().unwrap();
    let (setting, value) = parse_setting("rtexpire", "30s").unwrap();
    let current = current.set(setting, value).unwrap();
    assert_eq!(current.value(setting).to_string(), "30s");
    assert_eq!(names(&reload(&machine, &current).unwrap().changed), ["rtexpire=5m"]);
}

#[test]
fn a_bad_file_is_refused_as_a_whole() {
    for (file, expected) in [
        ("interfaces = ['e']\nrtexpire = 5\nbanana = 1", "FILE:3:1: no setting is called 'banana'"),
        ("rtexpire = 5", "no interface is named any more"),
        ("interfaces = ['e']\nrtexpire = 5\nrtminexpire = 6", "FILE:3:15: rtminexpire (6s)"),
    ] {
        let machine = Machine::new("interfaces = ['e']");
        let current = machine.load().unwrap();
        machine.write(file);
        let text = machine.without_path(&reload(&machine, &current).unwrap_err());
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_file_that_went_away_is_a_mistake_but_one_that_never_was_there_is_none() {
    let machine = Machine::new("interfaces = ['e']");
    let current = machine.load().unwrap();
    std::fs::remove_file(machine.file().path).unwrap();
    let text = machine.without_path(&reload(&machine, &current).unwrap_err());
    assert!(text.starts_with("FILE: cannot be read: "), "{text}");
    let machine = machine.option(Setting::Interfaces, "e");
    let current = machine.load().unwrap();
    assert!(reload(&machine, &current).unwrap().changed.is_empty());
}

#[test]
fn what_goes_together_only_after_a_restart_is_refused_until_then() {
    let machine = Machine::new("interfaces = ['e']\nclones_per_cpu = 1000");
    let current = machine.load().unwrap();
    machine.write("interfaces = ['e']\nclones_per_cpu = 5000\nrtmaxcache = 4000");
    let text = machine.without_path(&reload(&machine, &current).unwrap_err());
    assert_eq!(
        text,
        "FILE:3:14: rtmaxcache (4000) is more than clones_per_cpu (1000, file FILE:2)\n\
         clones_per_cpu cannot change without a restart"
    );
}
