//! The packet cursor: bounds-checked access to the bytes of one frame. It knows nothing of XDP.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use crate::headers::{Ethernet, Frame, Header, Ipv4, Ipv6, TaggedEthernet, TaggedFrame};

/// Plain words that may be read at any even offset of a frame.
///
/// # Safety
///
/// Every bit pattern must be a value, and the alignment at most 2.
pub unsafe trait Words: Copy {}

// SAFETY: integers only, alignment 2, as of all structs here.
unsafe impl Words for Ethernet {}
// SAFETY: integers only, alignment 2.
unsafe impl Words for TaggedEthernet {}
// SAFETY: integers only, alignment 2.
unsafe impl Words for Ipv4 {}
// SAFETY: integers only, alignment 2.
unsafe impl Words for Ipv6 {}
// SAFETY: words behind words, without padding.
unsafe impl<H: Header> Words for Frame<H> {}
// SAFETY: words behind words, without padding.
unsafe impl<H: Header> Words for TaggedFrame<H> {}
// SAFETY: an integer.
unsafe impl Words for u16 {}
// SAFETY: integers.
unsafe impl Words for [u16; 2] {}

/// The bytes of one frame, from the Ethernet header on.
pub struct Packet<'a> {
    start: usize,
    end: usize,
    frame: PhantomData<&'a mut [u8]>,
}

impl<'a> Packet<'a> {
    /// A cursor over the bytes from `start` up to, not including, `end`.
    ///
    /// # Safety
    ///
    /// The bytes must be valid for reads and writes for `'a`, used by nobody else, and start at an even address.
    #[inline(always)]
    pub unsafe fn new(start: usize, end: usize) -> Self {
        Self { start, end, frame: PhantomData }
    }

    /// Bytes in the frame.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The words of a header at an offset (even, at most 255), if the frame has them all.
    #[inline(always)]
    pub fn get<T: Words>(&self, offset: usize) -> Option<&T> {
        let start = self.start + offset;
        if start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the comparison above keeps it inside the frame; T is plain words; `new` promises the alignment.
        Some(unsafe { &*(start as *const T) })
    }

    /// The same frame from behind a VLAN tag of `tag` bytes on: what is read at an offset is what stands there in an
    /// untagged frame, but for the MAC addresses.
    #[inline(always)]
    pub fn behind(&self, tag: usize) -> Packet<'_> {
        Packet { start: self.start + tag, ..*self }
    }

    /// The first words, to be written.
    #[inline(always)]
    pub fn first_mut<T: Words>(&mut self) -> Option<&mut T> {
        if self.start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `get`, and the cursor is borrowed, so nobody else can reach the bytes.
        Some(unsafe { &mut *(self.start as *mut T) })
    }
}

#[cfg(test)]
pub mod testing {
    //! Frames for the host tests.

    use super::Packet;

    /// The bytes of a frame, at an even address.
    #[derive(Clone)]
    pub struct Bytes {
        words: Vec<u16>,
        len: usize,
    }

    impl Bytes {
        /// Takes over these bytes.
        pub fn new(bytes: &[u8]) -> Self {
            let words = bytes
                .chunks(2)
                .map(|pair| u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
                .collect();
            Self { words, len: bytes.len() }
        }

        /// A cursor over them.
        pub fn packet(&mut self) -> Packet<'_> {
            let start = self.words.as_mut_ptr() as usize;
            // SAFETY: `len` bytes of a vector of words that is borrowed for as long as the cursor lives.
            unsafe { Packet::new(start, start + self.len) }
        }

        /// The bytes as they are now.
        pub fn bytes(&self) -> Vec<u8> {
            let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes[..self.len].to_vec()
        }

        /// With one byte changed.
        pub fn byte(self, offset: usize, value: u8) -> Self {
            let mut bytes = self.bytes();
            bytes[offset] = value;
            Self::new(&bytes)
        }

        /// With only the first `len` bytes.
        pub fn cut(self, len: usize) -> Self {
            Self::new(&self.bytes()[..len])
        }

        /// With `len` bytes of padding behind.
        pub fn padded(self, len: usize) -> Self {
            let mut bytes = self.bytes();
            bytes.extend(std::iter::repeat_n(0, len));
            Self::new(&bytes)
        }
    }

    impl Bytes {
        /// With a VLAN tag: priority 5, this VLAN id.
        pub fn tagged(self, vlan: u16) -> Self {
            let mut bytes = self.bytes();
            let [high, low] = (0xa000 | vlan).to_be_bytes();
            bytes.splice(12..12, [0x81, 0x00, high, low]);
            Self::new(&bytes)
        }
    }

    /// A UDP datagram from 2001:db8:1::2 to 2001:db8:2::2, 4 bytes of payload, hop limit 64, checksum right.
    pub fn datagram6() -> Bytes {
        Bytes::new(&[
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, // Ethernet
            0x60, 0, 0, 0, 0, 12, 17, 64, // IPv6
            0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // source
            0x20, 1, 0x0d, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // destination
            0x10, 0x00, 0x20, 0x00, 0, 12, 0x70, 0x57, // UDP
            1, 2, 3, 4,
        ])
    }

    /// A UDP datagram from 10.0.1.2 to 10.0.2.2, 4 bytes of payload, TTL 64, all checksums right.
    pub fn datagram() -> Bytes {
        Bytes::new(&[
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 32, 0x12, 0x34, 0x40, 0x00, 64, 17, 0x11, 0x96, // IPv4
            10, 0, 1, 2, 10, 0, 2, 2, // addresses
            0x10, 0x00, 0x20, 0x00, 0, 12, 0xb4, 0xcc, // UDP
            1, 2, 3, 4,
        ])
    }
}
