//! Rules on `floor.mp4`, the one file that learners pass on: an index in front that names every sample of the floor rung and
//! of the AAC voice, and nothing else.

use super::boxes::{Cursor, child, children, fourcc, path};
use super::fetch::Fetch;
use super::init::{self, Track};
use super::m3u8::Range;
use super::measure::Subject;
use super::{Sink, ladder};
use crate::package::{Package, progressive::NAME};
use std::collections::BTreeMap;

const RULE: &str = "rivulet-floor-mp4";
/// Twelve hours are some 20 MB of index.
const MOST_INDEX: u64 = 64 << 20;
/// A chunk may last so long: a player that reads from the front waits no longer for the other track.
const MOST_CHUNK_S: f64 = 4.0;

pub(super) fn check(package: &Package, subject: &Subject, fetch: &dyn Fetch, sink: &mut Sink) {
    let Some(entry) = package.files.get(NAME) else {
        if !package.rungs.is_empty() {
            sink.add(RULE, "package.json", format!("there is no {NAME}: nothing to pass on by memory card or chat"));
        }
        return;
    };
    for fault in faults(package, subject, fetch, entry.bytes).unwrap_or_else(|why| vec![why]) {
        sink.add(RULE, NAME, fault);
    }
}

/// `Err` is a fault beyond which nothing can be read.
fn faults(package: &Package, subject: &Subject, fetch: &dyn Fetch, bytes: u64) -> Result<Vec<String>, String> {
    let read = |offset: u64, length: u64| fetch.bytes(NAME, Some(Range { offset, length })).map_err(|e| e.what().to_string());
    let mut top: Vec<([u8; 4], u64, u64)> = Vec::new();
    let mut at = 0;
    while at < bytes && top.len() < 16 {
        let head = read(at, 16.min(bytes - at))?;
        let mut c = Cursor(&head);
        let (Some(short), Some(kind)) = (c.u32(), c.fourcc()) else { return Err(format!("no box at {at}")) };
        let size = if short == 1 { c.u64().unwrap_or(0) } else { short as u64 };
        if size < 8 || size > bytes - at {
            return Err(format!("box \"{}\" at {at} says {size} bytes, {} are there", fourcc(kind), bytes - at));
        }
        top.push((kind, at, size));
        at += size;
    }
    let order: Vec<String> = top.iter().map(|t| fourcc(t.0)).collect();
    let [(b"ftyp", 0, brands), (b"moov", from, length), (b"mdat", media, media_bytes)] =
        top.iter().map(|t| (&t.0, t.1, t.2)).collect::<Vec<_>>()[..]
    else {
        return Err(format!("its boxes are {}, not ftyp, moov, mdat: without its index in front it does not stream", order.join(", ")));
    };
    if length > MOST_INDEX || brands > 1024 {
        return Err(format!("its index has {length} bytes"));
    }
    let head = read(0, from + length)?;
    let movie = init::parse(&head);
    let mut out = movie.faults.clone();
    for brand in [b"isom", b"mp42", b"avc1"] {
        if !movie.brands.contains(brand) {
            out.push(format!("the brand {} is missing", fourcc(*brand)));
        }
    }
    if movie.has_mvex {
        out.push("it is fragmented: old phones do not play that".into());
    }
    let moov = child(&head, b"moov").unwrap_or_default();
    let Some((scale, duration)) = child(moov, b"mvhd").and_then(movie_time) else { return Err("mvhd cannot be read".into()) };
    let seconds = duration as f64 / scale.max(1) as f64;
    if (seconds - package.duration_s).abs() > 0.001 {
        out.push(format!("it lasts {seconds:.3} s, the lecture {:.3} s", package.duration_s));
    }
    codecs(package, subject, &movie.tracks, &mut out);
    let mut named = 0;
    for (track, trak) in movie.tracks.iter().zip(children(moov, b"trak")) {
        let Some(table) = path(trak, &[b"mdia", b"minf", b"stbl"]).and_then(Table::read) else {
            out.push(format!("the sample table of track {} cannot be read", track.id));
            continue;
        };
        named += table.bytes;
        table.check(track, (media, media + media_bytes), &mut out);
        edits(package, track, scale, &mut out);
        let playlist = match &track.handler {
            b"vide" => package.rungs.first().map(|r| format!("v-{}.m3u8", r.name)),
            _ => package.voices.iter().find(|v| v.codec.starts_with("mp4a")).map(|v| format!("a-{}.m3u8", v.name)),
        };
        let hls = playlist.and_then(|uri| subject.media.iter().find(|m| m.at == uri)).map(|m| m.totals());
        if let Some((samples, ticks)) = hls.filter(|h| *h != (table.samples, table.ticks)) {
            let own = (table.samples, table.ticks);
            out.push(format!("track {} has {} samples of {} ticks, the HLS rendition {samples} of {ticks}", track.id, own.0, own.1));
        }
    }
    let header = if media_bytes > u32::MAX as u64 { 16 } else { 8 };
    if named + header != media_bytes {
        out.push(format!("its tracks name {named} bytes, mdat holds {}", media_bytes.saturating_sub(header)));
    }
    Ok(out)
}

