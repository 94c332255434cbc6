//! Rules on what the media of one rendition really holds, and on renditions against each other in time.

use super::Sink;
use super::avc;
use super::fetch::redacted;
use super::init::{Init, Track};
use super::measure::{Container, Media, Subject, Use};

/// Encoder delay is at most 2112 samples at 16 kHz (132 ms); more is a cut, not a delay.
const MOST_PRIMING_S: f64 = 0.25;

pub(super) fn check(subject: &Subject, sink: &mut Sink) {
    for media in subject.media.iter().filter(|m| m.container == Container::Fmp4 && m.used != Use::Subtitles) {
        if media.used != Use::IFrames {
            for (n, init) in media.inits.iter().enumerate() {
                if let Some(init) = init {
                    let at = format!("{} EXT-X-MAP{}", redacted(&media.at), if n > 0 { format!(" {n}") } else { String::new() });
                    header(init, &at, sink);
                }
            }
            if let Some(track) = media.track(b"vide") {
                video(media, track, sink);
            }
            if let Some(track) = media.track(b"soun") {
                audio(media, track, subject, sink);
            }
            fragments(media, sink);
            changes(media, sink);
            time(media, sink);
        }
    }
    for multi in &subject.multivariants {
        let of = |list: &[Option<usize>]| -> Vec<&Media> { list.iter().flatten().map(|i| &subject.media[*i]).collect() };
        let mut lists = of(&multi.variants);
        lists.extend(of(&multi.renditions).into_iter().filter(|m| m.used == Use::Audio));
        boundaries(&lists, sink);
        colours(&of(&multi.variants), sink);
    }
}

fn header(init: &Init, at: &str, sink: &mut Sink) {
    let mut faults = init.faults.clone();
    // "iso6" and later, and the brands that build on it (ISO/IEC 14496-12 annex E, CMAF).
    let recent = |b: &[u8; 4]| matches!(b, b"iso6" | b"iso7" | b"iso8" | b"iso9" | b"isoa" | b"isob" | b"isoc") || &b[..3] == b"cmf";
    if !init.has_ftyp {
        faults.push("there is no ftyp".into());
    } else if !init.brands.iter().any(recent) {
        let brands: Vec<String> = init.brands.iter().map(|b| super::boxes::fourcc(*b)).collect();
        faults.push(format!("no brand of iso6 or later among {}", brands.join(" ")));
    }
    match init.has_moov {
        false => faults.push("there is no moov".into()),
        true if init.tracks.is_empty() => faults.push("moov has no track".into()),
        true if !init.has_mvex => faults.push("moov has no mvex".into()),
        true => {
            for t in &init.tracks {
                if !t.has_trex {
                    faults.push(format!("track {} has no trex", t.id));
                }
                if t.samples > 0 {
                    faults.push(format!("track {} has {} samples in moov", t.id, t.samples));
                }
                if t.timescale == 0 {
                    faults.push(format!("track {} has timescale 0", t.id));
                }
            }
        }
    }
    for fault in faults {
        sink.add("rfc8216bis-3.1.2-init", at, fault);
    }
    if init.has_ftyp && !init.brands.iter().any(|b| &b[..3] == b"cmf") {
        sink.add("cmaf-7.2-brands", at, "the ftyp has neither cmfc nor cmf2");
    }
    let audio = init.tracks.iter().filter(|t| &t.handler == b"soun").count();
    if audio > 1 {
        sink.add("apple-2.17", at, format!("{audio} audio tracks"));
    }
}

