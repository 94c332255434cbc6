//! Bringing a file into the course's directory: copy to a hidden temporary name while hashing, sync, read the copy back and
//! compare, rename. A name appears only with the whole, verified content behind it, and never in place of another file.
//! What a killed run leaves is a hidden `.part` that nobody holds: the next run removes it and copies again (continuing
//! would save only writes, since the source must be read for its digest anyway).

use super::names;
use super::scan::file_name;
use crate::cache::{Cache, Meter, Stamp};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::progress::Ctx;
use crate::units::{Digest, Hasher};
use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = ".rivulet-";
const LOCK: &str = ".rivulet-ingest.lock";

/// Held while names in the directory are decided or `course.toml` is written: seconds at most. The kernel frees it when
/// its holder dies.
pub struct DirLock(#[expect(dead_code, reason = "held, not read")] Option<File>);

impl DirLock {
    /// Waits for other ingests into the same directory (blocking).
    pub fn take(dir: &Path, ctx: &Ctx) -> Result<DirLock> {
        let path = dir.join(LOCK);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).doing(|| format!("cannot write in {}", dir.display()))?;
        loop {
            ctx.check()?;
            match file.try_lock() {
                Ok(()) => return Ok(DirLock(Some(file))),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
                // Some network shares have no locks: one ingest at a time is then the technician's care.
                Err(TryLockError::Error(_)) => return Ok(DirLock(None)),
            }
        }
    }
}

/// Fails where nothing can be written in the directory: better said once than of every recording. Leaves nothing there.
pub fn can_write(dir: &Path) -> Result<()> {
    let doing = || format!("cannot write in {}", dir.display());
    let lock = dir.join(LOCK);
    if fs::symlink_metadata(&lock).is_ok() {
        File::options().write(true).open(&lock).doing(doing)?;
    }
    let probe = dir.join(format!("{PREFIX}{}.probe", std::process::id()));
    File::create(&probe).doing(doing)?;
    fs::remove_file(&probe).doing(doing)
}

/// A verified copy under a temporary name; removed when dropped before [`Part::settle`].
pub struct Part {
    path: PathBuf,
    /// Locked: other runs see that the copy is alive.
    _file: File,
    pub sha256: Digest,
    pub bytes: u64,
    settled: bool,
}

