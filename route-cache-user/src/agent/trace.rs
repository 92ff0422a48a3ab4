//! What the traced program says, for `--trace-packets`.

use anyhow::{Context as _, Result};

/// Forwards what the traced program logs to the log.
pub(super) fn packets(ebpf: &mut aya::Ebpf) -> Result<()> {
    let logger = aya_log::EbpfLogger::init(ebpf).context("cannot read the program's log")?;
    // The successor is `unsafe`, for descriptors that are replaced or closed while tokio waits for them; this one is
    // owned and neither happens.
    #[expect(deprecated)]
    let logger = tokio::io::unix::AsyncFd::new(logger);
    let mut logger = logger.context("cannot wait for the program's log")?;
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}
