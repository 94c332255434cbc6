//! One upright picture to one WebP file: text readable, figures true, few bytes.

use super::decoder::{describe, launch};
use crate::error::{Error, Result};
use crate::legible::Word;
use crate::picture::Frame;
use crate::picture::score::{Matrix, Reference, Rgb};
use crate::pipeline::Fragments;
use crate::units::{Area, Size};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::sync::Arc;

/// Qualities that are tried, webpenc's scale; each costs some 10 to 15 % more bytes than the one before.
const LADDER: [u32; 9] = [20, 28, 36, 45, 54, 63, 72, 81, 90];
/// Where the search begins: enough for most slides.
const FIRST: usize = 3;
/// Text-free figures (X-rays, ECGs, histology) score at least this: SSIMULACRA2 60 is between fair and good.
pub(super) const FIGURES: f64 = 60.0;
/// A picture without words scores at least this as a whole. Slides with words are not scored, at 0.6 CPU s a try: on four slides of real lectures at 720p qualities 45 to 63 gave 13 to 30 kB, and Tesseract
/// misread at most 0.07 of the letters, hardly less at 63 than at 45; what it did misread stood in logos and on photographs.
const WHOLE: f64 = 60.0;
/// Above this many bytes more quality is not bought: at 35 kbit/s a slide would take 20 s.
pub const MOST_BYTES: usize = 45_000;
/// The same while a figure is not true yet, wherever it stands: an X-ray is worth waiting for.
const FIGURE_BYTES: usize = 2 * MOST_BYTES;
/// The same of a lecture's first slide, which is waited for. Five real ones: 14 to 19 kB at quality 20 for 20 to 27 at 45, and Tesseract
/// misread no more of them; at 120 kbit/s (class `edge`) without loss two of them come 1.9 and 2.1 s after the first sound, by replay, for
/// 2.3 and 2.5 at 23 kB.
pub const FIRST_BYTES: usize = 16_000;

/// A coded still and what is known of it.
pub struct Coded {
    pub bytes: Vec<u8>,
    pub quality: u32,
    /// SSIMULACRA2 of the whole picture where it holds no words, and of the worst text-free figure in it where there is one.
    pub score: Option<f64>,
    pub figure_score: Option<f64>,
}

/// Codes `picture` (of the colour space `bt601` or `bt709`) with the least quality that does; beyond `most` bytes only figures get
/// more. At most four tries.
pub fn code(
    fragments: &Fragments,
    picture: &Arc<Frame>,
    colour: &str,
    words: &[Word],
    most: usize,
    alive: &mut dyn FnMut(),
) -> Result<Coded> {
    let areas = figure_areas(picture, words);
    if areas.is_empty() && words.iter().filter(|w| w.sure()).count() >= WORDS {
        return plain(fragments, picture, colour, most, alive);
    }
    let matrix = Matrix::of(colour);
    let source = Rgb::of(&picture.view(), matrix, Area::whole(picture.size()))?;
    // Figures are held to a score of their own; a picture of nothing but pictures, to one as a whole.
    let whole = if areas.is_empty() { Some(Reference::new(&source)?) } else { None };
    let mut figures = Vec::new();
    for area in areas {
        figures.push((area, Reference::new(&source.part(area)?)?));
    }
    let attempt = |step: usize| -> Result<Coded> {
        let quality = LADDER[step];
        let bytes = webp(fragments, picture, colour, quality)?;
        let read = decode(&bytes)?;
        let mut figure_score: Option<f64> = None;
        for (area, reference) in &figures {
            let score = reference.score(&read.part(*area)?)?;
            figure_score = Some(figure_score.map_or(score, |s| s.min(score)));
        }
        let score = whole.as_ref().map(|w| w.score(&read)).transpose()?;
        Ok(Coded { score, figure_score, bytes, quality })
    };
    let good = |c: &Coded| c.score.is_none_or(|s| s >= WHOLE) && c.figure_score.is_none_or(|s| s >= FIGURES);
    let dear = |c: &Coded| c.bytes.len() > if c.figure_score.is_some_and(|s| s < FIGURES) { FIGURE_BYTES } else { most };
    search(FIRST, LADDER.len(), attempt, |c| good(c) || dear(c), alive)
}

/// As many words that were read for sure make a picture a slide with text.
const WORDS: usize = 4;

