//! Rivulet carries lectures over thin links: recordings in, HLS courses out.
#![forbid(unsafe_code)]

pub mod check;
pub mod child;
pub mod cli;
pub mod error;
pub mod package;
pub mod probe;
pub mod progress;
pub mod store;
pub mod units;
