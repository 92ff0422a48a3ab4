//! BPF programs on the traffic control hooks that have no queueing discipline (tcx, Linux 6.6).

use anyhow::Context;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, tc::TcError};

/// The programs on both tcx hooks of an interface, by id. One whose id may not be asked for (that takes
/// CAP_SYS_ADMIN), or that went while it was asked for, stands there as 0.
pub(crate) fn tcx_programs(interface: &str) -> anyhow::Result<Vec<u32>> {
    let mut programs = attached(interface, TcAttachType::Ingress)?;
    programs.extend(attached(interface, TcAttachType::Egress)?);
    Ok(programs)
}

fn attached(interface: &str, hook: TcAttachType) -> anyhow::Result<Vec<u32>> {
    match SchedClassifier::query_tcx(interface, hook) {
        Ok((_, programs)) => Ok(programs.iter().map(|program| program.id()).collect()),
        Err(ProgramError::SyscallError(error)) if error.call != "bpf_prog_query" => Ok(vec![0]),
        // Before Linux 6.6 the hook is an unknown number, or the interface went meanwhile.
        Err(ProgramError::SyscallError(error))
            if matches!(error.io_error.raw_os_error(), Some(libc::EINVAL | libc::ENODEV)) =>
        {
            Ok(Vec::new())
        }
        // It went before its name was looked up.
        Err(ProgramError::TcError(TcError::IoError(error)))
            if error.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error).with_context(|| format!("tcx programs of `{interface}`")),
    }
}