fn video(media: &Media, track: &Track, sink: &mut Sink) {
    let at = redacted(&media.at);
    let entry = &track.entry;
    match &entry.format {
        b"avc1" | b"hvc1" | b"av01" | b"dvh1" | b"encv" => {}
        b"avc3" | b"hev1" | b"dvhe" => {
            sink.add(
                "apple-1.10",
                at,
                format!("the sample entry is {}: parameter sets are in the samples", super::boxes::fourcc(entry.format)),
            );
        }
        other => sink.add("apple-1.1", at, format!("the video is {}", super::boxes::fourcc(*other))),
    }
    if let Some([profile, _, level]) = entry.avcc {
        if !matches!(profile, 66 | 77 | 88 | 100) || level > 52 {
            sink.add("apple-1.3", at, format!("profile {profile}, level {}", level_text(level)));
        }
        if matches!(profile, 66 | 77 | 88) {
            let name = if profile == 77 { "Main" } else { "Baseline" };
            sink.add("apple-1.4", at, format!("the profile is {name}; High needs 5 to 10 % fewer bits"));
        }
        if let Some(n) = media.segments.iter().position(|s| s.in_band) {
            sink.add("apple-1.10", media.segment(n), "SPS or PPS units are in the samples of an avc1 track");
        }
    }
    if let Some(sps) = &entry.sps {
        if !sps.progressive {
            sink.add("apple-1.14", at, "the SPS allows field pictures (frame_mbs_only_flag is 0)");
        }
        let rate = media.frame_rate().unwrap_or(0.0);
        let peak = media.peak_bps();
        if let Some(least) = avc::least_level(sps, rate, peak).filter(|least| *least < sps.level) {
            sink.add(
                "apple-1.11",
                at,
                format!(
                    "level {} is declared; {} suffices for {}x{}, {rate:.3} frames/s, {} references, {:.0} kbit/s",
                    level_text(sps.level),
                    level_text(least),
                    sps.width,
                    sps.height,
                    sps.references,
                    peak / 1e3
                ),
            );
        }
    }
    if let Some(rate) = media.frame_rate().filter(|r| *r > 60.5) {
        sink.add("apple-1.19", at, format!("{rate:.2} frames a second"));
    }
    let scale = track.timescale.max(1) as f64;
    let keys: Vec<f64> = media.segments.iter().flat_map(|s| &s.keys).map(|t| *t as f64 / scale).collect();
    let gap = keys.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
    if gap > 2.0 + media.frame_s().unwrap_or(0.0) {
        let mean = (keys[keys.len() - 1] - keys[0]) / (keys.len() - 1) as f64;
        sink.add(
            "apple-1.13",
            at,
            format!("IDRs are up to {gap:.2} s apart, {mean:.2} s in the mean; every 2 s would be {:.1} times as many", mean / 2.0),
        );
    }
    for (n, s) in media.segments.iter().enumerate() {
        let Some(first) = s.fragments.iter().find(|f| f.track == track.id) else { continue };
        // NAL types are known for H.264 alone; for others the sync flag must do.
        let idr = if entry.avcc.is_some() { s.first_nals.contains(&5) } else { first.first_sync };
        if !idr {
            sink.add("apple-7.4", media.segment(n), format!("the first picture is not an IDR (NAL types {:?})", s.first_nals));
        } else if !first.first_sync {
            sink.add("apple-7.4", media.segment(n), "the first picture is an IDR but flagged as a non-sync sample");
        }
    }
}

fn level_text(level: u8) -> String {
    format!("{}.{}", level / 10, level % 10)
}

fn audio(media: &Media, track: &Track, subject: &Subject, sink: &mut Sink) {
    let at = redacted(&media.at);
    let entry = &track.entry;
    if let Some(aac) = entry.aac {
        let average = media.average_bps();
        if matches!(aac.object_type, 5 | 29) && average > 64e3 * 1.05 && media.track(b"vide").is_none() {
            sink.add("apple-2.4", at, format!("HE-AAC at {:.0} kbit/s", average / 1e3));
        }
        // 1024 samples a frame are LC; twice that at the rate of the description is SBR that nobody announced.
        if aac.object_type == 2 && media.frame_s().is_some_and(|s| (s * aac.rate_hz as f64 - 2048.0).abs() < 64.0) {
            sink.add("apple-2.24", at, "frames of 2048 samples in a track described as AAC-LC: SBR is not signalled");
        }
    }
    let scale = track.timescale.max(1) as f64;
    let priming = match track.edits.as_deref() {
        None => None,
        Some(edits) => edits.iter().find(|e| e.media_time >= 0).map(|e| e.media_time as f64 / scale),
    };
    match (entry.pre_skip, priming) {
        (Some(skip), _) => {
            let signalled = priming.unwrap_or(0.0);
            if (signalled - skip as f64 / 48e3).abs() > 1.0 / scale + 1e-9 {
                let message = format!(
                    "PreSkip is {:.2} ms, the edit list cuts {:.2} ms: voice and picture are apart by the rest",
                    skip as f64 / 48.0,
                    signalled * 1e3
                );
                sink.add("iso14496-12-priming", at, message);
            }
        }
        (None, None) if entry.aac.is_some() && media.track(b"vide").is_none() => {
            sink.add(
                "iso14496-12-priming",
                at,
                "AAC without an edit list: its encoder delay (21 to 100 ms by encoder and rate) is not signalled",
            );
        }
        _ => {}
    }
    if media.track(b"vide").is_none() {
        loudness(media, track, subject, sink);
        index(media, track, sink);
    }
}

