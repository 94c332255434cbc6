//! GStreamer at work: launch text in, samples and packets out.

pub mod voice;
