//! What a figure depends on besides the code.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde::Serialize;

/// The machine, as far as it matters.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Of the first CPU.
    pub(crate) cpu: String,
    /// That are on-line.
    pub(crate) cpus: usize,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Whether BPF programs are compiled, by `net.core.bpf_jit_enable`.
    pub(crate) jit: String,
    /// What the kernel does against faults of the CPU; those that do not affect it are left out.
    pub(crate) mitigations: BTreeMap<String, String>,
    /// Processes that wanted a CPU at the start, on average over a minute.
    pub(crate) load: String,
    /// Day of the measurement.
    pub(crate) date: String,
}

impl Machine {
    /// This one.
    pub(crate) fn read() -> Result<Self> {
        let info = text("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        Ok(Self {
            cpu: model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease"),
            jit: text("/proc/sys/net/core/bpf_jit_enable"),
            mitigations: mitigations(),
            load: text("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            date: date()?,
        })
    }
}

/// CPUs that may ever come on-line.
pub(crate) fn possible_cpus() -> Result<usize> {
    aya::util::nr_cpus().map_err(|(_, error)| error).context("cannot tell the number of CPUs")
}

fn mitigations() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten();
    let read = |entry: fs::DirEntry| {
        let state = text(entry.path().to_str()?);
        (state != "Not affected").then(|| (entry.file_name().to_string_lossy().into_owned(), state))
    };
    entries.filter_map(|entry| read(entry.ok()?)).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn date() -> Result<String> {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let output = output.context("cannot start `date`")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
