//! A reason to leave packets to the kernel.

use crate::fib::{
    family::IpFamily,
    why::{Code, Why},
};

/// What would be bypassed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reason {
    /// Which kind of reason.
    pub(crate) code: Code,
    /// The one interface it concerns; all of them if there is none. `eth*` is every name that begins so.
    pub(crate) interface: Option<String>,
    /// The one family it concerns; both if there is none.
    pub(crate) family: Option<IpFamily>,
    /// For people; names the object, and what to do where that is not plain.
    pub(crate) sentence: String,
}

impl Reason {
    /// A reason that concerns all interfaces.
    pub(super) fn everywhere(code: Code, sentence: impl Into<String>) -> Self {
        Self { code, interface: None, family: None, sentence: sentence.into() }
    }

    /// The same, for one family alone.
    pub(super) fn of(self, family: IpFamily) -> Self {
        Self { family: Some(family), ..self }
    }

    /// Without whom it concerns.
    pub(super) fn why(&self) -> Why {
        Why::new(self.code, self.sentence.clone())
    }

    /// Whether it concerns a family.
    pub(crate) fn is_of(&self, family: IpFamily) -> bool {
        self.family.is_none_or(|own| own == family)
    }

    /// Whether it concerns the interface of this name.
    pub(crate) fn concerns(&self, interface: &str) -> bool {
        match self.interface.as_deref() {
            None => true,
            Some(pattern) => match pattern.strip_suffix('*') {
                Some(prefix) => interface.starts_with(prefix),
                None => interface == pattern,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_concerns_its_interface_or_all() {
        let on = |interface: Option<&str>| Reason {
            interface: interface.map(str::to_owned),
            ..Reason::everywhere(Code::Netfilter, "")
        };
        assert!(on(None).concerns("eth0"));
        assert!(on(Some("eth0")).concerns("eth0"));
        assert!(!on(Some("eth0")).concerns("eth01"));
        assert!(on(Some("eth*")).concerns("eth01"));
        assert!(!on(Some("eth*")).concerns("veth0"));
    }
}
