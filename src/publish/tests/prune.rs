//! What may go, and what must not.

use super::rig::FakeEncoder;
use super::*;

/// Five releases of "a" with other bytes each; then much time.
async fn aged() -> (Studio, Arc<TestClock>, MemStore) {
    let (studio, clock) = (Studio::new(), Arc::new(TestClock::default()));
    let store = MemStore::with_clock(clock.clone());
    for i in 1..=5 {
        studio.write("a.mp4", &format!("A{i}"));
        studio.publish_as(&store, &Options { profile: "p".into(), ..Options::default() }, &at(&clock)).await.unwrap();
    }
    clock.advance(30 * DAY);
    (studio, clock, store)
}

async fn film(store: &MemStore, n: u64) -> Key {
    state::release(store, "khoa", n).await.unwrap().0.lectures[0].objects["v-720p.mp4"].key().unwrap()
}

#[tokio::test]
async fn what_no_kept_release_names_goes_and_nothing_else() {
    let (studio, clock, store) = aged().await;
    let films = [film(&store, 1).await, film(&store, 2).await, film(&store, 3).await, film(&store, 4).await, film(&store, 5).await];
    rollback(&store, "khoa", Some(2), &at(&clock)).await.unwrap();
    let before = store.snapshot();
    let would = prune(&store, 1, true, &at(&clock)).await.unwrap();
    assert_eq!(store.snapshot(), before, "a dry run does nothing");
    let look = || read_everything(&store);
    let done = prune(&FailNth::new(&store, None, &look), 1, false, &at(&clock)).await.unwrap();
    assert_eq!(Pruned { dry_run: true, ..done.clone() }, would, "and tells what then happens");
    // The newest, and the one that learners see.
    assert_eq!(done.releases["khoa"], [1, 3, 4]);
    let there = store.snapshot();
    assert_eq!(films.map(|f| there.contains_key(&f)), [false, true, false, false, true]);
    assert_eq!(done.objects as usize, before.len() - there.len() - 3);
    assert_eq!(there.keys().filter(|k| k.as_str().starts_with("intents/")).count(), 0);
    assert_eq!(prune(&store, 1, false, &at(&clock)).await.unwrap().objects, 0);
    assert_eq!(verify_store(&store, false, &at(&clock)).await.unwrap().faults, []);
    let back = rollback(&store, "khoa", None, &at(&clock)).await.unwrap_err();
    assert!(back.what().contains("was pruned"), "{}", back.report());
    assert_eq!(prune(&store, 0, false, &at(&clock)).await.unwrap_err().kind(), Kind::Usage);
    drop(studio);
}

/// Of what was sent in the last 7 days nothing goes, whoever names it: its release may be on its way.
#[tokio::test]
async fn the_young_stay() {
    let (_studio, clock, store) = aged().await;
    let put = async |name: &[u8]| {
        let key = Key::new(crate::manifest::blob_name(&Digest::of(name), "x.mp4")).unwrap();
        store.put(&key, Body::Bytes(name), Caching::Immutable, Precondition::None).await.unwrap();
        key
    };
    let first = put(b"one").await;
    clock.advance(6 * DAY);
    let second = put(b"two").await;
    assert_eq!(prune(&store, 9, false, &at(&clock)).await.unwrap().young_objects, 2);
    clock.advance(DAY);
    let done = prune(&store, 9, false, &at(&clock)).await.unwrap();
    assert_eq!((done.objects, done.young_objects), (1, 1));
    let there = store.snapshot();
    assert!(!there.contains_key(&first) && there.contains_key(&second));
}

/// The store's clock counts, not that of a studio whose battery is dead.
#[tokio::test]
async fn a_wrong_clock_in_the_studio_makes_nothing_old() {
    let (clock, wrong) = (Arc::new(TestClock::default()), Arc::new(TestClock::default()));
    let (studio, store) = (Studio::new(), MemStore::with_clock(clock.clone()));
    wrong.advance(10_000 * DAY);
    for text in ["A1", "A2"] {
        studio.write("a.mp4", text);
        studio.publish_as(&store, &Options { profile: "p".into(), ..Options::default() }, &at(&wrong)).await.unwrap();
    }
    let done = prune(&store, 1, false, &at(&wrong)).await.unwrap();
    assert!(done.objects == 0 && done.young_objects > 0, "{done:?}");
}

