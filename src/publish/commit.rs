//! The moment when learners' next page view changes: the release is written, then the pointer is moved to it.

use super::blobs::Sent;
use super::lock::Lock;
use super::state::{self, Head};
use crate::clock::Clock;
use crate::error::{Kind, Result};
use crate::manifest::{Release, Tombstone, release_key, to_json};
use crate::store::{Body, Caching, Precondition, Store, get_if_there};

/// Writes the release under the next free number and makes it current. A number whose file has these very bytes is one
/// that we wrote before we were stopped, and is taken again; content that is current already gets no new release. `bury`
/// changes the course's tombstones, given the release's number.
pub(super) async fn commit(
    store: &dyn Store,
    head: &Head,
    before: Option<&Release>,
    content: Release,
    sent: &mut Sent,
    clock: &dyn Clock,
    bury: impl FnOnce(u64, &mut Vec<Tombstone>),
) -> Result<Release> {
    let lock = Lock::take(store, &content.course, clock).await?;
    let outcome = number_and_flip(store, head, before, content, sent, &lock, bury).await;
    // The first error is the one that matters.
    let released = lock.release().await;
    let release = outcome?;
    released?;
    Ok(release)
}

async fn number_and_flip(
    store: &dyn Store,
    head: &Head,
    before: Option<&Release>,
    content: Release,
    sent: &mut Sent,
    lock: &Lock<'_>,
    bury: impl FnOnce(u64, &mut Vec<Tombstone>),
) -> Result<Release> {
    let mut tombstones = head.tombstones();
    if let (Some(before), Some(current)) = (before.filter(|b| b.same_content(&content)), &head.current) {
        bury(before.release, &mut tombstones);
        if tombstones != current.withdrawn {
            let pointer = crate::manifest::Current { withdrawn: tombstones, ..current.clone() };
            sent.add(head.flip(store, &pointer, lock).await?);
        }
        return Ok(before.clone());
    }
    let (release, bytes, ours) = write(store, head, content, sent).await?;
    bury(release.release, &mut tombstones);
    match head.flip(store, &release.pointer(&bytes, tombstones), lock).await {
        Ok(0) => {}
        Ok(written) => sent.add(written),
        Err(e) if e.kind() == Kind::Conflict && ours => {
            take_back(store, &release, &bytes).await?;
            return Err(e);
        }
        Err(e) => return Err(e),
    }
    Ok(release)
}

/// The release with its number, its file's bytes, and whether this call wrote it.
async fn write(store: &dyn Store, head: &Head, mut release: Release, sent: &mut Sent) -> Result<(Release, Vec<u8>, bool)> {
    release.previous = head.current.as_ref().map(|c| c.release);
    let numbers = state::numbers(store, &release.course).await?;
    for n in numbers.iter().copied().filter(|n| *n > head.number()) {
        release.release = n;
        let bytes = to_json(&release)?;
        if get_if_there(store, &release_key(&release.course, n)?).await?.as_ref() == Some(&bytes) {
            return Ok((release, bytes, false));
        }
    }
    // Above the current one, even where that one's file is gone: numbers rise.
    release.release = numbers.last().copied().unwrap_or(0).max(head.number()) + 1;
    let (key, bytes) = (release_key(&release.course, release.release)?, to_json(&release)?);
    let mut ours = true;
    match store.put(&key, Body::Bytes(&bytes), Caching::Immutable, Precondition::Absent).await {
        Ok(_) => sent.add(bytes.len() as u64),
        // Somebody else has that number: with the same content; or with other content, which he may have taken back by now.
        Err(e) if e.kind() == Kind::Conflict => match get_if_there(store, &key).await? {
            Some(theirs) if theirs == bytes => ours = false,
            _ => return Err(state::overtaken(&release.course).caused_by(e)),
        },
        Err(e) => return Err(e),
    }
    // The pointer must not name what was acknowledged and is not there.
    if ours && get_if_there(store, &key).await?.as_ref() != Some(&bytes) {
        return Err(head.unless_overtaken(store, &release.course, super::not_done(store, &key)).await);
    }
    Ok((release, bytes, ours))
}

/// Removes the release that came second, unless the winner has gone on from it: nobody can reach it, and it may name what a
/// withdrawal took away.
async fn take_back(store: &dyn Store, release: &Release, bytes: &[u8]) -> Result<()> {
    let now = Head::of(store, &release.course).await?;
    if let Some(current) = &now.current {
        let winner = state::release_of(store, current).await?;
        let key = release_key(&release.course, release.release)?;
        let reached = winner.release == release.release || winner.previous == Some(release.release);
        if !reached && get_if_there(store, &key).await?.as_deref() == Some(bytes) {
            store.delete(&key).await?;
        }
    }
    Ok(())
}
