//! `rivulet replay`, the binary: a package from a directory and over HTTP, traces from files, lines for programs and for people.

use rivulet::package::{FileEntry, Package, Segment, Voice};
use rivulet::units::Digest;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A lecture of a minute, its voice alone: silence of 20 kbit/s in segments of 5 s.
fn package(dir: &Path) -> PathBuf {
    let dir = dir.join("package");
    std::fs::create_dir(&dir).unwrap();
    let (first, bytes, count) = (800, 12_500, 12);
    let media = vec![7u8; (first + bytes * count) as usize];
    let entry = FileEntry { sha256: Digest::of(&media), bytes: media.len() as u64 };
    let segment = |i| Segment { offset: first + bytes * i, bytes, duration: 240_000, sha256: Digest::of(b""), iframe_bytes: None };
    let voice = Voice {
        name: "opus".into(),
        codec: "opus".into(),
        language: "vi".into(),
        rate_hz: 48_000,
        bytes: entry.bytes,
        average_bps: 20_000,
        peak_bps: 20_000,
        init_bytes: 700,
        segments: (0..count).map(segment).collect(),
    };
    let package = Package {
        format: 1,
        tool: "test".into(),
        plan: Digest::of(b"plan"),
        title: "Suy hô hấp".into(),
        duration_s: 60.0,
        recordings: vec![],
        profile: "rural-3g".into(),
        preset: "medium".into(),
        fingerprint: BTreeMap::new(),
        shape: "card".into(),
        target_duration_s: 5,
        boundaries_s: (0..=12).map(|i| 5.0 * i as f64).collect(),
        rungs: vec![],
        voices: vec![voice],
        captions: vec![],
        loudness: None,
        slides: vec![],
        chapters: vec![],
        files: BTreeMap::from([("a-opus.mp4".to_string(), entry)]),
        left_out: vec![],
        deviations: vec![],
        repairs: vec![],
        warnings: vec![],
        partial: false,
    };
    std::fs::write(dir.join("a-opus.mp4"), media).unwrap();
    std::fs::write(dir.join("package.json"), serde_json::to_vec(&package).unwrap()).unwrap();
    dir
}

fn trace(dir: &Path, name: &str, spans: &[(u32, u32)]) {
    let list: Vec<_> =
        spans.iter().map(|(ms, kbps)| format!("{{\"duration_ms\":{ms},\"bandwidth_kbps\":{kbps},\"latency_ms\":100}}")).collect();
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join(name), format!("[{}]", list.join(","))).unwrap();
}

fn replay(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rivulet")).arg("replay").args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Each field that docs/json.md names; and the same numbers on every run.
#[test]
fn a_class_gives_a_session_and_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let args = [package.to_str().unwrap(), "--class", "edge", "--class", "good", "--json"];
    let (first, again) = (lines(&replay(&args)), lines(&replay(&args)));
    for (session, other) in first.iter().zip(&again) {
        assert_eq!(session["type"], "session");
        for field in ["start_s", "stalls", "stall_s", "bytes", "rung_seconds", "played_s", "content_s", "stall_share", "oracle_stall_s"] {
            assert!(!session[field].is_null() && session[field] == other[field], "{field}: {session} {other}");
        }
        assert_eq!((session["stalls"].as_u64(), session["played_s"].as_f64()), (Some(0), Some(60.0)));
        assert_eq!(session["rung_seconds"]["voice and slides"].as_f64().map(f64::round), Some(60.0));
    }
    assert_eq!([&first[0]["trace"], &first[1]["trace"]], ["edge", "good"]);
    let start = |i: usize| first[i]["start_s"].as_f64().unwrap();
    assert!(start(0) > 3.0 && start(0) < 9.0 && start(1) < 2.0, "{} {}", start(0), start(1));
}

#[test]
fn a_directory_of_traces_is_told_trace_by_trace_with_those_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (package, traces) = (package(dir.path()), dir.path().join("traces"));
    trace(&traces, "tram.json", &[(1000, 500)]);
    trace(&traces, "tunnel.json", &[(2000, 500), (600_000, 0)]);
    std::fs::write(traces.join("README.md"), "no trace").unwrap();
    let said = replay(&[package.to_str().unwrap(), "--trace", traces.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("1 of 2 sessions (50 %) have under 1 % stall"), "{text}");
    let failed: Vec<&str> = text.lines().filter(|l| l.starts_with("failed: ")).collect();
    assert!(failed.len() == 1 && failed[0].starts_with("failed: tunnel (no player"), "{text}");
    // 300 s of content, where the lecture has 60.
    let session = &lines(&replay(&[package.to_str().unwrap(), "--trace", traces.join("tram.json").to_str().unwrap(), "--json"]))[0];
    assert_eq!((session["played_s"].as_f64(), session["content_s"].as_f64()), (Some(300.0), Some(300.0)));
}

#[test]
fn what_is_no_package_and_what_is_no_trace_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let package = package.to_str().unwrap();
    let broken = dir.path().join("bus.json");
    std::fs::write(&broken, "[{\"duration_ms\": 1000}]").unwrap();
    for (args, code, part) in [
        (vec!["/nothing/here", "--class", "edge"], 4, "no package"),
        (vec![package, "--trace", broken.to_str().unwrap()], 4, "bus.json is no trace"),
        (vec![package, "--trace", "/nothing/tram.json"], 1, "/nothing/tram.json"),
        (vec![package, "--class", "5g"], 2, "3g-fast"),
        (vec![package], 2, "--trace"),
    ] {
        let said = replay(&args);
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.code() == Some(code) && text.contains(part), "{args:?}: {:?} {text}", said.status.code());
    }
}

/// Answers byte ranges of the files below `dir` until it is dropped with the process.
fn serve(dir: PathBuf) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let (mut head, mut one) = (Vec::new(), [0u8; 1]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut one).unwrap_or(0) == 1 {
                head.push(one[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
            let range = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_string));
            let (status, body) = match (std::fs::read(dir.join(path)), range) {
                (Err(_), _) => ("404 Not Found", Vec::new()),
                (Ok(all), None) => ("200 OK", all),
                (Ok(all), Some(range)) => {
                    let (from, to) = range.split_once('-').unwrap();
                    let (from, to): (usize, usize) = (from.parse().unwrap(), to.trim().parse().unwrap());
                    ("206 Partial Content", all[from..(to + 1).min(all.len())].to_vec())
                }
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn over_http_a_package_gives_what_it_gives_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path());
    let address = serve(dir.path().to_path_buf());
    let session = |target: &str| {
        let mut line = lines(&replay(&[target, "--class", "3g", "--json"])).remove(0);
        line.as_object_mut().unwrap().remove("computed_s");
        line
    };
    let near = session(package.to_str().unwrap());
    assert_eq!(session(&format!("{address}/package")), near);
    assert_eq!(session(&format!("{address}/package/package.json")), near);
    let gone = replay(&[&format!("{address}/other/"), "--class", "3g"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("/other/package.json"));
    assert_eq!(gone.status.code(), Some(1));
}
