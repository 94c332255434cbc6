//! `rivulet encode` as a whole binary on the project's own recordings: the same bytes however the work is cut; voice and picture
//! together; faults named. What is killed or in its own way: crash.rs.

mod crash;
#[path = "../whole/mod.rs"]
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use whole::{Run, chunk_inodes, digests, fixture, slide_profile, small_profile};

/// Cut into many chunks or made in one pass, every rung is the same to the byte: no picture is lost, doubled or moved at a
/// joint. `access` is what probing must say of the kind, so that both ways of decoding stay tested.
fn joints(name: &str, access: &str) {
    let Some(recording) = fixture(name) else { return };
    let run = Run::new();
    let probed = run.rivulet(&["--json", "probe", recording.to_str().unwrap()]);
    assert_eq!(probed.json("source")["access"], access, "{name}");
    // Pictures that move, and the same taken for slides: few pictures, segments at changes.
    for (shape, profile_of) in [("motion", small_profile as fn(&Path, &str, f64) -> PathBuf), ("slides", slide_profile)] {
        let mut made = Vec::new();
        let mut chunks = Vec::new();
        for (pass, chunk_s) in [("many", 1.2), ("one", 300.0)] {
            let label = format!("{shape}-{pass}");
            let profile = profile_of(run.dir(), &label, chunk_s);
            let out = run.dir().join(&label);
            let mut command = run.command();
            command.env("RIVULET_WORK", run.dir().join(format!("work-{label}")));
            command.arg("encode").arg(&recording).arg("-o").arg(&out).arg("--profile").arg(&profile);
            let done = command.output().unwrap();
            assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
            made.push(digests(&out));
            chunks.push(chunk_inodes(&run.dir().join(format!("work-{label}"))).len());
        }
        assert!(chunks[1] < chunks[0], "{name}, {shape}: {chunks:?} chunks compare nothing");
        assert_eq!(made[0], made[1], "{name}, {shape}");
    }
}

