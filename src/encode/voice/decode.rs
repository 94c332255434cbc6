//! One track of one file to frames with stream times. Whatever is wrong with the file ends the sound early and is said;
//! it is for the caller to judge whether enough came.

use crate::error::{Error, Result, ResultExt};
use crate::pipeline::Fragments;
use crate::voice::align::Stereo;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_audio as gst_audio;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// No sample and no message for this long: the pipeline hangs. Below the parent's limit, so that what came can be used.
const STALL: Duration = Duration::from_secs(25);

/// A run of decoded frames.
pub struct Sound<'a> {
    /// Stream time of the first frame, nanoseconds; `None`: it follows the last.
    pub at_ns: Option<i64>,
    pub rate_hz: u32,
    /// Channels that the recording has.
    pub channels: u32,
    pub frames: &'a [Stereo],
}

/// How a track ended.
#[derive(Debug, Default)]
pub struct End {
    /// What stopped it before the file's end, in the plug-in's words.
    pub fault: Option<String>,
    /// The track's decoder is not installed: its caps.
    pub missing: Option<String>,
}

/// What the decodebin callbacks found out.
#[derive(Default)]
struct Seen {
    /// Demuxer pad -> which audio track it is.
    tracks: HashMap<String, usize>,
    channels: Option<u32>,
    linked: bool,
    no_more: bool,
    missing: Option<String>,
}

