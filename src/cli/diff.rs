//! `rivulet diff`

use super::Printer;
use crate::error::Result;
use crate::manifest::Diff;
use crate::progress::Ctx;
use crate::publish;
use crate::store::{self, Expect, Via};
use crate::units::Bytes;

#[derive(clap::Args)]
pub struct Args {
    store: String,
    /// The course's id.
    course: String,
    /// The release to compare the current one with; the one before it if not given.
    release: Option<u64>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = store::open(&args.store, Expect::Store, Via::new(ctx))?;
    let (from, to, diff) = publish::compare(&*store, &args.course, args.release).await?;
    if printer.json() {
        #[derive(serde::Serialize)]
        #[serde(tag = "type", rename = "diff")]
        struct Line<'a> {
            course: &'a str,
            from: u64,
            to: u64,
            #[serde(flatten)]
            diff: &'a Diff,
        }
        printer.object(&Line { course: &args.course, from, to, diff: &diff });
        return Ok(0);
    }
    printer.data(&format!("{}: from release {from} to {to}", args.course));
    for (what, lectures) in [("added", &diff.added), ("removed", &diff.removed), ("other media", &diff.reencoded), ("edited", &diff.edited)]
    {
        if !lectures.is_empty() {
            printer.data(&format!("  {what}: {}", lectures.join(", ")));
        }
    }
    if diff.course_edited {
        printer.data("  the course's own texts, modules or order");
    }
    let (new, again) = (Bytes(diff.new_bytes), Bytes(diff.again_bytes));
    printer.data(&format!(
        "  {} objects that {from} does not have, {new}; {again} of them in lectures that learners may have already",
        diff.new_objects
    ));
    Ok(0)
}
