//! What a page shows, as plain data: filled from a release by `publish`, from a package by `serve`.

use super::html::{closed, escape, isolate};
use super::media::MediaView;
use crate::course::Text;
use crate::package::Package;
use std::collections::BTreeMap;

/// A course as its learners see it.
#[derive(Debug, Clone, PartialEq)]
pub struct CourseView {
    /// Folder of its pages.
    pub id: String,
    pub title: String,
    /// BCP 47; also the language of the page's own words (`vi`, else English).
    pub language: String,
    /// Empty where the author named none.
    pub licence: String,
    /// Where learners find the store's root, ending in a slash.
    pub address: Option<String>,
    pub release: u64,
    pub modules: Vec<ModuleView>,
    /// What titles are called in other languages, by what they are called in the course's: [`titles_of`].
    pub titles: Titles,
}

/// Titles by language, by the title that pages show.
pub type Titles = BTreeMap<String, BTreeMap<String, String>>;

/// Of titles that are given in more languages than the one that pages are written in. Two that are the same in this one and not in
/// another are left as they are.
pub fn titles_of<'a>(texts: impl IntoIterator<Item = &'a Text>, language: &str) -> Titles {
    let mut titles: BTreeMap<String, Option<BTreeMap<String, String>>> = BTreeMap::new();
    for text in texts {
        let shown = text.in_language(language);
        let others: BTreeMap<String, String> = text.0.iter().filter(|(_, t)| *t != shown).map(|(l, t)| (l.clone(), t.clone())).collect();
        let same = titles.entry(shown.to_string()).or_insert_with(|| Some(others.clone()));
        if same.as_ref().is_some_and(|o| *o != others) {
            *same = None;
        }
    }
    titles.into_iter().filter_map(|(shown, others)| Some((shown, others.filter(|o| !o.is_empty())?))).collect()
}

impl CourseView {
    /// A title, with what the script needs to show it in the learner's language.
    pub(super) fn titled(&self, title: &str) -> String {
        match self.titles.get(title) {
            Some(others) => {
                let others: BTreeMap<&String, String> = others.iter().map(|(language, title)| (language, closed(title))).collect();
                format!("<bdi data-titles=\"{}\">{}</bdi>", escape(&serde_json::json!(others).to_string()), escape(&closed(title)))
            }
            None => isolate(title),
        }
    }
    /// Where one of its pages lies, where the author said where the store does.
    pub(super) fn page_address(&self, page: &str) -> Option<String> {
        self.address.as_ref().map(|root| format!("{root}{}/{page}.html", self.id))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModuleView {
    pub id: String,
    /// The course's in a course without modules.
    pub title: String,
    pub lectures: Vec<LectureView>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LectureView {
    /// Name of its page, without `.html`.
    pub id: String,
    pub title: String,
    pub presenter: Option<String>,
    /// Zero where it is not known.
    pub duration_s: f64,
    /// Multivariant playlist, relative to the lecture's page or absolute.
    pub master_uri: String,
    /// Cheapest first.
    pub ways: Vec<WayView>,
    /// The whole lecture as one small file to keep and pass on; its title is the page's own.
    pub whole: Option<FileView>,
    pub files: Vec<FileView>,
    /// Ids of lectures of this course to be watched before.
    pub prerequisites: Vec<String>,
    /// A picture for lists and for sites that link here.
    pub poster: Option<String>,
    pub media: MediaView,
    /// Address of what can be searched in it, if anything.
    pub search: Option<String>,
}

/// One way of watching and what it costs to the end, voice included.
#[derive(Debug, Clone, PartialEq)]
pub struct WayView {
    pub name: String,
    pub bytes: u64,
}

/// Something to download.
#[derive(Debug, Clone, PartialEq)]
pub struct FileView {
    pub title: String,
    /// Relative to the lecture's page or absolute.
    pub uri: String,
    pub bytes: u64,
}

/// A course in the list of courses.
#[derive(Debug, Clone, PartialEq)]
pub struct CourseSummary {
    pub id: String,
    pub title: String,
    pub lectures: usize,
    pub duration_s: f64,
}

/// The ways of watching a package: each rung with a voice. Of several voices the largest is counted, since the promise
/// to a learner who pays by the megabyte is an upper bound.
pub fn ways_of(package: &Package) -> Vec<WayView> {
    let voice = package.voices.iter().map(|v| v.bytes).max().unwrap_or(0);
    package.rungs.iter().map(|r| WayView { name: r.name.clone(), bytes: r.bytes + voice }).collect()
}
