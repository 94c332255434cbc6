//! Reads playlists and media once and keeps the facts that rules ask for: [`Subject`]. The only part of the checker that
//! drives I/O after the entry points are known.

use super::fetch::{Fetch, redacted};
use super::init::{self, Init, Sidx};
use super::m3u8::{self, Body, Range};
use super::{Sink, segment};
use crate::error::{Error, Kind, Result};
use crate::package::Package;
use crate::progress::{Ctx, Event, Unit};
use crate::rate;
use crate::units::Digest;
use std::collections::BTreeMap;
use std::path::Path;

/// All that was read.
pub struct Subject {
    pub multivariants: Vec<Multi>,
    pub media: Vec<Media>,
    pub package: Option<Package>,
}

/// What a multivariant playlist is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The ladder that players are given: every rule holds.
    Master,
    /// `floor.m3u8` and `video.m3u8` of a package: one part of the ladder, on purpose; rules on the whole do not apply.
    Part,
}

pub struct Multi {
    pub at: String,
    pub role: Role,
    pub playlist: m3u8::Multivariant,
    pub independent: bool,
    pub problems: Vec<m3u8::Problem>,
    /// Of each variant, I-frame variant and rendition: index into [`Subject::media`].
    pub variants: Vec<Option<usize>>,
    pub iframes: Vec<Option<usize>>,
    pub renditions: Vec<Option<usize>>,
}

/// What a media playlist is used as; a playlist on its own is a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    Variant,
    Audio,
    Subtitles,
    IFrames,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Fmp4,
    MpegTs,
    PackedAudio,
    WebVtt,
    Unknown,
}

pub struct Media {
    pub at: String,
    pub used: Use,
    pub playlist: m3u8::Media,
    pub independent: bool,
    pub problems: Vec<m3u8::Problem>,
    pub container: Container,
    /// Of each EXT-X-MAP.
    pub inits: Vec<Option<Init>>,
    /// Of each segment of the playlist, in its order.
    pub segments: Vec<Segment>,
    /// The global index in front of a file of byte ranges, and the offset where it ends.
    pub sidx: Option<(Sidx, u64)>,
}

/// What was measured in one segment.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    pub bytes: u64,
    /// Of the file that it is a range of.
    pub offset: u64,
    pub location: String,
    pub digest: Option<Digest>,
    pub faults: Vec<String>,
    pub fragments: Vec<Fragment>,
    /// Types of the NAL units of the first sample; empty where not H.264.
    pub first_nals: Vec<u8>,
    /// SPS or PPS in any sample.
    pub in_band: bool,
    /// Presentation times of IDR pictures (H.264) or sync samples, in ticks.
    pub keys: Vec<i64>,
    /// A WebVTT or other text segment.
    pub text: Option<Vec<u8>>,
}

/// One track's part of one moof, without its samples.
#[derive(Debug, Clone, Default)]
pub struct Fragment {
    /// In the file.
    pub at: u64,
    pub tfdt: Option<u64>,
    pub ticks: u64,
    pub samples: usize,
    pub track: u32,
    pub relative: bool,
    pub first_sync: bool,
    pub first_composition: i64,
}

impl Media {
    /// The only, or first, track of the first init that is there.
    pub fn init(&self) -> Option<&Init> {
        self.inits.iter().flatten().next()
    }
    pub fn track(&self, handler: &[u8; 4]) -> Option<&init::Track> {
        self.init()?.tracks.iter().find(|t| &t.handler == handler)
    }
    /// The video track, or else the audio track.
    pub fn main_track(&self) -> Option<&init::Track> {
        self.track(b"vide").or_else(|| self.track(b"soun"))
    }
    pub fn timescale(&self) -> Option<u32> {
        self.main_track().map(|t| t.timescale).filter(|t| *t > 0)
    }
    pub fn target_s(&self) -> f64 {
        self.playlist.target_duration_s.unwrap_or(0) as f64
    }
    /// Sum of EXTINF.
    pub fn duration_s(&self) -> f64 {
        self.playlist.segments.iter().map(|s| s.duration_s).sum()
    }
    /// Of bytes as read and EXTINF as said; see [`crate::rate`].
    pub fn peak_bps(&self) -> f64 {
        rate::peak_bps(&self.pieces(), self.playlist.target_duration_s.unwrap_or(0))
    }
    pub fn average_bps(&self) -> f64 {
        rate::average_bps(&self.pieces())
    }
    fn pieces(&self) -> Vec<rate::Piece> {
        let micros = |s: f64| (s * 1e6).round() as u64;
        self.segments
            .iter()
            .zip(&self.playlist.segments)
            .map(|(s, p)| rate::Piece { bytes: s.bytes, micros: micros(p.duration_s) })
            .collect()
    }
    /// Samples and ticks in all.
    pub fn totals(&self) -> (u64, u64) {
        let all = || self.segments.iter().flat_map(|s| &s.fragments);
        (all().map(|f| f.samples as u64).sum(), all().map(|f| f.ticks).sum())
    }
    /// The mean duration of a sample, seconds.
    pub fn frame_s(&self) -> Option<f64> {
        let (samples, ticks) = self.totals();
        (samples > 0).then_some(ticks as f64 / samples as f64 / self.timescale()? as f64)
    }
    /// The highest frame rate of any segment.
    pub fn frame_rate(&self) -> Option<f64> {
        self.track(b"vide")?;
        let scale = self.timescale()? as f64;
        let rate = |s: &Segment| {
            let ticks: u64 = s.fragments.iter().map(|f| f.ticks).sum();
            (ticks > 0).then(|| s.fragments.iter().map(|f| f.samples).sum::<usize>() as f64 * scale / ticks as f64)
        };
        self.segments.iter().filter_map(rate).reduce(f64::max)
    }
    /// Where segment `n` is named in messages.
    pub fn segment(&self, n: usize) -> String {
        format!("{} segment {n}", redacted(&self.at))
    }
}

