//! Large objects go in parts. The file is read once for its digest and its parts' checksums, then each part is streamed
//! from it; where a run before was stopped, the service is asked which parts it has, and the rest is sent.

use super::body::{Payload, Sums, scan};
use super::climb::MOST;
use super::errors::{Again, Failure, UNREADABLE};
use super::journal::{Journal, Note, Target};
use super::live::{Labels, Live, Refused, cache_control};
use crate::error::{Error, Kind, Result};
use crate::offload::blocking;
use crate::store::Precondition;
use crate::units::Digest;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Part};
use aws_smithy_types::base64;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;

/// Objects up to here go in one request and start again from nothing.
pub const LARGE: u64 = 8 << 20;
/// S3's least for every part but the last.
const LEAST_PART: u64 = 5 << 20;
/// S3's most.
const MOST_PARTS: u64 = 10_000;

/// The same for the same object on every machine, so that any run can go on with any upload: 5 MiB, and whole MiB more
/// where that would be more than 10,000 parts (from 48.8 GiB).
pub fn part_bytes(bytes: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    LEAST_PART.max(bytes.div_ceil(MOST_PARTS).div_ceil(MIB) * MIB)
}

/// One file on its way.
struct Upload<'a> {
    live: &'a Live,
    name: &'a str,
    path: &'a Path,
    target: Target,
    sums: Vec<Sums>,
    /// Parts carry SHA-256 checksums, and completing names them.
    sha256: bool,
}

/// Sends a file that must have these bytes; gives the object's ETag.
pub async fn put(
    live: &Live,
    name: &str,
    path: &Path,
    sha256: Digest,
    bytes: u64,
    labels: &Labels,
    when: &Precondition,
) -> Result<Option<String>, Failure> {
    let part = part_bytes(bytes);
    let from = path.to_path_buf();
    let (found, length, sums) = blocking(move || scan(&from, part)).await.map_err(here)?;
    if (found, length) != (sha256, bytes) {
        return Err(here(crate::store::dir::differs(path)));
    }
    let target =
        Target { host: live.access.host(), bucket: live.place.bucket.clone(), key: name.to_string(), sha256, bytes, part_bytes: part };
    let journal = Journal::open(&live.journals, &target).map_err(here)?;
    let mut upload = Upload { live, name, path, target, sums, sha256: live.sha256() };
    let (note, earlier) = upload.find_or_begin(&journal, labels).await?;
    let upload_id = note.upload_id.clone();
    let outcome = match upload.run(&journal, note, when).await {
        // An upload of an earlier run is refused now, by whatever name, or cannot be put together: once more from nothing. A bad link
        // (`RequestTimeout`, a damaged part) is no fault of the upload.
        Err(f) if earlier && f.again == Again::No && matches!(f.status, 400 | 403 | 404) => {
            // Nor is a right or a key that was taken away: then this is refused, too, and the parts are kept for the next run.
            let note = upload.begin(&journal, labels).await?;
            // It may hold parts that nobody would ever see again; where it is gone there is nothing to take back.
            let _ = abort(live, name, &upload_id).await;
            upload.run(&journal, note, when).await
        }
        outcome => outcome,
    };
    match outcome {
        Ok(etag) => {
            journal.remove().map_err(here)?;
            Ok(etag)
        }
        Err(failure) => Err(failure),
    }
}

fn here(error: Error) -> Failure {
    Failure { error, again: Again::No, code: String::new(), status: 0 }
}

