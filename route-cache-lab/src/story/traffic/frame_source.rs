//! Frames as a network card delivers them: bare pages, one by one, without the sender's socket buffers around them.
//!
//! The kernel itself makes them, running a small XDP program on copies of one frame (`BPF_PROG_TEST_RUN` with live frames).
//! The program gives every copy another destination and sends it out of the interface. The kernel uses pages again as they
//! come back, changed by the router, so that the program also writes what routers change.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use super::instruction::*;
use crate::{Host, sys};

/// Frames that one call makes: a call costs some 25 ms to set up and take down, and these frames 100 to 200 ms.
const PER_CALL: u32 = 1 << 17;

/// Offsets in the frame: the last byte of the destination, and the low bytes of two fields that make up for it in the
/// header checksum (identification) and in the UDP checksum, which also covers the address (source port).
const DESTINATION: i16 = 33;
const IDENTIFICATION: i16 = 19;
const SOURCE_PORT: i16 = 35;
/// What routers change, at these offsets: the link-layer addresses; the TTL (and the protocol) and the header checksum.
const WORDS: [usize; 3] = [0, 4, 8];
const HALVES: [usize; 2] = [22, 24];
/// Bytes of the frame that the program touches.
const TOUCHED: i32 = 36;

/// A source of UDP frames to 256 destinations.
#[derive(Debug)]
pub(super) struct FrameSource {
    program: OwnedFd,
    frame: Vec<u8>,
}

impl FrameSource {
    /// A source that sends variants of `frame`, whose destination ends in .0, out of the host's interface.
    ///
    /// The low bytes of identification and source port have to be 255. To be called in the host's namespace.
    pub(super) fn new(host: &Host, frame: Vec<u8>) -> Result<Self> {
        let interface = if_nametoindex(host.interface).context("no interface to send from")?;
        let program =
            sys::load(sys::ProgramKind::XDP, &instructions(interface.cast_signed(), &frame))
                .context("cannot load the XDP program that makes frames")?;
        Ok(Self { program, frame })
    }

    /// Makes and sends some thousand frames. To be called in the host's namespace.
    pub(super) fn send(&self) -> Result<()> {
        sys::run_live_frames(&self.program, &self.frame, PER_CALL).context("cannot make frames")
    }
}

/// In words:
///
/// ```text
/// x = random & 0xff
/// if data + 36 > data_end: return XDP_ABORTED
/// data[33] = x; data[19] = data[35] = x ^ 0xff
/// link-layer addresses, TTL and header checksum = those of the frame
/// return redirect(interface, 0)
/// ```
fn instructions(interface: i32, frame: &[u8]) -> Vec<u64> {
    let mut program = vec![
        encode(MOV, 6, 1, 0, 0),
        encode(CALL, 0, 0, 0, PRANDOM),
        encode(AND_IMM, 0, 0, 0, 0xff),
        encode(LOAD_32, 2, 6, 0, 0),
        encode(LOAD_32, 3, 6, 4, 0),
        encode(MOV, 4, 2, 0, 0),
        encode(ADD_IMM, 4, 0, 0, TOUCHED),
        encode(JUMP_NOT_GREATER, 4, 3, 2, 0),
        encode(MOV_IMM, 0, 0, 0, 0),
        encode(EXIT, 0, 0, 0, 0),
        encode(STORE_8, 2, 0, DESTINATION, 0),
        encode(XOR_IMM, 0, 0, 0, 0xff),
        encode(STORE_8, 2, 0, IDENTIFICATION, 0),
        encode(STORE_8, 2, 0, SOURCE_PORT, 0),
    ];
    let words = WORDS.map(|at| (STORE_IMM_32, at, &frame[at..at + 4]));
    let halves = HALVES.map(|at| (STORE_IMM_16, at, &frame[at..at + 2]));
    program.extend(
        words
            .into_iter()
            .chain(halves)
            .map(|(code, at, bytes)| encode(code, 2, 0, at as i16, immediate(bytes))),
    );
    program.extend([
        encode(MOV_IMM, 1, 0, 0, interface),
        encode(MOV_IMM, 2, 0, 0, 0),
        encode(CALL, 0, 0, 0, REDIRECT),
        encode(EXIT, 0, 0, 0, 0),
    ]);
    program
}
