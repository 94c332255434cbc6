//! A store in a directory, fit to be served by any web server as it lies there. A put writes `.<name>.part` beside its
//! target, syncs it, renames it and syncs the directory, so a reader or a power cut meets the old object or the new
//! one. The part file is also the lock of its key (flock): conditional writes compare while they hold it, two writers of
//! one key take turns, and what a killed writer left is known by nobody holding it.

use super::{Body, BoxFuture, Caching, Key, Listed, Meta, Precondition, Store};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::units::{Digest, Hasher};
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Objects up to here have the digest of their bytes as version; that is every object that is ever written
/// conditionally. Beyond, size and time of change do, since reading a film to name its version would be slow.
const SMALL: u64 = 1 << 20;

/// See the module. Directories are made when the first object comes, so looking at a store changes nothing.
#[derive(Debug, Clone)]
pub struct DirStore {
    root: PathBuf,
}

/// What a directory is, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// Not there, or nothing visible in it.
    Empty,
    Store,
    /// Somebody's files, none of them a store's.
    Foreign,
}

impl DirStore {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        DirStore { root: root.into() }
    }

    /// A directory that is there already.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.canonicalize().doing(|| format!("cannot open the store {}", root.display()))?;
        match root.is_dir() {
            true => Ok(DirStore { root }),
            false => Err(Error::usage(format!("the store {} is not a directory", root.display()))),
        }
    }

    /// Whether the directory is a store, could become one, or is something else.
    pub fn looks_like(&self) -> Result<Looks> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Looks::Empty),
            Err(e) => return Err(e).doing(|| format!("cannot read the store {}", self.root.display())),
        };
        let mut looks = Looks::Empty;
        for entry in entries {
            let name = entry.doing(|| format!("cannot read the store {}", self.root.display()))?.file_name();
            if name == "blobs" || name == "courses" || name == "intents" {
                return Ok(Looks::Store);
            }
            if !name.to_string_lossy().starts_with('.') {
                looks = Looks::Foreign;
            }
        }
        Ok(looks)
    }

    /// The file of a key, opened; links that lead out of the store lead nowhere, for a store is what the network may read.
    fn open_inside(&self, key: &Key) -> std::io::Result<File> {
        let path = self.path(key).canonicalize()?;
        match path.starts_with(self.root.canonicalize()?) {
            true => File::open(path),
            false => Err(ErrorKind::NotFound.into()),
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(DirStore) -> Result<T> + Send + 'static) -> Result<T> {
        let store = self.clone();
        crate::offload::blocking(move || work(store)).await
    }

    fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Vec<u8>> {
        let path = self.path(key);
        let doing = || format!("cannot read {}", path.display());
        let mut file = self.open_inside(key).doing(doing)?;
        let mut bytes = Vec::new();
        match range {
            None => file.read_to_end(&mut bytes).doing(doing)?,
            Some(range) => {
                file.seek(SeekFrom::Start(range.start)).doing(doing)?;
                file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).doing(doing)?
            }
        };
        Ok(bytes)
    }

    fn meta(&self, key: &Key) -> Result<Option<Meta>> {
        let path = self.path(key);
        let doing = || format!("cannot read {}", path.display());
        let mut file = match self.open_inside(key) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(e).doing(doing),
        };
        let stat = file.metadata().doing(doing)?;
        if !stat.is_file() {
            return Ok(None);
        }
        let version = match stat.len() <= SMALL {
            true => Digest::of_reader(&mut file).doing(doing)?.0.to_string(),
            false => format!("{}-{}.{:09}", stat.len(), stat.mtime(), stat.mtime_nsec()),
        };
        Ok(Some(Meta { bytes: stat.len(), version }))
    }

    fn write(&self, key: &Key, body: Body<'_>, when: &Precondition) -> Result<Meta> {
        let path = self.path(key);
        let doing = || format!("cannot write {}", path.display());
        let parent = path.parent().unwrap_or(&self.root);
        make_dirs(parent).doing(doing)?;
        if !parent.canonicalize().doing(doing)?.starts_with(self.root.canonicalize().doing(doing)?) {
            return Err(Error::new(Kind::Denied, format!("{} leads out of the store {}", parent.display(), self.root.display()))
                .hint("a store is one directory without links to others; mount the other disk there instead"));
        }
        let part = part_of(&path);
        let mut file = lock(&part).doing(doing)?;
        let outcome = (|| {
            let there = match when {
                Precondition::None => true,
                Precondition::Absent => self.meta(key)?.is_none(),
                Precondition::Version(v) => self.meta(key)?.is_some_and(|m| m.version == *v),
            };
            if !there {
                return Err(Error::new(Kind::Conflict, format!("{} was changed by somebody else", path.display())));
            }
            // A killed writer may have left its bytes here.
            file.set_len(0).doing(doing)?;
            match body {
                Body::Bytes(bytes) => file.write_all(bytes).doing(doing)?,
                Body::File { path, sha256, bytes } => copy(path, &mut file, sha256, bytes)?,
            }
            file.sync_all().doing(doing)?;
            std::fs::rename(&part, &path).doing(doing)?;
            sync_dir(parent).doing(doing)
        })();
        if let Err(e) = outcome {
            // After a rename there is nothing to remove; either way the error that matters is the first.
            let _ = std::fs::remove_file(&part);
            return Err(e);
        }
        self.meta(key)?.ok_or_else(|| Error::new(Kind::Conflict, format!("{} vanished while it was written", path.display())))
    }

    /// Calls `found` for every file below `dir`, hidden ones too, with its path.
    fn walk(&self, dir: &Path, found: &mut dyn FnMut(PathBuf, &std::fs::DirEntry) -> Result<()>) -> Result<()> {
        let doing = || format!("cannot list {}", dir.display());
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(e) => return Err(e).doing(doing),
        };
        for entry in entries {
            let entry = entry.doing(doing)?;
            match entry.file_type().doing(doing)?.is_dir() {
                true if entry.file_name().to_string_lossy().starts_with('.') => {}
                true => self.walk(&entry.path(), found)?,
                false => found(entry.path(), &entry)?,
            }
        }
        Ok(())
    }
}

