//! What learners and other players open by name: pages, `<id>/<lecture>.m3u8`, the list of courses. All of it is a
//! function of the pointers and releases in the store, so any command that has changed a pointer, or finds that
//! somebody was stopped before he was done, makes it right again.

use super::blobs::{Sent, from_folder};
use super::rename::rename_uris;
use super::{MASTER, state};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::manifest::{Attachment, Current, FORMAT, Lecture, Object, Release, from_json, pages_key, to_json};
use crate::package::{Package, progressive};
use crate::pages::media::{self, MediaView};
use crate::pages::search::{self, LectureText};
use crate::pages::{self, CourseSummary, CourseView, FileView, LectureView, ModuleView, Page, WayView};
use crate::progress::Ctx;
use crate::store::{Body, Caching, Key, Listed, Precondition, Store, get_if_there};
use crate::units::Digest;
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A file that the site should have, or should no longer have.
pub(super) enum Change {
    Write(Key, Vec<u8>, Caching),
    Delete(Key),
}

impl Change {
    pub fn key(&self) -> &Key {
        match self {
            Change::Write(key, ..) | Change::Delete(key) => key,
        }
    }
    /// A text that could be searched, and that no page which may be open names any more.
    pub fn is_old_text(&self) -> bool {
        matches!(self, Change::Delete(key) if key.as_str().rsplit('/').next().is_some_and(|name| name.starts_with("search-")))
    }
}

/// Another publisher may move a pointer while we write pages; then we write them again. Beyond this many rounds he is
/// still at work, and his own last round will be right.
const ROUNDS: usize = 5;

/// Whose pages all the pages of a course are (`courses/<id>/pages.json`), so that a publish which changes nothing need not look
/// at each. Taken back before the first page is written, and written when the last one has been seen in a list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Settled {
    format: u32,
    /// The digest of the pointer; absent while pages are being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pointer: Option<Digest>,
}

impl Settled {
    async fn read(store: &dyn Store, course: &str) -> Result<Option<Digest>> {
        let key = pages_key(course)?;
        let bytes = get_if_there(store, &key).await?;
        // One that cannot be read says nothing.
        Ok(bytes.and_then(|b| from_json::<Settled>(&b, &key).ok()).and_then(|s| s.pointer))
    }
    async fn write(store: &dyn Store, course: &str, pointer: Option<Digest>) -> Result<()> {
        let (key, bytes) = (pages_key(course)?, to_json(&Settled { format: FORMAT, pointer })?);
        store.put(&key, Body::Bytes(&bytes), Caching::Revalidate, Precondition::None).await.map(drop)
    }
    /// Pages are about to be written.
    async fn take_back(store: &dyn Store, course: &str, before: Digest) -> Result<()> {
        Settled::write(store, course, None).await?;
        // Another may write it at the same time; only what was there before must not be there still.
        match Settled::read(store, course).await? == Some(before) {
            false => Ok(()),
            true => Err(super::not_done(store, &pages_key(course)?)),
        }
    }
}

fn digest_of(pointer: &Current) -> Result<Digest> {
    Ok(Digest::of(&to_json(pointer)?))
}

/// Whether the pages of a release have been made and are still there, as far as a list tells.
pub(super) async fn settled(store: &dyn Store, pointer: &Current, release: &Release) -> Result<bool> {
    if Settled::read(store, &release.course).await? != Some(digest_of(pointer)?) {
        return Ok(false);
    }
    let folder = format!("{}/", release.course);
    let there: BTreeSet<String> = store.list(&folder).await?.into_iter().map(|l| l.key.to_string()).collect();
    let of = |l: &Lecture| [format!("{folder}{}.html", l.id), format!("{folder}{}.m3u8", l.id)];
    Ok(there.contains(&format!("{folder}index.html")) && release.lectures.iter().flat_map(of).all(|name| there.contains(&name)))
}

