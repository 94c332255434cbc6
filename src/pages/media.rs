//! What a lecture's page needs to know of its package: where the voice's segments lie, its first bytes, the slides, the
//! video, the captions. Pure; whoever has the package reads the bytes.

use super::code::base64;
use super::html::closed;
use super::words::Words;
use crate::package::{Package, Voice};
use serde_json::{Value, json};

/// Bytes of voice that stand in the page, in whole segments: 6 to 10 s, the time in which the next request is answered on a
/// slow link. More would only come later.
const HEAD_MOST: u64 = 20_000;
/// So many of them stand before the script that plays them, the others behind it in pieces as long: some two seconds.
pub const HEAD_FIRST: usize = 4_500;
/// A first segment that is longer than this is cut: all bytes before the first sound are to be at most 60 kB.
const HEAD_CUT: u64 = 34_000;
/// What is kept for watching without a network is fetched and checked in pieces of about this.
pub const PIECE: u64 = 256 << 10;

/// A lecture's media as its page plays them. Addresses are relative to the page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MediaView {
    /// In Opus, fed in byte ranges. `None`: the lecture has no sound, or nobody knows its segments.
    pub voice: Option<VoiceView>,
    /// For browsers that take no byte ranges of Opus.
    pub native: Option<NativeView>,
    /// Multivariant playlist of the pictures alone.
    pub video: Option<String>,
    /// Lowest first.
    pub rungs: Vec<RungView>,
    pub slides: Vec<SlideView>,
    pub captions: Vec<CaptionsView>,
    /// `package.json`: the digests of all segments.
    pub package: Option<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VoiceView {
    pub uri: String,
    /// RFC 6381.
    pub codec: String,
    pub rate_hz: u32,
    pub bytes: u64,
    /// Where the first segment begins.
    pub first: u64,
    /// Bytes and ticks of each segment.
    pub segments: Vec<(u64, u64)>,
    /// The initialization section, then the first bytes from `first`.
    pub init: Vec<u8>,
    pub head: Vec<u8>,
}

