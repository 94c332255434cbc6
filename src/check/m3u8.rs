//! A tolerant playlist parser: everything that can be understood is, and every fault is kept as a [`Problem`] with its
//! rule. Strict parsers stop at the first fault, which is no use to a person who wants all of them.

use std::collections::BTreeSet;

/// A fault of the text itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    pub rule: &'static str,
    pub message: String,
}

/// What a playlist turned out to be.
#[derive(Debug, Clone)]
pub enum Body {
    Media(Media),
    Multivariant(Multivariant),
}

/// A parsed playlist of either kind.
#[derive(Debug, Clone)]
pub struct Playlist {
    pub body: Body,
    /// EXT-X-VERSION; 1 where absent.
    pub version: u32,
    pub independent: bool,
    pub problems: Vec<Problem>,
}

/// Bytes `offset..offset+length` of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    pub offset: u64,
    pub length: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Media {
    pub target_duration_s: Option<u64>,
    pub playlist_type: Option<String>,
    pub endlist: bool,
    pub iframes_only: bool,
    pub maps: Vec<Map>,
    pub segments: Vec<Segment>,
}

/// EXT-X-MAP.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    pub uri: String,
    pub range: Option<Range>,
}

#[derive(Debug, Clone)]
pub struct Segment {
    pub line: usize,
    pub uri: String,
    /// EXTINF, seconds; 0 where it is missing.
    pub duration_s: f64,
    pub range: Option<Range>,
    /// Index into [`Media::maps`].
    pub map: Option<usize>,
    pub discontinuity: bool,
    /// Under an EXT-X-KEY other than NONE.
    pub encrypted: bool,
    pub gap: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Multivariant {
    pub variants: Vec<Variant>,
    /// EXT-X-I-FRAME-STREAM-INF.
    pub iframes: Vec<Variant>,
    /// EXT-X-MEDIA.
    pub renditions: Vec<Rendition>,
}

/// EXT-X-STREAM-INF or EXT-X-I-FRAME-STREAM-INF.
#[derive(Debug, Clone)]
pub struct Variant {
    pub line: usize,
    pub uri: String,
    pub attributes: Attributes,
}

/// EXT-X-MEDIA.
#[derive(Debug, Clone)]
pub struct Rendition {
    pub line: usize,
    pub attributes: Attributes,
}

/// An attribute list in the order written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Vec<(String, String, bool)>);

impl Attributes {
    /// The value without its quotes.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, ..)| n == name).map(|(_, v, _)| v.as_str())
    }
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(|v| v.parse().ok())
    }
    /// RESOLUTION, width and height.
    pub fn resolution(&self) -> Option<(u32, u32)> {
        let (w, h) = self.get("RESOLUTION")?.split_once('x')?;
        Some((w.parse().ok()?, h.parse().ok()?))
    }
    pub fn codecs(&self) -> Vec<&str> {
        self.get("CODECS").map(|c| c.split(',').map(str::trim).filter(|c| !c.is_empty()).collect()).unwrap_or_default()
    }
    fn quoted(&self, name: &str) -> Option<bool> {
        self.0.iter().find(|(n, ..)| n == name).map(|(.., q)| *q)
    }

    /// Reads NAME=value[,NAME=value]; the faults come beside what could be read.
    fn parse(text: &str) -> (Attributes, Vec<String>) {
        let (mut list, mut faults) = (Vec::<(String, String, bool)>::new(), Vec::new());
        let mut rest = text;
        while !rest.is_empty() {
            let Some((name, after)) = rest.split_once('=') else {
                faults.push(format!("\"{rest}\" has no \"=\""));
                break;
            };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-') {
                faults.push(format!("\"{name}\" is not an attribute name"));
            }
            let (value, quoted, next) = match after.strip_prefix('"') {
                Some(inner) => match inner.split_once('"') {
                    Some((value, next)) => (value, true, next),
                    None => {
                        faults.push(format!("the value of {name} has no closing quote"));
                        (inner, true, "")
                    }
                },
                None => {
                    let end = after.find(',').unwrap_or(after.len());
                    if after[..end].is_empty() || after[..end].contains([' ', '\t']) {
                        faults.push(format!("the value of {name} is empty or has blanks"));
                    }
                    (&after[..end], false, &after[end..])
                }
            };
            if list.iter().any(|(n, ..)| n == name) {
                faults.push(format!("{name} is there twice"));
            }
            list.push((name.to_string(), value.to_string(), quoted));
            rest = match next.strip_prefix(',') {
                Some("") => {
                    faults.push("a comma ends the list".into());
                    ""
                }
                Some(more) => more,
                None if next.is_empty() => "",
                None => {
                    faults.push(format!("\"{next}\" follows a value"));
                    ""
                }
            };
        }
        (Attributes(list), faults)
    }
}

