use super::*;

/// A directory with the files that the texts below name.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.mp4", "a"),
        ("b1.mts", "b"),
        ("b2.mts", "b"),
        ("a.vi.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\na\n"),
        ("a.pdf", "%PDF"),
        ("no.vtt", "1\n00:00"),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

const GOOD: &str = r#"
id = "noi-khoa"
title = { vi = "Nội khoa", en = "Internal medicine" }
language = "vi"
licence = "CC-BY-4.0"

[[modules]]
id = "phoi"
title = "Phổi"

[[lectures]]
id = "viem-phoi"
title = "Viêm phổi"
module = "phoi"
recording = "a.mp4"
presenter = "BS. Hoa"
captions = { vi = "a.vi.vtt" }
handout = "a.pdf"
trims = { start = 12.5, end = "1:02:03" }

[[lectures]]
id = "lao"
title = "Lao"
module = "phoi"
recording = ["b1.mts", "b2.mts"]
prerequisites = ["viem-phoi"]
"#;

/// `line: message` of everything wrong with a text.
fn wrong(text: &str) -> Vec<String> {
    let dir = place();
    let (course, problems) = read(text, dir.path());
    assert!(!problems.is_empty() && (course.is_none() || problems.iter().all(|p| p.missing.is_some())));
    problems.into_iter().map(|p| format!("{}: {}", p.line, p.message)).collect()
}

/// The good text with a line replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_good_file_becomes_a_course() {
    let dir = place();
    let (course, problems) = read(GOOD, dir.path());
    assert_eq!(problems, []);
    let course = course.unwrap();
    assert_eq!(course.title.in_language("en"), "Internal medicine");
    assert_eq!(course.title.in_language("fr"), "Internal medicine", "the first there is, where a language is not");
    assert_eq!(course.modules[0].title, Text(BTreeMap::from([("vi".into(), "Phổi".into())])), "a plain title is in the course's language");
    let first = &course.lectures[0];
    assert_eq!(first.trims, Some(Trims { start_s: 12.5, end_s: Some(3723.0) }));
    assert_eq!(first.captions["vi"], dir.path().join("a.vi.vtt"));
    assert_eq!(course.lectures[1].recordings, [dir.path().join("b1.mts"), dir.path().join("b2.mts")]);
}

/// Everything at once, in the order of the lines, each with its own line.
#[test]
fn all_problems_of_a_file_are_told_together() {
    let text = r#"id = "Nội"
title = 7
langauge = "vi"
[[modules]]
id = "phoi"
title = { vietnamese = "Phổi" }
[[lectures]]
id = "index"
title = "A"
module = "tim"
recording = "gone.mp4"
captions = { vi = "no.vtt", en = "gone.vtt" }
[[lectures]]
id = "index"
module = "phoi"
recording = []
colour = "red"
prerequisites = ["x"]
trims = { start = "0:90", stop = 3 }
"#;
    assert_eq!(
        wrong(text),
        [
            "1: the course has no language",
            "1: \"Nội\" cannot be the id of the course: it is part of web addresses (a to z, 0 to 9, - inside, at most 64)",
            "2: title of the course is an integer, expected a text in quotes, or one per language: { vi = \"...\", en = \"...\" }",
            "3: \"langauge\" is no field of the course (known are id, title, language, licence, address, modules, lectures)",
            "6: \"vietnamese\" in title of module \"phoi\" is not a language tag (for example vi, en, pt-BR)",
            "6: title of module \"phoi\" is in no language",
            "8: \"index\" cannot be the id of a lecture: the store uses that name itself",
            "10: lecture \"index\" is in module \"tim\", which is not in [[modules]]",
            "11: the recording gone.mp4 is not there",
            "12: no.vtt:1: this is neither WebVTT (no WEBVTT line) nor SRT (no cue times)",
            "12: the captions file gone.vtt is not there",
            "13: lecture \"index\" has no title",
            "14: the lecture id \"index\" is taken already, in line 8",
            "14: \"index\" cannot be the id of a lecture: the store uses that name itself",
            "16: recording of lecture \"index\" is an empty list",
            "17: \"colour\" is no field of lecture \"index\" (known are id, title, module, recording, presenter, captions, handout, prerequisites, trims)",
            "18: the prerequisite \"x\" of lecture \"index\" is no lecture of this course",
            "19: \"stop\" is no field of trims of lecture \"index\" (known are start, end)",
            "19: start in trims of lecture \"index\" is not a time (expected seconds, as 12.5, or \"1:02:03.5\")",
        ]
    );
}

#[test]
fn an_address_is_where_a_browser_can_go() {
    let with = |address: &str| changed("licence = \"CC-BY-4.0\"", &format!("address = '{address}'"));
    for address in ["https://learn.example.vn", "https://learn.example.vn/", "http://10.0.0.7:8080/kho"] {
        let dir = place();
        let (course, problems) = read(&with(address), dir.path());
        assert_eq!(problems, []);
        assert_eq!(course.unwrap().address, Some(format!("{}/", address.trim_end_matches('/'))));
    }
    for address in ["learn.example.vn", "s3://bucket/kho", "https://", "https://a b", "https://a/?x=1", "https://a/\"><script>"] {
        let said = wrong(&with(address));
        assert!(said.len() == 1 && said[0].starts_with("5: ") && said[0].contains("is no address of a store"), "{said:?}");
    }
}