impl Upload<'_> {
    fn spans(&self) -> impl Iterator<Item = (i32, Payload, &Sums)> {
        let (part, bytes) = (self.target.part_bytes, self.target.bytes);
        self.sums.iter().enumerate().map(move |(i, sums)| {
            let offset = i as u64 * part;
            (i as i32 + 1, Payload::Span { path: self.path.to_path_buf(), offset, bytes: part.min(bytes - offset) }, sums)
        })
    }

    /// Goes on with the upload of the journal, as far as the service still has it; else begins one. Also tells whether it is an
    /// earlier one.
    async fn find_or_begin(&mut self, journal: &Journal, labels: &Labels) -> Result<(Note, bool), Failure> {
        let fresh = |note| (note, false);
        let Some(mut note) = journal.note() else { return self.begin(journal, labels).await.map(fresh) };
        if note.target != self.target {
            // Another file had this name: its upload is ours, and is of no use any more.
            abort(self.live, &note.target.key, &note.upload_id).await?;
            return self.begin(journal, labels).await.map(fresh);
        }
        let listed = match list(self.live, self.name, &note.upload_id).await {
            Ok(listed) => listed,
            Err(f) if f.error.kind() == Kind::NotFound => return self.begin(journal, labels).await.map(fresh),
            Err(f) if f.code == UNREADABLE => {
                self.live.ctx.note(format!("{}: the service cannot say which parts it has; all are sent again", self.name));
                abort(self.live, self.name, &note.upload_id).await?;
                return self.begin(journal, labels).await.map(fresh);
            }
            Err(f) => return Err(f),
        };
        note.parts = self.usable(&note.parts, &listed);
        if !note.parts.is_empty() {
            let (have, all) = (note.parts.len(), self.sums.len());
            self.live.ctx.note(format!("{}: {have} of {all} parts were sent before; going on", self.name));
        }
        Ok((note, true))
    }

    /// The listed parts that are this file's: of the right length, and with our checksum where the service tells one. Where
    /// it does not, only those that it has acknowledged to us, under the ETag that it gave them then.
    fn usable(&self, acknowledged: &BTreeMap<i32, String>, listed: &[Part]) -> BTreeMap<i32, String> {
        let mut usable = BTreeMap::new();
        for part in listed {
            let Some(number) = part.part_number() else { continue };
            let Some((_, span, sums)) = usize::try_from(number - 1).ok().and_then(|i| self.spans().nth(i)) else { continue };
            let known = acknowledged.get(&number);
            let proven = match part.checksum_sha256() {
                Some(theirs) => theirs == sums.sha256,
                None => known.is_some_and(|etag| part.e_tag().is_none_or(|theirs| theirs == etag)),
            };
            if let (true, true, Some(etag)) = (proven, part.size() == Some(span.len() as i64), part.e_tag().or(known.map(String::as_str))) {
                usable.insert(number, etag.to_string());
            }
        }
        usable
    }

    async fn begin(&mut self, journal: &Journal, labels: &Labels) -> Result<Note, Failure> {
        let (live, name) = (self.live, self.name);
        let begin = |sha256: bool| async move {
            let answer = live
                .call("s3:PutObject", name, || {
                    let (encryption, key) = live.encryption();
                    live.client
                        .create_multipart_upload()
                        .bucket(&live.place.bucket)
                        .key(name)
                        .content_type(labels.content_type)
                        .cache_control(cache_control(labels.caching))
                        .set_checksum_algorithm(sha256.then_some(ChecksumAlgorithm::Sha256))
                        .set_server_side_encryption(encryption)
                        .set_ssekms_key_id(key)
                        .send()
                })
                .await?;
            Ok((answer.upload_id().unwrap_or_default().to_string(), sha256))
        };
        let (upload_id, sha256) = self.live.with_checksums(begin).await?;
        self.sha256 = sha256;
        if upload_id.is_empty() {
            return Err(here(Error::failed(format!("{} began an upload and did not name it", self.target.host))));
        }
        let note = Note { target: self.target.clone(), upload_id, parts: BTreeMap::new() };
        journal.write(&note).map_err(here)?;
        Ok(note)
    }

    /// Sends what is missing, a few parts side by side, and puts all together.
    async fn run(&self, journal: &Journal, note: Note, when: &Precondition) -> Result<Option<String>, Failure> {
        let missing: Vec<_> = self.spans().filter(|(n, ..)| !note.parts.contains_key(n)).collect();
        let lacking: u64 = missing.iter().map(|(_, span, _)| span.len()).sum();
        let counted = self.live.count_parts(self.name, self.target.bytes - lacking);
        let note = Mutex::new(note);
        let upload_id = with(&note, |n| n.upload_id.clone());
        type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;
        let mut parts: Vec<Sending<'_>> = Vec::new();
        for (number, span, sums) in missing {
            let (note, upload_id, counted) = (&note, &upload_id, &counted);
            parts.push(Box::pin(async move {
                let lane = self.live.lanes.enter().await;
                let etag = self.part(upload_id, number, &span, sums).await?;
                lane.done(span.len());
                counted.add(span.len());
                let noted = with(note, |n| {
                    n.parts.insert(number, etag);
                    n.clone()
                });
                // Small, and written in turn: nothing is awaited between the change and its file.
                journal.write(&noted).map_err(here)
            }));
        }
        futures_util::stream::iter(parts).buffer_unordered(MOST).try_collect::<()>().await?;
        let note = with(&note, |n| n.clone());
        self.complete(&note, when).await
    }

    async fn part(&self, upload_id: &str, number: i32, span: &Payload, sums: &Sums) -> Result<String, Failure> {
        let live = self.live;
        live.attempt("s3:PutObject", self.name, || async {
            let body = span.stream().await.map_err(|e| Refused::Here(e, Again::No))?;
            let part = live
                .client
                .upload_part()
                .bucket(&live.place.bucket)
                .key(self.name)
                .upload_id(upload_id)
                .part_number(number)
                .content_length(span.len() as i64)
                .content_md5(&sums.md5)
                .set_checksum_sha256(self.sha256.then(|| sums.sha256.clone()))
                .body(body);
            let sent = part.send().await.map_err(Refused::Sdk)?;
            let damaged = sent.checksum_sha256().is_some_and(|theirs| theirs != sums.sha256);
            match sent.e_tag().filter(|_| !damaged) {
                Some(etag) => Ok(etag.to_string()),
                None => {
                    let what = format!("part {number} of {} was damaged on its way, or is not named by the service", self.name);
                    Err(Refused::Here(Error::new(Kind::Unavailable, what), Again::Soon))
                }
            }
        })
        .await
    }

    async fn complete(&self, note: &Note, when: &Precondition) -> Result<Option<String>, Failure> {
        let live = self.live;
        let parts: Vec<CompletedPart> = note
            .parts
            .iter()
            .zip(&self.sums)
            .map(|((number, etag), sums)| {
                let checksum = self.sha256.then(|| sums.sha256.clone());
                CompletedPart::builder().part_number(*number).e_tag(etag).set_checksum_sha256(checksum).build()
            })
            .collect();
        let whole = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = live
            .call("s3:PutObject", self.name, || {
                live.client
                    .complete_multipart_upload()
                    .bucket(&live.place.bucket)
                    .key(self.name)
                    .upload_id(&note.upload_id)
                    .multipart_upload(whole.clone())
                    .set_if_none_match(matches!(when, Precondition::Absent).then(|| "*".to_string()))
                    .set_if_match(match when {
                        Precondition::Version(version) => Some(format!("\"{version}\"")),
                        _ => None,
                    })
                    .send()
            })
            .await;
        // An answer may be lost and the request come again: then the upload is gone and the object there.
        let refused = match completed {
            Ok(_) => None,
            Err(f) if f.code == "NoSuchUpload" => Some(f),
            Err(f) => return Err(f),
        };
        let head = live
            .call("s3:GetObject", self.name, || {
                let mode = self.sha256.then_some(aws_sdk_s3::types::ChecksumMode::Enabled);
                live.client.head_object().bucket(&live.place.bucket).key(self.name).set_checksum_mode(mode).send()
            })
            .await;
        let head = match (head, refused) {
            (Ok(head), _) => head,
            (Err(_), Some(f)) => return Err(f),
            (Err(f), None) => return Err(f),
        };
        let same =
            head.content_length() == Some(self.target.bytes as i64) && head.checksum_sha256().is_none_or(|theirs| self.is_ours(theirs));
        match same {
            true => Ok(head.e_tag().map(str::to_string)),
            false => Err(here(
                Error::new(Kind::Corrupt, format!("{} is not in the bucket as it was sent", self.name)).hint("run the same command again"),
            )),
        }
    }

    /// Whether a checksum is that of this file: of all its bytes, or S3's of an object in parts, which is that of the parts'
    /// checksums, with `-` and their number behind it at Amazon's and without at moto's.
    fn is_ours(&self, checksum: &str) -> bool {
        let of_parts: Vec<u8> = self.sums.iter().filter_map(|s| base64::decode(&s.sha256).ok()).flatten().collect();
        let (sum, count) = checksum.split_once('-').unwrap_or((checksum, ""));
        let parts = sum == base64::encode(Digest::of(&of_parts).as_bytes()) && (count.is_empty() || count == self.sums.len().to_string());
        parts || checksum == base64::encode(self.target.sha256.as_bytes())
    }
}