fn movie_time(mvhd: &[u8]) -> Option<(u32, u64)> {
    let mut c = Cursor(mvhd);
    let (version, _) = c.full()?;
    c.take(if version == 0 { 8 } else { 16 })?;
    Some((c.u32()?, c.sized(version)?))
}

/// One picture as the floor rung has it, and AAC where there is a voice.
fn codecs(package: &Package, subject: &Subject, tracks: &[Track], out: &mut Vec<String>) {
    let mut wanted: Vec<String> =
        package.rungs.first().map(|r| real_codec(subject, &format!("v-{}.m3u8", r.name)).unwrap_or(r.codec.clone())).into_iter().collect();
    if !package.voices.is_empty() {
        wanted.push("mp4a.40.2".into());
    }
    let found: Vec<&str> = tracks.iter().map(|t| t.entry.codec.as_str()).collect();
    if found.len() != wanted.len() || !found.iter().zip(&wanted).all(|(a, b)| a.eq_ignore_ascii_case(b)) {
        out.push(format!("its tracks are {}, not {}", found.join(", "), wanted.join(", ")));
    }
}

/// What the rung's bitstream is; what package.json says of it is held against that elsewhere.
fn real_codec(subject: &Subject, uri: &str) -> Option<String> {
    Some(subject.media.iter().find(|m| m.at == uri)?.track(b"vide")?.entry.codec.clone())
}

/// One edit of the whole track; the picture's is the lecture's length.
fn edits(package: &Package, track: &Track, scale: u32, out: &mut Vec<String>) {
    let [edit] = track.edits.as_deref().unwrap_or_default() else {
        return out.push(format!("track {} has {} edits, not one", track.id, track.edits.as_ref().map_or(0, Vec::len)));
    };
    let seconds = edit.duration as f64 / scale.max(1) as f64;
    let off = seconds - package.duration_s;
    let wrong = if &track.handler == b"vide" { off.abs() > 0.001 } else { off > 0.001 };
    if wrong || edit.media_time < 0 || edit.rate != 0x1_0000 {
        out.push(format!("the edit of track {} is {seconds:.3} s from tick {}", track.id, edit.media_time));
    }
}

/// What stbl says, summed up.
struct Table {
    samples: u64,
    bytes: u64,
    ticks: u64,
    /// Offset, bytes and ticks of each chunk.
    chunks: Vec<(u64, u64, u64)>,
    faults: Vec<String>,
}