fn loudness(media: &Media, track: &Track, subject: &Subject, sink: &mut Sink) {
    let at = redacted(&media.at);
    let Some(loudness) = track.loudness else {
        return sink.add("apple-2.19", at, "there is no ludt box: players cannot level this against other lectures");
    };
    match loudness.program_lufs {
        None => sink.add("apple-2.23", at, "ludt has no programme loudness"),
        Some(lufs) if !(-60.0..=0.0).contains(&lufs) => sink.add("apple-2.23", at, format!("ludt says {lufs:.2} LUFS")),
        Some(lufs) => {
            if let Some(known) = subject.package.as_ref().and_then(|p| p.loudness.as_ref())
                && (known.lufs - lufs).abs() > 0.5
            {
                sink.add("apple-2.23", at, format!("ludt says {lufs:.2} LUFS, package.json measured {:.2}", known.lufs));
            }
        }
    }
}

/// The global sidx of a file of byte ranges.
fn index(media: &Media, track: &Track, sink: &mut Sink) {
    let at = redacted(&media.at);
    let Some(first) = media.segments.first().filter(|_| media.playlist.segments.iter().all(|s| s.range.is_some())) else { return };
    let Some((sidx, end)) = &media.sidx else {
        return sink.add(
            "rivulet-sidx",
            at,
            "there is no sidx before the first segment: as plain <audio> it is read to its end before a sound",
        );
    };
    // Where fragments start, with their ticks; a reference must begin at one and end at another.
    let mut starts: Vec<(u64, u64)> = Vec::new();
    for s in &media.segments {
        for (i, f) in s.fragments.iter().enumerate() {
            starts.push((if i == 0 { s.offset } else { f.at }, f.ticks));
        }
    }
    let file_end = media.segments.iter().map(|s| s.offset + s.bytes).max().unwrap_or(0);
    let mut place = end.saturating_add(sidx.first_offset);
    let mut fault =
        (sidx.timescale != track.timescale).then(|| format!("its timescale is {}, the track's {}", sidx.timescale, track.timescale));
    if place != first.offset {
        fault.get_or_insert(format!("its first fragment is at {place}, the first segment at {}", first.offset));
    }
    let first_time = first.fragments.first().and_then(|f| f.tfdt);
    if first_time.is_some_and(|t| t != sidx.first_time) {
        fault.get_or_insert(format!("it starts at tick {}, the first tfdt is {}", sidx.first_time, first_time.unwrap_or(0)));
    }
    for (n, (bytes, ticks, _)) in sidx.references.iter().enumerate() {
        let inside: Vec<_> = starts.iter().filter(|(at, _)| (place..place.saturating_add(*bytes)).contains(at)).collect();
        let real: u64 = inside.iter().map(|f| f.1).sum();
        if inside.first().map(|f| f.0) != Some(place) {
            fault.get_or_insert(format!("reference {n} is at {place}, where no fragment starts"));
        } else if real != *ticks {
            fault.get_or_insert(format!("reference {n} says {ticks} ticks, its fragments last {real}"));
        }
        place = place.saturating_add(*bytes);
    }
    if place != file_end {
        fault.get_or_insert(format!("its references end at {place}, the last segment at {file_end}"));
    }
    if let Some(fault) = fault {
        sink.add("iso14496-12-8.16.3", at, format!("sidx: {fault}"));
    }
}

