//! `rivulet probe` on small recordings made here with gst-launch-1.0: what is said of each kind, and that the picture
//! times taken from packets are those of a real decode.

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PICTURE: &str = "videotestsrc num-buffers=250 pattern=ball ! video/x-raw,format=I420,width=160,height=90,framerate=25/1";
const SOUND: &str =
    "audiotestsrc num-buffers=100 samplesperbuffer=4800 ! audio/x-raw,rate=48000,channels=1 ! audioconvert ! voaacenc ! aacparse ! queue";

/// Runs a pipeline that writes `name`; `{out}` stands for its path.
fn make(dir: &TempDir, name: &str, pipeline: &str) -> PathBuf {
    let path = dir.path().join(name);
    let text = pipeline.replace("{out}", &format!("filesink location={}", path.display()));
    let out = Command::new("gst-launch-1.0").arg("-q").args(text.split_whitespace()).output().expect("gst-launch-1.0 is installed");
    assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
    path
}

fn h264(options: &str) -> String {
    format!("{PICTURE} ! x264enc speed-preset=ultrafast threads=1 key-int-max=50 {options} ! h264parse")
}

fn mp4(dir: &TempDir, name: &str) -> PathBuf {
    make(dir, name, &format!("{} ! queue ! mp4mux name=m faststart=true ! {{out}} {SOUND} ! m.", h264("bframes=2")))
}

fn probe(paths: &[&Path]) -> Output {
    // What another test found out must not answer for this one.
    let work = TempDir::new().unwrap();
    probe_in(work.path(), paths)
}

fn probe_in(work: &Path, paths: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rivulet")).args(["probe", "--json", "--work-dir"]).arg(work).args(paths).output().unwrap()
}

fn lines(out: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&out.stdout).lines().map(|l| serde_json::from_str(l).expect("every line is JSON")).collect()
}

/// The one `source` line; nothing may come out on stderr.
fn source(path: &Path) -> Value {
    let out = probe(&[path]);
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""));
    let mut all = lines(&out);
    assert_eq!((all.len(), &all[0]["type"]), (1, &json!("source")));
    all.remove(0)
}

/// The error of a file that cannot be used.
fn refused(path: &Path) -> String {
    let out = probe(&[path]);
    assert_eq!(out.status.code(), Some(4));
    let all = lines(&out);
    assert_eq!((all.len(), &all[0]["type"], &all[0]["path"]), (1, &json!("error"), &json!(path.display().to_string())));
    all[0]["message"].as_str().unwrap().to_string()
}

fn says(value: &Value, words: &str) -> bool {
    value.as_array().unwrap().iter().any(|l| l.as_str().unwrap().contains(words))
}

/// What the child finds when it must take times from packets, or must decode everything.
fn child(path: &Path, times: &str) -> Value {
    let job = json!({"path": path, "sha256": "0".repeat(64), "bytes": 1, "times": times}).to_string();
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_rivulet")).args(["child", "probe"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(job.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let last = lines(&out).pop().unwrap();
    assert!(last["ok"].is_object(), "{last}");
    last["ok"].clone()
}

#[test]
fn a_plain_mp4_is_described_and_needs_nothing() {
    let dir = TempDir::new().unwrap();
    let s = source(&mp4(&dir, "giảng-bài.mp4"));
    let v = &s["video"];
    assert_eq!((&v["codec"], &v["width"], &v["height"], &v["par"]), (&json!("h264"), &json!(160), &json!(90), &json!("1:1")));
    assert_eq!((&v["frame_rate"], &v["variable"], &v["frames"], &v["rotation"]), (&json!(25.0), &json!(false), &json!(250), &json!(0)));
    assert_eq!((&v["interlaced"], &v["bit_depth"], &v["hdr"]), (&json!(false), &json!(8), &Value::Null));
    assert_eq!(s["audio"], json!([{"stream_id": "002", "codec": "aac", "channels": 1, "rate_hz": 48000}]));
    assert_eq!(
        (&s["container"], &s["voice"], &s["repairs"], &s["problems"]),
        (&json!("video/quicktime"), &json!(0), &json!([]), &json!([]))
    );
    assert_eq!(s["access"], "seek");
    assert!((s["duration_s"].as_f64().unwrap() - 10.0).abs() < 0.1);
    assert_eq!(s["sha256"].as_str().unwrap().len(), 64);
}

