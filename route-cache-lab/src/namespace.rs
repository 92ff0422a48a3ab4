//! Network namespaces with names that tell whose they are.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::{
    janitor,
    process::{Finished, Running, run},
};

/// Where `ip netns` keeps namespaces.
const DIRECTORY: &str = "/run/netns";

/// All names are `rc-PID-NUMBER-LABEL`, PID being that of the creating process.
const PREFIX: &str = "rc-";

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A network namespace, deleted when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace whose name ends in `label`, with its loopback up.
    ///
    /// # Errors
    /// If the kernel or the `ip` command refuses.
    pub fn create(label: &str) -> Result<Self> {
        janitor::engage()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{label}", process::id());
        let made = run(&["ip", "netns", "add", &name], None)?;
        if made.code != 0 {
            bail!(
                "cannot create the network namespace {name}: {} (this needs root)",
                made.stderr.trim()
            );
        }
        let path = Path::new(DIRECTORY).join(&name);
        let namespace = match open(&path) {
            Ok(file) => Self { name, file },
            Err(error) => {
                delete(&name)?;
                return Err(error);
            }
        };
        namespace.exec(&["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// Runs a command in it to its end and gives its stdout.
    ///
    /// # Errors
    /// If it cannot be started or fails.
    pub fn exec<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<String> {
        let finished = self.run(argv)?;
        if finished.code == 0 {
            return Ok(finished.stdout);
        }
        let command =
            argv.iter().map(|s| s.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
        Err(anyhow!(
            "`{command}` failed in {} with exit code {}: {}",
            self.name,
            finished.code,
            [finished.stderr.trim(), finished.stdout.trim()].join(" ").trim()
        ))
    }

    /// Runs a command in it to its end, whatever that is.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Finished> {
        run(argv, Some(self.file.as_fd()))
    }

    /// Starts a command in it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Running> {
        Running::start(argv, Some(self.file.as_fd()))
    }

    /// Runs `task` on a fresh thread in this namespace. Sockets that it opens stay in the namespace for good.
    ///
    /// Do not start processes in `task`: they would end with its thread.
    ///
    /// # Errors
    /// If the thread cannot enter the namespace, or panics. What `task` itself returns is the value.
    pub fn run_in<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter the network namespace {}", self.name))?;
                Ok(task())
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Reads a file that shows this namespace, below `/proc/sys/net` or `/proc/thread-self/net`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, path: &str) -> Result<String> {
        self.run_in(|| fs::read_to_string(path))?
            .with_context(|| format!("cannot read {path} in {}", self.name))
    }

    /// IPv4 routes of its tables local and main, which the kernel has in one.
    ///
    /// # Errors
    /// If the kernel does not tell (`CONFIG_IP_FIB_TRIE_STATS`).
    pub fn ipv4_routes(&self) -> Result<u64> {
        let told = self.read("/proc/thread-self/net/fib_triestat")?;
        let count = told.lines().find_map(|line| line.trim().strip_prefix("Prefixes:"));
        let count = count.and_then(|count| count.trim().parse().ok());
        count.with_context(|| format!("no number of prefixes in fib_triestat: {told}"))
    }

    /// Sets a sysctl, its name written with slashes: `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// If there is none of that name, or it does not take the value.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run_in(|| fs::write(Path::new("/proc/sys").join(name), value))?
            .with_context(|| format!("cannot set the sysctl {name} to {value} in {}", self.name))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = delete(&self.name) {
            eprintln!("{error:#}");
        }
    }
}

/// The descriptor by which a namespace is entered.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

/// Names of the namespaces of this scheme that exist, with the id of the process that made each.
///
/// # Errors
/// If the directory of namespaces cannot be read.
pub fn existing() -> Result<Vec<(String, u32)>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        // The first `ip netns add` makes it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {DIRECTORY}")),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| creator(&name).map(|pid| (name, pid))).collect())
}

/// Names of the namespaces of this scheme whose creator no longer lives.
///
/// # Errors
/// If the directory of namespaces cannot be read.
pub fn stale() -> Result<Vec<String>> {
    let lives = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    let all = existing()?.into_iter();
    Ok(all.filter(|&(_, creator)| !lives(creator)).map(|(name, _)| name).collect())
}

/// Deletes namespaces of this scheme whose creator no longer lives, and says which.
///
/// # Errors
/// If the directory of namespaces cannot be read, or one of them cannot be deleted.
pub fn reap_stale() -> Result<Vec<String>> {
    let stale = stale()?;
    stale.iter().try_for_each(|name| delete(name))?;
    Ok(stale)
}

/// The process that made the namespace, if its name is of this scheme.
fn creator(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (number, _label) = rest.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn delete(name: &str) -> Result<()> {
    let deleted = run(&["ip", "netns", "delete", name], None)?;
    // Another run's `reap_stale` or this one's janitor may have been quicker.
    if deleted.code != 0 && Path::new(DIRECTORY).join(name).exists() {
        bail!("cannot delete the network namespace {name}: {}", deleted.stderr.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_scheme_have_a_creator() {
        assert_eq!(creator("rc-812-3-router"), Some(812));
        assert_eq!(creator("rc-812-3-ttl-router"), Some(812));
        for foreign in ["rc-812", "rc-812-router", "rc-a-1-router", "router", "src-812-3-router"] {
            assert_eq!(creator(foreign), None, "{foreign}");
        }
    }
}
