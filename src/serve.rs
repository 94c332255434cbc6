//! `rivulet serve`: a store, or one package directory, over HTTP/1.1 for learners near by and for looking at what was made.
//!
//! The store's keys are the URLs; nothing is rendered on the way, since the pages lie in the store. A bare package has
//! no pages, so one player page is made for it when the server starts. `request` decides what is asked for, `kind` knows
//! what a name means, `reply` answers; `near` keeps what a far store gave; `tls` is HTTPS; here are the site, the listener and the stop.

mod kind;
mod near;
mod reply;
mod request;
mod tls;

pub use near::Near;
pub use tls::RECORD_BYTES;

use crate::error::{Error, Kind, Result, ResultExt};
use crate::package::{Package, progressive};
use crate::pages::{self, FileView, LectureView, Page, media};
use crate::progress::Ctx;
use crate::store::{Key, Store};
use axum::serve::ListenerExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long running downloads may go on after the user asked to stop. Longer and Ctrl-C looks dead; a player asks again.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What is served: the objects of a store, and pages made at start that lie over them.
pub struct Site {
    store: Arc<dyn Store>,
    made: BTreeMap<String, Page>,
}

impl Site {
    /// A store of courses, or a package directory (`master.m3u8` and no `courses/`). Anything else is refused: serving a
    /// directory that happens to be named would show its files to the network.
    pub async fn open(store: Arc<dyn Store>) -> Result<Site> {
        if !store.list("courses/").await?.is_empty() {
            return Ok(Site { store, made: BTreeMap::new() });
        }
        if store.head(&Key::new("master.m3u8")?).await?.is_none() {
            let hint = "give the STORE of `rivulet publish --to STORE`, or the DIR of `rivulet encode -o DIR`";
            return Err(Error::usage(format!("{} holds neither courses nor a package", store.describe())).hint(hint));
        }
        let view = package_view(store.as_ref()).await?;
        let made = pages::package_pages(&view).into_iter().map(|p| (p.key.clone(), p)).collect();
        Ok(Site { store, made })
    }
}

/// One package as a lecture. Other tools' packages have no `package.json`: they play, without sizes.
async fn package_view(store: &dyn Store) -> Result<LectureView> {
    let file = Key::new("package.json")?;
    let mut view = LectureView {
        id: "index".into(),
        title: store.describe().rsplit('/').find(|part| !part.is_empty()).unwrap_or("package").to_string(),
        presenter: None,
        duration_s: 0.0,
        master_uri: "master.m3u8".into(),
        ways: Vec::new(),
        whole: None,
        files: Vec::new(),
        prerequisites: Vec::new(),
        poster: None,
        media: Default::default(),
        search: None,
    };
    if store.head(&file).await?.is_some() {
        let bytes = store.get(&file, None).await?;
        let package: Package =
            serde_json::from_slice(&bytes).kind(Kind::Corrupt, || format!("cannot read package.json of {}", store.describe()))?;
        let start = match media::head_of(&package) {
            Some((voice, end)) => {
                let key = Key::new(format!("a-{}.mp4", voice.name))?;
                match store.head(&key).await? {
                    Some(there) => store.get(&key, Some(0..end.min(there.bytes))).await?,
                    None => Vec::new(),
                }
            }
            None => Vec::new(),
        };
        let own = |name: &str| (package.files.contains_key(name) || name == "package.json").then(|| name.to_string());
        view.media = media::of_package(&package, &start, &own);
        view.ways = pages::ways_of(&package);
        view.duration_s = package.duration_s;
        view.whole = package.files.get(progressive::NAME).map(|f| FileView {
            title: format!("{}.mp4", package.title),
            uri: progressive::NAME.into(),
            bytes: f.bytes,
        });
        view.title = package.title;
    }
    Ok(view)
}

/// A site on a bound address, ready to run.
pub struct Server {
    listener: tokio::net::TcpListener,
    url: String,
    site: Arc<Site>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    /// Binds `listen` (`HOST:PORT`; port 0 takes a free one).
    pub async fn bind(site: Site, listen: &str) -> Result<Server> {
        let bound = tokio::net::TcpListener::bind(listen).await;
        let listener = bound.map_err(|e| {
            let (kind, hint) = match e.kind() {
                std::io::ErrorKind::AddrInUse => (Kind::Conflict, "another program has this port; --listen 127.0.0.1:0 takes a free one"),
                std::io::ErrorKind::PermissionDenied => (Kind::Denied, "ports below 1024 are for the administrator; take 8080"),
                _ => (Kind::Usage, "--listen takes HOST:PORT, for example 127.0.0.1:8080, or 0.0.0.0:8080 for other machines too"),
            };
            Error::new(kind, format!("cannot listen on {listen}")).caused_by(e).hint(hint)
        })?;
        let url = format!("http://{}/", listener.local_addr().doing(|| format!("cannot listen on {listen}"))?);
        Ok(Server { listener, url, site: Arc::new(site), tls: None })
    }

    /// Speaks HTTPS with this certificate chain and key, PEM files both.
    pub fn with_tls(mut self, certificates: &std::path::Path, key: &std::path::Path) -> Result<Server> {
        self.tls = Some(tls::load(certificates, key)?);
        self.url = self.url.replacen("http:", "https:", 1);
        Ok(self)
    }

    /// Where the site is, with the real port.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `ctx.cancel`, then lets running downloads end for a few seconds.
    pub async fn run(self, ctx: &Ctx) -> Result<()> {
        let (site, talk) = (self.site, ctx.clone());
        let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let (site, talk) = (site.clone(), talk.clone());
            async move { reply::reply(&site, &talk, request).await }
        });
        let stop = ctx.cancel.clone().cancelled_owned();
        let server: std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> = match self.tls {
            Some(config) => {
                Box::pin(axum::serve(tls::TlsListener::new(self.listener, config), router).with_graceful_shutdown(stop).into_future())
            }
            None => {
                // Without it a small answer waits for the client's delayed acknowledgement.
                let listener = self.listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
                Box::pin(axum::serve(listener, router).with_graceful_shutdown(stop).into_future())
            }
        };
        let too_late = async {
            ctx.cancel.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            ended = server => ended.doing(|| format!("the server on {} ended", self.url)),
            () = too_late => Ok(()),
        }
    }
}
