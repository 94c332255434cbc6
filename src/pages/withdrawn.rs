//! What stands where a lecture was that its author took away.

use super::html::{Head, document};
use super::words::Words;
use super::{CourseView, Names, Page, assets, lists};

/// `<course>/<lecture>.html` of a lecture that was withdrawn: an old link leads to a reason and to the course, not to an
/// error. It names nothing of the lecture but its address. Its script is that of the course's page, which asks the store what was
/// withdrawn and deletes it from the device.
pub fn withdrawn_page(course: &CourseView, lecture: &str) -> Page {
    let names = Names::of(&assets());
    let words = Words::of(&course.language);
    let mut body = format!(
        "<header><a class=\"up\" href=\"index.html\"><span aria-hidden=\"true\">‹</span> {}</a></header>\n",
        course.titled(&course.title)
    );
    body += &format!("<main>\n{}\n</main>\n", words.tag_of("h1 class=\"broken\"", "{withdrawn}"));
    body += &format!("{}{}", lists::colophon(course, words), super::lecture::course_data(course, words, &names));
    let title = format!("{} · {}", words.withdrawn, course.title);
    let head = Head { language: &course.language, title: &title, description: "", poster: None, address: None, class: "list" };
    Page::html(format!("{}/{lecture}.html", course.id), document(&head, &body))
}