impl Table {
    fn read(stbl: &[u8]) -> Option<Table> {
        let table = |kind: &[u8; 4]| -> Option<Cursor<'_>> {
            let mut c = Cursor(child(stbl, kind)?);
            c.full()?;
            Some(c)
        };
        let mut faults = Vec::new();
        let mut c = table(b"stsz")?;
        let (constant, count) = (c.u32()?, c.u32()? as usize);
        let sizes: Vec<u32> = match constant {
            0 if c.0.len() / 4 < count => return None,
            0 => (0..count).map_while(|_| c.u32()).collect(),
            _ => return None,
        };
        let durations = runs(table(b"stts")?, count)?;
        if let Some(c) = table(b"ctts")
            && runs(c, count)?.len() != count
        {
            faults.push("ctts is of another number of samples".into());
        }
        if durations.len() != count {
            faults.push(format!("stsz has {count} samples, stts {}", durations.len()));
        }
        let wide = table(b"co64");
        let mut c = wide.or(table(b"stco"))?;
        let entries = c.u32()?;
        let offsets: Vec<u64> = (0..entries).map_while(|_| c.sized(u8::from(wide.is_some()))).collect();
        let mut c = table(b"stsc")?;
        let entries = c.u32()?;
        let firsts: BTreeMap<u32, u32> = (0..entries).map_while(|_| Some((c.u32()?, c.u32()?, c.u32()?))).map(|e| (e.0, e.1)).collect();
        let (mut chunks, mut next) = (Vec::new(), 0usize);
        for (n, offset) in (1u32..).zip(offsets) {
            let here = *firsts.range(..=n).next_back()?.1 as usize;
            let end = next.checked_add(here).filter(|end| *end <= sizes.len())?;
            let ticks = durations.get(next..end.min(durations.len())).unwrap_or_default();
            chunks.push((offset, sizes[next..end].iter().map(|s| *s as u64).sum(), ticks.iter().map(|t| *t as u64).sum()));
            // A single picture may stand for long.
            if here == 1
                && let Some(last) = chunks.last_mut()
            {
                last.2 = 0;
            }
            next = end;
        }
        if next != sizes.len() {
            faults.push(format!("its chunks hold {next} of {} samples", sizes.len()));
        }
        let total = |list: &[u32]| list.iter().map(|v| *v as u64).sum();
        Some(Table { samples: count as u64, bytes: total(&sizes), ticks: total(&durations), chunks, faults })
    }

    fn check(&self, track: &Track, media: (u64, u64), out: &mut Vec<String>) {
        out.extend(self.faults.iter().map(|f| format!("track {}: {f}", track.id)));
        if let Some(c) = self.chunks.iter().find(|c| c.0 < media.0 + 8 || c.0.saturating_add(c.1) > media.1) {
            out.push(format!("track {}: a chunk of {} bytes at {} is not in mdat", track.id, c.1, c.0));
        }
        let longest = self.chunks.iter().map(|c| c.2).max().unwrap_or(0) as f64 / track.timescale.max(1) as f64;
        if longest > MOST_CHUNK_S {
            out.push(format!("track {}: a chunk lasts {longest:.1} s: a player waits for the other track", track.id));
        }
    }
}

/// The values of a table of runs, at most one more than `most`.
fn runs(mut c: Cursor<'_>, most: usize) -> Option<Vec<u32>> {
    let entries = c.u32()?;
    let mut out = Vec::new();
    for _ in 0..entries {
        let (count, value) = (c.u32()? as usize, c.u32()?);
        out.resize((out.len() + count).min(most + 1), value);
    }
    Some(out)
}

/// `floor.m3u8` and `video.m3u8`: there, and what their names say.
pub(super) fn parts(package: &Package, subject: &Subject, sink: &mut Sink) {
    let uris = |name: &str| {
        let multi = subject.multivariants.iter().find(|m| m.at == name)?;
        let mut uris: Vec<&str> = multi.playlist.variants.iter().map(|v| v.uri.as_str()).collect();
        uris.dedup();
        uris.sort();
        uris.dedup();
        Some((multi, uris))
    };
    for (name, rungs) in [("floor.m3u8", package.rungs.len().min(1)), ("video.m3u8", package.rungs.len())] {
        let mut wanted: Vec<String> = package.rungs[..rungs].iter().map(|r| format!("v-{}.m3u8", r.name)).collect();
        // A rung without a playlist is told elsewhere.
        wanted.retain(|uri| subject.media.iter().any(|m| m.at == *uri));
        wanted.sort();
        let Some((multi, found)) = uris(name) else {
            sink.add("rivulet-parts", "package.json", format!("there is no multivariant playlist {name}"));
            continue;
        };
        if found != wanted {
            sink.add("rivulet-parts", name, format!("its variants are {}, not {}", found.join(", "), wanted.join(", ")));
        }
        if !multi.independent {
            sink.add("rivulet-parts", name, "there is no EXT-X-INDEPENDENT-SEGMENTS");
        }
        let sound = multi
            .playlist
            .variants
            .iter()
            .any(|v| v.attributes.get("AUDIO").is_some() || v.attributes.codecs().iter().any(|c| ladder::is_audio(c)));
        if sound != (name == "floor.m3u8" && !package.voices.is_empty()) {
            sink.add("rivulet-parts", name, if sound { "it has sound" } else { "it has no sound" });
        }
        let peak = multi.playlist.variants.iter().filter_map(|v| v.attributes.number::<u64>("BANDWIDTH")).min();
        if let Some(peak) = peak.filter(|p| name == "floor.m3u8" && package.is_slides() && *p > FLOOR_PEAK_BPS) {
            let message = format!(
                "BANDWIDTH of a slide lecture's floor is {:.1} kbit/s, at most {} is the aim",
                peak as f64 / 1e3,
                FLOOR_PEAK_BPS / 1000
            );
            sink.add("rivulet-floor-peak", name, message);
        }
    }
}

/// Design 4.7, for slide lectures.
const FLOOR_PEAK_BPS: u64 = 100_000;
