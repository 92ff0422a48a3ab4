//! A part of the kernel that may be missing.

use std::sync::atomic::{AtomicBool, Ordering};

/// Asking for a missing subsystem makes the kernel run modprobe, every time. So it is asked for once,
/// and then only after its module was loaded by somebody else.
pub(super) struct Subsystem {
    module: &'static str,
    missing: AtomicBool,
}

impl Subsystem {
    /// A subsystem whose module has this name.
    pub(super) const fn of_module(module: &'static str) -> Self {
        Self { module, missing: AtomicBool::new(false) }
    }

    /// Whether to ask.
    pub(super) fn may_be_there(&self) -> bool {
        if !self.missing.load(Ordering::Relaxed) {
            return true;
        }
        match std::fs::read_to_string("/proc/modules") {
            Ok(modules) => is_loaded(&modules, self.module),
            // A kernel without modules runs no modprobe.
            Err(_) => true,
        }
    }

    /// The kernel said that it is not there.
    pub(super) fn is_missing(&self) {
        self.missing.store(true, Ordering::Relaxed);
    }
}

fn is_loaded(modules: &str, module: &str) -> bool {
    modules.lines().any(|line| line.split_whitespace().next() == Some(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_known_by_its_whole_name() {
        let modules = "nf_tables_offload 1 0 - Live 0x0\nnf_tables 1 0 - Live 0x0\n";
        assert!(is_loaded(modules, "nf_tables"));
        assert!(!is_loaded(modules, "nf"));
        assert!(!is_loaded("", "nf_tables"));
    }
}