/// Decodes `track` of `path` from its start and hands every run to `on`, which returns false to stop. Errors only where
/// `on` does or GStreamer itself is broken.
pub fn decode(fragments: &Fragments, path: &Path, track: usize, on: &mut dyn FnMut(Sound) -> Result<bool>) -> Result<End> {
    let text = fragments.bind("voice-decode", &[])?;
    let graph = super::launch(&text)?;
    let location = path.to_str().ok_or_else(|| Error::usage(format!("{} is not a name in UTF-8", path.display())))?;
    super::element(&graph, "file")?.set_property("location", location);
    let sink = super::element(&graph, "voice-out")?
        .downcast::<gst_app::AppSink>()
        .map_err(|_| Error::bug("voice-out in voice-decode.gst is no appsink"))?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    choose(&graph, track, &seen)?;
    if graph.set_state(gst::State::Playing).is_err() {
        let fault = fault(&graph).unwrap_or_else(|| "it does not start".into());
        stop(&graph);
        return Ok(End { fault: Some(fault), missing: None });
    }
    let mut frames = Vec::new();
    let mut last = Instant::now();
    let mut end = End::default();
    let mut error = None;
    loop {
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
            last = Instant::now();
            let channels = lock(&seen).channels.unwrap_or(2);
            match hand_out(&sample, channels, &mut frames, on) {
                Ok(true) => continue,
                Ok(false) => break,
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        if sink.is_eos() {
            break;
        }
        if let Some(text) = fault(&graph) {
            end.fault = Some(text);
            break;
        }
        {
            let seen = lock(&seen);
            if seen.no_more && !seen.linked {
                break;
            }
        }
        if last.elapsed() > STALL {
            // Stopping a pipeline that hangs may hang as well; the process ends soon and takes it along.
            std::mem::forget(graph);
            return Ok(End {
                fault: Some(format!("a plug-in hangs: nothing came for {} s", STALL.as_secs())),
                missing: lock(&seen).missing.take(),
            });
        }
    }
    stop(&graph);
    end.missing = lock(&seen).missing.take();
    match error {
        Some(error) => Err(error),
        None => Ok(end),
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Takes the sound out of a sample: clipped to its segment, since not every decoder does that.
fn hand_out(sample: &gst::Sample, channels: u32, frames: &mut Vec<Stereo>, on: &mut dyn FnMut(Sound) -> Result<bool>) -> Result<bool> {
    let info = sample.caps().and_then(|caps| gst_audio::AudioInfo::from_caps(caps).ok());
    let (Some(info), Some(buffer)) = (info, sample.buffer_owned()) else { return Ok(true) };
    let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
    let (at_ns, buffer) = match (segment, buffer.pts()) {
        (Some(segment), Some(_)) => match gst_audio::audio_buffer_clip(buffer, segment.upcast_ref(), info.rate(), info.bpf()) {
            Some(buffer) => (buffer.pts().and_then(|pts| segment.to_stream_time(pts)).map(|t| t.nseconds() as i64), buffer),
            None => return Ok(true),
        },
        _ => (None, buffer),
    };
    let Ok(map) = buffer.map_readable() else { return Ok(true) };
    frames.clear();
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    frames.extend(map.chunks_exact(8).map(|b| [float(&b[..4]), float(&b[4..])]));
    on(Sound { at_ns, rate_hz: info.rate(), channels, frames })
}

/// Lets decodebin decode the wanted audio track only and links it; everything else ends in fakesinks.
fn choose(graph: &gst::Pipeline, track: usize, seen: &Arc<Mutex<Seen>>) -> Result<()> {
    let decode = super::element(graph, "decode")?;
    let into = super::element(graph, "voice-in")?.static_pad("sink").ok_or_else(|| Error::bug("audioconvert has no sink pad"))?;
    let demuxers = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DEMUXER, gst::Rank::MARGINAL);
    let state = seen.clone();
    decode.connect("autoplug-continue", false, move |args| {
        // What is asked about is a ghost; its target tells where the stream comes from.
        let pad = args[1].get::<gst::Pad>().ok()?;
        let pad = pad.downcast_ref::<gst::GhostPad>().and_then(|ghost| ghost.target()).unwrap_or(pad);
        let caps = args[2].get::<gst::Caps>().ok()?;
        let name = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        // Containers are named video/... and application/... as well.
        if demuxers.iter().any(|f| f.can_sink_any_caps(&caps)) {
            return Some(true.to_value());
        }
        if !name.starts_with("audio/") {
            // Encrypted and packed streams (application/x-cenc and the like) unwrap to something that is asked about again.
            return Some(
                (!name.starts_with("video/")
                    && !name.starts_with("image/")
                    && !name.starts_with("text/")
                    && !name.starts_with("subtitle/"))
                .to_value(),
            );
        }
        let parent = pad.parent_element().and_then(|e| e.factory());
        let from_demuxer = parent.is_some_and(|f| f.klass().contains("Demux"));
        if !from_demuxer {
            return Some(true.to_value());
        }
        let mut state = lock(&state);
        let next = state.tracks.len();
        let index = *state.tracks.entry(pad.path_string().to_string()).or_insert(next);
        Some((index == track).to_value())
    });
    let state = seen.clone();
    decode.connect("unknown-type", false, move |args| {
        let caps = args[2].get::<gst::Caps>().ok()?;
        if caps.structure(0).is_some_and(|s| s.name().starts_with("audio/") || s.name().starts_with("application/x-cenc")) {
            lock(&state).missing.get_or_insert(caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default());
        }
        None
    });
    // A decoder that stumbles over a damaged packet goes on with the next one; by default it gives up after ten.
    decode.downcast_ref::<gst::Bin>().ok_or_else(|| Error::bug("decodebin is no bin"))?.connect_element_added(|_, element| {
        if element.factory().is_some_and(|f| f.name() == "avdec_aac") {
            keep_time(element);
        }
        if element.find_property("max-errors").is_some() {
            element.set_property_from_str("max-errors", "-1");
        }
    });
    let state = seen.clone();
    decode.connect_no_more_pads(move |_| lock(&state).no_more = true);
    let state = seen.clone();
    let weak = graph.downgrade();
    decode.connect_pad_added(move |_, pad| {
        let Some(graph) = weak.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let structure = caps.structure(0);
        let raw = structure.is_some_and(|s| s.name() == "audio/x-raw");
        if raw && !into.is_linked() {
            {
                let mut state = lock(&state);
                state.channels = structure.and_then(|s| s.get::<i32>("channels").ok()).map(|n| n.max(1) as u32);
                state.linked = true;
            }
            if pad.link(&into).is_ok() {
                return;
            }
            lock(&state).linked = false;
        }
        // Unlinked pads would end some demuxers with "not linked".
        let Ok(drain) = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build() else { return };
        if graph.add(&drain).is_ok() {
            let _ = drain.sync_state_with_parent();
            if let Some(sink) = drain.static_pad("sink") {
                let _ = pad.link(&sink);
            }
        }
    });
    Ok(())
}

/// libavcodec swallows the first packet of what libfaac once encoded (it knows it to be priming), and GStreamer's base class
/// then gives every frame the time of the packet before: with an edit list, 21 ms early to the end (two of the lectures
/// that were looked at). This decoder answers each packet at once, so the packet that just went in has the true time.
fn keep_time(decoder: &gst::Element) {
    let (Some(sink), Some(src)) = (decoder.static_pad("sink"), decoder.static_pad("src")) else { return };
    let latest = Arc::new(Mutex::new(None::<gst::ClockTime>));
    let seen = latest.clone();
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let (Some(pts), Ok(mut latest)) = (info.buffer().and_then(|b| b.pts()), seen.lock()) {
            *latest = Some(pts);
        }
        gst::PadProbeReturn::Ok
    });
    src.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let into = latest.lock().ok().and_then(|latest| *latest);
        if let (Some(buffer), Some(into)) = (info.buffer_mut(), into)
            && let Some(late) = buffer.pts().and_then(|pts| into.checked_sub(pts))
            // Less is jitter of the timestamps; a packet is 20 ms and more. Much more is a packet told twice.
            && (gst::ClockTime::from_mseconds(10)..gst::ClockTime::from_mseconds(300)).contains(&late)
        {
            buffer.make_mut().set_pts(into);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The first error on the bus, in words.
pub fn fault(graph: &gst::Pipeline) -> Option<String> {
    let message = graph.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(e) => {
            let source = message.src().map(|s| s.name().to_string()).unwrap_or_default();
            Some(format!("{source}: {}", e.error()))
        }
        _ => None,
    }
}

fn stop(graph: &gst::Pipeline) {
    let _ = graph.set_state(gst::State::Null);
}

/// GStreamer, once a process.
pub fn init() -> Result<()> {
    gst::init().doing(|| "cannot start GStreamer".into())
}
