//! Media work in a child process of the same binary. Plug-ins crash and hang on real broken files, so every touch of
//! GStreamer happens in a child (`rivulet child VERB`, hidden): a job comes in as JSON on stdin, progress and one result
//! go out as NDJSON on stdout. A crash costs one job, a hang is noticed by the no-progress limit, and the child dies
//! with its parent.

use crate::error::{Error, ErrorLine, Kind, Result, ResultExt};
use crate::progress::Ctx;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// How long a child may go on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// No progress line for this long: the child hangs. Decoders that work report several times a second.
    pub idle: Duration,
    /// All of it.
    pub wall: Duration,
}

impl Limits {
    /// 40 s without progress is a hang (a stalled pipeline has to be named within 60 s).
    pub const IDLE: Duration = Duration::from_secs(40);
    pub fn wall(seconds: u64) -> Self {
        Limits { idle: Self::IDLE, wall: Duration::from_secs(seconds) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<R> {
    /// Units done, in whatever the job counts; also the sign of life.
    Progress(f64),
    Ok(R),
    Err(ErrorLine),
}

/// Verbs whose pictures end in the package.
const PICTURES: &[&str] = &["analyse", "chunk", "search", "stills"];
/// Of those, the ones that code, or score what was coded.
const ENCODERS: &[&str] = &["chunk", "search", "stills"];

/// x264 (core 164) and GStreamer's deinterlacer read memory that they never wrote: one run in four gave a last segment with a
/// few other bytes. 255 makes glibc fill all that it hands out with zeros, so the same recording gives the same bytes
/// (mallopt(3), M_PERTURB).
const ZEROED: &[(&str, &str)] = &[("MALLOC_PERTURB_", "255")];

/// glibc keeps an arena per thread: one holds least, and costs no more (`src/memalign.rs` has the rest). By default it also gives
/// back to the system what x264 frees at a segment's end, and the kernel clears page after page of it for the next segment's
/// encoders: with thresholds of 1 and 4 MB a slide lecture of 141 s took 5.1 CPU s in the kernel, with these 1.5
/// (docs/pipeline.md). 32 MiB is the highest that glibc takes.
const LEAN: &[(&str, &str)] = &[("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TRIM_THRESHOLD_", "268435456")];

/// Runs `verb` in a child. `subject` says for error messages what it works on ("a.mp4, 60.0 to 120.0 s").
pub async fn run<J, R>(verb: &str, subject: &str, job: &J, limits: Limits, ctx: &Ctx, on_progress: impl FnMut(f64) + Send) -> Result<R>
where
    J: Serialize,
    R: DeserializeOwned,
{
    let exe = std::env::current_exe().doing(|| "cannot find my own program file".into())?;
    run_program(&exe, verb, subject, job, limits, ctx, on_progress).await
}

async fn run_program<J, R>(
    exe: &Path,
    verb: &str,
    subject: &str,
    job: &J,
    limits: Limits,
    ctx: &Ctx,
    mut on_progress: impl FnMut(f64) + Send,
) -> Result<R>
where
    J: Serialize,
    R: DeserializeOwned,
{
    let mut child = tokio::process::Command::new(exe)
        .args(["child", verb])
        .env("RIVULET_PARENT", std::process::id().to_string())
        // Files given by strangers are not a reason to scan the system for plug-ins again in every child.
        .env("GST_REGISTRY_FORK", "no")
        .envs(if PICTURES.contains(&verb) { ZEROED } else { &[] }.iter().copied())
        .envs(if ENCODERS.contains(&verb) { LEAN } else { &[] }.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // With GST_DEBUG set somebody wants to read along.
        .stderr(if std::env::var_os("GST_DEBUG").is_some() { Stdio::inherit() } else { Stdio::piped() })
        .kill_on_drop(true)
        // Ctrl-C on the terminal goes to the parent alone; it stops its children in order.
        .process_group(0)
        .spawn()
        .doing(|| format!("cannot start a child process for {subject}"))?;

    let mut stdin = child.stdin.take().expect("stdin is piped");
    let job = serde_json::to_vec(job).map_err(|e| Error::bug("a job does not serialise").caused_by(e))?;
    let feed = tokio::spawn(async move {
        // A child that died early is reported by its exit status, not by this broken pipe.
        let _ = stdin.write_all(&job).await;
    });
    let stderr = child.stderr.take();
    let tail = tokio::spawn(async move {
        let (mut keep, mut buffer) = (VecDeque::new(), [0; 4096]);
        let Some(mut stderr) = stderr else { return "its messages are above".to_string() };
        while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
            keep.extend(&buffer[..n]);
            let over = keep.len().saturating_sub(32 << 10);
            keep.drain(..over);
        }
        String::from_utf8_lossy(&keep.into_iter().collect::<Vec<u8>>()).into_owned()
    });

    // Bytes, not text: some plug-ins print what is no UTF-8.
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).split(b'\n');
    let deadline = tokio::time::Instant::now() + limits.wall;
    let mut answer = None;
    let fault = loop {
        let line = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => break Some(Error::new(Kind::Cancelled, format!("stopped while working on {subject}"))
                .hint("run the same command again: it goes on from what is finished")),
            () = tokio::time::sleep_until(deadline) => break Some(Error::new(Kind::Crashed,
                format!("{subject}: {verb} took longer than {} s and was stopped", limits.wall.as_secs()))),
            line = tokio::time::timeout(limits.idle, lines.next_segment()) => match line {
                Err(_) => break Some(Error::new(Kind::Crashed,
                    format!("{subject}: {verb} made no progress for {} s and was stopped: a decoder or demuxer hangs on this file", limits.idle.as_secs()))),
                Ok(line) => line,
            },
        };
        match line {
            Ok(Some(line)) => match serde_json::from_slice::<Line<R>>(&line) {
                Ok(Line::Progress(done)) => on_progress(done),
                Ok(Line::Ok(result)) => answer = Some(Ok(result)),
                Ok(Line::Err(e)) => answer = Some(Err(Error::from(e))),
                // Some plug-ins print to stdout.
                Err(_) => {}
            },
            Ok(None) | Err(_) => break None,
        }
    };
    if let Some(fault) = fault {
        let _ = child.kill().await;
        return Err(fault);
    }
    // Its output is closed, so it ends now; a plug-in's thread that holds it up is not waited for.
    let status = match tokio::time::timeout(limits.idle, child.wait()).await {
        Ok(status) => status.doing(|| format!("cannot wait for the child on {subject}"))?,
        Err(_) => {
            let _ = child.kill().await;
            return answer.unwrap_or_else(|| Err(Error::new(Kind::Crashed, format!("{subject}: {verb} does not end"))));
        }
    };
    feed.abort();
    match answer {
        Some(answer) => answer,
        None => {
            let tail = tail.await.unwrap_or_default();
            let last = tail.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it printed nothing").to_string();
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            // Not a plug-in's fault, so nothing may stand in for what it worked on.
            if signal == Some(9) {
                return Err(Error::new(Kind::Killed, format!("{subject}: {verb} was killed by signal 9"))
                    .hint("most likely for lack of memory: free some or give a lower --jobs, and run the same command again; what is finished is kept"));
            }
            let how = signal
                .map(|s| format!("was killed by signal {s}{}", if s == 11 { " (segmentation fault in a plug-in)" } else { "" }))
                .unwrap_or_else(|| format!("ended with {status}"));
            Err(Error::new(Kind::Crashed, format!("{subject}: {verb} {how}")).caused_by(last))
        }
    }
}

/// CPU seconds, user and system, of this process and of its ended children.
pub fn cpu_total() -> f64 {
    cpu_from_stat().unwrap_or(0.0)
}

/// Fields 14 to 17 of /proc/self/stat (proc(5)): utime, stime, cutime, cstime in ticks of 1/100 s.
fn cpu_from_stat() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<f64> = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4).filter_map(|f| f.parse().ok()).collect();
    (fields.len() == 4).then(|| fields.iter().sum::<f64>() / 100.0)
}

