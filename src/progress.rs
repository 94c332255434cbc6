//! What the library says while it works. It emits [`Event`] values and never draws; `cli/printer` does.

use crate::clock::{Clock, SystemClock};
use std::sync::Arc;

/// One thing that happened. `task` names a lecture or file; `stage` what is done to it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Work of a known size begins or moves on; units are media seconds, or bytes where `unit` says so. `earlier`: of what is
    /// done, that which an earlier run did, so that it took no time now.
    Progress { task: String, stage: String, done: f64, earlier: f64, total: f64, unit: Unit },
    /// The stage is complete.
    Done { task: String, stage: String, seconds: f64 },
    /// Something a person wants to know, no harm done.
    Note { message: String },
    /// Something is not as it should be; the work goes on.
    Warning { message: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    MediaSeconds,
    Bytes,
}

/// Where events go.
pub trait Progress: Send + Sync {
    fn event(&self, event: Event);
}

/// Drops everything; the library's default.
pub struct Silent;
impl Progress for Silent {
    fn event(&self, _: Event) {}
}

/// What every long-running function is given: a way to be stopped, a way to talk, and the time.
#[derive(Clone)]
pub struct Ctx {
    pub cancel: tokio_util::sync::CancellationToken,
    pub progress: Arc<dyn Progress>,
    pub clock: Arc<dyn Clock>,
}

impl Ctx {
    /// Never cancelled, says nothing.
    pub fn silent() -> Self {
        Ctx { cancel: Default::default(), progress: Arc::new(Silent), clock: Arc::new(SystemClock) }
    }
    pub fn note(&self, message: impl Into<String>) {
        self.progress.event(Event::Note { message: message.into() });
    }
    pub fn warn(&self, message: impl Into<String>) {
        self.progress.event(Event::Warning { message: message.into() });
    }
    /// An error if the user asked to stop.
    pub fn check(&self) -> crate::error::Result<()> {
        match self.cancel.is_cancelled() {
            true => Err(crate::error::Error::new(crate::error::Kind::Cancelled, "stopped")
                .hint("run the same command again: it goes on from what is finished")),
            false => Ok(()),
        }
    }
}
