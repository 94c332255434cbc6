//! `rivulet withdraw`

use super::Printer;
use crate::error::Result;
use crate::progress::Ctx;
use crate::publish::{self, Withdrawal};
use crate::store::{self, Expect, Via};
use crate::units::Bytes;

/// Learners no longer find it, no release has it, going back does not bring it back, and what only it needed is deleted. Run
/// again after it was stopped, it goes on. What others may still hold is said at the end.
#[derive(clap::Args)]
pub struct Args {
    store: String,
    /// The course's id.
    course: String,
    /// The lecture's id.
    lecture: String,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = store::open(&args.store, Expect::Store, Via::new(ctx))?;
    let done = publish::withdraw(&*store, &args.course, &args.lecture, ctx).await?;
    match printer.json() {
        true => printer.object(&done),
        false => {
            printer.data(&summary(&done));
            printer.talk(&elsewhere(&done));
        }
    }
    Ok(0)
}

fn summary(done: &Withdrawal) -> String {
    let (course, lecture, n) = (&done.course, &done.lecture, done.deleted.len());
    let mut text =
        format!("{course}: release {} is current, without {lecture}; {n} objects deleted, {}", done.release, Bytes(done.deleted_bytes));
    if done.shared_objects > 0 {
        text += &format!("; {} stay because others need them", done.shared_objects);
    }
    text
}

/// What no store can take back.
fn elsewhere(done: &Withdrawal) -> String {
    format!(
        "what others may still hold:\n\
         - browsers and any cache or CDN before the store: the deleted objects for up to {} days; purge them there (--json lists them)\n\
         - phones that keep the lecture: until they next reach the course, whose pointer tells them to drop it\n\
         - files that were passed on (the small MP4, handouts): out of reach\n\
         - backups and versions that the storage service keeps, and the recording itself: delete them there\n\
         - course.toml: take the lecture out; publish refuses it otherwise",
        done.cached_s / 86_400
    )
}
