//! The child's part of probe: one pass over all packets, a short decode of picture and sound, and where needed a full
//! decode of the picture or trial seeks. Ends in a [`Source`] or one clear error.

use super::container::{self, Container};
use super::facts::{self, Times};
use super::flow::{Depth, End, Fault, Flow, Media, Track};
use super::{Access, Audio, SEEK_MARGIN_NS, Source, Video, matrix, names};
use crate::child::Reporter;
use crate::error::{Error, Kind, Result};
use crate::units::{Digest, FrameRate};
use gstreamer as gst;
use gstreamer_video as gst_video;
use serde::{Deserialize, Serialize};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub path: PathBuf,
    pub sha256: Digest,
    pub bytes: u64,
    pub times: TimesFrom,
}

/// Where the exact picture times are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimesFrom {
    /// Packets where they are known to be right and decoding is not nearly free.
    Auto,
    /// Packets, where the container has them. For checking the rule.
    Packets,
    /// A decode of everything. For checking the rule.
    Decode,
}

/// Decoding this many pixels costs less than a second: then all is decoded, and damage is counted rather than guessed.
const CHEAP_PIXELS: u64 = 300_000_000;
/// Picture time that must decode before a decoder is believed in.
const SAMPLE_NS: u64 = 1_000_000_000;
/// Sound that has not begun to decode when the picture is this far is given up.
const SILENT_NS: u64 = 10_000_000_000;
/// A picture that has not begun to be shown when sound is this far is not waited for.
const AHEAD_NS: u64 = 60_000_000_000;
/// Headers that say more than 1000 hours lie.
const ABSURD_NS: u64 = 3_600_000_000_000_000;

/// What the pass over the packets found.
struct Scan {
    container: String,
    header_ns: Option<u64>,
    seekable: bool,
    soft_keys: bool,
    tracks: Vec<Track>,
    unknown: Vec<gst::Caps>,
    fault: Option<Fault>,
    stalled: bool,
}

/// What a decode found.
struct Decoded {
    tracks: Vec<Track>,
    warnings: u64,
    fault: Option<Fault>,
    whole: bool,
}

