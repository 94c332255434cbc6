//! What every touch of GStreamer shares: start it, build a pipeline from text, put its errors in words, decode exactly one
//! of a file's streams and take the samples out until they end. Only children of Rivulet come here (`child`).

use crate::error::{Error, Kind, Result, ResultExt};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// After an error, what decoders and queues still hold comes out; when nothing has moved for this long, it has.
pub const DRAIN: Duration = Duration::from_secs(2);

const INSTALL: &str = "apt install gstreamer1.0-plugins-base gstreamer1.0-x gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav";

/// GStreamer for this process.
pub fn init() -> Result<()> {
    gst::init().kind(Kind::Failed, || "GStreamer does not start".into())
}

/// Builds a pipeline from text. `Unsupported` where an element is not installed, else `Usage`: the text is wrong.
pub fn launch(text: &str) -> Result<gst::Pipeline> {
    let element = gst::parse::launch_full(text, None, gst::ParseFlags::FATAL_ERRORS).map_err(|e| {
        let what = format!("a pipeline cannot be built: {e}");
        match e.kind::<gst::ParseError>() {
            Some(gst::ParseError::NoSuchElement) => Error::new(Kind::Unsupported, what).hint(INSTALL),
            _ => Error::usage(what).hint(format!("the text was: {text}")),
        }
    })?;
    element.downcast::<gst::Pipeline>().map_err(|_| Error::usage("a pipeline text holds one element only"))
}

/// The element of this name; pipelines are text that a user may have changed.
pub fn element(graph: &gst::Pipeline, name: &str) -> Result<gst::Element> {
    graph.by_name(name).ok_or_else(|| Error::usage(format!("a pipeline has no element named {name}")))
}

/// The appsink of this name.
pub fn appsink(graph: &gst::Pipeline, name: &str) -> Result<gst_app::AppSink> {
    element(graph, name)?.downcast().map_err(|_| Error::usage(format!("the element {name} of a pipeline is no appsink")))
}

/// Element, message and detail of a bus error, for the cause line.
pub fn describe(e: &gst::message::Error) -> String {
    let element = e.src().map(|s| s.path_string().to_string()).unwrap_or_default();
    let detail = e.debug().map(|d| format!(" ({})", d.lines().last().unwrap_or_default())).unwrap_or_default();
    format!("{element}: {}{detail}", e.error())
}

/// The oldest error on the bus, in words.
pub fn fault(graph: &gst::Pipeline) -> Option<String> {
    match graph.bus()?.pop_filtered(&[gst::MessageType::Error])?.view() {
        gst::MessageView::Error(e) => Some(describe(e)),
        _ => None,
    }
}

/// Which of its file's streams a pad carries: what the demuxers add to the stream id, such as `002` or `00000101`; empty
/// for a file that is one bare stream, `None` where nothing is known yet. The part before it is a hash of the file's
/// address, which differs for every path to the same recording.
pub fn stream_id(pad: &gst::Pad) -> Option<String> {
    // decodebin asks about ghosts of the pads it found, and a ghost holds no events before data flows.
    let target = pad.downcast_ref::<gst::GhostPad>().and_then(|ghost| ghost.target());
    let id = target.and_then(|t| t.stream_id()).or_else(|| pad.stream_id())?;
    Some(id.split_once('/').map(|(_, within)| within.to_string()).unwrap_or_default())
}

