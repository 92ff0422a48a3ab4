//! Attaches the forwarder to interfaces, as `bpf_link`s, and lets go of them.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{ProgramError, links::FdLink, loaded_programs, xdp::XdpLink},
};
use glob::Pattern;

use crate::{
    cli::XdpMode,
    fib::message::{Ifindex, Link},
};

/// Which interfaces are wanted, by name or glob.
#[derive(Debug)]
pub(crate) struct Wanted(Vec<Pattern>);

impl Wanted {
    /// These names and globs.
    pub(crate) const fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// Whether an interface is wanted.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether an interface is wanted by its very name, not by a glob.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| !is_glob(pattern) && pattern.matches(name))
    }

    /// Refuses a start that would do nothing, or not what was meant.
    ///
    /// # Errors
    ///
    /// Names the interface that does not exist, and those that do.
    pub(crate) fn check<'a>(&self, existing: impl Iterator<Item = &'a str>) -> Result<()> {
        let existing: Vec<_> = existing.collect();
        let found = |pattern: &Pattern| existing.iter().any(|name| pattern.matches(name));
        let there_are = || format!("the interfaces here are: {}", existing.join(", "));
        if let Some(missing) = self.0.iter().find(|pattern| !is_glob(pattern) && !found(pattern)) {
            bail!("no such interface: {missing} ({})", there_are());
        }
        if !self.0.iter().any(found) {
            let globs: Vec<_> = self.0.iter().map(Pattern::as_str).collect();
            bail!("no interface matches {} ({})", globs.join(" or "), there_are());
        }
        for idle in self.0.iter().filter(|pattern| !found(pattern)) {
            tracing::warn!(
                "no interface matches {idle} yet; those that appear and match will be attached"
            );
        }
        Ok(())
    }
}

fn is_glob(pattern: &Pattern) -> bool {
    pattern.as_str().contains(['*', '?', '['])
}

/// The interfaces the forwarder is attached to.
#[derive(Debug)]
pub(crate) struct Attachments {
    program: &'static str,
    mode: XdpMode,
    links: BTreeMap<Ifindex, FdLink>,
    /// Wanted, and why not attached. Tried again when the interface changes.
    failed: BTreeMap<Ifindex, String>,
}

impl Attachments {
    /// None yet.
    pub(crate) const fn new(program: &'static str, mode: XdpMode) -> Self {
        Self { program, mode, links: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// How the program is attached, as metrics and JSON have it.
    pub(crate) const fn mode_name(&self) -> &'static str {
        match self.mode {
            XdpMode::Native => "native",
            XdpMode::Skb => "skb",
        }
    }

    /// Whether the program is attached to an interface.
    pub(crate) fn is_attached(&self, ifindex: Ifindex) -> bool {
        self.links.contains_key(&ifindex)
    }

    /// Whether the program is attached anywhere.
    pub(crate) fn is_any(&self) -> bool {
        !self.links.is_empty()
    }

    /// Why a wanted interface is not attached.
    pub(crate) fn failure(&self, ifindex: Ifindex) -> Option<&str> {
        self.failed.get(&ifindex).map(String::as_str)
    }

    /// Attaches to an interface of the namespace this thread is in.
    ///
    /// # Errors
    ///
    /// Says what the kernel or the driver has against it, and what to do. The reason is kept, too.
    pub(crate) fn attach(&mut self, ebpf: &mut Ebpf, link: &Link) -> Result<()> {
        match self.try_attach(ebpf, link) {
            Ok(fd) => {
                self.links.insert(link.ifindex, fd);
                self.failed.remove(&link.ifindex);
                Ok(())
            }
            Err(error) => {
                self.failed.insert(link.ifindex, format!("{error:#}"));
                Err(error)
            }
        }
    }

    fn try_attach(&self, ebpf: &mut Ebpf, link: &Link) -> Result<FdLink> {
        if link.ifindex >= route_cache_common::MAX_IFINDEX {
            bail!("{}: its index {} is beyond what the maps hold", link.name, link.ifindex);
        }
        let program = super::program(ebpf, self.program)?;
        let mode = match self.mode {
            XdpMode::Native => aya::programs::XdpMode::Driver,
            XdpMode::Skb => aya::programs::XdpMode::Skb,
        };
        let id = program
            .attach_to_if_index(link.ifindex, mode)
            .map_err(|error| explain(&error, link))?;
        let attached: XdpLink = program.take_link(id)?;
        // Where the kernel refuses a bpf_link with EINVAL, aya attaches over netlink instead; that would outlive a
        // killed agent. Dropping it detaches it.
        FdLink::try_from(attached).map_err(|_netlink| {
            anyhow!("{}: the kernel gives no bpf_link here; not attached, because it would outlive the agent", link.name)
        })
    }

    /// Lets go of an interface. Returns whether the program was attached.
    pub(crate) fn detach(&mut self, ifindex: Ifindex) -> bool {
        self.failed.remove(&ifindex);
        // Dropping the last descriptor of the link detaches.
        self.links.remove(&ifindex).is_some()
    }
}

fn explain(error: &ProgramError, link: &Link) -> anyhow::Error {
    let name = &link.name;
    let errno = match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    match errno {
        Some(libc::EBUSY | libc::EEXIST) => {
            anyhow!(
                "{name}: another XDP program is attached{}; detach it first (`ip link set dev {name} xdp off`, `bpftool net`)",
                owner(link)
            )
        }
        Some(libc::EOPNOTSUPP) => anyhow!(
            "{name}: its driver has no native XDP. `--xdp-mode skb` works with any driver, and is slow"
        ),
        Some(libc::ERANGE | libc::EINVAL | libc::EMSGSIZE) => anyhow!(
            "{name}: its driver refuses XDP as it is set up now: {error}. An MTU above one page (about 3500), LRO, or too few queues may be why"
        ),
        Some(libc::EPERM) => anyhow!("{name}: not permitted to attach. Run as root"),
        Some(libc::ENODEV) => anyhow!("{name}: the interface is gone"),
        _ => anyhow!("{name}: cannot attach: {error}"),
    }
}

/// The program that is there, as far as the kernel tells.
fn owner(link: &Link) -> String {
    let Some(id) = link.xdp_program else {
        return String::new();
    };
    let found = loaded_programs().flatten().find(|program| program.id() == id);
    match found.as_ref().and_then(|program| program.name_as_str()) {
        Some(name) if name.starts_with("route_cache") => {
            format!(" (id {id}: another route-cache agent)")
        }
        Some(name) => format!(" (id {id}, name {name})"),
        None => format!(" (id {id})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[&str], existing: &[&str]) -> Result<(), String> {
        let wanted = Wanted::new(wanted.iter().map(|name| Pattern::new(name).unwrap()).collect());
        wanted.check(existing.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_interface_that_does_not_exist_is_refused_by_name() {
        let error = check(&["eth0", "eth9"], &["lo", "eth0"]).unwrap_err();
        assert_eq!(error, "no such interface: eth9 (the interfaces here are: lo, eth0)");
    }

    #[test]
    fn a_glob_may_match_nothing_only_beside_one_that_matches() {
        assert!(check(&["eth0", "veth*"], &["eth0"]).is_ok());
        let error = check(&["veth*"], &["eth0"]).unwrap_err();
        assert!(error.starts_with("no interface matches veth*"), "{error}");
    }
}
