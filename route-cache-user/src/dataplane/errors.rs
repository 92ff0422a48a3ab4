//! Redirects that came to nothing: the programs on the kernel's tracepoints, and what they have counted.
//!
//! Forwarding does without them: where the kernel does not allow them, the agent says so and goes on.

use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{
    Ebpf,
    programs::{ProgramError, RawTracePoint},
};

use super::btf::{self, Btf};

/// What tells a device of the namespace served from others, in the kernel that runs: globals of the object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Inode number of the namespace.
    pub(super) netns: u32,
    /// Offset of `net_device.ifindex`.
    pub(super) ifindex: u32,
    /// Offset of `net_device.nd_net.net`.
    pub(super) net: u32,
    /// Offset of `net.ns.inum`.
    pub(super) inum: u32,
}

impl Layout {
    /// Of the running kernel, and the namespace this thread is in.
    pub(super) fn read() -> Result<Self> {
        let netns = "/proc/thread-self/ns/net";
        let inode =
            std::fs::metadata(netns).with_context(|| format!("cannot look at {netns}"))?.ino();
        let bytes = std::fs::read(btf::KERNEL).with_context(|| {
            format!("the kernel tells nothing of its types: cannot read {}", btf::KERNEL)
        })?;
        let find = || -> Result<Self> {
            let btf = Btf::parse(&bytes)?;
            Ok(Self {
                netns: u32::try_from(inode).context("the namespace has an impossible number")?,
                ifindex: btf.offset("net_device", &["ifindex"])?,
                net: btf.offset("net_device", &["nd_net", "net"])?,
                inum: btf.offset("net", &["ns", "inum"])?,
            })
        };
        find().with_context(|| format!("cannot make use of {}", btf::KERNEL))
    }
}

/// Attaches programs to tracepoints of `xdp`. They stay as long as the object is loaded.
///
/// # Errors
///
/// Says which tracepoint, and what the kernel has against it.
pub(super) fn attach(ebpf: &mut Ebpf, programs: &[(&str, &str)]) -> Result<()> {
    for &(name, tracepoint) in programs {
        let program = ebpf
            .program_mut(name)
            .ok_or_else(|| anyhow!("the BPF object has no program {name}"))?;
        let program: &mut RawTracePoint = program
            .try_into()
            .with_context(|| format!("program {name} is not one for tracepoints"))?;
        let attached = program.load().and_then(|()| program.attach(tracepoint).map(drop));
        match attached {
            Ok(()) => {}
            Err(error) if is_permission(&error) => {
                bail!("not permitted to watch xdp:{tracepoint}: CAP_PERFMON missing")
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot watch xdp:{tracepoint}"));
            }
        }
    }
    Ok(())
}

fn is_permission(error: &ProgramError) -> bool {
    let error = match error {
        ProgramError::SyscallError(error) => &error.io_error,
        ProgramError::LoadError { io_error, .. } => io_error,
        _ => return false,
    };
    error.kind() == std::io::ErrorKind::PermissionDenied
}
