//! `rivulet releases`

use super::Printer;
use crate::error::Result;
use crate::progress::Ctx;
use crate::publish;
use crate::store::{self, Expect, Via};
use crate::units::{Bytes, MediaTime};

#[derive(clap::Args)]
pub struct Args {
    store: String,
    /// The course's id.
    course: String,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = store::open(&args.store, Expect::Store, Via::new(ctx))?;
    for line in publish::releases(&*store, &args.course).await? {
        if printer.json() {
            printer.object(&line);
            continue;
        }
        let mark = if line.current { "*" } else { " " };
        let over = line.previous.map_or("the first".to_string(), |p| format!("after {p}"));
        let time = MediaTime::from_seconds(line.duration_s);
        printer.data(&format!(
            "{mark} {:>4}  {:<5}  {:>3} lectures  {time:>10}  {:>10}  {over}",
            line.release,
            line.stage.to_string(),
            line.lectures,
            Bytes(line.bytes).to_string()
        ));
    }
    Ok(0)
}
