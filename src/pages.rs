//! The learner's pages: static HTML rendered from plain data, one for the course list, one for each course, one for each
//! lecture, and the script and style they share. Pure: publishing writes them into the store, `serve` only reads them.
//!
//! All links are relative, since a store can lie at any prefix of any host. Whatever an author wrote is escaped and
//! isolated (`html`), so that no title can change markup or turn the rest of a line around. A lecture's page holds the
//! first seconds of its voice and the script that plays them; docs/page.md says how it goes on from there.

mod code;
mod html;
mod lecture;
mod lists;
pub mod media;
pub mod search;
mod view;
mod withdrawn;
mod words;

pub use code::{assets, csp, csp_of_any_version};
pub use lecture::package_pages;
pub use lists::index_page;
pub use view::{CourseSummary, CourseView, FileView, LectureView, ModuleView, Titles, WayView, titles_of, ways_of};
pub use withdrawn::withdrawn_page;

use crate::store::Caching;

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

/// The names of [`assets`].
struct Names {
    app: String,
    hls: String,
    worker: String,
    /// The words of each language.
    words: Vec<(&'static str, String)>,
}

impl Names {
    fn of(assets: &[Page]) -> Names {
        let name = |i: usize| assets[i].key.clone();
        let words = words::files().zip(&assets[3..]).map(|((tag, _), page)| (tag, page.key.clone())).collect();
        Names { app: name(0), hls: name(1), worker: name(2), words }
    }

    /// The languages that a page can speak, with the addresses of their words; the one that it comes with has none.
    fn languages(&self, own: &words::Words, root: &str) -> serde_json::Value {
        let address = |(tag, name): &(&str, String)| if *tag == own.tag() { String::new() } else { format!("{root}{name}") };
        self.words.iter().map(|w| (w.0.to_string(), address(w).into())).collect::<serde_json::Map<_, _>>().into()
    }
}

#[cfg(test)]
mod tests;
