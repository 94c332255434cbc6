//! A slide coded as a rung would code it, and decoded as a player would.

use crate::encode::decoder::launch;
use crate::encode::encoder::{Coded, Encoder, Settings};
use crate::error::{Error, Result};
use crate::picture::{Frame, Plane, View};
use crate::pipeline::Fragments;
use crate::plan::RungPlan;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video::VideoFrameExt;
use std::sync::Arc;

/// A slide is coded as it will be: with repeats behind it, which make x264 spend more on the first.
const REPEATS: u64 = 6;

/// A picture as a player shows it when it has stood for a while on the floor at this CRF, and the bytes of that while.
pub(super) fn recode(
    fragments: &Fragments,
    floor: &RungPlan,
    preset: &str,
    colour: &str,
    picture: &Arc<Frame>,
    crf: u32,
) -> Result<(Arc<Frame>, u64)> {
    let settings = Settings::new(fragments, &RungPlan { crf, ..floor.clone() }, preset, colour)?;
    let mut encoder = Encoder::start(&settings)?;
    for i in 0..REPEATS {
        encoder.push(picture, MediaTime::from_ticks(i * MediaTime::HZ))?;
    }
    encoder.end()?;
    let coded = encoder.finish(|| ())?;
    let bytes = coded.units.iter().map(|u| u.data.len() as u64).sum();
    Ok((decode(fragments, coded, picture.size())?, bytes))
}

/// The last picture of a coded segment.
fn decode(fragments: &Fragments, coded: Coded, size: crate::units::Size) -> Result<Arc<Frame>> {
    let broken = |what: &str| Error::failed(format!("a slide that was coded to be judged {what}"));
    let pipeline = launch(&fragments.bind("reread-h264", &[])?)?;
    let input = pipeline.by_name("units").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()).ok_or_else(|| broken("finds no decoder"))?;
    let output = pipeline.by_name("frames").and_then(|e| e.downcast::<gst_app::AppSink>().ok()).ok_or_else(|| broken("finds no sink"))?;
    input.set_caps(Some(
        &gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", gst::Buffer::from_slice(coded.avcc))
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .build(),
    ));
    let outcome = (|| {
        pipeline.set_state(gst::State::Playing).map_err(|_| broken("cannot be decoded"))?;
        for (i, unit) in coded.units.into_iter().enumerate() {
            let mut buffer = gst::Buffer::from_slice(unit.data);
            buffer.get_mut().expect("the buffer is new").set_pts(gst::ClockTime::from_seconds(i as u64));
            input.push_buffer(buffer).map_err(|_| broken("cannot be decoded"))?;
        }
        input.end_of_stream().map_err(|_| broken("does not end"))?;
        let mut last = None;
        while let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(20)) {
            last = Some(sample);
        }
        let sample = last.ok_or_else(|| broken("gives no picture"))?;
        let info = sample.caps().and_then(|c| gstreamer_video::VideoInfo::from_caps(c).ok()).ok_or_else(|| broken("has no size"))?;
        let buffer = sample.buffer().ok_or_else(|| broken("is empty"))?;
        let frame = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| broken("cannot be read"))?;
        let plane = |i: u32| {
            frame
                .plane_data(i)
                .map(|data| Plane { data, stride: frame.plane_stride()[i as usize] as usize })
                .map_err(|_| broken("lacks a plane"))
        };
        let view = View::new(crate::picture::Depth::Eight, size, [plane(0)?, plane(1)?, plane(2)?])?;
        Ok(Arc::new(Frame::copy_of(&view)))
    })();
    let _ = pipeline.set_state(gst::State::Null);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Size;

    #[test]
    fn a_slide_comes_back_as_a_player_shows_it() {
        crate::encode::decoder::init().unwrap();
        let size = Size { width: 320, height: 180 };
        let mut frame = Frame::new(size);
        let stride = frame.stride(0);
        frame
            .plane_mut(0)
            .iter_mut()
            .enumerate()
            .for_each(|(i, p)| *p = if (i / stride / 9 + i % stride / 16).is_multiple_of(2) { 40 } else { 210 });
        (1..3).for_each(|i| frame.plane_mut(i).fill(128));
        let picture = Arc::new(frame);
        let floor = RungPlan {
            name: "floor".into(),
            codec: crate::profile::Codec::H264,
            size,
            crf: 40,
            max_bps: 100_000,
            buffer_ms: 8000,
            buffer_full: 0.9,
            b_pictures: 0,
            references: 1,
            effort: crate::plan::Effort::of("veryfast", crate::plan::Shape::Slides),
            lookahead: 40,
            frame_rate: 1.0,
            cadence: crate::plan::Cadence { frame_rate: 1.0, motion_frame_rate: 1.0 },
            level: 13,
            predicted_bytes: 0,
            predicted_segments: Vec::new(),
        };
        let distance = |crf| {
            let (shown, _) = recode(&Fragments::built_in(), &floor, "medium", "bt709", &picture, crf).unwrap();
            picture.plane(0).iter().zip(shown.plane(0)).map(|(a, b)| a.abs_diff(*b) as u64).sum::<u64>() as f64
                / picture.plane(0).len() as f64
        };
        let (fine, coarse) = (distance(16), distance(46));
        assert!(fine < 2.0 && coarse > fine, "{fine} {coarse}");
    }
}
