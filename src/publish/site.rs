//! What learners and other players open by name: pages, `<id>/<lecture>.m3u8`, the list of courses. All of it is a
//! function of the pointers and releases in the store, so any command that has changed a pointer, or finds that
//! somebody was stopped before he was done, makes it right again.

use super::blobs::{Sent, from_folder};
use super::rename::rename_uris;
use super::{MASTER, state};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::manifest::{Attachment, Current, Lecture, Release};
use crate::package::{Package, progressive};
use crate::pages::media::{self, MediaView};
use crate::pages::search::{self, LectureText};
use crate::pages::{self, CourseSummary, CourseView, FileView, LectureView, ModuleView, Page, WayView};
use crate::progress::Ctx;
use crate::store::{Body, Caching, Key, Listed, Precondition, Store, get_if_there};
use std::collections::BTreeSet;

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
}

/// Another publisher may move a pointer while we write pages; then we write them again. Beyond this many rounds he is
/// still at work, and his own last round will be right.
const ROUNDS: usize = 5;

/// Brings a course's pages and the list of courses into agreement with the pointers. May be called at any time.
pub(super) async fn refresh(store: &dyn Store, course: &str, ctx: &Ctx) -> Result<Sent> {
    let mut sent = Sent::default();
    let mut pointers = state::pointers(store, ctx).await?;
    for _ in 0..ROUNDS {
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
        let (mut written, mut lists) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Write(key, bytes, caching) => {
                    // Pages name assets, and lists name pages: those must really be there.
                    let asset = |key: &Key| !key.as_str().contains('/');
                    if key.as_str().ends_with("index.html") || (!asset(&key) && written.iter().any(asset)) {
                        all_there(store, course, &mut written).await?;
                    }
                    store.put(&key, Body::Bytes(&bytes), caching, Precondition::None).await?;
                    sent.add(bytes.len() as u64);
                    written.push(key.clone());
                    if key.as_str().ends_with("index.html") {
                        lists.push((key, bytes));
                    }
                }
                Change::Delete(key) => {
                    // No list may name it any more.
                    for (list, bytes) in lists.drain(..) {
                        if get_if_there(store, &list).await?.as_ref() != Some(&bytes) {
                            return Err(super::not_done(store, &list));
                        }
                    }
                    store.delete(&key).await?;
                }
            }
        }
        let now = state::pointers(store, ctx).await?;
        if now == pointers {
            break;
        }
        pointers = now;
    }
    Ok(sent)
}

/// Fails (`Unavailable`) where one of these was acknowledged and is not there; forgets those that are.
async fn all_there(store: &dyn Store, course: &str, written: &mut Vec<Key>) -> Result<()> {
    if written.is_empty() {
        return Ok(());
    }
    let listed: BTreeSet<Key> = store.list(&format!("{course}/")).await?.into_iter().map(|l| l.key).collect();
    for key in written.drain(..) {
        // Assets lie at the top, where all courses do.
        if !listed.contains(&key) && (key.as_str().contains('/') || store.head(&key).await?.is_none()) {
            return Err(super::not_done(store, &key));
        }
    }
    Ok(())
}

/// What differs between the store and the site of a release, in the order in which it must be done: what pages refer to
/// comes before them, and what nothing refers to any more goes last.
pub(super) async fn changes(store: &dyn Store, release: &Release, pointers: &[Current]) -> Result<Vec<Change>> {
    let mut view = course_view(release)?;
    let mut wanted = pages::assets();
    wanted.extend(with_media(store, release, &mut view).await?);
    for lecture in &release.lectures {
        let master = object_uri(lecture)?.0;
        let bytes = store.get(&master, None).await?;
        let text = String::from_utf8(bytes).kind(Kind::Corrupt, || format!("{master} is not a playlist"))?;
        let bytes = rename_uris(&text, &from_folder)?.into_bytes();
        let key = format!("{}/{}.m3u8", release.course, lecture.id);
        wanted.push(Page { key, content_type: "application/vnd.apple.mpegurl", bytes, caching: Caching::Revalidate });
    }
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
    for page in wanted {
        let key = Key::new(page.key)?;
        let same = match page.caching {
            // Named by digest: there is there, if it is whole.
            Caching::Immutable => store.head(&key).await?.is_some_and(|m| m.bytes == page.bytes.len() as u64),
            Caching::Revalidate => get_if_there(store, &key).await?.is_some_and(|there| there == page.bytes),
        };
        if !same {
            changes.push(Change::Write(key, page.bytes, page.caching));
        }
    }
    let folder = format!("{}/", release.course);
    for Listed { key, .. } in store.list(&folder).await? {
        let name = key.as_str().trim_start_matches(&folder);
        let ours = !name.contains('/') && ([".html", ".m3u8", ".json"].iter().any(|e| name.ends_with(e)));
        if ours && !names.contains(key.as_str()) {
            changes.push(Change::Delete(key));
        }
    }
    Ok(changes)
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
    for shown in view.modules.iter_mut().flat_map(|m| &mut m.lectures) {
        let Some(lecture) = release.lecture(&shown.id) else { continue };
        let (media, text) = match media_of(store, lecture).await {
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

/// What a lecture's package says of its media, and its words.
async fn media_of(store: &dyn Store, lecture: &Lecture) -> Result<(MediaView, LectureText)> {
    let Some(object) = lecture.objects.get("package.json") else { return Ok(Default::default()) };
    let key = object.key()?;
    let package: Package = serde_json::from_slice(&store.get(&key, None).await?).kind(Kind::Corrupt, || format!("{key} is damaged"))?;
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
    let slide = |s: &crate::package::slides::Slide| (s.start_s, s.title.clone().unwrap_or_default(), s.text.clone());
    let mut text = LectureText { slides: package.slides.iter().map(slide).collect(), cues: Vec::new() };
    if let Some(captions) = package.captions.first()
        && let Some(object) = lecture.objects.get(&format!("c-{}.vtt", captions.language))
    {
        text.cues = search::cues(&String::from_utf8_lossy(&store.get(&object.key()?, None).await?));
    }
    Ok((media, text))
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
    Ok(CourseView {
        id: release.course.clone(),
        title: text(&release.title),
        language: release.language.clone(),
        licence: release.licence.clone().unwrap_or_default(),
        release: release.release,
        modules,
    })
}
