//! What publishing would do, without doing any of it.

use super::blobs::{self, Content, Known, Parcel, Sent};
use super::decide::Choice;
use super::job::Job;
use super::{Encoder, Expected, Options, site, state};
use crate::error::{Error, Result, ResultExt};
use crate::manifest::{current_key, release_key, to_json};
use crate::offload::blocking;
use crate::progress::Ctx;
use crate::store::{Key, Store};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// What publishing would do: the `--json` line of `publish --dry-run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "would_publish")]
pub struct Forecast {
    pub course: String,
    /// Lectures that would be encoded.
    pub encode: Vec<String>,
    pub carried: Vec<String>,
    /// Of lectures that would be encoded: the promises of their profile that they are predicted to break, sentences by id. Without
    /// `--accept` publishing would fail.
    pub broken: BTreeMap<String, Vec<String>>,
    /// Files that would be written as far as it is known before encoding, packages that are complete in the work directory
    /// among them: with nothing to encode, all of them.
    pub objects: u64,
    pub bytes: u64,
    /// What lectures that are not encoded yet are predicted to add.
    pub predicted_objects: u64,
    pub predicted_bytes: u64,
    pub objects_known: u64,
    /// How long all of it takes at the uplink's rate, seconds, text as it is sent and headers counted; absent where none was
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_s: Option<f64>,
}

/// What [`publish`](super::publish) would do. Writes nothing and encodes nothing.
pub async fn forecast(file: &Path, store: &dyn Store, encoder: &dyn Encoder, options: &Options, ctx: &Ctx) -> Result<Forecast> {
    let job = Job::prepare(file, store, encoder, options, ctx).await?;
    let mut would = Would { store, files: Sent::default(), wire: 0 };
    let mut predicted = Sent::default();
    let mut seen = BTreeSet::new();
    for parcel in job.lectures.iter().flat_map(|l| &l.parcels) {
        would.send(parcel, &job.known, &mut seen)?;
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
            match encoder.expect(request).await? {
                Expected::About(more) => {
                    (predicted.objects, predicted.bytes) = (predicted.objects + more.objects, predicted.bytes + more.bytes);
                }
                Expected::Package(dir) => {
                    let source = decided.source.clone().ok_or_else(|| Error::bug("a lecture without a source is to be encoded"))?;
                    let id = decided.lecture.id.clone();
                    let (_, parcels) = blocking(move || blobs::from_package(&dir, &id, source)).await?;
                    for parcel in &parcels {
                        would.send(parcel, &job.known, &mut seen)?;
                    }
                }
            }
        }
    }
    let mut known = 0;
    if encode.is_empty() {
        let mut release = job.content();
        known = release.objects().len() as u64 - would.files.objects;
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
                would.write(&release_key(&release.course, release.release)?, &file)?;
                would.write(&current_key(&release.course)?, &to_json(&pointer)?)?;
                pointers.retain(|p| p.course != pointer.course);
                pointers.push(pointer);
                pointers.sort_by(|a, b| a.course.cmp(&b.course));
            }
        }
        for change in site::changes(store, &release, &pointers).await? {
            if let site::Change::Write(key, bytes, _) = change {
                would.write(&key, &bytes)?;
            }
        }
    }
    Ok(Forecast {
        course: job.course.id.clone(),
        encode,
        carried: job.ids(|c| matches!(c, Choice::Carry)),
        broken,
        objects: would.files.objects,
        bytes: would.files.bytes,
        predicted_objects: predicted.objects,
        predicted_bytes: predicted.bytes,
        objects_known: known,
        uplink_s: options.uplink.filter(|rate| rate.bps() > 0).map(|rate| {
            let wire = would.wire + predicted.bytes + HEADERS * (would.files.objects + predicted.objects);
            wire as f64 * 8.0 / rate.bps() as f64
        }),
    })
}

/// What is sent besides the bytes of an object: the request's headers, signed, and the answer's acknowledgements.
const HEADERS: u64 = 1_000;

/// Files that would be written, and their bytes as they would be sent.
struct Would<'a> {
    store: &'a dyn Store,
    files: Sent,
    wire: u64,
}

impl Would<'_> {
    /// An object of a lecture, once, unless the store has it.
    fn send(&mut self, (object, content): &Parcel, known: &Known, seen: &mut BTreeSet<String>) -> Result<()> {
        if known.has(object) || !seen.insert(object.key.clone()) {
            return Ok(());
        }
        match content {
            Content::Bytes(bytes) => self.write(&object.key()?, bytes),
            Content::File(_) => {
                self.files.add(object.bytes);
                self.wire += object.bytes;
                Ok(())
            }
        }
    }

    fn write(&mut self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.files.add(bytes.len() as u64);
        self.wire += match self.store.packs(key) {
            true => packed(bytes).doing(|| format!("cannot compress {key}"))?,
            false => bytes.len() as u64,
        };
        Ok(())
    }
}

/// How long a text is as gzip.
fn packed(text: &[u8]) -> std::io::Result<u64> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(text.len() / 3), flate2::Compression::default());
    encoder.write_all(text)?;
    Ok(encoder.finish()?.len() as u64)
}
