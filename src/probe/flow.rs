//! One run of `filesrc ! decodebin ! fakesink`, with a recorder on every pad that comes out. Depending on [`Depth`] the
//! pads carry packets (no decoder is plugged) or decoded pictures and sound. Classic decodebin on purpose: uridecodebin3
//! crashes and decodebin3 hangs on real broken files.

use crate::child::Reporter;
use crate::error::{Error, Kind, Result};
use crate::gst::{DRAIN, stream_id};
use gstreamer as gst;
use gstreamer_video::{self as gst_video, prelude::*};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// No buffer for this long ends a run. Below the parent's idle limit, so that the file is named and not the process.
const STALL: Duration = Duration::from_secs(25);

/// Durations beyond an hour are garbage (WMA Voice packets claim 195 years).
const LONGEST_NS: u64 = 3_600_000_000_000;

/// How deep decodebin goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Depth {
    /// Demuxers and parsers only.
    Packets,
    /// Decoders for this video track (a stream id) and, if asked, for all sound; the rest stays packets.
    Decoded { video: Option<String>, audio: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Video,
    Audio,
    Other,
}

/// A packet or a decoded picture, clipped to its segment as decoders do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Stream time; None where the buffer has no time.
    pub at_ns: Option<u64>,
    pub duration_ns: Option<u64>,
    /// The parser says that it decodes by itself.
    pub key: bool,
}

/// What came out of one pad.
#[derive(Debug, Clone)]
pub struct Track {
    /// See [`stream_id`].
    pub id: String,
    pub media: Media,
    pub caps: Option<gst::Caps>,
    pub tags: Vec<gst::TagList>,
    /// The container marks it as a default track.
    pub selected: bool,
    /// Video only, in the order they came, without what lies outside the segment.
    pub packets: Vec<Packet>,
    /// All buffers, also those outside the segment.
    pub count: u64,
    pub first_ns: Option<u64>,
    pub end_ns: u64,
    /// Buffers flagged as interlaced pictures.
    pub interlaced: u64,
    /// Buffers that the decoder flags as damaged.
    pub corrupted: u64,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    Eos,
    /// The caller had seen enough.
    Enough,
    Fault(Fault),
    /// No buffer for [`STALL`].
    Stalled,
}

/// A GStreamer error message.
#[derive(Debug, Clone)]
pub struct Fault {
    pub error: gst::glib::Error,
    pub element: String,
    pub debug: String,
}

/// Where container keyframes are that no IDR begins: a seek there does not give clean pictures.
#[derive(Debug, Default)]
struct Keys {
    soft: AtomicU64,
}

pub struct Flow {
    pipeline: gst::Pipeline,
    bin: gst::Element,
    tracks: Arc<Mutex<Vec<Arc<Mutex<Track>>>>>,
    unknown: Arc<Mutex<Vec<gst::Caps>>>,
    keys: Arc<Keys>,
    clock: Arc<AtomicU64>,
    /// Decoders say so when they conceal or drop something.
    pub warnings: u64,
    /// What the header claims, as soon as the demuxer knows.
    pub header_ns: Option<u64>,
    stalled: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Flow {
    /// `seeks`: whether [`Flow::seek`] will be called.
    pub fn new(path: &Path, depth: Depth, seeks: bool) -> Result<Flow> {
        let missing = |what: &'static str| {
            move |e| {
                Error::new(Kind::Failed, format!("GStreamer's {what} is not installed"))
                    .caused_by(e)
                    .hint("apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav")
            }
        };
        let source = gst::ElementFactory::make("filesrc").property("location", path).build().map_err(missing("filesrc"))?;
        let bin = gst::ElementFactory::make("decodebin").build().map_err(missing("decodebin"))?;
        let pipeline = gst::Pipeline::new();
        pipeline
            .add_many([&source, &bin])
            .and_then(|()| source.link(&bin))
            .map_err(|e| Error::bug("filesrc ! decodebin does not link").caused_by(e))?;
        let flow = Flow {
            pipeline,
            bin,
            tracks: Arc::default(),
            unknown: Arc::default(),
            keys: Arc::default(),
            clock: Arc::default(),
            warnings: 0,
            header_ns: None,
            stalled: false,
        };
        flow.hook_plugging(depth)?;
        flow.hook_pads(seeks);
        Ok(flow)
    }

