//! Memory pressure that is real: the kernel's trigger fires, and all CPUs drain.
//!
//! The agent shares a cgroup with processes that read a file larger than the memory they are allowed. The file is 64 MB,
//! the memory 8 MB; the machine has as much left as before, but its own figures show that these processes wait.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use route_cache_lab::{Running, process::run, wait_until};

use crate::{
    pressure::level,
    router::{BEYOND, PATIENCE, Place, Router},
    stream::Exit,
};

/// What the readers are allowed, and what they read.
const ALLOWED: u64 = 8 << 20;
const FILE_MB: u32 = 64;

/// Reads it again and again. The cache is bypassed by nobody, but dropped by the kernel for want of memory.
const READ: &str = "while :; do dd if=\"$1\" of=/dev/null bs=64k 2>/dev/null; done";

/// Enters cgroups, the first arguments up to `--`, and executes the rest.
const ENTER: &str = "while [ \"$1\" != -- ]; do echo $$ >\"$1/cgroup.procs\" || exit; shift; done; shift; exec \"$@\"";

/// Cgroups below this process's own, and a file to be read. Gone when this is dropped, with whatever runs in them.
struct Hog {
    /// Where pressure is told: v2, without any controller.
    group: PathBuf,
    /// Where memory is limited: v2 where it has the controller, else v1.
    limited: PathBuf,
    file: PathBuf,
}

impl Hog {
    fn new(place: &Place) -> Self {
        let name = place.router.name();
        let group = own_cgroup("cgroup2", "0::").join(name);
        let mut hog =
            Self { limited: group.clone(), group, file: Path::new("/var/tmp").join(name) };
        fs::create_dir(&hog.group).unwrap();
        if !hog.group.join("memory.high").exists() {
            hog.limited = own_cgroup("cgroup", ":memory:").join(name);
            fs::create_dir(&hog.limited).unwrap();
            fs::write(hog.limited.join("memory.limit_in_bytes"), ALLOWED.to_string()).unwrap();
        }
        // Not on a tmpfs, as /tmp may be; and out of the cache, where it would be in nobody's way.
        let (file, count) = (hog.file.display(), format!("count={FILE_MB}"));
        let (to, from) = (format!("of={file}"), format!("if={file}"));
        for argv in [
            &["dd", "if=/dev/zero", &to, "bs=1M", &count, "conv=fsync"][..],
            &["dd", &from, "iflag=nocache", "count=0"],
        ] {
            let finished = run(argv, None).unwrap();
            assert_eq!(finished.code, 0, "{argv:?}: {}", finished.stderr);
        }
        hog
    }

    /// Has the agent started where pressure is told.
    fn launcher(&self) -> Vec<String> {
        ["sh", "-c", ENTER, "sh", &self.group.display().to_string(), "--"].map(str::to_owned).into()
    }

    /// Four that read, with too little memory to keep what they read.
    fn press(&self) -> Vec<Running> {
        if self.limited == self.group {
            let now = fs::read_to_string(self.group.join("memory.current")).unwrap();
            let high = now.trim().parse::<u64>().unwrap() + ALLOWED;
            fs::write(self.group.join("memory.high"), high.to_string()).unwrap();
        }
        let [group, limited, file] =
            [&self.group, &self.limited, &self.file].map(|path| path.display().to_string());
        let argv = ["sh", "-c", ENTER, "sh", &group, &limited, "--", "sh", "-c", READ, "sh", &file];
        (0..4).map(|_| Running::start(&argv, None).unwrap()).collect()
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        // What is left to read ends by itself; this is for whatever else hangs in there.
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        let _ = fs::remove_file(&self.file);
        let removed = wait_until("the cgroups to go", PATIENCE, || {
            [&self.group, &self.limited]
                .into_iter()
                .all(|group| !group.exists() || fs::remove_dir(group).is_ok())
        });
        if let Err(error) = removed {
            eprintln!("{} or {} is left: {error:#}", self.group.display(), self.limited.display());
        }
    }
}

/// The directory of this process's own cgroup in the hierarchy that `/proc/self/cgroup` marks so.
fn own_cgroup(kind: &str, mark: &str) -> PathBuf {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let group = groups.lines().find_map(|line| line.split_once(mark));
    let (_, path) = group.unwrap_or_else(|| panic!("no {mark} in {groups}"));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let is_it = fields[2] == kind
            && (kind == "cgroup2" || fields[3].split(',').any(|option| option == "memory"));
        is_it.then(|| PathBuf::from(fields[1]))
    });
    let mount = mount.unwrap_or_else(|| panic!("no {kind} for {mark} is mounted"));
    mount.join(path.trim_start_matches('/'))
}

#[test]
fn s13_memory_that_is_really_short_fires_the_trigger_and_drains_all_cpus() {
    let place = Place::new("memory");
    let hog = Hog::new(&place);
    let launcher = hog.launcher();
    let launcher: Vec<_> = launcher.iter().map(String::as_str).collect();
    let arguments = ["--sweep-interval", "1h", "--log-level", "debug"];
    let router = Router::set_up(place, &arguments, |setup| {
        // Empty: the kernel's own.
        setup.environment("ROUTE_CACHE_MEMORY_PRESSURE_FILE", "").launched_by(&launcher)
    });
    // It listens to its own cgroup.
    let pressure = hog.group.join("memory.pressure");
    let files = fs::read_dir(format!("/proc/{}/fd", router.agent.pid())).unwrap();
    let mut targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    assert!(targets.any(|target| target == pressure), "{} is not open", pressure.display());
    let cpus = router.clone_on_every_cpu(BEYOND) as u64;
    assert_eq!(router.expired("drain"), 0, "{}", router.story());
    assert!(!router.agent.log().contains("tasks wait for memory"), "{}", router.story());

    let told = || fs::read_to_string(&pressure).unwrap();
    let began = Instant::now();
    let mut fired = None;
    let account = router.during("memory is short", || {
        let readers = hog.press();
        wait_until("the drain", Duration::from_secs(60), || {
            if fired.is_none() && router.agent.log().contains("tasks wait for memory") {
                fired = Some(began.elapsed());
            }
            router.agent.log().contains("memory is short: draining")
        })
        .unwrap_or_else(|error| panic!("{error:#}; {}; {}", told(), router.story()));
        drop(readers);
        // Whoever asks for another within the second gets none.
        let again = || router.agent.cli(&["drain"]).unwrap().stdout;
        let skipped = "all CPUs are draining, or were drained within this second";
        // The drain may have been at the end of its second: then the first of these is the one of the next.
        let said = [again(), again()];
        assert!(said.iter().any(|said| said.contains(skipped)), "{said:?}");
    });
    account.stays(Exit::Server);
    eprintln!("fired after {fired:?}, drained within {:?}: {}", began.elapsed(), told());
    assert!(fired.is_some(), "the trigger did not fire: {}", router.story());
    assert_eq!(level(&router), "drain", "{}", router.story());
    assert!(
        router.agent.log().contains(&format!("draining the clones of {cpus} CPUs")),
        "{}",
        router.story()
    );
    wait_until("the drain to be counted", PATIENCE, || router.expired("drain") >= cpus)
        .unwrap_or_else(|error| panic!("{error:#}; {}", router.story()));
}
