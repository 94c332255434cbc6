//! The child `stills`: every wanted picture upright, read, and coded as WebP; what it made lies in the plan's work directory.

use super::{Job, Names, Pictures, Record, Want};
use crate::cache::Cache;
use crate::child::Reporter;
use crate::encode::decoder::init;
use crate::encode::ocr::Ocr;
use crate::encode::{card, still};
use crate::error::{Error, Result};
use crate::legible::{self, Word};
use crate::picture::{Cascade, Frame, Look, Plane, Turn, View};
use crate::probe::Video;
use crate::units::Size;
use crate::workdir::{WorkDir, write_whole};
use std::sync::Arc;

/// A reader's screen has no more lines; 1080 lines hold the smallest type of a slide.
const MOST_LINES: f64 = 1080.0;
const POSTER_WIDTH: f64 = 640.0;
/// webpenc's scale; a poster is looked at, not read.
const POSTER_QUALITY: u32 = 54;

/// The child's side.
pub fn make(job: Job, reporter: &mut Reporter) -> Result<()> {
    init()?;
    let names = Names::new(&job.out, &job.tesseract, &job.language);
    let Some(video) = &job.video else {
        let size = Size { width: POSTER_WIDTH as u32, height: 360 };
        let card = card::draw(&job.fragments, &job.title, &job.colour, &[size])?;
        let bytes = still::webp(&job.fragments, &card[0], &job.colour, POSTER_QUALITY)?;
        return write_whole(&names.poster(), |out| out.write_all(&bytes));
    };
    let (full, small) = sizes(video);
    let turn = Turn::new(video.rotation, video.mirrored);
    let ocr = Ocr::open(&job.tesseract, &job.language).ok();
    let cache = WorkDir::open(Some(job.work.clone())).ok().map(|w| Cache::new(&w));
    let mut pictures = Pictures::new(&job, video);
    let mut cascade: Option<(Look, Cascade)> = None;
    let mut made: Vec<(&Want, Arc<Frame>)> = Vec::new();
    let finish = |made: &mut Vec<(&Want, Arc<Frame>)>, reporter: &mut Reporter| -> Result<()> {
        let pictures: Vec<&Frame> = made.iter().map(|(_, p)| p.as_ref()).collect();
        let read = ocr.as_ref().map(|o| o.read_all(&pictures, cache.as_ref(), &mut || reporter.alive()));
        let mut read = read.into_iter().flatten();
        for (want, picture) in made.drain(..) {
            keep(&job, &names, want, &picture, read.next(), reporter)?;
        }
        Ok(())
    };
    for (done, want) in job.wants.iter().enumerate() {
        let frames = pictures.show(want, &mut || reporter.alive(), |view, colour| {
            let look = Look { size: view.size(), depth: view.depth(), colour, turn };
            if cascade.as_ref().is_none_or(|(made_for, _)| *made_for != look) {
                cascade = Some((look, Cascade::new(look, &[full, small])));
            }
            cascade.as_mut().expect("made above").1.make(view)
        })?;
        reporter.progress(done as f64 + 1.0);
        let Some(frames) = frames else { continue };
        let (picture, poster) = (&frames[0], &frames[1]);
        if want.poster {
            let path = want.slide.map_or(names.poster(), |slide| names.poster_of(slide));
            let bytes = still::webp(&job.fragments, poster, &job.colour, POSTER_QUALITY)?;
            write_whole(&path, |out| out.write_all(&bytes))?;
        }
        if want.slide.is_none() {
            if is_black(poster) {
                continue;
            }
            break;
        }
        made.push((want, cut(picture, want.region)?));
        if made.len() == AT_ONCE {
            finish(&mut made, reporter)?;
        }
    }
    finish(&mut made, reporter)
}

/// As many pictures are read by one run of Tesseract: starting it then costs little, and they fit into memory at any size.
const AT_ONCE: usize = 8;

