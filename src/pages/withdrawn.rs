//! What stands where a lecture was that its author took away.

use super::html::{Head, document, escape};
use super::words::Words;
use super::{CourseView, Names, Page, assets, lists};

/// `<course>/<lecture>.html` of a lecture that was withdrawn: an old link leads to a reason and to the course, not to an
/// error. It names nothing of the lecture but its address. `data-withdrawn` tells the page's script to drop its copies.
pub fn withdrawn_page(course: &CourseView, lecture: &str) -> Page {
    let names = Names::of(&assets());
    let words = Words::of(&course.language);
    let mut body = format!("<header><a href=\"index.html\">‹ {}</a></header>\n", course.titled(&course.title));
    body +=
        &format!("<main>\n<p class=\"note\" id=\"withdrawn\" data-withdrawn=\"{}\">{}</p>\n</main>\n", escape(lecture), words.withdrawn);
    body += &format!("{}{}", lists::colophon(course, words), super::lecture::course_data(course, words, &names));
    let title = format!("{} · {}", words.withdrawn, course.title);
    let head = Head { language: &course.language, title: &title, description: "", poster: None, address: None, class: "list" };
    Page::html(format!("{}/{lecture}.html", course.id), document(&head, &body))
}
