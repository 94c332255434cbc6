//! The title card of a recording that is sound only.

use super::decoder::{describe, launch};
use crate::error::{Error, Result};
use crate::picture::{Colour, Depth, Frame, Look, Plane, Turn, View};
use crate::pipeline::Fragments;
use crate::units::Size;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video::{self as gst_video, VideoFrameExt};
use std::sync::Arc;

/// The card in every size, drawn once in the largest.
pub fn draw(fragments: &Fragments, title: &str, colour: &str, sizes: &[Size]) -> Result<Vec<Arc<Frame>>> {
    let size = *sizes.last().ok_or_else(|| Error::bug("a card for no rung"))?;
    let text = fragments.bind(
        "card",
        &[
            ("width", &size.width.to_string()),
            ("height", &size.height.to_string()),
            ("colour", colour),
            ("title", &escape(title)),
            ("font", &format!("DejaVu Sans {}", size.height / 14)),
        ],
    )?;
    let pipeline = launch(&text)?;
    let sink = pipeline
        .by_name("frames")
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok())
        .ok_or_else(|| Error::usage("pipeline card has no appsink named frames"))?;
    let outcome = (|| {
        pipeline.set_state(gst::State::Playing).map_err(|_| Error::failed("the title card cannot be drawn"))?;
        let sample = sink.try_pull_sample(gst::ClockTime::from_seconds(20)).ok_or_else(|| {
            let cause = pipeline.bus().and_then(|b| b.pop_filtered(&[gst::MessageType::Error]));
            let error = Error::failed("the title card cannot be drawn");
            match cause.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Error(e)) => error.caused_by(describe(e)),
                _ => error,
            }
        })?;
        let bug = |_| Error::bug("the title card is no picture");
        let info = sample.caps().ok_or(()).and_then(|c| gst_video::VideoInfo::from_caps(c).map_err(|_| ())).map_err(bug)?;
        let buffer = sample.buffer().ok_or(()).map_err(bug)?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| bug(()))?;
        let plane =
            |i: u32| frame.plane_data(i).map(|data| Plane { data, stride: frame.plane_stride()[i as usize] as usize }).map_err(|_| bug(()));
        let view = View::new(Depth::Eight, size, [plane(0)?, plane(1)?, plane(2)?])?;
        let look = Look { size, depth: Depth::Eight, colour: Colour::default(), turn: Turn::default() };
        crate::picture::Cascade::new(look, sizes).make(&view)
    })();
    let _ = pipeline.set_state(gst::State::Null);
    outcome
}

/// For Pango markup, which textoverlay reads.
fn escape(title: &str) -> String {
    title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
