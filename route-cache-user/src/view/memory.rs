//! The memory of the maps, and of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};

use crate::sys::{self, MapInfo};

/// Types of maps (`enum bpf_map_type`).
const HASH: u32 = 1;
const LPM_TRIE: u32 = 11;

/// Bytes of the maps that this process has open, as the kernel accounts them, by name.
pub(super) fn of_maps() -> Result<BTreeMap<String, u64>> {
    let (mut bytes, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for entry in fs::read_dir("/proc/self/fdinfo").context("cannot read /proc/self/fdinfo")? {
        let entry = entry.context("cannot list /proc/self/fdinfo")?;
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let memory = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        let memory = memory.and_then(|bytes| bytes.trim().parse::<u64>().ok());
        let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(memory), Some(fd)) = (memory, fd)
            && let Ok(map) = sys::map_info(fd)
            && seen.insert(map.id)
        {
            *bytes.entry(name(&map)).or_default() += memory;
        }
    }
    Ok(bytes)
}

/// As the object calls it. The tables of single CPUs have no names: they count with those that hold them.
fn name(map: &MapInfo) -> String {
    match (map.name(), map.kind, map.key_size) {
        ("", HASH, 4) => "clones4".into(),
        ("", HASH, 16) => "clones6".into(),
        ("", LPM_TRIE, 8) => "routes4".into(),
        ("", LPM_TRIE, 20) => "routes6".into(),
        ("", ..) => "other".into(),
        (name, ..) => name.trim_start_matches('.').to_lowercase(),
    }
}

/// Bytes of memory that this process has in all.
pub(super) fn resident() -> Result<u64> {
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).context("/proc/self/status has no VmRSS")
}
