//! `rivulet pipelines check`

use super::Printer;
use crate::child::{self, Limits};
use crate::encode::pipelines::{Checked, Job, built_in_profiles};
use crate::error::{Error, Result};
use crate::pipeline::Fragments;
use crate::progress::Ctx;
use serde::Serialize;
use std::path::PathBuf;

/// Look after pipelines/*.gst.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Build every pipeline with every profile: fails on an unknown element, property or caps field.
    Check {
        /// A directory of .gst files that replace the built-in ones of the same name.
        #[arg(long)]
        pipelines: Option<PathBuf>,
        /// Profile files of your own to check with, besides the built-in ones.
        #[arg(long)]
        profile: Vec<String>,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    checked: &'a Checked,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let Command::Check { pipelines, profile } = args.command;
    let mut profiles = built_in_profiles()?;
    for name in &profile {
        profiles.push(crate::profile::load(name)?);
    }
    let fragments = Fragments::load(pipelines.as_deref())?;
    let job = Job::new(&fragments, &profiles)?;
    let checked: Vec<Checked> = child::run("pipelines", "the pipelines", &job, Limits::wall(120), ctx, |_| {}).await?;
    let mut bad = 0;
    for c in &checked {
        bad += !c.faults.is_empty() as usize;
        match printer.json() {
            true => printer.object(&Line { r#type: "pipeline", checked: c }),
            false if c.faults.is_empty() => {}
            false => c.faults.iter().for_each(|f| printer.data(&format!("{} with {}: {f}", c.pipeline, c.profile))),
        }
    }
    match bad {
        0 => {
            printer.talk(&format!("{} pipelines with {} profiles: all build", fragments.roles().count(), profiles.len()));
            Ok(0)
        }
        n => Err(Error::failed(format!("{n} of {} pipelines cannot be used", checked.len()))),
    }
}
