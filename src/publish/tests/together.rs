//! Two at once, in every order that some hundred seeds give: one polls a publisher and somebody who deletes by hand, and lets each
//! do one operation of the store at a time.

use super::*;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Before every operation its caller waits until it is his turn.
struct Turns<'a> {
    inner: &'a MemStore,
    waiting: Arc<AtomicBool>,
}

impl Turns<'_> {
    async fn turn<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let mut asked = false;
        std::future::poll_fn(|cx| match std::mem::replace(&mut asked, true) {
            true => Poll::Ready(()),
            false => {
                self.waiting.store(true, Ordering::SeqCst);
                // Several operations under way at once are only polled where they have been woken.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
        operation.await
    }
}

impl Store for Turns<'_> {
    fn describe(&self) -> String {
        "taken in turns".into()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<std::ops::Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(self.turn(self.inner.get(key, range)))
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<crate::store::Meta>> {
        Box::pin(self.turn(self.inner.head(key)))
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, crate::store::Meta> {
        Box::pin(self.turn(self.inner.put(key, body, caching, when)))
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<crate::store::Listed>> {
        Box::pin(self.turn(self.inner.list(prefix)))
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(self.turn(self.inner.delete(key)))
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        Box::pin(self.turn(self.inner.tidy()))
    }
    fn parallel(&self) -> usize {
        self.inner.parallel()
    }
}

/// Wakes the thread that polls.
struct Unpark(std::thread::Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls whom the dice choose, up to his next operation. One who waits for a file is waited for; one who waits for the clock
/// has been woken by then, and counts as one who has taken his turn. The first turns, `lead` of them, are the first one's.
fn interleave(mut tasks: Vec<Task>, lead: usize, waiting: &AtomicBool, dice: &mut Dice) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut turns = 0;
    while !tasks.is_empty() {
        let chosen = if turns < lead { 0 } else { dice.below(tasks.len()) };
        turns += 1;
        loop {
            waiting.store(false, Ordering::SeqCst);
            match tasks[chosen].as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => {
                    drop(tasks.remove(chosen));
                    break;
                }
                Poll::Pending if waiting.load(Ordering::SeqCst) => break,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

/// A store with five releases, the first of which holds what the next publisher will need again.
fn prepared(runtime: &tokio::runtime::Runtime, studio: &Studio) -> BTreeMap<Key, (Vec<u8>, Caching)> {
    runtime.block_on(async {
        let store = MemStore::default();
        for text in ["A1", "A2", "A3"] {
            studio.write("a.mp4", text);
            studio.publish(&store).await.unwrap();
        }
        studio.write("a.mp4", "A1");
        store.snapshot()
    })
}

fn copy(runtime: &tokio::runtime::Runtime, objects: &BTreeMap<Key, (Vec<u8>, Caching)>, clock: &Arc<TestClock>) -> MemStore {
    let store = runtime.block_on(copy_of(objects, clock));
    clock.advance(30 * DAY);
    store
}

#[test]
fn prune_beside_publish_or_rollback_loses_nothing_that_a_release_names() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let studio = Studio::new();
    let start = prepared(&runtime, &studio);
    let options = Options { profile: "p".into(), ..Options::default() };
    let (mut resent, mut deleted, mut waited, mut spared) = (0, 0, 0, 0);
    for seed in 0..260u64 {
        let clock = Arc::new(TestClock::default());
        // The last sixty with several operations of one publisher under way at once.
        let store = copy(&runtime, &start, &clock).side_by_side(if seed < 200 { 1 } else { 4 });
        let waiting = Arc::new(AtomicBool::new(false));
        let turns = || Turns { inner: &store, waiting: waiting.clone() };
        let (author, deleter, ctx) = (turns(), turns(), at(&clock));
        let before = clock_now(&clock);
        let (mut published, mut pruned, mut back) = (None, None, None);
        let going_back = seed % 3 == 0;
        {
            let _in = runtime.enter();
            let one: Task = match going_back {
                true => Box::pin(async { back = Some(rollback(&author, "khoa", Some(1), &ctx).await) }),
                false => Box::pin(async { published = Some(studio.publish_as(&author, &options, &ctx).await) }),
            };
            let two: Task = Box::pin(async { pruned = Some(prune(&deleter, 1, false, &ctx).await) });
            interleave(vec![one, two], 0, &waiting, &mut Dice(seed * 7919 + 1));
        }
        let pruned = pruned.unwrap().unwrap();
        deleted += pruned.objects;
        waited += u64::from(clock_now(&clock) > before);
        match (published, back) {
            (Some(published), _) => {
                let published = published.unwrap_or_else(|e| panic!("seed {seed}: {}", e.report()));
                assert_eq!((published.release, published.stage), (4, Stage::Full), "seed {seed}");
                let now = runtime.block_on(current(&store));
                resent += u64::from(published.objects_known < now.objects().len() as u64);
            }
            // The release may have been pruned before he said that he wants it: then he is told.
            (_, Some(Err(e))) => assert_eq!(e.kind(), Kind::NotFound, "seed {seed}: {}", e.report()),
            (_, Some(Ok(_))) => spared += 1,
            _ => unreachable!(),
        }
        read_everything(&store);
        let faults = runtime.block_on(verify_store(&store, false, &at(&clock))).unwrap().faults;
        assert_eq!(faults, [], "seed {seed}");
    }
    // The seeds reach what they are for: films deleted under a publisher and sent again, publishers who waited, releases
    // that were spared for somebody who was going back to them.
    assert!(deleted > 0 && resent > 0 && waited > 0 && spared > 0, "{deleted} {resent} {waited} {spared}");
}

fn clock_now(clock: &TestClock) -> Duration {
    crate::clock::Clock::now(clock)
}

#[test]
fn withdraw_beside_publish_brings_nothing_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let studio = Studio::new();
    let start = prepared(&runtime, &studio);
    let options = Options { profile: "p".into(), ..Options::default() };
    let (mut second, mut first) = (0, 0);
    for seed in 0..100u64 {
        let clock = Arc::new(TestClock::default());
        let store = copy(&runtime, &start, &clock);
        let waiting = Arc::new(AtomicBool::new(false));
        let turns = || Turns { inner: &store, waiting: waiting.clone() };
        let (author, deleter, ctx) = (turns(), turns(), at(&clock));
        let (mut published, mut withdrawn) = (None, None);
        {
            let _in = runtime.enter();
            let one: Task = Box::pin(async { published = Some(studio.publish_as(&author, &options, &ctx).await) });
            let two: Task = Box::pin(async { withdrawn = Some(withdraw(&deleter, "khoa", "b", &ctx).await) });
            interleave(vec![one, two], seed as usize % 50, &waiting, &mut Dice(seed * 104_729 + 1));
        }
        withdrawn.unwrap().unwrap_or_else(|e| panic!("seed {seed}: {}", e.report()));
        match published.unwrap() {
            Ok(_) => first += 1,
            Err(e) => {
                second += 1;
                assert!(matches!(e.kind(), Kind::Conflict | Kind::Usage), "seed {seed}: {}", e.report());
            }
        }
        let now = runtime.block_on(current(&store));
        assert!(now.lecture("b").is_none() && now.lecture("a").is_some(), "seed {seed}");
        read_everything(&store);
        for (key, (bytes, _)) in store.snapshot().iter().filter(|(k, _)| k.as_str().contains("/releases/")) {
            assert!(from_json::<Release>(bytes, key).unwrap().lecture("b").is_none(), "seed {seed}: {key}");
        }
    }
    assert!(first > 0 && second > 0, "{first} {second}");
}