pub fn work(job: Job, alive: &mut Reporter) -> Result<Source> {
    crate::gst::init()?;
    let complaints = crate::gst::count_complaints();
    let path = &job.path;
    let mut scan = scan(path, alive)?;
    scan.tracks.sort_by(|a, b| a.id.cmp(&b.id));
    let (mut repairs, mut problems) = (Vec::new(), Vec::new());
    let (mut lost, mut untimed_stream) = (false, false);
    if scan.header_ns.is_some_and(|ns| ns > ABSURD_NS) {
        problems.push("the header states a duration of over 1000 hours: not believed".to_string());
        scan.header_ns = None;
    }
    scan.header_ns = scan.header_ns.filter(|_| names::has_header_duration(&scan.container));

    let videos: Vec<&Track> = scan.tracks.iter().filter(|t| t.media == Media::Video).collect();
    let audios: Vec<&Track> = scan.tracks.iter().filter(|t| t.media == Media::Audio).collect();
    let candidates: Vec<facts::Candidate> = videos.iter().map(|t| candidate(t)).collect();
    let mut chosen = facts::picture(&candidates);
    let unknown_video = scan.unknown.iter().find(|c| c.structure(0).is_some_and(|s| s.name().starts_with("video/")));
    if chosen.is_none() && (audios.iter().all(|t| t.count == 0) || unknown_video.is_some()) {
        return Err(refusal(path, &scan));
    }

    // One decode from the start: is there a decoder for all, and does it agree with the packets?
    let packet_times = chosen.map(|i| facts::times(&videos[i].packets));
    let picture = chosen.map(|i| candidates[i].clone());
    let cost = picture.as_ref().map_or(0, |p| p.pixels.saturating_mul(p.packets as u64));
    let trusted = chosen.is_some_and(|i| {
        let doubtful = packet_times.as_ref().is_none_or(|t| t.repeated + t.untimed > 0)
            || is_interlaced(videos[i]) && matches!(candidates[i].codec.as_str(), "h264" | "hevc");
        names::has_packet_times(&scan.container) && !doubtful
    });
    let whole = job.times == TimesFrom::Decode || (job.times == TimesFrom::Auto && cost <= CHEAP_PIXELS);
    let video_id = chosen.map(|i| videos[i].id.clone());
    let sample = decode(path, video_id.clone(), true, (!whole).then_some(SAMPLE_NS), alive)?;
    let mut picture_times = Times::default();
    let mut picture_track = chosen.and_then(|i| raw_picture(&sample, &videos[i].id).cloned());
    if let (Some(i), Some(packets)) = (chosen, &packet_times) {
        let id = &videos[i].id;
        let mut seen = pictures(&sample, id);
        let mut fault = sample.fault.clone();
        let mut all = sample.whole && fault.is_none();
        let agrees = !seen.spaced
            && !seen.times.ns.is_empty()
            && seen.times.repeated + seen.times.untimed == 0
            && packets.ns.starts_with(&seen.times.ns);
        // A fault may be the sound's: the picture gets a run of its own.
        let believed = trusted && agrees && fault.is_none();
        if !all && !believed {
            complaints.store(0, Ordering::Relaxed);
            let full = decode(path, video_id.clone(), false, None, alive)?;
            (seen, fault, all) = (pictures(&full, id), full.fault.clone(), true);
            picture_track = raw_picture(&full, id).cloned().or(picture_track);
            seen.corrupted = seen.corrupted.max(full.warnings);
        }
        let spaced = seen.spaced;
        let bad = seen.corrupted.max(sample.warnings).max(complaints.load(Ordering::Relaxed));
        picture_times = if all { seen.times } else { packets.clone() };
        let untimed = picture_times.repeated + picture_times.untimed;
        let undecoded = packets.ns.len().saturating_sub(picture_times.ns.len() + untimed);
        let kind = &candidates[i].codec;
        if picture_times.ns.is_empty() {
            let what = format!("the picture does not decode: none of {} {kind} pictures is readable", packets.ns.len());
            if !audios.iter().any(|a| decodes(&sample, a)) {
                return Err(Error::bad_media(format!("{}: {what}", path.display())).hint(COPY_AGAIN).caused_by(fault_text(&fault)));
            }
            lost = true;
            problems.push(format!("{what}; only the sound is used"));
            chosen = None;
        } else if trusted && undecoded > 0 {
            lost = true;
            problems.push(format!("damaged: {undecoded} of {} pictures do not decode", packets.ns.len()));
        } else if bad > 0 {
            lost = true;
            problems.push(format!(
                "damaged: the decoders report {bad} error{} in {}",
                if bad == 1 { "" } else { "s" },
                if all { "the file" } else { "its first second" }
            ));
        }
        untimed_stream = spaced;
        if spaced {
            repairs.push(format!(
                "the stream has no times: its pictures follow each other evenly for {:.1} s",
                picture_times.end_ns as f64 / 1e9
            ));
        }
        // What the demuxer cannot read is said once, below.
        if let Some(fault) = fault.filter(|_| chosen.is_some() && scan.fault.is_none()) {
            lost = true;
            problems.push(format!("decoding the picture breaks off after {:.1} s: {fault}", picture_times.end_ns as f64 / 1e9));
        }
        if all && untimed > 0 {
            problems.push(format!(
                "{untimed} picture{} no time of {} own: left out",
                if untimed == 1 { " has" } else { "s have" },
                if untimed == 1 { "its" } else { "their" }
            ));
        }
    }
    let heard: Vec<(bool, bool)> = audios.iter().map(|t| (decodes(&sample, t), t.selected)).collect();
    let voice = facts::voice(&heard);
    if chosen.is_none() && voice.is_none() {
        return Err(refusal(path, &scan));
    }

    let video = match chosen {
        Some(i) => Some(video(path, i, videos[i], picture_track.as_ref(), &picture_times)?),
        None => None,
    };
    let access = match (chosen, &video) {
        (Some(i), Some(v)) => access(path, &scan, videos[i], v, &picture_times, alive)?,
        _ => Access::Sequential,
    };
    let voice_track = voice.map(|i| audios[i]);
    let first = [picture_times.ns.first().copied(), voice_track.and_then(|t| t.first_ns)].into_iter().flatten().min().unwrap_or(0);
    let video_end_ns = if chosen.is_some() { picture_times.end_ns } else { 0 };
    let audio_end_ns = voice_track.map_or(0, |t| t.end_ns);
    let mut source = Source {
        partial: lost,
        untimed: untimed_stream,
        path: path.clone(),
        sha256: job.sha256,
        bytes: job.bytes,
        container: scan.container.clone(),
        header_duration_s: scan.header_ns.map(|ns| ns as f64 / 1e9),
        duration_s: video_end_ns.max(audio_end_ns).saturating_sub(first) as f64 / 1e9,
        video,
        audio: audios.iter().map(|t| audio(t, &sample)).collect(),
        voice,
        access,
        repairs,
        problems,
        frames_ns: if chosen.is_some() { picture_times.ns } else { Vec::new() },
        video_end_ns,
        audio_end_ns,
    };
    let found = super::verdict::Found {
        video_tracks: candidates.iter().filter(|c| c.packets > 1).count(),
        silent_tracks: heard.iter().filter(|h| !h.0).count(),
        media_end_s: ends(&scan, |m| m != Media::Other).max(video_end_ns as f64 / 1e9),
        other_end_s: ends(&scan, |m| m == Media::Other),
        audio_first_ns: voice_track.and_then(|t| t.first_ns),
        unreadable: scan
            .unknown
            .iter()
            .filter(|c| c.structure(0).is_some_and(|s| s.name().starts_with("audio/")))
            .map(|c| names::missing_decoder(c))
            .collect(),
        beyond_end: super::look::boxes_reach_beyond(path, job.bytes),
        broke_off: match (&scan.fault, scan.stalled) {
            (Some(fault), _) => Some(fault.to_string()),
            (None, true) => Some("the demuxer hangs there".into()),
            _ => None,
        },
    };
    if super::verdict::is_hopeless(&source, &found) {
        return Err(refusal(path, &scan));
    }
    super::verdict::lines(&mut source, &found);
    Ok(source)
}