/// A publisher who was killed is believed for 7 days, and not once another has published over the release that he built on.
#[tokio::test]
async fn an_intent_protects_what_it_names_while_it_can_come_true() {
    let (studio, clock, store) = aged().await;
    let old = film(&store, 1).await;
    let purpose = async || {
        let release = state::release(&store, "khoa", 1).await.unwrap().0;
        intent::Purpose::publish(&release, Head::of(&store, "khoa").await.unwrap().version(), None)
    };
    let ctx = at(&clock);
    let held = intent::Held::put(&store, purpose().await, &ctx).await.unwrap();
    prune(&store, 1, false, &ctx).await.unwrap();
    assert!(store.snapshot().contains_key(&old));
    studio.course("Khoá hai", &["a", "b"]);
    studio.publish(&store).await.unwrap();
    prune(&store, 2, false, &ctx).await.unwrap();
    assert!(!store.snapshot().contains_key(&old), "the flip of that one would fail");
    drop(held);
    // One that goes stale, with another's old film.
    let (_studio, clock, store) = aged().await;
    let ctx = at(&clock);
    let release = state::release(&store, "khoa", 1).await.unwrap().0;
    let version = Head::of(&store, "khoa").await.unwrap().version();
    let held = intent::Held::put(&store, intent::Purpose::publish(&release, version, None), &ctx).await.unwrap();
    clock.advance(8 * DAY);
    prune(&store, 1, false, &ctx).await.unwrap();
    let left: Vec<_> = store.snapshot().into_keys().filter(|k| k.as_str().starts_with("intents/")).collect();
    assert!(left.is_empty() && !store.snapshot().contains_key(&release.lectures[0].objects["v-720p.mp4"].key().unwrap()));
    drop(held);
}

#[tokio::test]
async fn two_who_delete_do_not_do_so_at_once() {
    let (_studio, clock, store) = aged().await;
    let ctx = at(&clock);
    let other = intent::Held::put(&store, intent::Purpose::Prune, &ctx).await.unwrap();
    for outcome in [prune(&store, 1, false, &ctx).await.map(drop), withdraw(&store, "khoa", "a", &ctx).await.map(drop)] {
        assert_eq!(outcome.unwrap_err().kind(), Kind::Conflict);
    }
    // He was killed: for a quarter of an hour nobody knows.
    clock.advance(intent::DELETER_LIVES + Duration::from_secs(1));
    prune(&store, 1, false, &ctx).await.unwrap();
    assert!(!store.snapshot().keys().any(|k| k.as_str().starts_with("intents/")));
    drop(other);
}

/// What cannot be read may name anything.
#[tokio::test]
async fn nothing_is_deleted_while_anything_cannot_be_read() {
    for broken in ["courses/khoa/releases/3.json", "courses/khoa/current.json", "intents/x.json"] {
        let (_studio, clock, store) = aged().await;
        store.put(&Key::new(broken).unwrap(), Body::Bytes(b"{"), Caching::Revalidate, Precondition::None).await.unwrap();
        let before = store.snapshot();
        let e = prune(&store, 1, false, &at(&clock)).await.unwrap_err();
        assert!(matches!(e.kind(), Kind::Corrupt | Kind::Conflict) && e.hint_text().is_some(), "{}", e.report());
        assert_eq!(store.snapshot(), before);
    }
}

