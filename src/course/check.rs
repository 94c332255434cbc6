//! Fields to a [`Course`]: ids, references, trims, and whether the files are there. Goes on after a mistake, so that all
//! of them are told.

use super::parse::{At, RawCourse, RawLecture, RawText, is_language};
use super::{Course, Lecture, Missing, Module, Part, Problem, RESERVED, Text, Trims, file_name};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Ids become file names: 64 leaves room for every extension under the 255 bytes of a name.
const ID_CHARS: usize = 64;

/// The course, or `None` where too much is missing to make one; problems are added as they are found.
pub(super) fn course(raw: &RawCourse, dir: &Path, problems: &mut Vec<Problem>) -> Option<Course> {
    let mut check = Check { dir, problems };
    if let Some(language) = raw.language.as_ref().filter(|l| !is_language(&l.value)) {
        check.problem(language.line, format!("language \"{}\" is not a language tag (for example vi, en, pt-BR)", language.value));
    }
    let language = raw.language.as_ref().map(|l| l.value.clone()).unwrap_or_default();
    let id = raw.id.as_ref().map(|id| check.id(id, "the course"));
    check.unique(raw.modules.iter().filter_map(|m| m.id.as_ref()), "module");
    check.unique(raw.lectures.iter().filter_map(|l| l.id.as_ref()), "lecture");
    let modules: Option<Vec<Module>> = raw
        .modules
        .iter()
        .map(|m| {
            let id = m.id.as_ref().map(|id| check.id(id, "a module"));
            Some(Module { id: id?, title: text(m.title.as_ref()?, &language) })
        })
        .collect();
    let mut lectures = Vec::new();
    for lecture in &raw.lectures {
        lectures.push(check.lecture(lecture, raw, &language));
    }
    check.cycles(raw);
    let address = raw.address.as_ref().map(|a| check.address(a));
    Some(Course {
        id: id?,
        title: text(raw.title.as_ref()?, &language),
        language,
        licence: raw.licence.as_ref().map(|l| l.value.clone()),
        address,
        modules: modules?,
        lectures: lectures.into_iter().collect::<Option<_>>()?,
    })
}

fn text(raw: &At<RawText>, language: &str) -> Text {
    Text(match &raw.value {
        RawText::Plain(text) => BTreeMap::from([(language.to_string(), text.clone())]),
        RawText::Languages(all) => all.iter().map(|(l, t)| (l.clone(), t.value.clone())).collect(),
    })
}

