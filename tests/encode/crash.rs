//! `rivulet encode` killed, stopped, doubled and without room: run again it goes on, to the same bytes, and no half of a package
//! is seen under its name.

use super::whole::{Run, chunk_inodes, digests, fixture, slide_profile, small_profile, started};
use std::collections::BTreeMap;
use std::path::Path;

/// One job, two jobs, and a run killed at random moments give the same bytes; finished chunks are not made again.
fn killed_often(name: &str, kills: usize) {
    let Some(recording) = fixture(name) else { return };
    let run = Run::new();
    let profile = small_profile(run.dir(), "p", 1.2);
    let encode = |work: &str, out: &Path, jobs: &str| {
        let work = run.dir().join(work);
        let mut command = run.command();
        command.env("RIVULET_WORK", work).args(["--json", "encode"]).arg(&recording).arg("-o").arg(out).arg("--profile").arg(&profile);
        command.args(["--jobs", jobs]);
        command
    };
    let (one, two, killed) = (run.dir().join("one"), run.dir().join("two"), run.dir().join("killed"));
    assert!(encode("w1", &one, "1").output().unwrap().status.success());
    assert!(encode("w2", &two, "2").output().unwrap().status.success());
    assert_eq!(digests(&one), digests(&two));

    let seed = std::env::var("RIVULET_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed} (RIVULET_SEED repeats it)");
    let mut state = seed;
    let (chunks, mut amid) = (chunk_inodes(&run.dir().join("w1")).len(), 0);
    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    for kill in 0..kills {
        // After so many lines of progress, every other time since one more chunk was finished: random moments that need no clock.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = if kill == 0 { 0 } else { (state >> 33) as usize % 12 };
        let mut child = started(encode("w3", &killed, "2"));
        while kill % 2 == 0 && chunk_inodes(&run.dir().join("w3")).len() <= kept.len() && child.wait_for_lines(1) {}
        child.wait_for_lines(lines);
        child.kill();
        assert!(!killed.exists() || killed.join("package.json").exists(), "half a package under its name");
        let now = chunk_inodes(&run.dir().join("w3"));
        let again: Vec<_> = kept.iter().filter(|(name, inode)| now.get(*name) != Some(inode)).collect();
        assert!(again.is_empty(), "made again after kill {kill}: {again:?}; there are {now:?}");
        amid += usize::from(!now.is_empty() && now.len() < chunks);
        kept = now;
    }
    // Few chunks may all be finished before a kill comes.
    assert!(amid > 0 || chunks < 10, "none of {kills} kills came when some of the {chunks} chunks were finished");
    println!("{amid} of {kills} kills came when some of the {chunks} chunks were finished");
    let last = encode("w3", &killed, "2").output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let now = chunk_inodes(&run.dir().join("w3"));
    assert!(kept.iter().all(|(name, inode)| now.get(name) == Some(inode)), "a finished chunk was made again");
    assert_eq!(digests(&one), digests(&killed));
    let left: Vec<_> =
        std::fs::read_dir(run.dir()).unwrap().flatten().map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn the_same_bytes_however_often_it_is_killed() {
    killed_often("case.mp4", 20);
}

/// A recording that cannot be sought in is decoded from its start again, but its finished chunks stay.
#[test]
fn a_killed_transport_stream_goes_on_where_it_was() {
    killed_often("odd-interlaced-50i.ts", 4);
}

/// A disk without room is told before the work, with what to do.
#[test]
fn a_full_disk_is_told_before_the_work() {
    let Some(recording) = fixture("odd-vfr.mkv") else { return };
    let run = Run::new();
    let small = run.dir().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&small).output();
    if !mount.is_ok_and(|m| m.status.success()) {
        println!("SKIPPED: no tmpfs can be mounted here (needs root)");
        return;
    }
    let done = run.rivulet(&["encode", recording.to_str().unwrap(), "-o", small.join("out").to_str().unwrap()]);
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.contains("free") && done.err.contains("rivulet clean"), "{}", done.err);
    assert!(unmounted.is_ok_and(|s| s.success()));
}