    /// Keeps decoders out where packets are wanted.
    fn hook_plugging(&self, depth: Depth) -> Result<()> {
        let class = gst::glib::Type::from_name("GstAutoplugSelectResult").and_then(gst::glib::EnumClass::with_type);
        let class = class
            .filter(|c| c.value(0).is_some() && c.value(1).is_some())
            .ok_or_else(|| Error::new(Kind::Failed, "this GStreamer's decodebin has no autoplug-select"))?;
        self.bin.connect("autoplug-select", false, move |values| {
            let wanted = || -> Option<bool> {
                let pad = values.get(1)?.get::<gst::Pad>().ok()?;
                let factory = values.get(3)?.get::<gst::ElementFactory>().ok()?;
                let class = factory.metadata("klass").unwrap_or_default();
                if !class.contains("Decoder") {
                    return Some(true);
                }
                match &depth {
                    Depth::Packets => Some(false),
                    Depth::Decoded { video, audio } if class.contains("Audio") => Some(*audio),
                    Depth::Decoded { video, .. } => Some(stream_id(&pad).is_none_or(|id| video.as_deref() == Some(&id))),
                }
            };
            // GstAutoplugSelectResult: 0 tries the factory, 1 exposes the pad as it is.
            class.to_value(if wanted().unwrap_or(true) { 0 } else { 1 })
        });
        let unknown = self.unknown.clone();
        self.bin.connect("unknown-type", false, move |values| {
            if let Some(Ok(caps)) = values.get(2).map(|v| v.get::<gst::Caps>()) {
                lock(&unknown).push(caps);
            }
            None
        });
        let keys = self.keys.clone();
        self.bin.downcast_ref::<gst::Bin>().ok_or_else(|| Error::bug("decodebin is no bin"))?.connect_element_added(move |_, element| {
            let name = element.factory().map(|f| f.name()).unwrap_or_default();
            if let ("h264parse" | "h265parse", Some(pad)) = (name.as_str(), element.static_pad("sink")) {
                watch_keys(&pad, keys.clone());
            }
        });
        Ok(())
    }

    fn hook_pads(&self, seeks: bool) {
        let (pipeline, tracks, clock) = (self.pipeline.downgrade(), self.tracks.clone(), self.clock.clone());
        self.bin.connect_pad_added(move |_, pad| {
            let Some(pipeline) = pipeline.upgrade() else { return };
            let media = record(pad, &tracks, &clock);
            // Nothing waits for the clock, and only pictures make a seek wait for their first buffer: sparse tracks may have none.
            let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", media == Media::Video && seeks);
            let Ok(sink) = sink.property("enable-last-sample", false).build() else { return };
            let linked = pipeline.add(&sink).is_ok()
                && sink.static_pad("sink").is_some_and(|s| pad.link(&s).is_ok())
                && sink.sync_state_with_parent().is_ok();
            if !linked {
                let _ = pipeline.remove(&sink);
            }
        });
    }

    /// Plays until the end, a fault, or until `enough` (asked about twenty times a second and on every message).
    pub fn run(&mut self, alive: &mut Reporter, mut enough: impl FnMut(&Flow) -> bool) -> End {
        self.state(gst::State::Playing, alive, false, &mut enough)
    }

