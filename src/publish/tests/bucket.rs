//! A course in a bucket behind HTTP, and all that can go wrong between: what the tests in memory say of operations holds for the
//! requests that they become.

use super::*;
use crate::store::s3::bench::{Bench, Wrong};
use std::collections::BTreeSet;

/// The bucket's objects as a browser gets them: text unpacked.
async fn mirror(bench: &Bench) -> MemStore {
    mirror_of(bench.folder()).await
}

/// Of one moment: what comes or goes while it looks makes it look again.
async fn mirror_of(root: PathBuf) -> MemStore {
    'again: loop {
        let (store, there) = (MemStore::default(), files(root.clone()));
        for path in &there {
            let key = Key::new(path.strip_prefix(&root).unwrap().to_str().unwrap()).unwrap();
            let Ok(mut bytes) = std::fs::read(path) else { continue 'again };
            if key.is_text() {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
                bytes = plain;
            }
            store.put(&key, Body::Bytes(&bytes), Caching::Revalidate, Precondition::None).await.unwrap();
        }
        if files(root.clone()) == there {
            return store;
        }
    }
}

/// From now on a reader follows every name after every request that may have changed the bucket.
fn read_all_through(bench: &Bench) {
    let root = bench.folder();
    let look = move || -> futures_util::future::BoxFuture<'static, ()> {
        let root = root.clone();
        Box::pin(async move { read_everything(&mirror_of(root).await) })
    };
    *bench.manners.look.lock().unwrap() = Some(Arc::new(look));
}

/// What the reader met that led nowhere: nothing.
fn read_well(bench: &Bench, doing: &str) {
    let met = std::mem::take(&mut *bench.manners.met.lock().unwrap());
    assert_eq!(met, [""; 0], "{doing}");
    assert!(bench.manners.look.lock().unwrap().take().is_some());
}

/// Objects that only one of two buckets has, or that have other bytes there. Where the service lied about deleting the scratch
/// object by which it was asked about conditions, that one does not count: nobody reads it, and `prune` takes it.
fn differing<T: PartialEq>(one: &BTreeMap<Key, T>, other: &BTreeMap<Key, T>, wrong: Wrong) -> Vec<String> {
    let keys: BTreeSet<&Key> = one.keys().chain(other.keys()).collect();
    let counts = |key: &Key| wrong != Wrong::Lies || !key.as_str().starts_with("blobs/probe/");
    keys.into_iter().filter(|key| counts(key) && one.get(key) != other.get(key)).map(|key| key.to_string()).collect()
}

const WAYS: [Wrong; 7] = [Wrong::Fails, Wrong::Busy, Wrong::Cut, Wrong::AnswerLost, Wrong::AnswerCut, Wrong::Lies, Wrong::Dead];

/// The ways in which request `n` goes wrong, each with whether a reader looks after every request of the run: one, looked through,
/// the next in the next; with RIVULET_FAULTS=all (`make test-s3`) all of them, of which the reader, who takes longer than the rest,
/// looks through that one.
fn ways_at(n: usize) -> impl Iterator<Item = (Wrong, bool)> {
    let all = std::env::var("RIVULET_FAULTS").is_ok_and(|v| v == "all");
    WAYS.into_iter().enumerate().map(move |(i, w)| (w, i == n % WAYS.len())).filter(move |(_, looks)| all || *looks)
}

/// For every request that publishing a course to a bucket, or changing it, takes: a 500, a 503, a connection cut before, after
/// or within the answer, a service that lies, and a link that stays dead. A reader looks after every request, and meets no name
/// that leads nowhere; and running again ends with the same bucket as if nothing had happened.
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
        read_all_through(&bench);
        studio.publish(&bench.store()).await.unwrap();
        let requests = bench.plan(None);
        assert!(requests > 40, "{requests}");
        read_well(&bench, "undisturbed");
        let undisturbed = published(&mirror(&bench).await);
        for n in 0..requests {
            for (wrong, looks) in ways_at(n + 3 * step) {
                let bench = Bench::new().await;
                prepare(&bench).await;
                if looks {
                    read_all_through(&bench);
                }
                bench.plan(Some((n, wrong)));
                let outcome = studio.publish(&bench.store()).await;
                assert!(outcome.is_err() || wrong != Wrong::Dead, "step {step}: a dead link at {n} of {requests} went unnoticed");
                bench.plan(None);
                studio.publish(&bench.store()).await.unwrap_or_else(|e| panic!("{wrong:?} at {n}: {}", e.report()));
                if looks {
                    read_well(&bench, &format!("{wrong:?} at request {n} of step {step}"));
                }
                let trace = differing(&published(&mirror(&bench).await), &undisturbed, wrong);
                assert_eq!(trace, [""; 0], "{wrong:?} at request {n} of {requests} in step {step}");
            }
        }
    }
}

/// What is done to a course that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Rollback,
    Withdraw,
    Prune,
    Repair,
}
const VERBS: [Verb; 4] = [Verb::Rollback, Verb::Withdraw, Verb::Prune, Verb::Repair];

impl Verb {
    async fn run(self, store: &dyn Store) -> Result<()> {
        let ctx = Ctx::silent();
        match self {
            Verb::Rollback => rollback(store, "khoa", Some(1), &ctx).await.map(drop),
            Verb::Withdraw => withdraw(store, "khoa", "a", &ctx).await.map(drop),
            Verb::Prune => prune(store, 1, false, &ctx).await.map(drop),
            Verb::Repair => verify_store(store, true, &ctx).await.map(|report| assert!(report.sound())),
        }
    }
}

