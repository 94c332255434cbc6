//! TOML to fields with lines. Wrong types, missing and unknown fields are found here, all of them: serde would stop at
//! the first.

use super::Problem;
use std::ops::Range;
use toml_edit::{Document, Item, TableLike, Value};

/// A value and the line where it stands, counting from 1.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub line: usize,
}

/// A title: one text, or one per language.
#[derive(Debug, Clone)]
pub(super) enum RawText {
    Plain(String),
    Languages(Vec<(String, At<String>)>),
}

#[derive(Debug, Default)]
pub(super) struct RawCourse {
    pub id: Option<At<String>>,
    pub title: Option<At<RawText>>,
    pub language: Option<At<String>>,
    pub licence: Option<At<String>>,
    pub address: Option<At<String>>,
    pub modules: Vec<RawModule>,
    pub lectures: Vec<RawLecture>,
}

#[derive(Debug)]
pub(super) struct RawModule {
    pub id: Option<At<String>>,
    pub title: Option<At<RawText>>,
}

#[derive(Debug)]
pub(super) struct RawLecture {
    pub line: usize,
    pub id: Option<At<String>>,
    pub title: Option<At<RawText>>,
    pub module: Option<At<String>>,
    pub recordings: Vec<At<String>>,
    pub presenter: Option<At<String>>,
    pub captions: Vec<(String, At<String>)>,
    pub handout: Option<At<String>>,
    pub prerequisites: Vec<At<String>>,
    pub trims: Option<At<RawTrims>>,
}

#[derive(Debug)]
pub(super) struct RawTrims {
    pub start_s: Option<f64>,
    pub end_s: Option<f64>,
}

const COURSE: &[&str] = &["id", "title", "language", "licence", "address", "modules", "lectures"];
const MODULE: &[&str] = &["id", "title"];
const LECTURE: &[&str] = &["id", "title", "module", "recording", "presenter", "captions", "handout", "prerequisites", "trims"];
const TRIMS: &[&str] = &["start", "end"];

/// The fields of a course file; `None` if it is no TOML at all.
pub(super) fn parse(text: &str) -> (Option<RawCourse>, Vec<Problem>) {
    let mut walk = Walk { text, problems: Vec::new() };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(e) => {
            let line = walk.line(e.span(), 1);
            walk.problem(line, e.message().trim_end().replace('\n', "; "));
            return (None, walk.problems);
        }
    };
    let course = walk.course(document.as_table());
    (Some(course), walk.problems)
}

struct Walk<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

/// One table being read, and how messages call it.
struct Fields<'t> {
    table: &'t dyn TableLike,
    line: usize,
    what: String,
}

