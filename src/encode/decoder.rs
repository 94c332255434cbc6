//! Decoded pictures of one video track, with their stream times. The pipeline is text (`pipelines/decode.gst` and
//! `pictures*.gst`); here it is only told which of the file's tracks to decode.

use crate::error::{Error, Kind, Result};
use crate::gst::{Samples, appsink, element, one_stream};
pub use crate::gst::{describe, init, launch};
use crate::picture::{Colour, Depth, Plane, View};
use crate::pipeline::Fragments;
use crate::probe::{SEEK_MARGIN_NS, Video};
use crate::units::Size;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video::{self as gst_video, VideoFrameExt};
use std::path::Path;

pub struct Decoder {
    samples: Samples,
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

/// What the decoder's pictures are converted to. `video.colorimetry` is the lecture's, `bt709` or `bt601` (`Plan::colour`).
fn caps(video: &Video) -> String {
    let colour = video.colorimetry.as_deref().unwrap_or("bt709");
    match (&video.hdr, video.bit_depth > 8) {
        // Tone mapping is ours: videoconvert would take HDR for SDR.
        (Some(_), _) => "video/x-raw,format=I420_10LE".into(),
        (None, true) => format!("video/x-raw,format=I420_10LE,colorimetry={colour}"),
        (None, false) => format!("video/x-raw,format=I420,colorimetry={colour}"),
    }
}

impl Decoder {
    /// Opens `path` and begins at stream time `from_ns`, or a little before; at the start where `None`. `times` are those of
    /// all pictures, for a stream that has none of its own. With `references_only`, pictures of H.264 that no other refers to
    /// are left out. `alive` as in [`Decoder::next`].
    pub fn open(
        fragments: &Fragments,
        path: &Path,
        video: &Video,
        from_ns: Option<u64>,
        times: Option<Vec<u64>>,
        references_only: bool,
        alive: &mut dyn FnMut(),
    ) -> Result<Decoder> {
        let caps = caps(video);
        let (pictures, values) = match video.interlaced {
            true => ("pictures-interlaced", vec![("caps", caps.as_str()), ("fields", if video.bottom_first { "bottom" } else { "top" })]),
            false => ("pictures", vec![("caps", caps.as_str())]),
        };
        let text = format!("{} {}", fragments.bind("decode", &[("path", &path.to_string_lossy())])?, fragments.bind(pictures, &values)?);
        let graph = launch(&text)?;
        let input = element(&graph, "pictures")?
            .static_pad("sink")
            .ok_or_else(|| Error::usage(format!("pipeline {pictures}: \"pictures\" has no sink pad")))?;
        let sink = appsink(&graph, "frames")?;
        take_as_they_lie(&sink);
        let stream = one_stream(&graph, &element(&graph, "decode")?, &input, "video", &video.stream_id, references_only)?;
        let mut decoder = Decoder { samples: Samples::new(graph, sink, stream), times: times.map(|t| (t, 0)) };
        if let Some(from) = from_ns.and_then(|ns| ns.checked_sub(SEEK_MARGIN_NS)).filter(|ns| *ns > 0) {
            decoder.preroll(alive)?;
            decoder
                .samples
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
        decoder.samples.play();
        Ok(decoder)
    }

    /// Builds everything up to the first picture, as a seek needs it.
    fn preroll(&mut self, alive: &mut dyn FnMut()) -> Result<()> {
        let graph = self.samples.graph.clone();
        let broken = |cause: String| Error::bad_media("no picture can be decoded").caused_by(cause);
        if graph.set_state(gst::State::Paused).is_err() {
            return Err(broken(crate::gst::fault(&graph).unwrap_or_else(|| "the pipeline does not start".into())));
        }
        let bus = graph.bus().expect("a pipeline has a bus");
        let awaited = [gst::MessageType::AsyncDone, gst::MessageType::Error, gst::MessageType::Eos];
        loop {
            match bus.timed_pop_filtered(gst::ClockTime::from_mseconds(200), &awaited).as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Error(e)) => return Err(broken(describe(e))),
                Some(_) => return Ok(()),
                None if self.samples.moved() => alive(),
                None => {}
            }
        }
    }

    /// The next picture; `None` at the end or where decoding broke off (then [`Decoder::fault`] says why), and from then on at
    /// once. Waits without limit, as the parent process watches (`child::Limits::IDLE`): `alive` is called again and again
    /// while packets are decoded into nothing, which a keyframe a minute before the wanted picture takes on a slow machine.
    /// Where it is not called and nothing returns, a plug-in hangs; a scan for a missing index is the only work that moves
    /// no packets, and probing lets no file seek that has none.
    pub fn next(&mut self, alive: &mut dyn FnMut()) -> Result<Option<Decoded>> {
        while let Some(sample) = self.samples.next(alive) {
            // A picture without a time is in no plan.
            if let Some(stream_ns) = self.time(&sample) {
                let damaged = sample.buffer().is_some_and(|b| b.flags().contains(gst::BufferFlags::CORRUPTED));
                return Ok(Some(Decoded { sample, stream_ns, damaged }));
            }
        }
        Ok(None)
    }

