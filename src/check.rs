//! The HLS conformance checker: reads a package directory, a multivariant or a single playlist (files or HTTP), measures
//! the media by its own box reader, and holds the facts against RFC 8216bis, Apple's authoring specification and
//! Rivulet's own bars.
//!
//! ```text
//! target --fetch--> playlists --m3u8--> structs --measure--> Subject (facts) --rules (pure)--> findings --declared--> Report
//! ```
//!
//! Only `fetch` does I/O, only `measure` drives it; everything after is pure functions over [`measure::Subject`]. Media
//! is read one segment at a time, so memory is bounded by the largest segment. Hostile bytes give findings, never panics.
//!
//! # Issues
//! Samples are not decoded: interlacing is read from the SPS, loudness from `ludt` against `package.json`. Of MPEG-TS and
//! packed audio only playlists, sizes and rates are tested; [`Report::notes`] says so.

pub mod avc;
pub mod bandwidth;
pub mod boxes;
mod captions;
pub mod deviations;
pub mod fetch;
mod iframes;
mod init;
mod ladder;
pub mod m3u8;
mod measure;
mod media;
mod ours;
mod playlist;
mod progressive;
pub mod public;
pub mod rules;
mod segment;
mod served;
mod slides;

pub use rules::{RULES, Rule};

use crate::error::Result;
use crate::package::Package;
use crate::progress::Ctx;
use fetch::{DirFetch, Fetch, HttpFetch};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A broken MUST: the check fails.
    Must,
    /// A broken SHOULD: a warning. In a package with `package.json` it is declared there, or it is a [`Level::Must`].
    Should,
    /// A deviation that `package.json` declares, with reason and cost.
    Declared,
}

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Finding {
    pub rule: &'static str,
    pub level: Level,
    /// File or URL, then what in it: `v-720p.m3u8 segment 3`.
    pub r#where: String,
    /// What was found, measured where it can be.
    pub message: String,
    pub source: &'static str,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// By place, then in the order found.
    pub findings: Vec<Finding>,
    /// What could not be tested, and why; not findings.
    pub notes: Vec<String>,
    /// Playlists and segments that were read, and media bytes.
    pub playlists: usize,
    pub segments: usize,
    pub bytes: u64,
}

impl Report {
    /// How many findings are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|f| f.level == level).count()
    }
    /// Whether no MUST is broken.
    pub fn passes(&self) -> bool {
        self.count(Level::Must) == 0
    }
}

/// What is to be checked.
#[derive(Debug, Clone)]
pub enum Target {
    /// A package directory of ours or anybody's directory of playlists.
    Directory(PathBuf),
    /// One playlist file; what it names is looked for beside it and below.
    File(PathBuf),
    /// A playlist at an `http` or `https` address.
    Url(String),
}

impl Target {
    /// A URL, a directory or a file, by its looks and by what is there.
    pub fn parse(text: &str) -> Target {
        let lower = text.to_ascii_lowercase();
        match Path::new(text) {
            _ if lower.starts_with("http://") || lower.starts_with("https://") => Target::Url(text.to_string()),
            path if path.is_dir() => Target::Directory(path.to_path_buf()),
            path => Target::File(path.to_path_buf()),
        }
    }
}

