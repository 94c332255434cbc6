//! Parse, run, print one error, exit with its code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = rivulet::cli::Cli::parse();
    rivulet::cli::run(args)
}
