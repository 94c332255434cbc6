//! Uploads that were begun and never ended: they cost room that no list of objects shows.

use super::errors::{Failure, UNREADABLE};
use super::journal::{ABANDONED, Journal};
use super::live::Live;
use super::parts::{abort, list};
use crate::error::{Kind, Result};
use crate::offload::blocking;
use aws_sdk_s3::types::MultipartUpload;
use std::time::SystemTime;

/// Takes back uploads of ours that nobody goes on with: those of this machine's journals that are older than a week or whose
/// object is there, and those of any machine to this store's blobs that have got nothing for a week. Everything else that
/// lies unfinished in the bucket is somebody else's. Gives their number.
pub async fn tidy(live: &Live) -> Result<u64> {
    let noted = of_journals(live).await?;
    match of_anybody(live).await {
        Ok(found) => Ok(noted + found),
        // A right that is not needed for anything else, or a service that cannot: the bucket's own rule does it then.
        Err(f) if f.error.kind() == Kind::Denied || f.code == UNREADABLE || matches!(f.status, 400 | 404 | 405 | 501) => Ok(noted),
        Err(f) => Err(f.error),
    }
}

async fn of_journals(live: &Live) -> Result<u64> {
    let mut removed = 0;
    let root = live.journals.clone();
    for journal in blocking(move || Journal::idle(&root)).await? {
        let Some(note) = journal.note() else {
            journal.remove()?;
            continue;
        };
        let t = &note.target;
        if t.host != live.access.host() || t.bucket != live.place.bucket || !t.key.starts_with(&live.place.prefix) {
            continue;
        }
        let there = || live.client.head_object().bucket(&t.bucket).key(&t.key).send();
        let whole = match live.call("s3:GetObject", &t.key, there).await {
            Ok(head) => head.content_length() == Some(t.bytes as i64),
            Err(f) if f.error.kind() == Kind::NotFound => false,
            Err(f) => return Err(f.error),
        };
        if whole || journal.age() > ABANDONED {
            abort(live, &t.key, &note.upload_id).await.map_err(|f| f.error)?;
            journal.remove()?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn of_anybody(live: &Live) -> Result<u64, Failure> {
    let prefix = live.place.full("blobs/");
    let mut removed = 0;
    for upload in unfinished(live, &prefix).await? {
        let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
        if !is_blob(key.strip_prefix(&prefix).unwrap_or_default()) || !old(upload.initiated()) {
            continue;
        }
        let idle = match list(live, key, id).await {
            Ok(parts) => parts.iter().all(|p| old(p.last_modified())),
            Err(f) if f.error.kind() == Kind::NotFound => continue,
            Err(f) => return Err(f),
        };
        if idle {
            abort(live, key, id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Every unfinished upload below a prefix, however many answers that takes.
async fn unfinished(live: &Live, prefix: &str) -> Result<Vec<MultipartUpload>, Failure> {
    let (mut all, mut marker) = (Vec::new(), (None::<String>, None::<String>));
    loop {
        let page = live
            .call("s3:ListBucketMultipartUploads", "", || {
                let request = live.client.list_multipart_uploads().bucket(&live.place.bucket).prefix(prefix);
                request.set_key_marker(marker.0.clone()).set_upload_id_marker(marker.1.clone()).send()
            })
            .await?;
        all.extend_from_slice(page.uploads());
        let next = (page.next_key_marker().map(str::to_string), page.next_upload_id_marker().map(str::to_string));
        match page.is_truncated() == Some(true) && next.0.is_some() && next != marker {
            true => marker = next,
            false => return Ok(all),
        }
    }
}

/// `ab/<64 hex digits>.<ext>`: a name that only Rivulet gives.
fn is_blob(name: &str) -> bool {
    let Some((folder, file)) = name.split_once('/') else { return false };
    let digest = file.split('.').next().unwrap_or_default();
    folder.len() == 2 && digest.len() == 64 && digest.starts_with(folder) && digest.bytes().all(|b| b.is_ascii_hexdigit())
}

fn old(at: Option<&aws_sdk_s3::primitives::DateTime>) -> bool {
    let at = at.and_then(|t| SystemTime::try_from(*t).ok());
    at.and_then(|t| SystemTime::now().duration_since(t).ok()).is_some_and(|age| age > ABANDONED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Digest;

    #[test]
    fn only_names_of_ours_are_ours() {
        let digest = Digest::of(b"x").to_string();
        assert!(is_blob(&format!("{}/{digest}.mp4", &digest[..2])));
        for other in ["film.mp4", "ab/film.mp4", &format!("zz/{digest}.mp4"), "probe/0123.bin"] {
            assert!(!is_blob(other), "{other}");
        }
    }
}
