//! The command line: flags in, one library call, print. `printer` alone knows terminals. Exit codes: 0 ok, 1 failed,
//! 2 usage, 3 partly done, 4 bad input, 5 store or queue unreachable, 130 interrupted.

mod check;
mod clean;
mod diff;
mod encode;
mod ingest;
mod pipelines;
mod plan;
mod printer;
mod probe;
mod prune;
mod publish;
mod recording;
mod releases;
mod replay;
mod rollback;
mod serve;
mod studio;
mod withdraw;

pub use printer::Printer;

use crate::error::Result;
use crate::progress::Ctx;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;

/// Recordings of lectures in, HLS courses fit for slow, far, lossy links out.
#[derive(Parser)]
#[command(
    name = "rivulet",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 partly done, 4 bad input, 5 store or queue unreachable, 130 interrupted."
)]
pub struct Cli {
    /// One JSON object a line on stdout (docs/json.md).
    #[arg(long, global = true)]
    json: bool,
    /// Only results and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Probe(probe::Args),
    Plan(plan::Args),
    Encode(encode::Args),
    Pipelines(pipelines::Args),
    Ingest(ingest::Args),
    Clean(clean::Args),
    Check(check::Args),
    Serve(serve::Args),
    Replay(replay::Args),
    /// Publish a course: encode what has changed, send what is missing, make it what learners see.
    Publish(publish::Args),
    /// The releases of a course, oldest first.
    Releases(releases::Args),
    /// What would change for learners if another release were made current.
    Diff(diff::Args),
    /// Make an earlier release of a course current again.
    Rollback(rollback::Args),
    /// Delete old releases, and objects that nothing needs any more.
    Prune(prune::Args),
    /// Take a lecture out of a course for good: out of all releases, its objects deleted.
    Withdraw(withdraw::Args),
    /// One piece of media work in a process of its own; Rivulet starts these itself.
    #[command(hide = true)]
    Child {
        verb: String,
    },
}

/// A command line that does not parse, or a question for help; with `--json` the fault is a line like any other.
pub fn refuse(fault: &clap::Error) -> ExitCode {
    let _ = fault.print();
    if fault.use_stderr() && std::env::args_os().any(|a| a == "--json") {
        let text = fault.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string();
        let line = serde_json::to_value(crate::error::ErrorLine::from(&crate::error::Error::usage(first)));
        if let Ok(serde_json::Value::Object(mut line)) = line {
            line.insert("type".into(), "error".into());
            println!("{}", serde_json::Value::Object(line));
        }
    }
    ExitCode::from(fault.exit_code() as u8)
}

/// A number of things that are done side by side.
fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a whole number, at least 1".into())
}

/// Runs one command. Two signals: the first stops cleanly, the second at once.
pub fn run(cli: Cli) -> ExitCode {
    if let Command::Child { verb } = &cli.command {
        return ExitCode::from(child(verb));
    }
    let printer = Arc::new(Printer::new(cli.json, cli.quiet));
    let ctx = Ctx { cancel: Default::default(), progress: printer.clone(), clock: Arc::new(crate::clock::SystemClock) };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let cancel = ctx.cancel.clone();
        let talk = printer.clone();
        tokio::spawn(async move {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
            // A terminal that is closed stops us like Ctrl-C.
            let mut gone = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
            let mut next = async || {
                let told = async |signal: &mut Option<tokio::signal::unix::Signal>| match signal {
                    Some(s) => drop(s.recv().await),
                    None => std::future::pending().await,
                };
                tokio::select! { _ = tokio::signal::ctrl_c() => (), () = told(&mut term) => (), () = told(&mut gone) => () }
            };
            next().await;
            talk.talk("stopping; what is finished is kept (again to stop at once)");
            cancel.cancel();
            next().await;
            std::process::exit(130);
        });
        dispatch(cli.command, &printer, &ctx).await
    });
    // Blocking leftovers (a read from a dead disk) must not hold up the exit.
    runtime.shutdown_background();
    printer.finish();
    match outcome {
        Ok(_) if printer.failed() => {
            eprintln!("error: the results could not be written to standard output");
            ExitCode::FAILURE
        }
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            printer.error(&e);
            ExitCode::from(e.kind().exit_code())
        }
    }
}

/// Every verb returns its exit code: 0, or 3 where a part was done and said so.
async fn dispatch(command: Command, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    match command {
        Command::Probe(args) => probe::run(args, printer, ctx).await,
        Command::Plan(args) => plan::run(args, printer, ctx).await,
        Command::Encode(args) => encode::run(args, printer, ctx).await,
        Command::Pipelines(args) => pipelines::run(args, printer, ctx).await,
        Command::Ingest(args) => ingest::run(args, printer, ctx).await,
        Command::Clean(args) => clean::run(args, printer, ctx).await,
        Command::Check(args) => check::run(args, printer, ctx).await,
        Command::Replay(args) => replay::run(args, printer, ctx).await,
        Command::Serve(args) => serve::run(args, printer, ctx).await,
        Command::Publish(args) => publish::run(args, printer, ctx).await,
        Command::Releases(args) => releases::run(args, printer, ctx).await,
        Command::Diff(args) => diff::run(args, printer, ctx).await,
        Command::Rollback(args) => rollback::run(args, printer, ctx).await,
        Command::Prune(args) => prune::run(args, printer, ctx).await,
        Command::Withdraw(args) => withdraw::run(args, printer, ctx).await,
        Command::Child { .. } => unreachable!("children are served before the runtime starts"),
    }
}

/// The hidden verbs: media work that may crash.
fn child(verb: &str) -> u8 {
    match verb {
        "probe" => crate::child::serve(crate::probe::work),
        "loudness" => crate::child::serve(crate::encode::voice::measure),
        "voice" => crate::child::serve(crate::encode::voice::make),
        "fingerprint" => crate::child::serve(|(), _| crate::encode::fingerprint::look()),
        "search" => crate::child::serve(crate::encode::search::run),
        "analyse" => crate::child::serve(crate::encode::analyse::run),
        "chunk" => crate::child::serve(crate::encode::chunk::run),
        "stills" => crate::child::serve(crate::encode::stills::make),
        "pipelines" => crate::child::serve(|job, _| crate::encode::pipelines::check(&job)),
        _ => {
            eprintln!("error: no child verb {verb}");
            2
        }
    }
}
