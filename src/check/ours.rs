//! Rules on a package of ours: `package.json` against files, playlists and media.

use super::Sink;
use super::fetch::Fetch;
use super::measure::{Media, Subject, Use};
use crate::error::{Kind, Result, ResultExt};
use crate::package::{Package, Segment};
use crate::progress::Ctx;
use crate::rate;
use crate::units::Digest;
use std::collections::BTreeSet;
use std::path::Path;

const NAME: &str = "package.json";

/// `package.json`, where there is one; one that does not parse is a finding.
/// The `package.json` of a directory.
pub(super) fn load(fetch: &dyn Fetch, sink: &mut Sink) -> Result<Option<Package>> {
    let text = match fetch.text(NAME) {
        Ok(text) => text,
        Err(e) if e.kind() == Kind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    match serde_json::from_slice(&text) {
        Ok(package) => Ok(Some(package)),
        Err(e) => {
            sink.add("rivulet-package", NAME, format!("it does not parse: {e}"));
            Ok(None)
        }
    }
}

/// The `package.json` beside one playlist, for what it declares; `None` where there is none, or somebody else's.
pub(super) fn beside(fetch: &dyn Fetch, playlist: &str) -> Option<Package> {
    let text = fetch.text(&fetch.resolve(playlist, NAME).ok()?).ok()?;
    serde_json::from_slice(&text).ok()
}

pub(super) fn check(package: &Package, subject: &Subject, dir: &Path, ctx: &Ctx, sink: &mut Sink) -> Result<()> {
    let mut explained = BTreeSet::new();
    for rung in &package.rungs {
        let uri = format!("v-{}.m3u8", rung.name);
        let Some(media) = find(subject, &uri, Use::Variant, sink) else { continue };
        segments(media, &rung.segments, rung.init_bytes, rung.bytes, package, &mut explained, sink);
        if let Some(stills) = find(subject, &format!("i-{}.m3u8", rung.name), Use::IFrames, sink) {
            iframes(stills, &rung.segments, sink);
        }
        rates(&uri, "", (rung.peak_bps, rung.average_bps), &rung.segments, 90_000, package, |s| s.bytes, sink);
        let iframe = (rung.iframe_peak_bps, rung.iframe_average_bps);
        rates(&uri, "iframe_", iframe, &rung.segments, 90_000, package, |s| s.iframe_bytes.unwrap_or(s.bytes), sink);
        if let Some(track) = media.track(b"vide") {
            facts(&uri, &[("codec", &rung.codec, &track.entry.codec)], sink);
            boundaries(media, track.timescale, package, sink);
        }
    }
    for voice in &package.voices {
        let uri = format!("a-{}.m3u8", voice.name);
        let Some(media) = find(subject, &uri, Use::Audio, sink) else { continue };
        segments(media, &voice.segments, voice.init_bytes, voice.bytes, package, &mut explained, sink);
        rates(&uri, "", (voice.peak_bps, voice.average_bps), &voice.segments, voice.rate_hz, package, |s| s.bytes, sink);
        if let Some(track) = media.track(b"soun") {
            facts(&uri, &[("codec", &voice.codec, &track.entry.codec)], sink);
        }
    }
    for c in &package.captions {
        let uri = format!("c-{}.m3u8", c.language);
        let Some(media) = find(subject, &uri, Use::Subtitles, sink) else { continue };
        let cues = |text: &Vec<u8>| String::from_utf8_lossy(text).lines().filter(|l| l.contains("-->")).count();
        let found = media.segments.iter().filter_map(|s| s.text.as_ref()).map(cues).sum::<usize>();
        let bytes = media.segments.iter().map(|s| s.bytes).sum::<u64>();
        if (found, bytes) != (c.cues, c.bytes) {
            sink.add("rivulet-captions", uri.clone(), format!("{found} cues of {bytes} bytes, package.json has {} of {}", c.cues, c.bytes));
        }
        if (media.average_bps() - c.average_bps as f64).abs() > 1.0 {
            sink.add("rivulet-captions", uri, format!("{:.0} bit/s, package.json has {}", media.average_bps(), c.average_bps));
        }
    }
    for media in &subject.media {
        if media.playlist.target_duration_s.is_some_and(|t| t != package.target_duration_s as u64)
            && matches!(media.used, Use::Variant | Use::Audio)
        {
            sink.add(
                "rivulet-package",
                NAME,
                format!("target_duration_s is {}, {} says {:?}", package.target_duration_s, media.at, media.playlist.target_duration_s),
            );
        }
    }
    super::slides::check(package, dir, sink);
    files(package, dir, &explained, ctx, sink)
}

fn find<'a>(subject: &'a Subject, uri: &str, used: Use, sink: &mut Sink) -> Option<&'a Media> {
    let found = subject.media.iter().find(|m| m.at == uri && m.used == used);
    if found.is_none() {
        sink.add("rivulet-package", NAME, format!("it has {uri}, and no multivariant playlist that could be read names it"));
    }
    found
}

