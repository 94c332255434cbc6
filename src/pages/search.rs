//! What can be searched in a course: a small file a lecture (`<course>/search-<digest>.json`) with the text of its slides and
//! captions, and one list of them (`<course>/search.json`), which is also how a page learns what the course holds now.

use super::Page;
use crate::store::Caching;
use crate::units::Digest;
use serde_json::json;

/// The text of one lecture, in order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LectureText {
    /// Start in seconds, title, text.
    pub slides: Vec<(f64, String, String)>,
    /// Start in seconds, text.
    pub cues: Vec<(f64, String)>,
}

impl LectureText {
    /// `None` if there is nothing to search.
    pub fn page(&self, course: &str) -> Option<Page> {
        if self.slides.iter().all(|s| s.1.is_empty() && s.2.is_empty()) && self.cues.is_empty() {
            return None;
        }
        let bytes = json!({ "slides": self.slides, "cues": self.cues }).to_string().into_bytes();
        let key = format!("{course}/search-{}.json", &Digest::of(&bytes).to_string()[..16]);
        Some(Page { key, content_type: "application/json", bytes, caching: Caching::Immutable })
    }
}

/// One lecture in the list: id, title, name of its text (empty: none) and bytes.
pub fn list_page(course: &str, lectures: &[(String, String, Option<Page>)]) -> Page {
    let prefix = format!("{course}/");
    let row = |(id, title, text): &(String, String, Option<Page>)| {
        let (name, bytes) = text.as_ref().map_or(("", 0), |p| (p.key.strip_prefix(&prefix).unwrap_or_default(), p.bytes.len()));
        json!([id, title, name, bytes])
    };
    let bytes = json!({ "lectures": lectures.iter().map(row).collect::<Vec<_>>() }).to_string().into_bytes();
    Page { key: format!("{prefix}search.json"), content_type: "application/json", bytes, caching: Caching::Revalidate }
}

/// The cues of a WebVTT file that we wrote: no regions, no styles, no nested times.
pub fn cues(vtt: &str) -> Vec<(f64, String)> {
    let blocks = vtt.split("\n\n").filter_map(|block| {
        let mut lines = block.lines().skip_while(|l| !l.contains("-->"));
        let start = clock(lines.next()?.split("-->").next()?.trim())?;
        let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
        Some((start, plain(&text))).filter(|(_, text)| !text.is_empty())
    });
    blocks.collect()
}

/// `[hh:]mm:ss.ttt` in seconds.
fn clock(text: &str) -> Option<f64> {
    text.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
}

/// Without WebVTT's tags and entities.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut tag = false;
    for c in text.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => tag = false,
            c if !tag => out.push(c),
            _ => {}
        }
    }
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&lrm;", "").replace("&rlm;", "").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_are_read_as_words() {
        let vtt = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:00:01.500 --> 00:00:02.000\n<v Hà>Suy <i>hô hấp</i>\nđộ 2 &lt; 3\n\n1\n01:00:00.000 --> 01:00:01.000 line:0\nb\n\nNOTE x\n";
        assert_eq!(cues(vtt), [(1.5, "Suy hô hấp độ 2 < 3".to_string()), (3600.0, "b".into())]);
    }

    #[test]
    fn the_list_names_texts_by_their_digest() {
        let text = LectureText { slides: vec![(0.0, "T".into(), String::new())], cues: Vec::new() }.page("c").unwrap();
        assert_eq!(text.caching, Caching::Immutable);
        let list =
            list_page("c", &[("a".into(), "A".into(), Some(text.clone())), ("b".into(), "B".into(), LectureText::default().page("c"))]);
        let said: serde_json::Value = serde_json::from_slice(&list.bytes).unwrap();
        assert_eq!(said["lectures"][0][2], text.key.strip_prefix("c/").unwrap());
        assert_eq!(said["lectures"][1], json!(["b", "B", "", 0]));
    }
}
