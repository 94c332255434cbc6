//! `rivulet publish`

use super::Printer;
use super::studio::Studio;
use crate::error::{Kind, Result};
use crate::pipeline::Fragments;
use crate::progress::Ctx;
use crate::publish::{self, Forecast, Options, Published};
use crate::store::{self, Expect, Via};
use crate::units::{Bitrate, Bytes, MediaTime};
use crate::workdir::WorkDir;
use std::path::PathBuf;

/// Learners see the old release until the new one is whole; stopped at any moment, the same command goes on.
///
/// Exit code 3 where a lecture of the release lacks a part of its recording (a warning says which); the release is current.
#[derive(clap::Args)]
pub struct Args {
    /// The author's file.
    course: PathBuf,
    /// The store: a directory of its own, made if it is not there, or s3://BUCKET/FOLDER (docs/s3.md).
    #[arg(long, value_name = "STORE")]
    to: String,
    /// For lectures that are encoded; others keep theirs only while it is the same.
    #[arg(long, default_value = "rural-3g")]
    profile: String,
    /// Say what would be encoded and sent, and which promises of the profile would be broken; send nothing. New recordings are
    /// looked at, as publishing does.
    #[arg(long)]
    dry_run: bool,
    /// Most bits a second to send to a bucket, headers and all connections included: 512k, 2M. With --dry-run the time is told.
    #[arg(long, value_name = "RATE", value_parser = uplink)]
    uplink: Option<Bitrate>,
    /// Encode every lecture whose recording is here, changed or not (after an upgrade of rivulet).
    #[arg(long)]
    refresh: bool,
    /// Publish lectures too that break what their profile promises to learners (docs/replay.md); without it such a lecture is an
    /// error, and learners see what they saw before.
    #[arg(long)]
    accept: bool,
    /// New lectures of at least so many seconds are published with their floor first, to be watched while the rest is made;
    /// shorter ones are there whole within minutes.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    floor_from: f64,
    /// Publish a lecture again that was withdrawn; may be given several times.
    #[arg(long, value_name = "LECTURE")]
    restore: Vec<String>,
    /// Chunks side by side [default: as many as cores, less where memory is short].
    #[arg(long, value_parser = super::at_least_one)]
    jobs: Option<usize>,
    /// Where unfinished work is kept [default: $RIVULET_WORK, else ~/.cache/rivulet].
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// A directory of .gst files that replace the built-in pipelines of the same name.
    #[arg(long)]
    pipelines: Option<PathBuf>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let encoder = &Studio {
        work: WorkDir::open(args.work_dir.clone())?,
        fragments: Fragments::load(args.pipelines.as_deref())?,
        jobs: args.jobs,
        floor_from_s: args.floor_from,
        ctx: ctx.clone(),
    };
    let store = store::open(&args.to, Expect::NewOrStore, Via { ctx: ctx.clone(), uplink: args.uplink, work: args.work_dir })?;
    let options = Options { profile: args.profile, refresh: args.refresh, restore: args.restore, accept: args.accept, uplink: args.uplink };
    if args.dry_run {
        let forecast = publish::forecast(&args.course, &*store, encoder, &options, ctx).await?;
        match printer.json() {
            true => printer.object(&forecast),
            false => printer.data(&would(&forecast)),
        }
        return Ok(0);
    }
    let tell = |published: &Published| match printer.json() {
        true => printer.object(published),
        false => printer.data(&summary(published)),
    };
    let published = publish::publish(&args.course, &*store, encoder, &options, ctx, &mut |floor| tell(floor)).await?;
    tell(&published);
    Ok(if published.partial.is_empty() { 0 } else { Kind::Partial.exit_code() })
}

/// A rate that something can be sent at.
fn uplink(text: &str) -> std::result::Result<Bitrate, String> {
    match text.parse::<Bitrate>()? {
        rate if rate.bps() >= 8_000 => Ok(rate),
        rate => Err(format!("{rate} bits a second is too little to send anything at; 8k is the least, 512k means 512,000")),
    }
}

/// One line for people.
pub(super) fn summary(done: &Published) -> String {
    let sent = match done.objects_sent {
        0 => "nothing to send".to_string(),
        n => format!("{n} files sent, {}", Bytes(done.bytes_sent)),
    };
    let mut text =
        format!("{}: release {} ({}) is current; {sent}; {} objects were there", done.course, done.release, done.stage, done.objects_known);
    if !done.partial.is_empty() {
        text += &format!("; a part is lost of {}", done.partial.join(", "));
    }
    text
}

fn would(forecast: &Forecast) -> String {
    let sent = format!("would send {} files, {}; {} objects are there", forecast.objects, Bytes(forecast.bytes), forecast.objects_known);
    let mut lines = vec![format!("{}: {sent}", forecast.course)];
    if !forecast.encode.is_empty() {
        let gives = match forecast.predicted_objects {
            0 => "what that gives is complete here already".to_string(),
            n => format!("which is predicted to give {n} files, {}", Bytes(forecast.predicted_bytes)),
        };
        lines[0] = format!("{}: would encode {} first, {gives}", forecast.course, forecast.encode.join(", "));
        if forecast.objects > 0 {
            lines.push(format!("would send {} files that are known, {}", forecast.objects, Bytes(forecast.bytes)));
        }
    }
    for (id, told) in &forecast.broken {
        lines.push(format!("{id} would break what its profile promises: {}", told.join("; ")));
    }
    if let Some(seconds) = forecast.uplink_s {
        let what = if forecast.predicted_bytes == 0 { "at that rate" } else { "at that rate, as predicted" };
        lines.push(format!("{} {what}", MediaTime::from_seconds(seconds)));
    }
    lines.join("\n")
}
