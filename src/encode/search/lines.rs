//! Lines of text by which a coded slide is judged: each is read where the source has it, and alone. Pure: who reads is `encode::ocr`.

use crate::legible::{self, Word};
use crate::units::{Area, Size};

/// What Tesseract is less sure of is not what is written, as often as not: `a1.input()` came out as `al.inputQ` at 52.
const SURE: f32 = 70.0;
/// Fewer letters and digits are no more than a label or an icon.
const FEWEST: usize = 3;
/// A gap wider than so many heights of its words ends a line: menus and tables are read word by word.
const GAP: f64 = 2.0;
/// Lines of a slide that are read, evenly from all over it: each costs 20 to 100 ms of CPU every time.
const MOST: usize = 10;
/// Around what is read, pixels.
const MARGIN: u32 = 6;

/// A line of text, or a part of one, at its place in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub area: Area,
    pub text: String,
    /// The share of it that a coding which no eye tells from the source has otherwise; unknown before that was asked.
    pub own: Option<f64>,
}

impl Line {
    /// What it says when it is read alone: in the source, which is its text from now on, and in a coding that looks the same.
    pub fn prove(&mut self, source: &str, same: &str) {
        self.own = Some(if source.is_empty() { 1.0 } else { legible::error_rate(source, same).min(1.0) });
        self.text = source.to_string();
    }

    /// So many letters of it can be counted on.
    fn sure(&self) -> f64 {
        self.text.chars().count() as f64 * (1.0 - self.own.unwrap_or(0.0))
    }
}

/// Letters that can be counted on.
pub fn letters(lines: &[Line]) -> f64 {
    lines.iter().map(Line::sure).sum()
}

/// The lines of a picture of this size that are surely read.
pub fn of(words: &[Word], size: Size) -> Vec<Line> {
    let sure = |w: &Word| w.confidence >= SURE && w.sure();
    let mut runs: Vec<Vec<&Word>> = Vec::new();
    let mut before: Option<&Word> = None;
    for word in words {
        if sure(word) {
            let near = |b: &&Word| {
                let wide = GAP * f64::from(b.area.height.max(word.area.height));
                b.line == word.line && f64::from(word.area.x.saturating_sub(b.area.right())) <= wide
            };
            match runs.last_mut().filter(|_| before.as_ref().is_some_and(near)) {
                Some(run) => run.push(word),
                None => runs.push(vec![word]),
            }
        }
        before = Some(word).filter(|w| sure(w));
    }
    let all: Vec<Line> = runs.into_iter().filter_map(|run| line(&run, size)).collect();
    let count = all.len().min(MOST);
    (0..count).map(|i| all[i * all.len() / count].clone()).collect()
}

fn line(run: &[&Word], size: Size) -> Option<Line> {
    let text = legible::normal(&run.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" "));
    let x = run.iter().map(|w| w.area.x).min()?.saturating_sub(MARGIN);
    let y = run.iter().map(|w| w.area.y).min()?.saturating_sub(MARGIN);
    let right = run.iter().map(|w| w.area.right()).max()?.saturating_add(MARGIN).min(size.width);
    let bottom = run.iter().map(|w| w.area.bottom()).max()?.saturating_add(MARGIN).min(size.height);
    let inside = x < right && y < bottom && text.chars().filter(|c| c.is_alphanumeric()).count() >= FEWEST;
    inside.then(|| Line { area: Area { x, y, width: right - x, height: bottom - y }, text, own: None })
}

