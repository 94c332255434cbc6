//! Decoded pictures of one video track, with their stream times. The pipeline is text (`pipelines/decode.gst` and
//! `pictures*.gst`); here it is only told which of the file's tracks to decode.

use crate::error::{Error, Kind, Result, ResultExt};
use crate::picture::{Colour, Depth, Plane, View};
use crate::pipeline::Fragments;
use crate::probe::Video;
use crate::units::Size;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A seek lands this much before the picture that is wanted, and what comes before that is dropped: exact for the
/// containers that probing lets seek (docs/pipeline.md).
const MARGIN_NS: u64 = 2_000_000_000;

pub struct Decoder {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    /// What ended the stream early, for the warning.
    pub fault: Option<String>,
    /// Times of pictures of a stream that has none, and how many have come.
    times: Option<(Vec<u64>, usize)>,
}

/// One decoded picture, still in the decoder's memory.
pub struct Decoded {
    sample: gst::Sample,
    pub stream_ns: u64,
    /// The decoder says that parts of it are concealed.
    pub damaged: bool,
}

/// `bt709` or `bt601`: the colour space of the rungs, which is the source's where it is one of the two.
pub fn colour_space(video: &Video) -> &'static str {
    match video.colorimetry.as_deref() {
        _ if video.hdr.is_some() => "bt709",
        // GStreamer's own names, or range:matrix:transfer:primaries with matrix 4 for BT.601.
        Some(c) if c == "bt601" || c.split(':').nth(1) == Some("4") => "bt601",
        Some(_) => "bt709",
        // What GStreamer takes for granted where the stream is silent.
        None if video.height > 576 => "bt709",
        None => "bt601",
    }
}

fn caps(video: &Video) -> String {
    match (&video.hdr, video.bit_depth > 8) {
        (Some(_), _) => "video/x-raw,format=I420_10LE".into(),
        (None, true) => format!("video/x-raw,format=I420_10LE,colorimetry={}", colour_space(video)),
        (None, false) => format!("video/x-raw,format=I420,colorimetry={}", colour_space(video)),
    }
}

impl Decoder {
    /// Opens `path` and begins at stream time `from_ns`, or a little before; at the start where `None`. `times` are those of
    /// all pictures, for a stream that has none of its own.
    pub fn open(fragments: &Fragments, path: &Path, video: &Video, from_ns: Option<u64>, times: Option<Vec<u64>>) -> Result<Decoder> {
        let pictures = if video.interlaced { "pictures-interlaced" } else { "pictures" };
        let text = format!(
            "{} {}",
            fragments.bind("decode", &[("path", &path.to_string_lossy())])?,
            fragments.bind(pictures, &[("caps", &caps(video))])?
        );
        let pipeline = launch(&text)?;
        let find = |name: &str| {
            pipeline.by_name(name).ok_or_else(|| Error::usage(format!("pipeline decode/{pictures} has no element named {name}")))
        };
        let decode = find("decode")?;
        let input = find("pictures")?
            .static_pad("sink")
            .ok_or_else(|| Error::usage(format!("pipeline {pictures}: \"pictures\" has no sink pad")))?;
        let sink = find("frames")?
            .downcast::<gst_app::AppSink>()
            .map_err(|_| Error::usage(format!("pipeline {pictures}: \"frames\" is not an appsink")))?;
        one_track(&pipeline, &decode, &input, video.track);
        let mut decoder = Decoder { pipeline, sink, fault: None, times: times.map(|t| (t, 0)) };
        if let Some(from) = from_ns.and_then(|ns| ns.checked_sub(MARGIN_NS)).filter(|ns| *ns > 0) {
            decoder.preroll()?;
            decoder
                .sink
                .seek(
                    1.0,
                    gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
                    gst::SeekType::Set,
                    gst::ClockTime::from_nseconds(from),
                    gst::SeekType::None,
                    gst::ClockTime::NONE,
                )
                .map_err(|_| Error::new(Kind::Crashed, format!("{} cannot be sought in", path.display())))?;
        }
        // A refusal here may be that of another track, or come after the first pictures: `next` gives what there is.
        let _ = decoder.pipeline.set_state(gst::State::Playing);
        Ok(decoder)
    }

