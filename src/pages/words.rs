//! The pages' own words, one JSON file a language in `player/words/`, and how lengths and sizes are written in each.
//! A language is added by a file: the same keys, and a line in [`BUILT_IN`].
//!
//! A page comes in the course's language. What it says in words of ours stands in elements that name their template in `data-w`, so that
//! `player/app/tongue.js` can say the same in the learner's: `{mode}` is a word, `{s40}` seconds, `{b9000000}` bytes, `{n3}` lectures,
//! `{1.5}` a number.

use super::html::escape;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The words of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub courses: String,
    lecture: String,
    lectures: String,
    pub play: String,
    pub watch: String,
    pub data: String,
    pub data_note: String,
    pub way: String,
    pub size: String,
    pub slides_way: String,
    pub video_way: String,
    pub lightest: String,
    pub medium: String,
    pub sharpest: String,
    pub files: String,
    pub whole: String,
    pub before: String,
    pub previous: String,
    pub next: String,
    pub licence: String,
    pub release: String,
    pub from: String,
    pub slides: String,
    pub captions: String,
    pub search: String,
    pub search_hint: String,
    pub offline: String,
    pub offline_module: String,
    pub mode: String,
    pub speed: String,
    pub save_data: String,
    pub save_data_hint: String,
    pub back: String,
    pub forward: String,
    pub previous_slide: String,
    pub next_slide: String,
    pub position: String,
    pub enlarge: String,
    pub open_page: String,
    pub broken: String,
    pub withdrawn: String,
    pub no_script: String,
    pub no_script_hls: String,
    pub player: String,
    hour: String,
    minute: String,
    second: String,
    pub decimal: String,
    /// What the page's script says, by the names that it knows.
    pub page: BTreeMap<String, String>,
    /// All but those, for templates.
    #[serde(skip)]
    all: BTreeMap<String, String>,
}

/// A new language's file goes here. The last is what a course in any other language gets.
const BUILT_IN: [(&str, &str); 2] =
    [("vi", include_str!("../../player/words/vi.json")), ("en", include_str!("../../player/words/en.json"))];

static WORDS: LazyLock<Vec<(&str, Words)>> = LazyLock::new(|| {
    let read = |text: &str| {
        let mut words: Words = serde_json::from_str(text)?;
        let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(text)?;
        words.all = all.into_iter().filter_map(|(name, word)| Some((name, word.as_str()?.to_string()))).collect();
        Ok::<_, serde_json::Error>(words)
    };
    BUILT_IN.iter().map(|(tag, text)| (*tag, read(text).expect("player/words is tested"))).collect()
});

/// Each built-in language with what the page's script asks for to speak it: the file without its blanks.
pub fn files() -> impl Iterator<Item = (&'static str, String)> {
    let packed = |text| serde_json::from_str::<serde_json::Value>(text).expect("player/words is tested").to_string();
    BUILT_IN.iter().map(move |(tag, text)| (*tag, packed(text)))
}

/// Templates of a length and of a price.
pub fn seconds(s: f64) -> String {
    format!("{{s{}}}", s.max(0.0).round() as u64)
}
pub fn bytes(b: u64) -> String {
    format!("{{b{b}}}")
}

