//! `rivulet check`: flags in, one library call, findings out.

use super::Printer;
use crate::check::{self, Finding, Level, RULES, Target};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::progress::Ctx;
use crate::store::{Key, Store};

/// Checks HLS against RFC 8216bis, Apple's authoring specification and Rivulet's own bars.
///
/// Reads playlists and media boxes (fMP4 in full; of MPEG-TS the playlists and rates). Exit code 1 where a MUST is
/// broken, 4 where there is no playlist or package, 5 where it cannot be reached. A package directory may declare
/// deviations with reason and cost in its package.json; they are shown and do not fail.
#[derive(clap::Args)]
pub struct Args {
    /// A package directory, a playlist file, the http(s) address of a playlist, a course.toml, or a store.
    #[arg(required_unless_present = "rules")]
    target: Option<String>,
    /// Put right what can be put right in a store: write pages again that disagree with the current release, and take away
    /// damaged objects that only earlier releases name, what killed publishers left and withdrawn lectures. A damaged object that learners see
    /// now is only reported: publish with --refresh sends it again.
    #[arg(long)]
    repair: bool,
    /// Where learners find a bucket, if not at the service itself: a CDN's or an own name's address.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print the table of all rules and check nothing.
    #[arg(long)]
    rules: bool,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let Some(target) = args.target.filter(|_| !args.rules) else {
        print_rules(printer);
        return Ok(0);
    };
    if target.ends_with(".toml") {
        return course_file(std::path::Path::new(&target), printer);
    }
    if std::path::Path::new(&target).join("courses").is_dir() || target.starts_with("s3://") {
        return whole_store(&target, args.repair, args.url, printer, ctx).await;
    }
    if args.url.is_some() {
        return Err(Error::usage(format!("{target} is not a store; --url says where a store's objects are on the web")));
    }
    if args.repair {
        return Err(Error::usage(format!("{target} is not a store; --repair works on a store")));
    }
    let parsed = Target::parse(&target);
    let (work, of_work) = (ctx.clone(), parsed.clone());
    let report = tokio::task::spawn_blocking(move || check::check(&of_work, &work))
        .await
        .map_err(|e| Error::bug("the checker stopped").caused_by(e))??;
    let counts = (report.count(Level::Must), report.count(Level::Should), report.count(Level::Declared));
    if printer.json() {
        for finding in &report.findings {
            printer.object(&Line::Finding(finding));
        }
        for note in &report.notes {
            ctx.note(note.clone());
        }
        printer.object(&Line::Summary { must: counts.0, should: counts.1, declared: counts.2 });
    } else {
        print_findings(&report.findings, printer);
        for note in &report.notes {
            printer.talk(&format!("not tested: {note}"));
        }
        let verdict = if report.passes() { "ok" } else { "fails" };
        printer.data(&format!(
            "{verdict}: {} must, {} should, {} declared ({} playlists, {} segments, {} of media, {} rules)",
            counts.0,
            counts.1,
            counts.2,
            report.playlists,
            report.segments,
            crate::units::Bytes(report.bytes),
            RULES.len()
        ));
    }
    Ok(u8::from(!report.passes()))
}

/// Everything that is wrong with an author's file, together.
fn course_file(path: &std::path::Path, printer: &Printer) -> Result<u8> {
    let problems = crate::course::check(path)?;
    for p in &problems {
        match printer.json() {
            true => printer.object(&Line::Finding(&Finding {
                rule: "course",
                level: Level::Must,
                r#where: format!("{}:{}", path.display(), p.line),
                message: p.message.clone(),
                source: "docs/manifest.md",
            })),
            false => printer.data(&format!("{}:{}: {}", path.display(), p.line, p.message)),
        }
    }
    conclude(problems.len(), 0, printer);
    Ok(u8::from(!problems.is_empty()))
}

