//! What a change costs on the uplink: bytes that are put, whatever they are, intents too; text as gzip, as buckets get it.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes of all puts.
struct Counting<'a> {
    inner: &'a MemStore,
    put: AtomicU64,
}

impl Store for Counting<'_> {
    fn describe(&self) -> String {
        "counted".into()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<std::ops::Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        self.inner.get(key, range)
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<crate::store::Meta>> {
        self.inner.head(key)
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, crate::store::Meta> {
        let bytes = match body {
            Body::Bytes(bytes) if key.is_text() => gzip(bytes),
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { bytes, .. } => bytes,
        };
        self.put.fetch_add(bytes, Ordering::SeqCst);
        self.inner.put(key, body, caching, when)
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<crate::store::Listed>> {
        self.inner.list(prefix)
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        self.inner.delete(key)
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        self.inner.tidy()
    }
}

fn gzip(text: &[u8]) -> u64 {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap().len() as u64
}

/// A course of two lectures of 4 MB in all: two minutes of a real one. What a title costs beside it only gets less.
#[tokio::test]
async fn nothing_changed_costs_nothing_and_a_title_less_than_a_hundredth() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.write("bài.pdf", &"p".repeat(4_000_000));
    let cost = async || {
        let counting = Counting { inner: &store, put: AtomicU64::new(0) };
        studio.publish(&counting).await.unwrap();
        counting.put.into_inner()
    };
    let whole = cost().await;
    assert!(whole > 4_000_000);
    assert_eq!(cost().await, 0, "the bar is 20 kB");
    studio.course("Khoá đúng", &["a", "b"]);
    let title = cost().await;
    assert!(title > 0 && title * 100 < whole, "{title} of {whole}");
}

/// The time at a rate is that of the bytes, and of a kilobyte for each object's headers.
#[tokio::test]
async fn a_forecast_tells_the_time() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    studio.course("Khoá đúng", &["a", "b"]);
    let options = Options { profile: "p".into(), uplink: Some(crate::units::Bitrate::from_bps(80_000)), ..Options::default() };
    let would = forecast(&studio.file(), &store, &studio.encoder, &options, &Ctx::silent()).await.unwrap();
    assert_eq!(would.uplink_s, Some((would.bytes + 1_000 * would.objects) as f64 / 10_000.0));
}