fn fragments(media: &Media, sink: &mut Sink) {
    let Some(init) = media.init() else { return };
    for (n, s) in media.segments.iter().enumerate() {
        let at = media.segment(n);
        for fault in &s.faults {
            sink.add("rfc8216bis-3.1.2-segment", at.clone(), fault.clone());
        }
        for f in &s.fragments {
            if f.tfdt.is_none() {
                sink.add("rfc8216bis-3.1.2-segment", at.clone(), "a traf without tfdt");
            }
            if !init.tracks.iter().any(|t| t.id == f.track) {
                sink.add("rfc8216bis-3.1.2-segment", at.clone(), format!("a fragment of track {}, which the init does not have", f.track));
            }
            if !f.relative {
                sink.add("rfc8216bis-3.1.2-base", at.clone(), "tfhd lacks default-base-is-moof or has an absolute base-data-offset");
            }
        }
    }
    for track in &init.tracks {
        let Some(edits) = &track.edits else { continue };
        let at = format!("{} EXT-X-MAP", redacted(&media.at));
        let real: Vec<_> = edits.iter().filter(|e| e.media_time >= 0).collect();
        let scale = track.timescale.max(1) as f64;
        match real[..] {
            [edit] if edit.rate != 0x1_0000 => sink.add("iso14496-12-8.6.6", at, format!("an edit at rate {}/65536", edit.rate)),
            [edit] if &track.handler == b"soun" && edit.media_time as f64 / scale > MOST_PRIMING_S => {
                sink.add("iso14496-12-8.6.6", at, format!("the edit list cuts {:.3} s of sound", edit.media_time as f64 / scale));
            }
            [edit] if &track.handler == b"vide" => {
                let shown = media
                    .segments
                    .first()
                    .and_then(|s| s.fragments.iter().find(|f| f.track == track.id))
                    .map_or(0, |f| f.first_composition);
                if edit.media_time > shown {
                    sink.add(
                        "iso14496-12-8.6.6",
                        at,
                        format!("the edit starts at tick {}, the first picture is at {shown}: it is cut off", edit.media_time),
                    );
                }
            }
            [_] => {}
            _ => sink.add("iso14496-12-8.6.6", at, format!("{} edits", real.len())),
        }
    }
}

/// Another initialization section with other tracks in it, and no EXT-X-DISCONTINUITY in front.
fn changes(media: &Media, sink: &mut Sink) {
    let tracks = |n: usize| {
        let init = media.inits.get(media.playlist.segments[n].map?)?.as_ref()?;
        Some(init.tracks.iter().map(|t| (t.id, t.handler, t.timescale, &t.entry.codec, t.entry.width, t.entry.height)).collect::<Vec<_>>())
    };
    for n in 1..media.playlist.segments.len() {
        if media.playlist.segments[n].discontinuity || media.playlist.segments[n].map == media.playlist.segments[n - 1].map {
            continue;
        }
        if let (Some(before), Some(after)) = (tracks(n - 1), tracks(n))
            && before != after
        {
            let message = "its EXT-X-MAP has other tracks than the one before, and there is no EXT-X-DISCONTINUITY";
            sink.add("rfc8216bis-4.4.4.3", media.segment(n), message);
        }
    }
}

/// tfdt against durations, and both against EXTINF.
fn time(media: &Media, sink: &mut Sink) {
    let (Some(init), Some(main)) = (media.init(), media.main_track()) else { return };
    for track in &init.tracks {
        let mut next: Option<u64> = None;
        for (n, s) in media.segments.iter().enumerate() {
            if media.playlist.segments[n].discontinuity {
                next = None;
            }
            for f in s.fragments.iter().filter(|f| f.track == track.id) {
                let Some(tfdt) = f.tfdt else { continue };
                if let Some(expected) = next.filter(|e| *e != tfdt) {
                    sink.add(
                        "apple-7.3",
                        media.segment(n),
                        format!(
                            "tfdt is {tfdt}, the samples before end at {expected}: {:+} ticks of 1/{} s",
                            tfdt as i128 - expected as i128,
                            track.timescale
                        ),
                    );
                }
                next = tfdt.checked_add(f.ticks);
            }
        }
    }
    let scale = main.timescale.max(1) as f64;
    let frame = media.frame_s().unwrap_or(0.0);
    let (mut real, mut said, mut low, mut high) = (0.0, 0.0, 0.0f64, 0.0f64);
    let mut told = false;
    for (n, s) in media.segments.iter().enumerate() {
        let ticks: u64 = s.fragments.iter().filter(|f| f.track == main.id).map(|f| f.ticks).sum();
        if s.fragments.is_empty() {
            // Not read, and told so; what follows cannot be compared.
            return;
        }
        let seconds = ticks as f64 / scale;
        if media.target_s() > 0.0 && seconds > media.target_s() + 0.5 {
            sink.add("apple-7.7", media.segment(n), format!("it lasts {seconds:.3} s, the target duration is {} s", media.target_s()));
        }
        real += seconds;
        said += media.playlist.segments[n].duration_s;
        let off = said - real;
        (low, high) = (low.min(off), high.max(off));
        if !told && high - low > frame + 1e-6 {
            told = true;
            sink.add(
                "apple-8.1",
                media.segment(n),
                format!(
                    "EXTINF up to here sums to {said:.5} s, the samples last {real:.5} s: {:+.1} ms; one frame is {:.1} ms",
                    off * 1e3,
                    frame * 1e3
                ),
            );
        }
    }
}

