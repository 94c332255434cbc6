//! `rivulet ingest` and `rivulet clean` as a technician meets them: the whole binary in a fresh directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

/// A card full of recordings, a course's directory and a work directory of their own.
struct Studio(tempfile::TempDir);

impl Studio {
    fn new() -> Self {
        let studio = Studio(tempfile::tempdir().unwrap());
        fs::create_dir(studio.at("card")).unwrap();
        studio
    }
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    /// A small real WAV (half a second of a tone that depends on `tone`), recorded an hour ago: whole at first sight.
    fn record(&self, path: &str, tone: u32) {
        let samples: Vec<u8> = (0..8000u32).flat_map(|n| ((n * tone % 200) as i16 * 50).to_le_bytes()).collect();
        let format = [
            &1u16.to_le_bytes()[..],
            &1u16.to_le_bytes(),
            &16000u32.to_le_bytes(),
            &32000u32.to_le_bytes(),
            &2u16.to_le_bytes(),
            &16u16.to_le_bytes(),
        ];
        let body =
            [b"WAVEfmt ", &16u32.to_le_bytes()[..], &format.concat(), b"data", &(samples.len() as u32).to_le_bytes(), &samples].concat();
        self.write(path, &[b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat());
    }
    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    fn rivulet(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        command.current_dir(self.0.path()).env("RIVULET_WORK", self.at("work")).args(args).output().unwrap()
    }
    fn ingest(&self, args: &[&str]) -> (String, i32) {
        let out = self.rivulet(&[&["ingest", "--into", "course"], args].concat());
        (text(&out.stdout) + &text(&out.stderr), out.status.code().unwrap())
    }
    fn json(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let out = self.rivulet(&[&["ingest", "--json", "--into", "course"], args].concat());
        text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }
    fn course(&self) -> toml::Table {
        fs::read_to_string(self.at("course/course.toml")).unwrap().parse().unwrap()
    }
    fn recordings(&self) -> Vec<String> {
        let mut names: Vec<String> = names(&self.at("course")).into_iter().filter(|n| n.ends_with(".wav")).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

const NFC: &str = "Bài 1_ Đau ngực.wav";
/// The same name as a Mac writes it.
const NFD: &str = "Ba\u{300}i 1_ Đau ngư\u{323}c.wav";

#[test]
fn a_folder_of_recordings_becomes_a_course() {
    let studio = Studio::new();
    studio.record("card/Bài 10.wav", 3);
    studio.record("card/Bài 2.wav", 2);
    studio.record("card/DCIM/100CAM/MVI_0001.WAV", 4);
    let before = fs::read(studio.at("card/Bài 2.wav")).unwrap();
    let (said, code) = studio.ingest(&["card"]);
    assert_eq!(code, 0, "{said}");
    let course = studio.course();
    let titles: Vec<_> = course["lectures"].as_array().unwrap().iter().map(|l| l["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Bài 2", "Bài 10", "MVI 0001"]);
    assert_eq!(course["lectures"][0]["id"].as_str(), Some("bai-2"));
    for name in ["id", "title", "language"] {
        assert!(course[name].is_str(), "{name}");
    }
    assert_eq!(fs::read(studio.at("course/Bài 2.wav")).unwrap(), before);
    assert_eq!(fs::read(studio.at("card/Bài 2.wav")).unwrap(), before, "the original is as it was");
    let modified = |path: &str| fs::metadata(studio.at(path)).unwrap().modified().unwrap();
    assert_eq!(modified("card/Bài 2.wav"), modified("course/Bài 2.wav"), "when it was recorded is kept");
}

#[test]
fn composed_and_decomposed_names_are_one_name() {
    let studio = Studio::new();
    studio.record(&format!("card/{NFD}"), 2);
    assert_eq!(studio.ingest(&["card"]).1, 0);
    assert_eq!(studio.recordings(), [NFC]);
    // The same name in the other form with the same content is the same recording, ...
    studio.record(&format!("usb/{NFC}"), 2);
    let (said, code) = studio.ingest(&["usb"]);
    assert!(code == 0 && said.contains("not copied again"), "{said}");
    assert_eq!((studio.recordings().len(), studio.course()["lectures"].as_array().unwrap().len()), (1, 1));
    // ... and with another content it gets a name of its own.
    studio.record(&format!("usb/{NFC}"), 3);
    assert_eq!(studio.ingest(&["usb"]).1, 0);
    assert_eq!(studio.recordings().len(), 2);
    let ids: Vec<String> = studio.course()["lectures"].as_array().unwrap().iter().map(|l| l["id"].as_str().unwrap().to_string()).collect();
    assert!(ids[0] == "bai-1-dau-nguc" && ids[1].starts_with("bai-1-dau-nguc-"), "{ids:?}");
}

#[test]
fn the_same_recording_is_taken_once() {
    let studio = Studio::new();
    studio.record("card/a.wav", 2);
    studio.record("card/copy of a.wav", 2);
    let lines = studio.json(&["card", "card/a.wav"]);
    let ingested: Vec<_> = lines.iter().filter(|l| l["type"] == "ingested").collect();
    assert_eq!(ingested.len(), 2, "a path given twice is one path: {lines:?}");
    assert!(ingested[0]["known"] == false && ingested[1]["known"] == true);
    assert_eq!(ingested[1]["into"].as_str(), Some("course/a.wav"));
    assert_eq!(ingested[0]["bytes"].as_u64(), Some(16044));
    assert_eq!(ingested[0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(studio.recordings(), ["a.wav"]);
    // Again, and from within the course itself: nothing changes.
    let before = fs::read(studio.at("course/course.toml")).unwrap();
    assert_eq!(studio.ingest(&["card", "course"]).1, 0);
    assert_eq!(fs::read(studio.at("course/course.toml")).unwrap(), before);
}

#[test]
fn what_a_killed_run_left_is_cleared_and_the_recording_taken() {
    let studio = Studio::new();
    studio.record("card/a.wav", 2);
    studio.record("card/b.wav", 3);
    // Killed while copying a.wav; b.wav had its name already, but no lecture yet.
    studio.write("course/.rivulet-0123456789abcdef.part.wav", b"RIFF half a copy");
    studio.record("course/b.wav", 3);
    let (said, code) = studio.ingest(&["card"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(studio.recordings(), ["a.wav", "b.wav"]);
    assert_eq!(studio.course()["lectures"].as_array().unwrap().len(), 2);
    assert!(!names(&studio.at("course")).iter().any(|n| n.contains(".part")));
}

#[test]
fn what_the_author_wrote_is_kept() {
    let studio = Studio::new();
    studio.record("card/a.wav", 2);
    studio.ingest(&["card"]);
    let file = studio.at("course/course.toml");
    let mine = fs::read_to_string(&file).unwrap().replace("title = \"a\"", "title = \"Đau ngực\"  # đã hỏi BS. Lan");
    fs::write(&file, &mine).unwrap();
    studio.record("card/b.wav", 3);
    assert_eq!(studio.ingest(&["card"]).1, 0);
    let now = fs::read_to_string(&file).unwrap();
    assert!(now.starts_with(&mine) && now.len() > mine.len());
    assert_eq!(studio.course()["lectures"].as_array().unwrap().len(), 2);
    // A file that is no TOML at the moment is left alone, and the recording is there all the same.
    fs::write(&file, "title = ").unwrap();
    studio.record("card/c.wav", 4);
    let (said, code) = studio.ingest(&["card"]);
    assert!(code == 3 && said.contains("line 1"), "{code} {said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "title = ");
    assert_eq!(studio.recordings(), ["a.wav", "b.wav", "c.wav"]);
    // Once it is put right, the same command adds what it could not.
    fs::write(&file, &now).unwrap();
    assert_eq!(studio.ingest(&["card"]).1, 0);
    assert_eq!(studio.course()["lectures"].as_array().unwrap().len(), 3);
}

#[test]
fn a_broken_recording_is_refused_with_its_reason_and_the_others_go_on() {
    let studio = Studio::new();
    studio.record("card/good.wav", 2);
    let whole = fs::read(studio.at("card/good.wav")).unwrap();
    studio.write("card/cut.wav", &whole[..9000]);
    studio.write("card/empty.mp4", b"");
    studio.write("card/slides.mp4", b"%PDF-1.7\n");
    let lines = studio.json(&["card"]);
    let reason = |name: &str| {
        lines.iter().find(|l| l["type"] == "refused" && l["path"].as_str() == Some(name)).unwrap()["reason"].as_str().unwrap().to_string()
    };
    assert!(reason("card/cut.wav").contains("announces 16044 bytes, 9000 are there"));
    assert!(reason("card/empty.mp4").contains("empty"));
    assert!(reason("card/slides.mp4").contains("PDF"));
    assert_eq!(studio.recordings(), ["good.wav"]);
    assert_eq!(studio.ingest(&["card"]).1, 3);
    assert_eq!(studio.ingest(&["card/cut.wav"]).1, 4, "where nothing could be taken");
    assert_eq!(studio.ingest(&["card/typo.wav"]).1, 1);
}

#[test]
fn a_directory_that_cannot_be_written_is_said_once_and_is_no_fault_of_the_recordings() {
    let studio = Studio::new();
    studio.record("card/a.wav", 2);
    studio.record("card/b.wav", 3);
    // As root every mode can be written, but not a directory.
    fs::create_dir_all(studio.at("course/.rivulet-ingest.lock")).unwrap();
    let (said, code) = studio.ingest(&["card"]);
    assert!(code == 1 && said.contains("cannot write in course") && !said.contains("refused"), "{code} {said}");
}

// Needs root for the mount; elsewhere the same rule is tested with a made-up disk (`a_full_disk_is_found_before_...`).
#[test]
fn a_disk_without_room_is_said_before_anything_is_copied() {
    let studio = Studio::new();
    fs::create_dir(studio.at("course")).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(studio.at("course")).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: a_disk_without_room_is_said_before_anything_is_copied cannot mount a small tmpfs here");
        return;
    }
    studio.record("card/a.wav", 2);
    let (said, code) = studio.ingest(&["card"]);
    let left = names(&studio.at("course"));
    Command::new("umount").arg(studio.at("course")).status().unwrap();
    assert!(code == 1 && said.contains("no room in course: 16.0 kB are to be copied"), "{code} {said}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn clean_shows_first_and_frees_only_when_told() {
    let studio = Studio::new();
    let plan = studio.at("work/plans").join("ab".repeat(32));
    fs::create_dir_all(&plan).unwrap();
    fs::write(plan.join("plan.json"), r#"{"title":"Đau ngực"}"#).unwrap();
    fs::write(plan.join("c00001.chunk"), [0; 5000]).unwrap();
    let shown = text(&studio.rivulet(&["clean"]).stdout);
    assert!(shown.contains("Đau ngực") && shown.contains("not in use") && plan.exists(), "{shown}");
    // A running encode holds its lock.
    let lock = File::create(plan.join("lock")).unwrap();
    lock.lock().unwrap();
    let shown = text(&studio.rivulet(&["clean", "--yes"]).stdout);
    assert!(shown.contains("in use") && plan.join("c00001.chunk").exists(), "{shown}");
    drop(lock);
    let shown = text(&studio.rivulet(&["clean", "--yes", "--json"]).stdout);
    let lines: Vec<serde_json::Value> = shown.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(lines[0]["type"] == "work" && lines[0]["in_use"] == false && lines[0]["title"] == "Đau ngực");
    assert!(lines.last().unwrap()["type"] == "cleaned" && lines.last().unwrap()["freed_bytes"].as_u64() > Some(5000));
    assert!(!plan.exists());
}