/// The playlists of a directory that a player may be given: master, floor and video, or all multivariant playlists, or
/// all media playlists.
pub(super) fn entries(fetch: &dyn Fetch, dir: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .map_err(|e| Error::bad_media(format!("cannot list {}", dir.display())).caused_by(e))?
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| n.to_ascii_lowercase().ends_with(".m3u8"))
        .collect();
    names.sort();
    let multi: Vec<String> =
        names.iter().filter(|n| fetch.text(n).is_ok_and(|t| matches!(m3u8::parse(&t).body, Body::Multivariant(_)))).cloned().collect();
    if multi.is_empty() && names.is_empty() {
        return Err(Error::bad_media(format!("{} has no playlist (*.m3u8): it is not a package", dir.display())));
    }
    Ok(if multi.is_empty() { names } else { multi })
}

/// Reads every playlist below the entries, and their media.
pub(super) fn measure(fetch: &dyn Fetch, entries: &[String], package: Option<Package>, ctx: &Ctx, sink: &mut Sink) -> Result<Subject> {
    let mut subject = Subject { multivariants: Vec::new(), media: Vec::new(), package };
    let mut known = BTreeMap::<String, usize>::new();
    let parted = entries.iter().any(|e| e == "master.m3u8") || subject.package.is_some();
    for entry in entries {
        let text = match fetch.text(entry) {
            Ok(text) => text,
            Err(e) if e.kind() == Kind::Unavailable => return Err(e),
            Err(e) => return Err(Error::bad_media(format!("cannot read the playlist {}", redacted(entry))).caused_by(e)),
        };
        if !m3u8::looks_like(&text) {
            return Err(Error::bad_media(format!("{} is not a playlist: it has no #EXTM3U", redacted(entry)))
                .hint("give a package directory, a .m3u8 file or the address of one"));
        }
        let playlist = m3u8::parse(&text);
        let Body::Multivariant(body) = playlist.body.clone() else {
            let used = match &playlist.body {
                Body::Media(m) if m.iframes_only => Use::IFrames,
                _ => Use::Variant,
            };
            read_media(fetch, entry, used, Ok(playlist), &mut subject, &mut known, ctx, sink)?;
            continue;
        };
        let role = if parted && matches!(entry.as_str(), "floor.m3u8" | "video.m3u8") { Role::Part } else { Role::Master };
        let mut link = |line: usize, uri: Option<&str>, used: Use, subject: &mut Subject| -> Result<Option<usize>> {
            let Some(uri) = uri else { return Ok(None) };
            let place = format!("{} line {line}", redacted(entry));
            let at = match fetch.resolve(entry, uri) {
                Ok(at) => at,
                Err(e) => {
                    sink.add("rfc8216bis-unreadable", place, e.report());
                    return Ok(None);
                }
            };
            if let Some(found) = known.get(&at) {
                return Ok(Some(*found));
            }
            let parsed = fetch.text(&at).and_then(|text| match m3u8::looks_like(&text) {
                true => Ok(m3u8::parse(&text)),
                false => Err(Error::failed(format!("{} is not a playlist", redacted(&at)))),
            });
            if let Err(e) = &parsed {
                sink.add("rfc8216bis-unreadable", place, e.report());
            }
            read_media(fetch, &at, used, parsed, subject, &mut known, ctx, sink)
        };
        let variants = body.variants.iter().map(|v| link(v.line, Some(&v.uri), Use::Variant, &mut subject)).collect::<Result<_>>()?;
        let renditions = body
            .renditions
            .iter()
            .map(|r| {
                let used = match r.attributes.get("TYPE") {
                    Some("SUBTITLES") => Use::Subtitles,
                    Some("AUDIO") => Use::Audio,
                    _ => Use::Variant,
                };
                link(r.line, r.attributes.get("URI"), used, &mut subject)
            })
            .collect::<Result<_>>()?;
        let iframes = body.iframes.iter().map(|v| link(v.line, Some(&v.uri), Use::IFrames, &mut subject)).collect::<Result<_>>()?;
        subject.multivariants.push(Multi {
            at: entry.clone(),
            role,
            playlist: body,
            independent: playlist.independent,
            problems: playlist.problems,
            variants,
            iframes,
            renditions,
        });
    }
    Ok(subject)
}

