//! From a technician's files to what learners see, with the real binary and real media: ingest, publish, correct, go
//! back, and a publisher who is killed.

#[allow(dead_code, reason = "each test binary uses its part")]
mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use whole::{Done, Run, fixture, small_profile, started};

/// Two short recordings in a course's directory with a draft; `None` where the fixtures were not made.
fn studio() -> Option<Run> {
    let (vfr, fast) = (fixture("odd-vfr.mkv")?, fixture("odd-60fps.mp4")?);
    let run = Run::new();
    small_profile(run.dir(), "small", 2.0);
    let done = in_dir(&run, &["ingest", "--still", "0", "--into", "course", vfr.to_str().unwrap(), fast.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.err);
    Some(run)
}

fn in_dir(run: &Run, args: &[&str]) -> Done {
    let output = run.command().current_dir(run.dir()).args(args).output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const PUBLISH: [&str; 7] = ["--json", "publish", "course/course.toml", "--profile", "small.toml", "--to", "store"];

fn edit(run: &Run, from: &str, to: &str) {
    let path = run.dir().join("course/course.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Every file below a directory, hidden ones too, by its path.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(all.insert(path.strip_prefix(dir).unwrap().display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }
    all
}

#[test]
fn a_draft_is_published_corrected_and_taken_back() {
    let Some(run) = studio() else { return };
    let store = run.dir().join("store");
    let first = in_dir(&run, &PUBLISH);
    assert_eq!(first.code, 0, "{}", first.err);
    let line = first.json("published");
    assert_eq!((line["release"].as_u64(), line["encoded"].as_array().unwrap().len()), (Some(1), 2));
    assert_eq!(line["partial"], serde_json::json!([]));
    let check = in_dir(&run, &["check", "store"]);
    assert_eq!((check.code, check.out.trim()), (0, "ok"), "{}", check.err);
    let published = tree(&store);
    for (key, bytes) in published.iter().filter(|(k, _)| k.ends_with(".json")) {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("odd-vfr.mkv") && !text.contains("odd-60fps.mp4"), "{key} names a recording");
    }

    let again = in_dir(&run, &PUBLISH);
    let line = again.json("published");
    assert_eq!((again.code, line["objects_sent"].as_u64(), line["release"].as_u64()), (0, Some(0), Some(1)));
    assert_eq!(tree(&store), published);

    // A title costs its pages, not its pictures; and not even the recordings are needed for it.
    edit(&run, "title = \"odd-vfr\"", "title = \"Đau ngực\"");
    std::fs::remove_file(run.dir().join("course/odd-vfr.mkv")).unwrap();
    let titled = in_dir(&run, &PUBLISH);
    let line = titled.json("published");
    assert_eq!((titled.code, line["release"].as_u64()), (0, Some(2)), "{}", titled.err);
    assert_eq!((&line["encoded"], &line["carried"]), (&serde_json::json!([]), &serde_json::json!(["odd-vfr"])));
    // Manifest, pointer and lists cost little; and each lecture page, which holds its player and the start of its voice, no more
    // than a learner may have to fetch before the sound.
    let now = tree(&store);
    let changed: Vec<(&String, u64)> = now.iter().filter(|(k, v)| published.get(*k) != Some(v)).map(|(k, v)| (k, v.len() as u64)).collect();
    // The note of whose pages these are is no object of the site.
    let changed = changed.into_iter().filter(|(k, _)| !k.ends_with("/pages.json"));
    let (pages, rest): (Vec<_>, Vec<_>) = changed.partition(|(k, _)| k.ends_with(".html") && !k.ends_with("index.html"));
    assert!(pages.len() == 2 && pages.iter().all(|(_, n)| *n < 60_000), "{pages:?}");
    assert!(rest.iter().map(|(_, n)| n).sum::<u64>() < 20_000, "{rest:?}");
    assert!(line["bytes_sent"].as_u64().unwrap() < 100_000, "{line}");
    assert_eq!(line["bytes_sent"].as_u64().unwrap(), pages.iter().chain(&rest).map(|(_, n)| n).sum::<u64>(), "{line}");
    let blobs = |tree: &BTreeMap<String, Vec<u8>>| tree.keys().filter(|k| k.starts_with("blobs/")).cloned().collect::<Vec<_>>();
    assert_eq!(blobs(&tree(&store)), blobs(&published));
    let page = std::fs::read_to_string(store.join("course/odd-vfr.html")).unwrap();
    assert!(page.contains("Đau ngực"));

    let back = in_dir(&run, &["--json", "rollback", "store", "course"]);
    assert_eq!((back.code, back.json("published")["release"].as_u64()), (0, Some(1)));
    assert!(!std::fs::read_to_string(store.join("course/odd-vfr.html")).unwrap().contains("Đau ngực"));
    let releases = in_dir(&run, &["--json", "releases", "store", "course"]);
    let current: Vec<_> = releases.out.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).collect();
    let current: Vec<_> = current.iter().map(|r| (r["release"].as_u64().unwrap(), r["current"].as_bool().unwrap())).collect();
    assert_eq!(current, [(1, true), (2, false)]);
    assert_eq!(in_dir(&run, &["check", "store"]).code, 0);
}

/// kill -9 after so many lines of talk, wherever that is: run again, the store is to the byte as if nothing had happened.
#[test]
fn a_publisher_who_was_killed_leaves_no_trace_after_the_next_run() {
    let Some(run) = studio() else { return };
    let undisturbed = in_dir(&run, &PUBLISH);
    assert_eq!(undisturbed.code, 0, "{}", undisturbed.err);
    let wanted = tree(&run.dir().join("store"));
    let lines = undisturbed.out.lines().count();
    let mut seed = 20_261u64;
    for _ in 0..5 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (seed >> 33) as usize % lines;
        std::fs::remove_dir_all(run.dir().join("store")).unwrap();
        std::fs::remove_dir_all(run.work()).unwrap();
        let mut command = run.command();
        command.current_dir(run.dir()).args(PUBLISH);
        let mut running = started(command);
        running.wait_for_lines(n);
        running.kill();
        let done = in_dir(&run, &PUBLISH);
        assert_eq!(done.code, 0, "killed after {n} of {lines} lines: {}", done.err);
        // Who was at work is no part of what learners see.
        let mut now = tree(&run.dir().join("store"));
        now.retain(|key, _| !key.starts_with("intents/"));
        let differs: Vec<_> = wanted.keys().chain(now.keys()).filter(|k| wanted.get(*k) != now.get(*k)).collect();
        assert!(differs.is_empty(), "killed after {n} of {lines} lines: {differs:?}");
    }
}

