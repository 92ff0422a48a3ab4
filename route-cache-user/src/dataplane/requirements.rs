//! What the kernel must be able to do and the process be allowed to do, checked before anything is made.

use anyhow::{Context as _, Result, bail};
use aya::util::KernelVersion;

/// The oldest kernel this is known to run on.
const OLDEST: (u8, u8, u16) = (6, 1, 0);

/// Capabilities the agent works with (include/uapi/linux/capability.h).
const CAPABILITIES: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_BPF", 39)];

/// Refuses clearly what would fail obscurely.
pub(crate) fn check() -> Result<()> {
    check_kernel(KernelVersion::current().context("cannot tell the kernel's version")?)?;
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    check_capabilities(&status)
}

fn check_kernel(version: KernelVersion) -> Result<()> {
    let (major, minor, patch) = OLDEST;
    if version < KernelVersion::new(major, minor, patch) {
        bail!("this kernel is too old: Route Cache needs Linux {major}.{minor} or newer (see `uname -r`)");
    }
    Ok(())
}

/// `status` is the text of /proc/PID/status.
fn check_capabilities(status: &str) -> Result<()> {
    const CAP_SYS_ADMIN: u32 = 21;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .context("/proc/self/status names no effective capabilities")?;
    let has = |bit: u32| effective >> bit & 1 != 0;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        // Before Linux 5.8 CAP_SYS_ADMIN stood for CAP_BPF, and it still does.
        .filter(|(name, bit)| !(has(*bit) || *name == "CAP_BPF" && has(CAP_SYS_ADMIN)))
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        bail!("not permitted to load and attach BPF programs: {} missing. Run as root", missing.join(" and "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_refused_by_version() {
        assert!(check_kernel(KernelVersion::new(6, 1, 0)).is_ok());
        let error = check_kernel(KernelVersion::new(5, 15, 200)).unwrap_err().to_string();
        assert!(error.contains("needs Linux 6.1"), "{error}");
    }

    #[test]
    fn a_missing_capability_is_named() {
        assert!(check_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n").is_ok());
        let error = check_capabilities("CapEff:\t0000000000001000\n").unwrap_err().to_string();
        assert!(error.contains("CAP_BPF missing") && error.contains("root"), "{error}");
        let error = check_capabilities("CapEff:\t0000000000000000\n").unwrap_err().to_string();
        assert!(error.contains("CAP_NET_ADMIN and CAP_BPF"), "{error}");
    }
}
