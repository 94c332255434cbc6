//! Drafting and extending `course.toml`. It is the author's file: what is new is appended as text, so that every comment,
//! blank line and order stays to the byte; `toml_edit` reads what is there and proves that the result still parses. The
//! file is exchanged with the new one in one step, and what comes out is compared with what was read: an author who saves
//! at that very moment loses nothing.

use super::copy::DirLock;
use super::names;
use crate::course::RESERVED;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::progress::Ctx;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, Table, Value};
use unicode_normalization::UnicodeNormalization;

/// A new recording to be named as a lecture.
#[derive(Debug, Clone, PartialEq)]
pub struct Lecture {
    pub title: String,
    /// File names beside `course.toml`, in order.
    pub recordings: Vec<String>,
    /// Comment lines above the lecture: what the author should look at.
    pub notes: Vec<String>,
}

/// A lecture as it was written.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Drafted {
    pub id: String,
    pub title: String,
    pub recording: Vec<String>,
}

/// The text of `course.toml` with `lectures` added, and those that were: a recording that the file names already, even in
/// a comment (an author's way to leave it out), is not added again. `title` names a new course. Fails with `Usage` where
/// `text` is not TOML or has no place for a lecture.
pub fn extend(text: &str, title: &str, lectures: &[Lecture]) -> Result<(String, Vec<Drafted>)> {
    let broken = |e| {
        Error::usage("course.toml cannot be read, so nothing was added to it")
            .caused_by(e)
            .hint("correct it, then run the same ingest again")
    };
    let course: Document<String> = text.parse().map_err(broken)?;
    let mut added = String::new();
    if course.is_empty() {
        added.push_str(&head(title));
    }
    // A course without modules stays so: with one, every lecture would have to name it.
    let module = match course.is_empty() {
        true => Some("m1".to_string()),
        false => {
            let modules = course.get("modules").map(tables).unwrap_or_default();
            modules.last().and_then(|m| m.get("id").and_then(Value::as_str).map(str::to_string))
        }
    };
    let existing = course.get("lectures").map(tables).unwrap_or_default();
    let mut ids: Vec<String> = existing.iter().filter_map(|l| l.get("id").and_then(Value::as_str).map(str::to_string)).collect();
    let named: Vec<String> = existing.iter().filter_map(|l| l.get("recording")).flat_map(strings).map(|r| names::key(&r)).collect();
    let comments: Vec<String> = text.lines().filter_map(|l| l.split_once('#')).map(|(_, comment)| comment.nfc().collect()).collect();
    let known = |recording: &str| {
        let quoted = Value::from(recording).to_string();
        named.contains(&names::key(recording)) || comments.iter().any(|c| c.contains(&quoted))
    };

    let mut drafted = Vec::new();
    for lecture in lectures {
        let recordings: Vec<String> = lecture.recordings.iter().filter(|r| !known(r)).cloned().collect();
        if recordings.is_empty() {
            continue;
        }
        let wanted = Some(names::slug(&lecture.title)).filter(|id| !id.is_empty()).unwrap_or_else(|| format!("lecture-{}", ids.len() + 1));
        let id = names::free(&wanted, |id| ids.iter().any(|i| i == id) || RESERVED.contains(&id));
        added.push_str(&entry(&id, lecture, module.as_deref(), &recordings));
        ids.push(id.clone());
        drafted.push(Drafted { id, title: lecture.title.clone(), recording: recordings });
    }
    if drafted.is_empty() {
        return Ok((text.to_string(), drafted));
    }
    let mut whole = text.to_string();
    if !whole.is_empty() && !whole.ends_with('\n') {
        added.insert(0, '\n');
    }
    // A file from Windows stays one.
    whole.push_str(&if text.contains("\r\n") { added.replace('\n', "\r\n") } else { added });
    match whole.parse::<Document<String>>() {
        Ok(_) => Ok((whole, drafted)),
        Err(e) => Err(Error::usage("course.toml has `modules` or `lectures` as an inline list, so nothing was added to it")
            .caused_by(e)
            .hint("write them as [[modules]] and [[lectures]], then run the same ingest again")),
    }
}

fn head(title: &str) -> String {
    let id = Some(names::slug(title)).filter(|id| !id.is_empty()).unwrap_or_else(|| "course".into());
    let id = names::free(&id, |id| RESERVED.contains(&id));
    format!(
        "# Khóa học, do `rivulet ingest` soạn. Xin cứ sửa: ghi chú và thứ tự của bạn được giữ nguyên.\n\
         # A course, drafted by `rivulet ingest`. Edit it freely: your comments and order are kept.\n\
         id = {}\n\
         title = {}  # hoặc / or: {{ vi = \"...\", en = \"...\" }}\n\
         language = \"vi\"\n\
         # licence = \"CC-BY-4.0\"  # giấy phép: người khác được làm gì / what others may do with it\n\n\
         [[modules]]\n\
         id = \"m1\"\n\
         title = \"Phần 1\"\n",
        Value::from(id),
        Value::from(title),
    )
}

