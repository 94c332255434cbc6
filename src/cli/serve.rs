//! `rivulet serve`.

use super::Printer;
use crate::clock::SystemClock;
use crate::error::Result;
use crate::progress::Ctx;
use crate::serve::{Near, Server, Site};
use crate::store::dir::DirStore;
use crate::store::{self, Expect, Store, Via};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Show a store's courses, or play one package, in a browser.
///
/// Prints the address on stdout and serves until Ctrl-C. The answers are those of a good static web server: byte ranges,
/// conditional requests, gzip for text, long caching for what never changes. By default only this machine can connect;
/// `--listen 0.0.0.0:8080` opens it to the whole network, without passwords, and without encryption unless `--tls-cert`
/// and `--tls-key` are given: everybody there sees everything in STORE.
#[derive(clap::Args)]
pub struct Args {
    /// A directory that `publish` wrote courses to, or s3://BUCKET/FOLDER (which may be private), or a package that `encode`
    /// wrote.
    store: String,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Serve HTTPS: the certificate and its intermediates, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let store: Arc<dyn Store> = match args.store.contains("://") {
        true => Arc::new(Near::new(store::open(&args.store, Expect::Store, Via::new(ctx))?, Arc::new(SystemClock))),
        false => Arc::new(DirStore::open(Path::new(&args.store))?),
    };
    let site = Site::open(store).await?;
    let mut server = Server::bind(site, &args.listen).await?;
    if let (Some(certificates), Some(key)) = (&args.tls_cert, &args.tls_key) {
        server = server.with_tls(certificates, key)?;
    }
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