/// Three releases, the first two of them with a film of "a" that the last has no more; all of it sent thirty days ago.
async fn thirty_days_old(studio: &Studio) -> Bench {
    let bench = Bench::new().await;
    for (text, title) in [("A1", "Khoá một"), ("A2", "Khoá hai"), ("A3", "Khoá ba")] {
        studio.write("a.mp4", text);
        studio.course(title, &["a", "b"]);
        studio.publish(&bench.store()).await.unwrap();
    }
    age(&bench, 30 * DAY);
    bench
}

/// Before a repair a page is gone and another is nonsense.
async fn before(verb: Verb, old: &Bench) -> Bench {
    let bench = twin(old).await;
    if verb == Verb::Repair {
        let (store, page) = (bench.store(), |name: &str| Key::new(format!("khoa/{name}.html")).unwrap());
        store.delete(&page("a")).await.unwrap();
        store.put(&page("index"), Body::Bytes(b"nonsense"), Caching::Revalidate, Precondition::None).await.unwrap();
    }
    bench.plan(None);
    bench
}

/// All files under a folder.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let (mut all, mut folders) = (Vec::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut all }.push(path);
        }
    }
    all.sort();
    all
}

fn sent_at(file: &Path) -> std::time::SystemTime {
    file.metadata().unwrap().modified().unwrap()
}

fn date(file: &Path, at: std::time::SystemTime) {
    std::fs::File::options().write(true).open(file).unwrap().set_modified(at).unwrap();
}

/// As if all of the bucket had been sent so much earlier.
fn age(bench: &Bench, by: Duration) {
    files(bench.folder()).iter().for_each(|file| date(file, sent_at(file) - by));
}

/// Another service whose bucket is as this one's.
async fn twin(of: &Bench) -> Bench {
    let (bench, root) = (Bench::new().await, of.dir.path().join("s3"));
    for file in files(root.clone()) {
        let copy = bench.dir.path().join("s3").join(file.strip_prefix(&root).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(&file, &copy).unwrap();
        date(&copy, sent_at(&file));
    }
    bench
}

/// Going back, withdrawing, pruning, repairing and comparing end in a bucket as in memory, and a reader who looks after every
/// request follows every name.
#[tokio::test]
async fn what_is_done_to_a_bucket_is_what_is_done_in_memory() {
    let old = thirty_days_old(&Studio::new()).await;
    for verb in VERBS {
        let bench = before(verb, &old).await;
        let (clock, start) = (Arc::new(TestClock::default()), mirror(&bench).await);
        let store = copy_of(&start.snapshot(), &clock).await;
        clock.advance(30 * DAY);
        verb.run(&store).await.unwrap();
        if verb != Verb::Repair {
            read_all_through(&bench);
        }
        verb.run(&bench.store()).await.unwrap();
        let after = mirror(&bench).await;
        read_everything(&after);
        let bytes = |store: &MemStore| published(store).into_iter().map(|(key, (bytes, _))| (key, bytes)).collect::<BTreeMap<_, _>>();
        assert!(bytes(&after) == bytes(&store), "{verb:?}");
        assert!(bytes(&after) != bytes(&start), "{verb:?} did nothing");
        if verb != Verb::Repair {
            read_well(&bench, &format!("{verb:?}"));
        }
        assert_eq!(verify_store(&bench.store(), false, &Ctx::silent()).await.unwrap().faults, []);
    }
    let (there, here) = (old.store(), mirror(&old).await);
    assert_eq!(compare(&there, "khoa", Some(1)).await.unwrap(), compare(&here, "khoa", Some(1)).await.unwrap());
    assert_eq!(releases(&there, "khoa").await.unwrap().len(), 3);
}

/// As for publishing, of every request of the other verbs. A lie about a page that going back writes is found by repair.
#[tokio::test]
#[ignore = "takes minutes; `make test-s3` runs it"]
async fn any_fault_of_any_request_of_the_other_verbs_is_healed_by_running_again() {
    let old = thirty_days_old(&Studio::new()).await;
    for verb in VERBS {
        let bench = before(verb, &old).await;
        verb.run(&bench.store()).await.unwrap();
        let (requests, undisturbed) = (bench.plan(None), published(&mirror(&bench).await));
        for n in 0..requests {
            for (wrong, looks) in ways_at(n) {
                // What a repair finds is no sight for readers.
                let looks = looks && verb != Verb::Repair;
                let bench = before(verb, &old).await;
                if looks {
                    read_all_through(&bench);
                }
                bench.plan(Some((n, wrong)));
                let outcome = verb.run(&bench.store()).await;
                assert!(outcome.is_err() || wrong != Wrong::Dead, "{verb:?}: a dead link at {n} of {requests} went unnoticed");
                bench.plan(None);
                // Of who deletes and does not answer one hears no more after a quarter of an hour.
                age(&bench, DAY);
                verb.run(&bench.store()).await.unwrap_or_else(|e| panic!("{verb:?}, {wrong:?} at {n}: {}", e.report()));
                if (verb, wrong) == (Verb::Rollback, Wrong::Lies) {
                    Verb::Repair.run(&bench.store()).await.unwrap();
                }
                if looks {
                    read_well(&bench, &format!("{verb:?}, {wrong:?} at request {n}"));
                }
                let trace = differing(&published(&mirror(&bench).await), &undisturbed, wrong);
                assert_eq!(trace, [""; 0], "{wrong:?} at request {n} of {requests} of {verb:?}");
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
    // By the true clock: what keeps the two apart is that the lock waits longer than a write takes.
    let (ctx, options) = (Ctx::silent(), Options { profile: "p".into(), ..Options::default() });
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
