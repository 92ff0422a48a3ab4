//! The server's end of the control socket.

use std::{future::Future, io, os::unix::net, sync::Arc, time::Duration};

use tokio::{net::UnixListener, sync::Semaphore};

use super::{Source, accept::accept_until, converse::converse};

/// What one client, or all of them together, can take from the agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once; further ones wait.
    pub(crate) connections: usize,
    /// Listings at once, from reading the tables until the last byte is sent: what bounds the memory.
    pub(crate) listings: usize,
    /// For a request to arrive, and for a listing to get its turn.
    pub(crate) patience: Duration,
    /// For a client to take its answer.
    pub(crate) reading: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 64,
            listings: 4,
            patience: Duration::from_secs(5),
            reading: Duration::from_secs(30),
        }
    }
}

/// Answers requests until `shutdown` is ready.
///
/// # Errors
///
/// If the listener cannot be handed to the runtime; no client can make it fail.
pub(crate) async fn serve(
    listener: net::UnixListener,
    source: Arc<dyn Source>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let listings = Arc::new(Semaphore::new(limits.listings));
    let handle = |stream| {
        let (source, listings) = (Arc::clone(&source), Arc::clone(&listings));
        async move {
            if let Err(error) = converse(stream, source, listings, limits).await {
                tracing::debug!(%error, "a client of the control socket went away");
            }
        }
    };
    accept_until(listener, limits.connections, handle, shutdown).await;
    Ok(())
}