/// `n[@o]`.
fn byte_range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.split_once('@') {
        Some((n, o)) => Some((n.trim().parse().ok()?, Some(o.trim().parse().ok()?))),
        None => Some((text.trim().parse().ok()?, None)),
    }
}

/// Attributes whose value is a quoted string, wherever they appear.
const QUOTED: [&str; 16] = [
    "URI",
    "GROUP-ID",
    "LANGUAGE",
    "ASSOC-LANGUAGE",
    "NAME",
    "INSTREAM-ID",
    "CHARACTERISTICS",
    "CHANNELS",
    "CODECS",
    "AUDIO",
    "VIDEO",
    "SUBTITLES",
    "SUPPLEMENTAL-CODECS",
    "STABLE-VARIANT-ID",
    "STABLE-RENDITION-ID",
    "BYTERANGE",
];
const NUMBERS: [&str; 4] = ["BANDWIDTH", "AVERAGE-BANDWIDTH", "FRAME-RATE", "SCORE"];

/// Tags of one media playlist as a whole, at most once each.
const ONCE: [&str; 6] = [
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
];

struct Parser {
    problems: Vec<Problem>,
    line: usize,
}

impl Parser {
    fn fault(&mut self, rule: &'static str, message: impl Into<String>) {
        self.problems.push(Problem { line: self.line, rule, message: message.into() });
    }

    fn attributes(&mut self, tag: &str, text: &str) -> Attributes {
        let (attributes, faults) = Attributes::parse(text);
        for fault in faults {
            self.fault("rfc8216bis-4.2", format!("{tag}: {fault}"));
        }
        for name in QUOTED {
            if attributes.quoted(name) == Some(false) {
                self.fault("rfc8216bis-4.2", format!("{tag}: the value of {name} must be in quotes"));
            }
        }
        for name in NUMBERS {
            let bad = attributes.get(name).is_some_and(|v| v.parse::<f64>().is_err() || attributes.quoted(name) == Some(true));
            if bad {
                self.fault("rfc8216bis-4.2", format!("{tag}: {name} is not a number"));
            }
        }
        if attributes.get("RESOLUTION").is_some() && attributes.resolution().is_none() {
            self.fault("rfc8216bis-4.2", format!("{tag}: RESOLUTION is not WIDTHxHEIGHT"));
        }
        attributes
    }
}

/// Whether bytes look like a playlist at all: what is not even this is bad input, not a broken playlist.
pub fn looks_like(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = &text[..text.len().min(4096)];
    head.windows(7).any(|w| w == b"#EXTM3U") || head.windows(7).any(|w| w == b"#EXT-X-")
}

