//! One segment of one rung: pictures in, coded pictures out. A fresh encoder every time (`pipelines/rung-h264.gst` says why).

use super::decoder::{describe, launch};
use crate::error::{Error, Result};
use crate::picture::Frame;
use crate::pipeline::Fragments;
use crate::plan::RungPlan;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::sync::Arc;

/// What all segments of a rung have in common.
pub struct Settings {
    text: String,
    caps: gst::Caps,
    rung: String,
}

impl Settings {
    /// `colour` is `bt709` or `bt601`.
    pub fn new(fragments: &Fragments, rung: &RungPlan, preset: &str, colour: &str) -> Result<Settings> {
        let text = fragments.bind(
            "rung-h264",
            &[
                ("crf", &rung.crf.to_string()),
                ("max_kbps", &(rung.max_bps / 1000).max(1).to_string()),
                ("buffer_ms", &rung.buffer_ms.to_string()),
                ("b_pictures", &rung.b_pictures.to_string()),
                ("references", &rung.references.to_string()),
                ("lookahead", &rung.lookahead.to_string()),
                ("full", &rung.buffer_full.to_string()),
                ("preset", preset),
                ("motion", &rung.effort.motion),
                ("partitions", &rung.effort.partitions),
                ("psy", &u8::from(rung.effort.psy).to_string()),
                ("level", &level_text(rung.level)),
            ],
        )?;
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", rung.size.width as i32)
            .field("height", rung.size.height as i32)
            // Variable: x264's rate control then goes by the timestamps.
            .field("framerate", gst::Fraction::new(0, 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .field("colorimetry", colour)
            .field("chroma-site", "mpeg2")
            .build();
        Ok(Settings { text, caps, rung: rung.name.clone() })
    }
}

fn level_text(level: u32) -> String {
    if level.is_multiple_of(10) { (level / 10).to_string() } else { format!("{}.{}", level / 10, level % 10) }
}

pub struct Encoder {
    pipeline: gst::Pipeline,
    input: gst_app::AppSrc,
    output: gst_app::AppSink,
    rung: String,
    pushed: usize,
}

/// The coded pictures of one segment, in decoding order.
pub struct Coded {
    /// AVCDecoderConfigurationRecord.
    pub avcc: Vec<u8>,
    pub units: Vec<CodedUnit>,
}

pub struct CodedUnit {
    /// Which picture of the segment, in presentation order.
    pub shown: usize,
    pub data: Vec<u8>,
}

/// A frame shared by GStreamer without a copy.
pub(super) struct Shared(pub(super) Arc<Frame>);
impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Encoder {
    pub fn start(settings: &Settings) -> Result<Encoder> {
        let pipeline = launch(&settings.text)?;
        let missing = |name: &str| Error::usage(format!("pipeline rung-h264 has no fitting element named {name}"));
        let input = pipeline.by_name("pictures").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()).ok_or_else(|| missing("pictures"))?;
        let output = pipeline.by_name("units").and_then(|e| e.downcast::<gst_app::AppSink>().ok()).ok_or_else(|| missing("units"))?;
        input.set_caps(Some(&settings.caps));
        // A push that waits for room would wait for ever once the encoder has failed: the failure wakes it.
        let waiting = input.downgrade();
        pipeline.bus().expect("a pipeline has a bus").set_sync_handler(move |_, message| {
            if let (gst::MessageView::Error(_), Some(input)) = (message.view(), waiting.upgrade()) {
                input.send_event(gst::event::FlushStart::new());
            }
            gst::BusSyncReply::Pass
        });
        let encoder = Encoder { pipeline, input, output, rung: settings.rung.clone(), pushed: 0 };
        encoder.pipeline.set_state(gst::State::Playing).map_err(|_| encoder.fault("does not start"))?;
        Ok(encoder)
    }

    /// Gives one picture; `at` is its time since the segment's start. Blocks while the encoder is behind.
    pub fn push(&mut self, frame: &Arc<Frame>, at: MediaTime) -> Result<()> {
        let mut buffer = gst::Buffer::from_slice(Shared(frame.clone()));
        buffer.get_mut().expect("the buffer is new").set_pts(gst::ClockTime::from_nseconds(at.to_ns()));
        self.input.push_buffer(buffer).map_err(|_| self.fault("takes no more pictures"))?;
        self.pushed += 1;
        Ok(())
    }

    /// No more pictures; the encoder works off what it holds while others do the same.
    pub fn end(&self) -> Result<()> {
        self.input.end_of_stream().map(|_| ()).map_err(|_| self.fault("does not end"))
    }

    /// Waits for the last unit, calling `alive` meanwhile. `end` comes before.
    pub fn finish(self, mut alive: impl FnMut()) -> Result<Coded> {
        let mut avcc = Vec::new();
        let mut timed = Vec::with_capacity(self.pushed);
        loop {
            alive();
            let Some(sample) = self.output.try_pull_sample(gst::ClockTime::from_mseconds(500)) else {
                if self.output.is_eos() {
                    break;
                }
                if let Some(message) = self.pipeline.bus().and_then(|b| b.pop_filtered(&[gst::MessageType::Error]))
                    && let gst::MessageView::Error(e) = message.view()
                {
                    return Err(Error::failed(format!("the encoder of rung {} failed", self.rung)).caused_by(describe(e)));
                }
                continue;
            };
            if avcc.is_empty()
                && let Some(data) = sample.caps().and_then(|c| c.structure(0)).and_then(|s| s.get::<gst::Buffer>("codec_data").ok())
            {
                avcc = data.map_readable().map_err(|_| self.fault("gave unreadable parameter sets"))?.to_vec();
            }
            let buffer = sample.buffer().ok_or_else(|| self.fault("gave an empty unit"))?;
            let pts = buffer.pts().ok_or_else(|| self.fault("gave a unit without a time"))?;
            let map = buffer.map_readable().map_err(|_| self.fault("gave an unreadable unit"))?;
            timed.push((pts, lean(&map)));
        }
        if timed.len() != self.pushed || avcc.is_empty() {
            return Err(self.fault(&format!("gave {} units for {} pictures", timed.len(), self.pushed)));
        }
        // Output times are the input's plus a constant; their order says which picture each unit is.
        let mut order: Vec<_> = timed.iter().map(|(pts, _)| *pts).collect();
        order.sort();
        let shown = |pts: &gst::ClockTime| order.binary_search(pts).expect("taken from the same list");
        let units = timed.into_iter().map(|(pts, data)| CodedUnit { shown: shown(&pts), data }).collect();
        Ok(Coded { avcc, units })
    }

    fn fault(&self, what: &str) -> Error {
        // What is wrong may be told a moment after a push was refused for it.
        let cause = self.pipeline.bus().and_then(|b| b.timed_pop_filtered(gst::ClockTime::SECOND, &[gst::MessageType::Error]));
        let error = Error::failed(format!("the encoder of rung {} {what}", self.rung));
        match cause.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => error.caused_by(describe(e)),
            _ => error,
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Without the NAL units that MP4 does not need: SEI (x264 writes 700 bytes of its settings into every first picture: 0.6
/// kbit/s a rung), AUD, and parameter sets, which are in the sample entry.
fn lean(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut rest = unit;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_be_bytes(*length) as usize).min(after.len());
        let (nal, next) = after.split_at(length);
        if !matches!(nal.first().map(|b| b & 0x1f), None | Some(6..=9)) {
            out.extend_from_slice(&(length as u32).to_be_bytes());
            out.extend_from_slice(nal);
        }
        rest = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_reach_the_file() {
        let unit = [0, 0, 0, 2, 6, 9, 0, 0, 0, 1, 9, 0, 0, 0, 3, 0x65, 1, 2];
        assert_eq!(lean(&unit), [0, 0, 0, 3, 0x65, 1, 2]);
        // A length that lies is cut, not followed.
        assert_eq!(lean(&[0, 0, 0, 9, 0x65, 1]), [0, 0, 0, 2, 0x65, 1]);
    }

    #[test]
    fn levels_are_written_as_caps_want_them() {
        assert_eq!((level_text(31), level_text(40)), ("3.1".into(), "4".into()));
    }

    /// One thread, no clock: the same pictures at the same irregular times give the same bytes, every time.
    #[test]
    fn the_same_pictures_give_the_same_bytes() {
        super::super::decoder::init().unwrap();
        let rung = crate::plan::RungPlan {
            name: "low".into(),
            codec: crate::profile::Codec::H264,
            size: crate::units::Size { width: 160, height: 90 },
            crf: 30,
            max_bps: 60_000,
            buffer_ms: 2000,
            buffer_full: 0.5,
            b_pictures: 3,
            references: 1,
            effort: crate::plan::Effort::of("medium", crate::plan::Shape::Motion),
            lookahead: 40,
            frame_rate: 13.0,
            cadence: crate::plan::Cadence { frame_rate: 13.0, motion_frame_rate: 13.0 },
            level: 11,
            predicted_bytes: 0,
            predicted_segments: Vec::new(),
        };
        let settings = Settings::new(&Fragments::built_in(), &rung, "medium", "bt601").unwrap();
        let encode = || {
            let mut encoder = Encoder::start(&settings).unwrap();
            let mut at = 0;
            for i in 0..14u64 {
                let mut frame = Frame::new(rung.size);
                for plane in 0..3 {
                    frame
                        .plane_mut(plane)
                        .iter_mut()
                        .enumerate()
                        .for_each(|(n, b)| *b = ((n as u64 * (7 + plane as u64) + i) % 200 + 20) as u8);
                }
                encoder.push(&Arc::new(frame), MediaTime::from_ticks(at)).unwrap();
                at += 2520 + (i % 5) * 1800;
            }
            encoder.end().unwrap();
            encoder.finish(|| ()).unwrap().units.into_iter().map(|u| u.data).collect::<Vec<_>>()
        };
        let first = encode();
        for round in 0..20 {
            let again = encode();
            let sizes = |u: &Vec<Vec<u8>>| u.iter().map(|d| d.len()).collect::<Vec<_>>();
            assert!(again == first, "round {round}: {:?} {:?}", sizes(&first), sizes(&again));
        }
    }
}
