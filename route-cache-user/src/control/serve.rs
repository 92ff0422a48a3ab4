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
    /// Clients that follow the events at once; the next is refused.
    pub(crate) followers: usize,
    /// For a request to arrive, and for a listing to get its turn.
    pub(crate) patience: Duration,
    /// For a client to take its answer; a follower has as long from when events are lost to it.
    pub(crate) reading: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 64,
            listings: 4,
            followers: 8,
            patience: Duration::from_secs(5),
            reading: Duration::from_secs(30),
        }
    }
}

/// What is limited for all clients together.
pub(super) struct Turns {
    pub(super) listings: Arc<Semaphore>,
    pub(super) followers: Semaphore,
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
    let turns = Arc::new(Turns {
        listings: Arc::new(Semaphore::new(limits.listings)),
        followers: Semaphore::new(limits.followers),
    });
    let handle = |stream| {
        let (source, turns) = (Arc::clone(&source), Arc::clone(&turns));
        async move {
            if let Err(error) = converse(stream, source, turns, limits).await {
                tracing::debug!(%error, "a client of the control socket went away");
            }
        }
    };
    accept_until(listener, limits.connections, handle, shutdown).await;
    Ok(())
}
