//! The slides of a package: `slides/NNNN.webp`, `slides.vtt`, and what `package.json` says of them. Pure.

use crate::legible;
use serde::{Deserialize, Serialize};

/// One slide and its still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slide {
    /// `slides/0001.webp`
    pub file: String,
    /// Seconds of the lecture.
    pub start_s: f64,
    pub end_s: f64,
    /// When a build added something; the still shows the slide complete.
    pub steps_s: Vec<f64>,
    /// As read by OCR; `None` where no title was found.
    pub title: Option<String>,
    /// All that was read, a line of the slide a line; may be empty.
    pub text: String,
    /// Of the still, pixels.
    pub width: u32,
    pub height: u32,
    pub bytes: u64,
    /// SSIMULACRA2 of the still against the recording's picture: all of it, and the worst figure without text in it.
    #[serde(default)]
    pub score: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figure_score: Option<f64>,
    /// Height of an x of the smallest text, in pixels of the still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_height_px: Option<f64>,
}

/// A place to go to, from a slide's title.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Chapter {
    pub start_s: f64,
    pub title: String,
}

/// `slides/0001.webp` for the first, which is 0.
pub fn file_name(index: usize) -> String {
    format!("slides/{:04}.webp", index + 1)
}

/// Slides of the same title in a row are one chapter, and OCR may read one letter otherwise; slides without a title belong to the
/// chapter before.
pub fn chapters(slides: &[Slide]) -> Vec<Chapter> {
    /// Share of letters in which readings of one title differ at most.
    const SAME: f64 = 0.15;
    let mut chapters: Vec<Chapter> = Vec::new();
    for slide in slides {
        let Some(title) = &slide.title else { continue };
        let same = |c: &Chapter| legible::error_rate(&c.title.to_lowercase(), &title.to_lowercase()) <= SAME;
        if !chapters.last().is_some_and(same) {
            chapters.push(Chapter { start_s: slide.start_s, title: title.clone() });
        }
    }
    chapters
}

/// `slides.vtt`: a WebVTT metadata track with one cue a slide; its first line is the picture's address, its second a JSON object
/// of `title` (or null), `text` and `steps_s`. `address` turns a package's file name into what the text is to say.
pub fn vtt(slides: &[Slide], address: impl Fn(&str) -> String) -> String {
    let mut out = String::from("WEBVTT\n");
    for slide in slides {
        let about = serde_json::json!({ "title": slide.title, "text": slide.text, "steps_s": slide.steps_s });
        // A cue must not hold an arrow (WebVTT 4.1), and JSON may escape any character.
        let about = about.to_string().replace('>', "\\u003e");
        out += &format!("\n{} --> {}\n{}\n{about}\n", clock(slide.start_s), clock(slide.end_s), address(&slide.file));
    }
    out
}

/// `hh:mm:ss.ttt`
fn clock(seconds: f64) -> String {
    let ms = (seconds.max(0.0) * 1000.0).round() as u64;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slide(index: usize, start_s: f64, title: Option<&str>) -> Slide {
        Slide {
            file: file_name(index),
            start_s,
            end_s: start_s + 10.0,
            steps_s: vec![start_s + 2.5],
            title: title.map(str::to_string),
            text: "a --> b\n\"c\"".into(),
            width: 640,
            height: 360,
            bytes: 1,
            score: Some(70.0),
            figure_score: None,
            x_height_px: None,
        }
    }

    #[test]
    fn a_title_in_a_row_is_one_chapter() {
        let titles = [None, Some("Suy hô hấp"), Some("SUY HÔ HẤP"), None, Some("Suy hô hâp"), Some("Điều trị"), Some("Suy hô hấp")];
        let slides: Vec<Slide> = titles.iter().enumerate().map(|(i, t)| slide(i, i as f64 * 10.0, *t)).collect();
        let found: Vec<_> = chapters(&slides).into_iter().map(|c| (c.start_s, c.title)).collect();
        assert_eq!(found, [(10.0, "Suy hô hấp".into()), (50.0, "Điều trị".into()), (60.0, "Suy hô hấp".to_string())]);
        assert!(chapters(&slides[..1]).is_empty());
    }

    #[test]
    fn the_track_has_a_cue_a_slide() {
        let text = vtt(&[slide(0, 0.0, None), slide(1, 3661.0, Some("T"))], |f| format!("../{f}"));
        let cues: Vec<&str> = text.split("\n\n").collect();
        assert_eq!(cues[0], "WEBVTT");
        assert_eq!(cues.len(), 3);
        let lines: Vec<&str> = cues[2].trim_end().split('\n').collect();
        assert_eq!(lines[..2], ["01:01:01.000 --> 01:01:11.000", "../slides/0002.webp"]);
        let about: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(about, serde_json::json!({ "title": "T", "text": "a --> b\n\"c\"", "steps_s": [3663.5] }));
        assert_eq!(lines.len(), 3);
        assert_eq!(text.matches("-->").count(), 2);
    }
}
