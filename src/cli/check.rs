//! `rivulet check`: flags in, one library call, findings out.

use super::Printer;
use crate::check::{self, Finding, Level, RULES, Target};
use crate::error::{Error, Result};
use crate::progress::Ctx;

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
        return whole_store(&target, args.repair, printer, ctx).await;
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
    conclude(problems.len(), printer);
    Ok(u8::from(!problems.is_empty()))
}

/// Everything that learners could reach in a store, against its digests.
async fn whole_store(name: &str, repair: bool, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store = crate::store::open(name, crate::store::Expect::Store)?;
    let report = crate::publish::verify_store(&*store, repair, ctx).await?;
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
    let broken = report.faults.iter().filter(|f| !f.repaired).count();
    printer.talk(&format!(
        "{} courses, {} releases, {} objects, {} were read",
        report.courses,
        report.releases,
        report.objects,
        crate::units::Bytes(report.bytes)
    ));
    conclude(broken, printer);
    Ok(u8::from(!report.sound()))
}

fn conclude(faults: usize, printer: &Printer) {
    match printer.json() {
        true => printer.object(&Line::Summary { must: faults, should: 0, declared: 0 }),
        false if faults == 0 => printer.data("ok"),
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