/// With its floor first the lecture is there twice, the second time to the byte as if it had come at once, and the floor's
/// pictures were coded once: both releases name the same film. Then it is withdrawn.
#[test]
fn the_floor_comes_first_and_the_whole_is_as_without_it() {
    let Some(run) = studio() else { return };
    let manifest = |store: &str, n: u64| -> serde_json::Value {
        let path = run.dir().join(store).join(format!("courses/course/releases/{n}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let done = in_dir(&run, &[&PUBLISH[..], &["--floor-from", "0"]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    let lines = done.out.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let told: Vec<_> = lines.filter(|l| l["type"] == "published").map(|l| (l["release"].as_u64(), l["stage"].clone())).collect();
    assert_eq!(told, [(Some(1), "floor".into()), (Some(2), "full".into())]);
    let (floor, whole) = (manifest("store", 1), manifest("store", 2));
    for (floor, whole) in floor["lectures"].as_array().unwrap().iter().zip(whole["lectures"].as_array().unwrap()) {
        assert_eq!((&floor["floor_only"], &whole["floor_only"]), (&true.into(), &serde_json::Value::Null));
        let lowest = &floor["rungs"][0];
        assert!(floor["rungs"].as_array().unwrap().len() == 1 && whole["rungs"].as_array().unwrap().len() > 1);
        let film = format!("v-{}.mp4", lowest["name"].as_str().unwrap());
        assert_eq!(floor["objects"][&film], whole["objects"][&film]);
        assert_eq!((&floor["objects"]["floor.mp4"], &floor["slides"]), (&whole["objects"]["floor.mp4"], &whole["slides"]));
    }
    std::fs::remove_dir_all(run.work()).unwrap();
    let mut at_once = PUBLISH;
    at_once[6] = "other";
    assert_eq!(in_dir(&run, &at_once).code, 0);
    assert_eq!(manifest("other", 1)["lectures"], whole["lectures"]);

    let gone = in_dir(&run, &["--json", "withdraw", "store", "course", "odd-vfr"]);
    assert_eq!((gone.code, gone.json("withdrawn")["release"].as_u64()), (0, Some(3)), "{}", gone.err);
    let left = tree(&run.dir().join("store"));
    let lecture = whole["lectures"].as_array().unwrap().iter().find(|l| l["id"] == "odd-vfr").unwrap();
    let film = format!("v-{}.mp4", lecture["rungs"][0]["name"].as_str().unwrap());
    let key = lecture["objects"][&film]["key"].as_str().unwrap();
    assert!(!left.contains_key(key) && tree(&run.dir().join("other")).contains_key(key));
    let refused = in_dir(&run, &PUBLISH);
    assert!(refused.code == 2 && refused.err.contains("--restore odd-vfr"), "{}", refused.err);
    let pruned = in_dir(&run, &["--json", "prune", "store", "--keep", "1"]);
    assert_eq!((pruned.code, pruned.json("pruned")["releases"]["course"].clone()), (0, serde_json::json!([1, 2])), "{}", pruned.err);
    assert_eq!(in_dir(&run, &["check", "store"]).code, 0);
}
