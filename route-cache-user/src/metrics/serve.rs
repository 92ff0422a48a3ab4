//! The HTTP server: small, and bounded in everything a client can take.

use std::{convert::Infallible, future::Future, io, net, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::pages::Pages;
use crate::control::{Source, accept::accept_until};

/// What one client, or all of them together, can take from the agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once; further ones wait.
    pub(crate) connections: usize,
    /// Scrapes at once.
    pub(crate) scrapes: usize,
    /// For a request's header to arrive.
    pub(crate) header: Duration,
    /// For the whole connection, the answer included.
    pub(crate) connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 64,
            scrapes: 2,
            header: Duration::from_secs(5),
            connection: Duration::from_secs(30),
        }
    }
}

/// Answers scrapes until `shutdown` is ready.
///
/// # Errors
///
/// If the listener cannot be handed to the runtime; no client can make it fail.
pub(crate) async fn serve(
    listener: net::TcpListener,
    source: Arc<dyn Source>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = Arc::new(Pages::new(source, limits.scrapes));
    let handle = |stream| converse(stream, Arc::clone(&pages), limits);
    accept_until(listener, limits.connections, handle, shutdown).await;
    Ok(())
}

/// Serves one client, one request: an idle connection must not hold a place.
async fn converse(stream: TcpStream, pages: Arc<Pages>, limits: Limits) {
    let service = service_fn(move |request: Request<Incoming>| {
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(pages.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.connection, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the metrics went away"),
        Err(_) => tracing::debug!("a client of the metrics took too long"),
    }
}