fn with<T>(note: &Mutex<Note>, work: impl FnOnce(&mut Note) -> T) -> T {
    work(&mut note.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// All parts that the service has of an upload.
pub(super) async fn list(live: &Live, name: &str, upload_id: &str) -> Result<Vec<Part>, Failure> {
    let (mut all, mut marker) = (Vec::new(), None::<String>);
    loop {
        let page = live
            .call("s3:ListMultipartUploadParts", name, || {
                let request = live.client.list_parts().bucket(&live.place.bucket).key(name).upload_id(upload_id);
                request.set_part_number_marker(marker.clone()).send()
            })
            .await?;
        all.extend_from_slice(page.parts());
        let next = page.next_part_number_marker().map(str::to_string);
        match page.is_truncated() == Some(true) && next.is_some() && next != marker {
            true => marker = next,
            false => return Ok(all),
        }
    }
}

/// Takes back an upload; one that is gone already is as good.
pub(super) async fn abort(live: &Live, name: &str, upload_id: &str) -> Result<(), Failure> {
    let aborted = live
        .call("s3:AbortMultipartUpload", name, || {
            live.client.abort_multipart_upload().bucket(&live.place.bucket).key(name).upload_id(upload_id).send()
        })
        .await;
    match aborted {
        Ok(_) => Ok(()),
        Err(f) if f.error.kind() == Kind::NotFound => Ok(()),
        Err(f) => Err(f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_small_as_s3_lets_them_be() {
        for (bytes, part) in [(LARGE + 1, 5 << 20), (50_000 << 20, 5 << 20), ((50_000 << 20) + 1, 6 << 20), (5 << 40, 525 << 20)] {
            assert_eq!(part_bytes(bytes), part, "{bytes}");
            assert!(bytes.div_ceil(part_bytes(bytes)) <= MOST_PARTS);
        }
    }
}