const COPY_AGAIN: &str = "copy it again from the recorder; if that copy is the same, the recording itself is damaged";

fn scan(path: &Path, alive: &mut Reporter) -> Result<Scan> {
    let mut flow = Flow::new(path, Depth::Packets, false)?;
    let end = flow.run(alive, |_| false);
    let stalled = matches!(end, End::Stalled);
    let fault = match end {
        End::Fault(fault) => Some(fault),
        _ => None,
    };
    Ok(Scan {
        container: flow.container().unwrap_or_default(),
        header_ns: flow.header_ns,
        seekable: flow.seekable(),
        soft_keys: flow.soft_keys(),
        tracks: flow.tracks(),
        unknown: flow.unknown(),
        fault,
        stalled,
    })
}

/// Decodes from the start: `for_ns` of the picture (and at least a bit of all sound), or everything.
fn decode(path: &Path, video: Option<String>, audio: bool, for_ns: Option<u64>, alive: &mut Reporter) -> Result<Decoded> {
    let picture = video.clone();
    let mut flow = Flow::new(path, Depth::Decoded { video, audio }, false)?;
    let enough = |flow: &Flow| {
        let Some(for_ns) = for_ns else { return false };
        let reached = |t: &Track| t.end_ns.saturating_sub(t.first_ns.unwrap_or(0));
        let tracks = flow.each(|t| (t.media, picture.as_ref() == Some(&t.id), t.count, reached(t)));
        // Sound runs ahead of a picture that is decoded from before its start: an edit list begins between keyframes.
        let sound = tracks.iter().any(|t| !t.1 && t.3 >= AHEAD_NS);
        let far = tracks.iter().filter(|t| t.1 || picture.is_none() || sound).map(|t| t.3).max().unwrap_or(0);
        let seen = picture.is_none() || tracks.iter().any(|t| t.1 && t.3 >= for_ns);
        let heard = !audio || tracks.iter().all(|t| t.0 != Media::Audio || t.2 > 0);
        !tracks.is_empty() && (seen && heard || far >= SILENT_NS.max(for_ns))
    };
    let end = flow.run(alive, enough);
    Ok(Decoded {
        tracks: flow.tracks(),
        warnings: flow.warnings,
        whole: !matches!(end, End::Enough),
        fault: match end {
            End::Fault(fault) => Some(fault),
            _ => None,
        },
    })
}

