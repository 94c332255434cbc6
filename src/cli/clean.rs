//! `rivulet clean`: what the work directory holds, and its removal.

use super::Printer;
use crate::error::Result;
use crate::progress::Ctx;
use crate::units::{Bytes, Digest};
use crate::workdir::WorkDir;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Shows what the work directory holds, and frees it.
///
/// It holds chunks of unfinished and finished encodes, the packages that publish made, what was seen in recordings, digests
/// and probe results. --yes frees what no running Rivulet uses; an encode whose chunks were freed begins anew. Courses, stores (they have their own
/// copy of what was published) and the packages of `encode -o` are elsewhere and are never touched.
#[derive(clap::Args)]
pub struct Args {
    /// Frees, instead of only showing.
    #[arg(long, short)]
    yes: bool,
    /// Also what is known of recordings (digests, probe results, what was seen): each is then read and looked at once more.
    #[arg(long)]
    all: bool,
    /// The work directory (else $RIVULET_WORK, else the user's cache directory).
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

/// The `--json` lines (docs/json.md).
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Work { plan: &'a Digest, title: Option<&'a str>, bytes: u64, last_use_s: u64, in_use: bool, freed_bytes: u64 },
    Analyses { recordings: usize, bytes: u64, in_use: usize, freed_bytes: u64 },
    Cache { bytes: u64, freed_bytes: u64 },
    Cleaned { dir: &'a PathBuf, freed_bytes: u64, left_bytes: u64 },
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let work = WorkDir::open(args.work_dir)?;
    let now = SystemTime::now();
    let (mut freed_all, mut held_all) = (0, 0);
    let line = |line: Line, text: String| if printer.json() { printer.object(&line) } else { printer.data(&text) };
    for plan in work.plans()? {
        ctx.check()?;
        let freed = if args.yes && !plan.in_use { plan.free()? } else { Some(0) };
        let in_use = plan.in_use || freed.is_none();
        let freed = freed.unwrap_or(0);
        (freed_all, held_all) = (freed_all + freed, held_all + plan.bytes);
        let title = plan.title.as_deref();
        let last_use_s = plan.last_use.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let state = match (in_use, freed) {
            (true, _) => "in use",
            (_, 1..) => "freed",
            _ => "not in use",
        };
        let age = ago(now.duration_since(plan.last_use).unwrap_or_default());
        line(
            Line::Work { plan: &plan.plan, title, bytes: plan.bytes, last_use_s, in_use, freed_bytes: freed },
            format!(
                "{:>10}  {age:>12}  {state:<10}  {} {}",
                Bytes(plan.bytes).to_string(),
                plan.plan.short(),
                title.unwrap_or("(no name)")
            ),
        );
    }
    let analyses = work.analyses();
    let (mut freed, mut in_use) = (0, 0);
    for analysis in &analyses {
        let free = args.yes && args.all && !analysis.in_use;
        let gone = if free { analysis.free()? } else { Some(0) };
        in_use += (analysis.in_use || gone.is_none()) as usize;
        freed += gone.unwrap_or(0);
    }
    let (recordings, bytes) = (analyses.len(), analyses.iter().map(|a| a.bytes).sum::<u64>());
    (freed_all, held_all) = (freed_all + freed, held_all + bytes);
    line(
        Line::Analyses { recordings, bytes, in_use, freed_bytes: freed },
        format!(
            "{:>10}  {:>12}  {:<10}  what was seen in {recordings} recording(s)",
            Bytes(bytes).to_string(),
            "",
            match (in_use, freed) {
                (1.., _) => "in use",
                (_, 1..) => "freed",
                _ => "kept",
            }
        ),
    );
    let cache = work.cache_bytes();
    let freed = if args.yes && args.all { work.free_cache() } else { 0 };
    (freed_all, held_all) = (freed_all + freed, held_all + cache);
    line(
        Line::Cache { bytes: cache, freed_bytes: freed },
        format!(
            "{:>10}  {:>12}  {:<10}  digests and probe results",
            Bytes(cache).to_string(),
            "",
            if freed > 0 { "freed" } else { "kept" }
        ),
    );
    let dir = work.path().to_path_buf();
    let left = held_all.saturating_sub(freed_all);
    line(
        Line::Cleaned { dir: &dir, freed_bytes: freed_all, left_bytes: left },
        format!("{}: {} freed, {} left", dir.display(), Bytes(freed_all), Bytes(left)),
    );
    if !args.yes && held_all > 0 {
        printer.talk("hint: `rivulet clean --yes` frees what is not in use, `--all` what is known of recordings too");
    }
    Ok(0)
}

fn ago(span: Duration) -> String {
    match span.as_secs() {
        s if s < 120 => "now".into(),
        s if s < 7200 => format!("{} min ago", s / 60),
        s if s < 172_800 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}
