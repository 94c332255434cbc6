//! What becomes of each lecture of a course file: encoded, kept as the current release has it, or carried over from
//! there because its recording is not on this machine. The author's texts and files are always those of the file.

use super::blobs::{self, Known, Parcel};
use super::{Encoder, LectureRequest, Options};
use crate::captions::{self, Captions};
use crate::course::{Course, Lecture, Missing, Part, file_name};
use crate::error::{Error, Result, ResultExt};
use crate::manifest::{self, Attachment, Release, Source};
use crate::offload::blocking;
use crate::progress::Ctx;
use crate::store::Store;
use crate::units::Digest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// See the module.
pub(super) enum Choice {
    Encode(LectureRequest),
    Keep,
    Carry,
}

/// A lecture, what becomes of it, and what must be in the store for it.
pub(super) struct Decided {
    pub choice: Choice,
    /// What learners have of a lecture that is to be encoded until it is: the released package, or, when it was made, the
    /// floor alone.
    pub interim: Option<manifest::Lecture>,
    /// Learners have nothing of it, or its floor alone: a floor of its own may come first.
    pub fresh: bool,
    /// The package is encoded, or nothing is to be.
    pub made: bool,
    /// Of the recordings that are here.
    pub source: Option<Source>,
    /// Without the package's part until it is encoded.
    pub lecture: manifest::Lecture,
    pub parcels: Vec<Parcel>,
}

impl Decided {
    /// Fills in what encoding gave; the author's part stays.
    pub fn take(&mut self, encoded: manifest::Lecture, parcels: Vec<Parcel>) {
        self.lecture = self.written_by_author(encoded);
        self.parcels.extend(parcels);
        self.made = true;
    }
    /// Takes a package of the floor alone.
    pub fn take_floor(&mut self, floor: manifest::Lecture, parcels: Vec<Parcel>) {
        self.interim = Some(manifest::Lecture { floor_only: true, ..self.written_by_author(floor) });
        self.parcels.extend(parcels);
    }
    /// Nothing can be published of it before it is encoded.
    pub fn has_nothing(&self) -> bool {
        self.so_far().is_none()
    }
    /// What learners would see of it now; `None` where there is nothing yet.
    pub fn so_far(&self) -> Option<&manifest::Lecture> {
        if self.made { Some(&self.lecture) } else { self.interim.as_ref() }
    }
    /// A package with the author's texts and files of this publication.
    fn written_by_author(&self, package: manifest::Lecture) -> manifest::Lecture {
        let author = self.lecture.clone();
        manifest::Lecture {
            title: author.title,
            module: author.module,
            presenter: author.presenter,
            prerequisites: author.prerequisites,
            captions: author.captions,
            handout: author.handout,
            ..package
        }
    }
}

/// Whether the current release has what is missing here, in that place of that lecture. It knows captions and handouts by
/// their names; recordings have none there, so that of a released lecture is taken to be the one that is missing.
pub(super) fn has(before: Option<&Release>, missing: &Missing) -> bool {
    let Some(lecture) = before.and_then(|r| r.lecture(&missing.lecture)) else { return false };
    match &missing.part {
        Part::Recording => true,
        Part::Captions(language) => lecture.captions.get(language).is_some_and(|a| a.name == missing.name),
        Part::Handout => lecture.handout.as_ref().is_some_and(|a| a.name == missing.name),
    }
}

