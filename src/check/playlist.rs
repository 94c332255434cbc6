//! Rules on playlists as text and on media playlists against each other.

use super::Sink;
use super::fetch::redacted;
use super::m3u8::Problem;
use super::measure::{Container, Media, Subject, Use};

pub(super) fn check(subject: &Subject, sink: &mut Sink) {
    for multi in &subject.multivariants {
        tell(&multi.at, &multi.problems, sink);
    }
    for media in &subject.media {
        tell(&media.at, &media.problems, sink);
        alone(media, sink);
    }
    for multi in &subject.multivariants {
        let mut all: Vec<usize> = multi.variants.iter().chain(&multi.renditions).chain(&multi.iframes).flatten().copied().collect();
        all.sort();
        all.dedup();
        let all: Vec<&Media> = all.into_iter().map(|i| &subject.media[i]).collect();
        together(&all, multi.independent, sink);
    }
}

fn tell(at: &str, problems: &[Problem], sink: &mut Sink) {
    for p in problems {
        sink.add(p.rule, format!("{} line {}", redacted(at), p.line), p.message.clone());
    }
}

fn alone(media: &Media, sink: &mut Sink) {
    let at = redacted(&media.at);
    let list = &media.playlist;
    if list.segments.is_empty() {
        sink.add("rfc8216bis-4.4.4.1", at, "the playlist has no segment");
    }
    match list.target_duration_s {
        // A value that is not a number was told by the parser.
        None if media.problems.iter().any(|p| p.rule == "rfc8216bis-4.4.3.1-missing") => {}
        None => sink.add("rfc8216bis-4.4.3.1-missing", at, "there is no EXT-X-TARGETDURATION"),
        Some(target) => {
            for (n, s) in list.segments.iter().enumerate() {
                if s.duration_s.round() > target as f64 {
                    sink.add(
                        "rfc8216bis-4.4.3.1",
                        media.segment(n),
                        format!("EXTINF {} s is over the target duration of {target} s", s.duration_s),
                    );
                }
            }
            if target != 6 && media.used != Use::IFrames && media.used != Use::Subtitles {
                sink.add(
                    "apple-7.5",
                    at,
                    format!("the target duration is {target} s; {} segments over {:.0} s", list.segments.len(), media.duration_s()),
                );
            }
        }
    }
    if !list.endlist {
        sink.add("rfc8216bis-4.4.3.4", at, "there is no EXT-X-ENDLIST: players take this for a live stream");
    }
    match list.playlist_type.as_deref() {
        Some("VOD") => {}
        other => sink.add("apple-8.6", at, format!("EXT-X-PLAYLIST-TYPE is {}", other.unwrap_or("absent"))),
    }
    if list.iframes_only != (media.used == Use::IFrames) {
        let message = if list.iframes_only {
            "an ordinary rendition has EXT-X-I-FRAMES-ONLY"
        } else {
            "EXT-X-I-FRAME-STREAM-INF names it, but EXT-X-I-FRAMES-ONLY is not there"
        };
        sink.add("rfc8216bis-4.4.3.6", at, message);
    }
    if media.container == Container::Fmp4
        && let Some(n) = list.segments.iter().position(|s| s.map.is_none())
    {
        sink.add("apple-8.20", media.segment(n), "an fMP4 segment without EXT-X-MAP: no player can decode it");
    }
}

/// Playlists of one multivariant playlist, against the first video variant.
fn together(all: &[&Media], independent: bool, sink: &mut Sink) {
    let Some(first) = all.iter().find(|m| m.used == Use::Variant).or(all.first()).copied() else { return };
    for media in all.iter().copied().filter(|m| !std::ptr::eq(*m, first)) {
        let at = redacted(&media.at);
        let (target, reference) = (media.playlist.target_duration_s, first.playlist.target_duration_s);
        if target != reference && target.is_some() && reference.is_some() {
            let message =
                format!("the target duration is {} s, that of {} is {} s", media.target_s(), redacted(&first.at), first.target_s());
            match media.used {
                Use::Audio => sink.add("apple-8.2", at, message),
                Use::Variant => sink.add("rfc8216bis-6.2.4-target", at, message),
                Use::Subtitles | Use::IFrames => {}
            }
        }
        // All without a type are told one by one already.
        let (one, other) = (&media.playlist.playlist_type, &first.playlist.playlist_type);
        if one != other && one.is_some() && other.is_some() {
            sink.add("rfc8216bis-6.2.4-type", at, format!("EXT-X-PLAYLIST-TYPE differs from that of {}", redacted(&first.at)));
        }
        let apart = media.duration_s() - first.duration_s();
        // A frame of either is in order; the longest AAC frame is 0.13 s, and slides may stand for a second.
        let slack = 0.25_f64.max(first.frame_s().unwrap_or(0.0).min(1.0));
        if matches!(media.used, Use::Audio | Use::Variant) && apart.abs() > slack {
            sink.add(
                "apple-8.3",
                at,
                format!("it lasts {:.3} s, {} lasts {:.3} s: {apart:+.3} s", media.duration_s(), redacted(&first.at), first.duration_s()),
            );
        }
        if media.used != Use::IFrames && media.used != Use::Subtitles && breaks(media) != breaks(first) {
            sink.add(
                "apple-8.14",
                at,
                format!("EXT-X-DISCONTINUITY is at segments {:?}, in {} at {:?}", breaks(media), redacted(&first.at), breaks(first)),
            );
        }
    }
    if !independent {
        for media in all.iter().filter(|m| m.used == Use::Variant && !m.independent) {
            sink.add("apple-9.12", redacted(&media.at), "neither this nor the multivariant playlist has EXT-X-INDEPENDENT-SEGMENTS");
        }
    }
}

fn breaks(media: &Media) -> Vec<usize> {
    media.playlist.segments.iter().enumerate().filter(|(_, s)| s.discontinuity).map(|(n, _)| n).collect()
}