/// Brings a course's pages and the list of courses into agreement with the pointers. May be called at any time.
pub(super) async fn refresh(store: &dyn Store, course: &str, ctx: &Ctx) -> Result<Sent> {
    let mut sent = Sent::default();
    let (pointers, settled) = tokio::join!(state::pointers(store, ctx), Settled::read(store, course));
    let (mut pointers, mut settled) = (pointers?, settled?);
    for round in 1..=ROUNDS {
        let Some(current) = pointers.iter().find(|c| c.course == course) else { return Ok(sent) };
        let found = async {
            let release = state::release_of(store, current).await?;
            changes(store, &release, &pointers).await
        };
        let changes = match found.await {
            Ok(changes) => changes,
            // A lecture may have been withdrawn since the pointers were read.
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::NotFound) => {
                let now = state::pointers(store, ctx).await?;
                if now == pointers {
                    return Err(e);
                }
                pointers = now;
                continue;
            }
            Err(e) => return Err(e),
        };
        if !changes.is_empty()
            && let Some(before) = settled.take()
        {
            Settled::take_back(store, course, before).await?;
        }
        let mut all = BTreeMap::new();
        if let Some(key) = write(store, course, changes, &mut sent, &mut all).await? {
            // Lost by the service, or another publisher's meanwhile: once more.
            if round == ROUNDS {
                return Err(super::not_done(store, &key));
            }
            pointers = state::pointers(store, ctx).await?;
            continue;
        }
        let pointer = Some(digest_of(current)?);
        let (now, lost) = tokio::join!(state::pointers(store, ctx), async {
            match settled == pointer {
                true => Ok(None),
                false => lost(store, course, &all).await,
            }
        });
        let mut now = now?;
        if now == pointers {
            if settled == pointer {
                break;
            }
            match lost? {
                None => {
                    Settled::write(store, course, pointer).await?;
                    break;
                }
                Some(key) if round == ROUNDS => return Err(super::not_done(store, &key)),
                // Lost by the service, or written over by somebody who does not know yet that the pointer has moved: once more.
                Some(_) => now = state::pointers(store, ctx).await?,
            }
        }
        pointers = now;
    }
    Ok(sent)
}

/// Sends the assets that the store lacks. Nothing names them until pages do, so this may be done at any time before.
pub(super) async fn assets(store: &dyn Store) -> Result<Sent> {
    let mut sent = Sent::default();
    for page in pages::assets().into_iter().filter(|p| p.caching == Caching::Immutable) {
        let key = Key::new(page.key)?;
        if !is_whole(store, &key, &page.bytes).await? {
            store.put(&key, Body::Bytes(&page.bytes), page.caching, Precondition::None).await?;
            sent.add(page.bytes.len() as u64);
        }
    }
    Ok(sent)
}

/// Whether an object that is named by its digest is there: it has these bytes if it has their length.
async fn is_whole(store: &dyn Store, key: &Key, bytes: &[u8]) -> Result<bool> {
    Ok(store.head(key).await?.is_some_and(|m| m.bytes == bytes.len() as u64))
}

/// What was written last under each key; nothing where it was deleted.
type Written = BTreeMap<Key, Option<Vec<u8>>>;

/// Does the changes in their order; those of one sort side by side. Notes them in `all`. Stops where one that others rely on is not
/// there as it was written, and gives its key.
async fn write(store: &dyn Store, course: &str, changes: Vec<Change>, sent: &mut Sent, all: &mut Written) -> Result<Option<Key>> {
    let sort = |key: &Key, caching: Caching| match key.as_str().rsplit('/').next().unwrap_or_default() {
        name if caching == Caching::Immutable && name == key.as_str() => 0,
        // The service worker names nothing.
        name if name.starts_with("search-") || name.ends_with(".m3u8") || name == key.as_str() && name != "index.html" => 1,
        "search.json" => 2,
        "index.html" => 4,
        _ => 3,
    };
    let (mut written, mut gone) = (Vec::new(), Vec::new());
    type Page = (Key, Vec<u8>, Caching);
    let mut batches: Vec<(u8, Vec<Page>)> = Vec::new();
    for change in changes {
        match change {
            Change::Write(key, bytes, caching) => match batches.last_mut() {
                Some((of, batch)) if *of == sort(&key, caching) && *of != 4 => batch.push((key, bytes, caching)),
                _ => batches.push((sort(&key, caching), vec![(key, bytes, caching)])),
            },
            Change::Delete(key) => gone.push(key),
        }
    }
    let mut looked = false;
    for (of, batch) in batches {
        // Pages and the list of what can be searched name assets, the worker and texts, and lists name pages: those must really
        // be there.
        if of == 4 || (of > 1 && !looked) {
            let lost = not_there(store, course, &mut written).await?;
            if lost.is_some() {
                return Ok(lost);
            }
            looked = true;
        }
        let put = |(key, bytes, caching): Page| async move {
            store.put(&key, Body::Bytes(&bytes), caching, Precondition::None).await?;
            Ok::<_, Error>((key, bytes))
        };
        let mut puts = futures_util::stream::iter(batch).map(put).buffered(store.parallel().max(1));
        while let Some(done) = puts.next().await {
            let (key, bytes) = done?;
            sent.add(bytes.len() as u64);
            written.push(key.clone());
            all.insert(key, Some(bytes));
        }
    }
    // No list and no page may name it any more.
    if !gone.is_empty()
        && let Some(lost) = lost(store, course, all).await?
    {
        return Ok(Some(lost));
    }
    for key in gone {
        store.delete(&key).await?;
        all.insert(key, None);
    }
    Ok(None)
}