impl Words {
    /// The language that these are in.
    pub fn tag(&self) -> &'static str {
        WORDS.iter().find(|(_, words)| std::ptr::eq(words, self)).map_or("", |(tag, _)| tag)
    }

    /// A template filled. What is in no braces stays.
    pub fn fill(&self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((text, (name, after))) = rest.split_once('{').and_then(|(text, rest)| Some((text, rest.split_once('}')?))) {
            out += text;
            out += &self.one(name);
            rest = after;
        }
        out + rest
    }

    fn one(&self, name: &str) -> String {
        let number = |n: &str| n.parse::<u64>().ok();
        let counted = match name.split_at_checked(1) {
            Some(("s", n)) => number(n).map(|n| self.length(n as f64)),
            Some(("b", n)) => number(n).map(|n| self.megabytes(n)),
            Some(("n", n)) => number(n).map(|n| self.lectures(n as usize)),
            _ => name.starts_with(|c: char| c.is_ascii_digit()).then(|| name.replace('.', &self.decimal)),
        };
        counted.or_else(|| self.all.get(name).or(self.page.get(name)).cloned()).unwrap_or_default()
    }

    /// An element that says what a template makes. `open` is its name with other attributes.
    pub fn tag_of(&self, open: &str, template: &str) -> String {
        let name = open.split(' ').next().unwrap_or_default();
        format!("<{open} data-w=\"{}\">{}</{name}>", escape(template), escape(&self.fill(template)))
    }

    /// Those of a BCP 47 tag's language (`vi-VN`: `vi`), English where there are none.
    pub fn of(language: &str) -> &'static Words {
        let primary = language.split('-').next().unwrap_or_default();
        let found = WORDS.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(primary));
        &found.unwrap_or(&WORDS[WORDS.len() - 1]).1
    }

    /// `1 lecture`, `12 lectures`.
    pub fn lectures(&self, count: usize) -> String {
        format!("{count}\u{a0}{}", if count == 1 { &self.lecture } else { &self.lectures })
    }

    /// `1 h 05 min`, `7 min`, `41 s`; minutes are rounded. A number and its unit stay on one line.
    pub fn length(&self, seconds: f64) -> String {
        if seconds < 99.5 {
            return format!("{:.0}\u{a0}{}", seconds.max(0.0), self.second);
        }
        let minutes = (seconds / 60.0).round() as u64;
        match (minutes / 60, minutes % 60) {
            (0, m) => format!("{m}\u{a0}{}", self.minute),
            (h, 0) => format!("{h}\u{a0}{}", self.hour),
            (h, m) => format!("{h}\u{a0}{} {m:02}\u{a0}{}", self.hour, self.minute),
        }
    }

    /// `0.4 MB`, `9.7 MB`, `120 MB`: rounded up, as a price; megabytes of a million, as data plans are sold.
    pub fn megabytes(&self, bytes: u64) -> String {
        let tenths = bytes.div_ceil(100_000);
        match tenths {
            0..100 => format!("{}{}{}\u{a0}MB", tenths / 10, self.decimal, tenths % 10),
            _ => format!("{}\u{a0}MB", bytes.div_ceil(1_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_tag_chooses_the_words() {
        for (tag, courses) in [("vi", "Các khóa học"), ("VI-vn", "Các khóa học"), ("en", "Courses"), ("via", "Courses"), ("", "Courses")]
        {
            assert_eq!(Words::of(tag).courses, courses, "{tag}");
        }
    }

    #[test]
    fn every_language_has_every_word() {
        let keys = |w: &Words| w.page.keys().cloned().collect::<Vec<_>>();
        for (tag, words) in WORDS.iter() {
            assert_eq!(keys(words), keys(&WORDS[0].1), "{tag}");
            assert_eq!(words.tag(), *tag);
            assert!(words.page.values().all(|w| !w.is_empty()), "{tag}");
        }
    }

    #[test]
    fn templates_hold_words_and_numbers() {
        let (en, vi) = (Words::of("en"), Words::of("vi"));
        assert_eq!(
            en.fill("{slides_way} · {b9030000}, {s3900}, {n2} {1.25}×").replace('\u{a0}', " "),
            "Voice and slides · 9.1 MB, 1 h 05 min, 2 lectures 1.25×"
        );
        assert_eq!(vi.fill("{1.25}× ({auto}) {}{no such} {open"), "1,25× (Video, tự chọn)  {open");
        // A word may begin as a number does.
        assert_eq!((en.fill("{speed}"), en.fill("{back}"), en.fill("{next}")), ("Speed".into(), "Back 10 seconds".into(), "Next".into()));
    }

    #[test]
    fn lengths_and_prices_read_well() {
        let (en, vi) = (Words::of("en"), Words::of("vi"));
        let length = |s| en.length(s).replace('\u{a0}', " ");
        assert_eq!(
            [length(41.4), length(99.6), length(420.0), length(3600.0), length(3900.0), length(-1.0)],
            ["41 s", "2 min", "7 min", "1 h", "1 h 05 min", "0 s"]
        );
        // Don't promise less than it costs.
        assert_eq!(en.megabytes(1), "0.1\u{a0}MB");
        assert_eq!(vi.megabytes(9_700_001), "9,8\u{a0}MB");
        assert_eq!(en.megabytes(9_950_000), "10\u{a0}MB");
        assert_eq!(en.megabytes(119_000_001), "120\u{a0}MB");
        assert_eq!((en.lectures(1), en.lectures(2)), ("1\u{a0}lecture".into(), "2\u{a0}lectures".into()));
        assert_eq!(en.megabytes(0), "0.0\u{a0}MB");
    }
}
