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
    pace: Pace,
}

/// How fast something goes now: over the last one to two minutes, longer where nothing is told for longer. A link is not what it was an hour
/// ago, and what was there at the beginning took no time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Seconds since the beginning, and what was done then.
    from: (f64, f64),
    next: (f64, f64),
}

impl Pace {
    const STEP_S: f64 = 60.0;

    fn new(at_s: f64, done: f64) -> Pace {
        Pace { from: (at_s, done), next: (at_s, done) }
    }

    /// What is done in a second, now that so much is.
    fn rate(&mut self, at_s: f64, done: f64) -> f64 {
        let rate = (done - self.from.1).max(0.0) / (at_s - self.from.0).max(0.001);
        if at_s - self.next.0 >= Self::STEP_S && done > self.next.1 {
            (self.from, self.next) = (self.next, (at_s, done));
        }
        rate
    }
}

/// How long the rest takes, for people; nothing where nobody can say.
fn rest(left: f64, rate: f64) -> Option<String> {
    let seconds = left.max(0.0) / rate;
    let minutes = (seconds / 60.0).round();
    match seconds {
        s if !s.is_finite() || s > 1e7 => None,
        s if s < 120.0 => Some(format!("{s:.0} s")),
        _ if minutes < 120.0 => Some(format!("{minutes:.0} min")),
        _ => Some(format!("{:.0} h {:.0} min", (minutes / 60.0).floor(), minutes % 60.0)),
    }
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

    fn progress(&self, task: &str, stage: &str, (done, earlier): (f64, f64), total: f64, unit: Unit) {
        let mut stages = self.stages.lock().expect("no printing thread panics");
        let now = Instant::now();
        let entry = stages.entry(format!("{task}\0{stage}")).or_insert_with(|| Stage {
            began: now,
            said: now,
            bar: match &self.talk {
                Talk::Bars(bars) => Some(bars.add(bar(task, stage, unit))),
                _ => None,
            },
            pace: Pace::new(0.0, done - earlier),
        });
        let per_s = entry.pace.rate(entry.began.elapsed().as_secs_f64(), done - earlier);
        let left = rest(total - done, per_s);
        let (scale, rate) = match unit {
            // Bars count in milliseconds of media.
            Unit::MediaSeconds => (1000.0, format!("{per_s:.1}x of real time")),
            Unit::Bytes => (1.0, format!("{}/s", crate::units::Bytes(per_s as u64))),
        };
        if let Some(bar) = &entry.bar {
            bar.set_length((total * scale) as u64);
            bar.set_position((done * scale) as u64);
            bar.set_message(left.map_or(rate.clone(), |left| format!("{rate}, {left} left")));
        } else if matches!(self.talk, Talk::Plain) && entry.said.elapsed() >= Duration::from_secs(10) {
            entry.said = now;
            let left = left.map_or(String::new(), |left| format!(", about {left} left"));
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
        Unit::MediaSeconds => "{prefix} {wide_bar:.cyan/blue} {percent:>3} % {msg}",
        Unit::Bytes => "{prefix} {wide_bar:.cyan/blue} {bytes}/{total_bytes} {msg}",
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
            Event::Progress { task, stage, done, earlier, total, unit } => self.progress(&task, &stage, (done, earlier), total, unit),
            Event::Done { task, stage, seconds } => self.done(&task, &stage, seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_told_from_the_last_two_minutes() {
        // 100 a second for an hour, then 10: what was quick does not count for long.
        let (mut pace, mut done) = (Pace::new(0.0, 0.0), 0.0);
        for second in 1..=3600 {
            done += 100.0;
            pace.rate(f64::from(second), done);
        }
        for second in 3601..=3660 {
            done += 10.0;
            let rate = pace.rate(f64::from(second), done);
            assert!(rate > 10.0, "half of it is of before");
        }
        let after = |pace: &mut Pace, s: i32, done: f64| pace.rate(f64::from(s), done);
        for second in 3661..=3721 {
            done += 10.0;
            pace.rate(f64::from(second), done);
        }
        done += 10.0;
        assert_eq!(after(&mut pace, 3722, done).round(), 10.0);
        // Nothing for ten minutes: slower by and by, and no rate of nothing.
        let still = after(&mut pace, 4322, done);
        assert!(0.0 < still && still < 2.0, "{still}");
    }

    #[test]
    fn what_was_there_at_the_beginning_took_no_time() {
        let mut pace = Pace::new(0.0, 1e9);
        assert_eq!(pace.rate(10.0, 1e9 + 50.0), 5.0);
        assert_eq!(pace.rate(11.0, 1e9 - 50.0), 0.0, "an upload that begins anew");
    }

    #[test]
    fn the_rest_is_for_people() {
        for (left, rate, told) in [
            (100.0, 2.0, Some("50 s")),
            (0.0, 0.0, None),
            (7000.0, 1.0, Some("117 min")),
            (12_000.0, 1.0, Some("3 h 20 min")),
            (10.0, 0.0, None),
            (-3.0, 1.0, Some("0 s")),
        ] {
            assert_eq!(rest(left, rate).as_deref(), told, "{left} at {rate}");
        }
    }
}