// The rule that all of encode stands on. Where packets cannot be trusted (AVI, TS) the first run decodes too, and must agree.
#[test]
fn picture_times_are_those_of_a_real_decode() {
    let dir = TempDir::new().unwrap();
    let files = [
        mp4(&dir, "a.mp4"),
        make(&dir, "a.mkv", &format!("{} ! matroskamux ! {{out}}", h264("bframes=2"))),
        make(&dir, "a.ts", &format!("{} ! mpegtsmux ! {{out}}", h264(""))),
        make(&dir, "a.avi", &format!("{PICTURE} ! jpegenc ! avimux ! {{out}}")),
        make(&dir, "a.webm", &format!("{PICTURE} ! vp8enc deadline=1 cpu-used=8 ! webmmux ! {{out}}")),
    ];
    for file in files {
        let (packets, decoded) = (child(&file, "packets"), child(&file, "decode"));
        assert_eq!(decoded["frames_ns"].as_array().unwrap().len(), 250, "{}", file.display());
        assert_eq!(packets["frames_ns"], decoded["frames_ns"], "{}", file.display());
    }
}

// Seeking into these loses or invents pictures, or shows garbage.
#[test]
fn what_does_not_seek_exactly_is_read_in_one_pass() {
    let dir = TempDir::new().unwrap();
    let refresh = h264("intra-refresh=true");
    for (name, pipeline) in [
        ("refresh.mp4", format!("{refresh} ! mp4mux ! {{out}}")),
        ("a.ts", format!("{} ! mpegtsmux ! {{out}}", h264(""))),
        ("a.webm", format!("{PICTURE} ! vp8enc deadline=1 cpu-used=8 ! webmmux ! {{out}}")),
    ] {
        assert_eq!(source(&make(&dir, name, &pipeline))["access"], "sequential", "{name}");
    }
    let mkv = make(&dir, "a.mkv", &format!("{} ! matroskamux ! {{out}}", h264("bframes=2")));
    assert_eq!(source(&mkv)["access"], "seek", "while plain Matroska does");
}

// Facts are kept by the file's digest: its streams have the same names under every path.
#[test]
fn streams_are_named_alike_under_every_path() {
    let dir = TempDir::new().unwrap();
    let first = mp4(&dir, "a.mp4");
    let second = dir.path().join("b.mp4");
    std::fs::copy(&first, &second).unwrap();
    let ids = |path: &Path| {
        let found = child(path, "auto");
        (found["video"]["stream_id"].clone(), found["audio"][0]["stream_id"].clone())
    };
    assert_eq!(ids(&first), (json!("001"), json!("002")));
    assert_eq!(ids(&first), ids(&second));
}

// A screen and a small camera beside it, the camera first: the larger picture is the lecture's, and it is that one which is
// decoded.
#[test]
fn the_larger_of_two_pictures_is_taken() {
    let dir = TempDir::new().unwrap();
    let small = "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=96,height=64,framerate=25/1 ! jpegenc ! queue";
    for (name, muxer) in [("two.mkv", "matroskamux"), ("two.mov", "qtmux")] {
        let path = make(&dir, name, &format!("{muxer} name=m ! {{out}} {small} ! m. {PICTURE} ! jpegenc ! queue ! m."));
        let found = child(&path, "decode");
        let v = &found["video"];
        assert!(v["stream_id"].as_str().unwrap().starts_with("002"), "{name}: {v}");
        assert_eq!((&v["width"], &v["track"]), (&json!(160), &json!(1)), "{name}");
        assert_eq!(found["frames_ns"].as_array().unwrap().len(), 250, "{name}");
    }
}

#[test]
fn pictures_at_uneven_times_are_variable() {
    let dir = TempDir::new().unwrap();
    // Two rates, one after the other.
    let parts = "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=160,height=90,framerate=25/1 ! c. videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=160,height=90,framerate=5/1 ! c. concat name=c";
    let s = source(&make(&dir, "v.mkv", &format!("{parts} ! capssetter caps=video/x-raw,framerate=0/1 ! jpegenc ! matroskamux ! {{out}}")));
    assert_eq!((&s["video"]["variable"], &s["video"]["frames"]), (&json!(true), &json!(70)));
    assert!(says(&s["repairs"], "variable frame rate"));
}

#[test]
fn interlaced_pictures_are_named() {
    let dir = TempDir::new().unwrap();
    let caps = "video/x-raw,format=I420,width=160,height=96,framerate=25/1,interlace-mode=interleaved,field-order=top-field-first,pixel-aspect-ratio=4/3";
    let path = make(
        &dir,
        "i.mp4",
        &format!("videotestsrc num-buffers=50 ! {caps} ! x264enc threads=1 interlaced=true ! h264parse ! mp4mux ! {{out}}"),
    );
    let s = source(&path);
    assert_eq!((&s["video"]["interlaced"], &s["video"]["par"], &s["video"]["frames"]), (&json!(true), &json!("4:3"), &json!(50)));
    assert!(says(&s["repairs"], "interlaced") && says(&s["repairs"], "4:3"), "{s}");
}