/// Whether a pad with the stream id `id` is the stream `wanted`, or a container that may hold it.
fn leads_to(id: Option<&str>, wanted: &str) -> bool {
    match id {
        None | Some("") => true,
        Some(id) => wanted.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

/// The one stream that a decodebin decodes.
#[derive(Default)]
pub struct OneStream {
    state: Mutex<State>,
    /// Packets that went into its decoders: the sign that a pipeline is at work though nothing comes out.
    packets: AtomicU64,
    /// Packets of pictures came without a time of showing: the decoder counts pictures to tell it.
    pub untimed: AtomicBool,
}

#[derive(Default)]
struct State {
    caps: Option<gst::Caps>,
    linked: bool,
    no_more: bool,
    missing: Option<String>,
}

impl OneStream {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
    /// The decoder's caps, before any conversion.
    pub fn caps(&self) -> Option<gst::Caps> {
        self.lock().caps.clone()
    }
    /// Caps of the stream, where no decoder for it is installed.
    pub fn missing(&self) -> Option<String> {
        self.lock().missing.clone()
    }
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }
    /// All streams are known, and it is not among those that decode.
    fn absent(&self) -> bool {
        let state = self.lock();
        state.no_more && !state.linked
    }
}

/// Lets `decode` (a decodebin) decode the stream `wanted` (see [`stream_id`]) of `media` ("video" or "audio") and nothing
/// else, and links it to `into`. All others leave as packets and are thrown away. With `references_only`, pictures of H.264
/// that no other refers to are not decoded.
pub fn one_stream(
    graph: &gst::Pipeline,
    decode: &gst::Element,
    into: &gst::Pad,
    media: &'static str,
    wanted: &str,
    references_only: bool,
) -> Result<Arc<OneStream>> {
    let one = Arc::new(OneStream::default());
    let id = wanted.to_string();
    decode.connect("autoplug-continue", false, move |values| {
        let pad = values.get(1)?.get::<gst::Pad>().ok()?;
        Some(leads_to(stream_id(&pad).as_deref(), &id).to_value())
    });
    let (state, id) = (one.clone(), wanted.to_string());
    decode.connect("unknown-type", false, move |values| {
        let pad = values.get(1)?.get::<gst::Pad>().ok()?;
        let caps = values.get(2)?.get::<gst::Caps>().ok()?;
        let name = caps.structure(0)?.name().to_string();
        let ours = stream_id(&pad).is_none_or(|i| i == id);
        if ours && (name.split('/').next() == Some(media) || name.starts_with("application/x-cenc")) {
            state.lock().missing.get_or_insert(name);
        }
        None
    });
    let counter = one.clone();
    decode.downcast_ref::<gst::Bin>().ok_or_else(|| Error::usage("the element decode is no decodebin"))?.connect_element_added(
        move |_, element| {
            let decoder = element.factory().is_some_and(|f| f.klass().contains("Decoder"));
            let Some(pad) = element.static_pad("sink").filter(|_| decoder) else { return };
            // The cores are filled by children, and concealment of damage is the same on every run.
            if element.find_property("max-threads").is_some() {
                element.set_property_from_str("max-threads", "1");
            }
            let counter = counter.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                counter.packets.fetch_add(1, Ordering::Relaxed);
                if info.buffer().is_some_and(|buffer| buffer.pts().is_none()) {
                    counter.untimed.store(true, Ordering::Relaxed);
                }
                match info.buffer() {
                    Some(buffer) if references_only && !is_reference(pad, buffer) => gst::PadProbeReturn::Drop,
                    _ => gst::PadProbeReturn::Ok,
                }
            });
        },
    );
    let (state, id, into, weak) = (one.clone(), wanted.to_string(), into.clone(), graph.downgrade());
    decode.connect_pad_added(move |_, pad| {
        let Some(graph) = weak.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let raw = caps.structure(0).is_some_and(|s| s.name().strip_prefix(media) == Some("/x-raw"));
        let ours = raw && stream_id(pad).is_none_or(|i| i == id) && !into.is_linked();
        if ours {
            // Before the link: with it samples begin to flow.
            state.lock().caps = Some(caps);
            if pad.link(&into).is_ok() {
                state.lock().linked = true;
                return;
            }
        }
        // Unlinked pads would end some demuxers with "not linked".
        if let Ok(drain) = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()
            && graph.add(&drain).is_ok()
            && drain.sync_state_with_parent().is_ok()
            && let Some(sink) = drain.static_pad("sink")
        {
            let _ = pad.link(&sink);
        }
    });
    let state = one.clone();
    decode.connect_no_more_pads(move |_| state.lock().no_more = true);
    Ok(one)
}

/// Whether other pictures may refer to this one, an access unit of H.264: nal_ref_idc of its first slice (ITU-T H.264 7.4.1).
/// What cannot be told is taken for a reference.
fn is_reference(pad: &gst::Pad, unit: &gst::Buffer) -> bool {
    let Some(caps) = pad.current_caps() else { return true };
    let Some(kind) = caps.structure(0).filter(|s| s.name() == "video/x-h264") else { return true };
    let Ok(map) = unit.map_readable() else { return true };
    match kind.get::<gst::Buffer>("codec_data") {
        Ok(avcc) => match avcc.map_readable().ok().and_then(|a| a.get(4).map(|b| (b & 3) as usize + 1)) {
            Some(prefix) => slice_is_reference(Prefixed { bytes: &map, prefix }),
            None => true,
        },
        Err(_) => slice_is_reference(start_coded(&map)),
    }
}

fn slice_is_reference(headers: impl Iterator<Item = u8>) -> bool {
    headers.into_iter().find(|h| matches!(h & 0x1f, 1..=5)).is_none_or(|h| h >> 5 & 3 != 0)
}

/// First bytes of NAL units behind length prefixes (ISO/IEC 14496-15).
struct Prefixed<'a> {
    bytes: &'a [u8],
    prefix: usize,
}

impl Iterator for Prefixed<'_> {
    type Item = u8;
    fn next(&mut self) -> Option<u8> {
        let (length, rest) = self.bytes.split_at_checked(self.prefix)?;
        let length = length.iter().fold(0usize, |n, b| n << 8 | *b as usize);
        let header = *rest.first()?;
        self.bytes = rest.get(length..).unwrap_or_default();
        Some(header)
    }
}

/// First bytes of NAL units behind start codes (ITU-T H.264 annex B).
fn start_coded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3])
}

