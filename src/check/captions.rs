//! Rules on subtitle renditions: WebVTT segments and IMSC1 in fMP4.

use super::Sink;
use super::fetch::redacted;
use super::measure::{Container, Media, Subject, Use};

pub(super) fn check(subject: &Subject, sink: &mut Sink) {
    let longest = subject.media.iter().filter(|m| m.used == Use::Variant).map(Media::duration_s).fold(0.0, f64::max);
    for media in subject.media.iter().filter(|m| m.used == Use::Subtitles) {
        let at = redacted(&media.at);
        match media.container {
            Container::WebVtt => {}
            Container::Fmp4 => {
                let format = media.init().and_then(|i| i.tracks.first()).map(|t| t.entry.format);
                if !matches!(format.as_ref(), Some(b"wvtt" | b"stpp")) {
                    sink.add("apple-5.2", at, "subtitles in fMP4 are neither wvtt nor stpp");
                }
            }
            other => sink.add("apple-5.2", at, format!("subtitles are {other:?}")),
        }
        if longest > 0.0 && media.duration_s() < longest - 0.5 {
            sink.add("apple-5.5", at, format!("it spans {:.1} s of {longest:.1} s", media.duration_s()));
        }
        for (n, s) in media.segments.iter().enumerate() {
            let Some(text) = &s.text else { continue };
            let faults = webvtt(text);
            if faults.no_map {
                sink.add("apple-5.3", media.segment(n), "there is no X-TIMESTAMP-MAP in the header");
            }
            for fault in faults.other {
                sink.add("rfc8216bis-3.1.4", media.segment(n), fault);
            }
        }
    }
}

#[derive(Default)]
struct Faults {
    no_map: bool,
    other: Vec<String>,
}

/// Faults of one WebVTT segment.
fn webvtt(bytes: &[u8]) -> Faults {
    let mut faults = Faults::default();
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    if matches!(text, std::borrow::Cow::Owned(_)) {
        faults.other.push("the text is not UTF-8".into());
    }
    let mut lines = text.lines();
    let first = lines.next().unwrap_or("");
    if !(first == "WEBVTT" || first.starts_with("WEBVTT ") || first.starts_with("WEBVTT\t")) {
        faults.other.push("the first line is not WEBVTT".into());
    }
    let header: Vec<&str> = lines.by_ref().take_while(|l| !l.trim().is_empty()).collect();
    let map = header.iter().find_map(|l| l.strip_prefix("X-TIMESTAMP-MAP="));
    match map {
        None => faults.no_map = true,
        Some(map) => {
            let part = |name: &str| map.split(',').find_map(|p| p.trim().strip_prefix(name));
            if part("LOCAL:").and_then(clock_ms).is_none() || part("MPEGTS:").is_none_or(|v| v.trim().parse::<u64>().is_err()) {
                faults.other.push(format!("X-TIMESTAMP-MAP={map} is not LOCAL:time,MPEGTS:ticks"));
            }
        }
    }
    for line in lines.filter(|l| l.contains("-->")) {
        let (from, to) = line.split_once("-->").unwrap_or((line, ""));
        let (from, to) = (clock_ms(from.trim()), clock_ms(to.split_whitespace().next().unwrap_or("")));
        match (from, to) {
            (Some(from), Some(to)) if to > from => {}
            _ => faults.other.push(format!("the cue times \"{line}\" are not legal")),
        }
    }
    faults
}

/// `[hh:]mm:ss.mmm` in milliseconds.
fn clock_ms(text: &str) -> Option<u64> {
    let (clock, ms) = text.trim().split_once('.')?;
    let parts: Vec<u64> = clock.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let ms = (ms.len() == 3).then(|| ms.parse::<u64>().ok())??;
    let seconds = match parts[..] {
        [m, s] if m < 60 && s < 60 => m * 60 + s,
        [h, m, s] if m < 60 && s < 60 => h.checked_mul(3600)?.checked_add(m * 60 + s)?,
        _ => return None,
    };
    seconds.checked_mul(1000)?.checked_add(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_segment_has_no_fault() {
        let faults =
            webvtt("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n1\n00:00.000 --> 00:02.500 line:0\nXin chào\n".as_bytes());
        assert!(!faults.no_map && faults.other.is_empty());
    }

    #[test]
    fn faults_are_told_apart() {
        assert!(webvtt(b"WEBVTT\n\n00:00.000 --> 00:02.000\na\n").no_map);
        for bad in [
            "WEBVT\nX-TIMESTAMP-MAP=LOCAL:00:00.000,MPEGTS:0\n",
            "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0\n",
            "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00.000,MPEGTS:0\n\n0:3 --> 0:4\n",
        ] {
            assert_eq!(webvtt(bad.as_bytes()).other.len(), 1, "{bad}");
        }
    }
}
