//! `rivulet ingest`: flags in, one library call, what happened to each file out.

use super::Printer;
use crate::cache::Cache;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::ingest::{self, Machine, Request, Said};
use crate::progress::Ctx;
use crate::units::Bytes;
use crate::workdir::{WorkDir, free_bytes};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Brings recordings into a course's directory: waits until whole, copies, verifies, drafts course.toml.
///
/// The copies are read back and compared with the digest, probed, and named in DIR/course.toml, which is made or extended
/// without touching what its author wrote. The originals are never altered. A broken file is refused with its reason, the others go on.
///
/// A file is whole when nobody on this machine has it open for writing, its size and time have not changed for --still,
/// and its container is complete (MP4, MOV, Matroska, AVI, WAV). Another machine that writes to a shared folder cannot be
/// seen: there, stillness must do.
///
/// Exit codes: 0 all taken, 3 some refused (or course.toml could not be extended), 4 all refused because they are no usable
/// recordings, 1 nothing could be taken for another reason (DIR cannot be written, no room, a path that is not there).
#[derive(clap::Args)]
pub struct Args {
    /// Recordings, folders of them, or camera cards (DCIM, AVCHD and M4ROOT are found on them).
    #[arg(required = true)]
    path: Vec<PathBuf>,
    /// The course's directory; made where it is missing.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Goes on until Ctrl-C: what appears in the folders is taken once it is whole.
    #[arg(long)]
    watch: bool,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    interval: Duration,
    /// Seconds that a file must be unchanged to be whole. An incomplete one is waited for six times as long.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    still: Duration,
    /// Where digests and probe results are kept (else $RIVULET_WORK, else the user's cache directory).
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    if args.watch && args.interval.is_zero() {
        return Err(Error::usage("--interval 0 would look without a pause").hint("give at least 0.1"));
    }
    let work = WorkDir::open(args.work_dir)?;
    let cache = Cache::new(&work);
    let machine = Machine { cache: &cache, clock: &SystemClock, free_bytes: &free_bytes };
    let request = Request { paths: args.path, into: args.into, watch: args.watch, interval: args.interval, still: args.still };
    if request.watch {
        printer.talk("watching; Ctrl-C ends it");
    }
    let probe = async |path: &Path, ctx: &Ctx| crate::probe::known(path, &cache, ctx).await;
    let tally = ingest::run(&request, &machine, probe, &mut |said| print(printer, &said), ctx).await?;
    Ok(tally.exit_code())
}

fn print(printer: &Printer, said: &Said) {
    if printer.json() {
        return printer.object(said);
    }
    match said {
        Said::Waiting { path, reason } => printer.talk(&format!("waiting: {}: {reason}", path.display())),
        Said::Ingested { path, into, bytes, known: false, .. } => {
            printer.data(&format!("ingested: {} as {} ({})", path.display(), into.display(), Bytes(*bytes)));
        }
        Said::Ingested { path, into, .. } if path == into => {
            printer.data(&format!("known: {} is in the course's directory", path.display()))
        }
        Said::Ingested { path, into, .. } => {
            printer.data(&format!("known: {} is there already as {}; not copied again", path.display(), into.display()))
        }
        Said::Refused { path, reason, hint, .. } => {
            printer.data(&format!("refused: {}: {reason}", path.display()));
            if let Some(hint) = hint {
                printer.talk(&format!("hint: {hint}"));
            }
        }
        Said::Drafted { course, lectures } => {
            for lecture in lectures {
                printer.data(&format!(
                    "{}: lecture \"{}\" ({}) from {}",
                    course.display(),
                    lecture.title,
                    lecture.id,
                    lecture.recording.join(" + ")
                ));
            }
        }
    }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    match text.trim_end_matches('s').parse::<f64>() {
        Ok(s) if (0.0..=86_400.0).contains(&s) => Ok(Duration::from_secs_f64(s)),
        _ => Err(format!("\"{text}\" is not a number of seconds from 0 to 86400")),
    }
}
