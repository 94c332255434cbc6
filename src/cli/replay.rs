//! `rivulet replay`: reads a package and traces, lets the library play, prints.

use super::Printer;
use crate::check::fetch::{DirFetch, Fetch, HttpFetch};
use crate::check::m3u8::Range;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::link::{CLASSES, class};
use crate::offload::blocking;
use crate::package::Package;
use crate::progress::Ctx;
use crate::replay::{self, How, Lecture, Link, START_FREE_S, Session, Trace};
use crate::units::Bytes;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a learner on a link would see of a lecture: seconds to the first sound, stalls, bytes. Computed, not measured
/// (docs/replay.md): the learner's page, first visit, over TCP and TLS, the lookup of the server's name included.
#[derive(clap::Args)]
pub struct Args {
    /// A package directory, or the http(s) address of one or of a lecture's page.
    package: String,
    /// A measured link, a JSON list of {duration_ms, bandwidth_kbps, latency_ms}, or a directory of such files; begins anew
    /// when it ends. May be given several times.
    #[arg(long, value_name = "FILE|DIR", required_unless_present = "class")]
    trace: Vec<PathBuf>,
    /// A constant link by name: 2g, edge, edge-avg, weak-3g, 3g, 3g-fast, good. May be given several times. Where packets are
    /// lost, nine visits are played and the one of the median wait is told.
    #[arg(long, value_name = "CLASS", value_parser = known)]
    class: Vec<&'static crate::link::Class>,
    /// So many seconds of the lecture, which begins anew where it is shorter [default: 300 on a trace, once to its end on a class].
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    seconds: Option<f64>,
    /// What is watched: voice and slides, as a page begins, or video over them, its quality by what the link carries.
    #[arg(long, value_enum, default_value = "voice")]
    mode: Mode,
    /// What the learner's device takes from the last byte of the page's loader to the first sound [default: 0.65, as measured on a computer].
    #[arg(long, value_name = "SECONDS", value_parser = device)]
    device: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Voice,
    Video,
}

/// Seconds of content on a trace: what the project's bars count.
const TRACE_S: f64 = 300.0;
/// Less stall than this share of the content is none that a learner would speak of.
const LITTLE: f64 = 0.01;

/// A session, as `--json` has it.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    /// The trace's file, without its ending, or the class.
    trace: &'a str,
    #[serde(flatten)]
    session: &'a Session,
    content_s: f64,
    /// Stall, with start-up beyond 15 s and what was never heard, as a share of the content.
    stall_share: f64,
    oracle_stall_s: f64,
    /// What computing it took.
    computed_s: f64,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let target = args.package.clone();
    let lecture = blocking(move || read(&target)).await?;
    let mut links = Vec::new();
    for class in &args.class {
        links.push((class.name.to_string(), Link::of_class(class), args.seconds));
    }
    for path in &args.trace {
        for file in traces(path)? {
            let text = std::fs::read(&file).doing(|| format!("cannot read {}", file.display()))?;
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let trace = Trace::parse(&text, &file.display().to_string())?;
            links.push((name, Link::of_trace(trace), Some(args.seconds.unwrap_or(TRACE_S))));
        }
    }
    let width = links.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max(5);
    if !printer.json() {
        let columns = format!("{:>8}{:>8}{:>8}{:>9}{:>7}{:>10}", "start", "slide", "stalls", "stalled", "share", "data");
        printer.data(&format!("  {:<width$}{columns}", "link"));
    }
    let mut tally = Tally::default();
    for (name, link, seconds) in &links {
        ctx.check()?;
        let began = Instant::now();
        let session = replay::replay(&lecture, link, &How { seconds: *seconds, device_s: args.device, video: args.mode == Mode::Video });
        let computed_s = began.elapsed().as_secs_f64();
        let content_s = seconds.unwrap_or_else(|| lecture.duration_s());
        let oracle_stall_s = replay::least_stall_s(&lecture, link, *seconds);
        let stall_share = session.stall_share(content_s);
        tally.add(name, stall_share, oracle_stall_s, computed_s);
        match printer.json() {
            true => printer.object(&Line {
                r#type: "session",
                trace: name,
                session: &session,
                content_s,
                stall_share,
                oracle_stall_s,
                computed_s,
            }),
            false => printer.data(&row(name, width, &session, stall_share)),
        }
    }
    if !printer.json() {
        tally.tell(printer);
    }
    Ok(0)
}

fn row(name: &str, width: usize, s: &Session, share: f64) -> String {
    let seconds = |at: Option<f64>| at.map_or("never".to_string(), |s| format!("{s:.1} s"));
    let ways: Vec<String> = s.rung_seconds.iter().filter(|(_, s)| **s >= 0.5).map(|(way, s)| format!("{way} {s:.0} s")).collect();
    format!(
        "  {name:<width$}{:>8}{:>8}{:>8}{:>7.1} s{:>6.1}%{:>10}  {}",
        seconds(s.start_s),
        seconds(s.slide_s),
        s.stalls,
        s.stall_s,
        100.0 * share,
        Bytes(s.bytes).to_string(),
        ways.join(", ")
    )
}

