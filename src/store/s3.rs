//! A store in a bucket of Amazon S3 or of any service that speaks its language (docs/s3.md). Only this module knows AWS.
//!
//! ```text
//! place    which bucket, where, as whom: s3://..., environment, profiles
//! net      sockets, TLS, proxy; pace: --uplink; lanes: how many at once, which climb decides; mend: answers that the SDK refuses
//! live     single requests with checksums; retry, errors
//! parts    large objects in parts; journal: what outlives this process; tidy: uploads that nobody goes on with
//! body     streams, checksums, gzip; conditions: whether the service keeps conditional writes apart
//! ```
//!
//! Text is stored as gzip under `Content-Encoding: gzip`, always the same bytes for the same text, and handed out plain; so
//! for such keys ([`Store::packs`]) `list` tells another length than `head`.

#[cfg(test)]
pub mod bench;
mod body;
mod climb;
mod conditions;
mod errors;
mod journal;
mod lanes;
mod live;
mod mend;
mod net;
mod pace;
mod parts;
mod place;
mod retry;
#[cfg(test)]
mod tests;
mod tidy;

use super::{Acknowledged, Body, BoxFuture, Caching, Conditions, Key, Listed, Meta, Precondition, Store, Via};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::offload::blocking;
use crate::units::Digest;
use body::{Payload, Sums};
use errors::{Again, Failure};
use live::{Labels, Live, PLAIN_BYTES, Refused};
use net::Meter;
pub use net::authorities;
use pace::Pace;
use place::{Access, Place};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;

/// Longer text is stored as it is: it is read into memory whole. A day's playlist in 1 s segments is 8 MB.
const MOST_PACKED: u64 = 32 << 20;

/// See the module.
pub struct S3Store {
    place: Place,
    via: Via,
    meter: Arc<Meter>,
    live: OnceCell<Live>,
    conditions: OnceCell<Conditions>,
}

impl S3Store {
    /// The store that an `s3://` name means; nothing is asked yet.
    pub fn new(name: &str, via: Via) -> Result<S3Store> {
        let place = Place::parse(name)?;
        Ok(S3Store { place, via, meter: Arc::default(), live: OnceCell::new(), conditions: OnceCell::new() })
    }

    async fn live(&self) -> Result<&Live> {
        let begin = async || self.with_access(Access::of_process().await?);
        self.live.get_or_try_init(begin).await
    }

    fn with_access(&self, access: Access) -> Result<Live> {
        let pace = self.via.uplink.map(|rate| Arc::new(Pace::new(rate.bps() as f64 / 8.0)));
        let work = crate::workdir::WorkDir::open(self.via.work.clone())?;
        let journals = work.path().join("uploads");
        Live::new(self.place.clone(), access, pace, Arc::clone(&self.meter), journals, self.via.ctx.clone())
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Vec<u8>> {
        let live = self.live().await?;
        let name = live.full(key);
        // A range of packed text cannot be asked for; an empty one neither.
        let asked = range.clone().filter(|_| !self.packs(key));
        if asked.as_ref().is_some_and(Range::is_empty) {
            return match self.look(key).await? {
                Some(_) => Ok(Vec::new()),
                None => Err(missing(key)),
            };
        }
        let got = live
            .attempt("s3:GetObject", &name, || async {
                let request = live.client.get_object().bucket(&live.place.bucket).key(&name);
                let request = request.set_range(asked.as_ref().map(|r| format!("bytes={}-{}", r.start, r.end - 1)));
                let answer = request.send().await.map_err(Refused::Sdk)?;
                let packed = answer.content_encoding().is_some_and(|e| e.eq_ignore_ascii_case("gzip"));
                let bytes = answer.body.collect().await.map_err(|e| {
                    let error = Error::new(Kind::Unavailable, format!("the bytes of {name} did not all come, or came damaged"));
                    Refused::Here(error.caused_by(e), Again::Soon)
                })?;
                Ok((bytes.into_bytes(), packed))
            })
            .await;
        let (bytes, packed) = match got {
            Ok(got) => got,
            // The range begins past the end.
            Err(f) if f.status == 416 => return Ok(Vec::new()),
            Err(f) => return Err(f.error),
        };
        let plain = match packed {
            true => blocking(move || body::unpack(&bytes, &name)).await?,
            false => bytes.to_vec(),
        };
        Ok(match (range, asked) {
            (Some(range), None) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(plain.len());
                plain[at(range.start)..at(range.end)].to_vec()
            }
            _ => plain,
        })
    }

