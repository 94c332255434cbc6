//! Rules on a multivariant playlist as a whole: attributes, groups, the ladder that players see.

use super::Sink;
use super::fetch::redacted;
use super::m3u8::{Attributes, Variant};
use super::measure::{Container, Media, Multi, Role, Subject, Use};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(subject: &Subject, sink: &mut Sink) {
    for multi in &subject.multivariants {
        renditions(multi, sink);
        groups(multi, sink);
        variants(subject, multi, sink);
        order(multi, sink);
        if multi.role == Role::Master {
            whole(subject, multi, sink);
        }
    }
}

fn place(multi: &Multi, line: usize) -> String {
    format!("{} line {line}", redacted(&multi.at))
}

fn renditions(multi: &Multi, sink: &mut Sink) {
    for r in &multi.playlist.renditions {
        let (at, a) = (place(multi, r.line), &r.attributes);
        let kind = a.get("TYPE").unwrap_or("");
        let mut faults = Vec::new();
        for name in ["TYPE", "GROUP-ID", "NAME"] {
            if a.get(name).is_none() {
                faults.push(format!("{name} is missing"));
            }
        }
        match kind {
            "SUBTITLES" if a.get("URI").is_none() => faults.push("SUBTITLES without URI".into()),
            "CLOSED-CAPTIONS" if a.get("URI").is_some() => faults.push("CLOSED-CAPTIONS with a URI".into()),
            "CLOSED-CAPTIONS" if a.get("INSTREAM-ID").is_none() => faults.push("CLOSED-CAPTIONS without INSTREAM-ID".into()),
            "AUDIO" | "VIDEO" | "SUBTITLES" | "CLOSED-CAPTIONS" | "" => {}
            other => faults.push(format!("TYPE is {other}")),
        }
        if a.get("DEFAULT") == Some("YES") && a.get("AUTOSELECT") == Some("NO") {
            faults.push("DEFAULT=YES with AUTOSELECT=NO".into());
        }
        if a.get("FORCED").is_some() && kind != "SUBTITLES" {
            faults.push("FORCED on what is not SUBTITLES".into());
        }
        for fault in faults {
            sink.add("rfc8216bis-4.4.6.1", at.clone(), fault);
        }
        if a.get("LANGUAGE").is_none() {
            match kind {
                "SUBTITLES" => sink.add("apple-4.7", at, "subtitles without LANGUAGE"),
                "AUDIO" | "CLOSED-CAPTIONS" => {
                    sink.add("apple-8.10", at, format!("{kind} \"{}\" has no LANGUAGE", a.get("NAME").unwrap_or("")))
                }
                _ => {}
            }
        }
    }
}

fn groups(multi: &Multi, sink: &mut Sink) {
    let mut groups = BTreeMap::<(&str, &str), Vec<&Attributes>>::new();
    for r in &multi.playlist.renditions {
        if let (Some(kind), Some(id)) = (r.attributes.get("TYPE"), r.attributes.get("GROUP-ID")) {
            groups.entry((kind, id)).or_default().push(&r.attributes);
        }
    }
    let mut members = BTreeMap::<&str, (&str, BTreeSet<&str>)>::new();
    for ((kind, id), list) in &groups {
        let at = format!("{} group {id}", redacted(&multi.at));
        let names: BTreeSet<&str> = list.iter().filter_map(|a| a.get("NAME")).collect();
        if names.len() < list.iter().filter(|a| a.get("NAME").is_some()).count() {
            sink.add("rfc8216bis-4.4.6.1.1", at.clone(), "two members have the same NAME");
        }
        let defaults = list.iter().filter(|a| a.get("DEFAULT") == Some("YES")).count();
        if defaults > 1 {
            sink.add("rfc8216bis-4.4.6.1.1", at.clone(), format!("{defaults} members are DEFAULT=YES"));
        }
        match members.get(kind) {
            Some((other, set)) if *set != names => {
                sink.add("rfc8216bis-4.4.6.1.1", at, format!("its members are {names:?}, those of group {other} {set:?}"));
            }
            Some(_) => {}
            None => drop(members.insert(kind, (id, names))),
        }
    }
    let mut none = (0, 0);
    for v in &multi.playlist.variants {
        for kind in ["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"] {
            match v.attributes.get(kind) {
                Some("NONE") if kind == "CLOSED-CAPTIONS" => none.0 += 1,
                Some(id) if !groups.contains_key(&(kind, id)) => {
                    sink.add("rfc8216bis-4.4.6.2-group", place(multi, v.line), format!("{kind}=\"{id}\" names a group that is not there"));
                }
                _ => none.1 += usize::from(kind == "CLOSED-CAPTIONS"),
            }
        }
    }
    if none.0 > 0 && none.1 > 0 {
        sink.add("rfc8216bis-4.4.6.2-group", redacted(&multi.at), "CLOSED-CAPTIONS=NONE is on some variants and not on others");
    }
}

