//! The S3 store against the server of [`super::bench`]; and, through the environment, against a real one (`make test-s3`).

use super::bench::{Bench, Seen, Stranger, Wrong};
use super::live::Live;
use super::place::Access;
use super::*;
use crate::progress::Ctx;
use crate::store::Body;
use std::path::Path;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Bytes that do not repeat part by part.
fn film(path: &Path, bytes: usize) -> (Digest, u64) {
    let all: Vec<u8> = (0..bytes as u64).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    std::fs::write(path, &all).unwrap();
    (Digest::of(&all), bytes as u64)
}

async fn put_film(store: &S3Store, path: &Path, sha256: Digest, bytes: u64) -> Result<Meta> {
    store.put(&key("blobs/film.mp4"), Body::File { path, sha256, bytes }, Caching::Immutable, Precondition::None).await
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    let bench = Bench::new().await;
    super::super::contract::check(&bench.store()).await;
    assert_eq!(bench.store().conditions().await.unwrap(), Conditions::Honoured);
    assert!(bench.said.0.lock().unwrap().is_empty());
}

/// Another service's bucket, named in the environment: `tests/s3.sh` starts them.
#[tokio::test]
async fn a_bucket_of_a_real_service_keeps_the_contract() {
    let Ok(name) = std::env::var("RIVULET_TEST_S3") else { return };
    let store = S3Store::new(&format!("{name}/contract-{}", std::process::id()), Via::new(&Ctx::silent())).unwrap();
    super::super::contract::check(&store).await;
    eprintln!("{name}: conditions are {:?}", store.conditions().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    let (sha256, bytes) = film(&path, 12_000_000);
    put_film(&store, &path, sha256, bytes).await.unwrap();
    assert!(store.get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    for crate::store::Listed { key, .. } in store.list("").await.unwrap() {
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_that_ignores_conditions_is_found_out_and_still_keeps_the_contract() {
    let bench = Bench::new().await;
    bench.manners.ignores_conditions.store(true, Ordering::SeqCst);
    let store = bench.store();
    super::super::contract::check(&store).await;
    assert_eq!(store.conditions().await.unwrap(), Conditions::Ignored);
    let said = bench.said.0.lock().unwrap();
    assert!(said.len() == 1 && said[0].contains("conditional writes"), "{said:?}");
}

#[tokio::test]
async fn text_is_stored_small_and_comes_back_plain() {
    let bench = Bench::new().await;
    let store = bench.store();
    let text = "<p>bài giảng</p>".repeat(500);
    let page = key("sepsis/index.html");
    let put = store.put(&page, Body::Bytes(text.as_bytes()), Caching::Revalidate, Precondition::None).await.unwrap();
    assert_eq!((put.bytes, store.head(&page).await.unwrap()), (text.len() as u64, Some(put.clone())));
    assert_eq!(store.get(&page, None).await.unwrap(), text.as_bytes());
    assert_eq!(store.get(&page, Some(4..9)).await.unwrap(), &text.as_bytes()[4..9]);
    let listed = store.list("sepsis/").await.unwrap();
    assert!(listed[0].bytes < put.bytes / 20, "{listed:?}");
    let seen = bench.manners.puts.lock().unwrap()[0].clone();
    assert_eq!(
        seen,
        Seen {
            key: "courses/sepsis/index.html".into(),
            content_type: Some("text/html; charset=utf-8".into()),
            cache_control: Some("no-cache".into()),
            content_encoding: Some("gzip".into()),
            encryption: None,
            md5: true,
            sha256: true,
        }
    );
    // The same text again is the same object.
    let again = store.put(&page, Body::Bytes(text.as_bytes()), Caching::Revalidate, Precondition::None).await.unwrap();
    assert_eq!(again, put);
}

#[tokio::test]
async fn media_go_as_they_are_and_encryption_is_asked_for() {
    let bench = Bench::new().await;
    let store = bench.store_with("s3://lectures", bench.encrypting(), None);
    let voice = key("blobs/ab/a-opus.mp4");
    store.put(&voice, Body::Bytes(b"sound"), Caching::Immutable, Precondition::None).await.unwrap();
    let seen = bench.manners.puts.lock().unwrap()[0].clone();
    assert_eq!((seen.key.as_str(), seen.content_type.as_deref()), ("blobs/ab/a-opus.mp4", Some("audio/mp4")));
    assert_eq!(seen.cache_control.as_deref(), Some("public, max-age=31536000, immutable"));
    assert_eq!((seen.content_encoding, seen.encryption.as_deref()), (None, Some("AES256")));
}

#[tokio::test]
async fn a_service_without_checksums_is_sent_md5_and_it_is_said_once() {
    let bench = Bench::new().await;
    bench.manners.refuses_checksums.store(true, Ordering::SeqCst);
    let store = bench.store();
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 9_000_000);
    put_film(&store, &path, sha256, bytes).await.unwrap();
    store.put(&key("a"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    store.put(&key("b"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    assert!(store.get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    let said = bench.said.0.lock().unwrap();
    assert!(said.len() == 1 && said[0].contains("Content-MD5"), "{said:?}");
    assert!(bench.manners.puts.lock().unwrap().iter().all(|p| p.md5 && !p.sha256));
}

/// The process is gone after some parts; the next one asks and sends the others only.
#[tokio::test]
async fn a_large_object_goes_on_where_it_was_stopped() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 32_000_000);
    *bench.manners.budget.lock().unwrap() = Some(4);
    let stopped = put_film(&bench.one_by_one(), &path, sha256, bytes).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Denied);
    assert_eq!((bench.manners.parts.lock().unwrap().as_slice(), bench.uploads()), ([1, 2, 3, 4].as_slice(), 1));
    assert_eq!(bench.store().tidy().await.unwrap(), 0, "an upload that may go on is not taken away");
    *bench.manners.budget.lock().unwrap() = None;
    let store = bench.store();
    put_film(&store, &path, sha256, bytes).await.unwrap();
    let mut parts = bench.manners.parts.lock().unwrap().clone();
    parts.sort();
    assert_eq!(parts, [1, 2, 3, 4, 5, 6, 7], "each once");
    assert!(bench.said.0.lock().unwrap().iter().any(|s| s.contains("going on")));
    assert!(store.get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    assert_eq!((bench.uploads(), store.head(&key("blobs/film.mp4")).await.unwrap().unwrap().bytes), (0, bytes));
}

/// What progress is told from: parts that the service has, those of an earlier run included.
#[tokio::test]
async fn of_a_large_object_on_its_way_the_parts_that_are_there_are_told() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 32_000_000);
    *bench.manners.budget.lock().unwrap() = Some(4);
    let store = bench.one_by_one();
    assert!(put_film(&store, &path, sha256, bytes).await.is_err());
    let film = key("blobs/film.mp4");
    assert_eq!(store.acknowledged(&film).bytes, 0, "it is not on its way");
    *bench.manners.budget.lock().unwrap() = None;
    let (mut told, mut earlier) = (vec![0], 0);
    let watching = async {
        loop {
            let now = store.acknowledged(&film).bytes;
            earlier = earlier.max(store.acknowledged(&film).earlier);
            if told.last() != Some(&now) {
                told.push(now);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        put = put_film(&store, &path, sha256, bytes) => drop(put.unwrap()),
        () = watching => {}
    }
    assert!(told.len() > 2 && told[1] == 4 * (5 << 20) && earlier == told[1], "{told:?}, {earlier} earlier");
    assert!(told.is_sorted() && told.last().is_some_and(|n| *n <= bytes), "{told:?}");
    assert_eq!(store.acknowledged(&film).bytes, 0);
}

/// A link that does not get a part through, and a right that is taken away for an hour, are no fault of the upload.
#[tokio::test]
async fn what_was_acknowledged_outlives_a_run_that_fails_again() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 32_000_000);
    for (sent, times_out, kind) in [(2, false, Kind::Denied), (2, true, Kind::Unavailable), (1, false, Kind::Denied)] {
        bench.manners.times_out.store(times_out, Ordering::SeqCst);
        *bench.manners.budget.lock().unwrap() = Some(sent);
        let stopped = put_film(&bench.one_by_one(), &path, sha256, bytes).await.unwrap_err();
        assert_eq!(stopped.kind(), kind, "{}", stopped.report());
    }
    *bench.manners.budget.lock().unwrap() = None;
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    let mut parts = bench.manners.parts.lock().unwrap().clone();
    parts.sort();
    assert_eq!(parts, [1, 2, 3, 4, 5, 6, 7], "each once");
}

#[tokio::test]
async fn another_file_of_the_same_name_does_not_go_on_with_the_first_one_s_parts() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 16_000_000);
    *bench.manners.budget.lock().unwrap() = Some(1);
    assert!(put_film(&bench.one_by_one(), &path, sha256, bytes).await.is_err());
    *bench.manners.budget.lock().unwrap() = None;
    let (sha256, bytes) = film(&path, 15_999_999);
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    assert!(bench.store().get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    let left: Vec<_> = std::fs::read_dir(bench.dir.path().join("s3")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().contains("upload")), "the first upload is taken back: {left:?}");
}

/// An upload that the service has forgotten, and a journal whose object is there already.
#[tokio::test]
async fn what_the_journal_says_is_only_a_hint() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 16_000_000);
    *bench.manners.budget.lock().unwrap() = Some(2);
    assert!(put_film(&bench.one_by_one(), &path, sha256, bytes).await.is_err());
    *bench.manners.budget.lock().unwrap() = None;
    for entry in std::fs::read_dir(bench.dir.path().join("s3")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().contains(".part-1") {
            std::fs::write(entry.path(), b"cut").unwrap();
        }
    }
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    assert!(bench.store().get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    assert_eq!(bench.uploads(), 0);
}

#[tokio::test]
async fn a_large_file_that_is_not_what_it_was_is_not_sent() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (_, bytes) = film(&path, 9_000_000);
    let refused = put_film(&bench.store(), &path, Digest::of(b"other"), bytes).await.unwrap_err();
    assert_eq!((refused.kind(), bench.manners.parts.lock().unwrap().len()), (Kind::Corrupt, 0));
}