    async fn look(&self, key: &Key) -> Result<Option<Meta>> {
        let live = self.live().await?;
        let name = live.full(key);
        let head = live.call("s3:GetObject", &name, || live.client.head_object().bucket(&live.place.bucket).key(&name).send()).await;
        let head = match head {
            Ok(head) => head,
            // HEAD has no body that could say whether it is the bucket that is missing; `list` does.
            Err(f) if f.error.kind() == Kind::NotFound => return Ok(None),
            Err(f) => return Err(self.explained(live, f).await.error),
        };
        let packed = head.content_encoding().is_some_and(|e| e.eq_ignore_ascii_case("gzip"));
        let noted = head.metadata().and_then(|m| m.get(PLAIN_BYTES)).and_then(|n| n.parse().ok());
        let bytes = match (packed, noted) {
            (true, Some(plain)) => plain,
            (true, None) => Box::pin(self.read(key, None)).await?.len() as u64,
            (false, _) => head.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        };
        Ok(Some(Meta { bytes, version: version(head.e_tag()) }))
    }

    /// A refusal of HEAD has no body, so it does not say whether it is the key, the clock or the region; that of a list does.
    async fn explained(&self, live: &Live, refused: Failure) -> Failure {
        if !refused.code.is_empty() || !matches!(refused.status, 301 | 307 | 400 | 401 | 403) {
            return refused;
        }
        let whole = live.place.full("");
        let ask = || live.client.list_objects_v2().bucket(&live.place.bucket).prefix(&whole).max_keys(1).send();
        match live.call("s3:ListBucket", &whole, ask).await {
            Ok(_) => refused,
            Err(said) => said,
        }
    }

    async fn write(&self, key: &Key, body: Body<'_>, caching: Caching, when: Precondition) -> Result<Meta> {
        let live = self.live().await?;
        let name = live.full(key);
        let ready = prepare(self.packs(key), body).await?;
        let when = match when {
            Precondition::None => Precondition::None,
            when if self.conditions().await? == Conditions::Honoured => when,
            when => {
                // Looked at here instead: the caller holds a lock (publish/lock.rs).
                let there = self.look(key).await?;
                let held = match (&when, &there) {
                    (Precondition::Version(v), Some(meta)) => meta.version == *v,
                    (Precondition::Version(_), None) => false,
                    (_, there) => there.is_none(),
                };
                if !held {
                    return Err(Error::new(Kind::Conflict, format!("{key} was changed by somebody else")));
                }
                Precondition::None
            }
        };
        let mut labels = Labels { content_type: key.content_type(), caching, packed_from: None };
        let (bytes, etag) = match ready {
            Ready::Small { payload, sums, plain, packed } => {
                labels.packed_from = packed.then_some(plain);
                let lane = live.lanes.enter_with(payload.len()).await;
                let etag = live.put(&name, &payload, &sums, &labels, &when).await.map_err(failed)?;
                lane.done(payload.len());
                (plain, etag)
            }
            Ready::Large { path, sha256, bytes } => {
                (bytes, parts::put(live, &name, &path, sha256, bytes, &labels, &when).await.map_err(failed)?)
            }
        };
        match etag {
            Some(etag) => Ok(Meta { bytes, version: version(Some(&etag)) }),
            None => self.look(key).await?.ok_or_else(|| Error::new(Kind::Corrupt, format!("{key} was taken and is not there"))),
        }
    }
}

/// What a put has become before anything is sent.
enum Ready {
    Small { payload: Payload, sums: Sums, plain: u64, packed: bool },
    Large { path: PathBuf, sha256: Digest, bytes: u64 },
}

/// Checks a file against its digest and packs text; of large files nothing is read yet.
async fn prepare(packs: bool, body: Body<'_>) -> Result<Ready> {
    let pack = |plain: Vec<u8>| {
        let packed = body::pack(&plain)?;
        Ok(Ready::Small { sums: Sums::of(&packed), payload: Payload::Bytes(packed.into()), plain: plain.len() as u64, packed: true })
    };
    match body {
        Body::Bytes(bytes) if packs && bytes.len() as u64 <= MOST_PACKED => {
            let plain = bytes.to_vec();
            blocking(move || pack(plain)).await
        }
        Body::Bytes(bytes) => Ok(Ready::Small {
            sums: Sums::of(bytes),
            payload: Payload::Bytes(bytes.to_vec().into()),
            plain: bytes.len() as u64,
            packed: false,
        }),
        Body::File { path, sha256, bytes } if packs && bytes <= MOST_PACKED => {
            let path = path.to_path_buf();
            blocking(move || {
                let plain = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
                match plain.len() as u64 == bytes && Digest::of(&plain) == sha256 {
                    true => pack(plain),
                    false => Err(super::dir::differs(&path)),
                }
            })
            .await
        }
        Body::File { path, sha256, bytes } if bytes > parts::LARGE => Ok(Ready::Large { path: path.to_path_buf(), sha256, bytes }),
        Body::File { path, sha256, bytes } => {
            let path = path.to_path_buf();
            blocking(move || {
                let (found, length, mut sums) = body::scan(&path, parts::LARGE)?;
                match (found, length) == (sha256, bytes) {
                    true => Ok(Ready::Small {
                        sums: sums.remove(0),
                        payload: Payload::Span { path, offset: 0, bytes },
                        plain: bytes,
                        packed: false,
                    }),
                    false => Err(super::dir::differs(&path)),
                }
            })
            .await
        }
    }
}