/// The share of the letters that can be counted on that another reading of the same lines, one for each, has wrong; `None` where there are none.
pub fn misread(lines: &[Line], read: &[String]) -> Option<f64> {
    let wrong = |(line, read): (&Line, &String)| {
        let all = legible::error_rate(&line.text, read).min(1.0);
        (all - line.own.unwrap_or(0.0)).max(0.0) * line.text.chars().count() as f64
    };
    let letters = letters(lines);
    (letters > 0.0).then(|| lines.iter().zip(read).map(wrong).sum::<f64>() / letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 640, height: 360 };

    fn word(text: &str, x: u32, line: usize, confidence: f32) -> Word {
        Word { text: text.into(), area: Area { x, y: 10 + 30 * line as u32, width: 40, height: 20 }, confidence, line }
    }

    fn texts(words: &[Word]) -> Vec<String> {
        of(words, SIZE).into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn a_line_is_what_is_surely_read_and_near() {
        let words = [word("suy", 4, 0, 90.0), word("hô", 50, 0, 90.0), word("hấp", 100, 0, 90.0)];
        let [line] = &of(&words, SIZE)[..] else { panic!("one line") };
        // With a margin, and inside the picture.
        assert_eq!((line.text.as_str(), line.area), ("suy hô hấp", Area { x: 0, y: 4, width: 146, height: 32 }));
        // Another line, a wide gap, a doubtful word between: parts of their own.
        assert_eq!(texts(&[word("File", 0, 0, 90.0), word("Edit", 100, 0, 90.0)]), ["File", "Edit"]);
        assert_eq!(texts(&[word("File", 0, 0, 90.0), word("Edit", 0, 1, 90.0)]), ["File", "Edit"]);
        assert_eq!(texts(&[word("def", 0, 0, 90.0), word("|~", 42, 0, 20.0), word("input", 90, 0, 90.0)]), ["def", "input"]);
        // Icons, bullets and page numbers are none.
        assert!(texts(&[word("x", 0, 0, 90.0), word("12", 0, 1, 90.0), word("—•—", 0, 2, 90.0), word("PIMA", 0, 3, 60.0)]).is_empty());
        // What a reader says of places outside of the picture is not believed.
        assert!(texts(&[word("outside", 700, 0, 90.0), word("below", 0, 90, 90.0)]).is_empty());
    }

    #[test]
    fn a_lost_diacritic_is_a_misread_letter() {
        let lines = of(&[word("suy", 0, 0, 90.0), word("hô", 50, 0, 90.0), word("hấp", 0, 1, 90.0)], SIZE);
        let rate = |read: [&str; 2]| misread(&lines, &read.map(String::from));
        assert_eq!(rate(["suy hô", "hấp"]), Some(0.0));
        assert_eq!(rate(["suy hô", "hâp"]), Some(1.0 / 9.0));
        // A line that is gone, or is noise, is wrong as a whole and no more.
        assert_eq!(rate(["suy hô", ""]), Some(3.0 / 9.0));
        assert_eq!(rate(["suy hô", "~~~~~~~~~~"]), Some(3.0 / 9.0));
        assert_eq!(misread(&[], &[]), None);
    }

    #[test]
    fn what_a_reader_does_by_itself_is_not_counted() {
        let mut lines = of(&[word("thở", 0, 0, 90.0), word("oxy", 0, 1, 90.0)], SIZE);
        let rate = |lines: &[Line], read: [&str; 2]| misread(lines, &read.map(String::from));
        assert_eq!(rate(&lines, ["tho", "oxy"]), Some(1.0 / 6.0));
        // Read alone it is another word, and the same in a coding that looks the same.
        lines[0].prove("thô", "thô");
        assert_eq!(rate(&lines, ["tho", "oxy"]), Some(1.0 / 6.0));
        // One letter of four is never sure: of six that are, none and one are wrong.
        lines[0].prove("thôi", "thời");
        assert_eq!((rate(&lines, ["thoi", "oxy"]), rate(&lines, ["tha", "oxy"])), (Some(0.0), Some(1.0 / 6.0)));
        lines[0].prove("", "x");
        assert_eq!(rate(&lines, ["any", "oxy"]), Some(0.0));
        lines[1].prove("oxy", "#~.");
        assert_eq!(rate(&lines, ["any", "thing"]), None);
    }

    #[test]
    fn a_full_slide_is_read_here_and_there() {
        let words: Vec<Word> = (0..40).map(|i| word(&format!("word{i}"), 0, i, 90.0)).collect();
        let all = of(&words, Size { width: 640, height: 2000 });
        assert_eq!((all.len(), all[0].text.as_str(), all[9].text.as_str()), (MOST, "word0", "word36"));
    }
}
