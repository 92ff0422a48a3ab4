//! Memory pressure, handed in by a file of the kernel's format.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use route_cache_lab::wait_until;

use crate::{
    router::{BEYOND, PATIENCE, Place, Router},
    stream::Exit,
};

/// A file as `/proc/pressure/memory`, removed when this is dropped.
pub struct PressureFile(PathBuf, String);

impl PressureFile {
    /// Tasks have waited for this share of the last ten seconds.
    pub fn new(place: &Place, share: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}-pressure", place.router.name()));
        let file = Self(path.clone(), path.display().to_string());
        file.set(share);
        file
    }

    /// Another share. Whoever reads it sees this or the last.
    pub fn set(&self, share: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, text(share)).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }

    /// What tells the agent of it.
    pub fn variable(&self) -> (&str, &str) {
        ("ROUTE_CACHE_MEMORY_PRESSURE_FILE", &self.1)
    }
}

fn text(share: &str) -> String {
    format!(
        "some avg10={share} avg60=0.00 avg300=0.00 total=12345\n\
         full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n"
    )
}

impl Drop for PressureFile {
    fn drop(&mut self) {
        // At worst a small file below /tmp is left.
        let _ = fs::remove_file(&self.0);
    }
}

/// The level of memory pressure that the agent tells.
pub fn level(router: &Router) -> String {
    router.agent.status().unwrap()["timeout"]["memory_pressure"].as_str().unwrap().to_owned()
}

fn await_level(router: &Router, wanted: &str) {
    // Asked for once a second, but for a level that is left: that is held for ten.
    wait_until(&format!("the level {wanted}"), Duration::from_secs(15), || level(router) == wanted)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
}

#[test]
fn s13_memory_pressure_drains_all_cpus_and_the_level_is_told() {
    let place = Place::new("pressure");
    let file = PressureFile::new(&place, "0.00");
    let router = Router::with_environment(place, &["--sweep-interval", "1h"], &[file.variable()]);
    assert_eq!(level(&router), "none");
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    assert_eq!(router.tables("live"), cpus);
    let rtexpire = || router.agent.status().unwrap()["timeout"]["rtexpire_seconds"].clone();

    file.set("12.00");
    await_level(&router, "sweep");
    assert_eq!((router.tables("live"), rtexpire()), (cpus, 3600.into()), "{}", router.story());

    let raised = Instant::now();
    file.set("70.00");
    wait_until("the drain", PATIENCE, || router.tables("live") == 0)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
    // Asked for once a second.
    assert!(raised.elapsed() < Duration::from_secs(3), "{:?}", raised.elapsed());
    assert_eq!(router.expired("drain"), cpus, "{}", router.story());
    assert_eq!(level(&router), "drain");
    assert_eq!(rtexpire(), 2400, "pressure shrinks as well");
    let page = router.agent.metrics().unwrap();
    let at_drain = page.lines().any(|line| {
        line.starts_with("route_cache_memory_pressure{level=\"drain\"}") && line.ends_with(" 1")
    });
    assert!(at_drain, "{page}");

    // It is drained when the pressure begins, not as long as it lasts; and packets go on.
    let account = router.during("pressure", || std::thread::sleep(Duration::from_secs(3)));
    account.stays(Exit::Server);
    assert_eq!(router.expired("drain"), cpus, "{}", router.story());
    assert!(router.tables("live") > 0, "{}", router.story());

    file.set("0.00");
    let relieved = Instant::now();
    await_level(&router, "shrink");
    assert!(relieved.elapsed() > Duration::from_secs(9), "{:?}", relieved.elapsed());
}

#[test]
fn without_a_source_the_agent_says_so_once_and_goes_on() {
    let place = Place::new("no-psi");
    let missing = ("ROUTE_CACHE_MEMORY_PRESSURE_FILE", "/nonexistent/pressure/memory");
    let router = Router::with_environment(place, &[], &[missing]);
    router.await_forwarding(router.flow());
    let account = router.during("nothing", || std::thread::sleep(Duration::from_secs(2)));
    account.stays(Exit::Server);
    let log = router.agent.log();
    assert_eq!(log.matches("does not tell memory pressure").count(), 1, "{log}");
    assert_eq!(level(&router), "none");
}

#[test]
fn a_file_handed_in_is_only_read() {
    let place = Place::new("psi-read");
    let file = PressureFile::new(&place, "3.00");
    let router = Router::with_environment(place, &[], &[file.variable()]);
    router.await_forwarding(router.flow());
    assert_eq!(fs::read_to_string(&file.0).unwrap(), text("3.00"));
}
