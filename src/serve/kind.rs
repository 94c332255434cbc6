//! What a MIME type and a name say about an object: whether it is text worth compressing, how long it may be kept.

use crate::store::Caching;

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
        Some((stem, "js" | "css" | "json")) if !stem.contains('/') && digested(stem) => Caching::Immutable,
        // What can be searched in a lecture, below its course.
        Some((stem, "json")) if digested(stem) && stem.split_once('/').is_some_and(|(_, file)| file.starts_with("search-")) => {
            Caching::Immutable
        }
        _ => Caching::Revalidate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_hold_a_digest_are_kept_for_ever() {
        for name in [
            "blobs/ab/abcdef.mp4",
            "app-0123456789abcdef.js",
            "hls-0123456789abcdef.js",
            "words-en-0123456789abcdef.json",
            "tim/search-0123456789abcdef.json",
        ] {
            assert_eq!(caching(name), Caching::Immutable, "{name}");
        }
        for name in [
            "index.html",
            "app-latest.js",
            "sw.js",
            "tim/search.json",
            "tim/a.html",
            "courses/tim/current.json",
            "tim/x-0123456789abcdef.js",
        ] {
            assert_eq!(caching(name), Caching::Revalidate, "{name}");
        }
    }
}