    fn preroll(&mut self) -> Result<()> {
        self.pipeline.set_state(gst::State::Paused).map_err(|_| self.error("cannot open the recording"))?;
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        loop {
            // No time limit here: the parent process watches for progress.
            let Some(message) = bus
                .timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::AsyncDone, gst::MessageType::Error, gst::MessageType::Eos])
            else {
                continue;
            };
            match message.view() {
                gst::MessageView::AsyncDone(_) | gst::MessageView::Eos(_) => return Ok(()),
                gst::MessageView::Error(e) => return Err(Error::bad_media("no picture can be decoded").caused_by(describe(e))),
                _ => {}
            }
        }
    }

    fn error(&self, what: &str) -> Error {
        let cause = self.pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        let error = Error::bad_media(what);
        match cause.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(e)) => error.caused_by(describe(e)),
            _ => error,
        }
    }

    /// The next picture; `None` at the end, or where decoding broke off (then `fault` says why).
    pub fn next(&mut self) -> Result<Option<Decoded>> {
        let mut silent = 0;
        loop {
            match self.sink.try_pull_sample(gst::ClockTime::from_mseconds(200)) {
                Some(sample) => match self.time(&sample) {
                    Some(stream_ns) => {
                        let damaged = sample.buffer().is_some_and(|b| b.flags().contains(gst::BufferFlags::CORRUPTED));
                        return Ok(Some(Decoded { sample, stream_ns, damaged }));
                    }
                    // A picture without a time is in no plan.
                    None => continue,
                },
                None if self.sink.is_eos() => return Ok(None),
                None => {
                    let bus = self.pipeline.bus().expect("a pipeline has a bus");
                    if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
                        && let gst::MessageView::Error(e) = message.view()
                    {
                        self.fault.get_or_insert(describe(e));
                    }
                    // After an error the decoder still gives what it holds; stopping at once loses a random part of it.
                    silent += 1;
                    if self.fault.is_some() && silent >= DRAIN_WAITS {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl Decoder {
    fn time(&mut self, sample: &gst::Sample) -> Option<u64> {
        let Some((times, seen)) = &mut self.times else { return stream_time(sample) };
        *seen += 1;
        times.get(*seen - 1).copied()
    }
}

/// Waits of 200 ms for another picture after an error.
const DRAIN_WAITS: u32 = 5;

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Decoded {
    /// Runs `look` on the picture where it lies.
    pub fn view<T>(&self, look: impl FnOnce(&View, Colour) -> Result<T>) -> Result<T> {
        let bug = |what: &str| Error::bug(format!("a decoded picture {what}"));
        let info = self.sample.caps().and_then(|c| gst_video::VideoInfo::from_caps(c).ok()).ok_or_else(|| bug("has no video caps"))?;
        let buffer = self.sample.buffer().ok_or_else(|| bug("has no buffer"))?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| bug("cannot be mapped"))?;
        let depth = match info.format() {
            gst_video::VideoFormat::I420 => Depth::Eight,
            gst_video::VideoFormat::I42010le => Depth::Ten,
            other => return Err(bug(&format!("has the format {other:?}"))),
        };
        let plane = |i: u32| {
            frame.plane_data(i).map(|data| Plane { data, stride: info.stride()[i as usize] as usize }).map_err(|_| bug("lacks a plane"))
        };
        let size = Size { width: info.width(), height: info.height() };
        let view = View::new(depth, size, [plane(0)?, plane(1)?, plane(2)?])?;
        let hdr = match info.colorimetry().transfer() {
            gst_video::VideoTransferFunction::Smpte2084 => Some("pq"),
            gst_video::VideoTransferFunction::AribStdB67 => Some("hlg"),
            _ => None,
        };
        look(&view, Colour::new(hdr, info.colorimetry().range() == gst_video::VideoColorRange::Range0_255))
    }
}

fn stream_time(sample: &gst::Sample) -> Option<u64> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_stream_time(sample.buffer()?.pts()?).map(|t| t.nseconds())
}

/// GStreamer for this process.
pub fn init() -> Result<()> {
    gst::init().kind(Kind::Failed, || "GStreamer does not start".into())
}

/// Builds a pipeline from text.
pub fn launch(text: &str) -> Result<gst::Pipeline> {
    let element = gst::parse::launch_full(text, None, gst::ParseFlags::FATAL_ERRORS)
        .map_err(|e| Error::usage(format!("a pipeline cannot be built: {e}")).hint(format!("the text was: {text}")))?;
    element.downcast::<gst::Pipeline>().map_err(|_| Error::usage("a pipeline text holds one element only"))
}

/// Element, message and detail of a bus error, for the cause line.
pub fn describe(e: &gst::message::Error) -> String {
    let element = e.src().map(|s| s.path_string().to_string()).unwrap_or_default();
    let detail = e.debug().map(|d| format!(" ({})", d.lines().last().unwrap_or_default())).unwrap_or_default();
    format!("{element}: {}{detail}", e.error())
}

/// Lets `decode` decode video track number `track` and nothing else, and links it to `input`.
fn one_track(pipeline: &gst::Pipeline, decode: &gst::Element, input: &gst::Pad, track: usize) {
    let seen = Arc::new(AtomicUsize::new(0));
    decode.connect("autoplug-continue", false, move |values| {
        let go_on = (|| {
            let pad = values[1].get::<gst::Pad>().ok()?;
            let caps = values[2].get::<gst::Caps>().ok()?;
            let name = caps.structure(0)?.name().to_string();
            let demuxed = pad
                .parent_element()
                .and_then(|e| e.factory())
                .and_then(|f| f.metadata("klass").map(|k| k.contains("Demux")))
                .unwrap_or(false);
            let picture = name.starts_with("video/") || name.starts_with("image/");
            Some(match demuxed {
                // Containers inside containers and tag formats go on; only streams are chosen from.
                true if picture && !name.contains("quicktime") => seen.fetch_add(1, Ordering::SeqCst) == track,
                true => {
                    !(name.starts_with("audio/")
                        || name.starts_with("text/")
                        || name.starts_with("subpicture/")
                        || name.starts_with("meta/"))
                }
                false => true,
            })
        })();
        Some(go_on.unwrap_or(true).to_value())
    });
    // One thread a decoder: the cores are filled by chunks, and concealment of damage is the same on every run.
    if let Ok(bin) = decode.clone().downcast::<gst::Bin>() {
        bin.connect_deep_element_added(|_, _, element| {
            if element.find_property("max-threads").is_some() {
                element.set_property_from_str("max-threads", "1");
            }
        });
    }
    let (weak, input_pad) = (pipeline.downgrade(), input.clone());
    decode.connect_pad_added(move |_, pad| {
        let raw = pad
            .current_caps()
            .or_else(|| Some(pad.query_caps(None)))
            .is_some_and(|c| c.structure(0).is_some_and(|s| s.name() == "video/x-raw"));
        if raw && !input_pad.is_linked() && pad.link(&input_pad).is_ok() {
            return;
        }
        let Some(pipeline) = weak.upgrade() else { return };
        if let Ok(drain) = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()
            && pipeline.add(&drain).is_ok()
            && drain.sync_state_with_parent().is_ok()
            && let Some(sink) = drain.static_pad("sink")
        {
            let _ = pad.link(&sink);
        }
    });
    let input_pad = input.clone();
    decode.connect_no_more_pads(move |decode| {
        if !input_pad.is_linked() {
            gst::element_error!(decode, gst::StreamError::CodecNotFound, ("the video track cannot be decoded"));
        }
    });
}
