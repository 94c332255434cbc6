//! Is a store what it says? Every pointer, release, object and page is looked at, every object's bytes are read and
//! digested. Repair does what can be done without recordings: pages are written again, damaged blobs that only earlier
//! releases name are taken away, what interrupted writers left is removed, and a withdrawal that was cut short is
//! finished. What a current release names stays, damaged as it is: most of a lecture with one broken picture can be
//! watched, a lecture that is gone cannot.

use super::intent::{self, Found, Held, Purpose};
use super::{site, state};
use crate::error::{Error, Kind, Result};
use crate::manifest::{Current, Object, Release, release_key};
use crate::progress::Ctx;
use crate::store::{Body, Key, Precondition, Store};
use crate::units::Hasher;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Objects are read in pieces of this size: memory stays small for any film.
const PIECE: u64 = 8 << 20;

/// One thing that is wrong with a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// The object, by its key.
    pub key: String,
    pub message: String,
    /// Put right by this very run.
    pub repaired: bool,
}

/// What was looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    pub courses: usize,
    pub releases: usize,
    pub objects: usize,
    pub bytes: u64,
    pub faults: Vec<Fault>,
    /// Withdrawals that were cut short, by course and lecture.
    #[serde(skip)]
    unfinished: Vec<(String, String)>,
}

impl Report {
    fn fault(&mut self, key: &str, message: impl Into<String>, repaired: bool) {
        self.faults.push(Fault { key: key.to_string(), message: message.into(), repaired });
    }
    /// Nothing wrong is left.
    pub fn sound(&self) -> bool {
        self.faults.iter().all(|f| f.repaired)
    }
}

/// Looks at everything that learners could reach, and at kept releases; with `repair` puts right what it can. An `Err`
/// means that the store could not be looked at, or, with `repair`, that somebody else deletes at this moment (`Conflict`).
pub async fn verify_store(store: &dyn Store, repair: bool, ctx: &Ctx) -> Result<Report> {
    if !repair {
        let others = intent::read(store, store.list(intent::FOLDER).await?, ctx.clock.wall()).await?;
        return look(store, None, &others, ctx).await;
    }
    // Repair deletes: publishers are to wait for it, and what they name stays.
    let mut held = Held::put(store, Purpose::Prune, ctx).await?;
    let outcome = async {
        let (_, others) = held.alone().await?;
        look(store, Some(&mut held), &others, ctx).await
    }
    .await;
    let done = held.done().await;
    let mut report = outcome?;
    done?;
    for (course, lecture) in std::mem::take(&mut report.unfinished).into_iter().collect::<BTreeSet<_>>() {
        super::withdraw(store, &course, &lecture, ctx).await?;
        report.fault(&format!("courses/{course}/current.json"), format!("the withdrawal of \"{lecture}\" was cut short"), true);
    }
    let left = store.tidy().await?;
    if left > 0 {
        ctx.note(format!("removed what {left} interrupted writes had left"));
    }
    Ok(report)
}