#[allow(clippy::too_many_arguments)]
fn read_media(
    fetch: &dyn Fetch,
    at: &str,
    used: Use,
    parsed: Result<m3u8::Playlist>,
    subject: &mut Subject,
    known: &mut BTreeMap<String, usize>,
    ctx: &Ctx,
    sink: &mut Sink,
) -> Result<Option<usize>> {
    let Ok(parsed) = parsed else { return Ok(None) };
    let Body::Media(playlist) = parsed.body else {
        sink.add("rfc8216bis-unreadable", redacted(at), "a media playlist is named here, and this is a multivariant playlist");
        return Ok(None);
    };
    let mut media = Media {
        at: at.to_string(),
        used,
        playlist,
        independent: parsed.independent,
        problems: parsed.problems,
        container: Container::Unknown,
        inits: Vec::new(),
        segments: Vec::new(),
        sidx: None,
    };
    for map in &media.playlist.maps {
        let init = fetch.resolve(at, &map.uri).and_then(|at| fetch.bytes(&at, map.range)).map(|data| {
            let wanted = map.range.map_or(0, |r| r.length);
            let mut init = init::parse(&data);
            if (data.len() as u64) < wanted {
                init.faults.push(format!("EXT-X-MAP asks for {wanted} bytes, {} are there", data.len()));
            }
            init
        });
        if let Err(e) = &init {
            sink.add("rfc8216bis-unreadable", format!("{} EXT-X-MAP", redacted(at)), e.report());
        }
        media.inits.push(init.ok());
    }
    let total = media.duration_s();
    let mut done = 0.0;
    for n in 0..media.playlist.segments.len() {
        ctx.check()?;
        let measured = read_segment(fetch, &mut media, n, sink);
        media.segments.push(measured);
        done += media.playlist.segments[n].duration_s;
        let (task, stage) = ("check".to_string(), redacted(at).to_string());
        ctx.progress.event(Event::Progress { task, stage, done, earlier: 0.0, total, unit: Unit::MediaSeconds });
    }
    if !matches!(media.container, Container::Fmp4 | Container::WebVtt) && !media.segments.is_empty() {
        sink.note(format!(
            "{}: {:?} media is not opened; rules on samples, timestamps, IDRs and codecs were not tested, playlists and rates were",
            redacted(at),
            media.container
        ));
    }
    read_sidx(fetch, &mut media);
    known.insert(at.to_string(), subject.media.len());
    subject.media.push(media);
    Ok(Some(subject.media.len() - 1))
}

fn read_segment(fetch: &dyn Fetch, media: &mut Media, n: usize, sink: &mut Sink) -> Segment {
    let named = media.playlist.segments[n].clone();
    let mut out = Segment { offset: named.range.map_or(0, |r| r.offset), ..Default::default() };
    if named.gap {
        return out;
    }
    let place = media.segment(n);
    match fetch.resolve(&media.at, &named.uri) {
        Ok(location) => out.location = location,
        Err(e) => {
            sink.add("rfc8216bis-unreadable", place, e.report());
            return out;
        }
    }
    // What is not fMP4 is only weighed, if its weight can be known without reading it.
    if n > 0
        && matches!(media.container, Container::MpegTs | Container::PackedAudio)
        && let Some(bytes) = named.range.map(|r| r.length).or_else(|| fetch.size(&out.location))
    {
        out.bytes = bytes;
        return out;
    }
    let data = match fetch.bytes(&out.location, named.range) {
        Ok(data) => data,
        Err(e) => {
            sink.add("rfc8216bis-unreadable", place, e.report());
            return out;
        }
    };
    if let Some(range) = named.range.filter(|r| r.length != data.len() as u64) {
        sink.add(
            "rfc8216bis-4.4.4.2-outside",
            place,
            format!("the range {}@{} of {} has only {} bytes", range.length, range.offset, named.uri, data.len()),
        );
        return out;
    }
    out.bytes = data.len() as u64;
    out.digest = Some(Digest::of(&data));
    if n == 0 {
        media.container = sniff(&data, named.map.is_some());
    }
    match media.container {
        Container::Fmp4 if !named.encrypted => {
            let init = named.map.and_then(|m| media.inits.get(m)?.as_ref());
            weigh_fmp4(&data, init, media.used == Use::IFrames, &mut out);
        }
        Container::Fmp4 => sink.note(format!("{}: encrypted segments were not opened", redacted(&media.at))),
        Container::WebVtt => out.text = Some(data),
        _ => {}
    }
    out
}