const AUDIO_CODECS: [&str; 7] = ["mp4a", "opus", "ac-3", "ec-3", "flac", "alac", "ac-4"];

fn family(codec: &str) -> String {
    codec.split('.').next().unwrap_or("").to_ascii_lowercase()
}
pub(super) fn is_audio(codec: &str) -> bool {
    AUDIO_CODECS.contains(&family(codec).as_str())
}
fn is_text(codec: &str) -> bool {
    matches!(family(codec).as_str(), "wvtt" | "stpp")
}

/// Whether a variant carries pictures, by CODECS or by RESOLUTION.
fn has_video(v: &Variant) -> bool {
    v.attributes.get("RESOLUTION").is_some() || v.attributes.codecs().iter().any(|c| !is_audio(c) && !is_text(c))
}

/// Codecs that a variant and its audio group really hold; `None` where media was not opened.
fn real_codecs(subject: &Subject, multi: &Multi, v: &Variant, media: Option<usize>) -> Option<BTreeSet<String>> {
    let mut real = BTreeSet::new();
    let mut add = |m: &Media| {
        let init = m.init().filter(|_| m.container == Container::Fmp4)?;
        real.extend(
            init.tracks.iter().filter(|t| matches!(&t.handler, b"vide" | b"soun") && !t.entry.encrypted).map(|t| t.entry.codec.clone()),
        );
        Some(())
    };
    add(&subject.media[media?])?;
    for (r, m) in multi.playlist.renditions.iter().zip(&multi.renditions) {
        let named = r.attributes.get("TYPE") == Some("AUDIO") && r.attributes.get("GROUP-ID") == v.attributes.get("AUDIO");
        if let (true, Some(m)) = (named, m) {
            add(&subject.media[*m])?;
        }
    }
    Some(real)
}

fn codecs_agree(said: &str, real: &str) -> bool {
    match family(real).as_str() {
        // The rest of these strings depends on fields that are not read.
        f @ ("hvc1" | "hev1" | "av01" | "vp09" | "dvh1" | "ac-4") => family(said) == f,
        _ => said.eq_ignore_ascii_case(real),
    }
}

fn codecs(multi: &Multi, v: &Variant, real: Option<BTreeSet<String>>, sink: &mut Sink) {
    let at = place(multi, v.line);
    let said = v.attributes.codecs();
    if said.is_empty() {
        return sink.add("apple-9.1", at, "there is no CODECS");
    }
    let Some(real) = real else { return };
    for r in &real {
        let same: Vec<_> = said.iter().filter(|s| family(s) == family(r)).collect();
        if same.is_empty() {
            sink.add("apple-9.1", at.clone(), format!("CODECS=\"{}\" does not name {r}", said.join(",")));
        } else if !same.iter().any(|s| codecs_agree(s, r)) {
            sink.add("apple-9.1-codecs", at.clone(), format!("CODECS has {}, the bitstream is {r}", same[0]));
        }
    }
    for s in said.iter().filter(|s| !is_text(s)) {
        if !real.iter().any(|r| family(r) == family(s)) {
            sink.add("apple-9.1-codecs", at.clone(), format!("CODECS has {s}, and nothing of that kind is there"));
        }
    }
}