/// When the last of the tracks of some kinds ends, in seconds.
fn ends(scan: &Scan, of: impl Fn(Media) -> bool) -> f64 {
    scan.tracks.iter().filter(|t| of(t.media)).map(|t| t.end_ns).max().unwrap_or(0) as f64 / 1e9
}

fn candidate(track: &Track) -> facts::Candidate {
    let number = |field| track.structure().and_then(|s| s.get::<i32>(field).ok()).unwrap_or(0).max(0) as u64;
    facts::Candidate {
        codec: track.structure().map(names::codec).unwrap_or_default(),
        pixels: number("width") * number("height"),
        packets: track.packets.len(),
        span_ns: track.end_ns.saturating_sub(track.first_ns.unwrap_or(0)),
    }
}

fn is_interlaced(track: &Track) -> bool {
    track.structure().and_then(|s| s.get::<&str>("interlace-mode").ok()).is_some_and(|m| m != "progressive")
}

/// Times of decoded pictures; empty where the track came out undecoded.
fn pictures(decoded: &Decoded, id: &str) -> Seen {
    let Some(track) = raw_picture(decoded, id) else { return Seen::default() };
    let info = track.caps.as_ref().and_then(|c| gst_video::VideoInfo::from_caps(c).ok());
    let mut packets = track.packets.clone();
    let spaced = facts::space_out(&mut packets, info.and_then(|i| stated_rate(&i)));
    Seen { times: facts::times(&packets), corrupted: track.corrupted, spaced }
}

fn raw_picture<'a>(decoded: &'a Decoded, id: &str) -> Option<&'a Track> {
    decoded.tracks.iter().find(|t| t.id == id && t.caps_name() == "video/x-raw")
}

/// What came out of the picture's decoder.
#[derive(Default)]
struct Seen {
    times: Times,
    corrupted: u64,
    /// The stream had no times: the pictures were spaced out evenly.
    spaced: bool,
}

fn positive(f: gst::Fraction) -> Option<(u32, u32)> {
    Some((u32::try_from(f.numer()).ok().filter(|n| *n > 0)?, u32::try_from(f.denom()).ok().filter(|n| *n > 0)?))
}

fn stated_rate(info: &gst_video::VideoInfo) -> Option<FrameRate> {
    positive(info.fps()).and_then(|(num, den)| FrameRate::new(num, den))
}

fn decodes(decoded: &Decoded, track: &Track) -> bool {
    decoded.tracks.iter().any(|t| t.id == track.id && t.caps_name() == "audio/x-raw" && t.count > 0)
}

fn fault_text(fault: &Option<Fault>) -> String {
    fault.as_ref().map_or("the decoder gave no reason".into(), |f| f.to_string())
}

