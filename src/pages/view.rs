//! What a page shows, as plain data: filled from a release by `publish`, from a package by `serve`.

use super::media::MediaView;
use crate::package::Package;

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
}

impl CourseView {
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
