//! What is known of files, so that a recording of gigabytes is read once: digests by path, size, mtime and inode, and
//! any other fact as JSON by kind and key (`<root>/cache/<kind>/<hash of key>.json`). It is only ever a saving: an entry
//! that is missing, damaged or unwritable means the work is done again, never an error.

use crate::error::{Error, Kind, Result, ResultExt};
use crate::progress::{Ctx, Event, Unit};
use crate::units::{Digest, Hasher};
use crate::workdir::WorkDir;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A file written this shortly before it was read may be written again within the same tick of its file system's clock
/// (2 s on FAT), with the same size and mtime: its digest is not kept.
const RACY: Duration = Duration::from_secs(2);

/// Work below this is not worth a progress bar: it takes less than a second even from a slow card.
const WORTH_A_BAR: u64 = 32 << 20;

/// The digest cache and its generic neighbour.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    pub bytes: u64,
    /// Nanoseconds since 1970; negative before.
    pub mtime_ns: i128,
    pub inode: u64,
    pub device: u64,
}

impl Stamp {
    pub fn of(meta: &Metadata) -> Stamp {
        let mtime_ns = meta.mtime() as i128 * 1_000_000_000 + meta.mtime_nsec() as i128;
        Stamp { bytes: meta.len(), mtime_ns, inode: meta.ino(), device: meta.dev() }
    }
}

/// An entry carries its own key: a file copied or moved inside the cache answers for nothing else.
#[derive(Serialize, Deserialize)]
struct Entry<K, V> {
    key: K,
    value: V,
}

/// The device is left out of what is kept: its number changes when a disk is plugged in again.
#[derive(Serialize, Deserialize)]
struct Known {
    bytes: u64,
    mtime_ns: i128,
    inode: u64,
    sha256: Digest,
}

/// What begins so is half-written: a killed run's leftover, which `rivulet clean --all` removes.
const TEMP: &str = ".tmp-";

const DIGESTS: &str = "digests";

impl Cache {
    pub fn new(work: &WorkDir) -> Cache {
        Cache { dir: work.path().join("cache") }
    }

    /// Where the entries are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The value kept under `kind` and `key`, if there is one that still reads as a `T`.
    pub fn get<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Option<T> {
        let text = fs::read(self.file(kind, key)).ok()?;
        let entry: Entry<String, T> = serde_json::from_slice(&text).ok()?;
        (entry.key == key).then_some(entry.value)
    }

    /// Keeps a value; `kind` is a plain name (it becomes a directory). An error may be ignored by the caller.
    pub fn put<T: Serialize>(&self, kind: &str, key: &str, value: &T) -> Result<()> {
        let path = self.file(kind, key);
        let dir = path.parent().expect("file() gives a path inside the cache");
        fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
        let text =
            serde_json::to_vec(&Entry { key: key.to_string(), value }).kind(Kind::Bug, || format!("a {kind} entry does not serialise"))?;
        // By rename, so that nobody reads half an entry, but not synced: one that a power cut has emptied is no entry, and
        // a folder of a hundred recordings would wait seconds for the disk.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let temp = dir.join(format!("{TEMP}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&temp, text)
            .and_then(|()| fs::rename(&temp, &path))
            .inspect_err(|_| drop(fs::remove_file(&temp)))
            .doing(|| format!("cannot write {}", path.display()))
    }

    fn file(&self, kind: &str, key: &str) -> PathBuf {
        self.dir.join(kind).join(format!("{}.json", Digest::of(key.as_bytes())))
    }

    /// SHA-256 and size of a file: from the cache where its path, size, mtime and inode are as they were, else by reading
    /// it (blocking; watch `ctx` stop it). Fails with `Conflict` if the file changes while it is read.
    pub fn digest(&self, path: &Path, ctx: &Ctx) -> Result<(Digest, u64)> {
        self.digest_at(path, SystemTime::now(), ctx)
    }

    fn digest_at(&self, path: &Path, now: SystemTime, ctx: &Ctx) -> Result<(Digest, u64)> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let doing = || format!("cannot read {}", path.display());
        let mut file = File::open(path).doing(doing)?;
        let before = Stamp::of(&file.metadata().doing(doing)?);
        let task = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut meter = Meter::new(ctx, &task, "digest", before.bytes);
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 20];
        loop {
            ctx.check()?;
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    meter.add(n as u64);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).doing(doing),
            }
        }
        meter.end();
        let (sha256, bytes) = hasher.finish();
        if Stamp::of(&fs::metadata(path).doing(doing)?) != before || bytes != before.bytes {
            return Err(Error::new(Kind::Conflict, format!("{} changed while it was read", path.display())));
        }
        self.remember_at(path, &sha256, now);
        Ok((sha256, bytes))
    }

    /// The digest if it is known without reading the file.
    pub fn known(&self, path: &Path) -> Option<(Digest, u64)> {
        let stamp = Stamp::of(&fs::metadata(path).ok()?);
        let known: Known = self.get(DIGESTS, &path_key(path)?)?;
        let same = (known.bytes, known.mtime_ns, known.inode) == (stamp.bytes, stamp.mtime_ns, stamp.inode);
        same.then_some((known.sha256, known.bytes))
    }

    /// Keeps a digest that the caller has just found by reading the whole file, unless the file was written too lately.
    pub fn remember(&self, path: &Path, sha256: &Digest) {
        self.remember_at(path, sha256, SystemTime::now());
    }

    fn remember_at(&self, path: &Path, sha256: &Digest, now: SystemTime) {
        let (Ok(meta), Some(key)) = (fs::metadata(path), path_key(path)) else { return };
        // A time in the future is no evidence either.
        let still = meta.modified().ok().and_then(|m| now.duration_since(m).ok()).is_some_and(|age| age >= RACY);
        if still {
            let stamp = Stamp::of(&meta);
            let known = Known { bytes: stamp.bytes, mtime_ns: stamp.mtime_ns, inode: stamp.inode, sha256: *sha256 };
            // A full or read-only work directory must not stop a copy that has room elsewhere.
            let _ = self.put(DIGESTS, &key, &known);
        }
    }
}

