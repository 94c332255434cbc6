//! Playlists: a package in, text out. Pure, no names but the package's own.

use super::{Captions, Package, Rung, Segment, Voice};
use std::fmt::Write;

/// Which multivariant playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every rung with every voice.
    Master,
    /// The lowest rung with every voice.
    Floor,
    /// The rungs without sound, for a page that plays the voice by itself.
    Video,
}

impl Which {
    pub const ALL: [Which; 3] = [Which::Master, Which::Floor, Which::Video];
    pub fn file_name(self) -> &'static str {
        match self {
            Which::Master => "master.m3u8",
            Which::Floor => "floor.m3u8",
            Which::Video => "video.m3u8",
        }
    }
}

/// All playlists of a package by file name.
pub fn all(package: &Package) -> Vec<(String, String)> {
    let mut out: Vec<_> = Which::ALL.iter().map(|w| (w.file_name().to_string(), master(package, *w))).collect();
    for rung in &package.rungs {
        out.push((format!("v-{}.m3u8", rung.name), video(package, rung)));
        out.push((format!("i-{}.m3u8", rung.name), iframes(package, rung)));
    }
    out.extend(package.voices.iter().map(|v| (format!("a-{}.m3u8", v.name), voice(package, v))));
    out.extend(package.captions.iter().map(|c| (format!("c-{}.m3u8", c.language), captions(package, c))));
    out
}

/// `v-<rung>.m3u8`
pub fn video(package: &Package, rung: &Rung) -> String {
    media(package, &format!("v-{}.mp4", rung.name), rung.init_bytes, &rung.segments, 90_000)
}

/// `a-<voice>.m3u8`
pub fn voice(package: &Package, voice: &Voice) -> String {
    media(package, &format!("a-{}.mp4", voice.name), voice.init_bytes, &voice.segments, voice.rate_hz)
}

/// `c-<language>.m3u8`: one segment. Only captions may have a target duration of their own (RFC 8216bis 6.2.4), so it is the
/// lecture's; a hundred small files would cost a learner more in requests than the whole of it in bytes.
pub fn captions(package: &Package, captions: &Captions) -> String {
    let duration = lecture_ticks(package);
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{},\nc-{}.vtt\n#EXT-X-ENDLIST\n",
        package.duration_s.round().max(1.0) as u64,
        seconds(duration, 90_000),
        captions.language
    )
}

/// The lecture's length in ticks of the video tracks.
pub fn lecture_ticks(package: &Package) -> u64 {
    (package.duration_s * 90_000.0).round() as u64
}

fn head(package: &Package, extra: &str) -> String {
    // Version 7 is what hls.js, Shaka and Apple's tools write for fMP4 with I-frame playlists; 6 is the least for EXT-X-MAP.
    format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n{extra}", package.target_duration_s)
}

/// Seconds of `ticks`, as short as microseconds allow.
fn seconds(ticks: u64, timescale: u32) -> String {
    let micros = crate::rate::micros(ticks, timescale);
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn media(package: &Package, file: &str, init_bytes: u64, segments: &[Segment], timescale: u32) -> String {
    let mut out = head(package, "#EXT-X-INDEPENDENT-SEGMENTS\n");
    let _ = writeln!(out, "#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"{init_bytes}@0\"");
    let mut expected = None;
    for s in segments {
        let _ = writeln!(out, "#EXTINF:{},", seconds(s.duration, timescale));
        // The offset may be left out where a range follows the one before (RFC 8216bis 4.4.4.2).
        match expected == Some(s.offset) {
            true => writeln!(out, "#EXT-X-BYTERANGE:{}", s.bytes),
            false => writeln!(out, "#EXT-X-BYTERANGE:{}@{}", s.bytes, s.offset),
        }
        .ok();
        let _ = writeln!(out, "{file}");
        expected = Some(s.offset + s.bytes);
    }
    out + "#EXT-X-ENDLIST\n"
}

/// `i-<rung>.m3u8`: the first picture of every segment.
pub fn iframes(package: &Package, rung: &Rung) -> String {
    let file = format!("v-{}.mp4", rung.name);
    let mut out = head(package, "#EXT-X-I-FRAMES-ONLY\n");
    let _ = writeln!(out, "#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"{}@0\"", rung.init_bytes);
    for s in &rung.segments {
        let bytes = s.iframe_bytes.unwrap_or(s.bytes);
        let _ = writeln!(out, "#EXTINF:{},\n#EXT-X-BYTERANGE:{bytes}@{}\n{file}", seconds(s.duration, 90_000), s.offset);
    }
    out + "#EXT-X-ENDLIST\n"
}

/// A multivariant playlist. Rates are measured from the bytes: BANDWIDTH is the sum of the peaks of what plays together.
pub fn master(package: &Package, which: Which) -> String {
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let silent = which == Which::Video || package.voices.is_empty();
    if !silent {
        for v in &package.voices {
            let _ = writeln!(
                out,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{0}\",NAME=\"{1}\",LANGUAGE=\"{2}\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"1\",URI=\"a-{0}.m3u8\"",
                v.name,
                language_name(&v.language),
                v.language
            );
        }
    }
    for c in &package.captions {
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"captions\",NAME=\"{}\",LANGUAGE=\"{1}\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"c-{1}.m3u8\"",
            language_name(&c.language),
            c.language
        );
    }
    // Rates count what plays together: the largest of the group.
    let text_bps = package.captions.iter().map(|c| c.average_bps).max().unwrap_or(0);
    let subtitles = if package.captions.is_empty() { "" } else { ",SUBTITLES=\"captions\"" };
    let rungs = if which == Which::Floor { &package.rungs[..package.rungs.len().min(1)] } else { &package.rungs[..] };
    for rung in rungs {
        let mut variant = |peak: u64, average: u64, codecs: String, audio: String| {
            let _ = writeln!(
                out,
                "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\",RESOLUTION={}x{},FRAME-RATE={:.3},VIDEO-RANGE=SDR{audio}{subtitles},CLOSED-CAPTIONS=NONE\nv-{}.m3u8",
                peak + text_bps,
                average + text_bps,
                rung.width,
                rung.height,
                rung.frame_rate,
                rung.name
            );
        };
        if silent {
            variant(rung.peak_bps, rung.average_bps, rung.codec.clone(), String::new());
        } else {
            for v in &package.voices {
                variant(
                    rung.peak_bps + v.peak_bps,
                    rung.average_bps + v.average_bps,
                    format!("{},{}", rung.codec, v.codec),
                    format!(",AUDIO=\"{}\"", v.name),
                );
            }
        }
    }
    for rung in rungs {
        let _ = writeln!(
            out,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\",RESOLUTION={}x{},VIDEO-RANGE=SDR,URI=\"i-{}.m3u8\"",
            rung.iframe_peak_bps, rung.iframe_average_bps, rung.codec, rung.width, rung.height, rung.name
        );
    }
    out
}

/// A language's own name, for the menus of players; with the whole tag where that says more, so that names stay unique.
fn language_name(tag: &str) -> String {
    let (primary, more) = tag.split_once('-').map_or((tag, false), |(p, _)| (p, true));
    let name = match primary {
        "vi" => "Tiếng Việt",
        "en" => "English",
        "fr" => "Français",
        "lo" => "ລາວ",
        "km" => "ខ្មែរ",
        _ => return tag.to_string(),
    };
    if more { format!("{name} ({tag})") } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extinf_is_exact_to_the_microsecond() {
        assert_eq!((seconds(540_000, 90_000), seconds(1, 90_000)), ("6".into(), "0.000011".into()));
    }
}
