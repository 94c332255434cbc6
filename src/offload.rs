//! Work that blocks (files, compression) leaves the async runtime here, and nowhere else needs to say what a dead thread
//! means.

use crate::error::{Error, Result};

/// Runs `work` where it may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(Error::bug("a task of the file system died").caused_by(e)),
    }
}