/// A film that two courses share stays while one of them needs it.
#[tokio::test]
async fn another_course_counts() {
    let (studio, clock, store) = aged().await;
    let old = film(&store, 1).await;
    studio.write("a.mp4", "A1");
    let text = std::fs::read_to_string(studio.file()).unwrap();
    studio.write("course.toml", &text.replace("id = \"khoa\"", "id = \"khac\""));
    studio.publish(&store).await.unwrap();
    clock.advance(30 * DAY);
    prune(&store, 1, false, &at(&clock)).await.unwrap();
    assert!(store.snapshot().contains_key(&old));
    read_everything(&store);
}

/// Cut short anywhere, a reader meets no manifest of things that are gone, and the next prune finishes.
#[tokio::test]
async fn any_fault_of_a_prune_is_healed_by_running_again() {
    let (_studio, clock, store) = aged().await;
    let (start, ctx) = (store.snapshot(), at(&clock));
    let counting = FailNth::new(&store, None, &|| ());
    prune(&counting, 1, false, &ctx).await.unwrap();
    let (operations, pruned) = (counting.count.into_inner(), published(&store));
    for n in 0..operations {
        for fault in [Planted::Once(n), Planted::AnswerLost(n), Planted::Killed(n), Planted::Lying(n)] {
            let clock = Arc::new(TestClock::default());
            let (store, ctx) = (copy_of(&start, &clock).await, at(&clock));
            clock.advance(30 * DAY);
            let look = || read_everything(&store);
            let outcome = prune(&FailNth::new(&store, Some(fault), &look), 1, false, &ctx).await;
            assert!(outcome.is_err() || matches!(fault, Planted::Lying(_)), "{fault:?} went unnoticed");
            clock.advance(intent::DELETER_LIVES + Duration::from_secs(1));
            prune(&FailNth::new(&store, None, &look), 1, false, &ctx).await.unwrap();
            assert!(published(&store) == pruned, "{fault:?} left a trace");
        }
    }
}

/// Somebody prunes while lecture "b" is encoded.
struct Pruning<'a> {
    inner: &'a FakeEncoder,
    store: &'a MemStore,
    ctx: &'a Ctx,
}

impl Encoder for Pruning<'_> {
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source> {
        self.inner.source(request)
    }
    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Packed> {
        Box::pin(async move {
            if request.lecture == "b" {
                prune(self.store, 1, false, self.ctx).await?;
            }
            self.inner.encode(request).await
        })
    }
    fn floor<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Option<Packed>> {
        self.inner.floor(request)
    }
    fn foresee<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Vec<String>> {
        self.inner.foresee(request)
    }
    fn expect<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Expected> {
        self.inner.expect(request)
    }
}

/// The second half of a publication takes days, and what it needs was sent weeks ago by one that was cut short.
#[tokio::test]
async fn between_floor_and_whole_what_the_publication_needs_stays() {
    let (clock, mut studio) = (Arc::new(TestClock::default()), Studio::new());
    studio.encoder.floors = vec!["a", "b"];
    let (store, elsewhere) = (MemStore::with_clock(clock.clone()), MemStore::default());
    studio.publish(&elsewhere).await.unwrap();
    for (key, (bytes, caching)) in elsewhere.snapshot().iter().filter(|(key, _)| key.as_str().starts_with("blobs/")) {
        store.put(key, Body::Bytes(bytes), *caching, Precondition::None).await.unwrap();
    }
    clock.advance(30 * DAY);
    let ctx = at(&clock);
    let encoder = Pruning { inner: &studio.encoder, store: &store, ctx: &ctx };
    let options = Options { profile: "p".into(), ..Options::default() };
    let a = current(&elsewhere).await.lectures[0].clone();
    let gone = Mutex::new(0);
    let look = || {
        let there = store.snapshot();
        *gone.lock().unwrap() += a.all_objects().filter(|o| !there.contains_key(&o.key().unwrap())).count();
    };
    publish(&studio.file(), &FailNth::new(&store, None, &look), &encoder, &options, &ctx, &mut |_| ()).await.unwrap();
    assert_eq!(gone.into_inner().unwrap(), 0, "lecture \"a\" was made before the other, and named");
    read_everything(&store);
}