/// The quality at which text is as readable as in the source, or less where that would be too many bytes; also of a picture
/// of what moves, which is no figure to be studied.
pub fn plain(fragments: &Fragments, picture: &Arc<Frame>, colour: &str, most: usize, alive: &mut dyn FnMut()) -> Result<Coded> {
    let mut step = FIRST;
    loop {
        let bytes = webp(fragments, picture, colour, LADDER[step])?;
        alive();
        if bytes.len() <= most || step == 0 {
            return Ok(Coded { bytes, quality: LADDER[step], score: None, figure_score: None });
        }
        step -= 1;
    }
}

/// The lowest step that is enough, by halving what is left: about log2 of the steps in tries. The highest where none is.
fn search<T>(
    first: usize,
    steps: usize,
    mut attempt: impl FnMut(usize) -> Result<T>,
    enough: impl Fn(&T) -> bool,
    alive: &mut dyn FnMut(),
) -> Result<T> {
    let (mut low, mut high) = (0, steps - 1);
    let mut step = first;
    let mut best: Option<T> = None;
    loop {
        let tried = attempt(step)?;
        alive();
        match enough(&tried) {
            true => {
                best = Some(tried);
                high = step;
            }
            // Nothing is better than the highest.
            false if step + 1 == steps => return Ok(tried),
            false => low = step + 1,
        }
        match best {
            Some(best) if low >= high => return Ok(best),
            _ => step = if low >= high { high } else { (low + high) / 2 },
        }
    }
}

/// Codes one picture as WebP.
pub fn webp(fragments: &Fragments, picture: &Arc<Frame>, colour: &str, quality: u32) -> Result<Vec<u8>> {
    let size = picture.size();
    let text = fragments.bind("still-webp", &[("quality", &quality.to_string())])?;
    let pipeline = launch(&text)?;
    let missing = |name: &str| Error::usage(format!("pipeline still-webp has no fitting element named {name}"));
    let input = pipeline.by_name("pictures").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()).ok_or_else(|| missing("pictures"))?;
    let output = pipeline.by_name("files").and_then(|e| e.downcast::<gst_app::AppSink>().ok()).ok_or_else(|| missing("files"))?;
    input.set_caps(Some(
        &gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .field("framerate", gst::Fraction::new(1, 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("interlace-mode", "progressive")
            .field("colorimetry", colour)
            .build(),
    ));
    let outcome = (|| {
        let fault = |what: &str| {
            let error = Error::failed(format!("a still of {size} {what}"));
            let cause = pipeline.bus().and_then(|b| b.pop_filtered(&[gst::MessageType::Error]));
            match cause.as_ref().map(|m| m.view()) {
                Some(gst::MessageView::Error(e)) => error.caused_by(describe(e)),
                _ => error,
            }
        };
        let mut buffer = gst::Buffer::from_slice(super::encoder::Shared(picture.clone()));
        buffer.get_mut().expect("the buffer is new").set_pts(gst::ClockTime::ZERO);
        pipeline.set_state(gst::State::Playing).map_err(|_| fault("cannot be coded"))?;
        input.push_buffer(buffer).map_err(|_| fault("is not taken"))?;
        input.end_of_stream().map_err(|_| fault("is not taken"))?;
        let sample = output.try_pull_sample(gst::ClockTime::from_seconds(30)).ok_or_else(|| fault("is not coded"))?;
        let map = sample.buffer().and_then(|b| b.map_readable().ok()).ok_or_else(|| fault("is empty"))?;
        Ok(map.to_vec())
    })();
    let _ = pipeline.set_state(gst::State::Null);
    outcome
}

/// What a browser shows of a WebP file.
fn decode(bytes: &[u8]) -> Result<Rgb> {
    let broken = |e: &dyn std::fmt::Display| Error::bug(format!("a still cannot be read back: {e}"));
    let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(bytes)).map_err(|e| broken(&e))?;
    let (width, height) = decoder.dimensions();
    let mut data = vec![0; decoder.output_buffer_size().unwrap_or(0)];
    if decoder.has_alpha() || data.len() != width as usize * height as usize * 3 {
        return Err(broken(&"it is no plain picture"));
    }
    decoder.read_image(&mut data).map_err(|e| broken(&e))?;
    Ok(Rgb { size: Size { width, height }, data })
}

/// Side of the squares that are told apart, pixels.
const CELL: u32 = 32;

