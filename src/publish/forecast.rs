//! What publishing would do, without doing any of it.

use super::blobs::Sent;
use super::decide::Choice;
use super::job::Job;
use super::{Encoder, Options, site, state};
use crate::error::Result;
use crate::manifest::to_json;
use crate::progress::Ctx;
use crate::store::Store;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What publishing would do: the `--json` line of `publish --dry-run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "would_publish")]
pub struct Forecast {
    pub course: String,
    /// Lectures that would be encoded; what they become is not in the numbers below.
    pub encode: Vec<String>,
    pub carried: Vec<String>,
    /// Of lectures that would be encoded: the promises of their profile that they are predicted to break, sentences by id. Without
    /// `--accept` publishing would fail.
    pub broken: BTreeMap<String, Vec<String>>,
    /// Files that would be written as far as it is known before encoding: with nothing to encode, all of them.
    pub objects: u64,
    pub bytes: u64,
    pub objects_known: u64,
    /// How long the bytes take at the uplink's rate, seconds; absent where none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_s: Option<f64>,
}

/// What [`publish`](super::publish) would do. Writes nothing and encodes nothing.
pub async fn forecast(file: &Path, store: &dyn Store, encoder: &dyn Encoder, options: &Options, ctx: &Ctx) -> Result<Forecast> {
    let job = Job::prepare(file, store, encoder, options, ctx).await?;
    let mut would = Sent::default();
    let mut seen = BTreeSet::new();
    for (object, _) in job.lectures.iter().flat_map(|l| &l.parcels) {
        if !job.known.has(object) && seen.insert(&object.key) {
            would.add(object.bytes);
        }
    }
    let encode = job.ids(|c| matches!(c, Choice::Encode(_)));
    let mut broken = BTreeMap::new();
    for decided in &job.lectures {
        if let Choice::Encode(request) = &decided.choice {
            ctx.check()?;
            let told = encoder.foresee(request).await?;
            if !told.is_empty() {
                broken.insert(decided.lecture.id.clone(), told);
            }
        }
    }
    let mut known = 0;
    if encode.is_empty() {
        let mut release = job.content();
        known = release.objects().len() as u64 - would.objects;
        let mut pointers = state::pointers(store, ctx).await?;
        match &job.before {
            Some(before) if before.same_content(&release) => release = before.clone(),
            _ => {
                release.previous = job.head.current.as_ref().map(|c| c.release);
                release.release = state::numbers(store, &release.course).await?.last().map_or(1, |n| n + 1);
                let file = to_json(&release)?;
                let mut tombstones = job.head.tombstones();
                job.restored(release.release, &mut tombstones);
                let pointer = release.pointer(&file, tombstones);
                would.add(file.len() as u64);
                would.add(to_json(&pointer)?.len() as u64);
                pointers.retain(|p| p.course != pointer.course);
                pointers.push(pointer);
                pointers.sort_by(|a, b| a.course.cmp(&b.course));
            }
        }
        for change in site::changes(store, &release, &pointers).await? {
            if let site::Change::Write(_, bytes, _) = change {
                would.add(bytes.len() as u64);
            }
        }
    }
    Ok(Forecast {
        course: job.course.id.clone(),
        encode,
        carried: job.ids(|c| matches!(c, Choice::Carry)),
        broken,
        objects: would.objects,
        bytes: would.bytes,
        objects_known: known,
        uplink_s: options.uplink.filter(|rate| rate.bps() > 0).map(|rate| would.bytes as f64 * 8.0 / rate.bps() as f64),
    })
}
