//! The flat index in front of the IPv4 routes: what the longest match of every /24 is, where all of it has the same.
//!
//! A trie of a million prefixes costs a dozen cache misses a lookup, this one. Each /24 has a code of two bytes; what the
//! code means stands in a second map. Prefixes longer than /24 have their /24 ask the trie.

/// A code in the index.
pub type Code = u16;

/// The code of a /24 whose routes are to be looked up in the trie.
pub const ASK_TRIE: Code = 0;

/// Length of the prefixes the index tells apart.
pub const INDEX_PREFIX_LEN: u8 = 24;

/// Codes in one element of the map: elements are pages of 4 KiB.
pub const CODES: u32 = 2048;

/// Elements that hold the whole of IPv4.
pub const CHUNKS: u32 = (1 << INDEX_PREFIX_LEN) / CODES;

/// One element of the map.
pub type Chunk = [Code; CODES as usize];

/// Element and position in it of an address's /24.
#[must_use]
#[inline(always)]
pub const fn position(address: [u8; 4]) -> (u32, usize) {
    let net = u32::from_be_bytes(address) >> (32 - INDEX_PREFIX_LEN);
    (net / CODES, (net % CODES) as usize)
}

const _: () = {
    assert!(size_of::<Chunk>() == 4096);
    assert!(CHUNKS == 8192);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_nets_have_neighbouring_positions() {
        assert_eq!(position([0, 0, 0, 255]), (0, 0));
        assert_eq!(position([0, 0, 1, 0]), (0, 1));
        assert_eq!(position([0, 8, 0, 0]), (1, 0));
        assert_eq!(position([255, 255, 255, 255]), (CHUNKS - 1, CODES as usize - 1));
    }
}