impl Part {
    /// Copies `source` into `dir` and verifies it (blocking). `Conflict` if the source changes meanwhile or another
    /// ingest copies it at this moment; `Corrupt` if the copy does not read back as it was written.
    pub fn copy(source: &Path, dir: &Path, cache: &Cache, ctx: &Ctx) -> Result<Part> {
        let reading = || format!("cannot read {}", source.display());
        let writing = || format!("cannot copy {} into {}", source.display(), dir.display());
        let mut input = File::open(source).doing(reading)?;
        let meta = input.metadata().doing(reading)?;
        let stamp = Stamp::of(&meta);
        let (path, mut output) = temporary(source, &stamp, dir, ctx)?;
        let mut part = Part { path, _file: output.try_clone().doing(writing)?, sha256: Digest::of(b""), bytes: 0, settled: false };

        let task = file_name(source);
        let mut meter = Meter::new(ctx, &task, "copy", stamp.bytes);
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 20];
        loop {
            ctx.check()?;
            let got = match input.read(&mut buffer) {
                Ok(0) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                got => got.doing(reading)?,
            };
            output.write_all(&buffer[..got]).doing(writing)?;
            hasher.update(&buffer[..got]);
            meter.add(got as u64);
        }
        meter.end();
        (part.sha256, part.bytes) = hasher.finish();
        if part.bytes != stamp.bytes || Stamp::of(&fs::metadata(source).doing(reading)?) != stamp {
            return Err(Error::new(Kind::Conflict, format!("{} changed while it was copied", source.display())));
        }
        if let Ok(modified) = meta.modified() {
            // When it was recorded; some file systems cannot keep it.
            let _ = output.set_modified(modified);
        }
        output.sync_all().doing(writing)?;
        // So that what is compared comes from the disk and not from memory.
        let _ = fadvise(&output, 0, None, Advice::DontNeed);
        part.verify(&task, ctx)?;
        cache.remember(source, &part.sha256);
        cache.remember(&part.path, &part.sha256);
        Ok(part)
    }

    fn verify(&self, task: &str, ctx: &Ctx) -> Result<()> {
        let doing = || format!("cannot read the copy {} back", self.path.display());
        let mut copy = File::open(&self.path).doing(doing)?;
        copy.rewind().doing(doing)?;
        let mut meter = Meter::new(ctx, task, "verify", self.bytes);
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 20];
        loop {
            ctx.check()?;
            match copy.read(&mut buffer).doing(doing)? {
                0 => break,
                got => {
                    hasher.update(&buffer[..got]);
                    meter.add(got as u64);
                }
            }
        }
        meter.end();
        match hasher.finish() == (self.sha256, self.bytes) {
            true => Ok(()),
            false => Err(Error::new(Kind::Corrupt, format!("the copy of {task} does not read back as it was written"))
                .hint("the disk, its cable or the memory is faulty: check them before anything else is copied there")),
        }
    }

    /// Where the bytes are for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the copy its name in `dir` (blocking): `name`, or with a piece of the digest where another file has that
    /// name already, in any case or Unicode form. `Ok(Err(path))` where the very content has come to lie there meanwhile.
    pub fn settle(mut self, dir: &Path, name: &str, cache: &Cache, ctx: &Ctx) -> Result<Result<PathBuf, PathBuf>> {
        let _lock = DirLock::take(dir, ctx)?;
        if let Some(twin) = twin(dir, self.bytes, &self.sha256, cache, ctx)? {
            return Ok(Err(twin));
        }
        let digest = self.sha256.to_string();
        let candidates = [name.to_string(), names::with_suffix(name, &digest[..8]), names::with_suffix(name, &digest[..32])];
        for candidate in candidates {
            if taken(dir, &candidate)? {
                continue;
            }
            let path = dir.join(&candidate);
            match rename_new(&self.path, &path) {
                Ok(()) => {
                    self.settled = true;
                    // Not every file system can sync a directory; the content itself is synced.
                    let _ = File::open(dir).and_then(|d| d.sync_all());
                    cache.remember(&path, &self.sha256);
                    return Ok(Ok(path));
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).doing(|| format!("cannot name {}", path.display())),
            }
        }
        Err(Error::new(Kind::Conflict, format!("every name for {name} is taken in {}", dir.display())))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file in `dir` that has this very content. Only files of the same size are read, and those once.
pub fn twin(dir: &Path, bytes: u64, sha256: &Digest, cache: &Cache, ctx: &Ctx) -> Result<Option<PathBuf>> {
    for path in same_size(dir, bytes) {
        match cache.digest(&path, ctx) {
            Ok((found, _)) if found == *sha256 => return Ok(Some(path)),
            Err(e) if e.kind() == Kind::Cancelled => return Err(e),
            // A file that cannot be read is not known to be the same.
            _ => {}
        }
    }
    Ok(None)
}

/// Visible files of this size in `dir`.
pub fn same_size(dir: &Path, bytes: u64) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| !file_name(p).starts_with('.') && fs::metadata(p).is_ok_and(|m| m.is_file() && m.len() == bytes))
        .collect();
    found.sort();
    found
}

fn taken(dir: &Path, name: &str) -> Result<bool> {
    let key = names::key(name);
    let entries = fs::read_dir(dir).doing(|| format!("cannot read {}", dir.display()))?;
    Ok(entries.flatten().any(|e| names::key(&e.file_name().to_string_lossy()) == key))
}

/// Renames, but never over another file. Where the file system cannot promise that, the check of a moment ago must do.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) if !to.exists() => fs::rename(from, to),
        outcome => Ok(outcome?),
    }
}

/// A new temporary file for this state of this source, locked by us. Leftovers of killed runs go first.
fn temporary(source: &Path, stamp: &Stamp, dir: &Path, ctx: &Ctx) -> Result<(PathBuf, File)> {
    let _lock = DirLock::take(dir, ctx)?;
    sweep(dir);
    let canonical = fs::canonicalize(source).unwrap_or_else(|_| source.to_path_buf());
    let identity = format!("{}\0{}\0{}", canonical.display(), stamp.bytes, stamp.mtime_ns);
    // The extension stays at the end: probes go by it where a stream has no signature.
    let name = names::safe(&file_name(source));
    let path = dir.join(format!("{PREFIX}{}.part{}", &Digest::of(identity.as_bytes()).to_string()[..16], names::split(&name).1));
    match File::options().read(true).write(true).create_new(true).open(&path) {
        Ok(file) => {
            // Only the sweep of another run asks for this lock, and it does so under the directory's.
            let _ = file.try_lock();
            Ok((path, file))
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::new(Kind::Conflict, format!("another ingest copies {} at this moment", source.display())))
        }
        Err(e) => Err(e).doing(|| format!("cannot write in {}", dir.display())),
    }
}

