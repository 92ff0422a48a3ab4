//! Accepting a bounded number of connections: the same loop for the control socket and the metrics.

use std::{future::Future, io, pin::pin, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

/// After a failed accept (out of descriptors, most often), so that the log is not flooded.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Serves connections, at most `most` at once, until `shutdown` is ready; then drops those that are left.
///
/// Who comes while all places are taken waits in the kernel's backlog, which is bounded as well.
pub(crate) async fn accept_until<L, H, F>(
    listener: L,
    most: usize,
    handle: H,
    shutdown: impl Future<Output = ()>,
) where
    L: Accept,
    H: Fn(L::Stream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < most => match accepted {
                Ok(stream) => {
                    connections.spawn(handle(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            },
        }
    }
}

/// A listener of either kind.
pub(crate) trait Accept: Send {
    /// A connection.
    type Stream: Send + 'static;

    /// The next connection. Must be cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        TcpListener::accept(self).await.map(|(stream, _)| stream)
    }
}