#[test]
fn every_legal_spelling_of_a_time_and_no_other() {
    for (text, seconds) in [("0", 0.0), ("7.25", 7.25), ("\"59\"", 59.0), ("\"1:30\"", 90.0), ("\"2:00:00.5\"", 7200.5)] {
        let dir = place();
        let (course, problems) = read(&changed("start = 12.5, end = \"1:02:03\"", &format!("start = {text}")), dir.path());
        assert_eq!(problems, []);
        assert_eq!(course.unwrap().lectures[0].trims, Some(Trims { start_s: seconds, end_s: None }), "{text}");
    }
    for text in ["-1", "nan", "inf", "\"1:60\"", "\"1:2:3:4\"", "\"-5\"", "\"1e3\"", "\"\"", "true", "\":30\""] {
        assert_eq!(wrong(&changed("start = 12.5", &format!("start = {text}"))).len(), 1, "{text}");
    }
    assert!(wrong(&changed("start = 12.5, end = \"1:02:03\"", ""))[0].contains("neither start nor end"));
    assert!(wrong(&changed("end = \"1:02:03\"", "end = 12.5"))[0].contains("not after their start"));
}

#[test]
fn prerequisites_do_not_go_round_in_circles() {
    let round = changed("presenter = \"BS. Hoa\"", "prerequisites = [\"lao\"]");
    assert_eq!(wrong(&round), ["16: the prerequisites go round in a circle: viem-phoi needs lao needs viem-phoi"]);
    let own = changed("prerequisites = [\"viem-phoi\"]", "prerequisites = [\"lao\"]");
    assert_eq!(wrong(&own), ["26: the prerequisites go round in a circle: lao needs lao"]);
    let third = "[[lectures]]\nid = \"c\"\ntitle = \"C\"\nmodule = \"phoi\"\nrecording = \"a.mp4\"\nprerequisites = [\"lao\"]\n";
    let long = format!("{}{third}", changed("presenter = \"BS. Hoa\"", "prerequisites = [\"c\"]"));
    assert_eq!(wrong(&long), ["16: the prerequisites go round in a circle: viem-phoi needs c needs lao needs viem-phoi"]);
}

#[test]
fn ids_are_fit_for_addresses() {
    for id in ["blobs", "courses", "index", "A", "a_b", "a.b", "a/b", "-a", "ă", &"x".repeat(65)] {
        let found = wrong(&changed("id = \"noi-khoa\"", &format!("id = \"{id}\"")));
        assert!(found.len() == 1 && found[0].starts_with("2: "), "{id}: {found:?}");
    }
}

#[test]
fn a_syntax_error_has_its_line() {
    assert!(wrong("id = \"x\"\ntitle = \n")[0].starts_with("2: "));
}

#[test]
fn a_lecture_of_a_course_with_modules_says_its_module_and_others_need_not() {
    assert_eq!(
        wrong(&changed("module = \"phoi\"\nrecording = \"a.mp4\"", "recording = \"a.mp4\"")),
        ["11: lecture \"viem-phoi\" does not say its module"]
    );
    let dir = place();
    let plain = "id = \"x\"\ntitle = \"X\"\nlanguage = \"vi\"\nlectures = [{ id = \"a\", title = \"A\", recording = \"a.mp4\" }]\n";
    assert_eq!(read(plain, dir.path()).1, []);
    assert_eq!(wrong("id = \"x\"\ntitle = \"X\"\nlanguage = \"vi\"\n"), ["1: the course has no [[lectures]]"]);
}

/// A laptop without the recordings: the course is there to be judged, but is not accepted blindly.
#[test]
fn missing_files_are_problems_that_can_be_accepted() {
    let dir = place();
    std::fs::write(dir.path().join("course.toml"), changed("a.mp4", "gone.mp4")).unwrap();
    let path = dir.path().join("course.toml");
    let refused = load(&path).unwrap().accept(|_| false).unwrap_err();
    assert_eq!(refused.kind(), Kind::Usage);
    assert!(refused.what().contains("course.toml:15: the recording gone.mp4 is not there"), "{refused}");
    let accepted =
        load(&path).unwrap().accept(|m| *m == Missing { lecture: "viem-phoi".into(), part: Part::Recording, name: "gone.mp4".into() });
    assert_eq!(accepted.unwrap().lectures.len(), 2);
    assert_eq!(check(&path).unwrap().len(), 1);
}

#[test]
fn a_name_typed_composed_finds_the_file_named_decomposed() {
    use unicode_normalization::UnicodeNormalization;
    let dir = place();
    let name = "viêm phổi.mp4";
    let stored = dir.path().join(name.nfd().collect::<String>());
    std::fs::write(&stored, "a").unwrap();
    let text = changed("recording = \"a.mp4\"", &format!("recording = \"{}\"", name.nfc().collect::<String>()));
    let (course, problems) = read(&text, dir.path());
    assert_eq!(problems, []);
    assert_eq!(course.unwrap().lectures[0].recordings, [stored]);
}
