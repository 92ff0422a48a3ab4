//! What happens in the agent, for those who watch: `route-cache monitor`.
//!
//! ```text
//! sweepers, event loop, control socket ──► Journal::push ──► sampler ──► ring of the last 1,024 ──► a Reader each
//! ```
//!
//! Nobody who pushes ever waits for one who reads: a reader that is too slow finds a gap, and is told how wide it is.

mod event;
mod journal;
mod sampler;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    event::{Direction, Entry, Event},
    journal::{Journal, Reader},
};