fn variants(subject: &Subject, multi: &Multi, sink: &mut Sink) {
    let list = &multi.playlist;
    for (v, media) in list.variants.iter().zip(&multi.variants) {
        let (at, a) = (place(multi, v.line), &v.attributes);
        if a.get("BANDWIDTH").is_none() {
            sink.add("rfc8216bis-4.4.6.2", at.clone(), "there is no BANDWIDTH");
        }
        if a.get("AVERAGE-BANDWIDTH").is_none() {
            let cost = media.map(|m| {
                let media = &subject.media[m];
                format!("; {} has a peak of {:.0} and an average of {:.0} bit/s", v.uri, media.peak_bps(), media.average_bps())
            });
            sink.add("apple-9.14", at.clone(), format!("there is no AVERAGE-BANDWIDTH{}", cost.unwrap_or_default()));
        }
        codecs(multi, v, real_codecs(subject, multi, v, *media), sink);
        let opened = media.map(|m| &subject.media[m]);
        let pictures = opened.and_then(|m| m.track(b"vide"));
        if has_video(v) || pictures.is_some() {
            if a.get("RESOLUTION").is_none() {
                sink.add("apple-9.2", at.clone(), "a video variant without RESOLUTION");
            }
            if a.get("FRAME-RATE").is_none() {
                sink.add("apple-9.15", at.clone(), "a video variant without FRAME-RATE");
            }
        }
        resolution(v, pictures, &at, sink);
        let measured = opened.and_then(Media::frame_rate);
        if let (Some(said), Some(real)) = (a.number::<f64>("FRAME-RATE"), measured) {
            // Cuts of irregular pictures into segments move the rate of a segment by a frame.
            if real > said * 1.05 + 0.5 || real < said * 0.5 {
                sink.add(
                    "rfc8216bis-4.4.6.2-frame-rate",
                    at.clone(),
                    format!("FRAME-RATE={said}, the highest of any segment is {real:.3}"),
                );
            }
        }
        if opened.is_some_and(|m| m.container == Container::MpegTs) && !has_video(v) {
            sink.add("apple-2.1", at.clone(), "an audio-only variant in MPEG-TS");
        }
        let muxed = match opened.and_then(Media::init) {
            Some(init) => init.tracks.iter().any(|t| &t.handler == b"vide") && init.tracks.iter().any(|t| &t.handler == b"soun"),
            None => has_video(v) && a.get("AUDIO").is_none() && a.codecs().iter().any(|c| is_audio(c)),
        };
        if muxed && has_video(v) {
            sink.add("apple-9.5", at, "sound and picture are in one stream: a rung switch loads the voice again");
        }
    }
    for (v, media) in list.iframes.iter().zip(&multi.iframes) {
        let (at, a) = (place(multi, v.line), &v.attributes);
        if a.get("BANDWIDTH").is_none() {
            sink.add("rfc8216bis-4.4.6.3", at.clone(), "there is no BANDWIDTH");
        }
        codecs(multi, v, real_codecs(subject, multi, v, *media), sink);
        match a.get("RESOLUTION") {
            None => sink.add("apple-9.2", at, "an I-frame variant without RESOLUTION"),
            Some(_) => resolution(v, media.and_then(|m| subject.media[m].track(b"vide")), &at, sink),
        }
    }
}

fn resolution(v: &Variant, track: Option<&super::init::Track>, at: &str, sink: &mut Sink) {
    let (Some(said), Some(track)) = (v.attributes.resolution(), track) else { return };
    let entry = &track.entry;
    let near = |(w, h): (u32, u32)| w.abs_diff(said.0) <= 1 && h.abs_diff(said.1) <= 1;
    if entry.width > 0 && !near(track.shown) && !near((entry.width, entry.height)) {
        let message = format!(
            "RESOLUTION={}x{}, the pictures are {}x{} shown as {}x{}",
            said.0, said.1, entry.width, entry.height, track.shown.0, track.shown.1
        );
        sink.add("rfc8216bis-4.4.6.2-resolution", at, message);
    }
}

/// hls.js sorts the variants of one audio codec set by height, FRAME-RATE and average, and walks that order.
fn order(multi: &Multi, sink: &mut Sink) {
    let mut sets = BTreeMap::<Vec<String>, Vec<(u32, f64, u64, u64, &Variant)>>::new();
    for v in multi.playlist.variants.iter().filter(|v| has_video(v)) {
        let mut set: Vec<String> = v.attributes.codecs().iter().filter(|c| is_audio(c)).map(|c| family(c)).collect();
        set.sort();
        let peak = v.attributes.number("BANDWIDTH").unwrap_or(0);
        let average = v.attributes.number("AVERAGE-BANDWIDTH").unwrap_or(peak);
        let height = v.attributes.resolution().map_or(0, |r| r.1);
        sets.entry(set).or_default().push((height, v.attributes.number("FRAME-RATE").unwrap_or(0.0), average, peak, v));
    }
    for list in sets.values_mut() {
        list.sort_by(|a, b| (a.0, a.2).cmp(&(b.0, b.2)).then(std::cmp::Ordering::Equal));
        list.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        for pair in list.windows(2) {
            let ((_, slow, _, low, first), (_, fast, _, high, second)) = (pair[0], pair[1]);
            let fault = match () {
                _ if high <= low => {
                    format!("BANDWIDTH {high} of {} is not above {low} of {}, which hls.js sorts below it", second.uri, first.uri)
                }
                _ if fast < slow => format!("FRAME-RATE falls from {slow} of {} to {fast} of {}", first.uri, second.uri),
                _ => continue,
            };
            sink.add("rivulet-hlsjs-order", place(multi, second.line), fault);
        }
    }
}