/// Of several sessions.
#[derive(Default)]
struct Tally {
    sessions: usize,
    good: usize,
    possible: usize,
    good_of_possible: usize,
    failed: Vec<String>,
    computed_s: f64,
    slowest_s: f64,
}

impl Tally {
    fn add(&mut self, name: &str, share: f64, oracle_stall_s: f64, computed_s: f64) {
        self.sessions += 1;
        let good = share < LITTLE;
        self.good += good as usize;
        self.possible += (oracle_stall_s == 0.0) as usize;
        self.good_of_possible += (good && oracle_stall_s == 0.0) as usize;
        if !good {
            let why =
                if oracle_stall_s > 0.0 { format!("{name} (no player could do without {oracle_stall_s:.1} s)") } else { name.to_string() };
            self.failed.push(why);
        }
        self.computed_s += computed_s;
        self.slowest_s = self.slowest_s.max(computed_s);
    }

    fn tell(&self, printer: &Printer) {
        if self.sessions > 1 {
            let percent = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
            printer.data(&format!(
                "\n{} of {} sessions ({:.0} %) have under 1 % stall, start-up over {START_FREE_S:.0} s included; {} of the {} ({:.0} %) that a player who \
                 knows the link plays without stall",
                self.good,
                self.sessions,
                percent(self.good, self.sessions),
                self.good_of_possible,
                self.possible,
                percent(self.good_of_possible, self.possible)
            ));
        }
        for name in self.failed.iter().filter(|_| self.sessions > 1) {
            printer.data(&format!("failed: {name}"));
        }
        printer.talk(&format!("computed in {:.3} s, the slowest in {:.3} s", self.computed_s, self.slowest_s));
    }
}

fn known(name: &str) -> std::result::Result<&'static crate::link::Class, String> {
    class(name)
        .ok_or_else(|| format!("there is none of that name; there are {}", CLASSES.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")))
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("wanted seconds, from 1 to 86400".into()),
    }
}

fn device(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=30.0).contains(&seconds) => Ok(seconds),
        _ => Err("wanted seconds, from 0 to 30".into()),
    }
}

/// The file, or the `.json` files of a directory in the order of their names.
fn traces(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).doing(|| format!("cannot read {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    match files.is_empty() {
        true => Err(Error::new(Kind::NotFound, format!("there is no trace in {}: no file that ends in .json", path.display()))),
        false => Ok(files),
    }
}

/// What a package or a page says of its lecture.
fn read(target: &str) -> Result<Lecture> {
    let web = target.starts_with("http://") || target.starts_with("https://");
    if web && target.split(['?', '#']).next().is_some_and(|t| t.ends_with(".html")) {
        return read_page(&HttpFetch::new(), target);
    }
    if web {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let at = if path.ends_with("package.json") { path.to_string() } else { format!("{}/package.json", path.trim_end_matches('/')) };
        return read_package(&HttpFetch::new(), &at, &|name| HttpFetch::new().resolve(&at, name));
    }
    let path = Path::new(target);
    let dir = if path.ends_with("package.json") { path.parent().unwrap_or(Path::new(".")) } else { path };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if !dir.join("package.json").is_file() {
        let what = format!("{target} is no package: there is no {}", dir.join("package.json").display());
        return Err(Error::bad_media(what)
            .hint("`rivulet encode RECORDING -o DIR` makes one; of a store, give a lecture's address at `rivulet serve`"));
    }
    read_package(&DirFetch::new(dir)?, "package.json", &|name| Ok(name.to_string()))
}

fn read_package(fetch: &dyn Fetch, at: &str, place: &dyn Fn(&str) -> Result<String>) -> Result<Lecture> {
    let package = parse(&fetch.text(at)?, at)?;
    let start = match replay::start_of(&package) {
        Some((name, length)) => fetch.bytes(&place(&name)?, Some(Range { offset: 0, length }))?,
        None => Vec::new(),
    };
    replay::of_package(&package, &start)
}

fn parse(text: &[u8], at: &str) -> Result<Package> {
    serde_json::from_slice(text).kind(Kind::BadMedia, || format!("{at} is not the package.json of a package"))
}

/// A lecture's page names its package, and is itself what a learner fetches first.
fn read_page(fetch: &dyn Fetch, at: &str) -> Result<Lecture> {
    let page = String::from_utf8_lossy(&fetch.text(at)?).into_owned();
    let block = |id: &str| -> Option<serde_json::Value> {
        let from = page.split_once(&format!("id=\"{id}\">"))?.1;
        serde_json::from_str(from.split_once("</script>")?.0).ok()
    };
    let no_page =
        || Error::bad_media(format!("{at} is not a lecture's page that rivulet made")).hint("give a lecture's address, not a course's");
    let (data, voice) = (block("data").ok_or_else(no_page)?, block("voice").ok_or_else(no_page)?);
    let named = |v: &serde_json::Value| v.as_str().ok_or_else(no_page).and_then(|uri| fetch.resolve(at, uri));
    let (package, voice) = (named(&data["package"][0])?, named(&voice["uri"])?);
    let lecture = read_package(fetch, &package, &|_| Ok(voice.clone()))?;
    Ok(lecture.with_page(page.as_bytes()))
}