/// Starts of segments on the media timeline, seconds; EXTINF where the media was not opened.
fn starts(media: &Media) -> Vec<f64> {
    let Some(track) = media.main_track().filter(|t| t.timescale > 0) else {
        return media
            .playlist
            .segments
            .iter()
            .scan(0.0, |sum, s| {
                let start = *sum;
                *sum += s.duration_s;
                Some(start)
            })
            .collect();
    };
    let of = |f: &super::measure::Fragment| f.tfdt.map(|t| t as f64 / track.timescale as f64);
    // NaN where it is unknown: told elsewhere, and no comparison with it is a mismatch.
    media.segments.iter().map(|s| s.fragments.iter().find(|f| f.track == track.id).and_then(of).unwrap_or(f64::NAN)).collect()
}

/// What an edit list cuts from the front of a sound track, seconds.
fn cut(media: &Media) -> f64 {
    let Some(track) = media.track(b"soun").filter(|t| t.timescale > 0 && media.track(b"vide").is_none()) else { return 0.0 };
    track.edits.iter().flatten().find(|e| e.media_time >= 0).map_or(0.0, |e| e.media_time as f64 / track.timescale as f64)
}

fn boundaries(all: &[&Media], sink: &mut Sink) {
    let Some(first) = all.first().filter(|m| !m.segments.is_empty()) else { return };
    let reference = starts(first);
    for media in all.iter().skip(1) {
        let own = starts(media);
        let sound = media.track(b"vide").is_none() && media.track(b"soun").is_some();
        // Video: to the tick of either clock. Audio: to one of its frames.
        let slack = if sound { media.frame_s().unwrap_or(0.05) + 1e-6 } else { 1.5e-5 };
        let opened = media.main_track().is_some() && first.main_track().is_some();
        let slack = if opened { slack } else { slack.max(0.1) };
        // Players differ in whether segments are placed by tfdt or by what is left after the edit list; either will do.
        let cut = cut(media);
        let mismatch = own.iter().zip(&reference).position(|(a, b)| (a - b).abs() > slack && (a - cut - b).abs() > slack);
        let message = match mismatch {
            _ if own.len() != reference.len() => format!("{} segments, {} has {}", own.len(), redacted(&first.at), reference.len()),
            Some(n) => format!("segment {n} starts at {:.4} s, in {} at {:.4} s", own[n], redacted(&first.at), reference[n]),
            None => continue,
        };
        sink.add("apple-8.22", redacted(&media.at), message);
    }
}

fn colours(all: &[&Media], sink: &mut Sink) {
    let colour = |m: &Media| {
        let entry = &m.track(b"vide")?.entry;
        let sps = entry.sps.as_ref().and_then(|s| s.colour).map(|(a, b, c)| (a as u16, b as u16, c as u16));
        Some(entry.colour.or(sps))
    };
    let Some((first, reference)) = all.iter().find_map(|m| Some((m, colour(m)?))) else { return };
    for media in all {
        if let Some(own) = colour(media).filter(|c| *c != reference) {
            sink.add(
                "apple-1.21",
                redacted(&media.at),
                format!("colour (primaries, transfer, matrix) is {own:?}, in {} {reference:?}", redacted(&first.at)),
            );
        }
    }
}