/// Everything that learners could reach in a store, against its digests.
async fn whole_store(name: &str, repair: bool, url: Option<String>, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = crate::store::open(name, crate::store::Expect::Store, crate::store::Via::new(ctx))?;
    let report = crate::publish::verify_store(&*store, repair, ctx).await?;
    if report.courses == 0 && store.list("").await?.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("there is no store in {}", store.describe()))
            .hint("`rivulet publish COURSE.toml --to STORE` puts one there"));
    }
    for fault in &report.faults {
        let repaired = if fault.repaired { " (repaired)" } else { "" };
        match printer.json() {
            true => printer.object(&Line::Finding(&Finding {
                rule: "store",
                level: if fault.repaired { Level::Should } else { Level::Must },
                r#where: fault.key.clone(),
                message: format!("{}{repaired}", fault.message),
                source: "docs/publish.md",
            })),
            false => printer.data(&format!("{}: {}{repaired}", fault.key, fault.message)),
        }
    }
    let mut broken = report.faults.iter().filter(|f| !f.repaired).count();
    let base = match url {
        Some(url) => Some(format!("{}/", url.trim_end_matches('/'))),
        None => store.web().await?,
    };
    let mut should = 0;
    if let Some(base) = base {
        for finding in on_the_web(&*store, base, ctx).await? {
            match finding.level {
                Level::Must => broken += 1,
                _ => should += 1,
            }
            match printer.json() {
                true => printer.object(&Line::Finding(&finding)),
                false => printer.data(&format!("{}: {}", finding.r#where, finding.message)),
            }
        }
    }
    printer.talk(&format!(
        "{} courses, {} releases, {} objects, {} were read",
        report.courses,
        report.releases,
        report.objects,
        crate::units::Bytes(report.bytes)
    ));
    conclude(broken, should, printer);
    Ok(u8::from(broken > 0))
}

/// A few objects of each sort, fetched as a learner's browser does.
async fn on_the_web(store: &dyn Store, base: String, ctx: &Ctx) -> Result<Vec<Finding>> {
    let keys: Vec<Key> = store.list("").await?.into_iter().map(|l| l.key).collect();
    let samples = check::public::samples(&keys, |key| store.packs(key));
    let authorities = store.authorities().await?;
    ctx.note(format!("fetching {} objects from {base} as a browser would", samples.len()));
    let looking = tokio::task::spawn_blocking(move || check::public::check(&base, &samples, &authorities));
    looking.await.kind(Kind::Bug, || "the checker stopped".into())
}

fn conclude(faults: usize, should: usize, printer: &Printer) {
    match printer.json() {
        true => printer.object(&Line::Summary { must: faults, should, declared: 0 }),
        false if faults == 0 && should == 0 => printer.data("ok"),
        false if faults == 0 => printer.data(&format!("ok, with {should} that could be better")),
        false => printer.data(&format!("fails: {faults} to put right")),
    }
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Finding(&'a Finding),
    Rule(&'a check::Rule),
    Summary { must: usize, should: usize, declared: usize },
}

/// Grouped by level, worst first, and by rule, so that one cause is read once.
fn print_findings(findings: &[Finding], printer: &Printer) {
    for (level, title) in [(Level::Must, "MUST: broken"), (Level::Should, "SHOULD: broken"), (Level::Declared, "declared deviations")] {
        let of_level: Vec<&Finding> = findings.iter().filter(|f| f.level == level).collect();
        if of_level.is_empty() {
            continue;
        }
        printer.data(title);
        for rule in RULES {
            let of_rule: Vec<&&Finding> = of_level.iter().filter(|f| f.rule == rule.id).collect();
            if of_rule.is_empty() {
                continue;
            }
            printer.data(&format!("  {}: {} [{}]", rule.id, rule.what, rule.source));
            for finding in of_rule {
                printer.data(&format!("    {}: {}", finding.r#where, finding.message));
            }
        }
        printer.data("");
    }
}

fn print_rules(printer: &Printer) {
    for rule in RULES {
        if printer.json() {
            printer.object(&Line::Rule(rule));
        } else {
            let level = if rule.level == Level::Must { "must" } else { "should" };
            printer.data(&format!("{:30} {level:6} {} [{}]", rule.id, rule.what, rule.source));
        }
    }
}