/// An ETag as a version: opaque, without its quotes.
fn version(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_string()
}

fn missing(key: &Key) -> Error {
    Error::new(Kind::NotFound, format!("{key} is not in the store"))
}

/// A file that vanishes or changes while it is sent is told as damaged by the service; that is what it is.
fn failed(f: Failure) -> Error {
    match f.code.as_str() {
        "BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => Error::new(Kind::Corrupt, f.error.what().to_string())
            .hint("something changes bytes: the file while it is read, or the network; run the same command again"),
        _ => f.error,
    }
}

impl Store for S3Store {
    fn describe(&self) -> String {
        self.place.to_string().trim_end_matches('/').to_string()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(self.read(key, range))
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        Box::pin(self.look(key))
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        Box::pin(self.write(key, body, caching, when))
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
        Box::pin(async move {
            let live = self.live().await?;
            let (whole, mut all, mut token) = (live.place.full(prefix), Vec::new(), None::<String>);
            loop {
                let ask = || {
                    let request = live.client.list_objects_v2().bucket(&live.place.bucket).prefix(&whole);
                    request.set_continuation_token(token.clone()).send()
                };
                let page = live.call("s3:ListBucket", &whole, ask).await.map_err(|f| f.error)?;
                for object in page.contents() {
                    let name = object.key().and_then(|k| k.strip_prefix(&live.place.prefix));
                    // Names that no store gives are somebody else's.
                    let Some(key) = name.and_then(|n| Key::new(n).ok()) else { continue };
                    let bytes = object.size().and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                    let seconds = object.last_modified().map_or(0, |t| u64::try_from(t.secs()).unwrap_or_default());
                    let version = object.e_tag().map(|tag| version(Some(tag)));
                    all.push(Listed { key, bytes, modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), version });
                }
                let next = page.next_continuation_token().map(str::to_string);
                match page.is_truncated() == Some(true) && next.is_some() && next != token {
                    true => token = next,
                    false => break,
                }
            }
            all.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(all)
        })
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let live = self.live().await?;
            let name = live.full(key);
            let request = || live.client.delete_object().bucket(&live.place.bucket).key(&name).send();
            match live.call("s3:DeleteObject", &name, request).await {
                Ok(_) => Ok(()),
                Err(f) if f.code == "NoSuchKey" => Ok(()),
                Err(f) => Err(f.error),
            }
        })
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        Box::pin(async move { tidy::tidy(self.live().await?).await })
    }
    fn conditions<'a>(&'a self) -> BoxFuture<'a, Conditions> {
        Box::pin(async move { self.conditions.get_or_try_init(async || conditions::probe(self.live().await?).await).await.copied() })
    }
    fn packs(&self, key: &Key) -> bool {
        key.is_text()
    }
    /// The ETag of what is put in one request is the MD5 of its bytes, unless it is encrypted with a key of KMS.
    fn version_of(&self, key: &Key, bytes: &[u8]) -> Option<String> {
        let packs = self.packs(key) && bytes.len() as u64 <= MOST_PACKED;
        let packed = packs.then(|| body::pack(bytes)).transpose().ok()?;
        Some(body::md5_hex(packed.as_deref().unwrap_or(bytes)))
    }
    fn parallel(&self) -> usize {
        climb::MOST
    }
    fn web<'a>(&'a self) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move { Ok(Some(self.live().await?.access.web(&self.place))) })
    }
    fn authorities<'a>(&'a self) -> BoxFuture<'a, Vec<Vec<u8>>> {
        Box::pin(async move { authorities(self.live().await?.access.ca_bundle.as_deref()) })
    }
    fn acknowledged(&self, key: &Key) -> Acknowledged {
        self.live.get().map_or_else(Acknowledged::default, |live| live.acknowledged(&live.full(key)))
    }
    fn bytes_sent(&self) -> Option<u64> {
        Some(self.meter.sent.load(Ordering::Relaxed))
    }
}
