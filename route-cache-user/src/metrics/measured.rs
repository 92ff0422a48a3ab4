//! What is measured where it happens: the histograms.

use prometheus::{Histogram, HistogramOpts};

/// Durations, in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Of one walk over the clone table of a CPU.
    pub(crate) sweep: Histogram,
    /// From hearing the kernel to the last write it led to.
    pub(crate) change: Histogram,
}

impl Measured {
    /// Nothing measured yet.
    ///
    /// # Errors
    ///
    /// If a name or the buckets are not valid.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let buckets = prometheus::exponential_buckets(0.000_02, 2.5, 14)?;
        let histogram = |name: &str, help: &str| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.clone()))
        };
        Ok(Self {
            sweep: histogram(
                "route_cache_sweep_duration_seconds",
                "Time of one walk over the clone table of a CPU.",
            )?,
            change: histogram(
                "route_cache_change_latency_seconds",
                "From hearing of a change in the kernel to the last write to the data plane it led to.",
            )?,
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Histogram> {
        vec![self.sweep.clone(), self.change.clone()]
    }
}
