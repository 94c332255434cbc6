//! The list of courses, and the list of a course's lectures.

use super::html::{Head, document, escape, isolate, part};
use super::lecture::course_data;
use super::words::{Words, bytes, seconds};
use super::{CourseSummary, CourseView, LectureView, Names, Page};

/// `index.html`: every course of the store. It belongs to no one course, so it speaks both languages.
pub fn index_page(courses: &[CourseSummary]) -> Page {
    let (vi, en) = (Words::of("vi"), Words::of("en"));
    let mut body = format!("<main>\n<h1>{} <small lang=\"en\">{}</small></h1>\n<ul class=\"cards\">\n", vi.courses, en.courses);
    for course in courses {
        body += &format!(
            "<li><a href=\"{}/index.html\">{}</a> <small>{} · {}</small></li>\n",
            part(&course.id),
            isolate(&course.title),
            vi.lectures(course.lectures),
            vi.length(course.duration_s)
        );
    }
    body += "</ul>\n</main>\n";
    let title = format!("{} · {}", vi.courses, en.courses);
    let head = Head { language: "vi", title: &title, description: "", poster: None, address: None, class: "list" };
    Page::html("index.html".into(), document(&head, &body))
}

/// `<course>/index.html`: the lectures in the author's order, each with its length and what each way of watching costs.
pub(super) fn course_page(course: &CourseView, names: &Names) -> Page {
    let words = Words::of(&course.language);
    let lectures = || course.modules.iter().flat_map(|m| &m.lectures);
    let total: f64 = lectures().map(|l| l.duration_s).sum();
    let facts = format!("{{n{}}} · {}", lectures().count(), seconds(total));
    let mut body = format!(
        "<header><a class=\"up\" href=\"../index.html\"><span aria-hidden=\"true\">‹</span> {}</a></header>\n<main>\n<h1>{}</h1>\n{}\n",
        words.tag_of("span", "{courses}"),
        course.titled(&course.title),
        words.tag_of("p class=\"facts\"", &facts)
    );
    if lectures().any(|l| l.search.is_some()) {
        body += &search_form(words);
    }
    for module in &course.modules {
        body += "<section>\n";
        // A course without modules comes as one module of its own name.
        if module.title != course.title {
            body += &format!("<h2>{}</h2>\n", course.titled(&module.title));
        }
        body += "<ol class=\"cards\">\n";
        for lecture in &module.lectures {
            body += &card(course, lecture, words);
        }
        body += "</ol>\n";
        if module.lectures.iter().any(|l| l.media.slides_bytes().is_some()) {
            body += &format!("<div class=\"module\">{}</div>\n", words.tag_of("h3", "{offline_module}"));
        }
        body += "</section>\n";
    }
    body += &format!("</main>\n{}{}", colophon(course, words), course_data(course, words, names));
    let poster = lectures().find_map(|l| l.poster.as_deref());
    let address = course.page_address("index");
    let head = Head {
        language: &course.language,
        title: &course.title,
        description: &words.fill(&facts).replace('\u{a0}', " "),
        poster,
        address,
        class: "list",
    };
    Page::html(format!("{}/index.html", course.id), document(&head, &body))
}

fn card(course: &CourseView, lecture: &LectureView, words: &Words) -> String {
    let mut facts: Vec<String> = lecture.presenter.as_deref().map(isolate).into_iter().collect();
    facts.push(words.tag_of("span", &seconds(lecture.duration_s)));
    let mut out = format!(
        "<li data-lecture=\"{}\"><a href=\"{}.html\">{}</a> <small>{}</small>",
        escape(&lecture.id),
        part(&lecture.id),
        course.titled(&lecture.title),
        facts.join(" · ")
    );
    let slides = lecture.media.slides_bytes().map(|b| format!("{{slides_way}} {}", bytes(b)));
    let video = lecture.ways.iter().map(|w| w.bytes).max().map(|b| format!("{{video_way}} {}", bytes(b)));
    let prices: Vec<String> = slides.into_iter().chain(video).collect();
    if !prices.is_empty() {
        out += &format!(" {}", words.tag_of("small", &prices.join(" · ")));
    }
    let links = before(course, lecture);
    if !links.is_empty() {
        out += &format!(" <small class=\"before\">{}: {}</small>", words.tag_of("span", "{before}"), links.join(", "));
    }
    out + "</li>\n"
}

/// Links to the lectures of this course that are to be watched before.
pub(super) fn before(course: &CourseView, lecture: &LectureView) -> Vec<String> {
    let all = || course.modules.iter().flat_map(|m| &m.lectures);
    let known = lecture.prerequisites.iter().filter_map(|id| all().find(|l| l.id == *id));
    known.map(|l| format!("<a href=\"{}.html\">{}</a>", part(&l.id), course.titled(&l.title))).collect()
}

/// The least that watching this lecture to its end can cost, bytes.
pub(super) fn least(lecture: &LectureView) -> Option<u64> {
    lecture.media.slides_bytes().into_iter().chain(lecture.ways.iter().map(|w| w.bytes)).min()
}

/// `7:05`, `1:07:05`.
pub(super) fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// Asleep until the script has come; without one it is not shown.
pub(super) fn search_form(words: &Words) -> String {
    format!(
        "<form id=\"search\" role=\"search\">\n{}\n\
         <input id=\"query\" type=\"search\" placeholder=\"{}\" data-w=\"{{search}}\" autocomplete=\"off\" enterkeyhint=\"search\" disabled>\n\
         <p id=\"found\" class=\"hint\" role=\"status\"></p>\n<ol id=\"results\"></ol>\n</form>\n",
        words.tag_of("label for=\"query\" class=\"unseen\"", "{search_hint}"),
        escape(&words.search)
    )
}

/// The last line of a course's pages: licence, where the author named one, and release.
pub(super) fn colophon(course: &CourseView, words: &Words) -> String {
    let licence = match course.licence.is_empty() {
        true => String::new(),
        false => format!("{}: {} · ", words.tag_of("span", "{licence}"), isolate(&course.licence)),
    };
    format!("<footer>{licence}{}</footer>\n", words.tag_of("span", &format!("{{release}} {}", course.release)))
}
