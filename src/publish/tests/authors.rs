//! Two authors at once.

use super::*;

/// Two authors: B publishes between A's reading and A's flip.
#[tokio::test]
async fn of_two_publishers_at_once_one_is_told_and_loses_nothing() {
    let (one, two, store) = (Studio::new(), Studio::new(), MemStore::default());
    one.publish(&store).await.unwrap();
    one.course("Của một", &["a", "b"]);
    two.course("Của hai", &["a", "b"]);
    let ctx = Ctx::silent();
    let options = Options { profile: "p".into(), ..Options::default() };
    let job = Job::prepare(&one.file(), &store, &one.encoder, &options, &ctx).await.unwrap();
    two.publish(&store).await.unwrap();
    let after_two = store.snapshot();
    let e =
        commit::commit(&store, &job.head, job.before.as_ref(), job.content(), &mut Sent::default(), &crate::clock::SystemClock, |_, _| ())
            .await
            .unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{}", e.report());
    assert_eq!(current(&store).await.title.in_language("vi"), "Của hai");
    assert_eq!(store.snapshot(), after_two, "the store is as the winner left it");
    let done = one.publish(&store).await.unwrap();
    assert_eq!(current(&store).await.title.in_language("vi"), "Của một");
    // Going back from there leads to the other author's release, not to one that was never current.
    assert_eq!(current(&store).await.previous, Some(2));
    assert!(done.release > 2);
    read_everything(&store);
}

/// The same on a directory, truly at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_at_once_on_a_directory_leave_one_whole_release() {
    let place = tempfile::tempdir().unwrap();
    let studios: Vec<Studio> = (0..4).map(|_| Studio::new()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (i, studio) in studios.into_iter().enumerate() {
        studio.course(&format!("Khoá {i}"), &["a", "b"]);
        let store = crate::store::dir::DirStore::new(place.path().join("store"));
        tasks.spawn(async move { (i, studio.publish(&store).await) });
    }
    let outcomes = tasks.join_all().await;
    let won: Vec<_> = outcomes.iter().filter(|(_, o)| o.is_ok()).collect();
    assert!(!won.is_empty());
    let lost = outcomes.iter().filter_map(|(_, o)| o.as_ref().err());
    assert_eq!(lost.filter(|e| e.kind() != Kind::Conflict).map(Error::report).collect::<Vec<_>>(), [""; 0]);
    let store = crate::store::dir::DirStore::new(place.path().join("store"));
    let now = current(&store).await;
    assert!(won.iter().any(|(i, _)| now.title.in_language("vi") == format!("Khoá {i}")));
    let report = verify_store(&store, false, &Ctx::silent()).await.unwrap();
    assert_eq!(report.faults, []);
}

/// Somebody takes every number of a release just before we do, and gives it back at once.
struct Hasty(MemStore);

impl Store for Hasty {
    fn describe(&self) -> String {
        "hasty".into()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<std::ops::Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        self.0.get(key, range)
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<crate::store::Meta>> {
        self.0.head(key)
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, crate::store::Meta> {
        match key.as_str().contains("/releases/") {
            true => Box::pin(async { Err(Error::new(Kind::Conflict, "changed by somebody else")) }),
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

/// He is told that he came second, not that a file is missing.
#[tokio::test]
async fn whose_number_was_taken_and_given_back_came_second() {
    let (studio, store) = (Studio::new(), Hasty(MemStore::default()));
    let e = studio.publish(&store).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{}", e.report());
    assert!(e.report().contains("nothing is lost"), "{}", e.report());
}
