//! The flags that say which recording, and how it is to be made: shared by plan and encode.

use crate::encode::Encode;
use crate::error::{Error, Result};
use crate::pipeline::Fragments;
use crate::workdir::WorkDir;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Recording {
    /// The recording; several files are one recording, in order.
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// A built-in profile (rural-3g, edge, campus) or the path of a profile file.
    #[arg(long, default_value = crate::profile::DEFAULT)]
    profile: String,
    /// Title; the first file's name where none is given.
    #[arg(long)]
    title: Option<String>,
    /// Language of the voice (BCP 47).
    #[arg(long, default_value = "vi")]
    language: String,
    /// Keep only this span, in seconds of the joined recording: 12.5-3600, or 12.5- to the end.
    #[arg(long, value_parser = parse_trim)]
    trim: Option<(f64, f64)>,
    /// Where unfinished work is kept [default: $RIVULET_WORK, else ~/.cache/rivulet].
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// A directory of .gst files that replace the built-in pipelines of the same name.
    #[arg(long)]
    pipelines: Option<PathBuf>,
}

fn parse_trim(text: &str) -> std::result::Result<(f64, f64), String> {
    let expected = || format!("\"{text}\" is not a span; expected for example 12.5-3600 or 12.5-");
    let (from, to) = text.split_once('-').ok_or_else(expected)?;
    let number = |t: &str, default: f64| if t.trim().is_empty() { Ok(default) } else { t.trim().parse::<f64>().map_err(|_| expected()) };
    let (from, to) = (number(from, 0.0)?, number(to, f64::MAX)?);
    if from.is_finite() && !to.is_nan() && from < to { Ok((from, to)) } else { Err(expected()) }
}

impl Recording {
    pub fn open(&self) -> Result<(Encode, WorkDir)> {
        let title = match &self.title {
            Some(title) => title.clone(),
            None => self.recordings[0].file_stem().and_then(|s| s.to_str()).unwrap_or("lecture").to_string(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.language.is_empty() || !self.language.chars().all(plain) {
            return Err(Error::usage(format!("\"{}\" is not a language tag", self.language)).hint("for example vi, en or lo"));
        }
        let encode = Encode {
            recordings: self.recordings.clone(),
            profile: crate::profile::load(&self.profile)?,
            fragments: Fragments::load(self.pipelines.as_deref())?,
            title,
            language: self.language.clone(),
            trim: self.trim,
            captions: Vec::new(),
            jobs: None,
        };
        Ok((encode, WorkDir::open(self.work_dir.clone())?))
    }
}
