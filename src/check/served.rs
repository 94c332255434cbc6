//! Rules on how an HTTP server hands things out.

use super::Sink;
use super::fetch::{Served, redacted};
use super::measure::{Container, Subject, Use};
use std::collections::{BTreeMap, BTreeSet};

/// What is found here is the server's doing, whatever it hands out.
pub(super) const RULES: [&str; 5] = ["apple-8.18", "apple-10.1", "apple-10.4", "apple-12.1", "rivulet-range"];

pub(super) fn check(served: &BTreeMap<String, Served>, subject: &Subject, sink: &mut Sink) {
    let mut plain_hosts = BTreeSet::new();
    for (at, how) in served {
        let place = redacted(at);
        if let Some(to) = &how.redirect {
            sink.add("apple-8.18", place, format!("it is redirected to {to}"));
        }
        if how.ignored_range {
            sink.add("rivulet-range", place, "a byte range was asked for, and the server sent everything");
        }
        let mime = how.content_type.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let playlist = how.text;
        if playlist && how.content_encoding.as_deref().is_none_or(|e| !e.eq_ignore_ascii_case("gzip")) {
            sink.add("apple-10.1", place, format!("Content-Encoding is {}", how.content_encoding.as_deref().unwrap_or("absent")));
        }
        let legal: &[&str] = match usage(at, playlist, subject) {
            Kind::Playlist => &["application/vnd.apple.mpegurl", "audio/mpegurl"],
            Kind::Video => &["video/mp4", "video/iso.segment"],
            Kind::Audio => &["audio/mp4", "video/mp4", "video/iso.segment", "audio/iso.segment"],
            Kind::Captions => &["text/vtt", "application/mp4"],
            Kind::MpegTs => &["video/mp2t"],
            Kind::Other => continue,
        };
        if !legal.contains(&mime.as_str()) {
            sink.add("apple-10.4", place, format!("Content-Type is \"{mime}\", expected {}", legal[0]));
        }
        if let Some(host) = at.strip_prefix("http://").and_then(|r| r.split(['/', ':']).next()) {
            // On the own machine there is nobody to listen.
            if !host.starts_with("127.") && !matches!(host, "localhost" | "[") {
                plain_hosts.insert(host.to_string());
            }
        }
    }
    for host in plain_hosts {
        sink.add("apple-12.1", format!("http://{host}"), "delivered without TLS: it can be read and changed on the way");
    }
}

enum Kind {
    Playlist,
    Video,
    Audio,
    Captions,
    MpegTs,
    Other,
}

fn usage(at: &str, playlist: bool, subject: &Subject) -> Kind {
    if playlist {
        return Kind::Playlist;
    }
    let by = subject.media.iter().find(|m| m.segments.iter().any(|s| s.location == at));
    match by {
        Some(m) if m.used == Use::Subtitles => Kind::Captions,
        Some(m) if m.container == Container::MpegTs => Kind::MpegTs,
        Some(m) if m.container == Container::Fmp4 && m.track(b"vide").is_some() => Kind::Video,
        Some(m) if m.container == Container::Fmp4 => Kind::Audio,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_in_the_clear_is_told_once_a_host_and_not_of_this_machine() {
        let how = Served {
            text: true,
            content_type: Some("application/vnd.apple.mpegurl".into()),
            content_encoding: Some("gzip".into()),
            ..Default::default()
        };
        let at = ["http://far.example/a.m3u8", "http://far.example:80/b.m3u8", "http://127.0.0.1:8/a.m3u8", "https://far.example/a.m3u8"];
        let served = at.iter().map(|a| (a.to_string(), how.clone())).collect();
        let mut sink = Sink::default();
        check(&served, &Subject { multivariants: vec![], media: vec![], package: None }, &mut sink);
        let found: Vec<_> = sink.findings.iter().map(|f| (f.rule, f.r#where.as_str())).collect();
        assert_eq!(found, [("apple-12.1", "http://far.example")]);
    }
}