fn video(path: &Path, track: usize, packets: &Track, decoded: Option<&Track>, times: &Times) -> Result<Video> {
    let unreadable = || Error::bad_media("the decoded picture has no size");
    let decoded = decoded.ok_or_else(unreadable)?;
    let info = decoded.caps.as_ref().and_then(|c| gst_video::VideoInfo::from_caps(c).ok()).ok_or_else(unreadable)?;
    let text = |t: &Track, field: &str| t.structure().and_then(|s| s.get::<&str>(field).ok()).map(str::to_string);
    let colorimetry = text(packets, "colorimetry").or_else(|| text(decoded, "colorimetry"));
    let transfer = colorimetry.as_ref().and_then(|c| c.parse::<gst_video::VideoColorimetry>().ok()).map(|c| c.transfer());
    let hdr = match transfer {
        Some(gst_video::VideoTransferFunction::Smpte2084) => Some("pq".to_string()),
        Some(gst_video::VideoTransferFunction::AribStdB67) => Some("hlg".to_string()),
        _ => None,
    };
    // A stream id ends in the MP4 track's number.
    let track_id = packets.id.rsplit('/').next().and_then(|id| id.parse().ok());
    let tag = packets.tag::<gst::tags::ImageOrientation>();
    let turn = tag.map(|t| track_id.and_then(|id| matrix::turn(path, id)).unwrap_or_else(|| facts::orientation(&t)));
    let (rotation, mirrored) = turn.unwrap_or((0, false));
    Ok(Video {
        track,
        stream_id: packets.id.clone(),
        codec: packets.structure().map(names::codec).unwrap_or_default(),
        width: info.width(),
        height: info.height(),
        frame_rate: facts::frame_rate(times, stated_rate(&info)).ok_or_else(unreadable)?,
        variable: facts::is_variable(&times.ns),
        rotation,
        mirrored,
        interlaced: match info.interlace_mode() {
            gst_video::VideoInterlaceMode::Progressive => false,
            // Streams that may hold both say so per picture.
            gst_video::VideoInterlaceMode::Mixed => decoded.interlaced > 0,
            _ => true,
        },
        bottom_first: info.field_order() == gst_video::VideoFieldOrder::BottomFieldFirst,
        par: positive(info.par()).unwrap_or((1, 1)),
        bit_depth: info.format_info().depth().first().copied().unwrap_or(8),
        hdr,
        colorimetry,
    })
}

fn audio(packets: &Track, sample: &Decoded) -> Audio {
    let decoded = sample.tracks.iter().find(|t| t.id == packets.id);
    let number = |field: &str| {
        let read = |t: &Track| t.structure().and_then(|s| s.get::<i32>(field).ok()).filter(|n| *n > 0);
        // HE-AAC states half the rate in its packets: the decoder knows.
        decoded.and_then(read).or_else(|| read(packets)).unwrap_or(0) as u32
    };
    Audio {
        stream_id: packets.id.clone(),
        codec: packets.structure().map(names::codec).unwrap_or_default(),
        channels: number("channels"),
        rate_hz: number("rate"),
        language: packets.tag::<gst::tags::LanguageCode>().filter(|l| l != "und"),
    }
}

/// Asks the rule, then tries it: after a seek to the margin before, the pictures from there on must be the very ones.
fn access(path: &Path, scan: &Scan, track: &Track, video: &Video, times: &Times, alive: &mut Reporter) -> Result<Access> {
    let mut keys_ns: Vec<u64> = track.packets.iter().filter(|p| p.key).filter_map(|p| p.at_ns).collect();
    keys_ns.sort_unstable();
    let reach = facts::Reach {
        container: &scan.container,
        codec: &video.codec,
        seekable: scan.seekable,
        soft_keys: scan.soft_keys,
        keys_ns: &keys_ns,
        frames_ns: &times.ns,
        pixels: u64::from(video.width) * u64::from(video.height),
    };
    if facts::access(&reach) == Access::Sequential {
        return Ok(Access::Sequential);
    }
    for at in facts::trials(&times.ns, &keys_ns) {
        let mut flow = Flow::new(path, Depth::Decoded { video: Some(track.id.clone()), audio: false }, true)?;
        if flow.seek(at.saturating_sub(SEEK_MARGIN_NS), alive).is_err() {
            return Ok(Access::Sequential);
        }
        // To the very end at the last trial, one second at the others.
        let until = Some(at + SAMPLE_NS).filter(|u| *u < times.ns.last().copied().unwrap_or(0));
        let end = flow.run(alive, |f| {
            until.is_some_and(|u| f.each(|t| t.id == track.id && t.packets.last().is_some_and(|p| p.at_ns >= Some(u))).contains(&true))
        });
        let got: Vec<u64> =
            flow.tracks().iter().filter(|t| t.id == track.id).flat_map(|t| facts::times(&t.packets).ns).filter(|ns| *ns >= at).collect();
        let expected = &times.ns[times.ns.partition_point(|f| *f < at)..];
        let same = match end {
            End::Eos => got == expected,
            End::Enough => !got.is_empty() && expected.starts_with(&got),
            _ => false,
        };
        if !same {
            return Ok(Access::Sequential);
        }
    }
    Ok(Access::Seek)
}