/// The whole package, package.json too, file by file.
fn files(package: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut all, mut folders) = (BTreeMap::new(), vec![package.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(all.insert(path.strip_prefix(package).unwrap().display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }
    all
}

/// What differs between two packages, by name.
fn differing(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (files(a), files(b));
    a.keys().chain(b.keys()).filter(|k| a.get(*k) != b.get(*k)).cloned().collect()
}

/// What was made before an encode changes no byte of the package: segments that `plan` made to predict the others, and
/// pictures that the analysis kept.
#[test]
fn samples_and_kept_pictures_change_no_byte() {
    let Some(recording) = fixture("lecture.mp4") else { return };
    let run = Run::new();
    let profile = slide_profile(run.dir(), "p", 10.0);
    let rivulet = |work: &str, verb: &str, more: &[&Path]| {
        let mut command = run.command();
        command.env("RIVULET_WORK", run.dir().join(work)).arg(verb).arg(&recording).arg("--profile").arg(&profile);
        let output = command.args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let encode = |work: &str, out: &Path| rivulet(work, "encode", &[Path::new("-o"), out]);
    let (alone, planned, decoded) = (run.dir().join("alone"), run.dir().join("planned"), run.dir().join("decoded"));
    encode("w1", &alone);
    rivulet("w2", "plan", &[]);
    let samples = chunk_inodes(&run.dir().join("w2"));
    assert!(samples.len() > 3 && samples.keys().all(|name| name.starts_with('s')), "{samples:?}");
    encode("w2", &planned);
    assert_eq!(differing(&alone, &planned), [""; 0], "after `plan`");

    // The same analysis without its pictures, and nothing of the plan: all is decoded.
    let kept: Vec<_> = std::fs::read_dir(run.dir().join("w1/analysis")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    let index = kept[0].join("pictures.json");
    assert!(std::fs::metadata(&index).unwrap().len() > 200, "the analysis kept no pictures");
    let features = std::fs::metadata(kept[0].join("features")).unwrap();
    std::fs::remove_file(&index).unwrap();
    std::fs::remove_dir_all(run.dir().join("w1/plans")).unwrap();
    encode("w1", &decoded);
    assert!(!index.exists() && std::fs::metadata(kept[0].join("features")).unwrap().modified().unwrap() == features.modified().unwrap());
    assert_eq!(differing(&alone, &decoded), [""; 0], "without kept pictures");
}

/// What damage is concealed with depends on which pictures are decoded, and the analysis leaves some out: it keeps none of them.
#[test]
fn of_a_damaged_recording_no_picture_is_kept() {
    let Some(recording) = fixture("broken-middle.mp4") else { return };
    let run = Run::new();
    let mut command = run.command();
    let output = command.env("RIVULET_WORK", run.dir().join("w")).args(["plan", "--quick"]).arg(&recording).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept: Vec<_> = std::fs::read_dir(run.dir().join("w/analysis")).unwrap().map(|e| e.unwrap().path()).collect();
    let [analysis] = &kept[..] else { panic!("{kept:?}") };
    assert!(analysis.join("features").exists());
    assert!(!analysis.join("pictures.json").exists() && !analysis.join("pictures").exists());
}

/// A lecture of slides with the shipped profile: its shape, its slides with stills and text, a floor that a weak link
/// carries, a package that the checker passes. And `clean` shows and frees what was seen in it.
#[test]
fn a_lecture_of_slides_has_them() {
    let Some(recording) = fixture("lecture.mp4") else { return };
    let truth: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(recording.with_file_name("lecture.truth.json")).unwrap()).unwrap();
    let run = Run::new();
    let out = run.dir().join("out");
    let done = run.rivulet(&["--json", "encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.err);
    let package: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(out.join("package.json")).unwrap()).unwrap();
    assert_eq!(package["shape"], "slides");
    // Bullets that build are one slide with steps.
    let begins = |wanted: &dyn Fn(&str) -> bool| -> Vec<f64> {
        let slides = truth["slides"].as_array().unwrap().iter();
        slides.filter(|s| wanted(s["shown"].as_str().unwrap())).map(|s| s["start_s"].as_f64().unwrap()).collect()
    };
    let wanted = begins(&|shown| !["bullets 2", "bullets 3"].contains(&shown));
    let found = package["slides"].as_array().unwrap();
    let starts: Vec<f64> = found.iter().map(|s| s["start_s"].as_f64().unwrap()).collect();
    assert_eq!(starts.len(), wanted.len(), "{wanted:?}, found {starts:?}");
    // A slide may begin with the two seconds of camera before it.
    let camera =
        |w: f64| truth["camera"].as_array().unwrap().iter().find(|c| c["end_s"] == w).map_or(w, |c| c["start_s"].as_f64().unwrap());
    for (start, wanted) in starts.iter().zip(&wanted) {
        assert!((start - wanted).abs() < 0.3 || (start - camera(*wanted)).abs() < 0.3, "{wanted:?}, found {starts:?}");
    }
    let stills = std::fs::read_dir(out.join("slides")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let stills: Vec<String> = stills.filter(|n| n.ends_with(".webp")).collect();
    assert_eq!(stills.len(), starts.len());
    let cues = std::fs::read_to_string(out.join("slides.vtt")).unwrap();
    assert_eq!(cues.matches(" --> ").count(), starts.len(), "{cues}");
    for name in &stills {
        assert!(cues.contains(name.as_str()), "{name} in {cues}");
    }
    // A floor that the RFC's peak of 100 kbit/s holds, with either voice.
    let floor = std::fs::read_to_string(out.join("floor.m3u8")).unwrap();
    let peaks: Vec<u64> = floor
        .lines()
        .filter_map(|l| l.strip_prefix("#EXT-X-STREAM-INF:BANDWIDTH="))
        .map(|l| l.split(',').next().unwrap().parse().unwrap())
        .collect();
    assert!(peaks.len() == 2 && peaks.iter().all(|p| *p <= 100_000), "{floor}");
    let checked = run.rivulet(&["check", out.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}", checked.out);

    let shown = run.rivulet(&["--json", "clean"]);
    let (analyses, whole) = (shown.json("analyses"), shown.json("cleaned"));
    assert_eq!((analyses["recordings"].as_u64(), analyses["in_use"].as_u64()), (Some(1), Some(0)));
    let bytes = analyses["bytes"].as_u64().unwrap();
    assert!(bytes > 10_000 && whole["left_bytes"].as_u64().unwrap() > bytes, "{}", shown.out);
    let kept = run.rivulet(&["--json", "clean", "--yes"]);
    assert_eq!(kept.json("analyses")["freed_bytes"], 0, "only with --all");
    let freed = run.rivulet(&["--json", "clean", "--yes", "--all"]);
    assert_eq!(freed.json("analyses")["freed_bytes"].as_u64(), Some(bytes), "{}", freed.out);
    assert_eq!(freed.json("cleaned")["left_bytes"], 0, "{}", freed.out);
    assert_eq!(std::fs::read_dir(run.work().join("analysis")).unwrap().count(), 0);
}

#[test]
fn joints_of_an_mp4_that_is_sought_in() {
    joints("flash-click.mp4", "seek");
}
#[test]
fn joints_of_a_variable_frame_rate_mkv() {
    joints("odd-vfr.mkv", "seek");
}
#[test]
fn joints_of_open_gops() {
    joints("odd-open-gop.mp4", "sequential");
}
#[test]
fn joints_of_a_transport_stream() {
    joints("odd-interlaced-50i.ts", "sequential");
}
#[test]
fn joints_of_a_program_stream() {
    joints("odd-mpeg-ps.mpg", "sequential");
}
#[test]
fn joints_of_an_avi_without_index() {
    joints("odd-no-index.avi", "sequential");
}
#[test]
fn joints_of_intra_refresh() {
    joints("odd-intra-refresh.mkv", "sequential");
}
#[test]
fn joints_of_a_stream_without_times() {
    joints("odd-raw.264", "sequential");
}

/// Several files are one recording, in order: as long as both, in one package that the checker passes.
#[test]
fn two_files_are_one_recording() {
    let (Some(first), Some(second)) = (fixture("part1.mp4"), fixture("part2.mp4")) else { return };
    let run = Run::new();
    let profile = small_profile(run.dir(), "p", 60.0);
    let out = run.dir().join("out");
    let args = [
        "--json",
        "encode",
        first.to_str().unwrap(),
        second.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--profile",
        profile.to_str().unwrap(),
    ];
    let done = run.rivulet(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    let seconds = done.json("package")["duration_s"].as_f64().unwrap();
    assert!((seconds - 8.0).abs() < 0.1, "{seconds} s");
    let checked = run.rivulet(&["check", out.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}", checked.out);
}

/// A recording that may not be read is named as that, not as broken.
#[test]
fn an_unreadable_recording_is_named() {
    let run = Run::new();
    let missing = run.dir().join("nothing.mp4");
    let done = run.rivulet(&["encode", missing.to_str().unwrap(), "-o", run.dir().join("out").to_str().unwrap()]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.contains("nothing.mp4"), "{}", done.err);
}

/// An encoder that fails on some chunks is named with its rung, the recording and the place; nothing appears under the package's
/// name, and the chunks that it made are kept.
#[test]
fn a_failing_plug_in_is_named() {
    let Some(recording) = fixture("odd-vfr.mkv") else { return };
    let run = Run::new();
    let profile = small_profile(run.dir(), "p", 1.2);
    let pipelines = run.dir().join("pipelines");
    std::fs::create_dir(&pipelines).unwrap();
    // Segments of this recording have 8 to 18 pictures.
    let text =
        include_str!("../../pipelines/rung-h264.gst").replace("! appsink name=units", "! identity error-after=16 ! appsink name=units");
    std::fs::write(pipelines.join("rung-h264.gst"), text).unwrap();
    let out = run.dir().join("out");
    let paths = [&recording, &out, &profile, &pipelines].map(|p| p.to_str().unwrap());
    let args = ["encode", paths[0], "-o", paths[1], "--profile", paths[2], "--pipelines", paths[3], "--jobs", "1"];
    let done = run.rivulet(&args);
    assert_eq!(done.code, 1, "{}", done.err);
    let told = done.err.lines().find(|l| l.starts_with("error: ")).unwrap_or_default();
    assert!(told.starts_with("error: odd-vfr.mkv, ") && told.contains("the encoder of rung "), "{}", done.err);
    assert!(!out.exists());
    let kept = chunk_inodes(&run.work());
    assert!(!kept.is_empty(), "{}", done.err);
    // The same again: what is finished stays.
    assert_eq!(run.rivulet(&args).code, 1);
    let now = chunk_inodes(&run.work());
    assert!(kept.iter().all(|(name, inode)| now.get(name) == Some(inode)), "a finished chunk was made again");
}

/// Rivulet removes nothing that it did not make.
#[test]
fn a_directory_with_other_files_is_refused() {
    let Some(recording) = fixture("odd-vfr.mkv") else { return };
    let run = Run::new();
    let out = run.dir().join("holiday");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("photo.jpg"), "x").unwrap();
    let done = run.rivulet(&["encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(out.join("photo.jpg").exists());
}

/// Broken recordings: refused with 4 and one error, or kept in part with 3 and a warning that says what was lost.
#[test]
fn broken_recordings_are_refused_or_kept_in_part() {
    let names = ["broken-no-moov.mp4", "broken-empty.mp4", "broken-text.mp4", "broken-half.mp4", "broken-middle.mp4", "broken-sound.m4a"];
    for (name, refused) in names.into_iter().zip([true, true, true, false, false, false]) {
        let Some(recording) = fixture(name) else { return };
        let run = Run::new();
        let profile = small_profile(run.dir(), "p", 60.0);
        let out = run.dir().join("out");
        let done =
            run.rivulet(&["encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap(), "--profile", profile.to_str().unwrap()]);
        let errors = done.err.lines().filter(|l| l.starts_with("error:")).count();
        match done.code {
            4 => assert!(errors == 1 && !out.exists(), "{name}: {}", done.err),
            3 => assert!(errors == 0 && done.err.contains("warning:") && !refused, "{name}: {}", done.err),
            code => panic!("{name}: exit {code}: {}", done.err),
        }
        assert!(!done.err.contains("panicked") && !done.err.contains("CRITICAL"), "{name}: {}", done.err);
    }
}

/// Sound alone becomes a lecture over a title card, in a package that passes the checker.
#[test]
fn sound_alone_is_a_lecture() {
    let Some(recording) = fixture("odd-audio-only.m4a") else { return };
    let run = Run::new();
    let out = run.dir().join("out");
    let done = run.rivulet(&["encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap(), "--title", "Suy hô hấp & <cấp>"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let checked = run.rivulet(&["check", out.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}", checked.out);
}

/// What a profile does not want to decode is refused by name, before a picture of it is looked at.
#[test]
fn a_recording_over_a_limit_is_refused_before_it_is_decoded() {
    let Some(recording) = fixture("flash-click.mp4") else { return };
    let run = Run::new();
    let profile = small_profile(run.dir(), "p", 60.0);
    let text = std::fs::read_to_string(&profile).unwrap().replace("most_megapixels_per_second = 300.0", "most_megapixels_per_second = 1.0");
    std::fs::write(&profile, text).unwrap();
    for verb in ["plan", "encode"] {
        let out = run.dir().join("out");
        let mut args = vec![verb, recording.to_str().unwrap(), "--profile", profile.to_str().unwrap()];
        if verb == "encode" {
            args.extend(["-o", out.to_str().unwrap()]);
        }
        let done = run.rivulet(&args);
        assert_eq!(done.code, 4, "{}", done.err);
        assert!(done.err.contains("million pixels a second to decode, over the limit of 1 of profile p"), "{}", done.err);
        assert!(!done.err.contains("analysis") && !out.exists(), "{}", done.err);
    }
}

/// Captions in two languages and encodings go the whole way: into the playlists, past the checker, on the trimmed clock; a
/// changed file makes another package of the same work.
#[test]
fn captions_go_the_whole_way() {
    let Some(recording) = fixture("flash-click.mp4") else { return };
    let run = Run::new();
    let profile = small_profile(run.dir(), "p", 60.0);
    let (vi, en, bad) = (run.dir().join("bai.srt"), run.dir().join("en.vtt"), run.dir().join("bad.srt"));
    let utf16: Vec<u8> = "\u{feff}1\n00:00:03,000 --> 00:00:05,000\nViêm phổi ở trẻ em\n\n2\n00:00:04.500 --> 00:00:07,000\nHết\n"
        .encode_utf16()
        .flat_map(|u| u.to_le_bytes())
        .collect();
    std::fs::write(&vi, utf16).unwrap();
    std::fs::write(&en, "WEBVTT\n\n00:03.000 --> 00:05.000\nPneumonia in children\n").unwrap();
    std::fs::write(&bad, "no captions\n").unwrap();
    let encode = |out: &Path, captions: &[String]| {
        let mut args: Vec<String> =
            ["--json", "encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap(), "--trim", "2-12"].map(String::from).to_vec();
        args.extend(["--profile".to_string(), profile.to_str().unwrap().to_string()]);
        args.extend(captions.iter().flat_map(|c| ["--captions".to_string(), c.clone()]));
        run.rivulet(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let out = run.dir().join("out");
    let done = encode(&out, &[format!("vi={}", vi.display()), format!("en={}", en.display())]);
    assert_eq!(done.code, 0, "{}", done.err);
    let said = done.out.lines().filter(|l| l.contains("bai.srt")).collect::<Vec<_>>().join("\n");
    assert!(said.contains("UTF-16") && said.contains("dots in times") && said.contains("overlaps"), "{said}");
    assert_eq!(
        std::fs::read_to_string(out.join("c-vi.vtt")).unwrap(),
        "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:00:01.000 --> 00:00:02.500\nViêm phổi ở trẻ em\n\n00:00:02.500 --> 00:00:05.000\nHết\n"
    );
    for name in ["master.m3u8", "floor.m3u8", "video.m3u8"] {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        let variants = text.lines().filter(|l| l.starts_with("#EXT-X-STREAM-INF")).count();
        assert!(variants > 0 && text.matches(",SUBTITLES=\"captions\"").count() == variants, "{text}");
        assert!(text.contains("URI=\"c-vi.m3u8\"") && text.contains("URI=\"c-en.m3u8\""), "{text}");
    }
    let checked = run.rivulet(&["check", out.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}", checked.out);
    // Another captions file: another package, of the same pictures and voice.
    std::fs::write(&en, "WEBVTT\n\n00:03.000 --> 00:05.000\nPneumonia\n").unwrap();
    let other = run.dir().join("other");
    let again = encode(&other, &[format!("en={}", en.display())]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_ne!(done.json("package")["digest"], again.json("package")["digest"]);
    let plans = std::fs::read_dir(run.work().join("plans")).unwrap().count();
    assert_eq!(plans, 1, "captions do not change the work");
    let (a, b) = (digests(&out), digests(&other));
    assert!(a["v-low.mp4"] == b["v-low.mp4"] && a["floor.mp4"] == b["floor.mp4"] && a["c-en.vtt"] != b["c-en.vtt"]);
    for (captions, code) in [(format!("vi={}", bad.display()), 4), ("vi".to_string(), 2), (format!("VI_={}", en.display()), 2)] {
        let refused = encode(&run.dir().join("refused"), std::slice::from_ref(&captions));
        assert_eq!(refused.code, code, "{captions}: {}", refused.err);
    }
}

/// The one file for every phone: flash and click where the HLS has them, to the millisecond, and ffmpeg has nothing to say.
#[test]
fn the_small_file_plays_as_the_hls_does() {
    let Some(recording) = fixture("flash-click.mp4") else { return };
    let run = Run::new();
    let out = run.dir().join("out");
    let profile = small_profile(run.dir(), "p", 60.0);
    let done = run.rivulet(&["encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap(), "--profile", profile.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.err);
    let floor = out.join("floor.mp4");
    let said = std::process::Command::new("ffmpeg").args(["-v", "warning", "-i"]).arg(&floor).args(["-f", "null", "-"]).output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    let (one, hls) = (whole::shown(&floor), whole::shown(&out.join("v-low.mp4")));
    assert!(one.len() > 50 && one.len() == hls.len(), "{} and {} pictures", one.len(), hls.len());
    assert!(one.iter().zip(&hls).all(|(a, b)| (a - b).abs() < 1e-5), "{one:?} {hls:?}");
    let (one, hls) = (whole::clicks(&floor), whole::clicks(&out.join("a-aac.mp4")));
    assert!(one.len() > 3 && one.len() == hls.len(), "{one:?} {hls:?}");
    assert!(one.iter().zip(&hls).all(|(a, b)| (a - b).abs() < 0.001), "{one:?} {hls:?}");
}

/// Flash and click of one instant stay together: within 10 ms in decoded pictures and samples, in both voices.
#[test]
fn voice_and_picture_stay_together() {
    let Some(recording) = fixture("flash-click.mp4") else { return };
    let truth: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(recording.with_file_name("flash-click.truth.json")).unwrap()).unwrap();
    let run = Run::new();
    let out = run.dir().join("out");
    let profile = small_profile(run.dir(), "p", 60.0);
    let done = run.rivulet(&["encode", recording.to_str().unwrap(), "-o", out.to_str().unwrap(), "--profile", profile.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.err);
    let flashes = whole::flashes(&out);
    let events = truth["events"].as_array().unwrap().len();
    assert!(events > 3 && flashes.len() == events, "{flashes:?}");
    for voice in ["opus", "aac"] {
        let clicks = whole::clicks(&out.join(format!("a-{voice}.mp4")));
        assert_eq!(clicks.len(), flashes.len(), "{voice}: {clicks:?} against {flashes:?}");
        for (flash, click) in flashes.iter().zip(&clicks) {
            assert!((flash - click).abs() < 0.010, "{voice}: flash at {flash:.4} s, click at {click:.4} s");
        }
    }
}

/// x264 is loaded by a plug-in, and calls the program's memalign only where the linker exports it (`src/memalign.rs`).
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
fn libraries_find_the_programs_memalign() {
    let program = env!("CARGO_BIN_EXE_rivulet");
    let nm = std::process::Command::new("nm")
        .args(["--dynamic", "--defined-only", program])
        .output()
        .expect("nm comes with the linker (binutils)");
    let names = String::from_utf8_lossy(&nm.stdout).into_owned();
    assert!(names.lines().any(|l| l.ends_with(" memalign")), "{}", String::from_utf8_lossy(&nm.stderr));
}