/// The canonical path as text; `None` where it has none (not UTF-8), which is then never cached.
fn path_key(path: &Path) -> Option<String> {
    fs::canonicalize(path).ok()?.to_str().map(str::to_string)
}

/// Tells of bytes done, not more often than once per 1 % or 8 MiB, and not at all for small files.
pub struct Meter<'a> {
    ctx: &'a Ctx,
    task: &'a str,
    stage: &'a str,
    total: u64,
    done: u64,
    told: u64,
    began: std::time::Instant,
}

impl<'a> Meter<'a> {
    pub fn new(ctx: &'a Ctx, task: &'a str, stage: &'a str, total: u64) -> Self {
        Meter { ctx, task, stage, total, done: 0, told: 0, began: std::time::Instant::now() }
    }
    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.total >= WORTH_A_BAR && self.done - self.told >= (self.total / 100).max(8 << 20) {
            self.told = self.done;
            self.ctx.progress.event(Event::Progress {
                task: self.task.to_string(),
                stage: self.stage.to_string(),
                done: self.done as f64,
                earlier: 0.0,
                total: self.total as f64,
                unit: Unit::Bytes,
            });
        }
    }
    pub fn end(self) {
        if self.told > 0 {
            let seconds = self.began.elapsed().as_secs_f64();
            self.ctx.progress.event(Event::Done { task: self.task.to_string(), stage: self.stage.to_string(), seconds });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &Path) -> Cache {
        Cache::new(&WorkDir::open(Some(dir.join("work"))).unwrap())
    }
    fn stamped(path: &Path, text: &str, age: u64) {
        fs::write(path, text).unwrap();
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age))
            .unwrap();
    }
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    }

    // The proof that the cache answers: bytes changed behind its back, size and mtime put back, inode the same.
    #[test]
    fn a_file_that_looks_the_same_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file) = (cache(dir.path()), dir.path().join("a"));
        stamped(&file, "one", 60);
        let first = cache.digest_at(&file, now(), &Ctx::silent()).unwrap();
        assert_eq!(first, (Digest::of(b"one"), 3));
        stamped(&file, "two", 60);
        assert_eq!(cache.digest_at(&file, now(), &Ctx::silent()).unwrap(), first);
        // ... but another mtime or size is another file
        stamped(&file, "two", 59);
        assert_eq!(cache.digest_at(&file, now(), &Ctx::silent()).unwrap().0, Digest::of(b"two"));
    }

    #[test]
    fn a_file_written_within_two_seconds_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file) = (cache(dir.path()), dir.path().join("a"));
        stamped(&file, "one", 1);
        cache.digest_at(&file, now(), &Ctx::silent()).unwrap();
        stamped(&file, "two", 1);
        assert_eq!(cache.digest_at(&file, now(), &Ctx::silent()).unwrap().0, Digest::of(b"two"));
        // A time in the future proves nothing.
        stamped(&file, "in the future", 0);
        assert!(cache.digest_at(&file, now() - Duration::from_secs(9), &Ctx::silent()).is_ok());
        assert_eq!(cache.known(&file), None);
    }

    #[test]
    fn a_damaged_entry_is_read_over_and_never_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file) = (cache(dir.path()), dir.path().join("a"));
        stamped(&file, "one", 60);
        cache.digest_at(&file, now(), &Ctx::silent()).unwrap();
        for entry in fs::read_dir(cache.dir().join(DIGESTS)).unwrap() {
            fs::write(entry.unwrap().path(), "{\"key\":").unwrap();
        }
        assert_eq!(cache.digest_at(&file, now(), &Ctx::silent()).unwrap().0, Digest::of(b"one"));
        // Nor is a cache that cannot be written.
        fs::remove_dir_all(cache.dir()).unwrap();
        fs::write(cache.dir(), "a file where a directory should be").unwrap();
        assert_eq!(cache.digest_at(&file, now(), &Ctx::silent()).unwrap().0, Digest::of(b"one"));
    }

    #[test]
    fn facts_are_kept_by_kind_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        cache.put("probe", "a", &vec![1, 2]).unwrap();
        assert_eq!(cache.get::<Vec<u32>>("probe", "a"), Some(vec![1, 2]));
        assert_eq!(cache.get::<Vec<u32>>("probe", "b"), None);
        assert_eq!(cache.get::<Vec<u32>>("plan", "a"), None);
        // A value of another shape (an older Rivulet's) is no value.
        assert_eq!(cache.get::<String>("probe", "a"), None);
    }
}
