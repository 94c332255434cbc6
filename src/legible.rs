//! What was read of a picture: words with their boxes to a text, a title, the height of the smallest letters; and how much
//! of a text was misread. Pure: who reads is `encode::ocr`.

use crate::units::{Area, Size};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// One word that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    /// Pixels of the picture that was read.
    pub area: Area,
    /// 0 to 100, as the reader has it.
    pub confidence: f32,
    /// Words of one line have the same number; lines count in reading order.
    pub line: usize,
}

/// Below this a word is as often an ornament as a word. On real slides bullets, logos and faces read as words score 0 to 45,
/// words 60 and more.
pub const SURE: f32 = 50.0;

impl Word {
    /// Whether it is taken for a word: read with confidence, and with a letter or digit in it.
    pub fn sure(&self) -> bool {
        self.confidence >= SURE && self.text.chars().any(char::is_alphanumeric)
    }
}

/// One spelling of one text: NFC (Vietnamese comes composed and decomposed), white space folded to single blanks.
pub fn normal(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").nfc().collect()
}

/// The sure words line by line, normalised.
pub fn text(words: &[Word]) -> String {
    let lines: Vec<String> = lines(words).into_iter().map(|l| line_text(&l)).collect();
    lines.join("\n")
}

/// The same on one line, for search.
pub fn plain(words: &[Word]) -> String {
    normal(&text(words))
}

fn lines(words: &[Word]) -> Vec<Vec<&Word>> {
    let mut lines: Vec<Vec<&Word>> = Vec::new();
    for word in words.iter().filter(|w| w.sure()) {
        match lines.last_mut() {
            Some(line) if line[0].line == word.line => line.push(word),
            _ => lines.push(vec![word]),
        }
    }
    lines
}

fn line_text(line: &[&Word]) -> String {
    normal(&line.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" "))
}

/// Share of characters that were misread: edit distance (Levenshtein) by the length of `reference`, both normalised. A wrong or
/// lost diacritic is a wrong character. 0 where both are empty; more than 1 where much was read that is not there. Memory is
/// linear, time the product of the lengths.
pub fn error_rate(reference: &str, read: &str) -> f64 {
    let (reference, read): (Vec<char>, Vec<char>) = (normal(reference).chars().collect(), normal(read).chars().collect());
    if reference.is_empty() {
        return if read.is_empty() { 0.0 } else { 1.0 };
    }
    distance(&reference, &read) as f64 / reference.len() as f64
}