/// One of these that was acknowledged and is not there; forgets those that are.
async fn not_there(store: &dyn Store, course: &str, written: &mut Vec<Key>) -> Result<Option<Key>> {
    if written.is_empty() {
        return Ok(None);
    }
    // Assets and the worker lie at the top, where all courses do.
    let (inside, top): (Vec<Key>, Vec<Key>) = written.drain(..).partition(|key| key.as_str().contains('/'));
    let heads = top.into_iter().map(|key| async move { Ok::<_, Error>(store.head(&key).await?.is_none().then_some(key)) });
    let heads = futures_util::stream::iter(heads.collect::<Vec<_>>()).buffered(store.parallel().max(1));
    let folder = format!("{course}/");
    let (listed, top) = tokio::join!(store.list(&folder), heads.try_collect::<Vec<_>>());
    let listed: BTreeSet<Key> = listed?.into_iter().map(|l| l.key).collect();
    Ok(inside.into_iter().find(|key| !listed.contains(key)).or(top?.into_iter().flatten().next()))
}

/// The first of these that is not there with these bytes, or is there although it was deleted.
async fn lost(store: &dyn Store, course: &str, all: &Written) -> Result<Option<Key>> {
    let folder = format!("{course}/");
    let far = all.iter().filter(|(key, _)| !key.as_str().starts_with(&folder)).map(|(key, bytes)| async move {
        let as_it_should = match bytes {
            Some(bytes) => is_there(store, key, bytes).await?,
            None => store.head(key).await?.is_none(),
        };
        Ok::<_, Error>((!as_it_should).then(|| key.clone()))
    });
    let far = futures_util::stream::iter(far.collect::<Vec<_>>()).buffered(store.parallel().max(1));
    let (there, far) = tokio::join!(Listing::of(store, course), far.try_collect::<Vec<_>>());
    let there = there?;
    for (key, bytes) in all.iter().filter(|(key, _)| key.as_str().starts_with(&folder)) {
        let as_it_should = match bytes {
            Some(bytes) => there.has(store, key, bytes).await?,
            None => !there.0.contains_key(key),
        };
        if !as_it_should {
            return Ok(Some(key.clone()));
        }
    }
    Ok(far?.into_iter().flatten().next())
}

/// What a course's folder holds, by one list.
struct Listing(BTreeMap<Key, Listed>, String);

impl Listing {
    async fn of(store: &dyn Store, course: &str) -> Result<Listing> {
        let folder = format!("{course}/");
        Ok(Listing(store.list(&folder).await?.into_iter().map(|l| (l.key.clone(), l)).collect(), folder))
    }
    /// Whether an object has these bytes: by the list where that tells, else it is read.
    async fn has(&self, store: &dyn Store, key: &Key, bytes: &[u8]) -> Result<bool> {
        match self.0.get(key) {
            None if key.as_str().starts_with(&self.1) => return Ok(false),
            Some(Listed { version: Some(there), .. }) if store.version_of(key, bytes).as_ref() == Some(there) => return Ok(true),
            Some(_) => {}
            None => return is_there(store, key, bytes).await,
        }
        Ok(get_if_there(store, key).await?.is_some_and(|there| there == bytes))
    }
}

/// Whether an object that is in no list has these bytes.
async fn is_there(store: &dyn Store, key: &Key, bytes: &[u8]) -> Result<bool> {
    if let Some(version) = store.version_of(key, bytes) {
        match store.head(key).await? {
            None => return Ok(false),
            Some(meta) if meta.version == version => return Ok(true),
            Some(_) => {}
        }
    }
    Ok(get_if_there(store, key).await?.is_some_and(|there| there == bytes))
}