#[tokio::test]
async fn wrong_keys_and_buckets_are_told_apart() {
    let bench = Bench::new().await;
    for (access, name, words) in [
        (bench.access("nobody", "secret"), "s3://lectures", "does not know the access key"),
        (bench.access("us", "wrong"), "s3://lectures", "AWS_SECRET_ACCESS_KEY"),
        (bench.access("us", "secret"), "s3://not-there", "no bucket \"not-there\""),
    ] {
        let e = bench.store_with(name, access, None).list("").await.unwrap_err();
        assert!(e.report().contains(words), "{}", e.report());
    }
}

/// The first request of most commands is a HEAD, whose refusal has no body.
#[tokio::test]
async fn what_a_refused_head_does_not_say_is_asked_for() {
    let bench = Bench::new().await;
    let store = bench.store();
    for (status, code, words) in [
        (403, "InvalidAccessKeyId", "does not know the access key"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        (400, "ExpiredToken", "log in again"),
        (400, "AuthorizationHeaderMalformed", "AWS_REGION"),
        (301, "PermanentRedirect", "AWS_REGION"),
        (403, "AccessDenied", "s3:ListBucket"),
    ] {
        *bench.manners.refuses.lock().unwrap() = Some((status, code));
        let e = store.head(&key("courses/c/current.json")).await.unwrap_err();
        assert!(e.report().contains(words), "{code}: {}", e.report());
    }
}

#[tokio::test]
async fn an_authority_of_one_s_own_is_trusted_when_it_is_named_and_only_then() {
    let bench = Bench::secure().await;
    let trusting = Access { ca_bundle: Some(bench.dir.path().join("ca.pem")), ..bench.access("us", "secret") };
    let store = bench.store_with("s3://lectures", trusting, None);
    store.put(&key("a"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    assert_eq!(store.get(&key("a"), None).await.unwrap(), b"x");
    let e = bench.store_with("s3://lectures", bench.access("us", "secret"), None).list("").await.unwrap_err();
    assert!(e.kind() == Kind::Unavailable && e.report().contains("AWS_CA_BUNDLE"), "{}", e.report());
}

#[tokio::test]
async fn a_service_that_asks_for_time_gets_it() {
    let bench = Bench::new().await;
    bench.manners.slow_downs.store(1, Ordering::SeqCst);
    let store = bench.store();
    store.put(&key("a"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    assert_eq!(store.live.get().unwrap().lanes.count(), 2, "half as many at once as before");
}

/// Refused connections and names without address end in exit code 5, and say where.
#[tokio::test]
async fn what_cannot_be_reached_is_said_with_its_place() {
    let bench = Bench::new().await;
    for (endpoint, words) in [("http://127.0.0.1:1", "takes no connections"), ("http://no-such-host.invalid", "has no address")] {
        let access = Access { endpoint: Some(endpoint.into()), ..bench.access("us", "secret") };
        let ctx = Ctx::silent();
        let live = Live::new(Place::parse("s3://lectures").unwrap(), access, None, Arc::default(), bench.dir.path().into(), ctx).unwrap();
        let asked =
            errors::Asked { action: "s3:ListBucket", object: "s3://lectures/", bucket: "lectures", host: endpoint, region: "us-east-1" };
        let e = live.client.list_objects_v2().bucket("lectures").send().await.unwrap_err();
        let failure = errors::failure(&asked, e);
        assert_eq!((failure.error.kind(), failure.again), (Kind::Unavailable, Again::Soon));
        assert!(failure.error.report().contains(words), "{}", failure.error.report());
    }
}

/// The bucket's lists come in pages of two: everything is found, nobody else's upload is touched.
#[tokio::test]
async fn abandoned_uploads_are_found_on_every_page_and_only_ours_are_taken_back() {
    let bench = Bench::new().await;
    bench.manners.page.store(2, Ordering::SeqCst);
    let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 3600));
    let ours = |n: u32| {
        let digest = Digest::of(&n.to_be_bytes()).to_string();
        format!("courses/blobs/{}/{digest}.mp4", &digest[..2])
    };
    let of = |key: String, id: &str, begun: u32, parts: &[u32]| Stranger {
        key,
        id: id.into(),
        begun: now - day * begun,
        parts: parts.iter().map(|n| now - day * *n).collect(),
    };
    let mut all: Vec<Stranger> = (0..7).map(|n| of(ours(n), &format!("dead-{n}"), 9, &[9, 9, 8])).collect();
    // Two uploads of one object, one of them at work: its newest part is on the second page of its parts.
    all.push(of(ours(3), "alive", 30, &[30, 30, 29, 1]));
    all.push(of(ours(8), "young", 6, &[]));
    all.push(of("courses/blobs/zz/film.mp4".into(), "not ours", 90, &[]));
    all.push(of("other/blobs/ab/film.mp4".into(), "not of this store", 90, &[]));
    *bench.manners.strangers.lock().unwrap() = Some(all);
    assert_eq!(bench.store().tidy().await.unwrap(), 7);
    let mut left: Vec<String> = bench.manners.strangers.lock().unwrap().iter().flatten().map(|s| s.id.clone()).collect();
    left.sort();
    assert_eq!(left, ["alive", "not of this store", "not ours", "young"]);
    assert_eq!(bench.store().tidy().await.unwrap(), 0);
}

/// More objects and more parts than fit in one answer.
#[tokio::test]
async fn lists_go_on_where_an_answer_ends() {
    let bench = Bench::new().await;
    let store = bench.store();
    let names: Vec<String> = (0..7).map(|n| format!("l/{n}")).collect();
    for name in &names {
        store.put(&key(name), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    }
    bench.manners.page.store(3, Ordering::SeqCst);
    let listed: Vec<String> = store.list("").await.unwrap().into_iter().map(|l| l.key.to_string()).collect();
    assert_eq!(listed, names);
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 45_000_000);
    *bench.manners.budget.lock().unwrap() = Some(7);
    assert!(put_film(&bench.one_by_one(), &path, sha256, bytes).await.is_err());
    *bench.manners.budget.lock().unwrap() = None;
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    let mut parts = bench.manners.parts.lock().unwrap().clone();
    parts.sort();
    assert_eq!(parts, (1..=9).collect::<Vec<i32>>(), "each once: parts of all three pages were found");
}

/// Headers belong to the object, so in parts they are said when its upload begins.
#[tokio::test]
async fn a_large_object_has_the_same_headers_as_a_small_one() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 9_000_000);
    put_film(&bench.store_with("s3://lectures", bench.encrypting(), None), &path, sha256, bytes).await.unwrap();
    let seen = bench.manners.puts.lock().unwrap().clone();
    let expected = Seen {
        key: "blobs/film.mp4".into(),
        content_type: Some("video/mp4".into()),
        cache_control: Some("public, max-age=31536000, immutable".into()),
        content_encoding: None,
        encryption: Some("AES256".into()),
        md5: true,
        sha256: true,
    };
    assert_eq!(seen, [expected]);
}

/// An upload in two parts, whatever goes wrong at whichever of its requests: the same put again makes it right, with the bytes
/// that it should have and nothing left over.
#[tokio::test]
async fn any_fault_of_an_upload_in_parts_is_healed_by_putting_again() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, (8 << 20) + 1);
    let stored = bench.dir.path().join("s3/lectures/courses/blobs/film.mp4");
    bench.plan(None);
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    let requests = bench.plan(None);
    assert!(requests >= 5, "begun, two parts, put together, looked at: {requests}");
    for wrong in [Wrong::Fails, Wrong::Busy, Wrong::Cut, Wrong::AnswerLost, Wrong::AnswerCut, Wrong::Lies, Wrong::Dead] {
        for n in 0..requests {
            std::fs::remove_file(&stored).unwrap();
            bench.plan(Some((n, wrong)));
            let outcome = put_film(&bench.store(), &path, sha256, bytes).await;
            assert!(outcome.is_err() || stored.exists(), "{wrong:?} at request {n} went unnoticed");
            assert!(outcome.is_err() || wrong != Wrong::Dead, "nothing can be done over a dead link");
            bench.plan(None);
            put_film(&bench.store(), &path, sha256, bytes).await.unwrap_or_else(|e| panic!("{wrong:?} at {n}: {}", e.report()));
            assert!(Digest::of(&std::fs::read(&stored).unwrap()) == sha256 && bench.uploads() == 0, "{wrong:?} at request {n}");
        }
    }
}

