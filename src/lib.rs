//! Rivulet carries lectures over thin links: recordings in, HLS courses out.
#![forbid(unsafe_code)]

pub mod child;
pub mod cli;
pub mod error;
pub mod package;
pub mod pages;
pub mod probe;
pub mod progress;
pub mod serve;
pub mod store;
pub mod units;
