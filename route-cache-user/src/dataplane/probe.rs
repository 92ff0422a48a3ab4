//! Whether an interface takes redirected frames, where the kernel does not tell (row 37): a frame is redirected to it, and
//! what the kernel and the driver made of it is heard from their tracepoints.

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, MapData},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions},
};
use nix::errno::Errno;
use route_cache_common::{Probe, programs};

use crate::fib::message::Ifindex;

/// "Nearest bridge" of IEEE 802.1Q: no bridge forwards it, and hosts hear LLDP there.
const NEAREST_BRIDGE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];

/// "Local experimental ethertype 1" of IEEE 802: nobody answers it.
const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

/// The least that Ethernet carries, its check sequence left out.
const LEN: usize = 60;

/// Says to whoever captures one what it is.
const TEXT: &[u8] = b"route-cache: is XDP_REDIRECT taken here?";

/// What became of a probe frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The driver took it.
    Sent,
    /// The kernel or the driver refused it with this error.
    Refused(Errno),
    /// The driver did not take it, and names no error: its queue may have been full.
    Dropped,
}

/// Sends probe frames, one at a time.
pub(crate) struct Prober {
    word: Array<MapData, u64>,
}

impl Prober {
    /// Loads and attaches the programs. Those on tracepoints that count redirect errors are there already: what they need
    /// to know of the kernel, these need, too.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    pub(crate) fn load(ebpf: &mut Ebpf) -> Result<Self> {
        let word = crate::maps::take_probe(ebpf)?;
        super::program(ebpf, programs::PROBE)?
            .load()
            .context("the kernel's verifier refused the probe program")?;
        super::errors::attach(ebpf, &programs::PROBE_ON_TRACEPOINTS)?;
        Ok(Self { word })
    }

    /// Redirects a frame to an interface with this MAC address, of the namespace this thread is in.
    ///
    /// # Errors
    ///
    /// If the frame could not be sent on its way, or nothing was heard of it.
    pub(crate) fn ask(
        &mut self,
        ebpf: &mut Ebpf,
        ifindex: Ifindex,
        mac: [u8; 6],
    ) -> Result<Answer> {
        self.listen(ifindex)?;
        let frame = frame(mac);
        // No context: the frame counts as received by the loopback interface.
        let options = TestRunOptions {
            data_in: Some(&frame),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::default()
        };
        let ran = super::program(ebpf, programs::PROBE)?.test_run(options);
        let heard = self.heard();
        // Whatever comes now is not an answer any more.
        self.listen(0)?;
        ran.context("cannot run the probe program (BPF_F_TEST_XDP_LIVE_FRAMES)")?;
        match heard? {
            Probe::SENT => Ok(Answer::Sent),
            Probe::DROPPED => Ok(Answer::Dropped),
            Probe::SILENCE => bail!("no tracepoint told what became of it"),
            errno => Ok(Answer::Refused(Errno::from_raw(errno.cast_signed()))),
        }
    }

    /// Has the tracepoint programs listen for what becomes of a frame to this interface.
    pub(super) fn listen(&mut self, ifindex: Ifindex) -> Result<()> {
        let probe = Probe { ifindex, answer: Probe::SILENCE };
        self.word.set(0, probe.pack(), 0).context("cannot write to the map of the probe")
    }

    /// What they have heard.
    pub(super) fn heard(&self) -> Result<u32> {
        let word = self.word.get(&0, 0).context("cannot read the answer")?;
        Ok(Probe::unpack(word).answer)
    }
}

/// The frame that leaves, if one does.
fn frame(mac: [u8; 6]) -> [u8; LEN] {
    let parts = NEAREST_BRIDGE.iter().chain(&mac).chain(&EXPERIMENTAL).chain(TEXT);
    let mut frame = [0; LEN];
    frame.iter_mut().zip(parts).for_each(|(byte, part)| *byte = *part);
    frame
}