/// A link that fails now and then is no reason to give up; how often it is tried again is `retry`'s own test.
#[tokio::test]
async fn a_connection_that_is_cut_is_made_again() {
    let bench = Bench::new().await;
    let store = bench.store();
    for wrong in [Wrong::Fails, Wrong::Busy, Wrong::Cut, Wrong::AnswerLost, Wrong::AnswerCut] {
        bench.plan(Some((0, wrong)));
        store.put(&key("a"), Body::Bytes(b"sound"), Caching::Immutable, Precondition::None).await.unwrap();
        bench.plan(Some((0, wrong)));
        assert_eq!(store.get(&key("a"), None).await.unwrap(), b"sound", "{wrong:?}");
        assert!(bench.plan(None) > 1, "{wrong:?} was met");
    }
}

/// `--uplink` reaches the sockets. Only the least that it takes can be asserted: a busy machine takes longer.
#[tokio::test]
async fn an_uplink_s_rate_is_kept() {
    let bench = Bench::new().await;
    let rate = crate::units::Bitrate::from_bps(800_000);
    let store = bench.store_with("s3://lectures", bench.access("us", "secret"), Some(rate));
    let began = std::time::Instant::now();
    store.put(&key("a.bin"), Body::Bytes(&[7; 100_000]), Caching::Immutable, Precondition::None).await.unwrap();
    // A second and a half percent of headers, less a bucket of a quarter of a second.
    assert!(began.elapsed() > Duration::from_millis(700), "{:?}", began.elapsed());
}