async fn look(store: &dyn Store, mut held: Option<&mut Held<'_>>, others: &[Found], ctx: &Ctx) -> Result<Report> {
    let repair = held.is_some();
    let mut report = Report::default();
    let mut courses: BTreeSet<String> = BTreeSet::new();
    for listed in store.list("courses/").await? {
        courses.extend(listed.key.as_str().split('/').nth(1).map(str::to_string));
    }
    report.courses = courses.len();
    let pointers = state::pointers(store, ctx).await?;
    intents(store, others, &pointers, repair, &mut report).await?;
    let mut needed = Needed::new();
    for course in &courses {
        let pointed = pointers.iter().find(|p| p.course == *course);
        let current = pointed.map(|p| p.release);
        if let Some(pointed) = pointed {
            withdrawn(store, pointed, held.as_deref_mut(), &mut report).await?;
        }
        let pointer = format!("courses/{course}/current.json");
        if current.is_none() && store.head(&Key::new(&pointer)?).await?.is_some() {
            report.fault(
                &pointer,
                format!("cannot be read; `rivulet rollback STORE {course} N` cannot mend it, publish the course again after deleting it"),
                false,
            );
        }
        releases(store, course, pointed, &mut report, &mut needed).await?;
    }
    blobs(store, needed, held, &mut report, ctx).await?;
    for current in &pointers {
        let release = match state::release_of(store, current).await {
            Ok(release) => release,
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound | Kind::Unsupported) => {
                let key = format!("courses/{}/current.json", current.course);
                report.fault(
                    &key,
                    format!("points at release {}, which cannot be used: {e}; roll back to another", current.release),
                    false,
                );
                continue;
            }
            Err(e) => return Err(e),
        };
        let changes = match site::changes(store, &release, &pointers).await {
            Ok(changes) => changes,
            // Its objects have their own faults already.
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => continue,
            Err(e) => return Err(e),
        };
        for change in changes {
            // What pages of a release named that is pruned by now: the next publish takes it away. One of a lecture that was
            // withdrawn must not wait for that.
            if current.withdrawn.is_empty() && change.is_old_text() {
                continue;
            }
            let key = change.key().to_string();
            let message = match &change {
                site::Change::Write(..) => format!("does not agree with release {} of \"{}\"", release.release, release.course),
                site::Change::Delete(_) => format!("is of no lecture in release {} of \"{}\"", release.release, release.course),
            };
            // The list of courses is in the changes of every course, but is one page.
            if report.faults.iter().any(|f| f.key == key) {
                continue;
            }
            if repair {
                match change {
                    site::Change::Write(key, bytes, caching) => {
                        drop(store.put(&key, Body::Bytes(&bytes), caching, Precondition::None).await?)
                    }
                    site::Change::Delete(key) => store.delete(&key).await?,
                }
            }
            report.fault(&key, message, repair);
        }
        if repair {
            // A publisher may have moved on while we wrote.
            site::refresh(store, &current.course, ctx).await?;
        }
    }
    Ok(report)
}

