//! Whatever goes wrong at whatever operation.

use super::*;

/// Two states of a course, with a floor first: nothing to a course of two lectures; and from there to another with one of
/// them anew and the other gone.
async fn prepare(studio: &Studio, step: usize, store: &MemStore) {
    studio.write("b1.mts", "B1");
    studio.course("Khoá một", &["a", "b"]);
    if step == 1 {
        studio.publish(store).await.unwrap();
        studio.write("b1.mts", "B1 anew");
        studio.course("Khoá hai", &["b"]);
    }
}

fn studio() -> Studio {
    let mut studio = Studio::new();
    studio.encoder.floors = vec!["a", "b"];
    studio
}

/// For every operation of a publish that makes, and of one that changes a course: whatever goes wrong there, a reader
/// never meets a name that leads nowhere, one who plays an earlier release plays on, and running again ends with the same
/// bytes as if nothing had happened.
#[tokio::test]
async fn any_fault_at_any_operation_is_healed_by_running_again() {
    let studio = studio();
    for (step, parallel) in [(0, 4), (1, 4), (0, 1), (1, 1)] {
        let undisturbed = MemStore::default().side_by_side(parallel);
        prepare(&studio, step, &undisturbed).await;
        let start = undisturbed.snapshot();
        let counting = FailNth::new(&undisturbed, None, &|| ());
        studio.publish(&counting).await.unwrap();
        let (operations, undisturbed) = (counting.count.into_inner(), published(&undisturbed));
        assert!(operations > 20, "{operations}");
        for n in 0..operations {
            let faults = [Planted::Once(n), Planted::AnswerLost(n), Planted::Killed(n), Planted::Lying(n)];
            // Several at once: each third operation goes wrong in one way, the next of them in the next.
            let chosen = |way: usize| parallel == 1 || n % 12 == 3 * way;
            for fault in faults.into_iter().enumerate().filter(|(way, _)| chosen(*way)).map(|(_, fault)| fault) {
                let store = copy_of(&start, &Arc::default()).await.side_by_side(parallel);
                let playing = if step == 1 { Some(current(&store).await) } else { None };
                let look = || {
                    read_everything(&store);
                    playing.iter().for_each(|release| keeps_playing(&store, release));
                };
                let faulty = FailNth::new(&store, Some(fault), &look);
                let outcome = studio.publish(&faulty).await;
                // A lie about an intent's end or a page is found by the next run, one about a blob at once; what is done ahead of its
                // time is done again in its time.
                let liar = matches!(fault, Planted::Lying(_));
                let healed = published(&store) == undisturbed;
                assert!(outcome.is_err() || liar || healed, "{fault:?} of {operations} went unnoticed");
                studio.publish(&FailNth::new(&store, None, &look)).await.unwrap();
                assert!(published(&store) == undisturbed, "{fault:?} in step {step}, {parallel} at once, left a trace");
            }
        }
    }
}

/// Lets nobody write the scripts of pages.
struct NoScripts(MemStore);

impl Store for NoScripts {
    fn describe(&self) -> String {
        "without rights".into()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<std::ops::Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        self.0.get(key, range)
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<crate::store::Meta>> {
        self.0.head(key)
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, crate::store::Meta> {
        match key.as_str().starts_with("app-") {
            true => Box::pin(async { Err(Error::new(Kind::Denied, "not allowed")) }),
            false => self.0.put(key, body, caching, when),
        }
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<crate::store::Listed>> {
        self.0.list(prefix)
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        self.0.delete(key)
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        self.0.tidy()
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_told_before_anything_is_encoded() {
    let (studio, store) = (studio(), NoScripts(MemStore::default()));
    assert_eq!(studio.publish(&store).await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(studio.encoder.asked(), [""; 0]);
    assert!(store.0.snapshot().keys().all(|key| !key.as_str().starts_with("intents/")), "he has gone");
}

/// Fifty publishers who vanish in the middle of an operation, some of them twice.
#[tokio::test]
async fn a_publisher_who_vanishes_leaves_nothing_that_the_next_cannot_finish() {
    let studio = studio();
    let undisturbed = MemStore::default();
    prepare(&studio, 1, &undisturbed).await;
    let start = undisturbed.snapshot();
    let counting = FailNth::new(&undisturbed, None, &|| ());
    studio.publish(&counting).await.unwrap();
    let operations = counting.count.into_inner();
    for seed in 0..50 {
        let mut dice = Dice(seed + 1);
        let store = copy_of(&start, &Arc::default()).await;
        let look = || read_everything(&store);
        for _ in 0..1 + dice.below(2) {
            let faulty = FailNth::new(&store, Some(Planted::Vanishes(dice.below(operations))), &look);
            tokio::select! {
                biased;
                () = faulty.vanished.notified() => {}
                done = studio.publish(&faulty) => drop(done.unwrap()),
            }
        }
        studio.publish(&FailNth::new(&store, None, &look)).await.unwrap();
        assert!(published(&store) == published(&undisturbed), "seed {seed} left a trace");
    }
}

/// Like the first, for going back: after any fault `check --repair` makes the store agree with itself.
#[tokio::test]
async fn a_rollback_cut_short_is_put_right_by_repair() {
    let studio = Studio::new();
    let forward = MemStore::default();
    studio.publish(&forward).await.unwrap();
    studio.course("Khoá hai", &["b"]);
    studio.publish(&forward).await.unwrap();
    let start = forward.snapshot();
    let back = copy_of(&start, &Arc::default()).await;
    let counting = FailNth::new(&back, None, &|| ());
    rollback(&counting, "khoa", None, &Ctx::silent()).await.unwrap();
    assert_eq!(current(&back).await.release, 1);
    for n in 0..counting.count.into_inner() {
        for fault in [Planted::Once(n), Planted::AnswerLost(n), Planted::Killed(n), Planted::Lying(n)] {
            let store = copy_of(&start, &Arc::default()).await;
            let playing = current(&store).await;
            let look = || {
                read_everything(&store);
                keeps_playing(&store, &playing);
            };
            let outcome = rollback(&FailNth::new(&store, Some(fault), &look), "khoa", None, &Ctx::silent()).await;
            assert!(outcome.is_err() || matches!(fault, Planted::Lying(_)), "{fault:?} went unnoticed");
            verify_store(&store, true, &Ctx::silent()).await.unwrap();
            let now = published(&store);
            assert!(now == published(&forward) || now == published(&back), "{fault:?} left something between");
        }
    }
}