/// The child's side: how a job reports that it is alive.
pub struct Reporter {
    last: std::time::Instant,
    done: f64,
}

impl Reporter {
    /// Of a test that runs a child's work in its own process.
    #[cfg(test)]
    pub fn of_test() -> Reporter {
        Reporter { last: std::time::Instant::now(), done: 0.0 }
    }
    /// Cheap to call often: at most ten lines a second leave.
    pub fn progress(&mut self, done: f64) {
        self.done = done;
        if self.last.elapsed() >= Duration::from_millis(100) {
            self.last = std::time::Instant::now();
            emit(&Line::<()>::Progress(done));
        }
    }
    /// Work goes on, though nothing new is done yet: pictures are skipped, an encoder flushes.
    pub fn alive(&mut self) {
        self.progress(self.done);
    }
}

fn emit<R: Serialize>(line: &Line<R>) {
    let mut out = std::io::stdout().lock();
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        // The parent is gone if this fails, and we with it in a moment.
        let _ = out.write_all(&text).and_then(|()| out.flush());
    }
}

/// The child's side: reads the job, runs it, prints its result. Returns the exit code.
pub fn serve<J: DeserializeOwned, R: Serialize>(work: impl FnOnce(J, &mut Reporter) -> Result<R>) -> u8 {
    // kill -9 on the parent ends the child too.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let orphan = std::env::var("RIVULET_PARENT").is_ok_and(|p| std::os::unix::process::parent_id().to_string() != p);
    if orphan {
        return 1;
    }
    let job = std::io::read_to_string(std::io::stdin())
        .doing(|| "cannot read the job".into())
        .and_then(|text| serde_json::from_str(&text).map_err(|e| Error::bug("a job does not parse").caused_by(e)));
    let mut reporter = Reporter { last: std::time::Instant::now(), done: 0.0 };
    match job.and_then(|job| work(job, &mut reporter)) {
        Ok(result) => {
            emit(&Line::Ok(result));
            0
        }
        Err(e) => {
            emit(&Line::<()>::Err(ErrorLine::from(&e)));
            e.kind().exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Limits = Limits { idle: Duration::from_secs(10), wall: Duration::from_secs(600) };
    const LONG: Limits = Limits { idle: Duration::from_secs(600), wall: Duration::from_secs(600) };

    /// Runs a shell script as the child of verb `chunk`, which gets a job of 300 kB; what came of it, and what progress was told.
    async fn child(script: &str, limits: Limits, ctx: &Ctx) -> (Result<u32>, Vec<f64>) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut told = Vec::new();
        // Another test's fork may still hold the script open for writing (ETXTBSY): it lets go at once.
        loop {
            match run_program(&program, "chunk", "a.mp4", &"x".repeat(300_000), limits, ctx, |done| told.push(done)).await {
                Err(e) if e.report().contains("os error 26") => tokio::task::yield_now().await,
                outcome => return (outcome, told),
            }
        }
    }

    async fn fault(script: &str, limits: Limits) -> Error {
        child(script, limits, &Ctx::silent()).await.0.unwrap_err()
    }

    #[tokio::test]
    async fn an_answer_is_found_among_what_plug_ins_print() {
        let script = r#"printf 'caps \377\376\n{"half\n'; echo '{"progress":1.5}'; [ "$1 $2" = "child chunk" ] && wc -c > /dev/null; echo '{"ok":7}'; echo bye"#;
        let (answer, told) = child(script, LONG, &Ctx::silent()).await;
        assert_eq!((answer.unwrap(), told), (7, vec![1.5]));
        // One that answers before it has read all of its job, and ends badly after: the answer counts.
        assert_eq!(child("echo '{\"ok\":8}'; exit 3", LONG, &Ctx::silent()).await.0.unwrap(), 8);
        let line = serde_json::to_string(&Line::<()>::Err(ErrorLine::from(&Error::bad_media("no picture decodes").hint("copy it again"))))
            .unwrap();
        let said = fault(&format!("echo '{line}'; exit 4"), LONG).await;
        assert_eq!((said.kind(), said.what()), (Kind::BadMedia, "no picture decodes"));
    }

    #[tokio::test]
    async fn a_child_that_dies_is_named_with_its_last_words() {
        let crash = fault("echo 'assertion failed: x > 0' >&2; echo >&2; kill -SEGV $$", LONG).await;
        assert_eq!(crash.kind(), Kind::Crashed);
        let text = crash.report();
        assert!(text.contains("a.mp4: chunk was killed by signal 11 (segmentation fault in a plug-in)"), "{text}");
        // With GST_DEBUG set somebody reads along.
        assert!(text.contains("assertion failed: x > 0") || std::env::var_os("GST_DEBUG").is_some(), "{text}");
        let killed = fault("kill -KILL $$", LONG).await;
        assert!(killed.kind() == Kind::Killed && killed.report().contains("was killed by signal 9"), "{}", killed.report());
        let silent = fault("exit 0", LONG).await.report();
        assert!(silent.contains("exit status: 0") && silent.contains("it printed nothing"), "{silent}");
    }

    #[tokio::test]
    async fn a_child_that_hangs_is_stopped_and_one_that_works_is_not() {
        let hang = fault("exec sleep 1000", SHORT).await.report();
        assert!(hang.contains("made no progress"), "{hang}");
        // Its output closed, it does not end.
        let (answer, _) = child("echo '{\"ok\":9}'; exec sleep 1000 > /dev/null 2>&1", SHORT, &Ctx::silent()).await;
        assert_eq!(answer.unwrap(), 9);
        let wall = Limits { idle: LONG.idle, wall: Duration::from_millis(300) };
        let long = fault("while :; do echo '{\"progress\":1}'; done", wall).await.report();
        assert!(long.contains("took longer than"), "{long}");
    }

    #[tokio::test]
    async fn a_stopped_run_stops_its_child() {
        let ctx = Ctx::silent();
        ctx.cancel.cancel();
        let stopped = child("exec sleep 1000", LONG, &ctx).await.0.unwrap_err();
        assert_eq!(stopped.kind(), Kind::Cancelled);
    }
}
