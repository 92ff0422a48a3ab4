//! Settings from the file, the environment and the command line, and a reload while packets flow.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use route_cache_lab::{Namespace, process::Finished, wait_until};

use crate::{
    router::{BEYOND, BINARY, PATIENCE, Place, Router},
    stream::Exit,
};

/// A configuration file, removed when this is dropped.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(namespace: &Namespace, text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("{}-config.toml", namespace.name())));
        file.write(text);
        file
    }

    /// Whoever reads it sees this or the last.
    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        // At worst a small file below /tmp is left.
        let _ = fs::remove_file(&self.0);
    }
}

/// A setting in the status: its value, and where it comes from.
fn setting(router: &Router, name: &str) -> (String, String) {
    let status = router.agent.status().unwrap();
    let entry = &status["settings"][name];
    let text = |field: &str| entry[field].as_str().unwrap_or_else(|| panic!("{status}")).to_owned();
    (text("value"), text("origin"))
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

/// Sends SIGHUP and waits until the log says this, which it did not say before.
#[track_caller]
fn reload(router: &Router, says: &str) {
    let before = router.agent.log().matches(says).count();
    router.agent.signal(Signal::SIGHUP).unwrap();
    wait_until(&format!("\"{says}\" in the log"), PATIENCE, || {
        router.agent.log().matches(says).count() > before
    })
    .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
}

#[test]
fn command_line_over_environment_over_file_over_default() {
    let place = Place::new("origins");
    let file = ConfigFile::new(
        &place.router,
        "# Times\nrtexpire = \"5m\"\nsweep_interval = \"9s\"\nrtmaxcache = 500\n",
    );
    let path = file.path();
    let router = Router::with_environment(
        place,
        &["--config", &path, "--rtexpire", "3m"],
        &[("ROUTE_CACHE_RTEXPIRE", "4m"), ("ROUTE_CACHE_SWEEP_INTERVAL", "7s")],
    );
    assert_eq!(setting(&router, "rtexpire"), pair("3m", "command line"));
    let environment = "environment ROUTE_CACHE_SWEEP_INTERVAL";
    assert_eq!(setting(&router, "sweep_interval"), pair("7s", environment));
    assert_eq!(setting(&router, "rtmaxcache"), pair("500", &format!("file {path}:4")));
    assert_eq!(setting(&router, "rtminexpire"), pair("10s", "default"));
    assert_eq!(setting(&router, "clones_per_cpu"), pair("65536", "default"));
    // What is told is what holds.
    let timeout = &router.agent.status().unwrap()["timeout"];
    assert_eq!(timeout["rtexpire_seconds"], 180);
    assert_eq!(timeout["rtminexpire_seconds"], 10);
    assert_eq!(timeout["rtmaxcache"], 500);
    router.await_forwarding(router.flow());
    let left = router.clones_of(BEYOND)[0]["expires_in_seconds"].as_f64().unwrap();
    assert!(left > 170.0 && left <= 180.0, "{left}");
}

#[test]
fn an_agent_that_only_the_file_tells_what_to_do() {
    let place = Place::new("file-only");
    let file = ConfigFile::new(
        &place.router,
        &format!(
            "interfaces = [\"left\", \"ri*t\"]\nnetns = \"{}\"\nclone_on = \"first-packet\"\n",
            place.router.name()
        ),
    );
    let agent = route_cache_lab::Agent::setup(BINARY.as_ref())
        .unwrap()
        .arguments(&["--config", &file.path()])
        .start()
        .unwrap();
    let status = agent.status().unwrap();
    assert_eq!(status["settings"]["interfaces"]["value"], "left ri*t", "{status}");
    let origin = format!("file {}:1", file.path());
    assert_eq!(status["settings"]["interfaces"]["origin"], *origin, "{status}");
    let names: Vec<_> = status["interfaces"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2, "{status}");
}

#[test]
fn bad_files_are_refused_with_line_and_the_nearest_name() {
    let namespace = Namespace::create("badfiles").unwrap();
    let file = ConfigFile::new(&namespace, "");
    let path = file.path();
    let socket = std::env::temp_dir().join(format!("{}.sock", namespace.name()));
    let socket = socket.display().to_string();
    let agent = |path: &str| -> Finished {
        let argv = ["timeout", "20", BINARY, "--netns", namespace.name(), "--interface", "none0"];
        let more = ["--control-socket", &socket, "--listen-address", "127.0.0.1:0"];
        namespace.run(&[&argv[..], &more, &["--config", path]].concat()).unwrap()
    };
    let check = |path: &str| -> Finished {
        let argv = ["timeout", "20", BINARY, "config", "check", "--config", path];
        namespace.run(&argv).unwrap()
    };
    for (text, line, says) in [
        ("rtexpire = 5\nrtexpires = 5\n", 2, "did you mean rtexpire?"),
        ("\n\nsweep-intervall = \"5m\"\n", 3, "did you mean sweep_interval?"),
        ("rtexpire = \"banana\"\n", 1, "rtexpire"),
        ("rtexpire = -5\n", 1, "rtexpire"),
        ("rtexpire = 99999999999\n", 1, "rtexpire"),
        ("rtexpire = 5.5\n", 1, "rtexpire"),
        ("rtmaxcache = 0\n", 1, "rtmaxcache"),
        ("rtmaxcache = true\n", 1, "rtmaxcache"),
        ("# One\nrtexpire = 5\nrtexpire = 6\n", 3, "a second time"),
        ("[times]\na = 1\n[times]\nb = 1\n", 3, "times"),
        ("rtexpire = \n", 1, ""),
        ("rtexpire = \"1m\"\nrtminexpire = \"2m\"\n", 2, "is more than rtexpire"),
        ("clones_per_cpu = 10\n\nrtmaxcache = 11\n", 3, "is more than clones_per_cpu"),
        ("log_level = \"loud\"\n", 1, "error, warn, info, debug or trace"),
    ] {
        file.write(text);
        for finished in [agent(&path), check(&path)] {
            let error = &finished.stderr;
            assert_eq!(finished.code, 1, "{text:?}: {error}{}", finished.stdout);
            let place = format!("{path}:{line}:");
            assert!(error.lines().any(|line| line.starts_with(&place)), "{text:?}: {error}");
            assert!(error.contains(says), "{text:?}: {error}");
            assert!(!error.contains("panicked"), "{text:?}: {error}");
        }
    }
    let missing = format!("{path}.missing");
    for finished in [agent(&missing), check(&missing)] {
        assert_eq!(finished.code, 1, "{}", finished.stderr);
        assert!(finished.stderr.contains(&missing), "{}", finished.stderr);
    }
}

#[test]
fn config_check_says_what_the_settings_come_to() {
    let namespace = Namespace::create("check").unwrap();
    let file = ConfigFile::new(&namespace, "interfaces = [\"none0\"]\nrtexpire = \"5m\"\n");
    let path = file.path();
    let checked = namespace.run(&[BINARY, "config", "check", "--config", &path]).unwrap();
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", checked.stdout);
    let row = |name: &str| -> String {
        let row = checked.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
        row.unwrap_or_else(|| panic!("no {name} in {}", checked.stdout)).to_owned()
    };
    assert!(row("rtexpire").contains("5m"), "{}", checked.stdout);
    assert!(row("rtexpire").ends_with(&format!("file {path}:2")), "{}", checked.stdout);
    assert!(row("sweep_interval").ends_with("default"), "{}", checked.stdout);
    // The example that is shipped is right, and changes nothing.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config.toml");
    let checked = namespace.run(&[BINARY, "config", "check", "--config", shipped]).unwrap();
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(!checked.stdout.contains("  file "), "{}", checked.stdout);
}

#[test]
fn sighup_reloads_what_can_change_and_names_what_cannot() {
    let place = Place::new("reload");
    let file = ConfigFile::new(&place.router, "rtexpire = \"1h\"\nsweep_interval = \"10m\"\n");
    let path = file.path();
    let router = Router::with(place, &["--config", &path]);
    let cpus = router.clone_on_every_cpu(BEYOND);
    let expires = || router.clones_of(BEYOND)[0]["expires_in_seconds"].as_f64().unwrap();
    assert!(expires() > 3500.0);

    let account = router.during("reloads", || {
        // Everything in it is refused for one bad line.
        file.write("rtexpire = \"2s\"\nrtexpirs = 3\n");
        reload(&router, "not reloaded, nothing has changed");
        assert!(router.agent.log().contains(&format!("{path}:2:")), "{}", router.story());
        assert!(router.agent.log().contains("did you mean rtexpire?"), "{}", router.story());
        assert_eq!(setting(&router, "rtexpire"), pair("1h", &format!("file {path}:1")));
        assert!(expires() > 3500.0);
        // A file that is gone is taken for a mistake.
        fs::rename(&file.0, file.0.with_extension("away")).unwrap();
        reload(&router, "not reloaded, nothing has changed");
        assert_eq!(setting(&router, "rtexpire"), pair("1h", &format!("file {path}:1")));
        fs::remove_file(file.0.with_extension("away")).unwrap();

        file.write("rtexpire = \"5m\"\nclones_per_cpu = 1000\n");
        reload(&router, "needs a restart: clones_per_cpu: 65536 -> 1000");
        wait_until("the timeout", PATIENCE, || setting(&router, "rtexpire").0 == "5m").unwrap();
        assert_eq!(setting(&router, "clones_per_cpu").0, "65536");
        // What the file does not say any more is the default again.
        assert_eq!(setting(&router, "sweep_interval"), pair("10m", "default"));
        assert_eq!(router.agent.status().unwrap()["clones"][0]["capacity"], 65536);
        // Its last packet may be a jiffy or two younger than the agent's clock.
        assert!(expires() < 300.1, "{}", expires());
    });
    account.stays(Exit::Server);

    assert!(!router.clones_of(BEYOND).is_empty());
    file.write("rtexpire = \"2s\"\n");
    reload(&router, "reloaded: rtexpire: 5m -> 2s");
    let reloaded = Instant::now();
    assert!(router.agent.log().contains(&format!("(file {path}:1)")), "{}", router.story());
    wait_until("the clones to go", PATIENCE, || router.tables("live") == 0)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    assert!(reloaded.elapsed() < Duration::from_millis(4500), "{:?}", reloaded.elapsed());
    assert!(router.expired("timeout") >= cpus as u64, "{}", router.story());
    assert_eq!(router.agent.status().unwrap()["timeout"]["rtexpire_seconds"], 2);
}