fn entry(id: &str, lecture: &Lecture, module: Option<&str>, recordings: &[String]) -> String {
    let mut text = String::from("\n");
    for note in &lecture.notes {
        text.push_str(&format!("# {}\n", note.replace(char::is_control, " ")));
    }
    text.push_str(&format!("[[lectures]]\nid = {}\ntitle = {}\n", Value::from(id), Value::from(lecture.title.as_str())));
    if let Some(module) = module {
        text.push_str(&format!("module = {}\n", Value::from(module)));
    }
    match recordings {
        [one] => text.push_str(&format!("recording = {}\n", Value::from(one.as_str()))),
        parts => {
            let parts: Vec<String> = parts.iter().map(|p| Value::from(p.as_str()).to_string()).collect();
            text.push_str(&format!("recording = [{}]\n", parts.join(", ")));
        }
    }
    text.push_str(
        "# presenter = \"\"               # người trình bày / who speaks\n\
         # captions = { vi = \"....vtt\" }  # phụ đề / captions\n\
         # handout = \"....pdf\"            # tài liệu / handout\n",
    );
    text
}

/// The tables of `[[name]]`, or of `name = [{...}]`.
fn tables(item: &Item) -> Vec<std::collections::HashMap<String, Value>> {
    let values = |table: &Table| table.iter().filter_map(|(k, v)| Some((k.to_string(), v.as_value()?.clone()))).collect();
    match item {
        Item::ArrayOfTables(tables) => tables.iter().map(values).collect(),
        Item::Value(Value::Array(array)) => {
            array.iter().filter_map(Value::as_inline_table).map(|t| t.iter().map(|(k, v)| (k.to_string(), v.clone())).collect()).collect()
        }
        _ => Vec::new(),
    }
}

/// A string, or a list of them.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.value().clone()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_string).collect(),
        _ => Vec::new(),
    }
}

/// Adds lectures to `dir`/course.toml, making it where it is missing (blocking). Other ingests wait meanwhile.
pub fn write(dir: &Path, lectures: &[Lecture], ctx: &Ctx) -> Result<Vec<Drafted>> {
    let _lock = DirLock::take(dir, ctx)?;
    // An author's symbolic link stays one.
    let path = fs::canonicalize(dir.join("course.toml")).unwrap_or_else(|_| dir.join("course.toml"));
    let title = fs::canonicalize(dir).map(|d| names::title(&super::scan::file_name(&d))).unwrap_or_default();
    write_between(&path, &title, lectures, || ())
}

/// `before_exchange` runs where an author could save: tests save there.
fn write_between(path: &Path, title: &str, lectures: &[Lecture], mut before_exchange: impl FnMut()) -> Result<Vec<Drafted>> {
    let doing = || format!("cannot write {}", path.display());
    let mut base = read(path)?;
    let mut expected = base.clone();
    loop {
        let (text, drafted) = extend(base.as_deref().unwrap_or_default(), title, lectures)?;
        if drafted.is_empty() {
            return Ok(drafted);
        }
        let temp = temporary(path, &text).doing(doing)?;
        before_exchange();
        let replaced = exchange(&temp.0, path, expected.is_some(), expected.as_deref()).doing(doing)?;
        match replaced {
            Replaced::As(out) if out == expected => return Ok(drafted),
            // Somebody saved between our look and the exchange. What is theirs is the base of the next try; it has gone
            // out of the file for that long, and goes back at once if it cannot be extended.
            Replaced::As(out) => {
                if let Err(e) = extend(out.as_deref().unwrap_or_default(), title, lectures) {
                    exchange(&temp.0, path, true, None).doing(doing)?;
                    return Err(e);
                }
                (base, expected) = (out, Some(text));
            }
            Replaced::Not => {
                base = read(path)?;
                expected = base.clone();
            }
        }
    }
}

enum Replaced {
    /// What was there before.
    As(Option<String>),
    /// The file appeared, vanished or changed: look again.
    Not,
}

