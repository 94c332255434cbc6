//! Rivulet carries lectures over thin links: recordings in, HLS courses out.
#![forbid(unsafe_code)]

pub mod child;
pub mod cli;
pub mod course;
pub mod error;
pub mod manifest;
pub mod package;
pub mod pages;
pub mod probe;
pub mod progress;
pub mod publish;
pub mod store;
pub mod units;