/// Rules on the whole ladder.
fn whole(subject: &Subject, multi: &Multi, sink: &mut Sink) {
    let at = redacted(&multi.at);
    let list = &multi.playlist;
    if !multi.independent {
        sink.add("apple-9.11", at, "there is no EXT-X-INDEPENDENT-SEGMENTS");
    }
    let videos: Vec<&Variant> = list.variants.iter().filter(|v| has_video(v)).collect();
    if videos.is_empty() {
        return audio(subject, multi, sink);
    }
    for v in list.variants.iter().filter(|v| !has_video(v)) {
        sink.add("apple-9.20", place(multi, v.line), "an audio-only variant among video variants");
    }
    let uris: BTreeSet<&str> = videos.iter().map(|v| v.uri.as_str()).collect();
    if uris.len() < 2 {
        sink.add("apple-9.9", at, format!("one video bit rate only: {}", said_rates(&videos)));
    }
    let top = videos.iter().filter_map(|v| v.attributes.resolution()).max_by_key(|r| r.0 as u64 * r.1 as u64);
    if let Some(top) = top {
        let highest: BTreeSet<&str> = videos.iter().filter(|v| v.attributes.resolution() == Some(top)).map(|v| v.uri.as_str()).collect();
        if highest.len() < 2 && uris.len() > 1 {
            sink.add(
                "apple-9.10",
                at,
                format!("one variant at {}x{}: a player whose link falls below it loses resolution at once", top.0, top.1),
            );
        }
        let odd = videos.iter().find(|v| {
            // Even sizes move an aspect ratio by up to two pixels.
            v.attributes.resolution().is_some_and(|(w, h)| (w as f64 - h as f64 * top.0 as f64 / top.1.max(1) as f64).abs() > 2.01)
        });
        if let Some(v) = odd {
            sink.add(
                "apple-1.33",
                place(multi, v.line),
                format!("RESOLUTION={} is not of the shape of {}x{}", v.attributes.get("RESOLUTION").unwrap_or(""), top.0, top.1),
            );
        }
    }
    let least = list.variants.iter().filter_map(|v| v.attributes.number::<u64>("BANDWIDTH")).min();
    if let Some(least) = least.filter(|l| *l > 192_000) {
        sink.add(
            "apple-9.21",
            at,
            format!(
                "the lowest BANDWIDTH is {least}: a link of 192 kbit/s stalls {:.0} % of the time",
                100.0 - 19_200_000.0 / least as f64
            ),
        );
    }
    first_listed(multi, &videos, sink);
    let devices = |v: &&&Variant| v.attributes.codecs().iter().any(|c| c.starts_with("avc1.") || c.starts_with("avc3."));
    if videos.iter().filter(devices).count() == 0 && videos.iter().any(|v| v.attributes.get("CODECS").is_some()) {
        sink.add("apple-1.12", at, "no variant is H.264");
    }
    let level = |v: &&Variant| {
        let hex = v.attributes.codecs().iter().find_map(|c| c.strip_prefix("avc1.").map(str::to_string))?;
        Some((u8::from_str_radix(hex.get(0..2)?, 16).ok()?, u8::from_str_radix(hex.get(4..6)?, 16).ok()?))
    };
    let levels: Vec<(u8, u8)> = videos.iter().filter_map(level).collect();
    if !levels.is_empty() && !levels.iter().any(|(p, l)| *p <= 100 && *l <= 41) {
        sink.add("apple-1.3a", at, "every H.264 variant is above High profile, level 4.1");
    }
    let ranges = videos.iter().filter(|v| v.attributes.get("VIDEO-RANGE").is_some()).count();
    let hdr = multi.variants.iter().flatten().filter_map(|m| subject.media[*m].track(b"vide")).any(|t| {
        let transfer = t.entry.colour.map(|c| c.1).or(t.entry.sps.as_ref().and_then(|s| s.colour).map(|c| c.1 as u16));
        matches!(transfer, Some(16 | 18))
    });
    if ranges < videos.len() && (ranges > 0 || hdr) {
        sink.add(
            "apple-9.16",
            at,
            format!("VIDEO-RANGE is on {ranges} of {} video variants{}", videos.len(), if hdr { "; some are HDR" } else { "" }),
        );
    }
    let scores = list.variants.iter().filter(|v| v.attributes.get("SCORE").is_some()).count();
    if scores > 0 && scores < list.variants.len() {
        sink.add("apple-9.19", at, format!("SCORE is on {scores} of {} variants", list.variants.len()));
    }
    trick_play(subject, multi, sink);
    audio(subject, multi, sink);
}

