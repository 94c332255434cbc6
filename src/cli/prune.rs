//! `rivulet prune`

use super::Printer;
use crate::error::Result;
use crate::progress::Ctx;
use crate::publish;
use crate::store::{self, Expect, Via};

/// Of every course the newest releases stay, the one that learners see and the last full one; of the objects, what any of
/// these or somebody who publishes at this moment names, and what is younger than 7 days.
#[derive(clap::Args)]
pub struct Args {
    store: String,
    /// How many releases of each course stay, at least 1.
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep: usize,
    /// Say what would be deleted, and delete nothing.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = store::open(&args.store, Expect::Store, Via::new(ctx))?;
    let pruned = publish::prune(&*store, args.keep, args.dry_run, ctx).await?;
    if printer.json() {
        printer.object(&pruned);
        return Ok(0);
    }
    for (course, numbers) in &pruned.releases {
        printer.talk(&format!("{course}: releases {}", numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")));
    }
    printer.data(&pruned.to_string());
    Ok(0)
}