/// Removes temporary copies that nobody holds.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.strip_prefix(PREFIX).and_then(|n| n.split_once(".part")).is_some_and(|(hash, _)| hash.len() == 16);
        if ours && File::open(entry.path()).is_ok_and(|f| f.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::WorkDir;

    struct Studio {
        dir: tempfile::TempDir,
        cache: Cache,
    }
    impl Studio {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("course")).unwrap();
            let cache = Cache::new(&WorkDir::open(Some(dir.path().join("work"))).unwrap());
            Studio { dir, cache }
        }
        fn course(&self) -> PathBuf {
            self.dir.path().join("course")
        }
        fn copy(&self, name: &str, content: &str) -> Result<Part> {
            let path = self.dir.path().join(name);
            fs::write(&path, content).unwrap();
            Part::copy(&path, &self.course(), &self.cache, &Ctx::silent())
        }
        fn settle(&self, name: &str, content: &str) -> Result<PathBuf, PathBuf> {
            self.copy(name, content).unwrap().settle(&self.course(), name, &self.cache, &Ctx::silent()).unwrap()
        }
        fn visible(&self) -> Vec<String> {
            let mut names: Vec<String> =
                fs::read_dir(self.course()).unwrap().map(|e| file_name(&e.unwrap().path())).filter(|n| n != LOCK).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn nothing_has_a_name_before_it_is_verified_and_a_dropped_copy_is_gone() {
        let studio = Studio::new();
        let part = studio.copy("a.mp4", "content").unwrap();
        assert_eq!(part.sha256, Digest::of(b"content"));
        let names = studio.visible();
        assert!(names.len() == 1 && names[0].starts_with(PREFIX) && names[0].ends_with(".part.mp4"), "{names:?}");
        drop(part);
        assert!(studio.visible().is_empty());
    }

    #[test]
    fn another_file_of_the_same_name_is_never_overwritten() {
        let studio = Studio::new();
        assert_eq!(studio.settle("a.mp4", "one"), Ok(studio.course().join("a.mp4")));
        let second = studio.settle("A.MP4", "two").unwrap();
        assert_eq!(file_name(&second), format!("A-{}.MP4", Digest::of(b"two").short()));
        assert_eq!(fs::read_to_string(studio.course().join("a.mp4")).unwrap(), "one");
        // The same content is not kept twice, whatever it is called.
        assert_eq!(studio.settle("b.mp4", "one"), Err(studio.course().join("a.mp4")));
        assert_eq!(studio.visible().len(), 2);
    }

    #[test]
    fn a_copy_that_rotted_on_its_way_is_found() {
        let studio = Studio::new();
        let part = studio.copy("a.mp4", "content").unwrap();
        fs::write(part.path(), "cOntent").unwrap();
        assert_eq!(part.verify("a.mp4", &Ctx::silent()).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn a_live_copy_is_left_alone_and_a_dead_one_removed() {
        let studio = Studio::new();
        let alive = studio.copy("a.mp4", "one").unwrap();
        let dead = studio.course().join(".rivulet-0123456789abcdef.part.mp4");
        fs::write(&dead, "half").unwrap();
        let foreign = studio.course().join(".rivulet-notes.part");
        fs::write(&foreign, "somebody's").unwrap();
        drop(studio.copy("b.mp4", "two").unwrap());
        assert!(alive.path().exists() && foreign.exists() && !dead.exists());
        let again = Part::copy(&studio.dir.path().join("a.mp4"), &studio.course(), &studio.cache, &Ctx::silent());
        assert_eq!(again.map(drop).unwrap_err().kind(), Kind::Conflict);
    }

    #[test]
    fn a_stopped_copy_leaves_nothing() {
        let studio = Studio::new();
        let ctx = Ctx::silent();
        ctx.cancel.cancel();
        fs::write(studio.dir.path().join("a.mp4"), "one").unwrap();
        let stopped = Part::copy(&studio.dir.path().join("a.mp4"), &studio.course(), &studio.cache, &ctx).map(drop);
        assert_eq!(stopped.unwrap_err().kind(), Kind::Cancelled);
        assert!(studio.visible().is_empty());
    }
}
