//! docs/json.md against the binary: what it prints stands on the page, and what the page names is printed.

#[allow(dead_code, reason = "each test binary uses its part")]
mod whole;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use whole::{Run, fixture, slide_profile};

/// By type: every name in backticks where the page speaks of it, and the fields that a table of its own lists.
struct Page {
    said: BTreeMap<String, BTreeSet<String>>,
    listed: BTreeMap<String, BTreeSet<String>>,
}

fn ticked(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('`').skip(1).step_by(2).map(str::to_string)
}

impl Page {
    fn read(text: &str) -> Page {
        let mut page = Page { said: BTreeMap::new(), listed: BTreeMap::new() };
        for section in text.split("\n## ").skip(1) {
            let (head, body) = section.split_once('\n').unwrap();
            let rows =
                || body.lines().filter(|l| l.starts_with('|')).map(|l| l.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
            // "`rivulet plan`: `plan`, one": a section of one type lists its fields in the first column.
            let kind = ticked(head).nth(1);
            match kind {
                Some(kind) if kind != "finding" => {
                    let fields = rows().flat_map(|r| ticked(r[0]).collect::<Vec<_>>()).filter(|f| !f.contains('.'));
                    page.listed.entry(kind.clone()).or_default().extend(fields);
                    page.said.entry(kind).or_default().extend(ticked(body));
                }
                // Else a row is a type, in the first or the second column.
                _ => {
                    for row in rows() {
                        let column = if row.len() > 2 { 1 } else { 0 };
                        for kind in ticked(row[column]) {
                            page.said.entry(kind).or_default().extend(ticked(row[row.len() - 1]));
                        }
                    }
                }
            }
        }
        page
    }
}

/// Every type with the fields that any of its lines had.
#[derive(Default)]
struct Printed(BTreeMap<String, BTreeSet<String>>);

impl Printed {
    fn run(&mut self, run: &Run, code: i32, args: &[&str]) -> Vec<Value> {
        let output = run.command().current_dir(run.dir()).arg("--json").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{args:?}: {e}: {l}"))).collect();
        for line in &lines {
            let fields = line.as_object().unwrap().keys().filter(|k| *k != "type").cloned();
            self.0.entry(line["type"].as_str().unwrap().to_string()).or_default().extend(fields);
        }
        lines
    }
}

fn swap(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn what_is_printed_stands_on_the_page_and_what_the_page_lists_is_printed() {
    let (Some(pictures), Some(text)) = (fixture("odd-vfr.mkv"), fixture("broken-text.mp4")) else { return };
    let run = Run::new();
    slide_profile(run.dir(), "small", 2.0);
    let (pictures, text) = (pictures.to_str().unwrap(), text.to_str().unwrap());
    let mut printed = Printed::default();
    let profile = ["--profile", "small.toml"];
    printed.run(&run, 0, &["probe", pictures]);
    printed.run(&run, 4, &["probe", text]);
    printed.run(&run, 0, &[&["plan", pictures][..], &profile].concat());
    printed.run(&run, 0, &[&["encode", pictures, "-o", "package"][..], &profile].concat());
    printed.run(&run, 0, &["check", "package"]);
    printed.run(&run, 0, &["check", "--rules"]);
    printed.run(&run, 0, &["replay", "package", "--class", "edge"]);
    printed.run(&run, 0, &["ingest", "--still", "0", "--into", "course", pictures]);
    printed.run(&run, 4, &["ingest", "--still", "0", "--into", "course", text]);
    let course = run.dir().join("course/course.toml");
    let title = std::fs::read_to_string(&course).unwrap().lines().find(|l| l.starts_with("title")).unwrap().to_string();
    let to = ["--to", "store"];
    printed.run(&run, 0, &[&["publish", "course/course.toml", "--dry-run"][..], &profile, &to].concat());
    let first = printed.run(&run, 0, &[&["publish", "course/course.toml"][..], &profile, &to].concat());
    swap(&course, &title, "title = \"Another\"");
    printed.run(&run, 0, &[&["publish", "course/course.toml"][..], &profile, &to].concat());
    let id = first.iter().find(|l| l["type"] == "published").unwrap()["course"].as_str().unwrap().to_string();
    printed.run(&run, 0, &["releases", "store", &id]);
    printed.run(&run, 0, &["diff", "store", &id]);
    printed.run(&run, 0, &["rollback", "store", &id]);
    printed.run(&run, 0, &["prune", "store"]);
    printed.run(&run, 0, &["clean"]);

    let page = Page::read(include_str!("../docs/json.md"));
    assert!(page.listed["package"].contains("rungs") && page.said["drafted"].contains("lectures"), "the page is read wrongly");
    let mut faults = Vec::new();
    for (kind, fields) in &printed.0 {
        let said = page.said.get(kind).cloned().unwrap_or_default();
        faults.extend(fields.difference(&said).map(|f| format!("`{f}` of `{kind}` is printed, and is not in docs/json.md")));
    }
    for (kind, listed) in &page.listed {
        let fields = printed.0.get(kind).cloned().unwrap_or_default();
        let missing = listed.difference(&fields).filter(|f| !SELDOM.contains(&f.as_str()));
        faults.extend(missing.map(|f| format!("`{f}` of `{kind}` is in docs/json.md, and was not printed")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Printed only where there is something to say, as the page says.
const SELDOM: [&str; 3] = ["gave_way", "worst_start_s", "worst_stall_s"];