/// The decoded samples of [`OneStream`], until they end or a fault ends them. Never waits for good by itself: whoever
/// started this process watches for signs of life.
pub struct Samples {
    pub graph: gst::Pipeline,
    pub sink: gst_app::AppSink,
    pub stream: Arc<OneStream>,
    /// What ended the stream early, or seems to have.
    pub fault: Option<String>,
    ended: bool,
    seen: u64,
}

impl Samples {
    pub fn new(graph: gst::Pipeline, sink: gst_app::AppSink, stream: Arc<OneStream>) -> Samples {
        Samples { graph, sink, stream, fault: None, ended: false, seen: 0 }
    }

    pub fn play(&mut self) {
        // A refusal here may come after the first samples: `next` gives what there is.
        if self.graph.set_state(gst::State::Playing).is_err() {
            self.note_fault();
            self.fault.get_or_insert_with(|| "the pipeline does not start".into());
        }
    }

    /// The next sample; `None` at the end, and from then on at once. `alive` is called while packets go in but nothing comes
    /// out, as between a keyframe and a wanted picture far behind it: silence means that nothing moves at all.
    pub fn next(&mut self, alive: &mut dyn FnMut()) -> Option<gst::Sample> {
        let mut since = Instant::now();
        while !self.ended {
            if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
                return Some(sample);
            }
            self.note_fault();
            if self.sink.is_eos() || self.stream.absent() {
                self.ended = true;
            } else if self.moved() {
                since = Instant::now();
                alive();
            } else if self.fault.is_some() && since.elapsed() > DRAIN {
                // Stopping at once would lose a random part of what was decoded.
                self.ended = true;
            }
        }
        None
    }

    /// Whether packets went into the decoder since this was last asked.
    pub fn moved(&mut self) -> bool {
        let packets = self.stream.packets();
        std::mem::replace(&mut self.seen, packets) != packets
    }

    fn note_fault(&mut self) {
        if let Some(fault) = fault(&self.graph) {
            self.fault.get_or_insert(fault);
        }
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        let _ = self.graph.set_state(gst::State::Null);
    }
}

/// Counts what FFmpeg's decoders complain of in this process. They conceal damaged pictures and say so in the log only. [`init`] comes
/// first.
pub fn count_complaints() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    // The default function would write each of them to stderr, which is wanted only where somebody reads along.
    if std::env::var_os("GST_DEBUG").is_none() {
        gst::log::remove_default_log_function();
    }
    gst::log::set_threshold_for_name("libav", gst::DebugLevel::Error);
    gst::log::add_log_function(move |category, level, _, _, _, _, _| {
        if category.name() == "libav" && level == gst::DebugLevel::Error {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Containers in containers are opened on the way to a stream; neighbours are not, nor those that begin alike.
    #[test]
    fn only_the_way_to_the_wanted_stream_goes_on() {
        for (id, wanted, goes) in [
            (Some("002"), "002", true),
            (Some("001"), "002", false),
            (Some("00"), "002", false),
            (Some("1e0"), "1e0/vbi/2", true),
            (Some(""), "002", true),
            (Some(""), "", true),
            (Some("001"), "", false),
            (None, "002", true),
        ] {
            assert_eq!(leads_to(id, wanted), goes, "{id:?} on the way to {wanted:?}");
        }
    }

    #[test]
    fn a_picture_that_nothing_refers_to_is_told_by_its_first_slice() {
        let sei_then = |slice: u8| vec![0, 0, 0, 2, 6, 5, 0, 0, 0, 3, slice, 1, 2];
        for (slice, reference) in [(0x65, true), (0x41, true), (0x01, false), (0x21, true)] {
            assert_eq!(slice_is_reference(Prefixed { bytes: &sei_then(slice), prefix: 4 }), reference, "{slice:#x}");
            assert_eq!(slice_is_reference(start_coded(&[0, 0, 0, 1, 9, 16, 0, 0, 1, slice, 7])), reference, "{slice:#x}");
        }
        // Nothing to be found, or a length that lies: decoded.
        assert!(slice_is_reference(Prefixed { bytes: &[0, 0, 0, 99, 6], prefix: 4 }) && slice_is_reference(start_coded(&[0, 0, 1])));
    }

    /// Facts about a recording are kept by its digest and used under any name: ids must not depend on the path.
    #[test]
    fn the_id_of_a_stream_is_the_same_under_every_path() {
        init().unwrap();
        let id = |text: &str| {
            let pad = gst::Pad::new(gst::PadDirection::Src);
            pad.set_active(true).unwrap();
            pad.push_event(gst::event::StreamStart::new(text));
            stream_id(&pad)
        };
        assert_eq!(id("5fe3a0/002").as_deref(), Some("002"));
        assert_eq!(id("5fe3a0/1e0/vbi").as_deref(), Some("1e0/vbi"));
        assert_eq!(id("5fe3a0").as_deref(), Some(""));
        assert_eq!(stream_id(&gst::Pad::new(gst::PadDirection::Src)), None);
    }
}