    /// What ended the stream early, for the warning.
    pub fn fault(&self) -> Option<String> {
        let missing = || self.samples.stream.missing().map(|caps| format!("no decoder for {caps} is installed"));
        self.samples.fault.clone().or_else(missing)
    }

    /// Whether the decoder had to count pictures to tell their times so far: with some left out it counts wrong.
    pub fn counted(&self) -> bool {
        self.samples.stream.untimed.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn time(&mut self, sample: &gst::Sample) -> Option<u64> {
        let Some((times, seen)) = &mut self.times else { return stream_time(sample) };
        *seen += 1;
        times.get(*seen - 1).copied()
    }
}

/// Tells the decoder that pictures may lie in memory with gaps between their lines, as it needs them: else it copies each into
/// memory of its own without gaps, which is neither free nor used again.
fn take_as_they_lie(sink: &gstreamer_app::AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| match info.query_mut().map(|q| q.view_mut()) {
        Some(gst::QueryViewMut::Allocation(asked)) => {
            asked.add_allocation_meta::<gst_video::VideoMeta>(None);
            gst::PadProbeReturn::Handled
        }
        _ => gst::PadProbeReturn::Ok,
    });
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
            frame
                .plane_data(i)
                .map(|data| Plane { data, stride: frame.plane_stride()[i as usize] as usize })
                .map_err(|_| bug("lacks a plane"))
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn video(stream_id: &str) -> Video {
        Video {
            track: 0,
            stream_id: stream_id.into(),
            codec: "mjpeg".into(),
            width: 160,
            height: 96,
            frame_rate: crate::units::FrameRate::new(25, 1).unwrap(),
            variable: false,
            rotation: 0,
            mirrored: false,
            interlaced: false,
            bottom_first: false,
            par: (1, 1),
            bit_depth: 8,
            hdr: None,
            colorimetry: None,
        }
    }

    /// Ten pictures of 96x64, twenty of 160x96 and a tone in one file; and its path.
    fn film(dir: &tempfile::TempDir) -> std::path::PathBuf {
        init().unwrap();
        let path = dir.path().join("film.mov");
        let graph = launch(&format!(
            "qtmux name=m ! filesink location={} \
             videotestsrc num-buffers=10 ! video/x-raw,format=I420,width=96,height=64,framerate=25/1 ! jpegenc ! queue ! m. \
             videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=160,height=96,framerate=25/1 ! jpegenc ! queue ! m. \
             audiotestsrc num-buffers=20 ! audio/x-raw,rate=48000,channels=1 ! voaacenc ! queue ! m.",
            path.display()
        ))
        .unwrap();
        graph.set_state(gst::State::Playing).unwrap();
        let ended = graph.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
        assert!(ended.is_some());
        graph.set_state(gst::State::Null).unwrap();
        path
    }

    /// The plan's track and nothing else: neither the other pictures nor the sound cost a decoder.
    #[test]
    fn only_the_stream_that_is_asked_for_is_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(&dir);
        for (id, width, count) in [("001", 96, 10), ("002", 160, 20)] {
            let mut decoder = Decoder::open(&Fragments::built_in(), &path, &video(id), None, None, false, &mut || ()).unwrap();
            let mut widths = Vec::new();
            while let Some(picture) = decoder.next(&mut || ()).unwrap() {
                widths.push(picture.view(|view, _| Ok(view.size().width)).unwrap());
            }
            assert_eq!(widths, vec![width; count], "{id}");
            let decoders = decoder
                .samples
                .graph
                .iterate_recurse()
                .into_iter()
                .filter(|e| e.as_ref().unwrap().factory().is_some_and(|f| f.klass().contains("Decoder/")))
                .count();
            assert_eq!(decoders, 1, "{id}");
            assert_eq!(decoder.fault(), None);
        }
    }

    /// A stream that is not there ends at once, as does one that breaks off: asked again, nothing is waited for.
    #[test]
    fn what_has_ended_stays_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(&dir);
        let mut absent = Decoder::open(&Fragments::built_in(), &path, &video("009"), None, None, false, &mut || ()).unwrap();
        assert!(absent.next(&mut || ()).unwrap().is_none());
        // An error on the bus of a pipeline that never ends by itself.
        let mut stuck = Decoder::open(&Fragments::built_in(), &path, &video("002"), None, None, false, &mut || ()).unwrap();
        assert!(stuck.next(&mut || ()).unwrap().is_some());
        stuck.samples.graph.set_state(gst::State::Null).unwrap();
        stuck.samples.graph.set_state(gst::State::Ready).unwrap();
        gst::element_error!(stuck.samples.sink, gst::StreamError::Decode, ["broken off"]);
        for _ in 0..100 {
            // A wait of two seconds at each of these would be noticed.
            assert!(stuck.next(&mut || ()).unwrap().is_none());
        }
        assert!(stuck.fault().unwrap().contains("frames"));
    }
}
