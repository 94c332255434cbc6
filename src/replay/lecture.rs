//! What a lecture's page makes a learner fetch, in bytes as they are sent: rendered by the same code that publishes pages,
//! compressed as `serve` compresses them.

use crate::error::{Error, Kind, Result};
use crate::manifest::blob_name;
use crate::package::{Package, playlist};
use crate::pages::media::{self, MediaView};
use crate::pages::{self, CourseView, LectureView, ModuleView};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::LazyLock;

/// A package's numbers are not trusted: longer lists, longer than ten days of segments of a second, and larger segments than 256 MB
/// are no lecture; nor is what lasts more than two days.
const MOST_SEGMENTS: usize = 1_000_000;
const MOST_BYTES: u64 = 256 << 20;
const MOST_S: f64 = 172_800.0;

/// All that replay knows of a lecture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lecture {
    /// The page with the first voice in it, and the script that follows; compressed.
    pub page_bytes: u64,
    /// How much of the page stands before the first bytes of the voice, up to the end of the script that plays them, and up to the
    /// end of the voice that follows it.
    pub above_bytes: u64,
    pub loader_bytes: u64,
    pub rest_bytes: u64,
    pub app_bytes: u64,
    /// hls.js, which comes with video alone; compressed.
    pub library_bytes: u64,
    /// Bytes and seconds of each segment.
    pub voice: Vec<(u64, f64)>,
    /// How much of the voice stands in the page, and of it before the loader.
    pub head_bytes: u64,
    pub first_bytes: u64,
    /// In order of time.
    pub slides: Vec<Slide>,
    /// Lowest first.
    pub rungs: Vec<Rung>,
    /// Seconds of the segments of every rung.
    pub segments_s: Vec<f64>,
    /// `video.m3u8`, compressed.
    pub playlist_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slide {
    pub start_s: f64,
    /// None where the same picture was shown before: a browser has it.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    pub name: String,
    /// Of each segment.
    pub bytes: Vec<u64>,
    pub init_bytes: u64,
    pub average_bps: f64,
    pub peak_bps: f64,
    /// Of its media playlist, compressed.
    pub playlist_bytes: u64,
}

impl Lecture {
    /// Length of what is heard, seconds.
    pub fn duration_s(&self) -> f64 {
        self.voice.iter().map(|(_, s)| s).sum()
    }

    /// With a page that was really fetched.
    pub fn with_page(self, page: &[u8]) -> Lecture {
        let up_to = |text| place(page, text).map(|at| gzip(&page[..at]));
        let page_bytes = gzip(page);
        Lecture {
            page_bytes,
            above_bytes: up_to("id=\"voice\"").unwrap_or(0),
            loader_bytes: up_to("class=\"voice\"").or_else(|| up_to("id=\"rest\"")).unwrap_or(page_bytes),
            rest_bytes: up_to("id=\"rest\"").unwrap_or(page_bytes),
            ..self
        }
    }

    /// The same, over and over until it lasts so long; the page stays the size that it is.
    pub fn lasting(&self, seconds: f64) -> Lecture {
        let own = self.duration_s();
        let most = (MOST_SEGMENTS / self.voice.len().max(self.segments_s.len()).max(self.slides.len()).max(1)).max(1);
        let times = if own > 0.0 { (seconds / own).ceil().clamp(1.0, most as f64) as usize } else { 1 };
        let mut long = self.clone();
        for n in 1..times {
            long.voice.extend(&self.voice);
            long.segments_s.extend(&self.segments_s);
            long.slides.extend(self.slides.iter().map(|s| Slide { start_s: s.start_s + n as f64 * own, ..*s }));
            for (rung, once) in long.rungs.iter_mut().zip(&self.rungs) {
                rung.bytes.extend(&once.bytes);
            }
        }
        long
    }
}

/// The bytes at the start of a package's voice file that [`of_package`] wants: its name and how many.
pub fn start_of(package: &Package) -> Option<(String, u64)> {
    media::head_of(package).map(|(voice, end)| (format!("a-{}.mp4", voice.name), end))
}