/// The parts of a picture that are photographs or traces without text: connected squares that are busy and that no word touches,
/// each group as a rectangle, the four largest of them. Flat grounds and lines on a flat ground are none.
pub fn figure_areas(picture: &Frame, words: &[Word]) -> Vec<Area> {
    let size = picture.size();
    let (columns, rows) = (size.width / CELL, size.height / CELL);
    let cell = |column: u32, row: u32| Area { x: column * CELL, y: row * CELL, width: CELL, height: CELL };
    let written = |area: &Area| words.iter().any(|w| w.sure() && w.area.meets(area));
    let mut busy: Vec<bool> =
        (0..columns * rows).map(|i| cell(i % columns, i / columns)).map(|area| is_busy(picture, area) && !written(&area)).collect();
    let mut found = Vec::new();
    for start in 0..busy.len() {
        if !std::mem::take(&mut busy[start]) {
            continue;
        }
        let (mut waiting, mut cells) = (vec![start as u32], 0);
        let (mut left, mut right, mut top, mut bottom) = (columns, 0, rows, 0);
        while let Some(at) = waiting.pop() {
            let (x, y) = (at % columns, at / columns);
            (left, right, top, bottom) = (left.min(x), right.max(x), top.min(y), bottom.max(y));
            cells += 1;
            let around = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            for (x, y) in around.into_iter().filter(|(x, y)| *x < columns && *y < rows) {
                if std::mem::take(&mut busy[(y * columns + x) as usize]) {
                    waiting.push(y * columns + x);
                }
            }
        }
        // Nine squares are about a hundred pixels each way; a thin winding group is an ornament, and one row or column of squares
        // a bar of icons or a shaded edge.
        let (width, height) = (right + 1 - left, bottom + 1 - top);
        if cells >= 9 && cells * 2 >= width * height && width.min(height) >= 2 {
            found.push((cells, Area { x: left * CELL, y: top * CELL, width: width * CELL, height: height * CELL }));
        }
    }
    found.sort_by_key(|(cells, area)| (std::cmp::Reverse(*cells), area.y, area.x));
    found.truncate(4);
    found.into_iter().map(|(_, area)| area).collect()
}

