//! Sending from one CPU: clones belong to the CPU that receives, and a veth receives where its peer sends.

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Does something on the first CPU that this thread may use.
pub fn pinned<T>(task: impl FnOnce() -> T) -> Result<T> {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this).context("cannot tell the CPUs of this thread")?;
    let first = (0..CpuSet::count()).find(|&cpu| all.is_set(cpu).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(first.unwrap_or(0))?;
    sched_setaffinity(this, &one).context("cannot bind this thread to a CPU")?;
    let done = task();
    sched_setaffinity(this, &all).context("cannot free this thread from a CPU")?;
    Ok(done)
}