/// Why a file without a usable picture or sound is refused.
fn refusal(path: &Path, scan: &Scan) -> Error {
    let name = path.display();
    let stream_error = scan.fault.as_ref().and_then(|f| f.error.kind::<gst::StreamError>());
    let protected = scan.unknown.iter().any(|c| c.structure(0).is_some_and(|s| s.name().starts_with("application/x-cenc")));
    if protected || matches!(stream_error, Some(gst::StreamError::Decrypt | gst::StreamError::DecryptNokey)) || has_encryption_boxes(path) {
        return Error::new(Kind::Unsupported, format!("{name} is encrypted (DRM) and cannot be read without its key"))
            .hint("ask its owner for an unprotected copy");
    }
    let media = |c: &&gst::Caps| c.structure(0).is_some_and(|s| s.name().starts_with("video/") || s.name().starts_with("audio/"));
    if let Some(caps) = scan.unknown.iter().filter(media).min_by_key(|c| c.structure(0).is_some_and(|s| s.name().starts_with("audio/"))) {
        return Error::new(Kind::Unsupported, format!("{name}: {}", names::missing_decoder(caps)))
            .hint("convert the recording to H.264 and AAC, or install a GStreamer plug-in for it");
    }
    if scan.container.is_empty() || matches!(stream_error, Some(gst::StreamError::TypeNotFound)) {
        return Error::bad_media(format!("{name} is no media file that GStreamer knows, or its beginning is damaged"))
            .hint(COPY_AGAIN)
            .caused_by(fault_text(&scan.fault));
    }
    let container = names::container(&scan.container);
    if scan.stalled {
        return Error::bad_media(format!("{name}: the {container} demuxer hangs on this file")).hint(COPY_AGAIN);
    }
    let tracks = scan.tracks.iter().filter(|t| t.media != Media::Other).count();
    let short = std::fs::File::open(path).and_then(|mut f| container::look(&mut f.try_clone()?, f.seek(SeekFrom::End(0))?));
    let short = match short {
        Ok(Container::Short(why)) => Some(why.trim_start_matches("cut short: ").to_string()),
        _ => None,
    };
    let mut error = match (scan.header_ns, tracks) {
        (Some(header), _) if header > 1_000_000_000 => Error::bad_media(format!(
            "{name} is cut short or damaged: the {container} header says {:.1} s, but not one second of it can be read",
            header as f64 / 1e9
        )),
        _ if let Some(short) = short => Error::bad_media(format!("{name} is cut short: {short}")),
        (_, 0) => Error::bad_media(format!("{name} is damaged or empty: this {container} file has no readable video and no audio track")),
        _ => Error::bad_media(format!("{name} is damaged: this {container} file holds no readable picture and no sound")),
    };
    if let Some(fault) = &scan.fault {
        error = error.caused_by(fault.to_string());
    }
    error.hint(COPY_AGAIN)
}

/// MP4 boxes of common encryption (ISO 23001-7) near the beginning or the end.
fn has_encryption_boxes(path: &Path) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    const NEAR: u64 = 1 << 20;
    let look = || -> std::io::Result<bool> {
        let mut file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(NEAR).read_to_end(&mut bytes)?;
        let tail = file.metadata()?.len().saturating_sub(NEAR).max(bytes.len() as u64);
        file.seek(SeekFrom::Start(tail))?;
        file.take(NEAR).read_to_end(&mut bytes)?;
        Ok(bytes.windows(4).any(|w| matches!(w, b"encv" | b"enca" | b"pssh")))
    };
    look().unwrap_or(false)
}