/// What differs between the store and the site of a release, in the order in which it must be done: what pages refer to
/// comes before them, and what nothing refers to any more goes last.
pub(super) async fn changes(store: &dyn Store, release: &Release, pointers: &[Current]) -> Result<Vec<Change>> {
    let mut view = course_view(release)?;
    let mut wanted = pages::assets();
    let mut search = with_media(store, release, &mut view).await?;
    let list = search.pop();
    wanted.extend(search);
    let playlist = |lecture: &'_ Lecture| {
        let (master, key) = (object_uri(lecture).map(|(key, _)| key), format!("{}/{}.m3u8", release.course, lecture.id));
        async move {
            let master = master?;
            let bytes = store.get(&master, None).await?;
            let text = String::from_utf8(bytes).kind(Kind::Corrupt, || format!("{master} is not a playlist"))?;
            let bytes = rename_uris(&text, &from_folder)?.into_bytes();
            Ok::<_, Error>(Page { key, content_type: "application/vnd.apple.mpegurl", bytes, caching: Caching::Revalidate })
        }
    };
    let playlists: Vec<_> = release.lectures.iter().map(playlist).collect();
    let playlists: Vec<Page> = futures_util::stream::iter(playlists).buffered(store.parallel().max(1)).try_collect().await?;
    wanted.extend(playlists);
    wanted.extend(list);
    let index = format!("{}/index.html", release.course);
    let (front, lectures): (Vec<Page>, Vec<Page>) = pages::course_pages(&view).into_iter().partition(|p| p.key == index);
    wanted.extend(lectures);
    let gone = pointers.iter().find(|p| p.course == release.course).map(|p| p.withdrawn.as_slice()).unwrap_or_default();
    for tombstone in gone.iter().filter(|t| t.restored.is_none() && release.lecture(&t.lecture).is_none()) {
        wanted.push(pages::withdrawn_page(&view, &tombstone.lecture));
    }
    wanted.extend(front);
    wanted.push(pages::index_page(&pointers.iter().map(summary).collect::<Vec<_>>()));

    let mut changes = Vec::new();
    let names: BTreeSet<String> = wanted.iter().map(|p| p.key.clone()).collect();
    let folder = format!("{}/", release.course);
    let (inside, outside): (Vec<_>, Vec<_>) = wanted.into_iter().enumerate().partition(|(_, page)| page.key.starts_with(&folder));
    let outside = outside.into_iter().map(|(n, page)| async move {
        let key = Key::new(page.key)?;
        let same = match page.caching {
            Caching::Immutable => is_whole(store, &key, &page.bytes).await?,
            Caching::Revalidate => is_there(store, &key, &page.bytes).await?,
        };
        Ok::<_, Error>((!same).then_some((n, Change::Write(key, page.bytes, page.caching))))
    });
    let outside = futures_util::stream::iter(outside.collect::<Vec<_>>()).buffered(store.parallel().max(1));
    let (there, outside) = tokio::join!(Listing::of(store, &release.course), outside.try_collect::<Vec<_>>());
    let there = there?;
    let inside = inside.into_iter().map(|(n, page)| {
        let there = &there;
        async move {
            let key = Key::new(page.key)?;
            let same = there.has(store, &key, &page.bytes).await?;
            Ok::<_, Error>((!same).then_some((n, Change::Write(key, page.bytes, page.caching))))
        }
    });
    let inside = futures_util::stream::iter(inside.collect::<Vec<_>>()).buffered(store.parallel().max(1));
    let mut looked: Vec<_> = outside?.into_iter().chain(inside.try_collect::<Vec<_>>().await?).flatten().collect();
    looked.sort_by_key(|(n, _)| *n);
    changes.extend(looked.into_iter().map(|(_, change)| change));
    let unnamed = there.0.into_keys().filter(|key| {
        let name = key.as_str().trim_start_matches(&there.1);
        let ours = !name.contains('/') && ([".html", ".m3u8", ".json"].iter().any(|e| name.ends_with(e)));
        ours && !names.contains(key.as_str())
    });
    let (texts, mut unnamed): (Vec<Key>, Vec<Key>) = unnamed.partition(|key| key.as_str()[there.1.len()..].starts_with("search-"));
    if !texts.is_empty() {
        let open = still_open(store, release, pointers).await?;
        unnamed.extend(texts.into_iter().filter(|key| !open.contains(key.as_str())));
    }
    changes.extend(unnamed.into_iter().map(Change::Delete));
    Ok(changes)
}