/// Whether a square has many shades: 2.5 bits of entropy over levels of 8. A flat ground has 0, black lines on white 0.5 to 1.5,
/// photographs 3 and more.
fn is_busy(picture: &Frame, area: Area) -> bool {
    let mut counts = [0u32; 32];
    let (stride, plane) = (picture.stride(0), picture.plane(0));
    for y in area.y as usize..area.bottom() as usize {
        plane[y * stride + area.x as usize..][..area.width as usize].iter().for_each(|v| counts[*v as usize / 8] += 1);
    }
    let all = (area.width * area.height) as f64;
    let entropy: f64 = counts.iter().filter(|n| **n > 0).map(|n| *n as f64 / all).map(|p| -p * p.log2()).sum();
    entropy >= 2.5
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 640, height: 360 };

    fn frame(pixel: impl Fn(usize, usize) -> u8) -> Arc<Frame> {
        let mut frame = Frame::new(SIZE);
        let stride = frame.stride(0);
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, v)| *v = pixel(i % stride, i / stride));
        for i in 1..3 {
            frame.plane_mut(i).fill(128);
        }
        Arc::new(frame)
    }
    /// White, with a grey texture in the square from (320, 96) to (576, 288).
    fn with_figure() -> Arc<Frame> {
        frame(|x, y| match (320..576).contains(&x) && (96..288).contains(&y) {
            true => (90.0 + 50.0 * (x as f64 / 9.0).sin() * (y as f64 / 13.0).cos() + ((x * 7 + y * 3) % 11) as f64 * 3.0) as u8,
            false => 235,
        })
    }
    fn word(x: u32, y: u32, width: u32) -> Word {
        Word { text: "ECG".into(), area: Area { x, y, width, height: 20 }, confidence: 95.0, line: 0 }
    }

    #[test]
    fn figures_are_busy_and_hold_no_words() {
        assert_eq!(figure_areas(&with_figure(), &[]), [Area { x: 320, y: 96, width: 256, height: 192 }]);
        // A word in its last rows takes them away; a doubtful one does not.
        assert_eq!(figure_areas(&with_figure(), &[word(320, 260, 256)]), [Area { x: 320, y: 96, width: 256, height: 160 }]);
        let doubtful = Word { confidence: 10.0, ..word(320, 260, 256) };
        assert_eq!(figure_areas(&with_figure(), &[doubtful])[0].height, 192);
        assert!(figure_areas(&frame(|x, _| if x % 8 == 0 { 16 } else { 235 }), &[]).is_empty());
        assert!(figure_areas(&frame(|_, _| 235), &[]).is_empty());
        let tiny = Frame::new(Size { width: 8, height: 8 });
        assert!(figure_areas(&tiny, &[]).is_empty());
        let bar = frame(|x, y| if (96..128).contains(&y) { (x * 37 % 97 + y * 53 % 89) as u8 } else { 235 });
        assert!(figure_areas(&bar, &[]).is_empty(), "a bar of icons");
    }

    #[test]
    fn the_search_finds_the_least_that_is_enough() {
        for least in 0..12 {
            let mut tries = 0;
            let attempt = |step| {
                tries += 1;
                Ok(step)
            };
            let found = search(FIRST, LADDER.len(), attempt, |step| *step >= least, &mut || ()).unwrap();
            assert_eq!(found, least.min(LADDER.len() - 1));
            assert!(tries <= 4, "{tries} tries for {least}");
        }
    }

    #[test]
    fn a_still_is_good_enough_and_always_the_same_bytes() {
        super::super::decoder::init().unwrap();
        let (fragments, picture) = (Fragments::built_in(), with_figure());
        let one = code(&fragments, &picture, "bt709", &[], MOST_BYTES, &mut || ()).unwrap();
        let two = code(&fragments, &picture, "bt709", &[], MOST_BYTES, &mut || ()).unwrap();
        assert_eq!(one.bytes, two.bytes);
        assert!(one.score.is_none() && one.figure_score.unwrap() >= FIGURES, "{:?} {:?}", one.score, one.figure_score);
        let size = decode(&one.bytes).unwrap().size;
        assert_eq!(size, SIZE);
        // One RIFF with one lossy picture: nothing that could hold a time or a name.
        assert_eq!((&one.bytes[..4], &one.bytes[8..16]), (&b"RIFF"[..], &b"WEBPVP8 "[..]));
    }

    /// What would take more gets as much quality as its bytes buy.
    #[test]
    fn a_first_slide_comes_soon() {
        super::super::decoder::init().unwrap();
        let mut seed = 1u32;
        let mut grain = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 28) as u8
        };
        let mut frame = Frame::new(Size { width: 1280, height: 720 });
        let stride = frame.stride(0);
        let shade = |x: usize, y: usize| 120.0 + 60.0 * (x as f64 / 23.0).sin() * (y as f64 / 17.0).cos();
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, v)| *v = shade(i % stride, i / stride) as u8 + grain());
        (1..3).for_each(|i| frame.plane_mut(i).fill(128));
        let (fragments, picture) = (Fragments::built_in(), Arc::new(frame));
        let of = |most| plain(&fragments, &picture, "bt709", most, &mut || ()).unwrap();
        let (first, later) = (of(FIRST_BYTES), of(MOST_BYTES));
        assert!(first.bytes.len() < later.bytes.len(), "{} {}", first.bytes.len(), later.bytes.len());
        assert!(first.bytes.len() <= FIRST_BYTES || first.quality == LADDER[0], "{} at {}", first.bytes.len(), first.quality);
        assert!(later.bytes.len() <= MOST_BYTES || later.quality == LADDER[0], "{} at {}", later.bytes.len(), later.quality);
    }

    /// A figure is as true on the first slide as on any other, whatever its bytes.
    #[test]
    fn a_figure_is_not_hurried() {
        super::super::decoder::init().unwrap();
        let (fragments, picture) = (Fragments::built_in(), with_figure());
        let hurried = code(&fragments, &picture, "bt709", &[], 1, &mut || ()).unwrap();
        assert!(hurried.figure_score.unwrap() >= FIGURES, "{:?} at {}", hurried.figure_score, hurried.quality);
    }

    /// The same numbers mean another colour in BT.709; a page shows the lecture's colour all the same.
    #[test]
    fn colours_survive_the_change_of_matrix() {
        super::super::decoder::init().unwrap();
        let mut picture = Frame::new(Size { width: 64, height: 64 });
        for (i, v) in [63, 102, 240].into_iter().enumerate() {
            picture.plane_mut(i).fill(v);
        }
        let bytes = webp(&Fragments::built_in(), &Arc::new(picture), "bt709", 90).unwrap();
        let read = decode(&bytes).unwrap();
        let middle = &read.data[(32 * 64 + 32) * 3..][..3];
        assert!(middle[0] > 245 && middle[1] < 10 && middle[2] < 10, "{middle:?}");
    }
}