struct Check<'a> {
    dir: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { line, message: message.into(), missing: None });
    }

    /// With a slash at its end.
    fn address(&mut self, address: &At<String>) -> String {
        let text = address.value.trim_end_matches('/');
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = host.map(|rest| rest.split('/').next().unwrap_or_default());
        let plain = text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '?' | '#' | '\\'));
        if !plain || host.is_none_or(str::is_empty) {
            self.problem(
                address.line,
                format!(
                    "\"{}\" is no address of a store: give what learners have before the course's id, as https://learn.example.vn",
                    address.value
                ),
            );
        }
        format!("{text}/")
    }

    fn id(&mut self, id: &At<String>, what: &str) -> String {
        let name = &id.value;
        if RESERVED.contains(&name.as_str()) {
            self.problem(id.line, format!("\"{name}\" cannot be the id of {what}: the store uses that name itself"));
        }
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !name.bytes().all(legal) || name.starts_with('-') || name.len() > ID_CHARS {
            self.problem(
                id.line,
                format!(
                    "\"{name}\" cannot be the id of {what}: it is part of web addresses (a to z, 0 to 9, - inside, at most {ID_CHARS})"
                ),
            );
        }
        name.clone()
    }

    fn unique<'i>(&mut self, ids: impl Iterator<Item = &'i At<String>>, what: &str) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for id in ids {
            match seen.get(id.value.as_str()) {
                Some(first) => {
                    let message = format!("the {what} id \"{}\" is taken already, in line {first}", id.value);
                    self.problem(id.line, message);
                }
                None => drop(seen.insert(&id.value, id.line)),
            }
        }
    }

    fn lecture(&mut self, raw: &RawLecture, course: &RawCourse, language: &str) -> Option<Lecture> {
        let id = raw.id.as_ref().map(|id| self.id(id, "a lecture"));
        let name = id.clone().unwrap_or_default();
        match &raw.module {
            None if course.modules.is_empty() => {}
            None => self.problem(raw.line, format!("lecture \"{name}\" does not say its module")),
            Some(m) if course.modules.iter().any(|known| known.id.as_ref().is_some_and(|id| id.value == m.value)) => {}
            Some(m) => self.problem(m.line, format!("lecture \"{name}\" is in module \"{}\", which is not in [[modules]]", m.value)),
        }
        for before in &raw.prerequisites {
            if !course.lectures.iter().any(|l| l.id.as_ref().is_some_and(|id| id.value == before.value)) {
                self.problem(
                    before.line,
                    format!("the prerequisite \"{}\" of lecture \"{name}\" is no lecture of this course", before.value),
                );
            }
        }
        let trims = raw.trims.as_ref().map(|trims| {
            let found = Trims { start_s: trims.value.start_s.unwrap_or(0.0), end_s: trims.value.end_s };
            if found.end_s.is_some_and(|end| end <= found.start_s) {
                let end = found.end_s.unwrap_or_default();
                self.problem(
                    trims.line,
                    format!("the trims of lecture \"{name}\" end at {end} s, which is not after their start at {} s", found.start_s),
                );
            }
            found
        });
        let recordings = raw.recordings.iter().map(|path| self.file(path, "recording", &name, Part::Recording)).collect::<Vec<_>>();
        let mut captions = BTreeMap::new();
        for (language, path) in &raw.captions {
            let file = self.file(path, "captions file", &name, Part::Captions(language.clone()));
            // Captions that cannot be read are told before anything is encoded.
            let read = std::fs::File::open(&file).ok().filter(|_| file.is_file()).map(|f| {
                let mut bytes = Vec::new();
                f.take(crate::captions::MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
                Ok::<_, std::io::Error>(crate::captions::read(language, &path.value, &bytes))
            });
            match read {
                Some(Ok(Err(e))) => self.problem(path.line, e.what().to_string()),
                Some(Err(e)) => self.problem(path.line, format!("the captions file {} cannot be read: {e}", path.value)),
                Some(Ok(Ok(_))) | None => {}
            }
            captions.insert(language.clone(), file);
        }
        let handout = raw.handout.as_ref().map(|path| self.file(path, "handout", &name, Part::Handout));
        if recordings.is_empty() {
            return None;
        }
        Some(Lecture {
            id: id?,
            title: text(raw.title.as_ref()?, language),
            module: raw.module.as_ref().map(|m| m.value.clone()),
            recordings,
            presenter: raw.presenter.as_ref().map(|p| p.value.clone()),
            captions,
            handout,
            prerequisites: raw.prerequisites.iter().map(|p| p.value.clone()).collect(),
            trims,
        })
    }

    fn file(&mut self, path: &At<String>, what: &str, lecture: &str, part: Part) -> PathBuf {
        let joined = as_spelt(self.dir.join(&path.value));
        match std::fs::metadata(&joined) {
            Ok(m) if m.is_file() => {}
            Ok(_) => self.problem(path.line, format!("the {what} {} is not a file", path.value)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let message = format!("the {what} {} is not there", path.value);
                let missing = Missing { lecture: lecture.to_string(), part, name: file_name(&joined) };
                self.problems.push(Problem { line: path.line, message, missing: Some(missing) });
            }
            Err(e) => self.problem(path.line, format!("the {what} {} cannot be read: {e}", path.value)),
        }
        joined
    }

    /// Reports each ring of prerequisites once, at its first lecture in the file.
    fn cycles(&mut self, course: &RawCourse) {
        let lectures: Vec<(&str, &RawLecture)> = course.lectures.iter().filter_map(|l| Some((l.id.as_ref()?.value.as_str(), l))).collect();
        let index: HashMap<&str, usize> = lectures.iter().enumerate().rev().map(|(i, (id, _))| (*id, i)).collect();
        let before = |i: usize| lectures[i].1.prerequisites.iter().filter_map(|p| index.get(p.value.as_str()).copied());
        for start in 0..lectures.len() {
            // The shortest way from `start` back to itself over lectures that stand later in the file.
            let mut from: HashMap<usize, usize> = HashMap::new();
            let mut queue = std::collections::VecDeque::from([start]);
            let mut last = None;
            'search: while let Some(at) = queue.pop_front() {
                for next in before(at) {
                    if next == start {
                        last = Some(at);
                        break 'search;
                    }
                    if next > start && !from.contains_key(&next) {
                        from.insert(next, at);
                        queue.push_back(next);
                    }
                }
            }
            let Some(mut at) = last else { continue };
            let mut ring = vec![lectures[start].0];
            while at != start {
                ring.push(lectures[at].0);
                at = from[&at];
            }
            ring.push(lectures[start].0);
            ring.reverse();
            let line = lectures[start].1.prerequisites.first().map_or(lectures[start].1.line, |p| p.line);
            let way = ring.join(" needs ");
            self.problem(line, format!("the prerequisites go round in a circle: {way}"));
        }
    }
}

/// The path as its directory spells its last part: a name typed composed finds a file named decomposed, and the other way.
fn as_spelt(path: PathBuf) -> PathBuf {
    if path.exists() {
        return path;
    }
    let wanted = file_name(&path);
    let entries = path.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let alike = entries.into_iter().flatten().flatten().map(|e| e.path()).find(|p| file_name(p) == wanted);
    alike.unwrap_or(path)
}
