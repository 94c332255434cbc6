//! The learner's pages: pure functions from a course to files for a store.

mod view;

pub use view::{CourseSummary, CourseView, FileView, LectureView, ModuleView, WayView};

use crate::store::Caching;
use crate::units::Digest;

/// One file for a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub key: String,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
    pub caching: Caching,
}

fn page(key: String, title: &str, body: &str) -> Page {
    let up = "../".repeat(key.matches('/').count());
    let style = &assets()[0].key;
    let html = format!(
        "<!doctype html><meta charset=\"utf-8\"><link rel=\"stylesheet\" href=\"{up}{style}\"><title>{0}</title><h1>{0}</h1>{body}\n",
        escape(title)
    );
    Page { key, content_type: "text/html; charset=utf-8", bytes: html.into_bytes(), caching: Caching::Revalidate }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What all pages share, at the root of the store and named by digest.
pub fn assets() -> Vec<Page> {
    let css = b"body { max-width: 40em; margin: auto }\n";
    let key = format!("app-{}.css", &Digest::of(css).to_string()[..16]);
    vec![Page { key, content_type: "text/css; charset=utf-8", bytes: css.to_vec(), caching: Caching::Immutable }]
}

/// The course's page and one for each lecture.
pub fn course_pages(course: &CourseView) -> Vec<Page> {
    let lectures = course.modules.iter().flat_map(|m| &m.lectures);
    let mut pages: Vec<Page> = lectures
        .clone()
        .map(|l| {
            let files: String = l.files.iter().map(|f| format!("<p><a href=\"{}\">{}</a>", f.uri, escape(&f.title))).collect();
            page(format!("{}/{}.html", course.id, l.id), &l.title, &format!("<p><a href=\"{}\">HLS</a>{files}", l.master_uri))
        })
        .collect();
    let list: String = lectures.map(|l| format!("<p><a href=\"{}.html\">{}</a>", l.id, escape(&l.title))).collect();
    pages.push(page(format!("{}/index.html", course.id), &course.title, &format!("{list}<p>{}", course.release)));
    pages
}

/// The list of courses.
pub fn index_page(courses: &[CourseSummary]) -> Page {
    let list: String = courses.iter().map(|c| format!("<p><a href=\"{}/index.html\">{}</a>", c.id, escape(&c.title))).collect();
    page("index.html".into(), "Rivulet", &list)
}
