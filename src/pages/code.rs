//! The script and style that pages share, made from the small files of `player/`: joined, without comments and blanks, scripts with
//! short names (`player/minify.sh`; a learner pays by the megabyte, a reader of the sources does not), named by digest or written
//! into the page.

use super::{Page, words};
use crate::store::Caching;
use crate::units::Digest;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The loader and the style stand in every page: a first visit is one request before the voice is heard.
static FIRST: LazyLock<String> = LazyLock::new(|| one_line(include_str!("../../player/min/first.js")));
static LOADER: LazyLock<String> = LazyLock::new(|| one_line(include_str!("../../player/min/loader.js")));
static STYLE: LazyLock<String> = LazyLock::new(|| squeeze(include_str!("../../player/page.css")));
static LECTURE_STYLE: LazyLock<String> = LazyLock::new(|| squeeze(include_str!("../../player/lecture.css")));

/// The rest, fetched after the first voice and the first slide.
static APP: LazyLock<String> = LazyLock::new(|| one_line(include_str!("../../player/min/app.js")));

/// The inline script before the voice's first bytes, as it stands in the page.
pub fn first() -> &'static str {
    &FIRST
}

/// The one behind them.
pub fn loader() -> &'static str {
    &LOADER
}

/// The inline style of every page, as it stands in it.
pub fn style() -> &'static str {
    &STYLE
}

/// What tells them that more of the page has come.
pub const COME: &str = "rivulet.come()";

/// What a lecture page has after that.
pub fn lecture_style() -> &'static str {
    &LECTURE_STYLE
}

/// Names of the words that the script says on a course page: what keeps lectures, what searches, what marks the list.
pub fn list_words() -> &'static BTreeSet<String> {
    static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let sources = [
            include_str!("../../player/app/tongue.js"),
            include_str!("../../player/app/keeping.js"),
            include_str!("../../player/app/search.js"),
            include_str!("../../player/app/lists.js"),
        ];
        said(&sources.concat())
    });
    &NAMES
}

/// Every `words.name` of a script.
fn said(source: &str) -> BTreeSet<String> {
    let name = |after: &str| after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    // A sentence may end in that word.
    source.split("words.").skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

/// What a page may load and run: its own origin's files, media through object URLs, and of inline script and style exactly
/// ours, by their digests: markup that slipped in could do nothing. In every page as `<meta>`, since a bucket sends no header.
pub fn csp() -> &'static str {
    static CSP: LazyLock<String> = LazyLock::new(|| {
        format!(
            "default-src 'self'; script-src 'self' 'sha256-{}' 'sha256-{}' 'sha256-{}'; style-src 'self' 'sha256-{}' 'sha256-{}'; {MEDIA}",
            sha256(first()),
            sha256(loader()),
            sha256(COME),
            sha256(style()),
            sha256(lecture_style())
        )
    });
    &CSP
}

const MEDIA: &str = "img-src 'self' data: blob:; media-src 'self' blob: data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'";

/// The same without the digests, for the header of a page that lies in a store: it may be from another version of this program
/// than the one that serves it, and its own `<meta>` names its own.
pub fn csp_of_any_version() -> String {
    format!("connect-src 'self'; font-src 'none'; {MEDIA}")
}

/// What all pages share, at the root of the store: `app-*.js` and `hls-*.js` named by digest, `sw.js`, whose name must stay, and the words of
/// each language, by digest too.
pub fn assets() -> Vec<Page> {
    let worker = one_line(include_str!("../../player/min/sw.js"));
    let hls: &[u8] = include_bytes!("../../player/vendor/hls.min.js");
    let script = |key: String, bytes: Vec<u8>, caching| Page { key, content_type: "text/javascript; charset=utf-8", bytes, caching };
    // 64 bits: nobody chooses these bytes to collide, and names stay short in every page.
    let digest = |bytes: &[u8]| Digest::of(bytes).to_string()[..16].to_string();
    let named = |stem: &str, bytes: Vec<u8>| script(format!("{stem}-{}.js", digest(&bytes)), bytes, Caching::Immutable);
    let words = words::files().map(|(tag, text)| {
        let key = format!("words-{tag}-{}.json", digest(text.as_bytes()));
        Page { key, content_type: "application/json", bytes: text.into_bytes(), caching: Caching::Immutable }
    });
    let mut all = vec![
        named("app", APP.clone().into_bytes()),
        named("hls", hls.to_vec()),
        script("sw.js".into(), worker.into_bytes(), Caching::Revalidate),
    ];
    all.extend(words);
    all
}

