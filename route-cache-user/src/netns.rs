//! Network namespaces, by name as `ip netns` knows them, or by path.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps them.
const DIRECTORY: &str = "/run/netns";

/// Moves this thread, and all threads it starts from now on, into a network namespace.
///
/// # Errors
///
/// Names the namespace, and says whether it is missing or not allowed.
pub(crate) fn enter(name_or_path: &str) -> Result<()> {
    let path = path_of(name_or_path);
    let file = File::open(&path).with_context(|| {
        format!("no network namespace {name_or_path}: cannot open {} (`ip netns list` shows those with names)", path.display())
    })?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter network namespace {}: is it one, and is this root?", path.display()))
}

fn path_of(name_or_path: &str) -> PathBuf {
    if name_or_path.contains('/') {
        PathBuf::from(name_or_path)
    } else {
        Path::new(DIRECTORY).join(name_or_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_where_ip_netns_keeps_it() {
        assert_eq!(path_of("blue"), Path::new("/run/netns/blue"));
        assert_eq!(path_of("/proc/1/ns/net"), Path::new("/proc/1/ns/net"));
    }

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let error = format!("{:#}", enter("no-such-namespace").unwrap_err());
        assert!(error.contains("no network namespace no-such-namespace"), "{error}");
    }
}
