//! `rivulet encode`: one recording to one package.

use super::Printer;
use super::recording::Recording;
use crate::captions::Captions;
use crate::error::{Error, Result};
use crate::package::Package;
use crate::progress::Ctx;
use crate::units::Bytes;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Make one package of one recording: the whole HLS ladder, checked.
///
/// What is finished is kept in the work directory: after a power cut, a full disk or Ctrl-C run the same command again.
/// Exit code 3: a part of the recording was lost, the package holds the rest and says what.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recording: Recording,
    /// The package's directory: new, empty, or an earlier package.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Captions in a language (BCP 47), WebVTT or SRT: vi=nhoi-mau.srt. May be given once a language.
    #[arg(long, value_name = "LANG=FILE")]
    captions: Vec<String>,
    /// Chunks side by side [default: as many as cores, less where memory is short].
    #[arg(long, value_parser = super::at_least_one)]
    jobs: Option<usize>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let began = Instant::now();
    let (mut encode, work) = args.recording.open()?;
    encode.jobs = args.jobs;
    encode.captions = captions(&args.captions)?;
    let done = encode.run(&work, Some(&args.output), ctx).await?;
    match printer.json() {
        true => printer.object(&line(&done.package, &done.dir.display().to_string(), began.elapsed().as_secs_f64())),
        false => {
            printer.data(&table(&done.package));
            printer.talk(&format!("{} is ready; look at it with: rivulet serve {}", done.dir.display(), done.dir.display()));
        }
    }
    Ok(if done.partial { 3 } else { 0 })
}

/// Reads the files of `--captions LANG=FILE`.
fn captions(given: &[String]) -> Result<Vec<Captions>> {
    let mut all: Vec<Captions> = Vec::new();
    for text in given {
        let (language, path) = text
            .split_once('=')
            .filter(|(language, path)| crate::course::is_language(language) && !path.is_empty())
            .ok_or_else(|| Error::usage(format!("\"{text}\" is not LANG=FILE")).hint("for example --captions vi=nhoi-mau.vtt"))?;
        if all.iter().any(|c| c.language.eq_ignore_ascii_case(language)) {
            return Err(Error::usage(format!("captions in \"{language}\" are given twice")));
        }
        all.push(crate::encode::read_captions(language, Path::new(path))?);
    }
    all.sort_by(|a, b| a.language.cmp(&b.language));
    Ok(all)
}

/// The `package` line of docs/json.md.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    dir: String,
    digest: String,
    /// Wall seconds of this run.
    seconds: f64,
    /// CPU seconds of this run, children included.
    cpu_s: f64,
    duration_s: f64,
    rungs: Vec<RungLine<'a>>,
    voices: Vec<VoiceLine<'a>>,
    captions: Vec<CaptionsLine<'a>>,
    /// The whole lecture in one small file.
    floor_mp4_bytes: u64,
    /// Slide stills in the package.
    slides: usize,
    left_out: &'a [String],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct RungLine<'a> {
    name: &'a str,
    codec: &'a str,
    width: u32,
    height: u32,
    bytes: u64,
    average_bps: u64,
    peak_bps: u64,
}

#[derive(Serialize)]
struct CaptionsLine<'a> {
    language: &'a str,
    cues: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct VoiceLine<'a> {
    name: &'a str,
    codec: &'a str,
    bytes: u64,
    average_bps: u64,
    peak_bps: u64,
}

fn line<'a>(package: &'a Package, dir: &str, seconds: f64) -> Line<'a> {
    let rung = |r: &'a crate::package::Rung| RungLine {
        name: &r.name,
        codec: &r.codec,
        width: r.width,
        height: r.height,
        bytes: r.bytes,
        average_bps: r.average_bps,
        peak_bps: r.peak_bps,
    };
    let voice = |v: &'a crate::package::Voice| VoiceLine {
        name: &v.name,
        codec: &v.codec,
        bytes: v.bytes,
        average_bps: v.average_bps,
        peak_bps: v.peak_bps,
    };
    Line {
        r#type: "package",
        dir: dir.to_string(),
        digest: package.plan.to_string(),
        seconds: (seconds * 1000.0).round() / 1000.0,
        cpu_s: crate::child::cpu_total(),
        duration_s: package.duration_s,
        rungs: package.rungs.iter().map(rung).collect(),
        voices: package.voices.iter().map(voice).collect(),
        captions: package.captions.iter().map(|c| CaptionsLine { language: &c.language, cues: c.cues, bytes: c.bytes }).collect(),
        floor_mp4_bytes: package.files.get(crate::package::progressive::NAME).map_or(0, |f| f.bytes),
        slides: package.files.keys().filter(|name| name.starts_with("slides/")).count(),
        left_out: &package.left_out,
        warnings: &package.warnings,
    }
}

fn table(package: &Package) -> String {
    let per_hour = |bytes: u64| bytes as f64 / package.duration_s.max(0.1) * 3600.0 / 1e6;
    let mut out = format!("  {:<8}{:>11}{:>12}{:>10}{:>10}{:>12}\n", "rung", "size", "bytes", "kbit/s", "peak", "MB/hour");
    for r in &package.rungs {
        out += &format!(
            "  {:<8}{:>11}{:>12}{:>10.1}{:>10.1}{:>12.1}\n",
            r.name,
            format!("{}x{}", r.width, r.height),
            Bytes(r.bytes).to_string(),
            r.average_bps as f64 / 1e3,
            r.peak_bps as f64 / 1e3,
            per_hour(r.bytes)
        );
    }
    for v in &package.voices {
        out += &format!(
            "  {:<8}{:>11}{:>12}{:>10.1}{:>10.1}{:>12.1}\n",
            v.name,
            "voice",
            Bytes(v.bytes).to_string(),
            v.average_bps as f64 / 1e3,
            v.peak_bps as f64 / 1e3,
            per_hour(v.bytes)
        );
    }
    for line in &package.left_out {
        out += &format!("  {line}\n");
    }
    out.trim_end().to_string()
}