fn facts(uri: &str, facts: &[(&str, &str, &str)], sink: &mut Sink) {
    for (name, said, real) in facts {
        if !said.eq_ignore_ascii_case(real) {
            sink.add("rivulet-package", NAME, format!("{name} of {uri} is {said}, the media's is {real}"));
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn segments(media: &Media, said: &[Segment], init: u64, bytes: u64, package: &Package, explained: &mut BTreeSet<String>, sink: &mut Sink) {
    let at = |n: usize| media.segment(n);
    if said.len() != media.segments.len() {
        return sink.add(
            "rivulet-segments",
            media.at.clone(),
            format!("package.json has {} segments, the playlist {}", said.len(), media.segments.len()),
        );
    }
    if let Some(range) = media.playlist.maps.first().and_then(|m| m.range)
        && (range.offset, range.length) != (0, init)
    {
        sink.add("rivulet-segments", media.at.clone(), format!("init_bytes is {init}, EXT-X-MAP has {}@{}", range.length, range.offset));
    }
    for (n, (said, real)) in said.iter().zip(&media.segments).enumerate() {
        if (said.offset, said.bytes) != (real.offset, real.bytes) {
            sink.add(
                "rivulet-segments",
                at(n),
                format!("package.json has {}@{}, the playlist {}@{}", said.bytes, said.offset, real.bytes, real.offset),
            );
            continue;
        }
        let ticks: u64 = real.fragments.iter().map(|f| f.ticks).sum();
        if ticks != said.duration && !real.fragments.is_empty() {
            sink.add("rivulet-segments", at(n), format!("package.json has {} ticks, the samples {ticks}", said.duration));
        }
        if real.digest.is_some_and(|d| d != said.sha256) {
            explained.insert(real.location.clone());
            sink.add("rivulet-segment-digest", at(n), format!("SHA-256 is {:?}, package.json has {:?}", real.digest, said.sha256));
        }
    }
    let file = media.segments.first().and_then(|s| package.files.get(&s.location));
    if file.is_some_and(|f| f.bytes != bytes) {
        sink.add(
            "rivulet-package",
            NAME,
            format!("bytes of {} are {bytes} in its rendition and {} in files", media.at, file.map_or(0, |f| f.bytes)),
        );
    }
}

/// `iframe_bytes` against the ranges of the I-frame playlist.
fn iframes(media: &Media, said: &[Segment], sink: &mut Sink) {
    if said.len() != media.segments.len() {
        let message = format!("package.json has {} segments, the I-frame playlist {}", said.len(), media.segments.len());
        return sink.add("rivulet-segments", media.at.clone(), message);
    }
    for (n, (said, real)) in said.iter().zip(&media.segments).enumerate() {
        // One that could not be read is told already.
        let wanted = (said.offset, said.iframe_bytes.unwrap_or(said.bytes));
        if real.bytes > 0 && wanted != (real.offset, real.bytes) {
            let message = format!("package.json has an I-frame of {}@{}, the playlist {}@{}", wanted.1, wanted.0, real.bytes, real.offset);
            sink.add("rivulet-segments", media.segment(n), message);
        }
    }
}

/// Rates as said against the segments as said, which are held against the media one by one.
#[allow(clippy::too_many_arguments)]
fn rates(
    uri: &str,
    prefix: &str,
    said: (u64, u64),
    segments: &[Segment],
    timescale: u32,
    package: &Package,
    bytes: impl Fn(&Segment) -> u64,
    sink: &mut Sink,
) {
    let pieces: Vec<_> = segments.iter().map(|s| rate::Piece { bytes: bytes(s), micros: rate::micros(s.duration, timescale) }).collect();
    let real = (rate::peak_bps(&pieces, package.target_duration_s.into()), rate::average_bps(&pieces));
    for (name, said, real) in [("peak_bps", said.0, real.0), ("average_bps", said.1, real.1)] {
        // Up or down to whole bits, either will do.
        if (said as f64 - real).abs() > 1.0 + 1e-6 * real {
            sink.add("rivulet-rates", NAME, format!("{prefix}{name} of {uri} is {said}, its segments give {real:.0}"));
        }
    }
}

fn boundaries(media: &Media, timescale: u32, package: &Package, sink: &mut Sink) {
    let scale = timescale.max(1) as f64;
    // NaN where it is unknown: told elsewhere, and no comparison with it is a mismatch.
    let start = |s: &super::measure::Segment| s.fragments.first().and_then(|f| f.tfdt).map_or(f64::NAN, |t| t as f64 / scale);
    let mut real: Vec<f64> = media.segments.iter().map(start).collect();
    let last = media.segments.last().and_then(|s| s.fragments.last());
    real.push(last.and_then(|f| f.tfdt?.checked_add(f.ticks)).map_or(f64::NAN, |t| t as f64 / scale));
    let said = &package.boundaries_s;
    let off = real.iter().zip(said).position(|(a, b)| (a - b).abs() > 1.5e-5);
    match off {
        _ if real.len() != said.len() => {
            sink.add(
                "rivulet-boundaries",
                media.at.clone(),
                format!("{} segments, package.json has {} boundaries", media.segments.len(), said.len()),
            );
        }
        Some(n) => {
            sink.add("rivulet-boundaries", media.segment(n), format!("it starts at {:.6} s, package.json says {:.6} s", real[n], said[n]))
        }
        None => {}
    }
    if said.last().zip(said.first()).is_some_and(|(b, a)| (b - a - package.duration_s).abs() > 1e-3) {
        sink.add("rivulet-package", NAME, format!("duration_s is {}, its boundaries span otherwise", package.duration_s));
    }
}

/// Every file against its digest; a file whose segments are told as wrong is not told again.
fn files(package: &Package, dir: &Path, explained: &BTreeSet<String>, ctx: &Ctx, sink: &mut Sink) -> Result<()> {
    for (name, entry) in &package.files {
        ctx.check()?;
        if crate::store::Key::new(name.as_str()).is_err() {
            sink.add("rivulet-package", NAME, format!("\"{name}\" is not a file name inside the package"));
            continue;
        }
        let file = match std::fs::File::open(dir.join(name)) {
            Ok(file) => file,
            Err(e) => {
                sink.add("rivulet-files", name.clone(), format!("package.json names it: {e}"));
                continue;
            }
        };
        let (digest, bytes) = Digest::of_reader(file).doing(|| format!("cannot read {name}"))?;
        if bytes != entry.bytes {
            sink.add("rivulet-digest", name.clone(), format!("{bytes} bytes, package.json has {}", entry.bytes));
        } else if digest != entry.sha256 && !explained.contains(name) {
            sink.add("rivulet-digest", name.clone(), format!("SHA-256 is {digest:?}, package.json has {:?}", entry.sha256));
        }
    }
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        for item in std::fs::read_dir(dir.join(&below)).doing(|| format!("cannot list {}", dir.display()))?.flatten() {
            let name = format!("{below}{}", item.file_name().to_string_lossy());
            match item.file_type() {
                Ok(t) if t.is_dir() => waiting.push(format!("{name}/")),
                _ if name != NAME && !package.files.contains_key(&name) => sink.add("rivulet-files", name, "package.json does not name it"),
                _ => {}
            }
        }
    }
    Ok(())
}
