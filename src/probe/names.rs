//! Names: GStreamer's caps into the field's short codec names and into words for people. Pure.

use gstreamer as gst;
use gstreamer_pbutils as pbutils;

/// The short name of a codec: `h264`, `aac`, `pcm`, ... What has none keeps GStreamer's, without `x-`.
pub fn codec(caps: &gst::StructureRef) -> String {
    let number = |field: &str| caps.get::<i32>(field).unwrap_or(0);
    let name = caps.name().as_str();
    let short = match name {
        "video/x-h264" => "h264",
        "video/x-h265" => "hevc",
        "video/x-h266" | "video/x-gst-fourcc-vvc1" | "video/x-gst-fourcc-vvi1" => "vvc",
        "video/mpeg" => match number("mpegversion") {
            1 => "mpeg1",
            2 => "mpeg2",
            _ => "mpeg4",
        },
        "video/x-divx" | "video/x-xvid" => "mpeg4",
        "video/x-msmpeg" => match number("msmpegversion") {
            41 => "msmpeg4v1",
            42 => "msmpeg4v2",
            _ => "msmpeg4v3",
        },
        "video/x-h263" => "h263",
        "video/x-vp8" => "vp8",
        "video/x-vp9" => "vp9",
        "video/x-av1" => "av1",
        "image/jpeg" => "mjpeg",
        "image/png" => "png",
        "video/x-prores" => "prores",
        "video/x-dv" => "dv",
        "video/x-theora" => "theora",
        "video/x-wmv" => match (caps.get::<&str>("format").unwrap_or_default(), number("wmvversion")) {
            ("WVC1", _) => "vc1",
            (_, 1) => "wmv1",
            (_, 2) => "wmv2",
            _ => "wmv3",
        },
        "video/x-vp6" | "video/x-vp6-flash" | "video/x-vp6-alpha" => "vp6",
        "video/x-flash-video" => "flv1",
        "video/x-flash-screen" => "flashsv",
        "video/x-indeo" => return format!("indeo{}", number("indeoversion")),
        "video/x-raw" => "raw",
        "audio/mpeg" => match (number("mpegversion"), number("layer")) {
            (1, 1) => "mp1",
            (1, 2) => "mp2",
            (1, _) => "mp3",
            _ => "aac",
        },
        "audio/x-ac3" | "audio/ac3" => "ac3",
        "audio/x-eac3" => "eac3",
        "audio/x-dts" => "dts",
        "audio/x-opus" => "opus",
        "audio/x-vorbis" => "vorbis",
        "audio/x-flac" => "flac",
        "audio/x-alac" => "alac",
        "audio/x-raw" | "audio/x-private1-lpcm" => "pcm",
        "audio/AMR" => "amr-nb",
        "audio/AMR-WB" => "amr-wb",
        "audio/x-mulaw" => "mulaw",
        "audio/x-alaw" => "alaw",
        "audio/x-adpcm" => "adpcm",
        "audio/x-wma" => match number("wmaversion") {
            3 => "wmapro",
            4 => "wmalossless",
            _ => "wma",
        },
        "audio/x-wms" => "wmavoice",
        "audio/x-speex" => "speex",
        other => return other.rsplit('/').next().unwrap_or(other).trim_start_matches("x-").to_string(),
    };
    short.to_string()
}

/// What people call a container.
pub fn container(name: &str) -> &str {
    match name {
        "video/quicktime" | "audio/x-m4a" => "MP4 or QuickTime",
        "application/x-3gp" => "3GP",
        "video/x-matroska" | "audio/x-matroska" => "Matroska",
        "video/webm" | "audio/webm" => "WebM",
        "video/mpegts" => "MPEG transport stream",
        "video/mpeg" => "MPEG program stream",
        "video/x-msvideo" => "AVI",
        "video/x-ms-asf" => "Windows Media (ASF)",
        "video/x-flv" => "Flash video",
        "video/x-h264" => "raw H.264",
        "video/x-h265" => "raw HEVC",
        "application/ogg" | "audio/ogg" | "video/ogg" => "Ogg",
        "audio/x-wav" => "WAV",
        "audio/mpeg" => "MPEG audio",
        "application/mxf" => "MXF",
        other => other,
    }
}

/// `no decoder for H.266/VVC video (video/x-h266) is installed`.
pub fn missing_decoder(caps: &gst::CapsRef) -> String {
    let name = caps.structure(0).map_or("unknown", |s| s.name().as_str());
    let words = match caps.structure(0).map(codec).as_deref() {
        Some("vvc") => "H.266/VVC video".to_string(),
        _ => pbutils::pb_utils_get_codec_description(caps).to_string(),
    };
    format!("no decoder for {words} ({name}) is installed")
}

/// The container has all packet times, and they are the times of the pictures.
pub fn has_packet_times(container: &str) -> bool {
    matches!(container, "video/quicktime" | "application/x-3gp" | "audio/x-m4a" | "video/x-matroska" | "video/webm" | "video/x-flv")
}

/// The header's duration is a statement and not the demuxer's guess from the bit rate.
pub fn has_header_duration(container: &str) -> bool {
    has_packet_times(container)
        || matches!(container, "audio/x-matroska" | "audio/webm" | "video/x-msvideo" | "video/x-ms-asf" | "audio/x-wav" | "application/mxf")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(caps: &str) -> String {
        gst::init().unwrap();
        codec(caps.parse::<gst::Caps>().unwrap().structure(0).unwrap())
    }

    #[test]
    fn codecs_have_the_names_the_field_uses() {
        for (caps, short) in [
            ("video/x-h264", "h264"),
            ("video/x-h265", "hevc"),
            ("video/mpeg, mpegversion=1", "mpeg1"),
            ("video/mpeg, mpegversion=2", "mpeg2"),
            ("video/mpeg, mpegversion=4", "mpeg4"),
            ("video/x-wmv, wmvversion=3", "wmv3"),
            ("video/x-wmv, wmvversion=3, format=(string)WVC1", "vc1"),
            ("video/x-indeo, indeoversion=4", "indeo4"),
            ("image/jpeg", "mjpeg"),
            ("audio/mpeg, mpegversion=4", "aac"),
            ("audio/mpeg, mpegversion=1, layer=3", "mp3"),
            ("audio/mpeg, mpegversion=1, layer=2", "mp2"),
            ("audio/AMR", "amr-nb"),
            ("audio/x-raw", "pcm"),
            ("video/x-something-new", "something-new"),
        ] {
            assert_eq!(name(caps), short, "{caps}");
        }
    }

    #[test]
    fn a_missing_decoder_is_named_for_people_and_for_search_engines() {
        gst::init().unwrap();
        let caps = "video/x-gst-fourcc-vvc1".parse::<gst::Caps>().unwrap();
        assert_eq!(missing_decoder(&caps), "no decoder for H.266/VVC video (video/x-gst-fourcc-vvc1) is installed");
    }
}
