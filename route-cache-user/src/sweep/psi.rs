//! Memory pressure as the kernel tells it: `/proc/pressure/memory`, and the cgroup's own where the agent runs in one.
//!
//! Format: Documentation/accounting/psi.rst. No source is required.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, PROC_SUPER_MAGIC, fstatfs};

use super::pressure::Stall;

/// The system's.
const SYSTEM: &str = "/proc/pressure/memory";

/// What the kernel is asked to wake us for: tasks waiting for 300 ms in two seconds. A window that is no multiple of two
/// seconds it takes from CAP_SYS_RESOURCE alone (`psi_trigger_create`).
const TRIGGER: &[u8] = b"some 300000 2000000\0";

/// The files that tell.
#[derive(Debug)]
pub(crate) struct Sources(Vec<PathBuf>);

impl Sources {
    /// Those that this machine has: the system's, and that of the cgroup (v2) this process is in.
    pub(crate) fn find() -> Self {
        let own =
            fs::read_to_string("/proc/self/cgroup").ok().and_then(|groups| cgroup_file(&groups));
        let all = [Some(PathBuf::from(SYSTEM)), own];
        Self(all.into_iter().flatten().filter(|path| read(path).is_some()).collect())
    }

    /// Exactly this one.
    pub(crate) fn only(path: PathBuf) -> Self {
        Self(vec![path])
    }

    /// The worst of all readings.
    pub(crate) fn read(&self) -> Option<Stall> {
        let readings = self.0.iter().filter_map(read);
        readings.reduce(|a, b| Stall { some: a.some.max(b.some), full: a.full.max(b.full) })
    }

    /// Files that become readable out of band when memory gets short, where the kernel gives triggers.
    pub(crate) fn triggers(&self) -> Vec<File> {
        let tell = |path: &PathBuf, error: &io::Error| {
            if error.kind() != io::ErrorKind::Unsupported {
                tracing::info!(
                    "{} gives no trigger and is read once a second instead: {error}",
                    path.display()
                );
            }
        };
        let trigger = |path| trigger(path).inspect_err(|error| tell(path, error)).ok();
        self.0.iter().filter_map(trigger).collect()
    }
}

fn trigger(path: &PathBuf) -> io::Result<File> {
    let mut file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // To write to any other file would spoil it.
    let kernels = [PROC_SUPER_MAGIC, CGROUP2_SUPER_MAGIC];
    if !kernels.contains(&fstatfs(&file)?.filesystem_type()) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    file.write_all(TRIGGER)?;
    Ok(file)
}

fn read(path: &PathBuf) -> Option<Stall> {
    parse(&fs::read_to_string(path).ok()?)
}

/// The `avg10` of both lines. A kernel without one of the lines counts it as none.
fn parse(text: &str) -> Option<Stall> {
    let average = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let value = line.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
        value.parse::<f64>().ok().filter(|value| value.is_finite())
    };
    let some = average("some ")?;
    Some(Stall { some, full: average("full ").unwrap_or(0.0) })
}

/// `memory.pressure` of the cgroup in `/proc/self/cgroup`, if that is a v2 group other than the root.
fn cgroup_file(groups: &str) -> Option<PathBuf> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    if group.is_empty() {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    })?;
    Some(mount.join(group).join("memory.pressure"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_averages_over_ten_seconds_are_read() {
        let text = "some avg10=12.50 avg60=1.00 avg300=0.00 total=12345\n\
                    full avg10=0.75 avg60=0.00 avg300=0.00 total=99\n";
        assert_eq!(parse(text), Some(Stall { some: 12.5, full: 0.75 }));
    }

    #[test]
    fn what_is_no_pressure_file_tells_nothing() {
        for text in
            ["", "some\n", "some avg10=x\n", "some avg10=NaN\n", "full avg10=1.0\n", "\u{1b}["]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse("some avg10=3.0\n"), Some(Stall { some: 3.0, full: 0.0 }));
    }

    #[test]
    fn the_kernel_takes_the_trigger() {
        let file = trigger(&PathBuf::from(SYSTEM));
        assert!(file.is_ok() || !PathBuf::from(SYSTEM).exists(), "{file:?}");
    }

    #[test]
    fn the_root_group_and_v1_have_no_pressure_of_their_own() {
        assert_eq!(cgroup_file("0::/\n"), None);
        assert_eq!(cgroup_file("4:memory:/user\n"), None);
    }
}
