//! The list of courses, and the list of a course's lectures.

use super::html::{document, isolate, part};
use super::words::Words;
use super::{CourseSummary, CourseView, Names, Page, assets};

/// `index.html`: every course of the store. It belongs to no one course, so it speaks both languages.
pub fn index_page(courses: &[CourseSummary]) -> Page {
    let names = Names::of(&assets());
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
    Page::html("index.html".into(), document("vi", &format!("{} · {}", vi.courses, en.courses), "", &names.style, &body))
}

/// `<course>/index.html`: the lectures in the author's order, each with its length and its least price.
pub(super) fn course_page(course: &CourseView, names: &Names) -> Page {
    let words = Words::of(&course.language);
    let lectures = || course.modules.iter().flat_map(|m| &m.lectures);
    let total: f64 = lectures().map(|l| l.duration_s).sum();
    let mut body =
        format!("<header><a href=\"../index.html\">‹ {}</a></header>\n<main>\n<h1>{}</h1>\n", words.courses, isolate(&course.title));
    body += &format!("<p class=\"facts\">{} · {}</p>\n", words.lectures(lectures().count()), words.length(total));
    for module in &course.modules {
        body += "<section>\n";
        // A course without modules comes as one module of its own name.
        if module.title != course.title {
            body += &format!("<h2>{}</h2>\n", isolate(&module.title));
        }
        body += "<ol class=\"cards\">\n";
        for lecture in &module.lectures {
            let mut facts: Vec<String> = lecture.presenter.as_deref().map(isolate).into_iter().collect();
            facts.push(words.length(lecture.duration_s));
            facts.extend(lecture.ways.iter().map(|w| w.bytes).min().map(|b| format!("{} {}", words.from, words.megabytes(b))));
            let (href, title) = (part(&lecture.id), isolate(&lecture.title));
            body += &format!("<li><a href=\"{href}.html\">{title}</a> <small>{}</small></li>\n", facts.join(" · "));
        }
        body += "</ol>\n</section>\n";
    }
    body += "</main>\n";
    body += &colophon(course, words);
    Page::html(format!("{}/index.html", course.id), document(&course.language, &course.title, "../", &names.style, &body))
}

/// The last line of a course's pages: licence, where the author named one, and release.
pub(super) fn colophon(course: &CourseView, words: &Words) -> String {
    let licence = match course.licence.is_empty() {
        true => String::new(),
        false => format!("{}: {} · ", words.licence, isolate(&course.licence)),
    };
    format!("<footer>{licence}{} {}</footer>\n", words.release, course.release)
}
