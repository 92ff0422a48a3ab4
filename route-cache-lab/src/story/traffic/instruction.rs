//! BPF instructions, for programs too small for a compiler. The names of the codes are this project's.

pub(super) const MOV: u8 = 0xbf;
pub(super) const MOV_IMM: u8 = 0xb7;
pub(super) const AND_IMM: u8 = 0x57;
pub(super) const XOR_IMM: u8 = 0xa7;
pub(super) const ADD_IMM: u8 = 0x07;
pub(super) const LOAD_32: u8 = 0x61;
pub(super) const STORE_8: u8 = 0x73;
pub(super) const STORE_IMM_16: u8 = 0x6a;
pub(super) const STORE_IMM_32: u8 = 0x62;
pub(super) const JUMP_NOT_GREATER: u8 = 0xbd;
pub(super) const CALL: u8 = 0x85;
pub(super) const EXIT: u8 = 0x95;
pub(super) const PRANDOM: i32 = 7;
pub(super) const REDIRECT: i32 = 23;
/// What XDP does with a frame that is to be dropped.
pub(super) const XDP_DROP: i32 = 1;

/// The immediate value that puts these bytes, 2 or 4, into memory in their order.
pub(super) fn immediate(bytes: &[u8]) -> i32 {
    match *bytes {
        [a, b] => i32::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => i32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// One instruction, as the kernel lays it out in 8 bytes.
pub(super) fn encode(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers = if cfg!(target_endian = "big") {
        destination << 4 | source
    } else {
        source << 4 | destination
    };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}
