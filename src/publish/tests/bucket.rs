//! A course in a bucket behind HTTP, and all that can go wrong between: what the tests in memory say of operations holds for the
//! requests that they become.

use super::*;
use crate::store::s3::bench::{Bench, Wrong};

/// The bucket's objects as a browser gets them: text unpacked.
async fn mirror(bench: &Bench) -> MemStore {
    let (root, store) = (bench.folder(), MemStore::default());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = Key::new(path.strip_prefix(&root).unwrap().to_str().unwrap()).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            if key.is_text() {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
                bytes = plain;
            }
            store.put(&key, Body::Bytes(&bytes), Caching::Revalidate, Precondition::None).await.unwrap();
        }
    }
    store
}

/// For every request that publishing a course to a bucket, or changing it, takes: a 500, a 503, a connection cut before, after
/// or within the answer, a service that lies, and a link that stays dead. No reader meets a name that leads nowhere, and running
/// again ends with the same bucket as if nothing had happened. Each request goes wrong in one way, the next in the next; with
/// RIVULET_FAULTS=all (`make test-s3`) in every way.
#[tokio::test]
#[ignore = "takes minutes; `make test-s3` runs it"]
async fn any_fault_of_any_request_is_healed_by_running_again() {
    let mut studio = Studio::new();
    studio.encoder.floors = vec!["a"];
    for step in [0, 1] {
        let prepare = async |bench: &Bench| {
            studio.write("b1.mts", "B1");
            studio.course("Khoá một", &["a", "b"]);
            if step == 1 {
                studio.publish(&bench.store()).await.unwrap();
                studio.write("b1.mts", "B1 anew");
                studio.course("Khoá hai", &["b"]);
            }
            bench.plan(None);
        };
        let bench = Bench::new().await;
        prepare(&bench).await;
        studio.publish(&bench.store()).await.unwrap();
        let requests = bench.plan(None);
        assert!(requests > 40, "{requests}");
        let undisturbed = published(&mirror(&bench).await);
        let ways = [Wrong::Fails, Wrong::Busy, Wrong::Cut, Wrong::AnswerLost, Wrong::AnswerCut, Wrong::Lies, Wrong::Dead];
        let all = std::env::var("RIVULET_FAULTS").is_ok_and(|v| v == "all");
        for n in 0..requests {
            for wrong in ways.iter().copied().filter(|w| all || *w == ways[(n + 3 * step) % ways.len()]) {
                let bench = Bench::new().await;
                prepare(&bench).await;
                bench.plan(Some((n, wrong)));
                let outcome = studio.publish(&bench.store()).await;
                read_everything(&mirror(&bench).await);
                assert!(outcome.is_err() || wrong != Wrong::Dead, "step {step}: a dead link at {n} of {requests} went unnoticed");
                bench.plan(None);
                studio.publish(&bench.store()).await.unwrap_or_else(|e| panic!("{wrong:?} at {n}: {}", e.report()));
                let healed = mirror(&bench).await;
                read_everything(&healed);
                assert!(published(&healed) == undisturbed, "{wrong:?} at request {n} of {requests} left a trace in step {step}");
            }
        }
    }
}

/// What re-publishing costs on the wire, requests and headers counted, and what a title does, beside the two lectures of ten minutes
/// that 20 MB are.
#[tokio::test]
async fn an_unchanged_course_costs_a_bucket_next_to_nothing() {
    let (bench, studio) = (Bench::new().await, Studio::new());
    studio.write("bài.pdf", &"p".repeat(20_000_000));
    let cost = async || {
        let store = bench.store();
        studio.publish(&store).await.unwrap();
        store.bytes_sent().unwrap()
    };
    let whole = cost().await;
    assert!(whole > 20_000_000, "{whole}");
    let unchanged = cost().await;
    assert!(unchanged < 20_000, "{unchanged}");
    studio.course("Khoá đúng", &["a", "b"]);
    let title = cost().await;
    assert!(title * 100 < whole, "{title} of {whole}");
}

/// Two authors of one course, and a service that overwrites whatever the condition says: a lock keeps them apart.
#[tokio::test]
async fn of_two_authors_at_a_service_without_conditions_one_wins_whole() {
    let bench = Bench::new().await;
    bench.manners.ignores_conditions.store(true, std::sync::atomic::Ordering::SeqCst);
    let (one, two) = (Studio::new(), Studio::new());
    two.course("Khoá khác", &["b"]);
    let (first, second) = (bench.store(), bench.store());
    let clock = Arc::new(TestClock::default());
    let (ctx, options) = (at(&clock), Options { profile: "p".into(), ..Options::default() });
    let (a, b) = tokio::join!(one.publish_as(&first, &options, &ctx), two.publish_as(&second, &options, &ctx));
    let told: Vec<Kind> = [&a, &b].into_iter().filter_map(|o| o.as_ref().err().map(|e| e.kind())).collect();
    assert_eq!(told, [Kind::Conflict], "{:?} {:?}", a.as_ref().err(), b.as_ref().err());
    let now = mirror(&bench).await;
    read_everything(&now);
    let title = current(&now).await.title.in_language("vi").to_string();
    assert_eq!(title, if a.is_ok() { "Khoá một" } else { "Khoá khác" });
    // Who was told loses nothing: the same command again goes on top of the winner's release.
    let (studio, store) = if a.is_ok() { (&two, &second) } else { (&one, &first) };
    studio.publish_as(store, &options, &ctx).await.unwrap();
    assert_eq!(current(&mirror(&bench).await).await.release, 2);
}