/// Puts `temp` in `path`'s place. Afterwards `temp` holds what was there.
fn exchange(temp: &Path, path: &Path, there: bool, expected: Option<&str>) -> io::Result<Replaced> {
    use rustix::io::Errno;
    let flags = if there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    match renameat_with(CWD, temp, CWD, path, flags) {
        Ok(()) => {
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all().ok();
            Ok(Replaced::As(if there { Some(fs::read_to_string(temp)?) } else { None }))
        }
        Err(Errno::EXIST | Errno::NOENT) => Ok(Replaced::Not),
        // FAT and some shares cannot exchange: compare, then rename.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let now = fs::read_to_string(path).ok();
            if expected.is_some() && now.as_deref() != expected {
                return Ok(Replaced::Not);
            }
            fs::rename(temp, path)?;
            Ok(Replaced::As(now))
        }
        Err(e) => Err(e.into()),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(Error::new(Kind::Usage, format!("{} is not UTF-8 text", path.display()))
            .hint("save it as UTF-8, then run the same ingest again")),
        Err(e) => Err(e).doing(|| format!("cannot read {}", path.display())),
    }
}

/// Removed when it goes out of scope: after the exchange it holds the version before ours.
struct Temp(PathBuf);
impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn temporary(path: &Path, text: &str) -> io::Result<Temp> {
    let temp = Temp(path.with_file_name(format!(".rivulet-course-{}.toml", std::process::id())));
    let mut file = File::create(&temp.0)?;
    file.write_all(text.as_bytes())?;
    if let Ok(meta) = fs::metadata(path) {
        let _ = file.set_permissions(meta.permissions());
    }
    file.sync_all()?;
    Ok(temp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lecture(name: &str) -> Lecture {
        Lecture { title: names::title(name), recordings: vec![name.into()], notes: vec![] }
    }

    #[test]
    fn a_new_draft_is_valid_and_says_what_to_fill_in() {
        let (text, drafted) = extend("", "Tim mạch 2026", &[lecture("Bài 1: Đau ngực.mp4"), lecture("Bài 1_ Đau ngực.mov")]).unwrap();
        let course: toml::Table = text.parse().unwrap();
        assert_eq!(course["id"].as_str(), Some("tim-mach-2026"));
        assert_eq!(course["title"].as_str(), Some("Tim mạch 2026"));
        assert_eq!(course["modules"][0]["id"], course["lectures"][0]["module"]);
        assert_eq!(course["lectures"][0]["recording"].as_str(), Some("Bài 1: Đau ngực.mp4"));
        assert_eq!((drafted[0].id.as_str(), drafted[1].id.as_str()), ("bai-1-dau-nguc", "bai-1-dau-nguc-2"));
        assert!(text.contains("# presenter") && text.contains("giấy phép") && text.contains("# licence"));
        // Uncommenting a hint gives a valid file too.
        assert!(text.replace("# captions", "captions").replace("# licence", "licence").parse::<toml::Table>().is_ok());
    }

    /// What `publish` reads is what is written here: nothing is wrong but the recordings that this test does not make.
    #[test]
    fn a_drafted_course_and_an_extended_one_can_be_published() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("course.toml");
        let own = "id = 't'\ntitle = 'T'\nlanguage = 'vi'\n[[lectures]]\nid = 'z'\ntitle = 'Z'\nrecording = 'z.mp4'\n";
        let modules = "id = 't'\ntitle = 'T'\nlanguage = 'vi'\n[[modules]]\nid = 'x'\ntitle = 'X'\n";
        for (before, lectures) in [(None, 2), (Some(own), 3), (Some(modules), 2)] {
            let _ = fs::remove_file(&path);
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
            }
            let spanned = Lecture { recordings: vec!["b1.mts".into(), "b2.mts".into()], ..lecture("Bài 2.mts") };
            write(dir.path(), &[lecture("Bài 1: Đau ngực.mp4"), spanned], &Ctx::silent()).unwrap();
            let loaded = crate::course::load(&path).unwrap();
            let wrong: Vec<_> = loaded.problems.iter().filter(|p| p.missing.is_none()).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
            let course = loaded.accept(|_| true).unwrap();
            assert_eq!(course.lectures.len(), lectures);
            assert_eq!(course.lectures.last().unwrap().recordings.len(), 2);
        }
    }

    #[test]
    fn what_the_author_wrote_stays_to_the_byte() {
        let mine = "title='T' # of mine\n\n# order matters\n[[lectures]]\ntitle = 'B'\nid = 'b'\nrecording = 'b.mp4'\n[[modules]]\nid='x'\n[[lectures]]\nid = 'a'\nrecording = ['a1.mp4','a2.mp4']\n# the end";
        let (text, drafted) = extend(mine, "unused", &[lecture("a1.mp4"), lecture("a.mp4")]).unwrap();
        assert!(text.starts_with(mine));
        let course: toml::Table = text.parse().unwrap();
        assert_eq!(course["lectures"].as_array().unwrap().len(), 3);
        assert_eq!(course["lectures"][2]["id"].as_str(), Some("a-2"));
        // The module is the last of theirs; no other is made.
        assert_eq!(course["lectures"][2]["module"].as_str(), Some("x"));
        assert_eq!(course["modules"].as_array().unwrap().len(), 1);
        assert_eq!(drafted.len(), 1);
        // A course without modules gets none: its other lectures do not name one.
        let (text, _) = extend("id = 'x'\n[[lectures]]\nid = 'a'\nrecording = 'a.mp4'\n", "unused", &[lecture("c.mp4")]).unwrap();
        assert!(!text.contains("module"));
        let windows = mine.replace('\n', "\r\n");
        let (text, _) = extend(&windows, "unused", &[lecture("c.mp4")]).unwrap();
        assert!(text.starts_with(&windows) && !text.replace("\r\n", "").contains('\n'));
    }

    #[test]
    fn a_recording_that_the_author_left_out_stays_out() {
        let mine = "id = 't'\n# [[lectures]]\n# recording = \"bài hỏng.mp4\"\n";
        let decomposed: String = "bài hỏng.mp4".nfd().collect();
        for mine in [mine.to_string(), mine.nfd().collect()] {
            assert_eq!(extend(&mine, "", &[lecture("bài hỏng.mp4")]).unwrap().0, mine);
        }
        // A recording named in the other Unicode form is named.
        let named = format!("[[lectures]]\nrecording = \"{decomposed}\"\n");
        assert!(extend(&named, "", &[lecture("bài hỏng.mp4")]).unwrap().1.is_empty());
        // ... but another whose name ends alike is not
        assert_eq!(extend(mine, "", &[lecture("hỏng.mp4")]).unwrap().1.len(), 1);
    }

    #[test]
    fn a_file_that_is_no_toml_is_left_alone_and_says_where() {
        let e = extend("id = 't'\ntitle = \n", "", &[lecture("a.mp4")]).unwrap_err();
        assert!(e.report().contains("line 2"), "{}", e.report());
        let e = extend("lectures = [{id = 'a'}]\n", "", &[lecture("a.mp4")]).unwrap_err();
        assert!(e.report().contains("[[lectures]]"), "{}", e.report());
    }

    #[test]
    fn names_that_bite_are_quoted() {
        let name = "a \"b\" #c 'd' \\.mp4";
        let (text, _) = extend(
            "",
            "\"x\"\n",
            &[Lecture { title: "q\"".into(), recordings: vec![name.into(), "b.mp4".into()], notes: vec!["x\ny".into()] }],
        )
        .unwrap();
        let course: toml::Table = text.parse().unwrap();
        assert_eq!(course["lectures"][0]["recording"][0].as_str(), Some(name));
        assert_eq!(course["lectures"][0]["title"].as_str(), Some("q\""));
        assert_eq!(course["title"].as_str(), Some("\"x\"\n"));
    }

    #[test]
    fn an_author_who_saves_at_the_same_moment_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("course.toml");
        for before in [None, Some("id = 'old'\n")] {
            let _ = fs::remove_file(&path);
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
            }
            let mut saves = 0;
            let drafted = write_between(&path, "T", &[lecture("a.mp4")], || {
                saves += 1;
                if saves <= 2 {
                    // As an editor does it: a new file renamed over the old one.
                    fs::write(dir.path().join("x"), format!("id = 'mine'\n# save {saves}\n")).unwrap();
                    fs::rename(dir.path().join("x"), &path).unwrap();
                }
            });
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("id = 'mine'\n# save 2\n") && text.contains("\"a.mp4\""), "{text}");
            assert_eq!(drafted.unwrap().len(), 1);
        }
    }

    #[test]
    fn an_author_who_saves_something_broken_gets_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("course.toml");
        fs::write(&path, "id = 'old'\n").unwrap();
        let outcome = write_between(&path, "T", &[lecture("a.mp4")], || fs::write(&path, "id = \n").unwrap());
        assert_eq!(outcome.unwrap_err().kind(), Kind::Usage);
        assert_eq!(fs::read_to_string(&path).unwrap(), "id = \n");
    }

    #[test]
    fn two_ingests_at_once_both_leave_their_lectures() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let dir = dir.path();
                scope.spawn(move || write(dir, &[lecture(&format!("{n}.mp4"))], &Ctx::silent()).unwrap());
            }
        });
        let course: toml::Table = fs::read_to_string(dir.path().join("course.toml")).unwrap().parse().unwrap();
        assert_eq!(course["lectures"].as_array().unwrap().len(), 8);
    }
}
