//! `rivulet serve`.

use super::Printer;
use crate::error::Result;
use crate::progress::Ctx;
use crate::serve::{Server, Site};
use crate::store::dir::DirStore;
use std::path::PathBuf;
use std::sync::Arc;

/// Show a store's courses, or play one package, in a browser.
///
/// Prints the address on stdout and serves until Ctrl-C. The answers are those of a good static web server: byte ranges,
/// conditional requests, gzip for text, long caching for what never changes. By default only this machine can connect;
/// `--listen 0.0.0.0:8080` opens it to the whole network, without encryption or passwords: everybody there sees
/// everything in STORE.
#[derive(clap::Args)]
pub struct Args {
    /// A directory that `publish` wrote courses to, or a package that `encode` wrote.
    store: PathBuf,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let site = Site::open(Arc::new(DirStore::open(&args.store)?)).await?;
    let server = Server::bind(site, &args.listen).await?;
    match printer.json() {
        true => printer.object(&serde_json::json!({"type": "serving", "url": server.url()})),
        false => {
            printer.data(server.url());
            printer.talk("serving; Ctrl-C stops");
        }
    }
    server.run(ctx).await?;
    Ok(0)
}
