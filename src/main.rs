//! Parse, run, print one error, exit with its code.

#[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
mod memalign;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
    memalign::settle();
    match rivulet::cli::Cli::try_parse() {
        Ok(args) => rivulet::cli::run(args),
        Err(e) => rivulet::cli::refuse(&e),
    }
}
