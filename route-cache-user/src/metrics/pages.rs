//! What the HTTP server answers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::collector::render;
use crate::control::Source;

const INDEX: &str = "<!doctype html><title>Route Cache</title><h1>Route Cache</h1>\
    <p><a href=\"/metrics\">Metrics</a></p>\n";

/// What the answers are made from.
pub(super) struct Pages {
    source: Arc<dyn Source>,
    /// Scrapes at once: each reads all counters of all CPUs.
    scrapes: Arc<Semaphore>,
    errors: AtomicU64,
}

impl Pages {
    pub(super) fn new(source: Arc<dyn Source>, scrapes: usize) -> Pages {
        Pages { source, scrapes: Arc::new(Semaphore::new(scrapes)), errors: AtomicU64::new(0) }
    }

    /// Answers one request, whose body is not read.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/metrics" => self.metrics().await,
            "/" => page(StatusCode::OK, "text/html; charset=utf-8", INDEX),
            _ => text(StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n"),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        match self.scrape().await {
            Ok(metrics) => page(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("scrape failed: {error:#}");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n"))
            }
        }
    }

    async fn scrape(&self) -> anyhow::Result<String> {
        // Goes along with the work, which a client that hangs up does not end.
        let turn = Arc::clone(&self.scrapes).acquire_owned().await?;
        let (source, errors) = (Arc::clone(&self.source), self.errors.load(Ordering::Relaxed));
        spawn_blocking(move || {
            let _turn = turn;
            Ok(render(source.status()?, errors, source.histograms())?)
        })
        .await?
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
