//! What whole-binary tests of encoding need: a fresh directory, our fixtures, and what ffmpeg hears and sees.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A fixture of `make fixtures`; `None`, loudly, where it was not made.
pub fn fixture(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/out").join(name);
    if !path.exists() {
        // `make test` makes them first; there a missing one is a failure, not a reason to pass.
        assert!(std::env::var_os("CI").is_none(), "{name} is missing: `make fixtures`");
        println!("SKIPPED: {name} is not there; `make fixtures` makes it (needs ffmpeg, espeak-ng and rsvg-convert)");
        return None;
    }
    Some(path)
}

/// A profile of small rungs and short segments, so that tests are quick and joints many. Sizes and preset are of the kind
/// that is shipped: at 160x90 and `veryfast` x264 gave other bytes for the same pictures in one run of four.
/// Every recording gets the ladder of moving pictures.
pub fn small_profile(dir: &Path, name: &str, chunk_s: f64) -> PathBuf {
    profile_of(dir, name, chunk_s, 1.0)
}

/// The same, but every recording with pictures gets the ladder of slides.
pub fn slide_profile(dir: &Path, name: &str, chunk_s: f64) -> PathBuf {
    profile_of(dir, name, chunk_s, 0.0)
}

/// `share` is the share of time from which on slides count as a slide lecture.
fn profile_of(dir: &Path, name: &str, chunk_s: f64, share: f64) -> PathBuf {
    let text = format!(
        r#"description = "for tests"
classes = ["edge"]
[segments]
target_s = 1.0
least_s = 0.5
most_s = 1.2
[chunks]
target_s = {chunk_s:.1}
[video]
preset = "medium"
max_frame_rate = 30.0
least_frame_rate = 4.0
most_megapixels_per_second = 300.0
most_hours = 12.0
[[rungs]]
name = "low"
height = 144
crf = 30
max = "60k"
buffer_s = 2.0
[[rungs]]
name = "high"
height = 216
crf = 28
max = "150k"
buffer_s = 2.0
[slides]
least_s = 0.6
share = {share:.1}
[[slides.rungs]]
name = "low"
height = 144
crf = 34
max = "60k"
buffer_s = 4.0
buffer_full = 0.9
frame_rate = 4.0
motion_frame_rate = 1.0
[[slides.rungs]]
name = "high"
height = 216
crf = 28
max = "150k"
buffer_s = 4.0
buffer_full = 0.9
frame_rate = 15.0
[voice.opus]
bitrate = "20k"
packet_ms = 60
[voice.aac]
bitrate = "32k"
rate_hz = 32000
"#
    );
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

/// A fresh directory with a work directory of its own in it.
pub struct Run {
    dir: tempfile::TempDir,
}

pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// The first JSON line of a type.
    pub fn json(&self, kind: &str) -> serde_json::Value {
        let mut lines = self.out.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
        lines.find(|v| v["type"] == kind).unwrap_or_else(|| panic!("no {kind} line in {} {}", self.out, self.err))
    }
}

impl Run {
    pub fn new() -> Run {
        Run { dir: tempfile::tempdir().unwrap() }
    }
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    pub fn work(&self) -> PathBuf {
        self.dir().join("work")
    }
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rivulet"));
        command.env("RIVULET_WORK", self.work()).stdin(Stdio::null());
        command
    }
    pub fn rivulet(&self, args: &[&str]) -> Done {
        let output = self.command().args(args).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A running rivulet whose stdout is read line by line.
pub struct Started {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

pub fn started(mut command: Command) -> Started {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    Started { child, out }
}

impl Started {
    /// Until so many lines were printed; `false` where it ended before.
    pub fn wait_for_lines(&mut self, n: usize) -> bool {
        (0..n).all(|_| self.line().is_some())
    }
    /// The next one that is printed.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.out.read_line(&mut line).unwrap() > 0).then_some(line)
    }
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
    /// Its children that do this, by process number.
    pub fn children(&self, verb: &str) -> Vec<u32> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let lists = threads.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        let all: Vec<u32> = lists.flat_map(|l| l.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>()).collect();
        let does =
            |n: &u32| std::fs::read_to_string(format!("/proc/{n}/cmdline")).is_ok_and(|c| c.ends_with(&format!("\0child\0{verb}\0")));
        all.into_iter().filter(does).collect()
    }
    /// kill -9
    pub fn kill(mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
    pub fn signal(&self, name: &str) {
        Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
    }
    pub fn end(self) -> Option<i32> {
        self.end_with_stderr().0
    }
    pub fn end_with_stderr(self) -> (Option<i32>, String) {
        let (code, _, err) = self.end_with_all();
        (code, err)
    }
    /// Exit code, what was not read of stdout yet, stderr.
    pub fn end_with_all(mut self) -> (Option<i32>, String, String) {
        let mut err_pipe = self.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut err = String::new();
            let _ = err_pipe.read_to_string(&mut err);
            err
        });
        let mut rest = String::new();
        let _ = self.out.read_to_string(&mut rest);
        let status = self.child.wait().unwrap();
        (status.code(), rest, reader.join().unwrap())
    }
}

