//! `rivulet rollback`

use super::Printer;
use crate::error::Result;
use crate::progress::Ctx;
use crate::publish;
use crate::store::{self, Expect, Via};

/// Nothing is deleted: rolling forward again is the same command with the later number.
#[derive(clap::Args)]
pub struct Args {
    store: String,
    /// The course's id.
    course: String,
    /// The release to go to; the last full one before the current if not given.
    release: Option<u64>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = store::open(&args.store, Expect::Store, Via::new(ctx))?;
    let done = publish::rollback(&*store, &args.course, args.release, ctx).await?;
    match printer.json() {
        true => printer.object(&done),
        false => printer.data(&super::publish::summary(&done)),
    }
    Ok(0)
}