impl Walk<'_> {
    fn line(&self, span: Option<Range<usize>>, otherwise: usize) -> usize {
        span.map_or(otherwise, |s| 1 + self.text.as_bytes()[..s.start.min(self.text.len())].iter().filter(|b| **b == b'\n').count())
    }

    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { line, message: message.into(), missing: None });
    }

    fn course(&mut self, table: &dyn TableLike) -> RawCourse {
        let fields = Fields { table, line: 1, what: "the course".into() };
        self.unknown(&fields, COURSE);
        let modules = self.tables(&fields, "modules", "a module");
        let before = self.problems.len();
        let lectures = self.tables(&fields, "lectures", "a lecture");
        if lectures.is_empty() && self.problems.len() == before {
            self.problem(1, "the course has no [[lectures]]");
        }
        RawCourse {
            id: self.needed(&fields, "id"),
            title: self.title(&fields),
            language: self.needed(&fields, "language"),
            licence: self.string(&fields, "licence"),
            address: self.string(&fields, "address"),
            modules: modules.into_iter().map(|f| self.module(&f)).collect(),
            lectures: lectures.into_iter().map(|f| self.lecture(&f)).collect(),
        }
    }

    fn module(&mut self, fields: &Fields) -> RawModule {
        self.unknown(fields, MODULE);
        RawModule { id: self.needed(fields, "id"), title: self.title(fields) }
    }

    fn lecture(&mut self, fields: &Fields) -> RawLecture {
        self.unknown(fields, LECTURE);
        let recordings = self.strings(fields, "recording", true);
        if recordings.is_empty() && fields.table.get("recording").is_none() {
            self.problem(
                fields.line,
                format!("{} has no recording (a path, or a list of paths that are one recording in order)", fields.what),
            );
        }
        RawLecture {
            line: fields.line,
            id: self.needed(fields, "id"),
            title: self.title(fields),
            module: self.string(fields, "module"),
            recordings,
            presenter: self.string(fields, "presenter"),
            captions: self.by_language(fields, "captions"),
            handout: self.string(fields, "handout"),
            prerequisites: self.strings(fields, "prerequisites", false),
            trims: self.trims(fields),
        }
    }

    fn unknown(&mut self, fields: &Fields, known: &[&str]) {
        for (name, item) in fields.table.iter() {
            if !known.contains(&name) {
                let line = self.line_of(fields, name, item);
                self.problem(line, format!("\"{name}\" is no field of {} (known are {})", fields.what, known.join(", ")));
            }
        }
    }

    fn line_of(&self, fields: &Fields, name: &str, item: &Item) -> usize {
        let key = fields.table.key(name).and_then(|k| k.span());
        self.line(key.or_else(|| item.span()), fields.line)
    }

    fn wrong_type(&mut self, line: usize, fields: &Fields, name: &str, item_type: &str, expected: &str) {
        self.problem(line, format!("{name} of {} is {}, expected {expected}", fields.what, with_article(item_type)));
    }

    fn string(&mut self, fields: &Fields, name: &str) -> Option<At<String>> {
        let item = fields.table.get(name)?;
        let line = self.line_of(fields, name, item);
        match item.as_str() {
            Some(s) if s.trim().is_empty() => self.problem(line, format!("{name} of {} is empty", fields.what)),
            Some(s) => return Some(At { value: s.to_string(), line }),
            None => self.wrong_type(line, fields, name, item.type_name(), "a text in quotes"),
        }
        None
    }

    fn needed(&mut self, fields: &Fields, name: &str) -> Option<At<String>> {
        if fields.table.get(name).is_none() {
            self.problem(fields.line, format!("{} has no {name}", fields.what));
        }
        self.string(fields, name)
    }

    fn title(&mut self, fields: &Fields) -> Option<At<RawText>> {
        let Some(item) = fields.table.get("title") else {
            self.problem(fields.line, format!("{} has no title", fields.what));
            return None;
        };
        let line = self.line_of(fields, "title", item);
        if item.is_table_like() {
            let languages = self.by_language(fields, "title");
            if languages.is_empty() {
                self.problem(line, format!("title of {} is in no language", fields.what));
            }
            return Some(At { value: RawText::Languages(languages), line });
        }
        if !item.is_str() {
            self.wrong_type(
                line,
                fields,
                "title",
                item.type_name(),
                "a text in quotes, or one per language: { vi = \"...\", en = \"...\" }",
            );
            return None;
        }
        self.string(fields, "title").map(|s| At { value: RawText::Plain(s.value), line })
    }

    /// A table of language tags to texts.
    fn by_language(&mut self, fields: &Fields, name: &str) -> Vec<(String, At<String>)> {
        let Some(item) = fields.table.get(name) else { return Vec::new() };
        let line = self.line_of(fields, name, item);
        let Some(table) = item.as_table_like() else {
            self.wrong_type(line, fields, name, item.type_name(), "one text per language: { vi = \"...\" }");
            return Vec::new();
        };
        let inner = Fields { table, line, what: format!("{name} of {}", fields.what) };
        let mut all = Vec::new();
        for (language, item) in table.iter() {
            if !is_language(language) {
                let line = self.line_of(&inner, language, item);
                self.problem(line, format!("\"{language}\" in {} is not a language tag (for example vi, en, pt-BR)", inner.what));
            } else if let Some(text) = self.string(&inner, language) {
                all.push((language.to_string(), text));
            }
        }
        all
    }

    /// A list of texts; where `one` is allowed, a single text too.
    fn strings(&mut self, fields: &Fields, name: &str, one: bool) -> Vec<At<String>> {
        let Some(item) = fields.table.get(name) else { return Vec::new() };
        let line = self.line_of(fields, name, item);
        let expected = if one { "a text in quotes or a list of them" } else { "a list of texts in quotes" };
        if one && item.is_str() {
            return self.string(fields, name).into_iter().collect();
        }
        let Some(array) = item.as_array() else {
            self.wrong_type(line, fields, name, item.type_name(), expected);
            return Vec::new();
        };
        if one && array.is_empty() {
            self.problem(line, format!("{name} of {} is an empty list", fields.what));
        }
        let mut all = Vec::new();
        for value in array.iter() {
            let line = self.line(value.span(), line);
            match value.as_str() {
                Some(s) if s.trim().is_empty() => self.problem(line, format!("{name} of {} has an empty text in it", fields.what)),
                Some(s) => all.push(At { value: s.to_string(), line }),
                None => self.wrong_type(line, fields, name, &format!("{} in a list", value.type_name()), expected),
            }
        }
        all
    }

    /// `[[name]]` tables, or a list of inline tables.
    fn tables<'t>(&mut self, fields: &Fields<'t>, name: &str, what: &str) -> Vec<Fields<'t>> {
        let Some(item) = fields.table.get(name) else { return Vec::new() };
        let line = self.line_of(fields, name, item);
        let found: Vec<(&'t dyn TableLike, usize)> = match item {
            Item::ArrayOfTables(tables) => tables.iter().map(|t| (t as &dyn TableLike, self.line(t.span(), line))).collect(),
            Item::Value(Value::Array(array)) if array.iter().all(Value::is_inline_table) => {
                array.iter().filter_map(|v| Some((v.as_inline_table()? as &dyn TableLike, self.line(v.span(), line)))).collect()
            }
            _ => {
                self.wrong_type(line, fields, name, item.type_name(), &format!("[[{name}]] tables"));
                Vec::new()
            }
        };
        let named = |(table, line): (&'t dyn TableLike, usize)| {
            let what = match table.get("id").and_then(Item::as_str) {
                Some(id) => format!("{} \"{id}\"", what.trim_start_matches("a ")),
                None => what.to_string(),
            };
            Fields { table, line, what }
        };
        found.into_iter().map(named).collect()
    }

    fn trims(&mut self, fields: &Fields) -> Option<At<RawTrims>> {
        let item = fields.table.get("trims")?;
        let line = self.line_of(fields, "trims", item);
        let Some(table) = item.as_table_like() else {
            self.wrong_type(line, fields, "trims", item.type_name(), "{ start = ..., end = ... }");
            return None;
        };
        let inner = Fields { table, line, what: format!("trims of {}", fields.what) };
        self.unknown(&inner, TRIMS);
        let before = self.problems.len();
        let (start_s, end_s) = (self.time(&inner, "start"), self.time(&inner, "end"));
        if self.problems.len() == before && start_s.is_none() && end_s.is_none() {
            self.problem(line, format!("{} have neither start nor end", inner.what));
        }
        (self.problems.len() == before).then_some(At { value: RawTrims { start_s, end_s }, line })
    }

    fn time(&mut self, fields: &Fields, name: &str) -> Option<f64> {
        let item = fields.table.get(name)?;
        let line = self.line_of(fields, name, item);
        let seconds = match item {
            Item::Value(Value::Integer(n)) => Some(*n.value() as f64),
            Item::Value(Value::Float(n)) => Some(*n.value()),
            Item::Value(Value::String(s)) => clock(s.value()),
            _ => None,
        };
        let seconds = seconds.filter(|s| s.is_finite() && *s >= 0.0);
        if seconds.is_none() {
            self.problem(line, format!("{name} in {} is not a time (expected seconds, as 12.5, or \"1:02:03.5\")", fields.what));
        }
        seconds
    }
}

fn with_article(type_name: &str) -> String {
    match type_name.starts_with(['a', 'e', 'i', 'o', 'u']) {
        true => format!("an {type_name}"),
        false => format!("a {type_name}"),
    }
}

/// `1:02:03.5` or `2:03` in seconds.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let (seconds, rest) = parts.split_last()?;
    if parts.len() > 3 || !text.trim().bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.')) {
        return None;
    }
    let whole = rest.iter().try_fold(0u64, |sum, part| part.parse::<u32>().ok().map(|n| sum * 60 + n as u64))?;
    let seconds = seconds.parse::<f64>().ok().filter(|s| rest.is_empty() || *s < 60.0)?;
    Some(whole as f64 * 60.0 + seconds)
}

/// The shape of a BCP 47 tag; the list of real languages is not ours to keep.
pub fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_lowercase())
        && parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()))
}