/// The error of a file whose bytes are not what its caller says.
pub(crate) fn differs(path: &Path) -> Error {
    Error::new(Kind::Corrupt, format!("{} is damaged: its bytes do not have the digest that was noted when it was made", path.display()))
        .hint("delete the damaged directory and make it again")
}

fn part_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.part"))
}

/// Opens and locks a part file. Its last holder may have renamed or removed it while we waited; then its name is free
/// for another, and the lock that counts is the one on the file that has the name.
fn lock(part: &Path) -> std::io::Result<File> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(part)?;
        file.lock()?;
        if is_at(&file, part)? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let held = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.ino(), named.dev()) == (held.ino(), held.dev())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn copy(from: &Path, to: &mut File, sha256: Digest, bytes: u64) -> Result<()> {
    let reading = || format!("cannot read {}", from.display());
    let mut source = File::open(from).doing(reading)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).doing(reading),
        };
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n]).doing(|| format!("cannot copy {}", from.display()))?;
    }
    if hasher.finish() != (sha256, bytes) { Err(differs(from)) } else { Ok(()) }
}

/// Makes a directory and its missing parents, each of them synced into its own parent.
fn make_dirs(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(p) if p.as_os_str().is_empty() => Path::new("."),
        Some(p) => p,
        None => return Ok(()),
    };
    make_dirs(parent)?;
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => sync_dir(parent),
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

