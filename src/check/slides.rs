//! Rules on slides: times, stills, their track and the poster. Digests are `ours`'s.

use super::Sink;
use crate::package::Package;
use crate::package::slides::{Slide, vtt};
use std::path::Path;

const RULE: &str = "rivulet-slides";
const NAME: &str = "package.json";
const TRACK: &str = "slides.vtt";
const POSTER: &str = "poster.webp";
/// Pixels a side: less cannot be read, and WebP holds no more.
const SIDES: std::ops::RangeInclusive<u32> = 16..=16_383;

pub(super) fn check(package: &Package, dir: &Path, sink: &mut Sink) {
    times(package, sink);
    for slide in &package.slides {
        if package.files.get(&slide.file).is_none_or(|f| f.bytes != slide.bytes) {
            sink.add(RULE, slide.file.clone(), format!("it is a slide of {} bytes, and \"files\" says otherwise", slide.bytes));
            continue;
        }
        still(&slide.file, Some(slide), dir, sink);
    }
    for name in package.files.keys().filter(|n| n.starts_with("slides/")) {
        if !package.slides.iter().any(|s| s.file == *name) {
            sink.add(RULE, name.clone(), "no slide has this still");
        }
    }
    if package.files.contains_key(POSTER) {
        still(POSTER, None, dir, sink);
    }
    let track = std::fs::read(dir.join(TRACK)).ok();
    let wanted = (!package.slides.is_empty()).then(|| vtt(&package.slides, str::to_string).into_bytes());
    if track != wanted {
        sink.add(RULE, TRACK, "it does not say what package.json says of the slides");
    }
}

fn times(package: &Package, sink: &mut Sink) {
    /// Times are kept to the tick and printed as seconds.
    const SLACK: f64 = 1e-4;
    let mut before = 0.0;
    for slide in &package.slides {
        let Slide { start_s, end_s, steps_s, .. } = slide;
        let ordered = *start_s >= before - SLACK && *end_s > *start_s && *end_s <= package.duration_s + SLACK;
        if !ordered {
            let message = format!("shown from {start_s} to {end_s} s, after one until {before} s, in {} s of lecture", package.duration_s);
            sink.add(RULE, slide.file.clone(), message);
        }
        let within = |t: &f64| (*start_s - SLACK..=*end_s + SLACK).contains(t);
        if !steps_s.iter().all(within) || steps_s.windows(2).any(|w| w[0] >= w[1]) {
            sink.add(RULE, slide.file.clone(), format!("its steps {steps_s:?} are not in order within {start_s} to {end_s} s"));
        }
        before = *end_s;
    }
    let chapters = &package.chapters;
    let known = |start_s: f64| package.slides.iter().any(|s| (s.start_s - start_s).abs() <= SLACK);
    if chapters.windows(2).any(|w| w[0].start_s >= w[1].start_s) || chapters.iter().any(|c| c.title.is_empty() || !known(c.start_s)) {
        sink.add(RULE, NAME, "a chapter has no title, does not begin with a slide, or is out of order");
    }
}