#[allow(clippy::too_many_arguments)] // the state of one publication, named one by one
pub(super) async fn lecture(
    course: &Course,
    lecture: &Lecture,
    before: Option<&Release>,
    store: &dyn Store,
    known: &Known,
    encoder: &dyn Encoder,
    options: &Options,
    ctx: &Ctx,
) -> Result<Decided> {
    let id = &lecture.id;
    let before = before.and_then(|r| r.lecture(id));
    let request = LectureRequest {
        course: course.id.clone(),
        lecture: id.clone(),
        recordings: lecture.recordings.clone(),
        trims: lecture.trims,
        captions: Vec::new(),
        title: lecture.title.in_language(&course.language).to_string(),
        language: course.language.clone(),
        profile: options.profile.clone(),
    };
    let here: Vec<usize> = (0..lecture.recordings.len()).filter(|i| lecture.recordings[*i].is_file()).collect();
    let present = LectureRequest { recordings: here.iter().map(|i| lecture.recordings[*i].clone()).collect(), ..request.clone() };
    let captions = read_captions(lecture, before).await?;
    let digests: BTreeMap<String, Digest> = captions.iter().map(|(language, c)| (language.clone(), c.sha256())).collect();
    let found = Source { trims: lecture.trims, captions: digests.clone(), ..encoder.source(&present).await? };
    let complete = here.len() == lecture.recordings.len();
    // Not all are here: those that are must be the released ones, in their places.
    let fits = before.is_some_and(|b| {
        let same = |(i, r): (&usize, &manifest::Recording)| b.source.recordings.get(*i).is_some_and(|then| then.sha256 == r.sha256);
        b.source.recordings.len() == lecture.recordings.len() && here.iter().zip(&found.recordings).all(same)
    });
    let source = complete.then_some(found);
    let whole = before.is_some_and(|b| b.objects.values().all(|o| known.has(o)));
    let mut choice = choose(id, source.as_ref(), before, &Fit { whole, fits }, lecture, options.refresh, request)?;
    if let Choice::Encode(request) = &mut choice {
        for (language, c) in captions {
            request.captions.push(c.parsed(&language, store).await?);
        }
    }
    let base = match (&choice, before) {
        (Choice::Encode(_), _) | (_, None) => unencoded(id, source.clone()),
        (Choice::Keep, Some(before)) => before.clone(),
        (Choice::Carry, Some(before)) => {
            if before.source.captions != digests {
                ctx.warn(format!(
                    "{id}: its captions have changed and its recording is not here: players show the old ones until it is published from the machine that has it"
                ));
            }
            ctx.note(format!("{id}: its recording is not here; carried over from the current release (profile {})", before.source.profile));
            before.clone()
        }
    };
    let made = !matches!(choice, Choice::Encode(_));
    let mut decided =
        Decided { choice, interim: None, fresh: before.is_none_or(|b| b.floor_only), made, source, lecture: base, parcels: Vec::new() };
    let author = Author { id, before, known, ctx };
    let mut captions = BTreeMap::new();
    for (language, path) in &lecture.captions {
        let held = before.and_then(|b| b.captions.get(language));
        captions.insert(language.clone(), author.file(path, held, &mut decided.parcels).await?);
    }
    let handout = match &lecture.handout {
        Some(path) => Some(author.file(path, before.and_then(|b| b.handout.as_ref()), &mut decided.parcels).await?),
        None => None,
    };
    let to = &mut decided.lecture;
    to.title = lecture.title.clone();
    to.module = lecture.module.clone();
    to.presenter = lecture.presenter.clone();
    to.prerequisites = lecture.prerequisites.clone();
    (to.captions, to.handout) = (captions, handout);
    if !decided.made && whole {
        // A floor of another source would be replaced by the new one's floor; a whole package is kept until it is replaced.
        let stays = before.filter(|b| !b.floor_only || decided.source.as_ref().is_some_and(|s| s.same(&b.source)));
        decided.interim = stays.map(|b| decided.written_by_author(b.clone()));
    }
    Ok(decided)
}

/// How a released lecture stands to the file's.
struct Fit {
    /// The store has all its objects.
    whole: bool,
    /// It has as many recordings, and those that are here are its own.
    fits: bool,
}

