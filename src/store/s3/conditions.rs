//! Whether the service keeps conditional writes apart: some answer 200 and overwrite whatever the condition says (docs/s3.md).

use super::body::{Payload, Sums};
use super::errors::Failure;
use super::live::{Labels, Live};
use crate::error::{Kind, Result, ResultExt};
use crate::offload::blocking;
use crate::store::{Caching, Conditions, Precondition};
use crate::units::Digest;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Asks the service with a scratch object, below `blobs/` because every key that may publish may write there.
pub async fn probe(live: &Live) -> Result<Conditions> {
    let fresh = format!("{:016x}", live.retry.random());
    let note = live.journals.join(format!("probe-{}", whose(live)));
    let chosen = fresh.clone();
    let (note, left) = blocking(move || Note::take(note, &chosen)).await?;
    if let Some(left) = left {
        remove(live, &scratch(live, &left)).await.map_err(|f| f.error)?;
    }
    let name = scratch(live, &fresh);
    let found = ask(live, &name).await;
    // Also where the probe failed; what stays on a dead link the next run takes away, or else `prune`.
    let removed = remove(live, &name).await;
    let found = found.map_err(|f| f.error)?;
    removed.map_err(|f| f.error)?;
    blocking(move || note.map_or(Ok(()), Note::remove)).await?;
    if found == Conditions::Ignored {
        live.ctx.note(format!(
            "{} does not keep conditional writes apart; a lock object keeps authors apart instead (docs/s3.md)",
            live.access.host()
        ));
    }
    Ok(found)
}

async fn ask(live: &Live, name: &str) -> std::result::Result<Conditions, Failure> {
    let labels = Labels { content_type: "application/octet-stream", caching: Caching::Revalidate, packed_from: None };
    let put = async |bytes: &'static [u8], when: Precondition| {
        let payload = Payload::Bytes(bytes.into());
        live.put(name, &payload, &Sums::of(bytes), &labels, &when).await
    };
    match put(b"probe", Precondition::Absent).await {
        Ok(_) => {}
        Err(f) if matches!(f.status, 400 | 501) => return Ok(Conditions::Ignored),
        Err(f) => return Err(f),
    }
    for wrong in [Precondition::Absent, Precondition::Version("00000000000000000000000000000000".into())] {
        match put(b"again", wrong).await {
            Err(f) if f.error.kind() == Kind::Conflict => {}
            Err(f) if !matches!(f.status, 400 | 501) => return Err(f),
            _ => return Ok(Conditions::Ignored),
        }
    }
    Ok(Conditions::Honoured)
}

async fn remove(live: &Live, name: &str) -> std::result::Result<(), Failure> {
    live.call("s3:DeleteObject", name, || live.client.delete_object().bucket(&live.place.bucket).key(name).send()).await.map(|_| ())
}

fn scratch(live: &Live, id: &str) -> String {
    live.place.full(&format!("blobs/probe/{id}.bin"))
}

fn whose(live: &Live) -> String {
    let store = format!("{}\n{}\n{}", live.access.host(), live.place.bucket, live.place.full(""));
    Digest::of(store.as_bytes()).to_string()[..32].to_string()
}

/// This machine's memory of a scratch object that may still be in the bucket.
struct Note {
    path: PathBuf,
    _lock: File,
}

impl Note {
    /// Notes a name before it is used; tells which one an earlier run noted and did not strike out. None while another
    /// process holds the note: its object is in use, and ours goes unremembered.
    fn take(path: PathBuf, id: &str) -> Result<(Option<Note>, Option<String>)> {
        let doing = || format!("cannot write {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).doing(doing)?;
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).doing(doing)?;
        match file.try_lock() {
            Ok(()) if crate::workdir::is_at(&file, &path) => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Ok((None, None)),
            Err(TryLockError::Error(e)) => return Err(e).doing(doing),
        }
        let mut left = String::new();
        // What is no name, because a power cut left it so, names nothing.
        let _ = Read::by_ref(&mut file).take(64).read_to_string(&mut left);
        let is_name = left.len() == 16 && left.bytes().all(|b| b.is_ascii_hexdigit());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(id.as_bytes()))
            .and_then(|()| file.sync_all())
            .doing(doing)?;
        Ok((Some(Note { path, _lock: file }), is_name.then_some(left)))
    }

    fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).doing(|| format!("cannot remove {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_not_struck_out_is_told_once_and_only_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uploads/probe-0");
        let (a, b, c) = ("00000000000000aa", "00000000000000bb", "00000000000000cc");
        let (first, left) = Note::take(path.clone(), a).unwrap();
        assert_eq!(left, None);
        assert!(matches!(Note::take(path.clone(), b).unwrap(), (None, None)), "the first is held");
        drop(first);
        let (second, left) = Note::take(path.clone(), b).unwrap();
        assert_eq!(left.as_deref(), Some(a));
        drop(second);
        fs::write(&path, "00000000000").unwrap();
        let (third, left) = Note::take(path.clone(), c).unwrap();
        assert_eq!(left, None, "half a name");
        third.unwrap().remove().unwrap();
        assert!(!path.exists());
    }
}
