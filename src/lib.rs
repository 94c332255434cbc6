//! Rivulet carries lectures over thin links: recordings in, HLS courses out.
#![forbid(unsafe_code)]

pub mod cache;
pub mod check;
pub mod child;
pub mod cli;
pub mod clock;
pub mod course;
pub mod encode;
pub mod error;
mod gst;
pub mod ingest;
pub mod manifest;
pub mod offload;
pub mod package;
pub mod pages;
pub mod picture;
pub mod pipeline;
pub mod plan;
pub mod probe;
pub mod profile;
pub mod progress;
pub mod publish;
pub mod serve;
pub mod store;
pub mod units;
pub mod voice;
pub mod workdir;