#[test]
fn sound_alone_and_picture_alone_are_lectures() {
    let dir = TempDir::new().unwrap();
    let voice = source(&make(
        &dir,
        "voice.wav",
        "audiotestsrc num-buffers=50 samplesperbuffer=1600 ! audio/x-raw,rate=16000,channels=2 ! wavenc ! {out}",
    ));
    assert_eq!(
        (&voice["video"], &voice["audio"]),
        (&Value::Null, &json!([{"stream_id": "", "codec": "pcm", "channels": 2, "rate_hz": 16000}]))
    );
    assert!(says(&voice["repairs"], "title card") && voice["problems"] == json!([]));
    assert_eq!(voice["duration_s"], 5.0);
    let silent = source(&make(&dir, "silent.mp4", &format!("{} ! mp4mux ! {{out}}", h264(""))));
    assert!(says(&silent["problems"], "no sound"));
}

#[test]
fn a_recording_cut_short_keeps_its_beginning_and_says_how_much() {
    let dir = TempDir::new().unwrap();
    let path = mp4(&dir, "cut.mp4");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let s = source(&path);
    assert!(says(&s["problems"], "cut short: the header says 10.0 s"), "{s}");
    let frames = s["video"]["frames"].as_u64().unwrap();
    assert!((50..200).contains(&frames), "{frames}");
}

#[test]
fn a_recording_that_lost_its_index_is_refused() {
    let dir = TempDir::new().unwrap();
    // The index of this one is at the end.
    let path = make(&dir, "lost.mp4", &format!("{} ! mp4mux ! {{out}}", h264("")));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&path).contains("no index (moov)"));
}

#[test]
fn one_bad_file_among_good_ones_is_named_and_the_others_are_told() {
    let dir = TempDir::new().unwrap();
    let wav = make(&dir, "a.wav", "audiotestsrc num-buffers=10 ! wavenc ! {out}");
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, b"").unwrap();
    let text = dir.path().join("notes.mp4");
    std::fs::write(&text, "ghi chú bài giảng\n").unwrap();
    let missing = dir.path().join("missing.mp4");
    let out = probe(&[&empty, &text, &missing, &wav]);
    assert_eq!(out.status.code(), Some(4));
    let all = lines(&out);
    let kinds: Vec<&str> = all.iter().map(|l| l["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["error", "error", "error", "source"]);
    assert!(refused(&empty).contains("empty (0 bytes)"));
    assert!(refused(&text).contains("a text file"));
    assert_eq!(all[2]["kind"], "not_found");
}

#[test]
fn text_output_is_a_block_for_people() {
    let dir = TempDir::new().unwrap();
    let path = mp4(&dir, "a.mp4");
    let work = dir.path().join("work");
    let out = Command::new(env!("CARGO_BIN_EXE_rivulet")).arg("probe").arg(&path).arg("--work-dir").arg(work).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("a.mp4: MP4 or QuickTime, 0:10.0"), "{text}");
    assert!(text.contains("picture  h264 160x90, 25 pictures/s, 250 pictures") && text.contains("sound    aac mono, 48000 Hz"), "{text}");
}

#[test]
fn a_recording_is_looked_at_once_and_each_kind_of_failure_has_its_exit_code() {
    let dir = TempDir::new().unwrap();
    let (path, work) = (mp4(&dir, "a.mp4"), dir.path().join("work"));
    let first = probe_in(&work, &[&path]);
    // What was found out stands in the cache; a second look answers from there, as this mark proves.
    let facts = std::fs::read_dir(work.join("cache/sources")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&facts).unwrap();
    std::fs::write(&facts, text.replace("video/quicktime", "video/x-marked")).unwrap();
    let again = probe_in(&work, &[&path]);
    assert_eq!(
        (lines(&first)[0]["container"].as_str(), lines(&again)[0]["container"].as_str()),
        (Some("video/quicktime"), Some("video/x-marked"))
    );
    let (gone, empty) = (dir.path().join("gone.mp4"), dir.path().join("empty.mp4"));
    std::fs::write(&empty, b"").unwrap();
    let code = |paths: &[&Path]| probe_in(&work, paths).status.code();
    assert_eq!((code(&[&path]), code(&[&path, &gone]), code(&[&empty, &gone])), (Some(0), Some(1), Some(4)));
}
