//! One track of one file to frames with stream times. Whatever is wrong with the file ends the sound early and is said;
//! it is for the caller to judge whether enough came.

use crate::error::{Error, Result};
use crate::gst::{Samples, appsink, element, launch, one_stream};
use crate::pipeline::Fragments;
use crate::voice::align::Stereo;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_audio as gst_audio;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

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
    /// Where the file holds sound, whether it decodes or not.
    pub packets: Packets,
}

/// Where the packets of a track lie, in cells of a tenth of a second of stream time.
#[derive(Debug, Default)]
pub struct Packets(Vec<bool>);

const CELL_NS: u64 = 100_000_000;
/// Sound of a longer packet than this is a lie of the container's (WMA Voice claims 195 years).
const LONGEST_NS: u64 = 2_000_000_000;
/// No recording is longer: 100 hours.
const LAST_CELL: u64 = 3_600_000;

impl Packets {
    fn add(&mut self, at_ns: u64, duration_ns: u64) {
        let (first, last) = (at_ns / CELL_NS, (at_ns + duration_ns.clamp(1, LONGEST_NS) - 1) / CELL_NS);
        if last > LAST_CELL {
            return;
        }
        if self.0.len() <= last as usize {
            self.0.resize(last as usize + 1, false);
        }
        self.0[first as usize..=last as usize].fill(true);
    }
    /// Nanoseconds of a span for which the file has packets; cells that it only touches do not count.
    pub fn within(&self, from_ns: u64, to_ns: u64) -> u64 {
        let cells = from_ns.div_ceil(CELL_NS) as usize..((to_ns / CELL_NS) as usize).min(self.0.len());
        self.0.get(cells).map_or(0, |cells| cells.iter().filter(|c| **c).count() as u64 * CELL_NS)
    }
}

/// Decodes the stream `id` (see [`crate::gst::stream_id`]) of `path` from its start and hands every run to `on`, which
/// returns false to stop. `alive` is called while packets are decoded into nothing. Errors only where `on` does or GStreamer
/// itself is broken. A hang is not noticed here but by the parent, which kills and tries again: it is no fact about the file.
pub fn decode(
    fragments: &Fragments,
    path: &Path,
    id: &str,
    on: &mut dyn FnMut(Sound) -> Result<bool>,
    alive: &mut dyn FnMut(),
) -> Result<End> {
    let graph = launch(&fragments.bind("voice-decode", &[])?)?;
    let location = path.to_str().ok_or_else(|| Error::usage(format!("{} is not a name in UTF-8", path.display())))?;
    element(&graph, "file")?.set_property("location", location);
    let sink = appsink(&graph, "voice-out")?;
    let decoder = element(&graph, "decode")?;
    let into = element(&graph, "voice-in")?
        .static_pad("sink")
        .ok_or_else(|| Error::usage("pipeline voice-decode: \"voice-in\" has no sink pad"))?;
    let stream = one_stream(&graph, &decoder, &into, "audio", id, false)?;
    let packets = Arc::new(Mutex::new(Packets::default()));
    let cells = packets.clone();
    decoder.downcast_ref::<gst::Bin>().ok_or_else(|| Error::usage("the element decode is no decodebin"))?.connect_element_added(
        move |_, element| {
            let Some(factory) = element.factory() else { return };
            if factory.klass().contains("Decoder") {
                note_packets(element, cells.clone());
            }
            if factory.name() == "avdec_aac" {
                keep_time(element);
            }
        },
    );
    let mut samples = Samples::new(graph, sink, stream);
    samples.play();
    let mut frames = Vec::new();
    while let Some(sample) = samples.next(alive) {
        let channels = samples.stream.caps().and_then(|caps| caps.structure(0)?.get::<i32>("channels").ok());
        if !hand_out(&sample, channels.map_or(2, |n| n.max(1) as u32), &mut frames, on)? {
            break;
        }
    }
    let packets = std::mem::take(&mut *lock(&packets));
    Ok(End { fault: samples.fault.take(), missing: samples.stream.missing(), packets })
}

fn lock(packets: &Mutex<Packets>) -> MutexGuard<'_, Packets> {
    packets.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Notes where the packets that go into a decoder belong.
fn note_packets(decoder: &gst::Element, packets: Arc<Mutex<Packets>>) {
    let Some(sink) = decoder.static_pad("sink") else { return };
    sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(buffer) = info.buffer()
            && let Some(pts) = buffer.pts()
            && let Some(event) = pad.sticky_event::<gst::event::Segment>(0)
            && let Some(segment) = event.segment().downcast_ref::<gst::ClockTime>()
            && let Some(at) = segment.to_stream_time(pts)
        {
            lock(&packets).add(at.nseconds(), buffer.duration().map_or(1, |d| d.nseconds()));
        }
        gst::PadProbeReturn::Ok
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Only tenths of a second that lie wholly in a span and have packets count as sound that should be there.
    #[test]
    fn lost_sound_is_measured_by_the_packets_of_a_span() {
        const MS: u64 = 1_000_000;
        let mut packets = Packets::default();
        // Packets of 20 ms from 1 to 2 s, one without a length at 3 s, one that claims a year at 4 s, one at the end of time.
        (0..50).for_each(|i| packets.add(1000 * MS + i * 20 * MS, 20 * MS));
        packets.add(3000 * MS, 0);
        packets.add(4000 * MS, u64::MAX);
        packets.add(u64::MAX - LONGEST_NS, 1);
        for (from, to, has) in
            [(0, 1000, 0), (0, 3000, 1000), (1050, 1950, 800), (2000, 4000, 100), (4000, 9000, 2000), (5000, 99_000, 1000)]
        {
            assert_eq!(packets.within(from * MS, to * MS), has * MS, "{from} to {to} ms");
        }
        assert_eq!(packets.within(500 * MS, 400 * MS), 0);
    }
}