impl Store for DirStore {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        let key = key.clone();
        Box::pin(self.blocking(move |store| store.read(&key, range)))
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        let key = key.clone();
        Box::pin(self.blocking(move |store| store.meta(&key)))
    }
    /// Caching is the web server's business: a directory has no place for headers, and the layout tells them apart.
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, _: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        let key = key.clone();
        enum Owned {
            Bytes(Vec<u8>),
            File(PathBuf, Digest, u64),
        }
        let owned = match body {
            Body::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
            Body::File { path, sha256, bytes } => Owned::File(path.to_path_buf(), sha256, bytes),
        };
        Box::pin(self.blocking(move |store| {
            let body = match &owned {
                Owned::Bytes(bytes) => Body::Bytes(bytes),
                Owned::File(path, sha256, bytes) => Body::File { path, sha256: *sha256, bytes: *bytes },
            };
            store.write(&key, body, &when)
        }))
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
        let prefix = prefix.to_string();
        Box::pin(self.blocking(move |store| {
            let mut all = Vec::new();
            store.walk(&store.root.join(&prefix), &mut |path, entry| {
                let name = path.strip_prefix(&store.root).ok().and_then(|p| p.to_str()).and_then(|p| Key::new(p).ok());
                let Some(key) = name else { return Ok(()) };
                match entry.metadata() {
                    Ok(stat) if stat.is_file() => {
                        let modified = stat.modified().doing(|| format!("cannot list {}", path.display()))?;
                        all.push(Listed { key, bytes: stat.len(), modified, version: None });
                    }
                    Ok(_) => {}
                    // Deleted since the directory was read.
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(e).doing(|| format!("cannot list {}", path.display())),
                }
                Ok(())
            })?;
            all.sort();
            Ok(all)
        }))
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        let key = key.clone();
        Box::pin(self.blocking(move |store| {
            let path = store.path(&key);
            let doing = || format!("cannot delete {}", path.display());
            match std::fs::remove_file(&path) {
                Ok(()) => sync_dir(path.parent().unwrap_or(&store.root)).doing(doing),
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
                Err(e) => Err(e).doing(doing),
            }
        }))
    }
    fn room<'a>(&'a self) -> BoxFuture<'a, Option<u64>> {
        Box::pin(self.blocking(|store| {
            // A new store is not there yet; the disk that it will be on is.
            let root = std::path::absolute(&store.root).doing(|| format!("cannot find {}", store.root.display()))?;
            let there = root.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
            crate::workdir::free_bytes(there).map(Some)
        }))
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        Box::pin(self.blocking(move |store| {
            let mut removed = 0;
            store.walk(&store.root, &mut |path, _| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !(name.starts_with('.') && name.ends_with(".part")) {
                    return Ok(());
                }
                let doing = || format!("cannot remove {}", path.display());
                let file = match File::open(&path) {
                    Ok(file) => file,
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                    Err(e) => return Err(e).doing(doing),
                };
                match file.try_lock() {
                    Ok(()) if is_at(&file, &path).doing(doing)? => {
                        std::fs::remove_file(&path).doing(doing)?;
                        removed += 1;
                        Ok(())
                    }
                    Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
                    Err(TryLockError::Error(e)) => Err(e).doing(doing),
                }
            })?;
            Ok(removed)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_directory_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        super::super::contract::check(&DirStore::new(dir.path().join("a/new/one"))).await;
    }

    /// A killed writer's part file is neither seen nor in the way, and its longer bytes do not show through.
    #[tokio::test]
    async fn what_a_killed_writer_left_is_not_seen_and_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        std::fs::create_dir(dir.path().join("blobs")).unwrap();
        std::fs::write(dir.path().join("blobs/.a.part"), b"half of something long").unwrap();
        std::fs::write(dir.path().join("blobs/.b.part"), b"never finished").unwrap();
        assert!(store.list("").await.unwrap().is_empty());
        store.put(&key("blobs/a"), Body::Bytes(b"whole"), Caching::Immutable, Precondition::None).await.unwrap();
        assert_eq!(store.get(&key("blobs/a"), None).await.unwrap(), b"whole");
        assert_eq!(store.tidy().await.unwrap(), 1);
        assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn tidy_leaves_a_living_writer_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        let held = lock(&dir.path().join(".x.part")).unwrap();
        assert_eq!(store.tidy().await.unwrap(), 0);
        drop(held);
        assert_eq!(store.tidy().await.unwrap(), 1);
    }

    /// A writer that waited for a lock must not write into the object that the last holder made of the part file.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_writers_of_one_key_take_turns_and_one_create_wins() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..16u8 {
            let store = store.clone();
            tasks.spawn(async move {
                let body = vec![i; 1000 + i as usize];
                store.put(&key("k"), Body::Bytes(&body), Caching::Revalidate, Precondition::Absent).await.map(|_| i)
            });
        }
        let outcomes = tasks.join_all().await;
        let won: Vec<u8> = outcomes.iter().filter_map(|o| o.as_ref().ok().copied()).collect();
        assert_eq!(won.len(), 1);
        assert!(outcomes.iter().filter_map(|o| o.as_ref().err()).all(|e| e.kind() == Kind::Conflict));
        assert_eq!(store.get(&key("k"), None).await.unwrap(), vec![won[0]; 1000 + won[0] as usize]);
    }

    /// A web server of another user must be able to read what we publish.
    #[tokio::test]
    async fn objects_are_as_readable_as_the_umask_lets_them() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, b"").unwrap();
        let store = DirStore::new(dir.path());
        store.put(&key("k"), Body::Bytes(b"x"), Caching::Revalidate, Precondition::None).await.unwrap();
        let mode = |p: PathBuf| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(dir.path().join("k")), mode(plain));
    }

    #[tokio::test]
    async fn links_out_of_the_store_lead_nowhere() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), b"s").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("up")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("one")).unwrap();
        std::fs::write(dir.path().join("two"), b"t").unwrap();
        std::os::unix::fs::symlink("two", dir.path().join("within")).unwrap();
        let store = DirStore::new(dir.path());
        for name in ["up/secret", "one"] {
            assert_eq!(store.get(&key(name), None).await.unwrap_err().kind(), Kind::NotFound, "{name}");
            assert_eq!(store.head(&key(name)).await.unwrap(), None, "{name}");
        }
        let e = store.put(&key("up/new"), Body::Bytes(b"x"), Caching::Revalidate, Precondition::None).await.unwrap_err();
        assert!(e.kind() == Kind::Denied && !outside.path().join("new").exists());
        assert_eq!(store.get(&key("within"), None).await.unwrap(), b"t");
    }

    #[test]
    fn a_directory_with_other_files_is_not_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        assert_eq!(store.looks_like().unwrap(), Looks::Empty);
        std::fs::write(dir.path().join("thesis.doc"), b"").unwrap();
        assert_eq!(store.looks_like().unwrap(), Looks::Foreign);
        std::fs::create_dir(dir.path().join("blobs")).unwrap();
        assert_eq!(store.looks_like().unwrap(), Looks::Store);
        assert_eq!(DirStore::new(dir.path().join("none")).looks_like().unwrap(), Looks::Empty);
    }
}