/// What dead publishers and deleters left. A withdrawal that had begun is to be finished; the others only lie about.
async fn intents(store: &dyn Store, others: &[Found], pointers: &[Current], repair: bool, report: &mut Report) -> Result<()> {
    for found in others {
        let key = found.key.as_str();
        match &found.purpose {
            Some(Purpose::Withdraw { course, lecture, .. })
                if found.stale && pointers.iter().any(|p| p.course == *course && p.tombstone(lecture).is_some()) =>
            {
                match repair {
                    true => report.unfinished.push((course.clone(), lecture.clone())),
                    false => report.fault(
                        key,
                        format!("the withdrawal of \"{lecture}\" from \"{course}\" was cut short; --repair finishes it, or `rivulet withdraw` again"),
                        false,
                    ),
                }
            }
            _ if found.stale => {
                if repair {
                    store.delete(&found.key).await?;
                }
                report.fault(key, "was left by somebody who was stopped", repair);
            }
            None => report.fault(key, "cannot be read: damaged, or written by a newer rivulet; nothing can be pruned while it is there", false),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Releases that still have a lecture which was withdrawn.
async fn withdrawn(store: &dyn Store, pointed: &Current, held: Option<&mut Held<'_>>, report: &mut Report) -> Result<()> {
    let repaired = held.is_some();
    let mut still = Vec::new();
    for n in state::numbers(store, &pointed.course).await? {
        match state::release(store, &pointed.course, n).await {
            Ok((release, _)) if pointed.stripped(&release).is_some() => still.push(release),
            Ok(_) => {}
            // Told where all releases are read.
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::Unsupported) => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    // Withdrawn once more, its objects go too; one that was brought back since only leaves the earlier releases.
    let unfinished: BTreeSet<&str> =
        still.iter().flat_map(|r| &r.lectures).map(|l| l.id.as_str()).filter(|id| pointed.tombstone(id).is_some()).collect();
    match held {
        Some(_) if !unfinished.is_empty() => {
            report.unfinished.extend(unfinished.iter().map(|id| (pointed.course.clone(), id.to_string())));
        }
        Some(held) if !still.is_empty() => drop(super::withdraw::strip(store, &pointed.course, held).await?),
        _ => {}
    }
    for release in &still {
        let key = release_key(&pointed.course, release.release)?.to_string();
        report.fault(&key, "still has a lecture that was withdrawn", repaired);
    }
    Ok(())
}

/// Objects by key, with who needs them.
type Needed = BTreeMap<String, Need>;

struct Need {
    object: Object,
    /// A lecture and its release, for messages.
    whose: String,
    /// Learners see it now.
    current: bool,
}

async fn releases(store: &dyn Store, course: &str, pointed: Option<&Current>, report: &mut Report, needed: &mut Needed) -> Result<()> {
    let current = pointed.map(|p| p.release);
    for n in state::numbers(store, course).await? {
        report.releases += 1;
        let key = release_key(course, n)?.to_string();
        match state::release(store, course, n).await {
            Ok((release, _)) => {
                let bare = pointed.and_then(|p| p.stripped(&release)).unwrap_or(release);
                collect(&bare, &key, current == Some(n), report, needed);
            }
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::Unsupported) => report.fault(&key, e.report().replace('\n', "; "), false),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn collect(release: &Release, key: &str, current: bool, report: &mut Report, needed: &mut Needed) {
    for lecture in &release.lectures {
        for object in lecture.all_objects() {
            match object.key() {
                Ok(_) => {
                    let whose = format!("\"{}\" of {key}", lecture.id);
                    let need = needed.entry(object.key.clone()).or_insert_with(|| Need { object: object.clone(), whose, current });
                    need.current |= current;
                }
                Err(e) => report.fault(key, e.what(), false),
            }
        }
    }
}

async fn blobs(store: &dyn Store, needed: Needed, mut held: Option<&mut Held<'_>>, report: &mut Report, ctx: &Ctx) -> Result<()> {
    let repair = held.is_some();
    let there: BTreeMap<String, u64> = store.list("blobs/").await?.into_iter().map(|l| (l.key.to_string(), l.bytes)).collect();
    for (name, Need { object, whose, current }) in needed {
        ctx.check()?;
        report.objects += 1;
        report.bytes += object.bytes;
        let Some(&bytes) = there.get(&name) else {
            report.fault(
                &name,
                format!("is missing; lecture {whose} needs it. Publish again from the machine that has the recording"),
                false,
            );
            continue;
        };
        let key = object.key()?;
        let length = store.packs(&key) || bytes == object.bytes;
        if length && digest(store, &key, object.bytes).await? == Some(object.sha256) {
            continue;
        }
        if let Some(held) = held.as_deref_mut().filter(|_| !current) {
            held.still().await?;
            store.delete(&key).await?;
        }
        let then = match (current, repair) {
            (true, _) => "is damaged, and learners see it now",
            (false, true) => "was damaged and is taken away",
            (false, false) => "is damaged; --repair takes it away",
        };
        let cure = "publish with --refresh from the machine that has the recording";
        report.fault(&name, format!("{then}; lecture {whose} needs it: {cure}"), false);
    }
    Ok(())
}

/// The digest of an object, or `None` if it vanished meanwhile or cannot be unpacked.
pub(super) async fn digest(store: &dyn Store, key: &Key, bytes: u64) -> Result<Option<crate::units::Digest>> {
    if store.packs(key) {
        // Text, small, and not to be had in pieces.
        return match store.get(key, None).await {
            Ok(whole) => Ok(Some(crate::units::Digest::of(&whole))),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            // Its gzip is broken.
            Err(e) if e.kind() == Kind::Corrupt => Ok(None),
            Err(e) => Err(e),
        };
    }
    let mut hasher = Hasher::default();
    let mut at = 0;
    while at < bytes {
        match store.get(key, Some(at..(at + PIECE).min(bytes))).await {
            Ok(piece) if piece.is_empty() => break,
            Ok(piece) => {
                at += piece.len() as u64;
                hasher.update(&piece);
            }
            Err(e) if e.kind() == Kind::NotFound => return Ok(None),
            Err(e) => return Err::<_, Error>(e),
        }
    }
    Ok(Some(hasher.finish().0))
}