/// The AAC voice: a playlist for browsers that play HLS by themselves, and the plain file.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeView {
    pub playlist: String,
    pub file: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RungView {
    pub name: String,
    pub height: u32,
    pub bytes: u64,
    pub average_bps: u64,
    pub peak_bps: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SlideView {
    pub uri: String,
    pub start_s: f64,
    pub bytes: u64,
    pub width: u32,
    pub height: u32,
    pub title: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CaptionsView {
    pub language: String,
    pub uri: String,
    pub bytes: u64,
}

/// The voice that the page feeds, and which of its bytes it needs to do so: from 0 to this.
pub fn head_of(package: &Package) -> Option<(&Voice, u64)> {
    let voice = package.voices.iter().find(|v| v.codec == "opus")?;
    let first = voice.segments.first()?;
    // A package's file is not trusted: more than this is no init section and no index.
    if first.offset > 1 << 20 || voice.init_bytes > first.offset {
        return None;
    }
    let mut head = first.bytes.min(HEAD_CUT);
    for s in &voice.segments[1..] {
        if head != first.bytes && head < first.bytes || head + s.bytes > HEAD_MOST {
            break;
        }
        head += s.bytes;
    }
    Some((voice, first.offset + head))
}

/// `start`: the bytes that [`head_of`] asked for, empty if it asked for none. `uri` gives a file's address, `None` if it is not
/// there.
pub fn of_package(package: &Package, start: &[u8], uri: &dyn Fn(&str) -> Option<String>) -> MediaView {
    let voice = head_of(package).and_then(|(v, end)| {
        let first = v.segments[0].offset;
        Some(VoiceView {
            uri: uri(&format!("a-{}.mp4", v.name))?,
            codec: v.codec.clone(),
            rate_hz: v.rate_hz,
            bytes: v.bytes,
            first,
            segments: v.segments.iter().map(|s| (s.bytes, s.duration)).collect(),
            init: start.get(..v.init_bytes as usize)?.to_vec(),
            head: start.get(first as usize..end as usize)?.to_vec(),
        })
    });
    let aac = package.voices.iter().find(|v| v.codec.starts_with("mp4a"));
    let size = |name: &str| package.files.get(name).map_or(0, |f| f.bytes);
    MediaView {
        voice,
        native: aac
            .and_then(|v| Some(NativeView { playlist: uri(&format!("a-{}.m3u8", v.name))?, file: uri(&format!("a-{}.mp4", v.name))? })),
        video: uri("video.m3u8"),
        rungs: package
            .rungs
            .iter()
            .map(|r| RungView { name: r.name.clone(), height: r.height, bytes: r.bytes, average_bps: r.average_bps, peak_bps: r.peak_bps })
            .collect(),
        slides: package
            .slides
            .iter()
            .filter_map(|s| {
                Some(SlideView {
                    uri: uri(&s.file)?,
                    start_s: s.start_s,
                    bytes: s.bytes,
                    width: s.width,
                    height: s.height,
                    title: s.title.clone(),
                })
            })
            .collect(),
        captions: package
            .captions
            .iter()
            .filter_map(|c| {
                let name = format!("c-{}.vtt", c.language);
                Some(CaptionsView { language: c.language.clone(), uri: uri(&name)?, bytes: size(&name) })
            })
            .collect(),
        package: uri("package.json").map(|u| (u, size("package.json"))),
    }
}

impl MediaView {
    /// Bytes of the cheapest way: the voice and every slide. `None` where there is no voice or no slide.
    pub fn slides_bytes(&self) -> Option<u64> {
        let voice = self.voice.as_ref().filter(|_| !self.slides.is_empty())?;
        Some(voice.bytes + self.slides.iter().map(|s| s.bytes).sum::<u64>())
    }

    /// Bytes that keeping the lecture takes: those, captions, and what says of all of them what they are.
    pub fn kept_bytes(&self) -> Option<u64> {
        let about = self.package.as_ref().map_or(0, |(_, bytes)| *bytes);
        Some(self.slides_bytes()? + about + self.captions.iter().map(|c| c.bytes).sum::<u64>())
    }

    /// What the loader reads: how to feed the voice. As JSON that may stand in a `<script>`. And what comes after that: the bytes that
    /// follow, in pieces that can be heard as they come, and where segments lie.
    pub fn voice_json(&self) -> (String, Vec<String>, Option<String>) {
        let Some(v) = &self.voice else {
            return (script_json(&json!({ "native": self.native.as_ref().map(|n| [&n.playlist, &n.file]) })), Vec::new(), None);
        };
        let (head, rest) = v.head.split_at(v.head.len().min(HEAD_FIRST));
        let (sizes, ticks): (Vec<u64>, Vec<u64>) = v.segments.iter().copied().unzip();
        let json = script_json(&json!({
            "uri": v.uri,
            "type": format!("audio/mp4; codecs=\"{}\"", v.codec),
            "hz": v.rate_hz,
            "first": v.first,
            "init": base64(&v.init),
            "head": base64(head),
            "native": self.native.as_ref().map(|n| [&n.playlist, &n.file]),
        }));
        (json, rest.chunks(HEAD_FIRST).map(base64).collect(), Some(script_json(&json!({ "sizes": sizes, "ticks": ticks }))))
    }

    /// What the rest of the page's script reads, besides what `about` holds.
    pub fn data_json(&self, mut about: Value, words: &Words) -> String {
        let slide = |s: &SlideView| {
            json!([(s.start_s * 1000.0).round() / 1000.0, s.uri, s.bytes, s.width, s.height, closed(s.title.as_deref().unwrap_or(""))])
        };
        let rung = |r: &RungView| json!([r.name, r.height, r.bytes, r.average_bps, r.peak_bps]);
        about["slides"] = self.slides.iter().map(slide).collect();
        about["captions"] = self.captions.iter().map(|c| json!([c.language, c.uri, c.bytes])).collect();
        about["video"] = json!(self.video);
        about["rungs"] = self.rungs.iter().map(rung).collect();
        about["package"] = json!(self.package);
        about["voiceBytes"] = json!(self.voice.as_ref().map_or(0, |v| v.bytes));
        about["piece"] = json!(PIECE);
        about["words"] = json!(words.page);
        about["decimal"] = json!(words.decimal);
        script_json(&about)
    }
}

/// JSON that cannot end the `<script>` that it stands in, nor begin a comment there.
pub fn script_json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace(['\u{2028}', '\u{2029}'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_page_stays_in_its_script() {
        let text = script_json(&json!({ "a": "</script><!--<script>&\u{2028}" }));
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["a"], "</script><!--<script>& ");
    }
}