/// Reads a playlist of either kind. Never fails: the worst text is a media playlist without segments and many problems.
pub fn parse(bytes: &[u8]) -> Playlist {
    let mut p = Parser { problems: Vec::new(), line: 1 };
    let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => {
            p.fault("rfc8216bis-4.1", "the text starts with a byte order mark");
            rest
        }
        None => bytes,
    };
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        p.fault("rfc8216bis-4.1", "the text is not UTF-8");
    }
    if text.lines().next().map(str::trim_end) != Some("#EXTM3U") {
        p.fault("rfc8216bis-4.4.1.1", "the first line is not #EXTM3U");
    }
    let mut version = None;
    let mut independent = false;
    let (mut media, mut multi) = (Media::default(), Multivariant::default());
    let (mut media_tag, mut multi_tag) = (None::<String>, None::<String>);
    let mut seen = BTreeSet::new();
    // What applies to the next URI line.
    let (mut extinf, mut range_text, mut discontinuity, mut gap) = (None::<f64>, None::<(u64, Option<u64>)>, false, false);
    let (mut map, mut encrypted, mut stream) = (None, false, None::<(usize, Attributes)>);
    let (mut needs, mut why) = (1, "");
    let mut need = |v: u32, reason: &'static str| {
        if v > needs {
            (needs, why) = (v, reason);
        }
    };

    for (i, raw) in text.lines().enumerate() {
        p.line = i + 1;
        let line = raw.strip_suffix('\r').unwrap_or(raw);
        if line.chars().any(|c| c.is_control() && c != '\t') {
            p.fault("rfc8216bis-4.1", "the line has a control character");
        }
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        let Some(comment) = line.strip_prefix('#') else {
            // A URI.
            if let Some((at, attributes)) = stream.take() {
                multi.variants.push(Variant { line: at, uri: line.to_string(), attributes });
                continue;
            }
            if extinf.is_none() {
                p.fault("rfc8216bis-4.4.4.1", format!("{line} has no EXTINF"));
            }
            let range = range_text.take().and_then(|(length, offset)| {
                let before = media.segments.last().filter(|s: &&Segment| s.uri == line).and_then(|s| s.range);
                match (offset, before) {
                    (Some(offset), _) => Some(Range { offset, length }),
                    (None, Some(before)) => Some(Range { offset: before.offset.saturating_add(before.length), length }),
                    (None, None) => {
                        p.fault(
                            "rfc8216bis-4.4.4.2",
                            "EXT-X-BYTERANGE without an offset, and the segment before is not a range of the same resource",
                        );
                        None
                    }
                }
            });
            media.segments.push(Segment {
                line: p.line,
                uri: line.to_string(),
                duration_s: extinf.take().unwrap_or(0.0),
                range,
                map,
                discontinuity: std::mem::take(&mut discontinuity),
                encrypted,
                gap: std::mem::take(&mut gap),
            });
            continue;
        };
        if !comment.starts_with("EXT") {
            continue;
        }
        if stream.is_some() {
            p.fault("rfc8216bis-4.4.6.2", "EXT-X-STREAM-INF is not followed by its URI line");
            stream = None;
        }
        let (tag, value) = comment.split_once(':').unwrap_or((comment, ""));
        match tag {
            "EXTINF"
            | "EXT-X-BYTERANGE"
            | "EXT-X-DISCONTINUITY"
            | "EXT-X-KEY"
            | "EXT-X-MAP"
            | "EXT-X-PROGRAM-DATE-TIME"
            | "EXT-X-GAP"
            | "EXT-X-BITRATE" => drop(media_tag.get_or_insert(tag.to_string())),
            "EXT-X-MEDIA"
            | "EXT-X-STREAM-INF"
            | "EXT-X-I-FRAME-STREAM-INF"
            | "EXT-X-SESSION-DATA"
            | "EXT-X-SESSION-KEY"
            | "EXT-X-CONTENT-STEERING" => drop(multi_tag.get_or_insert(tag.to_string())),
            _ if ONCE.contains(&tag) => {
                media_tag.get_or_insert(tag.to_string());
                if !seen.insert(tag.to_string()) {
                    p.fault("rfc8216bis-4.4.3", format!("{tag} is there twice"));
                }
            }
            _ => {}
        }
        match tag {
            "EXT-X-VERSION" => match value.parse::<u32>() {
                _ if version.is_some() => p.fault("rfc8216bis-4.4.1.2", "EXT-X-VERSION is there twice"),
                Ok(v) => version = Some(v),
                Err(_) => p.fault("rfc8216bis-4.4.1.2", format!("EXT-X-VERSION is \"{value}\"")),
            },
            "EXT-X-INDEPENDENT-SEGMENTS" => independent = true,
            "EXT-X-TARGETDURATION" => {
                media.target_duration_s = value.parse().ok();
                if media.target_duration_s.is_none() {
                    p.fault("rfc8216bis-4.4.3.1-missing", format!("EXT-X-TARGETDURATION is \"{value}\", not a whole number of seconds"));
                }
            }
            "EXT-X-ENDLIST" => media.endlist = true,
            "EXT-X-PLAYLIST-TYPE" => media.playlist_type = Some(value.to_string()),
            "EXT-X-I-FRAMES-ONLY" => {
                media.iframes_only = true;
                need(4, "EXT-X-I-FRAMES-ONLY");
            }
            "EXTINF" => {
                let number = value.split(',').next().unwrap_or("").trim();
                if number.contains('.') {
                    need(3, "decimals in EXTINF");
                }
                match number.parse::<f64>() {
                    Ok(s) if s.is_finite() && s >= 0.0 => {
                        if extinf.replace(s).is_some() {
                            p.fault("rfc8216bis-4.4.4.1", "EXTINF without a URI line before the next EXTINF");
                        }
                        if !value.contains(',') {
                            p.fault("rfc8216bis-4.4.4.1", "EXTINF has no comma after its duration");
                        }
                    }
                    _ => {
                        p.fault("rfc8216bis-4.4.4.1", format!("EXTINF \"{value}\" is not a duration"));
                        extinf = Some(0.0);
                    }
                }
            }
            "EXT-X-BYTERANGE" => {
                need(4, "EXT-X-BYTERANGE");
                range_text = byte_range(value);
                if range_text.is_none() {
                    p.fault("rfc8216bis-4.4.4.2", format!("EXT-X-BYTERANGE is \"{value}\""));
                }
            }
            "EXT-X-DISCONTINUITY" => discontinuity = true,
            "EXT-X-GAP" => gap = true,
            "EXT-X-KEY" => {
                let attributes = p.attributes(tag, value);
                encrypted = attributes.get("METHOD") != Some("NONE");
            }
            "EXT-X-MAP" => {
                let attributes = p.attributes(tag, value);
                let range = match attributes.get("BYTERANGE").map(byte_range) {
                    None => None,
                    Some(Some((length, offset))) => Some(Range { offset: offset.unwrap_or(0), length }),
                    Some(None) => {
                        p.fault("rfc8216bis-4.4.4.5", "the BYTERANGE of EXT-X-MAP is not n[@o]");
                        None
                    }
                };
                match attributes.get("URI") {
                    Some(uri) => {
                        media.maps.push(Map { uri: uri.to_string(), range });
                        map = Some(media.maps.len() - 1);
                    }
                    None => p.fault("rfc8216bis-4.4.4.5", "EXT-X-MAP has no URI"),
                }
            }
            "EXT-X-STREAM-INF" => stream = Some((p.line, p.attributes(tag, value))),
            "EXT-X-I-FRAME-STREAM-INF" => {
                let attributes = p.attributes(tag, value);
                match attributes.get("URI").map(str::to_string) {
                    Some(uri) => multi.iframes.push(Variant { line: p.line, uri, attributes }),
                    None => p.fault("rfc8216bis-4.4.6.3", "EXT-X-I-FRAME-STREAM-INF has no URI"),
                }
            }
            "EXT-X-MEDIA" => {
                let attributes = p.attributes(tag, value);
                multi.renditions.push(Rendition { line: p.line, attributes });
            }
            _ => {}
        }
    }
    if stream.is_some() {
        p.fault("rfc8216bis-4.4.6.2", "EXT-X-STREAM-INF is not followed by its URI line");
    }
    if extinf.is_some() {
        p.fault("rfc8216bis-4.4.4.1", "the last EXTINF has no URI line");
    }
    if !media.maps.is_empty() {
        if media.iframes_only { need(5, "EXT-X-MAP in an I-frame playlist") } else { need(6, "EXT-X-MAP") }
    }
    p.line = 1;
    if let (Some(a), Some(b)) = (&media_tag, &multi_tag) {
        p.fault("rfc8216bis-4.1-mixed", format!("the playlist has {a} of media playlists and {b} of multivariant playlists"));
    }
    if version.unwrap_or(1) < needs {
        let said = version.map_or("absent (so 1)".to_string(), |v| v.to_string());
        p.fault("rfc8216bis-8", format!("EXT-X-VERSION is {said}; {why} needs {needs}"));
    }
    let body = if multi_tag.is_some() { Body::Multivariant(multi) } else { Body::Media(media) };
    Playlist { body, version: version.unwrap_or(1), independent, problems: p.problems }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn media(text: &str) -> (Media, Vec<&'static str>) {
        let playlist = parse(text.as_bytes());
        let rules = playlist.problems.iter().map(|p| p.rule).collect();
        match playlist.body {
            Body::Media(m) => (m, rules),
            Body::Multivariant(_) => panic!("a media playlist"),
        }
    }

    #[test]
    fn byte_ranges_without_an_offset_follow_the_one_before() {
        let (m, rules) = media(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-MAP:URI=\"a.mp4\",BYTERANGE=\"10@0\"\n\
             #EXTINF:6.0,\n#EXT-X-BYTERANGE:100@10\na.mp4\n#EXTINF:5,\n#EXT-X-BYTERANGE:50\na.mp4\n#EXT-X-ENDLIST\n",
        );
        assert_eq!(rules, [""; 0]);
        assert_eq!(m.segments[1].range, Some(Range { offset: 110, length: 50 }));
        assert_eq!((m.maps[0].range, m.endlist), (Some(Range { offset: 0, length: 10 }), true));
    }

    #[test]
    fn a_range_without_offset_after_another_resource_is_a_fault() {
        let (_, rules) = media("#EXTM3U\n#EXT-X-VERSION:4\n#EXTINF:6,\n#EXT-X-BYTERANGE:9@0\na\n#EXTINF:6,\n#EXT-X-BYTERANGE:9\nb\n");
        assert_eq!(rules, ["rfc8216bis-4.4.4.2"]);
    }

    #[test]
    fn commas_inside_quotes_do_not_part_attributes() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f,opus\",RESOLUTION=640x360\nv\n";
        let Body::Multivariant(m) = parse(text.as_bytes()).body else { panic!() };
        assert_eq!(m.variants[0].attributes.codecs(), ["avc1.64001f", "opus"]);
        assert_eq!(m.variants[0].attributes.resolution(), Some((640, 360)));
    }

    #[test]
    fn faults_of_text_have_their_rules() {
        for (text, rule) in [
            ("\u{feff}#EXTM3U\n", "rfc8216bis-4.1"),
            ("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-VERSION:3\n", "rfc8216bis-4.4.1.2"),
            ("#EXT-X-VERSION:3\n", "rfc8216bis-4.4.1.1"),
            ("#EXTM3U\n#EXTINF:2.5,\na\n", "rfc8216bis-8"),
            ("#EXTM3U\na\n", "rfc8216bis-4.4.4.1"),
            ("#EXTM3U\n#EXT-X-ENDLIST\n#EXT-X-ENDLIST\n", "rfc8216bis-4.4.3"),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv\n", "rfc8216bis-4.1-mixed"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "rfc8216bis-4.4.6.2"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\nv\n", "rfc8216bis-4.2"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=avc1\nv\n", "rfc8216bis-4.2"),
        ] {
            let rules: Vec<_> = parse(text.as_bytes()).problems.iter().map(|p| p.rule).collect();
            assert_eq!(rules, [rule], "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(#EXT(INF:|-X-(BYTERANGE|MAP|KEY|STREAM-INF|MEDIA|VERSION):)?[-A-Z=\",@0-9.]{0,12}\r?\n|[a-z]{0,3}\n){0,20}") {
            parse(text.as_bytes());
        }
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}
