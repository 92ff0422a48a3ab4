//! What a process has taken up.

use std::{fmt, fs, time::Duration};

use anyhow::{Context, Result};

/// Ticks a second in which the kernel tells CPU time (USER_HZ), on x86 and arm64.
const TICKS: f64 = 100.0;

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time since it started, in its own code and in the kernel.
    pub cpu: Duration,
    /// KiB of memory that it has now (VmRSS).
    pub rss_kib: u64,
    /// KiB that it had at the most (VmHWM).
    pub peak_kib: u64,
}

impl Usage {
    /// Of a process, up to now.
    ///
    /// # Errors
    /// If it is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (status, stat) = (read("status")?, read("stat")?);
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.with_context(|| format!("the status of process {pid} has no {name}"))
        };
        let used = ticks_of(&stat).with_context(|| format!("the stat of process {pid} is odd"))?;
        Ok(Self {
            cpu: Duration::from_secs_f64(used as f64 / TICKS),
            rss_kib: kib("VmRSS:")?,
            peak_kib: kib("VmHWM:")?,
        })
    }
}

/// utime and stime of `/proc/PID/stat`, the 12th and 13th field behind the name, which may have blanks in it.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, rss_kib, peak_kib } = self;
        let (rss, peak) = (rss_kib >> 10, peak_kib >> 10);
        write!(f, "{:.1} s of CPU, {rss} MiB of memory, at most {peak} MiB", cpu.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_matter() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 99 0 0 0 31 11 5 5 20 0 3 0 42 1 2";
        assert_eq!(ticks_of(stat), Some(42));
        assert_eq!(ticks_of("7 (a"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_kib > 0 && usage.peak_kib >= usage.rss_kib, "{usage}");
    }
}
