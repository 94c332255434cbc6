//! What a name says about an object: its MIME type, whether it is text worth compressing, how long it may be kept.

use crate::store::Caching;

/// MIME type by name. Players refuse a playlist or captions under a wrong one, and browsers a script.
pub fn mime(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.rsplit_once('.').map_or("", |(_, ext)| ext) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "m3u8" => "application/vnd.apple.mpegurl",
        // A package's voice is a-<codec>.mp4; its video is video even where it holds sound.
        "mp4" if file.starts_with("a-") => "audio/mp4",
        "mp4" | "m4v" => "video/mp4",
        "m4a" => "audio/mp4",
        "m4s" => "video/iso.segment",
        "ts" => "video/mp2t",
        "webm" => "video/webm",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "vtt" => "text/vtt; charset=utf-8",
        "txt" | "md" | "toml" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "pdf" => "application/pdf",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

/// Text that gzip makes several times smaller; the rest is compressed already.
pub fn is_text(mime: &str) -> bool {
    mime.starts_with("text/") || matches!(mime, "application/json" | "application/vnd.apple.mpegurl" | "image/svg+xml")
}

/// Types that a browser runs as a document of this origin, so that the page's policy must bind them.
pub fn is_document(mime: &str) -> bool {
    mime.starts_with("text/html") || mime == "image/svg+xml"
}

/// Content-addressed names never change their bytes: blobs, and `app-<digest>.js` and the like.
pub fn caching(name: &str) -> Caching {
    let digested = |stem: &str| stem.rsplit_once('-').is_some_and(|(_, d)| d.len() >= 16 && d.bytes().all(|b| b.is_ascii_hexdigit()));
    match name.rsplit_once('.') {
        _ if name.starts_with("blobs/") => Caching::Immutable,
        Some((stem, "js" | "css")) if !stem.contains('/') && digested(stem) => Caching::Immutable,
        _ => Caching::Revalidate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn players_get_the_types_they_insist_on() {
        for (name, expected) in [
            ("master.m3u8", "application/vnd.apple.mpegurl"),
            ("v-720p.mp4", "video/mp4"),
            ("x/a-opus.mp4", "audio/mp4"),
            ("c-vi.vtt", "text/vtt; charset=utf-8"),
            ("slides/0001.webp", "image/webp"),
            ("README", "application/octet-stream"),
        ] {
            assert_eq!(mime(name), expected, "{name}");
        }
    }

    #[test]
    fn only_names_that_hold_a_digest_are_kept_for_ever() {
        for name in ["blobs/ab/abcdef.mp4", "app-0123456789abcdef.js", "hls-0123456789abcdef.js"] {
            assert_eq!(caching(name), Caching::Immutable, "{name}");
        }
        for name in ["index.html", "app-latest.js", "sw.js", "tim/a.html", "courses/tim/current.json", "tim/x-0123456789abcdef.js"] {
            assert_eq!(caching(name), Caching::Revalidate, "{name}");
        }
    }
}
