//! The address families as values.

use std::{
    fmt::Display,
    net::IpAddr,
    ops::{Index, IndexMut},
};

/// A family as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// As people write it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// From its name, as people and `ip` write it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "ipv4" | "inet" | "4" => Some(Self::V4),
            "ipv6" | "inet6" | "6" => Some(Self::V6),
            _ => None,
        }
    }

    /// From AF_INET or AF_INET6.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        match i32::from(number) {
            libc::AF_INET => Some(Self::V4),
            libc::AF_INET6 => Some(Self::V6),
            _ => None,
        }
    }

    /// AF_INET or AF_INET6.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => libc::AF_INET as u8,
            Self::V6 => libc::AF_INET6 as u8,
        }
    }

    /// That of an address.
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl Display for IpFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The same for each family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PerFamily<T> {
    /// For IPv4.
    pub(crate) v4: T,
    /// For IPv6.
    pub(crate) v6: T,
}

impl<T> Index<IpFamily> for PerFamily<T> {
    type Output = T;

    fn index(&self, family: IpFamily) -> &T {
        match family {
            IpFamily::V4 => &self.v4,
            IpFamily::V6 => &self.v6,
        }
    }
}

impl<T> IndexMut<IpFamily> for PerFamily<T> {
    fn index_mut(&mut self, family: IpFamily) -> &mut T {
        match family {
            IpFamily::V4 => &mut self.v4,
            IpFamily::V6 => &mut self.v6,
        }
    }
}
