//! Netlink as bytes: messages in a datagram, attributes in a message. RFC 3549, include/uapi/linux/netlink.h.

use std::net::IpAddr;

use crate::fib::{family::IpFamily, message::Mac};

/// Size of `struct nlmsghdr`.
pub(super) const MESSAGE_HEADER: usize = 16;

/// Size of `struct nlattr`.
pub(super) const ATTRIBUTE_HEADER: usize = 4;

/// Everything but NLA_F_NESTED and NLA_F_NET_BYTEORDER, which say nothing about what an attribute is.
const TYPE_MASK: u16 = 0x3fff;

/// Bytes that are not what the kernel's headers promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The length in a message header does not fit the datagram.
    #[error("a netlink message says it is {0} bytes long, which does not fit")]
    MessageLength(u32),
    /// The message has no room for the header of its family.
    #[error("netlink message {0} is shorter than its header")]
    Header(u16),
    /// The length in an attribute header does not fit what encloses it.
    #[error("netlink attribute {kind} says it is {length} bytes long, which does not fit")]
    AttributeLength {
        /// The attribute's type.
        kind: u16,
        /// What it says.
        length: u16,
    },
    /// An attribute is too short for its value.
    #[error("netlink attribute {0} is too short for its value")]
    Value(u16),
    /// A next hop in a multipath route does not fit.
    #[error("a next hop of a multipath route does not fit")]
    NextHop,
    /// An attribute without which the message means nothing is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A prefix length beyond the address.
    #[error("prefix length {0} is more than an address has bits")]
    PrefixLength(u8),
}

/// Rounds up to NLMSG_ALIGNTO, which is NLA_ALIGNTO too.
pub(super) const fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// The messages of a datagram, in order; ends after the first malformed one.
pub(crate) fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

/// See [`messages`].
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

/// A netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// nlmsg_type.
    pub(crate) kind: u16,
    /// nlmsg_flags.
    pub(crate) flags: u16,
    /// nlmsg_seq.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let datagram = std::mem::take(&mut self.rest);
        if datagram.is_empty() {
            return None;
        }
        let Some((header, _)) = datagram.split_first_chunk::<MESSAGE_HEADER>() else {
            return Some(Err(Malformed::MessageLength(0)));
        };
        let &[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]);
        match datagram.get(MESSAGE_HEADER..length as usize) {
            None => Some(Err(Malformed::MessageLength(length))),
            Some(payload) => {
                // The last message of a datagram may lack its padding.
                self.rest = datagram.get(align(length as usize)..).unwrap_or_default();
                Some(Ok(Message {
                    kind: u16::from_ne_bytes([k0, k1]),
                    flags: u16::from_ne_bytes([f0, f1]),
                    sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
                    payload,
                }))
            }
        }
    }
}

impl<'a> Message<'a> {
    /// The fixed header of the message's family and the attributes behind it.
    #[inline]
    pub(crate) fn split<const HEADER: usize>(
        &self,
    ) -> Result<(&'a [u8; HEADER], Attributes<'a>), Malformed> {
        let header = self.payload.first_chunk().ok_or(Malformed::Header(self.kind))?;
        let rest = self.payload.get(align(HEADER)..).unwrap_or_default();
        Ok((header, attributes(rest)))
    }
}

/// The attributes in `bytes`, in order; ends after the first malformed one.
#[inline]
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// See [`attributes`].
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

/// A netlink attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// nla_type without its flags.
    pub(crate) kind: u16,
    /// What follows the header, without padding.
    pub(crate) value: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    /// Fewer than four bytes at the end are no attribute and no error, as in the kernel's `nla_for_each_attr`.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.rest);
        let &[l0, l1, k0, k1] = bytes.first_chunk::<ATTRIBUTE_HEADER>()?;
        let length = u16::from_ne_bytes([l0, l1]);
        let kind = u16::from_ne_bytes([k0, k1]) & TYPE_MASK;
        match bytes.get(ATTRIBUTE_HEADER..usize::from(length)) {
            None => Some(Err(Malformed::AttributeLength { kind, length })),
            Some(value) => {
                self.rest = bytes.get(align(usize::from(length))..).unwrap_or_default();
                Some(Ok(Attribute { kind, value }))
            }
        }
    }
}

impl<'a> Attribute<'a> {
    #[inline]
    fn bytes<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        self.value.first_chunk().copied().ok_or(Malformed::Value(self.kind))
    }

    /// A 16-bit number in the machine's byte order.
    #[inline]
    pub(crate) fn u16(&self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_ne_bytes)
    }

    /// A 32-bit number in the machine's byte order.
    #[inline]
    pub(crate) fn u32(&self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_ne_bytes)
    }

    /// A signed 32-bit number in the machine's byte order.
    #[inline]
    pub(crate) fn i32(&self) -> Result<i32, Malformed> {
        self.bytes().map(i32::from_ne_bytes)
    }

    /// A 64-bit number in the machine's byte order.
    #[inline]
    pub(crate) fn u64(&self) -> Result<u64, Malformed> {
        self.bytes().map(u64::from_ne_bytes)
    }

    /// A 32-bit number in network byte order.
    #[inline]
    pub(crate) fn be32(&self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// An address of a family.
    #[inline]
    pub(crate) fn ip(&self, family: IpFamily) -> Result<IpAddr, Malformed> {
        match family {
            IpFamily::V4 => self.bytes::<4>().map(IpAddr::from),
            IpFamily::V6 => self.bytes::<16>().map(IpAddr::from),
        }
    }

    /// A MAC address, if the hardware address is one.
    pub(crate) fn mac(&self) -> Option<Mac> {
        self.value.try_into().ok()
    }

    /// Text up to the first NUL. What is not UTF-8 is shown as such, not refused: interface names are bytes.
    pub(crate) fn text(&self) -> String {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(self.value.get(..end).unwrap_or_default()).into_owned()
    }

    /// The attributes inside.
    #[inline]
    pub(crate) fn nested(&self) -> Attributes<'a> {
        attributes(self.value)
    }
}