/// The texts that pages name which a learner may have open from before: those of the release that was current before, and of the
/// newest where learners were taken back from it. Found from the releases, like all else of the site, so that whoever runs next
/// finds the same; a date would not say since when a text is named by nothing. Nothing of a lecture that was withdrawn.
async fn still_open(store: &dyn Store, release: &Release, pointers: &[Current]) -> Result<BTreeSet<String>> {
    let pointer = pointers.iter().find(|p| p.course == release.course);
    let newest = state::numbers(store, &release.course).await?.last().copied();
    let numbers: BTreeSet<u64> = release.previous.into_iter().chain(newest).filter(|n| *n != release.release).collect();
    let mut keys = BTreeSet::new();
    for n in numbers {
        let before = match state::release(store, &release.course, n).await {
            Ok((before, _)) => pointer.and_then(|p| p.stripped(&before)).unwrap_or(before),
            // Pruned, or damaged: nobody can tell what its pages named.
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Corrupt | Kind::Unsupported) => continue,
            Err(e) => return Err(e),
        };
        // A lecture that is the same has the text that its page names now.
        let same = |l: &Lecture| release.lecture(&l.id).is_some_and(|now| now.objects == l.objects);
        let reads = before.lectures.iter().filter(|l| !same(l)).map(|lecture| async move {
            match package_of(store, lecture).await {
                Ok(Some((_, package))) => text_of(store, lecture, &package).await,
                Ok(None) => Ok(LectureText::default()),
                Err(e) => Err(e),
            }
        });
        let mut reads = futures_util::stream::iter(reads.collect::<Vec<_>>()).buffered(store.parallel().max(1));
        while let Some(text) = reads.next().await {
            match text {
                Ok(text) => keys.extend(text.page(&release.course).map(|page| page.key)),
                Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Corrupt) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(keys)
}

fn summary(current: &Current) -> CourseSummary {
    CourseSummary {
        id: current.course.clone(),
        title: current.title.in_language(&current.language).to_string(),
        lectures: current.lectures,
        duration_s: current.duration_s,
    }
}

/// The key of a lecture's master playlist, and its address from the course's folder.
fn object_uri(lecture: &Lecture) -> Result<(Key, String)> {
    let object = lecture.objects.get(MASTER);
    let object = object.ok_or_else(|| Error::new(Kind::Corrupt, format!("lecture \"{}\" has no {MASTER} in its release", lecture.id)))?;
    Ok((object.key()?, format!("../{}", object.key)))
}

/// Gives every lecture of the view its media, read from its package's description and the start of its voice; returns what
/// can be searched. A lecture whose package says nothing of segments keeps the media it has: it plays as HLS.
async fn with_media(store: &dyn Store, release: &Release, view: &mut CourseView) -> Result<Vec<Page>> {
    let mut texts = Vec::new();
    let mut listed = Vec::new();
    let shown: Vec<&mut LectureView> = view.modules.iter_mut().flat_map(|m| &mut m.lectures).collect();
    let lectures: Vec<_> = shown.into_iter().filter_map(|shown| Some((release.lecture(&shown.id)?, shown))).collect();
    let reads: Vec<_> = lectures.iter().map(|(lecture, _)| media_of(store, lecture)).collect();
    let found: Vec<_> = futures_util::stream::iter(reads).buffered(store.parallel().max(1)).collect().await;
    for ((_, shown), found) in lectures.into_iter().zip(found) {
        let (media, text) = match found {
            // A lecture with a lost part is better than none: `check` tells of it.
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Corrupt) => Default::default(),
            found => found?,
        };
        shown.media = media;
        let page = text.page(&release.course);
        shown.search = page.as_ref().and_then(|p| p.key.rsplit('/').next()).map(str::to_string);
        listed.push((shown.id.clone(), shown.title.clone(), page.clone()));
        texts.extend(page);
    }
    texts.push(search::list_page(&release.course, &listed));
    Ok(texts)
}

