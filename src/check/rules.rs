//! The table of all rules. Ids are stable: people write them into `package.json` as declared deviations and into their
//! own CI. One row is one rule; where it is tested is one `grep` for its id away.

use super::Level::{self, Must, Should};

/// One rule: what it asks and why.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Rule {
    pub id: &'static str,
    pub level: Level,
    /// One line: what is asked, and why.
    pub what: &'static str,
    /// Where it is written.
    pub source: &'static str,
}

/// The rule of an id; `None` where there is none.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.id == id)
}

const APPLE: &str = "Apple HLS Authoring Specification, 2025-06-26";
const RFC: &str = "RFC 8216bis (draft-pantos-hls-rfc8216bis-14)";
const OURS: &str = "Rivulet design";

const fn must(id: &'static str, source: &'static str, what: &'static str) -> Rule {
    Rule { id, level: Must, what, source }
}
const fn should(id: &'static str, source: &'static str, what: &'static str) -> Rule {
    Rule { id, level: Should, what, source }
}

/// Every rule that the checker can report, by source and number.
pub const RULES: &[Rule] = &[
    // --- RFC 8216bis: playlists as text
    must("rfc8216bis-4.1", RFC, "a playlist is UTF-8 without BOM or control characters, so that every client reads the same text"),
    must("rfc8216bis-4.1-mixed", RFC, "a playlist is a media or a multivariant playlist, not both: clients reject a mixture"),
    must(
        "rfc8216bis-4.2",
        RFC,
        "an attribute list (of EXT-X-MAP, EXT-X-MEDIA and the like) is NAME=value pairs in legal syntax, each name once",
    ),
    must("rfc8216bis-4.4.1.1", RFC, "the first line is #EXTM3U: clients tell playlists by it"),
    must("rfc8216bis-4.4.1.2", RFC, "EXT-X-VERSION appears at most once and is a number"),
    must("rfc8216bis-8", RFC, "EXT-X-VERSION is at least what the tags used need: an older client would misread the playlist"),
    must(
        "rfc8216bis-4.4.3",
        RFC,
        "a tag of a whole media playlist (EXT-X-TARGETDURATION, EXT-X-ENDLIST and the like) appears at most once: clients differ in which of two they obey",
    ),
    must(
        "rfc8216bis-4.4.3.1",
        RFC,
        "every EXTINF, rounded to the nearest integer, is at most EXT-X-TARGETDURATION: clients size buffers by it",
    ),
    must("rfc8216bis-4.4.3.1-missing", RFC, "a media playlist has EXT-X-TARGETDURATION"),
    must("rfc8216bis-4.4.3.4", RFC, "a VOD playlist ends with EXT-X-ENDLIST: without it clients reload it for ever and start near its end"),
    must("rfc8216bis-4.4.3.6", RFC, "I-frame playlists carry EXT-X-I-FRAMES-ONLY, and ordinary playlists do not"),
    must("rfc8216bis-4.4.4.1", RFC, "every segment has an EXTINF with a legal duration before its URI"),
    must("rfc8216bis-4.4.4.2", RFC, "EXT-X-BYTERANGE is n[@o]; without an offset the segment before is of the same resource"),
    must("rfc8216bis-4.4.4.2-outside", RFC, "EXT-X-BYTERANGE: ranges lie inside their resource"),
    must(
        "rfc8216bis-4.4.4.3",
        RFC,
        "EXT-X-DISCONTINUITY stands where EXT-X-MAP brings other tracks or formats: decoders are set up anew there",
    ),
    must("rfc8216bis-4.4.4.5", RFC, "EXT-X-MAP has a URI and, if any, a BYTERANGE of the form n[@o]"),
    must("rfc8216bis-4.4.6.1", RFC, "EXT-X-MEDIA has TYPE, GROUP-ID and NAME in legal combination (URI, INSTREAM-ID, AUTOSELECT, FORCED)"),
    must(
        "rfc8216bis-4.4.6.1.1",
        RFC,
        "EXT-X-MEDIA: in a group NAMEs are unique, one member at most is DEFAULT=YES, and all groups of a type have the same members",
    ),
    must("rfc8216bis-4.4.6.2", RFC, "EXT-X-STREAM-INF has BANDWIDTH and is followed by a URI line"),
    must(
        "rfc8216bis-4.4.6.2-group",
        RFC,
        "EXT-X-STREAM-INF: AUDIO, VIDEO, SUBTITLES and CLOSED-CAPTIONS name groups that exist; CLOSED-CAPTIONS=NONE on all or none",
    ),
    should(
        "rfc8216bis-4.4.6.2-frame-rate",
        RFC,
        "EXT-X-STREAM-INF: FRAME-RATE is the highest frame rate of the variant, three decimals: players choose by it",
    ),
    must("rfc8216bis-4.4.6.2-resolution", RFC, "EXT-X-STREAM-INF: RESOLUTION is the size at which the pictures are shown"),
    must("rfc8216bis-4.4.6.3", RFC, "EXT-X-I-FRAME-STREAM-INF has BANDWIDTH and URI"),
    // --- RFC 8216bis: media
    must(
        "rfc8216bis-3.1.2-init",
        RFC,
        "an fMP4 initialization section has ftyp (iso6 or later), a moov with mvex and tracks without samples",
    ),
    must("rfc8216bis-3.1.2-segment", RFC, "an fMP4 segment is whole moof+mdat pairs of its own track with tfdt in every traf"),
    must(
        "rfc8216bis-3.1.2-base",
        RFC,
        "fMP4 data is addressed relative to the moof (default-base-is-moof), so that a byte range plays alone",
    ),
    must("rfc8216bis-3.1.4", RFC, "a WebVTT segment starts with WEBVTT and its cues have legal times"),
    must("rfc8216bis-6.2.4-target", RFC, "all media playlists have the same EXT-X-TARGETDURATION, except subtitles and I-frames of VOD"),
    must("rfc8216bis-6.2.4-type", RFC, "if one media playlist has EXT-X-PLAYLIST-TYPE, all have the same"),
    must("rfc8216bis-unreadable", RFC, "everything that a playlist names can be fetched and parsed"),
    // --- Apple: video
    must("apple-1.1", APPLE, "video is H.264, HEVC, Dolby Vision or AV1"),
    must("apple-1.3", APPLE, "H.264 is at most High profile, level 5.2"),
    should("apple-1.3a", APPLE, "some H.264 variant is at most High profile, level 4.1: older devices decode no more"),
    should("apple-1.4", APPLE, "H.264 uses High profile in preference to Main or Baseline: fewer bits for the same picture"),
    should("apple-1.10", APPLE, "parameter sets are in the sample description (avc1, hvc1), not in the samples"),
    should("apple-1.11", APPLE, "the level is no higher than size, frame rate, references and rate need: a higher one shuts devices out"),
    should("apple-1.12", APPLE, "some variant is H.264, which everything plays"),
    should("apple-1.13", APPLE, "an IDR every 2 s, so that seeking is quick (on slides it costs 2.4 to 2.6 times the bits of 6 s)"),
    must("apple-1.14", APPLE, "pictures are progressive"),
    must("apple-1.19", APPLE, "at most 60 frames a second"),
    should("apple-1.21", APPLE, "all variants have one colour space: a switch must not change colours"),
    must("apple-1.26", APPLE, "VOD: the average of the segments is within 10 % of AVERAGE-BANDWIDTH"),
    must("apple-1.27", APPLE, "VOD: the measured peak is within 10 % of BANDWIDTH"),
    should("apple-1.30", APPLE, "VOD: the peak is at most 200 % of the average: players choose by the peak, learners pay the average"),
    should("apple-1.32b", APPLE, "the first listed variant, which players start with, is the one nearest 730 kbit/s in average"),
    should("apple-1.33", APPLE, "all variants have the same aspect ratio"),
    // --- Apple: audio
    should("apple-2.1", APPLE, "audio-only renditions are elementary streams or fMP4, not TS"),
    must("apple-2.3", APPLE, "stereo AAC is provided"),
    should("apple-2.4", APPLE, "no HE-AAC above 64 kbit/s"),
    must("apple-2.17", APPLE, "one audio stream in a segment"),
    should("apple-2.19", APPLE, "fMP4 audio carries its loudness in a `ludt` box, so that players can level lectures"),
    must("apple-2.23", APPLE, "the loudness value is the actual loudness"),
    must("apple-2.24", APPLE, "HE-AAC in fMP4 signals SBR explicitly"),
    // --- Apple: captions
    must("apple-4.7", APPLE, "every subtitle rendition has LANGUAGE"),
    must("apple-5.2", APPLE, "subtitles are WebVTT or IMSC1"),
    must("apple-5.3", APPLE, "every WebVTT segment has X-TIMESTAMP-MAP after its WEBVTT line: it ties cues to the media's clock"),
    must("apple-5.5", APPLE, "a subtitle playlist spans the whole content"),
    // --- Apple: trick play
    must("apple-6.1", APPLE, "I-frame playlists are provided, for scrubbing and fast forward"),
    should("apple-6.2", APPLE, "one I-frame rendition has one picture a second or more"),
    should("apple-6.5", APPLE, "an I-frame rendition's rate is about the variant's rate * fps / 8 (reported from twice that)"),
    should("apple-6.6", APPLE, "I-frame renditions of several rates"),
    must("apple-6.9", APPLE, "BANDWIDTH of an I-frame rendition is its measured peak, within 10 %"),
    must("apple-6.10", APPLE, "an fMP4 I-frame byte range holds the moof and the whole I-frame, an IDR"),
    // --- Apple: segments
    must("apple-7.3", APPLE, "tfdt is exactly the tfdt before plus its durations, in ticks: a tick off is an overlap or a gap"),
    must("apple-7.4", APPLE, "every video segment starts with an IDR, so that any rung can be switched to there"),
    should("apple-7.5", APPLE, "the target duration is 6 s"),
    must("apple-7.7", APPLE, "no segment lasts longer than the target duration by more than 0.5 s"),
    // --- Apple: playlists
    must("apple-8.1", APPLE, "sums of EXTINF are within one frame of the media's real durations: seeking goes by them"),
    must("apple-8.2", APPLE, "audio and video playlists have the same target duration"),
    must("apple-8.3", APPLE, "audio and video playlists have the same content duration"),
    must("apple-8.6", APPLE, "VOD playlists say EXT-X-PLAYLIST-TYPE:VOD"),
    must("apple-8.10", APPLE, "every EXT-X-MEDIA but VIDEO has LANGUAGE"),
    must("apple-8.14", APPLE, "discontinuities are at the same points in all renditions"),
    must("apple-8.18", APPLE, "media is served without redirects: each costs a round trip"),
    must("apple-8.20", APPLE, "fMP4 segments have an EXT-X-MAP"),
    should("apple-8.22", APPLE, "segment boundaries are the same in all renditions (audio: to one frame); AirPlay TVs need it"),
    // --- Apple: multivariant
    must("apple-9.1", APPLE, "CODECS on every variant, naming every format in it"),
    must("apple-9.1-codecs", APPLE, "CODECS is what the bitstream says: players refuse or choose by it before they load"),
    must("apple-9.2", APPLE, "RESOLUTION on every video variant"),
    should("apple-9.5", APPLE, "video and audio are separate streams: a rung switch then does not load the voice again"),
    must("apple-9.9", APPLE, "several video bit rates"),
    should("apple-9.10", APPLE, "two or more variants of the highest resolution"),
    should("apple-9.11", APPLE, "EXT-X-INDEPENDENT-SEGMENTS in the multivariant playlist"),
    must("apple-9.12", APPLE, "EXT-X-INDEPENDENT-SEGMENTS in all video playlists where the multivariant playlist lacks it"),
    must("apple-9.13", APPLE, "BANDWIDTH counts the peak of every rendition played together, the audio group included"),
    must("apple-9.14", APPLE, "AVERAGE-BANDWIDTH on every variant"),
    must("apple-9.15", APPLE, "FRAME-RATE on every video variant"),
    must("apple-9.16", APPLE, "VIDEO-RANGE on every video variant unless all are SDR"),
    should("apple-9.19", APPLE, "SCORE is on all variants or on none: otherwise it is ignored"),
    must("apple-9.20", APPLE, "no audio-only variant among video variants: tvOS forbids it, hls.js and Shaka drop it"),
    must("apple-9.21", APPLE, "for cellular delivery one variant has BANDWIDTH of at most 192 kbit/s"),
    // --- Apple: delivery
    must("apple-10.1", APPLE, "playlists are sent with Content-Encoding: gzip: a 1 h lecture's is 33 kB plain and 4 kB packed"),
    should("apple-10.4", APPLE, "MIME types: application/vnd.apple.mpegurl, video/mp4 or video/iso.segment, audio/mp4, text/vtt"),
    should("apple-12.1", APPLE, "delivery over TLS: what goes in the clear can be read and changed on the way"),
    // --- ISO: CMAF and timing
    should(
        "cmaf-7.2-brands",
        "ISO/IEC 23000-19 (CMAF), 7.2",
        "the ftyp names a CMAF brand (cmfc or cmf2): players may then trust its limits",
    ),
    must(
        "iso14496-12-8.6.6",
        "ISO/IEC 14496-12, 8.6.6",
        "an edit list is one plain edit at normal speed; what it cuts is encoder delay, under 0.25 s",
    ),
    should(
        "iso14496-12-priming",
        "ISO/IEC 14496-12, 8.6.6; Opus in ISOBMFF 4.3.2",
        "audio signals its encoder delay (edit list, Opus PreSkip equal to it): else voice and picture are apart",
    ),
    must("iso14496-12-8.16.3", "ISO/IEC 14496-12, 8.16.3", "a `sidx` names its fragments exactly, in bytes and ticks: a page seeks by it"),
    // --- Rivulet's own
    must("rivulet-package", OURS, "package.json parses and agrees with itself and with the playlists"),
    must("rivulet-files", OURS, "every file that package.json names is there, and no other"),
    must("rivulet-digest", OURS, "every file has the SHA-256 and the bytes of package.json"),
    must("rivulet-segment-digest", OURS, "every segment has the SHA-256 of package.json"),
    must("rivulet-segments", OURS, "offsets, bytes and durations of segments and I-frames in package.json are those of the playlists"),
    must("rivulet-boundaries", OURS, "video segments start at the boundaries of package.json, to the tick"),
    must("rivulet-rates", OURS, "peak and average rates in package.json are those of its own segments and I-frames"),
    must(
        "rivulet-slides",
        OURS,
        "slides follow each other within the lecture, and their stills and the poster decode in the size that is said",
    ),
    should("rivulet-bandwidth-1pct", OURS, "BANDWIDTH and AVERAGE-BANDWIDTH are within 1 % of measured (a must in a package of ours)"),
    must(
        "rivulet-parts",
        OURS,
        "floor.m3u8 has the lowest rung alone, video.m3u8 the rungs without sound, both with EXT-X-INDEPENDENT-SEGMENTS",
    ),
    must(
        "rivulet-floor-mp4",
        OURS,
        "floor.mp4 is the floor rung and the AAC voice, as long as the lecture, index in front: it streams, and plays on any phone",
    ),
    should("rivulet-floor-peak", OURS, "the floor of a slide lecture has a BANDWIDTH of at most 100 kbit/s: players choose by it"),
    must("rivulet-captions", OURS, "captions in package.json are those of the playlists and files"),
    should(
        "rivulet-hlsjs-order",
        OURS,
        "sorted by height, FRAME-RATE and average, BANDWIDTH rises and FRAME-RATE does not fall: hls.js cannot reach other rungs",
    ),
    should(
        "rivulet-sidx",
        OURS,
        "an audio file of byte ranges has one global sidx: without it Chromium's <audio> reads all before a sound",
    ),
    should("rivulet-stale-deviation", OURS, "a declared deviation still happens"),
    must("rivulet-range", "RFC 9110, 14.2", "the server honours Range: a client asks for one segment of a file, not for all of it"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_unique_and_every_rule_says_why_in_one_line() {
        for (i, rule) in RULES.iter().enumerate() {
            assert!(RULES[..i].iter().all(|r| r.id != rule.id), "{} is there twice", rule.id);
            assert!(rule.what.len() > 20 && !rule.what.contains('\n') && !rule.source.is_empty(), "{}", rule.id);
        }
    }
}