fn sniff(data: &[u8], mapped: bool) -> Container {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    match data {
        _ if mapped => Container::Fmp4,
        _ if text.starts_with(b"WEBVTT") => Container::WebVtt,
        [0x47, ..] if data.get(188).is_none_or(|b| *b == 0x47) => Container::MpegTs,
        [b'I', b'D', b'3', ..] | [0xff, 0xf0..=0xff, ..] => Container::PackedAudio,
        _ if matches!(data.get(4..8), Some(b"moof" | b"styp" | b"ftyp" | b"sidx")) => Container::Fmp4,
        _ => Container::Unknown,
    }
}

fn weigh_fmp4(data: &[u8], init: Option<&Init>, iframe: bool, out: &mut Segment) {
    let none = Init::default();
    let init = init.unwrap_or(&none);
    let parsed = if iframe { segment::parse_iframe(data, init) } else { segment::parse(data, init) };
    out.faults = parsed.faults;
    let main = init.tracks.iter().find(|t| &t.handler == b"vide").or(init.tracks.first());
    let avc = main.filter(|t| matches!(&t.entry.format, b"avc1" | b"avc3") && t.entry.nal_length > 0);
    for fragment in parsed.fragments {
        let mut time = fragment.tfdt.unwrap_or(0) as i64;
        let ours = main.is_none_or(|t| t.id == fragment.track);
        if ours {
            for (i, sample) in fragment.samples.iter().enumerate() {
                let first = out.fragments.iter().all(|f| f.track != fragment.track) && i == 0;
                let bytes = data.get(sample.at as usize..(sample.at as usize).saturating_add(sample.size as usize));
                let nals = match (avc, bytes) {
                    (Some(t), Some(bytes)) => segment::nal_types(bytes, t.entry.nal_length).unwrap_or_else(|| {
                        out.faults.push(format!("sample {i} is not whole NAL units"));
                        Vec::new()
                    }),
                    _ => Vec::new(),
                };
                out.in_band |= nals.iter().any(|t| matches!(t, 7 | 8));
                let key = if avc.is_some() { nals.contains(&5) } else { sample.sync };
                if key {
                    out.keys.push(time.saturating_add(sample.composition));
                }
                if first {
                    out.first_nals = nals;
                }
                time = time.saturating_add(sample.duration as i64);
                // An I-frame range holds one picture of its fragment.
                if iframe {
                    break;
                }
            }
        }
        out.fragments.push(Fragment {
            at: out.offset + fragment.at as u64,
            tfdt: fragment.tfdt,
            ticks: fragment.ticks(),
            samples: fragment.samples.len(),
            track: fragment.track,
            relative: fragment.default_base_is_moof && !fragment.base_data_offset,
            first_sync: fragment.samples.first().is_some_and(|s| s.sync),
            first_composition: fragment.samples.first().map_or(0, |s| s.composition),
        });
    }
}

/// The sidx in front of the first segment, where all segments are ranges of one file.
fn read_sidx(fetch: &dyn Fetch, media: &mut Media) {
    let one_file = media.segments.iter().all(|s| s.location == media.segments[0].location);
    let ranged = media.playlist.segments.iter().all(|s| s.range.is_some());
    let (Some(first), true, true) = (media.segments.first(), one_file, ranged) else { return };
    if media.used == Use::IFrames || media.container != Container::Fmp4 || first.offset > 16 << 20 {
        return;
    }
    let Ok(head) = fetch.bytes(&first.location, Some(Range { offset: 0, length: first.offset })) else { return };
    let (top, _) = super::boxes::walk(&head);
    media.sidx = top.iter().find(|b| &b.kind == b"sidx").and_then(|b| Some((init::parse_sidx(b.body)?, (b.at + b.whole) as u64)));
}