/// Checks a target to its end; blocking. Errors: `BadMedia` where there is no playlist or package, `Unavailable` where
/// it cannot be reached, `Cancelled`. Broken media is not an error but a finding.
pub fn check(target: &Target, ctx: &Ctx) -> Result<Report> {
    let mut sink = Sink::default();
    let package;
    let (fetch, entries): (Box<dyn Fetch>, Vec<String>) = match target {
        Target::Directory(dir) => {
            let fetch = DirFetch::new(dir)?;
            package = ours::load(&fetch, &mut sink)?;
            let entries = measure::entries(&fetch, dir)?;
            (Box::new(fetch), entries)
        }
        Target::File(path) => {
            let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
            let fetch = DirFetch::new(dir)?;
            package = ours::beside(&fetch, &name);
            (Box::new(fetch), vec![name])
        }
        Target::Url(url) => {
            // By a client of its own: how it is served says nothing about the media.
            package = ours::beside(&HttpFetch::new(), url);
            (Box::new(HttpFetch::new()), vec![url.clone()])
        }
    };
    let subject = measure::measure(fetch.as_ref(), &entries, package, ctx, &mut sink)?;
    playlist::check(&subject, &mut sink);
    media::check(&subject, &mut sink);
    iframes::check(&subject, &mut sink);
    captions::check(&subject, &mut sink);
    bandwidth::check(&subject, &mut sink);
    ladder::check(&subject, &mut sink);
    served::check(&fetch.served(), &subject, &mut sink);
    if let (Some(package), Target::Directory(dir)) = (&subject.package, target) {
        ours::check(package, &subject, dir, ctx, &mut sink)?;
        progressive::parts(package, &subject, &mut sink);
        progressive::check(package, &subject, fetch.as_ref(), &mut sink);
    }
    let mut report = Report {
        playlists: subject.multivariants.len() + subject.media.len(),
        segments: subject.media.iter().map(|m| m.segments.len()).sum(),
        bytes: subject.media.iter().flat_map(|m| &m.segments).map(|s| s.bytes).sum(),
        ..sink.finish(subject.package.as_ref(), matches!(target, Target::Directory(_)))
    };
    // One playlist's findings stand together, in the order in which its parts were looked at.
    report.findings.sort_by(|a, b| place(&a.r#where).cmp(place(&b.r#where)));
    Ok(report)
}

/// The file of a `where`.
fn place(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

/// Gathers findings; the same rule at the same file is told three times and then counted.
#[derive(Default)]
struct Sink {
    findings: Vec<Finding>,
    notes: BTreeSet<String>,
    told: BTreeMap<(&'static str, String), usize>,
}

impl Sink {
    const TELL: usize = 3;

    /// `id` is of [`RULES`]; its level is taken from there.
    fn add(&mut self, id: &'static str, at: impl Into<String>, message: impl Into<String>) {
        let rule = rules::find(id).expect("every rule that is reported is in the table");
        self.push(rule, rule.level, at.into(), message.into());
    }
    fn push(&mut self, rule: &'static Rule, level: Level, at: String, message: String) {
        let told = self.told.entry((rule.id, place(&at).to_string())).or_insert(0);
        *told += 1;
        if *told <= Self::TELL {
            self.findings.push(Finding { rule: rule.id, level, r#where: at, message, source: rule.source });
        }
    }
    fn note(&mut self, text: impl Into<String>) {
        self.notes.insert(text.into());
    }

    /// Applies the package's declared deviations. Who writes `package.json` knows what is broken on purpose, so what it
    /// does not declare fails, a SHOULD too; how a server hands it out is not the package's doing. Only of a `whole` package is
    /// known that a declared rule is broken nowhere.
    fn finish(mut self, package: Option<&Package>, whole: bool) -> Report {
        for ((id, file), told) in &self.told {
            if *told > Self::TELL
                && let Some(last) = self.findings.iter_mut().rfind(|f| f.rule == *id && place(&f.r#where) == file)
            {
                last.message += &format!(" (and {} more of this rule here)", told - Self::TELL);
            }
        }
        if package.is_some() {
            let own = self.findings.iter_mut().filter(|f| !served::RULES.contains(&f.rule));
            own.for_each(|f| f.level = Level::Must);
        }
        for deviation in package.map(|p| p.deviations.as_slice()).unwrap_or_default() {
            let mut happens = false;
            for finding in self.findings.iter_mut().filter(|f| f.rule == deviation.rule) {
                happens = true;
                finding.level = Level::Declared;
                finding.message += &format!("; declared: {} (cost: {})", deviation.reason, deviation.cost);
            }
            if !happens && whole {
                let known = if rules::find(&deviation.rule).is_some() { "is not broken" } else { "does not exist" };
                self.add(
                    "rivulet-stale-deviation",
                    "package.json deviations",
                    format!("{} is declared, but that rule {known}: take the declaration out", deviation.rule),
                );
            }
        }
        Report { findings: self.findings, notes: self.notes.into_iter().collect(), ..Default::default() }
    }
}