fn ffmpeg(args: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-v", "error", "-nostdin"]).args(args).output().expect("ffmpeg is in packages.txt");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// When the pictures of a video file are shown, seconds, edit list applied, in order.
pub fn shown(video: &Path) -> Vec<f64> {
    let args = ["-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0"];
    let text = Command::new("ffprobe").args(args).arg(video).output().expect("ffprobe is in packages.txt").stdout;
    String::from_utf8_lossy(&text).lines().filter_map(|l| l.trim_end_matches(',').parse::<f64>().ok()).collect()
}

/// When white flashes begin in the highest rung, seconds.
pub fn flashes(package: &Path) -> Vec<f64> {
    let video = package.join("v-high.mp4");
    let bytes = ffmpeg(&["-i", video.to_str().unwrap(), "-vf", "scale=16:16", "-vsync", "0", "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
    let means: Vec<u32> = bytes.chunks(256).map(|f| f.iter().map(|b| *b as u32).sum::<u32>() / 256).collect();
    let times = shown(&video);
    assert_eq!(times.len(), means.len());
    let rises = means.windows(2).enumerate().filter(|(_, w)| w[0] < 128 && w[1] >= 128);
    rises.map(|(i, _)| times[i + 1]).collect()
}

/// When clicks begin in a voice file, seconds, edit list applied.
pub fn clicks(voice: &Path) -> Vec<f64> {
    let bytes = ffmpeg(&["-i", voice.to_str().unwrap(), "-af", "aresample=48000:first_pts=0", "-ac", "1", "-f", "f32le", "-"]);
    let samples: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let peak = samples.iter().fold(0.0f32, |p, s| p.max(s.abs()));
    let mut clicks: Vec<f64> = Vec::new();
    for (i, s) in samples.iter().enumerate() {
        let at = i as f64 / 48_000.0;
        if s.abs() > peak * 0.4 && clicks.last().is_none_or(|last| at - last > 1.0) {
            clicks.push(at);
        }
    }
    clicks
}

/// SHA-256 by file name, from package.json; what differs by plan alone (package.json itself) is left out.
pub fn digests(package: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(package.join("package.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let files = json["files"].as_object().unwrap();
    files.iter().map(|(name, f)| (name.clone(), f["sha256"].as_str().unwrap().to_string())).collect()
}

/// Finished chunks of the one plan in a work directory, and which file each is: one that was made again is another.
pub fn chunk_inodes(work: &Path) -> BTreeMap<String, u64> {
    use std::os::unix::fs::MetadataExt;
    let plans: Vec<_> = std::fs::read_dir(work.join("plans")).into_iter().flatten().flatten().collect();
    // A second plan for the same request would make everything again.
    assert!(plans.len() <= 1, "{} plans: {:?}", plans.len(), plans.iter().map(|p| p.file_name()).collect::<Vec<_>>());
    let files = plans.iter().flat_map(|p| std::fs::read_dir(p.path()).into_iter().flatten().flatten());
    // One that is being written is `.tmp-PID-cNNNNN.chunk`; a kill may leave it for the next run to clear.
    let named = |e: &std::fs::DirEntry| e.file_name().into_string().unwrap();
    let chunks = files.filter(|e| named(e).ends_with(".chunk") && !named(e).starts_with('.'));
    chunks.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().ino())).collect()
}