    /// Builds everything up to the first buffers, then jumps to `to_ns` and forgets what came before.
    pub fn seek(&mut self, to_ns: u64, alive: &mut Reporter) -> Result<(), End> {
        match self.state(gst::State::Paused, alive, true, &mut |_| false) {
            End::Enough => {}
            end => return Err(end),
        }
        self.pipeline
            .seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, gst::ClockTime::from_nseconds(to_ns))
            .map_err(|_| End::Enough)
    }

    fn state(&mut self, state: gst::State, alive: &mut Reporter, preroll: bool, enough: &mut dyn FnMut(&Flow) -> bool) -> End {
        use gst::MessageView as View;
        let Some(bus) = self.pipeline.bus() else { return End::Stalled };
        // A failure here has its message on the bus.
        let refused = self.pipeline.set_state(state).is_err();
        let (mut seen, mut since, mut fault) = (0, Instant::now(), None);
        loop {
            let message = bus.timed_pop(gst::ClockTime::from_mseconds(50));
            match message.as_ref().map(|m| m.view()) {
                Some(View::Eos(_)) => return fault.map_or(End::Eos, End::Fault),
                Some(View::Error(e)) => {
                    fault.get_or_insert_with(|| Fault::of(e));
                }
                Some(View::Warning(_)) => self.warnings += 1,
                Some(View::AsyncDone(_)) if preroll => return End::Enough,
                None if refused => return fault.map_or(End::Stalled, End::Fault),
                _ => {}
            }
            let now = self.clock.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
                alive.progress(now as f64);
                if self.header_ns.is_none() {
                    self.header_ns = self.bin.query_duration::<gst::ClockTime>().map(|d| d.nseconds()).filter(|d| *d > 0);
                }
            } else if let Some(fault) = fault.take_if(|_| since.elapsed() > DRAIN) {
                return End::Fault(fault);
            } else if since.elapsed() > STALL {
                self.stalled = true;
                return End::Stalled;
            }
            if enough(self) {
                return End::Enough;
            }
        }
    }

    /// A copy of what the recorders know, with the tags that arrived so far.
    pub fn tracks(&self) -> Vec<Track> {
        lock(&self.tracks).iter().map(|t| lock(t).clone()).collect()
    }

    /// Looks at the recorders without copying.
    pub fn each<T>(&self, mut look: impl FnMut(&Track) -> T) -> Vec<T> {
        lock(&self.tracks).iter().map(|t| look(&lock(t))).collect()
    }

    /// Caps that no installed plug-in can go on with.
    pub fn unknown(&self) -> Vec<gst::Caps> {
        lock(&self.unknown).clone()
    }

    /// Whether the container marks H.264 or HEVC packets as keyframes that are none.
    pub fn soft_keys(&self) -> bool {
        self.keys.soft.load(Ordering::Relaxed) > 0
    }

    /// The typefinder's name of the file.
    pub fn container(&self) -> Option<String> {
        let caps = self.bin.downcast_ref::<gst::Bin>()?.by_name("typefind")?.property::<Option<gst::Caps>>("caps")?;
        let mut name = caps.structure(0)?.name().to_string();
        if name == "application/x-id3" {
            name = "audio/mpeg".into();
        }
        Some(name)
    }

    pub fn seekable(&self) -> bool {
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        self.bin.query(&mut query) && query.result().0
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // A stalled element may hold locks that Null waits for; the process ends soon anyway.
        if self.stalled {
            std::mem::forget(self.pipeline.clone());
        } else {
            let _ = self.pipeline.set_state(gst::State::Null);
        }
    }
}