/// Of two runs of the same thing on one work directory the second says that it waits; both end well, with the same bytes, and what the
/// first had finished is not made again.
#[test]
fn two_runs_on_one_work_directory() {
    let Some(recording) = fixture("odd-vfr.mkv") else { return };
    let run = Run::new();
    let profile = small_profile(run.dir(), "p", 1.2);
    let start = |out: &str| {
        let mut command = run.command();
        command.args(["--json", "encode"]).arg(&recording).arg("-o").arg(run.dir().join(out)).arg("--profile").arg(&profile);
        started(command)
    };
    let mut a = start("a");
    while chunk_inodes(&run.work()).is_empty() {
        assert!(a.wait_for_lines(1), "it ended without a chunk");
    }
    // Held until the second has had time to come to the lock: it says so.
    a.signal("STOP");
    let finished = chunk_inodes(&run.work());
    let mut b = start("b");
    let said = std::iter::from_fn(|| b.line()).find(|line| line.contains("another rivulet works on this very recording"));
    a.signal("CONT");
    assert!(said.is_some(), "the second did not say that it waits");
    assert_eq!((a.end(), b.end()), (Some(0), Some(0)));
    assert_eq!(digests(&run.dir().join("a")), digests(&run.dir().join("b")));
    let now = chunk_inodes(&run.work());
    assert!(finished.iter().all(|(name, inode)| now.get(name) == Some(inode)), "a finished chunk was made again");
}

/// The first Ctrl-C stops with 130, says how to go on, and leaves nothing half made.
#[test]
fn ctrl_c_stops_cleanly() {
    let Some(recording) = fixture("case.mp4") else { return };
    let run = Run::new();
    let out = run.dir().join("out");
    let mut command = run.command();
    command.args(["--json", "encode"]).arg(&recording).arg("-o").arg(&out);
    let mut child = started(command);
    child.wait_for_lines(2);
    child.signal("INT");
    let (code, err) = child.end_with_stderr();
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("run the same command again"), "{err}");
    assert!(!out.exists());
}

/// Children that the kernel kills for lack of memory: no other quality, no card and no missing slides stand in for what they did
/// not do. The run says it and ends, and the same command makes the same bytes once there is memory.
#[test]
fn a_killed_child_changes_no_byte() {
    let Some(recording) = fixture("lecture.mp4") else { return };
    let run = Run::new();
    let profile = slide_profile(run.dir(), "p", 10.0);
    let encode = |work: &str, out: &Path| {
        let mut command = run.command();
        command.env("RIVULET_WORK", run.dir().join(work)).arg("encode").arg(&recording);
        command.arg("-o").arg(out).arg("--profile").arg(&profile);
        command
    };
    let whole = run.dir().join("whole");
    assert!(encode("w", &whole).output().unwrap().status.success());
    for verb in ["search", "chunk", "stills", "voice"] {
        let (out, work) = (run.dir().join(verb), format!("w-{verb}"));
        let mut parent = started(encode(&work, &out));
        let mut killed = 0;
        while !parent.ended() {
            for child in parent.children(verb) {
                killed += 1;
                std::process::Command::new("kill").args(["-9", &child.to_string()]).status().unwrap();
            }
            std::thread::yield_now();
        }
        let (code, err) = parent.end_with_stderr();
        // The search is not tried again: it may have been a third of the work.
        assert!(killed >= if verb == "search" { 1 } else { 2 }, "{verb}: {killed} killed, {err}");
        assert!(code == Some(1) && err.contains("was killed by signal 9") && err.contains("lower --jobs"), "{verb}: {code:?} {err}");
        assert!(!out.exists(), "{verb}");
        assert!(encode(&work, &out).output().unwrap().status.success(), "{verb}");
        assert_eq!(digests(&whole), digests(&out), "{verb}");
    }
}
