//! Rivulet carries lectures over thin links: recordings in, HLS courses out.
#![forbid(unsafe_code)]

pub mod cache;
pub mod child;
pub mod cli;
pub mod clock;
pub mod error;
pub mod ingest;
pub mod package;
pub mod probe;
pub mod progress;
pub mod store;
pub mod units;
pub mod workdir;