fn said_rates(videos: &[&Variant]) -> String {
    let rates: BTreeSet<u64> = videos.iter().filter_map(|v| v.attributes.number("BANDWIDTH")).collect();
    rates.iter().map(|r| format!("{} kbit/s", r / 1000)).collect::<Vec<_>>().join(", ")
}

/// Apple 1.32b against what starting there costs on a thin link.
fn first_listed(multi: &Multi, videos: &[&Variant], sink: &mut Sink) {
    let average = |v: &Variant| v.attributes.number::<f64>("AVERAGE-BANDWIDTH").or(v.attributes.number("BANDWIDTH"));
    let rated: Vec<(&Variant, f64)> = videos.iter().filter_map(|v| Some((*v, average(v)?))).collect();
    let Some((first, rate)) = rated.first() else { return };
    let nearest = rated.iter().map(|r| r.1).min_by(|a, b| (a - 730e3).abs().total_cmp(&(b - 730e3).abs())).unwrap_or(*rate);
    if (rate - 730e3).abs() > (nearest - 730e3).abs() + 1.0 {
        let wait = |bps: f64| 6.0 * bps / 120e3;
        sink.add(
            "apple-1.32b",
            place(multi, first.line),
            format!(
                "the first is {} at {:.0} kbit/s, nearest to 730 is {:.0}; 6 s of it take {:.1} s instead of {:.1} s at 120 kbit/s",
                first.uri,
                rate / 1e3,
                nearest / 1e3,
                wait(nearest),
                wait(*rate)
            ),
        );
    }
}

fn trick_play(subject: &Subject, multi: &Multi, sink: &mut Sink) {
    let at = redacted(&multi.at);
    let list = &multi.playlist.iframes;
    if list.is_empty() {
        return sink.add("apple-6.1", at, "there is no EXT-X-I-FRAME-STREAM-INF");
    }
    let uris: BTreeSet<&str> = list.iter().map(|v| v.uri.as_str()).collect();
    if uris.len() < 2 {
        sink.add("apple-6.6", at, "one I-frame rendition only");
    }
    let rate = |m: &Media| m.segments.len() as f64 / m.duration_s().max(1e-3);
    let best = multi.iframes.iter().flatten().map(|m| &subject.media[*m]).filter(|m| !m.segments.is_empty()).map(rate).fold(0.0, f64::max);
    if best > 0.0 && best < 0.95 {
        sink.add(
            "apple-6.2",
            at,
            format!(
                "the densest I-frame rendition has one picture every {:.1} s; one a second would be {:.1} times as many",
                1.0 / best,
                1.0 / best
            ),
        );
    }
}

fn audio(subject: &Subject, multi: &Multi, sink: &mut Sink) {
    let at = redacted(&multi.at);
    let mut found = Vec::new();
    let mut unopened = false;
    let used = multi.variants.iter().chain(&multi.renditions).flatten().map(|m| &subject.media[*m]);
    for media in used.filter(|m| matches!(m.used, Use::Variant | Use::Audio)) {
        match media.init() {
            Some(init) => {
                found.extend(init.tracks.iter().filter(|t| &t.handler == b"soun").map(|t| (t.entry.codec.clone(), t.entry.channels)))
            }
            None => unopened = true,
        }
    }
    let said = multi.playlist.renditions.iter().any(|r| r.attributes.get("TYPE") == Some("AUDIO"))
        || multi.playlist.variants.iter().any(|v| v.attributes.codecs().iter().any(|c| is_audio(c)));
    if unopened && said {
        sink.note(format!("{at}: channels of audio that was not opened are unknown; apple-2.3 was not tested on it"));
        return;
    }
    found.sort();
    found.dedup();
    if !found.is_empty() && !found.iter().any(|(c, n)| c.starts_with("mp4a.40.") && *n >= 2) {
        let list: Vec<String> = found.iter().map(|(c, n)| format!("{c} with {n} channel{}", if *n == 1 { "" } else { "s" })).collect();
        sink.add(
            "apple-2.3",
            at,
            format!("there is {}; a second channel of the same voice would be paid for and add nothing", list.join(", ")),
        );
    }
}
