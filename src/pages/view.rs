//! What the learner's pages show, as plain data: made from a release by `publish`, turned into HTML by `pages`.

/// One course as its release has it; texts in the course's language.
#[derive(Debug, Clone, PartialEq)]
pub struct CourseView {
    pub id: String,
    pub title: String,
    /// BCP 47.
    pub language: String,
    /// Empty where the author named none.
    pub licence: String,
    pub release: u64,
    pub modules: Vec<ModuleView>,
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
    pub id: String,
    pub title: String,
    pub presenter: Option<String>,
    pub duration_s: f64,
    /// Of the immutable master playlist, relative to `<store>/<id>/`.
    pub master_uri: String,
    /// What one way to watch it costs, dearest last.
    pub ways: Vec<WayView>,
    /// To download.
    pub files: Vec<FileView>,
    /// Ids of lectures to be seen before.
    pub prerequisites: Vec<String>,
}

/// A quality and what a learner pays for it: picture and voice.
#[derive(Debug, Clone, PartialEq)]
pub struct WayView {
    pub name: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FileView {
    /// The author's file name.
    pub title: String,
    /// Relative to `<store>/<id>/`.
    pub uri: String,
    pub bytes: u64,
}

/// A line of the list of courses.
#[derive(Debug, Clone, PartialEq)]
pub struct CourseSummary {
    pub id: String,
    pub title: String,
    pub lectures: usize,
    pub duration_s: f64,
}