impl Fault {
    fn of(message: &gst::message::Error) -> Fault {
        let element = message.src().and_then(|s| s.downcast_ref::<gst::Element>().and_then(|e| e.factory()).map(|f| f.name().to_string()));
        Fault {
            error: message.error(),
            element: element.unwrap_or_else(|| "pipeline".into()),
            debug: message.debug().map(|d| d.to_string()).unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let detail = self.debug.lines().last().unwrap_or_default();
        write!(f, "{}: {} ({detail})", self.element, self.error.message())
    }
}

/// Puts a recorder on a pad that decodebin exposes.
fn record(pad: &gst::Pad, tracks: &Mutex<Vec<Arc<Mutex<Track>>>>, clock: &Arc<AtomicU64>) -> Media {
    let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)));
    let name = caps.as_ref().and_then(|c| c.structure(0)).map(|s| s.name().to_string()).unwrap_or_default();
    let media = match name.split_once('/').map_or("", |n| n.0) {
        "video" | "image" => Media::Video,
        "audio" => Media::Audio,
        _ => Media::Other,
    };
    let track = Arc::new(Mutex::new(Track {
        id: stream_id(pad).unwrap_or_default(),
        media,
        caps,
        tags: Vec::new(),
        selected: false,
        packets: Vec::new(),
        count: 0,
        first_ns: None,
        end_ns: 0,
        interlaced: 0,
        corrupted: 0,
        segment: None,
    }));
    pad.sticky_events_foreach(|event| {
        lock(&track).event(event);
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    lock(tracks).push(track.clone());
    let clock = clock.clone();
    let mask =
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(mask, move |_, info| {
        let mut track = lock(&track);
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => track.buffer(buffer),
            Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(|b| track.buffer(b)),
            Some(gst::PadProbeData::Event(event)) => track.event(event),
            _ => return gst::PadProbeReturn::Ok,
        }
        clock.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    media
}

impl Track {
    fn event(&mut self, event: &gst::EventRef) {
        use gst::EventView as View;
        match event.view() {
            View::Caps(caps) => self.caps = Some(caps.caps_owned()),
            View::Segment(segment) => self.segment = segment.segment().downcast_ref::<gst::ClockTime>().cloned(),
            View::Tag(tag) => self.tags.push(tag.tag_owned()),
            View::StreamStart(start) => self.selected = start.stream_flags().contains(gst::StreamFlags::SELECT),
            // A seek: what was played before does not count.
            View::FlushStop(_) => {
                self.packets.clear();
                (self.count, self.first_ns, self.end_ns) = (0, None, 0);
            }
            _ => {}
        }
    }

    /// What [`gst::Segment`] makes of a buffer's time: None outside.
    fn buffer(&mut self, buffer: &gst::BufferRef) {
        self.count += 1;
        if self.media == Media::Video && self.is_hidden(buffer) {
            return;
        }
        let duration = buffer.duration().map(|d| d.nseconds()).filter(|d| *d < LONGEST_NS);
        let at = match (buffer.pts(), &self.segment) {
            (Some(pts), Some(segment)) => {
                let stop = duration.map(|d| pts + gst::ClockTime::from_nseconds(d));
                let Some((start, _)) = segment.clip(pts, stop) else { return };
                start.and_then(|s| segment.to_stream_time(s)).map(|t| t.nseconds())
            }
            _ => None,
        };
        if let Some(at) = at {
            self.first_ns = Some(self.first_ns.map_or(at, |f| f.min(at)));
            self.end_ns = self.end_ns.max(at.saturating_add(duration.unwrap_or(0)));
        }
        if self.media == Media::Video {
            self.interlaced += u64::from(buffer.video_flags().contains(gst_video::VideoBufferFlags::INTERLACED));
            self.corrupted += u64::from(buffer.flags().contains(gst::BufferFlags::CORRUPTED));
            self.packets.push(Packet { at_ns: at, duration_ns: duration, key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) });
        }
    }

    /// VP8 sends pictures that are only referred to as packets of their own: bit 4 of the frame tag (RFC 6386, 9.1) is show_frame.
    fn is_hidden(&self, buffer: &gst::BufferRef) -> bool {
        self.caps_name() == "video/x-vp8" && buffer.map_readable().is_ok_and(|m| m.first().is_some_and(|b| b & 0x10 == 0))
    }

    pub fn structure(&self) -> Option<&gst::StructureRef> {
        self.caps.as_ref()?.structure(0)
    }

    pub fn caps_name(&self) -> &str {
        self.structure().map(|s| s.name().as_str()).unwrap_or_default()
    }

    /// The value of a text tag, the newest first.
    pub fn tag<T: for<'a> gst::Tag<'a, TagType = &'a str>>(&self) -> Option<String> {
        self.tags.iter().rev().find_map(|t| t.get::<T>().map(|v| v.get().to_string()))
    }
}

/// Counts packets that the container calls keyframes and that no IDR (HEVC: IRAP) begins.
fn watch_keys(pad: &gst::Pad, keys: Arc<Keys>) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(buffer) = info.buffer().filter(|b| !b.flags().contains(gst::BufferFlags::DELTA_UNIT)) else {
            return gst::PadProbeReturn::Ok;
        };
        let caps = pad.current_caps();
        let Some(s) = caps.as_ref().and_then(|c| c.structure(0)) else { return gst::PadProbeReturn::Ok };
        // Annex B comes from containers that are read in one pass anyway.
        let Ok(config) = s.get::<gst::Buffer>("codec_data") else { return gst::PadProbeReturn::Ok };
        let hevc = s.name() == "video/x-h265";
        if let (Ok(config), Ok(data)) = (config.map_readable(), buffer.map_readable())
            && !super::nal::begins_clean(&data, super::nal::length_size(&config, hevc), hevc)
        {
            keys.soft.fetch_add(1, Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
}