/// Codes one still and writes it with what is known of it. `read` is what was read in it; absent where nobody reads.
fn keep(
    job: &Job,
    names: &Names,
    want: &Want,
    picture: &Arc<Frame>,
    read: Option<Result<Vec<Word>>>,
    reporter: &mut Reporter,
) -> Result<()> {
    let Some(slide) = want.slide else { return Ok(()) };
    let (words, unread) = match read {
        Some(Ok(words)) => (words, None),
        Some(Err(e)) => (Vec::new(), Some(e.report())),
        None => (Vec::new(), None),
    };
    let most = if slide == 0 { still::FIRST_BYTES } else { still::MOST_BYTES };
    let coded = match want.slide_stands {
        true => still::code(&job.fragments, picture, &job.colour, &words, most, &mut || reporter.alive())?,
        false => still::plain(&job.fragments, picture, &job.colour, most, &mut || reporter.alive())?,
    };
    let rounded = |score: f64| (score * 100.0).round() / 100.0;
    let record = Record {
        width: picture.size().width,
        height: picture.size().height,
        bytes: coded.bytes.len() as u64,
        quality: coded.quality,
        score: coded.score.map(rounded),
        figure_score: coded.figure_score.map(rounded),
        title: legible::title(&words, picture.size()),
        text: legible::text(&words),
        x_height_px: legible::smallest_x_height(&words).map(rounded),
        unread,
    };
    let record = serde_json::to_vec(&record).map_err(|e| Error::bug("a still's record does not serialise").caused_by(e))?;
    write_whole(&names.picture(slide), |out| out.write_all(&coded.bytes))?;
    write_whole(&names.still(slide, ".json"), |out| out.write_all(&record))
}

/// Sizes of stills and poster: the picture's own display size, at most 1080 lines, and never enlarged.
fn sizes(video: &Video) -> (Size, Size) {
    let (width, height) = video.display_size();
    let even = |v: f64| ((v / 2.0).round() as u32 * 2).max(2);
    let by = |scale: f64| Size { width: even(width * scale), height: even(height * scale) };
    (by((MOST_LINES / height).min(1.0)), by((POSTER_WIDTH / width).min(1.0)))
}

/// The slide's part of a picture, on even pixels; all of it where there is no region, or none that can be.
fn cut(picture: &Arc<Frame>, region: Option<[f64; 4]>) -> Result<Arc<Frame>> {
    let Some([x, y, width, height]) = region.filter(|r| r.iter().all(|v| v.is_finite())) else { return Ok(picture.clone()) };
    let size = picture.size();
    let even = |v: f64, all: u32| (((v.clamp(0.0, 1.0) * all as f64 / 2.0).round() as u32) * 2).min(all / 2 * 2);
    let (left, top) = (even(x, size.width), even(y, size.height));
    let (right, bottom) = (even(x + width, size.width), even(y + height, size.height));
    /// Less is no slide.
    const LEAST: u32 = 32;
    if right < left + LEAST || bottom < top + LEAST {
        return Ok(picture.clone());
    }
    let plane = |i: usize| {
        let (half, stride) = (u32::from(i > 0), picture.stride(i));
        Plane { data: &picture.plane(i)[(top >> half) as usize * stride + (left >> half) as usize..], stride }
    };
    let view = View::new(crate::picture::Depth::Eight, Size { width: right - left, height: bottom - top }, [plane(0), plane(1), plane(2)])?;
    Ok(Arc::new(Frame::copy_of(&view)))
}