/// Decodes a picture. One that cannot be opened is told by `rivulet-files`.
fn still(name: &str, said: Option<&Slide>, dir: &Path, sink: &mut Sink) {
    if crate::store::Key::new(name).is_err() {
        return;
    }
    let Ok(file) = std::fs::File::open(dir.join(name)) else { return };
    let mut decoder = match image_webp::WebPDecoder::new(std::io::BufReader::new(file)) {
        Ok(decoder) => decoder,
        Err(e) => return sink.add(RULE, name, format!("it is no WebP picture: {e}")),
    };
    let (width, height) = decoder.dimensions();
    let bytes = decoder.output_buffer_size().unwrap_or(usize::MAX);
    if said.is_some_and(|s| (s.width, s.height) != (width, height)) || !SIDES.contains(&width) || !SIDES.contains(&height) {
        let said = said.map(|s| format!("; package.json says {}x{}", s.width, s.height)).unwrap_or_default();
        return sink.add(RULE, name, format!("it has {width}x{height} pixels{said}"));
    }
    // A header may lie: more than 4K is not decoded.
    const MOST: usize = 4096 * 2304 * 4;
    if bytes > MOST {
        return sink.add(RULE, name, format!("{width}x{height} pixels are more than a still needs"));
    }
    if let Err(e) = decoder.read_image(&mut vec![0; bytes]) {
        sink.add(RULE, name, format!("it does not decode: {e}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::*;
    use crate::package::FileEntry;
    use crate::package::slides::{Chapter, file_name};
    use crate::units::Digest;

    fn webp(width: u32, height: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let data = vec![70; (width * height * 3) as usize];
        image_webp::WebPEncoder::new(&mut out).encode(&data, width, height, image_webp::ColorType::Rgb8).unwrap();
        out
    }

    /// A package of two slides and a poster that breaks no rule of this file.
    fn sound(dir: &Path) -> Package {
        std::fs::create_dir_all(dir.join("slides")).unwrap();
        let mut package: Package = serde_json::from_value(serde_json::json!({
            "format": 1, "tool": "t", "plan": Digest::of(b""), "title": "t", "duration_s": 20.0, "recordings": [], "profile": "p",
            "preset": "fast", "fingerprint": {}, "target_duration_s": 6, "boundaries_s": [0.0, 20.0], "rungs": [], "voices": [],
            "loudness": null, "files": {}, "deviations": [], "repairs": [], "warnings": []
        }))
        .unwrap();
        let mut put = |name: &str, bytes: &[u8]| {
            std::fs::write(dir.join(name), bytes).unwrap();
            package.files.insert(name.into(), FileEntry { sha256: Digest::of(bytes), bytes: bytes.len() as u64 });
        };
        let picture = webp(64, 36);
        let slide = |i: usize| Slide {
            file: file_name(i),
            start_s: 10.0 * i as f64,
            end_s: 10.0 * (i + 1) as f64,
            steps_s: vec![10.0 * i as f64 + 3.0],
            title: Some(format!("T{i}")),
            text: "x".into(),
            width: 64,
            height: 36,
            bytes: picture.len() as u64,
            score: Some(90.0),
            figure_score: None,
            x_height_px: None,
        };
        let slides = vec![slide(0), slide(1)];
        slides.iter().for_each(|s| put(&s.file, &picture));
        put(POSTER, &webp(32, 18));
        put(TRACK, vtt(&slides, str::to_string).as_bytes());
        package.chapters = crate::package::slides::chapters(&slides);
        package.slides = slides;
        package
    }

    fn found(package: &Package, dir: &Path) -> Vec<String> {
        let mut sink = Sink::default();
        check(package, dir, &mut sink);
        let report: Report = sink.finish(None, true);
        assert!(report.findings.iter().all(|f| f.rule == RULE));
        let mut places: Vec<String> = report.findings.into_iter().map(|f| f.r#where).collect();
        places.dedup();
        places
    }

    #[test]
    fn every_fault_is_found_and_a_sound_package_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let good = sound(dir.path());
        assert_eq!(found(&good, dir.path()), Vec::<String>::new());
        let with = |change: &dyn Fn(&mut Package)| {
            let mut package = good.clone();
            change(&mut package);
            // The track is told apart below.
            std::fs::write(dir.path().join(TRACK), vtt(&package.slides, str::to_string)).unwrap();
            found(&package, dir.path())
        };
        let second = ["slides/0002.webp"];
        assert_eq!(with(&|p| p.slides[1].start_s = 9.0), ["slides/0002.webp", NAME]);
        assert_eq!(with(&|p| p.slides[1].end_s = 21.0), second);
        assert_eq!(with(&|p| p.slides[1].end_s = f64::NAN), second);
        assert_eq!(with(&|p| p.slides[1].steps_s = vec![14.0, 13.0]), second);
        assert_eq!(with(&|p| p.slides[1].steps_s = vec![3.0]), second);
        assert_eq!(with(&|p| p.slides[1].width = 66), second);
        assert_eq!(with(&|p| p.slides[1].bytes += 1), second);
        assert_eq!(with(&|p| drop(p.slides.pop())), [NAME, "slides/0002.webp"]);
        assert_eq!(with(&|p| p.chapters.push(Chapter { start_s: 15.0, title: "T".into() })), [NAME]);
        std::fs::write(dir.path().join(TRACK), "WEBVTT\n").unwrap();
        assert_eq!(found(&good, dir.path()), [TRACK]);
    }

    #[test]
    fn damaged_pictures_are_found_and_nothing_panics() {
        let dir = tempfile::tempdir().unwrap();
        let mut package = sound(dir.path());
        for name in ["slides/0001.webp", POSTER] {
            let whole = std::fs::read(dir.path().join(name)).unwrap();
            for bytes in [&b"RIFF"[..], &whole[..whole.len() / 2], b""] {
                std::fs::write(dir.path().join(name), bytes).unwrap();
                if name != POSTER {
                    package.slides[0].bytes = bytes.len() as u64;
                    package.files.get_mut(name).unwrap().bytes = bytes.len() as u64;
                }
                assert_eq!(found(&package, dir.path()), [name]);
            }
            std::fs::write(dir.path().join(name), &whole).unwrap();
            if name != POSTER {
                package.slides[0].bytes = whole.len() as u64;
                package.files.get_mut(name).unwrap().bytes = whole.len() as u64;
            }
        }
        assert!(found(&package, dir.path()).is_empty());
    }
}