/// A lecture's package as its description says it, and where that lies.
async fn package_of(store: &dyn Store, lecture: &Lecture) -> Result<Option<(Object, Package)>> {
    let Some(object) = lecture.objects.get("package.json") else { return Ok(None) };
    let key = object.key()?;
    let package: Package = serde_json::from_slice(&store.get(&key, None).await?).kind(Kind::Corrupt, || format!("{key} is damaged"))?;
    Ok(Some((object.clone(), package)))
}

/// The words of a lecture.
async fn text_of(store: &dyn Store, lecture: &Lecture, package: &Package) -> Result<LectureText> {
    let slide = |s: &crate::package::slides::Slide| (s.start_s, s.title.clone().unwrap_or_default(), s.text.clone());
    let mut text = LectureText { slides: package.slides.iter().map(slide).collect(), cues: Vec::new() };
    // In every language that there is: who looks for a word looks for it in his.
    for captions in &package.captions {
        if let Some(object) = lecture.objects.get(&format!("c-{}.vtt", captions.language)) {
            text.cues.extend(search::cues(&String::from_utf8_lossy(&store.get(&object.key()?, None).await?)));
        }
    }
    Ok(text)
}

/// What a lecture's package says of its media, and its words.
async fn media_of(store: &dyn Store, lecture: &Lecture) -> Result<(MediaView, LectureText)> {
    let Some((object, package)) = package_of(store, lecture).await? else { return Ok(Default::default()) };
    let start = match media::head_of(&package) {
        Some((voice, end)) => match lecture.objects.get(&format!("a-{}.mp4", voice.name)) {
            Some(object) => store.get(&object.key()?, Some(0..end.min(object.bytes))).await?,
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    // The package's own file knows digests of its files; what it is called in the store, and how long it is, the release does.
    let mut media = media::of_package(&package, &start, &|name| lecture.objects.get(name).map(|o| format!("../{}", o.key)));
    media.package = Some((format!("../{}", object.key), object.bytes));
    Ok((media, text_of(store, lecture, &package).await?))
}

/// A release as its pages show it, without what stands in its packages.
pub fn course_view(release: &Release) -> Result<CourseView> {
    let text = |t: &crate::course::Text| t.in_language(&release.language).to_string();
    let lecture = |l: &Lecture| -> Result<LectureView> {
        let file = |a: &Attachment| FileView { title: a.name.clone(), uri: format!("../{}", a.object.key), bytes: a.object.bytes };
        // A player takes one voice; which one is its choice, so the promise counts the largest.
        let voice = l.voices.iter().map(|v| v.bytes).max().unwrap_or(0);
        Ok(LectureView {
            id: l.id.clone(),
            title: text(&l.title),
            presenter: l.presenter.clone(),
            duration_s: l.duration_s,
            master_uri: object_uri(l)?.1,
            ways: l.rungs.iter().map(|r| WayView { name: r.name.clone(), bytes: r.bytes + voice }).collect(),
            whole: l.objects.get(progressive::NAME).map(|o| FileView {
                title: format!("{}.mp4", l.id),
                uri: format!("../{}", o.key),
                bytes: o.bytes,
            }),
            files: l.captions.values().chain(&l.handout).map(file).collect(),
            prerequisites: l.prerequisites.clone(),
            poster: l.objects.get("poster.webp").map(|o| format!("../{}", o.key)),
            media: MediaView::default(),
            search: None,
        })
    };
    let of_module =
        |id: Option<&str>| release.lectures.iter().filter(|l| l.module.as_deref() == id).map(lecture).collect::<Result<Vec<_>>>();
    let modules = match release.modules.is_empty() {
        true => vec![ModuleView { id: "lectures".into(), title: text(&release.title), lectures: of_module(None)? }],
        false => {
            let module =
                |m: &crate::manifest::Module| Ok(ModuleView { id: m.id.clone(), title: text(&m.title), lectures: of_module(Some(&m.id))? });
            release.modules.iter().map(module).collect::<Result<_>>()?
        }
    };
    let texts = release.modules.iter().map(|m| &m.title).chain(release.lectures.iter().map(|l| &l.title)).chain([&release.title]);
    Ok(CourseView {
        titles: pages::titles_of(texts, &release.language),
        id: release.course.clone(),
        title: text(&release.title),
        language: release.language.clone(),
        licence: release.licence.clone().unwrap_or_default(),
        address: release.address.clone(),
        release: release.release,
        modules,
    })
}