fn distance(a: &[char], b: &[char]) -> usize {
    // One row of the table: the distances of what was seen of `a` to every beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The largest type in the upper half of the picture: what a person would call the slide. Lines of nearly the same size that
/// follow it closely belong to it. `None` where nothing up there is larger than a footnote or a title.
pub fn title(words: &[Word], size: Size) -> Option<String> {
    const LONGEST: usize = 120;
    let lines: Vec<(f64, &Word, String)> = lines(words)
        .into_iter()
        .filter(|l| l[0].area.y < size.height / 2)
        .map(|l| (x_height_of(&l), l[0], line_text(&l)))
        .filter(|(_, _, text)| text.chars().filter(|c| c.is_alphabetic()).count() >= 2)
        .collect();
    let largest = lines.iter().map(|(x, ..)| *x).fold(0.0, f64::max);
    // The first of the large ones: a line a little larger further down is not the title.
    let first = lines.iter().position(|(x, ..)| *x >= 0.8 * largest)?;
    let mut title = lines[first].2.clone();
    let mut last = lines[first].1;
    for (x, word, text) in &lines[first + 1..] {
        let gap = word.area.y.saturating_sub(last.area.bottom()) as f64;
        let follows = *x >= 0.85 * lines[first].0 && word.area.y > last.area.y && gap < 1.5 * lines[first].0;
        if !follows || title.chars().count() + text.chars().count() >= LONGEST {
            break;
        }
        title = format!("{title} {text}");
        last = word;
    }
    let title = title.trim_matches(|c: char| !c.is_alphanumeric() && !"()[]\"'?!".contains(c));
    (!title.is_empty()).then(|| title.chars().take(LONGEST).collect())
}

/// Height of the smallest text in pixels, as the height of a lower-case x: of the letters, sorted by size, the one at 5 %, so that
/// a page number or a misread speck does not decide. `None` without text.
pub fn smallest_x_height(words: &[Word]) -> Option<f64> {
    let mut sizes: Vec<(f64, usize)> =
        lines(words).iter().map(|l| (x_height_of(l), l.iter().map(|w| w.text.chars().count()).sum())).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let letters: usize = sizes.iter().map(|(_, n)| n).sum();
    let mut seen = 0;
    sizes
        .into_iter()
        .find(|(_, n)| {
            seen += n;
            seen * 20 >= letters
        })
        .map(|(x, _)| x)
}

/// The middle one of a line's words.
fn x_height_of(line: &[&Word]) -> f64 {
    let mut heights: Vec<f64> = line.iter().map(|w| x_height(&w.text, w.area.height)).collect();
    heights.sort_by(f64::total_cmp);
    heights[heights.len() / 2]
}

/// A box holds what its letters need: "xem" is one x-height tall, "Ấp" is nearly two. Proportions of DejaVu, Arial and Times.
fn x_height(text: &str, height: u32) -> f64 {
    let (mut above, mut below): (f64, f64) = (0.0, 0.0);
    let mut capital = false;
    for c in text.nfd() {
        match c {
            // Dot below.
            '\u{323}' => below = below.max(0.3),
            c if is_combining_mark(c) => above = above.max(if capital { 0.8 } else { 0.5 }),
            c => {
                capital = c.is_uppercase();
                if c.is_uppercase() || c.is_numeric() || "bdfhiklt()[]{}|/!?\"'".contains(c) {
                    above = above.max(0.4);
                }
                if "gpqyjQ()[]{}|,;".contains(c) {
                    below = below.max(0.35);
                }
            }
        }
    }
    height as f64 / (1.0 + above + below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: Size = Size { width: 1280, height: 720 };

    fn word(text: &str, x: u32, y: u32, height: u32, line: usize) -> Word {
        Word { text: text.into(), area: Area { x, y, width: 20 * text.len() as u32, height }, confidence: 90.0, line }
    }

    #[test]
    fn a_lost_diacritic_is_a_misread_character() {
        assert_eq!(error_rate("Suy hô hấp cấp", "Suy hô hâp cấp"), 1.0 / 14.0);
        // Composed or decomposed, one blank or five: the same text.
        assert_eq!(error_rate("hô hấp", " ho\u{302}   ha\u{302}\u{301}p\n"), 0.0);
        assert_eq!(error_rate("", ""), 0.0);
        assert_eq!(error_rate("", "x"), 1.0);
        assert_eq!(error_rate("abc", ""), 1.0);
        assert_eq!(error_rate("kitten", "sitting"), 0.5);
    }

    proptest! {
        #[test]
        fn the_distance_is_one(a in "[aăâb ]{0,20}", b in "[aăâb ]{0,20}", c in "[aăâb ]{0,20}") {
            let d = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
            prop_assert_eq!(d(&a, &a), 0);
            prop_assert_eq!(d(&a, &b), d(&b, &a));
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
            prop_assert!(d(&a, &b) <= a.chars().count().max(b.chars().count()));
        }
        #[test]
        fn no_words_break_it(words in prop::collection::vec((".{0,6}", any::<u32>(), any::<u32>(), 0f32..100.0, 0usize..4), 0..9)) {
            let words: Vec<Word> = words
                .into_iter()
                .map(|(text, y, height, confidence, line)| Word { text, area: Area { x: 0, y, width: 1, height }, confidence, line })
                .collect();
            let (text, title, small) = (text(&words), title(&words, SIZE), smallest_x_height(&words));
            prop_assert!(small.is_none_or(f64::is_finite));
            prop_assert!(title.is_none_or(|t| t.chars().count() <= 240));
            prop_assert_eq!(normal(&text), plain(&words));
        }
    }

    #[test]
    fn the_title_is_the_largest_type_near_the_top() {
        let slide = [
            word("ĐHYD", 20, 5, 16, 0),
            word("Suy", 100, 60, 50, 1),
            word("hô", 200, 60, 50, 1),
            word("hấp", 300, 50, 76, 1),
            word("cấp", 100, 140, 70, 2),
            word("Định", 100, 300, 45, 3),
            word("nghĩa", 200, 300, 42, 3),
            word("HUGE", 100, 600, 90, 4),
        ];
        assert_eq!(title(&slide, SIZE).as_deref(), Some("Suy hô hấp cấp"));
        assert_eq!(text(&slide), "ĐHYD\nSuy hô hấp\ncấp\nĐịnh nghĩa\nHUGE");
        assert_eq!(plain(&slide), "ĐHYD Suy hô hấp cấp Định nghĩa HUGE");
        // Nothing but a page number, or nothing at all up there.
        assert_eq!(title(&[word("12", 10, 10, 20, 0)], SIZE), None);
        assert_eq!(title(&slide[7..], SIZE), None);
        assert_eq!(title(&[], SIZE), None);
    }

    #[test]
    fn specks_and_doubtful_words_are_no_text() {
        let doubtful = Word { confidence: 20.0, ..word("xyz", 0, 0, 9, 0) };
        assert_eq!(text(&[doubtful, word("—•", 0, 0, 9, 1)]), "");
    }

    #[test]
    fn the_smallest_text_is_measured_in_x_heights() {
        // 28 pixels: an x of 28, an "Ab" of 20, an "Agp" of 16.
        assert_eq!(smallest_x_height(&[word("xem", 0, 0, 28, 0)]), Some(28.0));
        assert_eq!(smallest_x_height(&[word("Ab", 0, 0, 28, 0)]), Some(20.0));
        assert_eq!(smallest_x_height(&[word("Agp", 0, 0, 28, 0)]), Some(16.0));
        // One small page number under a hundred letters is not it; a whole line of small print is.
        let body: Vec<Word> = (0..10).map(|i| word("xxxxxxxxxx", 0, 40 * i, 20, i as usize)).collect();
        let with = |w: Word| smallest_x_height(&[&body[..], &[w]].concat());
        assert_eq!(with(word("9", 0, 700, 7, 99)), Some(20.0));
        assert_eq!(with(word("xxxxxxxxxxxxxxx", 0, 700, 8, 99)), Some(8.0));
        assert_eq!(smallest_x_height(&[]), None);
    }
}
