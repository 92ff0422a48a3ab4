//! Builds the few messages the agent sends.

use super::wire::{ATTRIBUTE_HEADER, MESSAGE_HEADER, align};

/// NLM_F_REQUEST.
pub(crate) const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
/// NLM_F_ACK.
pub(crate) const ACK: u16 = libc::NLM_F_ACK as u16;
/// NLM_F_DUMP.
pub(crate) const DUMP: u16 = libc::NLM_F_DUMP as u16;

/// A message to the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request for a whole table; `header` is the fixed header of the family.
    pub(crate) fn dump(kind: u16, header: &[u8]) -> Self {
        Self::new(kind, REQUEST | DUMP, header)
    }

    /// A request that is answered by one message or by an error.
    pub(crate) fn get(kind: u16, header: &[u8]) -> Self {
        Self::new(kind, REQUEST, header)
    }

    /// A request that changes something and is answered by an acknowledgement.
    pub(crate) fn change(kind: u16, header: &[u8]) -> Self {
        Self::new(kind, REQUEST | ACK, header)
    }

    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; MESSAGE_HEADER];
        put(&mut bytes, 4, &kind.to_ne_bytes());
        put(&mut bytes, 6, &flags.to_ne_bytes());
        bytes.extend_from_slice(header);
        bytes.resize(align(bytes.len()), 0);
        Self { bytes }
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        // What is sent is small and fixed at compile time; a longer value would be cut, and refused.
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(align(self.bytes.len()), 0);
        self
    }

    /// The bytes to send.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        put(&mut self.bytes, 0, &length.to_ne_bytes());
        put(&mut self.bytes, 8, &sequence.to_ne_bytes());
        self.bytes
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
