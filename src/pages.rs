//! The learner's pages: static HTML rendered from plain data, one for the course list, one for each course, one for each
//! lecture, and the script and style they share. Pure: publishing writes them into the store, `serve` only reads them.
//!
//! All links are relative, since a store can lie at any prefix of any host. Whatever an author wrote is escaped and
//! isolated (`html`), so that no title can change markup or turn the rest of a line around. A page loads no media and no
//! player before the learner taps play: data costs money.

mod html;
mod lecture;
mod lists;
mod view;
mod withdrawn;
mod words;

pub use lecture::package_pages;
pub use lists::index_page;
pub use view::{CourseSummary, CourseView, FileView, LectureView, ModuleView, WayView, ways_of};
pub use withdrawn::withdrawn_page;

use crate::store::Caching;
use crate::units::Digest;

/// What a page may load and run: its own origin's files, and media through object URLs. No inline script or style, so
/// that markup which slipped in could do nothing. In every page as `<meta>`, since a bucket sends no such header.
pub const CSP: &str = "default-src 'self'; img-src 'self' data:; media-src 'self' blob: data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'";

/// One object of a store that a browser shows or runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Name in the store.
    pub key: String,
    /// MIME type, with its character set.
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
    pub caching: Caching,
}

impl Page {
    fn html(key: String, text: String) -> Page {
        Page { key, content_type: "text/html; charset=utf-8", bytes: text.into_bytes(), caching: Caching::Revalidate }
    }
}

/// The pages of one course: `<id>/index.html` and `<id>/<lecture>.html`.
pub fn course_pages(course: &CourseView) -> Vec<Page> {
    let assets = Names::of(&assets());
    let mut pages = vec![lists::course_page(course, &assets)];
    let all: Vec<&LectureView> = course.modules.iter().flat_map(|m| &m.lectures).collect();
    for (i, lecture) in all.iter().enumerate() {
        let before = i.checked_sub(1).map(|b| all[b]);
        pages.push(lecture::lecture_page(course, lecture, before, all.get(i + 1).copied(), &assets));
    }
    pages
}

/// What all pages share, at the root of the store and named by digest: `app-*.js`, `app-*.css`, `hls-*.js`.
pub fn assets() -> Vec<Page> {
    let files: [(&str, &str, &'static str, &[u8]); 3] = [
        ("app", "js", "text/javascript; charset=utf-8", include_bytes!("../player/app.js")),
        ("app", "css", "text/css; charset=utf-8", include_bytes!("../player/app.css")),
        ("hls", "js", "text/javascript; charset=utf-8", include_bytes!("../player/vendor/hls.min.js")),
    ];
    let page = |(stem, ext, content_type, bytes): (&str, &str, &'static str, &[u8])| {
        // 64 bits: nobody chooses these bytes to collide, and names stay short in every page.
        let key = format!("{stem}-{}.{ext}", &Digest::of(bytes).to_string()[..16]);
        Page { key, content_type, bytes: bytes.to_vec(), caching: Caching::Immutable }
    };
    files.into_iter().map(page).collect()
}

/// The names of [`assets`].
struct Names {
    script: String,
    style: String,
    hls: String,
}

impl Names {
    fn of(assets: &[Page]) -> Names {
        let name = |i: usize| assets[i].key.clone();
        Names { script: name(0), style: name(1), hls: name(2) }
    }
}

#[cfg(test)]
mod tests;