/// Without lines that are comments and without indentation. Sources keep comments on lines of their own and never begin
/// a line of text with `//` or `/*`.
fn strip(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut comment = false;
    for line in source.lines().map(str::trim) {
        comment |= line.starts_with("/*");
        if !comment && !line.is_empty() && !line.starts_with("//") {
            out.push_str(line);
            out.push('\n');
        }
        comment &= !line.ends_with("*/");
    }
    out
}

/// A script as it was made, without the line that says of what.
fn one_line(made: &str) -> String {
    made.split_once('\n').map_or(made, |(_, script)| script).trim_end().to_string()
}

/// A style sheet of ours without the blanks that only its readers need. It holds no text in quotes with any of these in it.
fn squeeze(source: &str) -> String {
    let lines = strip(source).lines().map(str::to_string).collect::<String>();
    let shorter = [(" {", "{"), ("{ ", "{"), (": ", ":"), ("; ", ";"), (", ", ","), (" > ", ">"), (" + ", "+"), (" }", "}"), (";}", "}")];
    shorter.iter().fold(lines, |text, (long, short)| text.replace(long, short))
}

/// As CSP writes a digest.
fn sha256(text: &str) -> String {
    let hex = Digest::of(text.as_bytes()).to_string();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(|i| u8::from_str_radix(&hex[i..i + 2], 16).ok()).collect();
    base64(&bytes)
}

/// RFC 4648, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, b| bits << 8 | *b as u32) << (8 * (3 - three.len()));
        for i in 0..4 {
            match i <= three.len() {
                true => out.push(LETTERS[(bits >> (18 - 6 * i)) as usize & 63] as char),
                false => out.push('='),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &[u8]) -> usize {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().len()
    }

    /// The bars of the learner's page: its own code and style at most 20 kB, the inline loader at most 4 kB, compressed.
    #[test]
    fn the_pages_own_code_is_small() {
        let app = &assets()[0];
        let (inline, style, rest) = (
            gzip(first().as_bytes()) + gzip(loader().as_bytes()),
            gzip(style().as_bytes()) + gzip(lecture_style().as_bytes()),
            gzip(&app.bytes),
        );
        println!("compressed: loader {inline}, style {style}, app {rest} bytes");
        assert!(inline <= 4_000, "{inline}");
        assert!(inline + style + rest <= 20_000, "{}", inline + style + rest);
    }

    const SOURCES: [&str; 10] = [
        include_str!("../../player/app/core.js"),
        include_str!("../../player/app/tongue.js"),
        include_str!("../../player/app/kept.js"),
        include_str!("../../player/app/keeping.js"),
        include_str!("../../player/app/slides.js"),
        include_str!("../../player/app/controls.js"),
        include_str!("../../player/app/video.js"),
        include_str!("../../player/app/captions.js"),
        include_str!("../../player/app/search.js"),
        include_str!("../../player/app/lists.js"),
    ];

    #[test]
    fn what_learners_are_sent_is_made_of_the_sources() {
        let made = [
            (include_str!("../../player/min/first.js"), include_str!("../../player/first.js").to_string()),
            (include_str!("../../player/min/loader.js"), include_str!("../../player/loader.js").to_string()),
            (include_str!("../../player/min/sw.js"), include_str!("../../player/sw.js").to_string()),
            (include_str!("../../player/min/app.js"), SOURCES.concat()),
        ];
        for (made, sources) in made {
            let line = made.lines().next().unwrap();
            assert!(line.ends_with(&Digest::of(sources.as_bytes()).to_string()), "run player/minify.sh: {line}");
        }
    }

    /// A word that the script asks for and no language has would be shown as "undefined".
    #[test]
    fn every_word_of_the_script_is_there() {
        let words = crate::pages::words::Words::of("vi");
        for name in said(&SOURCES.concat()) {
            assert!(words.page.contains_key(&name), "{name}");
        }
    }

    #[test]
    fn stripping_leaves_the_code() {
        assert_eq!(strip("/* a\n b */\n  // c\nlet x = 1; // d\n\n\ty(\"// e\");\n"), "let x = 1; // d\ny(\"// e\");\n");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let of = |s: &str| base64(s.as_bytes());
        assert_eq!([of(""), of("f"), of("fo"), of("foo"), of("foobar")], ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
        // The digest of nothing, as every CSP manual has it.
        assert_eq!(sha256(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
