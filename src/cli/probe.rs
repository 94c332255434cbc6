//! `rivulet probe`: what recordings are, as a block of text or a JSON line each.

use super::Printer;
use crate::cache::Cache;
use crate::error::{Kind, Result};
use crate::probe::{Access, Source, container_name};
use crate::progress::Ctx;
use crate::units::{Bytes, MediaTime};
use crate::workdir::WorkDir;
use serde::Serialize;
use std::path::PathBuf;

/// Say what recordings are, what is wrong with them and what encode will repair.
///
/// Reads every file to its end, but for those that it has read before. The others are reported where one cannot be used.
/// Exit code 4 if any of them is no usable recording; 1 if one is not there or cannot be read.
#[derive(clap::Args)]
pub struct Args {
    /// Recordings, each looked at by itself.
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// Where digests and probe results are kept [default: $RIVULET_WORK, else ~/.cache/rivulet].
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let cache = Cache::new(&WorkDir::open(args.work_dir)?);
    let mut code = 0;
    for path in &args.recordings {
        match crate::probe::known(path, &cache, ctx).await {
            Ok(source) if printer.json() => printer.object(&Line::from(&source)),
            Ok(source) => printer.data(&block(&source)),
            Err(e) if e.kind() == Kind::Cancelled => return Err(e),
            Err(e) => {
                printer.error_on(Some(path), &e);
                code = worse(code, e.kind().exit_code());
            }
        }
    }
    Ok(code)
}

/// Of two exit codes: a recording that cannot be used is what the question was about.
fn worse(a: u8, b: u8) -> u8 {
    match Kind::BadMedia.exit_code() {
        bad if a == bad || b == bad => bad,
        _ => a.max(b),
    }
}

/// The `source` line of docs/json.md.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    path: String,
    sha256: String,
    bytes: u64,
    container: &'a str,
    duration_s: f64,
    header_duration_s: Option<f64>,
    video: Option<VideoLine<'a>>,
    audio: &'a [crate::probe::Audio],
    /// Index into `audio`.
    voice: Option<usize>,
    access: Access,
    repairs: &'a [String],
    problems: &'a [String],
}

#[derive(Serialize)]
struct VideoLine<'a> {
    codec: &'a str,
    width: u32,
    height: u32,
    /// Pictures a second, to a thousandth.
    frame_rate: f64,
    variable: bool,
    rotation: u16,
    mirrored: bool,
    interlaced: bool,
    /// `"4:3"`, width to height of one pixel.
    par: String,
    bit_depth: u32,
    hdr: Option<&'a str>,
    colorimetry: Option<&'a str>,
    frames: usize,
}

impl<'a> From<&'a Source> for Line<'a> {
    fn from(s: &'a Source) -> Self {
        Line {
            r#type: "source",
            path: s.path.display().to_string(),
            sha256: s.sha256.to_string(),
            bytes: s.bytes,
            container: &s.container,
            duration_s: s.duration_s,
            header_duration_s: s.header_duration_s,
            video: s.video.as_ref().map(|v| VideoLine {
                codec: &v.codec,
                width: v.width,
                height: v.height,
                frame_rate: (v.frame_rate.fps() * 1000.0).round() / 1000.0,
                variable: v.variable,
                rotation: v.rotation,
                mirrored: v.mirrored,
                interlaced: v.interlaced,
                par: format!("{}:{}", v.par.0, v.par.1),
                bit_depth: v.bit_depth,
                hdr: v.hdr.as_deref(),
                colorimetry: v.colorimetry.as_deref(),
                frames: s.frames_ns.len(),
            }),
            audio: &s.audio,
            voice: s.voice,
            access: s.access,
            repairs: &s.repairs,
            problems: &s.problems,
        }
    }
}

/// One file for people.
fn block(s: &Source) -> String {
    let mut lines = vec![format!(
        "{}: {}, {}, {}",
        s.path.display(),
        container_name(&s.container),
        MediaTime::from_seconds(s.duration_s),
        Bytes(s.bytes)
    )];
    let mut line = |label: &str, text: &str| lines.push(format!("  {label:<9}{text}"));
    if let Some(v) = &s.video {
        let depth = if v.bit_depth > 8 { format!(", {} bit", v.bit_depth) } else { String::new() };
        let hdr = v.hdr.as_ref().map(|h| format!(", HDR {}", h.to_uppercase())).unwrap_or_default();
        let rate =
            if v.variable { format!("{:.1} pictures/s, variable", v.frame_rate.fps()) } else { format!("{} pictures/s", v.frame_rate) };
        line("picture", &format!("{} {}x{}, {rate}{depth}{hdr}, {} pictures", v.codec, v.width, v.height, s.frames_ns.len()));
    }
    for (i, a) in s.audio.iter().enumerate() {
        let channels = match a.channels {
            0 => "unknown channels".to_string(),
            1 => "mono".to_string(),
            2 => "stereo".to_string(),
            n => format!("{n} channels"),
        };
        let language = a.language.as_ref().map(|l| format!(", {l}")).unwrap_or_default();
        let voice = if s.audio.len() > 1 && s.voice == Some(i) { " (the voice)" } else { "" };
        line("sound", &format!("{} {channels}, {} Hz{language}{voice}", a.codec, a.rate_hz));
    }
    for (label, texts) in [("repairs", &s.repairs), ("problems", &s.problems)] {
        for (i, text) in texts.iter().enumerate() {
            line(if i == 0 { label } else { "" }, text);
        }
    }
    lines.join("\n")
}