/// Whether hardly anything is to be seen: less than 1 % of the pixels are brighter than a dark grey.
fn is_black(picture: &Frame) -> bool {
    let size = picture.size();
    let bright = picture.view().rows(0).flatten().filter(|y| **y > 48).count();
    bright * 100 < size.width as usize * size.height as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::decoder::launch;
    use crate::encode::ocr::NONE;
    use crate::pipeline::Fragments;
    use gstreamer as gst;
    use gstreamer::prelude::*;
    use std::path::{Path, PathBuf};

    fn video(width: u32, height: u32, rotation: u16, par: (u32, u32)) -> Video {
        Video {
            track: 0,
            stream_id: "001".into(),
            codec: "mjpeg".into(),
            width,
            height,
            frame_rate: crate::units::FrameRate::new(5, 1).unwrap(),
            variable: false,
            rotation,
            mirrored: false,
            interlaced: false,
            bottom_first: false,
            par,
            bit_depth: 8,
            hdr: None,
            colorimetry: Some("bt709".into()),
        }
    }

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn stills_have_the_display_size_and_are_never_enlarged() {
        assert_eq!(sizes(&video(1280, 720, 0, (1, 1))), (size(1280, 720), size(640, 360)));
        assert_eq!(sizes(&video(3840, 2160, 0, (1, 1))), (size(1920, 1080), size(640, 360)));
        assert_eq!(sizes(&video(1440, 1080, 0, (4, 3))), (size(1920, 1080), size(640, 360)));
        assert_eq!(sizes(&video(1920, 1080, 90, (1, 1))), (size(608, 1080), size(640, 1138)));
        assert_eq!(sizes(&video(160, 120, 0, (1, 1))), (size(160, 120), size(160, 120)));
    }

    #[test]
    fn a_region_is_cut_on_even_pixels_and_nonsense_is_the_whole() {
        let mut frame = Frame::new(size(200, 100));
        let stride = frame.stride(0);
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, v)| *v = (i % stride) as u8);
        let frame = Arc::new(frame);
        let part = cut(&frame, Some([0.25, 0.1, 0.5, 0.8])).unwrap();
        assert_eq!((part.size(), part.plane(0)[0], part.plane(0)[99]), (size(100, 80), 50, 149));
        for region in [[f64::NAN; 4], [2.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.01, 1.0], [0.9, 0.9, -1.0, -1.0]] {
            assert_eq!(cut(&frame, Some(region)).unwrap().size(), frame.size(), "{region:?}");
        }
    }

    const TITLE: &str = "pattern=white ! textoverlay text=\"Insulin\" font-desc=\"DejaVu Sans 40\" color=0xff000000 \
         draw-outline=false draw-shadow=false valignment=top";

    /// Four seconds black, then four of a slide, five pictures a second.
    fn film(dir: &Path, slide: &str) -> PathBuf {
        init().unwrap();
        let path = dir.join("film.mov");
        let source = |picture: &str| {
            let (pattern, drawn) = picture.split_once(" ! ").unwrap_or((picture, "identity"));
            let caps = "video/x-raw,format=I420,width=640,height=360,framerate=5/1,colorimetry=bt709";
            format!("videotestsrc num-buffers=20 {pattern} ! {caps} ! {drawn} ! c.")
        };
        let (black, slide) = (source("pattern=black"), source(slide));
        let graph =
            launch(&format!("concat name=c ! jpegenc quality=95 ! qtmux ! filesink location={} {black} {slide}", path.display())).unwrap();
        graph.set_state(gst::State::Playing).unwrap();
        let ended = graph.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
        assert!(ended.is_some());
        graph.set_state(gst::State::Null).unwrap();
        path
    }

    fn job(dir: &Path, path: &Path, wants: Vec<Want>) -> Job {
        Job {
            kept: None,
            path: path.into(),
            video: Some(video(640, 360, 0, (1, 1))),
            sequential: true,
            times: None,
            title: "t".into(),
            colour: "bt709".into(),
            wants,
            language: "en".into(),
            tesseract: crate::encode::ocr::look(),
            fragments: Fragments::built_in(),
            work: dir.join("work"),
            out: dir.into(),
        }
    }

    #[test]
    fn a_planned_slide_becomes_a_still_that_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path(), TITLE);
        let slide = |slide, ns| Want { ns, of: Vec::new(), slide: Some(slide), region: None, slide_stands: true, poster: slide == 0 };
        // The last is after the end: it is missing, and the others are there.
        let job = job(dir.path(), &path, vec![slide(0, 5_000_000_000), slide(1, 6_000_000_000), slide(2, 99_000_000_000)]);
        let names = Names::new(&job.out, &job.tesseract, &job.language);
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        let record = names.record(0).unwrap();
        assert_eq!((record.width, record.height), (640, 360));
        assert!(record.score.is_none_or(|s| s >= 60.0), "{record:?}");
        if job.tesseract != NONE {
            assert_eq!(record.title.as_deref(), Some("Insulin"));
            assert_eq!(record.text, "Insulin");
        }
        assert!(names.poster_of(0).exists() && !names.poster_of(1).exists());
        assert!(names.record(1).is_some() && names.record(2).is_none());
        // The same bytes again.
        let before = std::fs::read(names.picture(0)).unwrap();
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        assert_eq!(std::fs::read(names.picture(0)).unwrap(), before);
    }

    /// The first slide is waited for; the same picture may take more bytes later.
    #[test]
    fn the_first_slide_is_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path(), "pattern=spokes");
        let slide = |slide, ns| Want { ns, of: Vec::new(), slide: Some(slide), region: None, slide_stands: false, poster: false };
        let job = job(dir.path(), &path, vec![slide(0, 5_000_000_000), slide(1, 6_000_000_000)]);
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        let names = Names::new(&job.out, &job.tesseract, &job.language);
        let (first, second) = (names.record(0).unwrap(), names.record(1).unwrap());
        assert!(second.bytes as usize > still::FIRST_BYTES && second.bytes as usize <= still::MOST_BYTES, "{second:?}");
        assert!(first.quality < second.quality && first.bytes < second.bytes, "{first:?} {second:?}");
    }

    #[test]
    fn a_poster_is_not_black_where_that_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path(), TITLE);
        let want = |ns| Want { ns, of: Vec::new(), slide: None, region: None, slide_stands: false, poster: true };
        let job = job(dir.path(), &path, vec![want(0), want(1_000_000_000), want(7_000_000_000)]);
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        let bytes = std::fs::read(job.out.join("still-poster.webp")).unwrap();
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let mut data = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.read_image(&mut data).unwrap();
        assert!(data[data.len() - 1] > 200);
    }
}