/// The decision itself, pure.
fn choose(
    id: &str,
    here: Option<&Source>,
    before: Option<&manifest::Lecture>,
    fit: &Fit,
    lecture: &Lecture,
    refresh: bool,
    request: LectureRequest,
) -> Result<Choice> {
    match (here, before) {
        (Some(source), Some(before)) if source.same(&before.source) && fit.whole && !before.floor_only && !refresh => Ok(Choice::Keep),
        (Some(_), _) => Ok(Choice::Encode(request)),
        (None, Some(before)) if before.source.trims != lecture.trims => Err(Error::usage(format!(
            "the trims of lecture \"{id}\" have changed, but its recording is not on this machine to be encoded again"
        ))
        .hint("publish from the machine that has the recording, or put the trims back")),
        (None, Some(_)) if !fit.fits => Err(Error::usage(format!(
            "the recordings of lecture \"{id}\" are not the released ones, and not all of them are on this machine"
        ))
        .hint("publish from the machine that has them")),
        (None, Some(_)) if !fit.whole => Err(Error::usage(format!(
            "lecture \"{id}\" has lost objects in the store, and its recording is not on this machine to make them again"
        ))
        .hint("publish from the machine that has the recording")),
        (None, Some(_)) => Ok(Choice::Carry),
        (None, None) => Err(Error::usage(format!("the recording of lecture \"{id}\" is not there"))),
    }
}

/// A lecture of which only the author's part is known yet.
fn unencoded(id: &str, source: Option<Source>) -> manifest::Lecture {
    let nothing = crate::units::Digest::of(b"");
    manifest::Lecture {
        id: id.to_string(),
        title: Default::default(),
        module: None,
        presenter: None,
        prerequisites: Vec::new(),
        duration_s: 0.0,
        source: source.unwrap_or(Source {
            recordings: Vec::new(),
            profile: String::new(),
            profile_sha256: nothing,
            trims: None,
            captions: BTreeMap::new(),
        }),
        plan: nothing,
        partial: false,
        floor_only: false,
        rungs: Vec::new(),
        voices: Vec::new(),
        objects: BTreeMap::new(),
        slides: Vec::new(),
        chapters: Vec::new(),
        captions: BTreeMap::new(),
        handout: None,
    }
}

/// An author's captions: here, or as the current release has them.
enum Held {
    Here(Captions),
    Stored(Attachment),
}

impl Held {
    fn sha256(&self) -> Digest {
        match self {
            Held::Here(c) => c.sha256,
            Held::Stored(a) => a.object.sha256,
        }
    }
    async fn parsed(self, language: &str, store: &dyn Store) -> Result<Captions> {
        match self {
            Held::Here(c) => Ok(c),
            Held::Stored(a) => captions::read(language, &a.name, &store.get(&a.object.key()?, None).await?),
        }
    }
}

/// The captions of a lecture; a file that is neither here nor in the release is told by [`Author::file`].
async fn read_captions(lecture: &Lecture, before: Option<&manifest::Lecture>) -> Result<BTreeMap<String, Held>> {
    let mut all = BTreeMap::new();
    for (language, path) in &lecture.captions {
        let held = before.and_then(|b| b.captions.get(language)).filter(|a| a.name == file_name(path));
        match (path.is_file(), held) {
            (true, _) => {
                let (of, path) = (language.clone(), path.clone());
                let read = move || {
                    let bytes = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
                    captions::read(&of, &file_name(&path), &bytes)
                };
                all.insert(language.clone(), Held::Here(blocking(read).await?));
            }
            (false, Some(held)) => drop(all.insert(language.clone(), Held::Stored(held.clone()))),
            (false, None) => {}
        }
    }
    Ok(all)
}

/// The author's files of one lecture.
struct Author<'a> {
    id: &'a str,
    before: Option<&'a manifest::Lecture>,
    known: &'a Known,
    ctx: &'a Ctx,
}

impl Author<'_> {
    async fn file(&self, path: &Path, held: Option<&Attachment>, parcels: &mut Vec<Parcel>) -> Result<Attachment> {
        let name = file_name(path);
        let held = held.filter(|a| a.name == name && self.known.has(&a.object));
        match (path.is_file(), held) {
            (false, Some(held)) => {
                self.ctx.note(format!("{}: {name} is not here; carried over from the current release", self.id));
                Ok(held.clone())
            }
            (false, None) if self.before.is_some() => {
                Err(Error::usage(format!("{name} of lecture \"{}\" is neither here nor whole in the store", self.id)))
            }
            _ => {
                let path: PathBuf = path.to_path_buf();
                let (attachment, parcel) = blocking(move || blobs::attachment(&path)).await?;
                parcels.push(parcel);
                Ok(attachment)
            }
        }
    }
}
