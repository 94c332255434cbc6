//! `course.toml`, the author's file: what a course is called, its modules, and which recording is which lecture. A
//! file is read in two steps, so that every mistake in it is told at once and with its line: `parse` turns TOML into
//! fields with lines, `check` turns fields into a [`Course`]. Neither needs the recordings to be on this machine;
//! that they are not is a [`Problem`] that a publisher may accept for a lecture that the store already has.

mod check;
mod parse;

pub use parse::is_language;

use crate::error::{Error, Kind, Result, ResultExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names that a store needs at its top; lecture ids keep clear of them too, so that `<lecture>.html` never is `index.html`.
pub const RESERVED: [&str; 4] = ["blobs", "courses", "index", "intents"];

/// A text in one language or several, by BCP 47 tag: `{"vi": "Viêm phổi", "en": "Pneumonia"}`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Text(pub BTreeMap<String, String>);

impl Text {
    /// The text in a language, else in the first one there is.
    pub fn in_language(&self, language: &str) -> &str {
        self.0.get(language).or_else(|| self.0.values().next()).map(String::as_str).unwrap_or_default()
    }
}

/// The part of a recording that is the lecture, in seconds of the recording (several files count as one).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trims {
    #[serde(default)]
    pub start_s: f64,
    /// `None`: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_s: Option<f64>,
}

/// A course as its author wrote it. Paths are absolute, joined to the directory of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    pub id: String,
    pub title: Text,
    pub language: String,
    pub licence: Option<String>,
    /// Where learners find the store's root, ending in a slash: for sites that show a link with its picture.
    pub address: Option<String>,
    /// In the author's order. Empty: all lectures stand in one nameless module.
    pub modules: Vec<Module>,
    pub lectures: Vec<Lecture>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    pub id: String,
    pub title: Text,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Lecture {
    pub id: String,
    pub title: Text,
    /// Names one of the course's modules; `None` only where the course has none.
    pub module: Option<String>,
    /// Several files are one recording, in order. Never empty.
    pub recordings: Vec<PathBuf>,
    pub presenter: Option<String>,
    /// WebVTT or SRT files by language.
    pub captions: BTreeMap<String, PathBuf>,
    pub handout: Option<PathBuf>,
    /// Ids of lectures to be seen before.
    pub prerequisites: Vec<String>,
    pub trims: Option<Trims>,
}

/// A file of a lecture that is not on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub lecture: String,
    pub part: Part,
    /// The file's name without directories.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Recording,
    /// In this language.
    Captions(String),
    Handout,
}

/// A path's last part in NFC: Vietnamese names come composed and decomposed, and are one name.
pub fn file_name(path: &Path) -> String {
    use unicode_normalization::UnicodeNormalization;
    path.file_name().unwrap_or_default().to_string_lossy().nfc().collect()
}

/// One thing that is wrong with a course file.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Counting from 1.
    pub line: usize,
    pub message: String,
    /// Set where all that is wrong is a file that is not here.
    pub missing: Option<Missing>,
}

/// A course file that was read.
#[derive(Debug)]
pub struct Loaded {
    pub path: PathBuf,
    /// There unless something other than missing files is wrong.
    pub course: Option<Course>,
    /// In the order of their lines.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// The course, if nothing is wrong with it but missing files that `have` says are not needed here.
    pub fn accept(self, have: impl Fn(&Missing) -> bool) -> Result<Course> {
        let problems: Vec<&Problem> = self.problems.iter().filter(|p| !p.missing.as_ref().is_some_and(&have)).collect();
        match self.course {
            Some(course) if problems.is_empty() => Ok(course),
            _ => {
                let lines = problems.iter().map(|p| format!("\n  {}:{}: {}", self.path.display(), p.line, p.message));
                let count = match problems.len() {
                    1 => "a problem".to_string(),
                    n => format!("{n} problems"),
                };
                Err(Error::usage(format!("{} has {count}:{}", self.path.display(), lines.collect::<String>())))
            }
        }
    }
}

/// Reads a course file and looks whether the files that it names are there. Fails only if the file itself cannot be
/// read; what is wrong in it is in [`Loaded::problems`].
pub fn load(path: &Path) -> Result<Loaded> {
    let text = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(text).kind(Kind::Usage, || format!("{} is not UTF-8 text", path.display()))?;
    // Absolute: the paths go to child processes that may stand elsewhere.
    let absolute = std::path::absolute(path).doing(|| format!("cannot find {}", path.display()))?;
    let (course, problems) = read(&text, absolute.parent().unwrap_or(Path::new("/")));
    Ok(Loaded { path: path.to_path_buf(), course, problems })
}

/// Everything that is wrong with a course file on this machine, missing files included; for `rivulet check`.
pub fn check(path: &Path) -> Result<Vec<Problem>> {
    Ok(load(path)?.problems)
}

fn read(text: &str, dir: &Path) -> (Option<Course>, Vec<Problem>) {
    let (raw, mut problems) = parse::parse(text);
    let course = raw.and_then(|raw| check::course(&raw, dir, &mut problems));
    problems.sort_by_key(|p| p.line);
    let sound = problems.iter().all(|p| p.missing.is_some());
    (course.filter(|_| sound), problems)
}

#[cfg(test)]
mod tests;