/// `start`: what [`start_of`] asked for. Fails (`Unsupported`) where the lecture has no voice that the page feeds: such a
/// lecture plays as HLS alone.
pub fn of_package(package: &Package, start: &[u8]) -> Result<Lecture> {
    let uri = |name: &str| package.files.get(name).map(|f| format!("../{}", blob_name(&f.sha256, name)));
    let view = media::of_package(package, start, &uri);
    let Some(voice) = &view.voice else {
        let what = format!("\"{}\" has no voice in Opus: its page plays it as HLS alone, which replay does not model", package.title);
        return Err(Error::new(Kind::Unsupported, what));
    };
    let sizes = (package.voices.iter().flat_map(|v| &v.segments).chain(package.rungs.iter().flat_map(|r| &r.segments)).map(|s| s.bytes))
        .chain(package.slides.iter().map(|s| s.bytes));
    let (count, largest) = sizes.fold((0, 0), |(count, largest), bytes| (count + 1, bytes.max(largest)));
    if count > MOST_SEGMENTS || largest > MOST_BYTES {
        return Err(Error::bad_media(format!(
            "package.json of \"{}\" names no segments that can be: {count}, the largest of {largest} bytes",
            package.title
        )));
    }
    let lecture_s: f64 = voice.segments.iter().map(|(_, ticks)| *ticks as f64 / voice.rate_hz.max(1) as f64).sum();
    if lecture_s > MOST_S {
        return Err(Error::bad_media(format!("package.json of \"{}\" says that its voice lasts {lecture_s:.0} s", package.title)));
    }
    let language = package.voices.first().map_or("en", |v| v.language.as_str());
    let page = page(&package.title, language, package.duration_s, &view);
    let lecture = Lecture {
        app_bytes: SCRIPTS[0],
        library_bytes: SCRIPTS[1],
        voice: voice.segments.iter().map(|(bytes, ticks)| (*bytes, *ticks as f64 / voice.rate_hz.max(1) as f64)).collect(),
        head_bytes: voice.head.len() as u64,
        first_bytes: voice.head.len().min(media::HEAD_FIRST) as u64,
        slides: slides(package),
        rungs: package
            .rungs
            .iter()
            .filter(|r| r.segments.len() + 1 == package.boundaries_s.len())
            .map(|r| Rung {
                name: r.name.clone(),
                bytes: r.segments.iter().map(|s| s.bytes).collect(),
                init_bytes: r.init_bytes,
                average_bps: r.average_bps as f64,
                peak_bps: r.peak_bps as f64,
                playlist_bytes: gzip(playlist::video(package, r).as_bytes()),
            })
            .collect(),
        segments_s: package.boundaries_s.windows(2).map(|w| w[1] - w[0]).collect(),
        playlist_bytes: gzip(playlist::master(package, playlist::Which::Video).as_bytes()),
        ..Lecture::default()
    };
    Ok(lecture.with_page(&page))
}

fn slides(package: &Package) -> Vec<Slide> {
    let mut seen = BTreeSet::new();
    let mut fresh = |file: &str| package.files.get(file).is_none_or(|f| seen.insert(f.sha256));
    package.slides.iter().map(|s| Slide { start_s: s.start_s, bytes: if fresh(&s.file) { s.bytes } else { 0 } }).collect()
}

/// The page's script and hls.js.
static SCRIPTS: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let assets = pages::assets();
    [gzip(&assets[0].bytes), gzip(&assets[1].bytes)]
});

/// The page as it is published, in a course of its own.
fn page(title: &str, language: &str, duration_s: f64, view: &MediaView) -> Vec<u8> {
    let id = "lecture";
    let lecture = LectureView {
        id: id.into(),
        title: title.into(),
        presenter: None,
        duration_s,
        master_uri: format!("{id}.m3u8"),
        ways: view.rungs.iter().map(|r| pages::WayView { name: r.name.clone(), bytes: r.bytes }).collect(),
        whole: None,
        files: Vec::new(),
        prerequisites: Vec::new(),
        poster: None,
        media: view.clone(),
        search: Some(format!("search-{:016}.json", 0)),
    };
    let module = ModuleView { id: "m".into(), title: title.into(), lectures: vec![lecture] };
    let course = CourseView {
        id: "course".into(),
        title: title.into(),
        language: language.into(),
        licence: String::new(),
        address: None,
        release: 1,
        titles: Default::default(),
        modules: vec![module],
    };
    let page = pages::course_pages(&course).into_iter().find(|p| p.key.ends_with("lecture.html"));
    page.map_or(Vec::new(), |p| p.bytes)
}

fn place(page: &[u8], text: &str) -> Option<usize> {
    page.windows(text.len()).position(|w| w == text.as_bytes())
}

/// Bytes of text as `serve` sends it.
fn gzip(text: &[u8]) -> u64 {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    match encoder.write_all(text).and_then(|()| encoder.finish()) {
        Ok(packed) => packed.len() as u64,
        Err(_) => text.len() as u64,
    }
}
