//! What a request asks for, decided without I/O: which object, which bytes of it, whether the client has it already,
//! and whether it takes gzip. RFC 9110 sections 12.5, 13 and 14.

use crate::store::Key;
use crate::uri::percent_decode;
use std::ops::Range;

/// The object that a URL path names.
#[derive(Debug, PartialEq)]
pub enum Target {
    /// A directory address (`/`, `/course/`) names its `index.html`.
    Object(Key),
    /// Not a name that any object can have: `..`, an empty part, a NUL, broken percent-encoding, a hidden file.
    Impossible,
}

/// Reads a URL path. Names that begin with a dot are never served: they are temporary files, or none of ours.
pub fn target(path: &str) -> Target {
    let Some(mut name) = percent_decode(path.strip_prefix('/').unwrap_or(path)) else { return Target::Impossible };
    if name.is_empty() || name.ends_with('/') {
        name.push_str("index.html");
    }
    if name.split('/').any(|part| part.starts_with('.')) {
        return Target::Impossible;
    }
    Key::new(name).map_or(Target::Impossible, Target::Object)
}

/// What a `Range` header asks of an object.
#[derive(Debug, PartialEq)]
pub enum Wanted {
    Whole,
    /// A 206 with these bytes; never empty.
    Part(Range<u64>),
    /// A 416.
    Unsatisfiable,
}

/// Reads a `Range` header against an object of `length` bytes. What is malformed, of another unit or several ranges at
/// once is ignored, as RFC 9110 section 14.2 allows: the answer is then the whole.
pub fn range(header: Option<&str>, length: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|h| h.trim().strip_prefix("bytes=")).and_then(|spec| spec.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Wanted::Whole;
    }
    // More digits than a u64 holds are still a legal number, past any object's end.
    let number = |s: &str| s.parse::<u64>().unwrap_or(u64::MAX);
    let part = match (first, last) {
        ("", suffix) => length.saturating_sub(number(suffix))..length,
        (from, "") => number(from)..length,
        (from, to) if number(from) > number(to) => return Wanted::Whole,
        (from, to) => number(from)..number(to).saturating_add(1).min(length),
    };
    if part.start >= part.end { Wanted::Unsatisfiable } else { Wanted::Part(part) }
}

/// Whether `If-None-Match` names one of our tags (weak comparison: a client's copy is as good as ours).
pub fn names_one_of(if_none_match: &str, ours: &[&str]) -> bool {
    let given = if_none_match.trim();
    given == "*" || given.split(',').any(|tag| ours.contains(&tag.trim().trim_start_matches("W/")))
}

/// Whether `Accept-Encoding` takes gzip: named (or `*`) and not with `q=0`.
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let mut star = false;
    for item in accept_encoding.unwrap_or("").split(',') {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let refused = parts.filter_map(|p| p.strip_prefix("q=")).any(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        match name {
            _ if name.eq_ignore_ascii_case("gzip") => return !refused,
            "*" => star = !refused,
            _ => {}
        }
    }
    star
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(name: &str) -> Target {
        Target::Object(Key::new(name).unwrap())
    }

    #[test]
    fn a_path_names_an_object_or_nothing() {
        assert_eq!(target("/"), object("index.html"));
        assert_eq!(target("/tim-mach/"), object("tim-mach/index.html"));
        assert_eq!(target("/tim-mach/b%C3%A0i%201.html"), object("tim-mach/bài 1.html"));
        // Don't allow a way out, however it is spelt ...
        for bad in [
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/..%2fx",
            "/a/%2E./x",
            "//etc/passwd",
            "/a//b",
            "/%00",
            "/a%5c..%5cb",
            "/%zz",
            "/%e",
            "/%ff",
        ] {
            assert_eq!(target(bad), Target::Impossible, "{bad}");
        }
        // ... nor hidden files ...
        assert_eq!(target("/.git/config"), Target::Impossible);
        // ... but do allow dots inside a name.
        assert_eq!(target("/a..b/v-720p.mp4"), object("a..b/v-720p.mp4"));
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), Wanted::Part(0..1)),
            (Some("bytes=10-19"), Wanted::Part(10..20)),
            (Some("bytes=90-"), Wanted::Part(90..100)),
            (Some("bytes=-7"), Wanted::Part(93..100)),
            (Some("bytes=-700"), Wanted::Part(0..100)),
            (Some("bytes=95-99999999999999999999999"), Wanted::Part(95..100)),
            (Some("bytes=100-"), Wanted::Unsatisfiable),
            (Some("bytes=99999999999999999999999-"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=9-3"), Wanted::Whole),
            (Some("bytes=0-1,5-6"), Wanted::Whole),
            (Some("bytes=-"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("seconds=0-1"), Wanted::Whole),
        ];
        for (header, wanted) in cases {
            assert_eq!(range(header, 100), wanted, "{header:?}");
        }
        assert_eq!(range(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_lies_inside_the_object(header in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}", length: u64) {
            if let Wanted::Part(part) = range(Some(&header), length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }

    #[test]
    fn tags_and_encodings_are_lists() {
        assert!(names_one_of("\"x\", W/\"a\"", &["\"a\""]) && names_one_of("*", &["\"a\""]));
        assert!(!names_one_of("\"ab\"", &["\"a\""]));
        assert!(accepts_gzip(Some("br, gzip;q=0.5")) && accepts_gzip(Some("*")) && accepts_gzip(Some("GZIP")));
        assert!(!accepts_gzip(Some("gzip;q=0, *")) && !accepts_gzip(Some("br")) && !accepts_gzip(None));
    }
}
