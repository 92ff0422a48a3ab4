//! Interfaces whose going down purges nothing (S15).

use glob::Pattern;

/// VRRP-style interfaces, by name or glob. They go down on every change of master; what was cloned through them is good
/// again a moment later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exempt(Vec<Pattern>);

impl Exempt {
    /// As configured.
    pub(crate) const fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// Whether a link event of this interface purges nothing. A forced purge spares none.
    pub(crate) fn spares(&self, interface: &str, is_forced: bool) -> bool {
        !is_forced && self.0.iter().any(|pattern| pattern.matches(interface))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s15_exempt_interfaces_are_spared_unless_forced() {
        let exempt = Exempt::new(vec![Pattern::new("vrrp*").unwrap()]);
        assert!(exempt.spares("vrrp4", false));
        assert!(!exempt.spares("vrrp4", true));
        assert!(!exempt.spares("eth0", false));
        assert!(!Exempt::default().spares("vrrp4", false));
    }
}
