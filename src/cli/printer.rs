//! The only place that knows terminals. stdout is data, stderr is talk: bars (indicatif) on a terminal, plain lines
//! elsewhere, NDJSON with `--json`. A closed pipe is success.

use crate::error::{Error, ErrorLine};
use crate::progress::{Event, Progress, Unit};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

enum Talk {
    Quiet,
    /// One line when a stage ends, and every ten seconds while it goes on.
    Plain,
    Bars(MultiProgress),
    Json,
}

pub struct Printer {
    json: bool,
    talk: Talk,
    stages: Mutex<HashMap<String, Stage>>,
    /// Nobody reads stdout any more (`| head`): the work goes on, its lines are dropped.
    closed: AtomicBool,
    /// stdout could not be written for another reason.
    failed: AtomicBool,
}

struct Stage {
    began: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Printer {
    pub fn new(json: bool, quiet: bool) -> Self {
        let talk = match (json, quiet) {
            (true, _) => Talk::Json,
            (_, true) => Talk::Quiet,
            _ if std::io::stderr().is_terminal() => Talk::Bars(MultiProgress::new()),
            _ => Talk::Plain,
        };
        Printer { json, talk, stages: Mutex::default(), closed: AtomicBool::new(false), failed: AtomicBool::new(false) }
    }

    /// Whether results are asked for as NDJSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether results were lost on their way out, a full disk for one.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// One line of data on stdout.
    pub fn data(&self, line: &str) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let write = || {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        };
        let outcome = match &self.talk {
            Talk::Bars(bars) => bars.suspend(write),
            _ => write(),
        };
        match outcome {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => self.closed.store(true, Ordering::Relaxed),
            Err(_) => self.failed.store(true, Ordering::Relaxed),
        }
    }

    /// One JSON object on stdout; the caller's type carries `type`.
    pub fn object<T: serde::Serialize>(&self, object: &T) {
        match serde_json::to_string(object) {
            Ok(line) => self.data(&line),
            Err(e) => self.data(&format!("{{\"type\":\"error\",\"message\":\"a result does not serialise: {e}\"}}")),
        }
    }

    /// One line of talk on stderr; nothing with `--quiet`, a note object with `--json`.
    pub fn talk(&self, line: &str) {
        match &self.talk {
            Talk::Quiet => {}
            Talk::Json => self.object(&Event::Note { message: line.to_string() }),
            _ => self.stderr(line),
        }
    }

    /// The one place where an error is shown.
    pub fn error(&self, e: &Error) {
        self.error_on(None, e);
    }

    /// An error that belongs to one of several files; with `--json` the line names it.
    pub fn error_on(&self, path: Option<&std::path::Path>, e: &Error) {
        if self.json {
            #[derive(serde::Serialize)]
            struct Line {
                r#type: &'static str,
                #[serde(skip_serializing_if = "Option::is_none")]
                path: Option<String>,
                #[serde(flatten)]
                line: ErrorLine,
            }
            self.object(&Line { r#type: "error", path: path.map(|p| p.display().to_string()), line: e.into() });
        }
        self.stderr(&format!("error: {}", e.report()));
    }

    /// Clears what is left of the bars.
    pub fn finish(&self) {
        if let Talk::Bars(bars) = &self.talk {
            let _ = bars.clear();
        }
    }

    fn stderr(&self, line: &str) {
        let write = || {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        };
        match &self.talk {
            Talk::Bars(bars) => bars.suspend(write),
            _ => write(),
        }
    }

    fn progress(&self, task: &str, stage: &str, done: f64, total: f64, unit: Unit) {
        let mut stages = self.stages.lock().expect("no printing thread panics");
        let now = Instant::now();
        let entry = stages.entry(format!("{task}\0{stage}")).or_insert_with(|| Stage {
            began: now,
            said: now,
            bar: match &self.talk {
                Talk::Bars(bars) => Some(bars.add(bar(task, stage, unit))),
                _ => None,
            },
        });
        let elapsed = entry.began.elapsed().as_secs_f64();
        let (scale, rate) = match unit {
            // Bars count in milliseconds of media.
            Unit::MediaSeconds => (1000.0, format!("{:.1}x", done / elapsed.max(0.001))),
            Unit::Bytes => (1.0, format!("{}/s", crate::units::Bytes((done / elapsed.max(0.001)) as u64))),
        };
        if let Some(bar) = &entry.bar {
            bar.set_length((total * scale) as u64);
            bar.set_position((done * scale) as u64);
            bar.set_message(rate);
        } else if matches!(self.talk, Talk::Plain) && entry.said.elapsed() >= Duration::from_secs(10) {
            entry.said = now;
            let left = if done > 0.0 { format!(", about {:.0} s left", elapsed * (total - done).max(0.0) / done) } else { String::new() };
            let percent = if total > 0.0 { 100.0 * done / total } else { 0.0 };
            drop(stages);
            self.stderr(&format!("{task}: {stage} {percent:.0} % ({rate}{left})"));
        }
    }

    fn done(&self, task: &str, stage: &str, seconds: f64) {
        let ended = self.stages.lock().expect("no printing thread panics").remove(&format!("{task}\0{stage}"));
        if let Some(bar) = ended.as_ref().and_then(|s| s.bar.as_ref()) {
            bar.finish_and_clear();
        }
        self.stderr(&format!("{task}: {stage} done in {seconds:.1} s"));
    }
}

fn bar(task: &str, stage: &str, unit: Unit) -> ProgressBar {
    let template = match unit {
        Unit::MediaSeconds => "{prefix} {wide_bar:.cyan/blue} {percent:>3} % {msg} of real time, {eta} left",
        Unit::Bytes => "{prefix} {wide_bar:.cyan/blue} {bytes}/{total_bytes} {msg}, {eta} left",
    };
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    ProgressBar::new(0).with_style(style).with_prefix(format!("{task}: {stage}"))
}

impl Progress for Printer {
    fn event(&self, event: Event) {
        if matches!(self.talk, Talk::Json) {
            return self.object(&event);
        }
        match event {
            Event::Warning { message } => self.stderr(&format!("warning: {message}")),
            _ if matches!(self.talk, Talk::Quiet) => {}
            Event::Note { message } => self.stderr(&message),
            Event::Progress { task, stage, done, total, unit } => self.progress(&task, &stage, done, total, unit),
            Event::Done { task, stage, seconds } => self.done(&task, &stage, seconds),
        }
    }
}
