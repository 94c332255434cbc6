//! A lecture that must go.

use super::*;
use crate::manifest::Tombstone;

/// Three releases: "a"; "a" anew with "b"; "b" alone needs "a" no more but names it.
async fn course() -> (Studio, MemStore) {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    studio.write("a.mp4", "A anew");
    studio.publish(&store).await.unwrap();
    (studio, store)
}

fn names(store: &MemStore, prefix: &str) -> Vec<String> {
    store.snapshot().into_keys().map(|k| k.to_string()).filter(|k| k.starts_with(prefix)).collect()
}

#[tokio::test]
async fn a_withdrawn_lecture_is_in_no_release_page_or_object() {
    let (studio, store) = course().await;
    let text = std::fs::read_to_string(studio.file()).unwrap();
    studio.write("course.toml", &text.replace("id = \"b\"\n", "id = \"b\"\nprerequisites = [\"a\"]\n"));
    studio.publish(&store).await.unwrap();
    let of_b: Vec<Key> = current(&store).await.lectures[1].all_objects().map(|o| o.key().unwrap()).collect();
    let look = || read_everything(&store);
    let done = withdraw(&FailNth::new(&store, None, &look), "khoa", "a", &Ctx::silent()).await.unwrap();
    assert_eq!((done.release, done.releases.as_slice()), (4, &[1, 2, 3][..]));
    assert_eq!(done.cached_s, 31_536_000);
    let blobs = names(&store, "blobs/");
    assert!(!done.deleted.is_empty() && !done.deleted.iter().any(|k| blobs.contains(k)));
    assert!(of_b.iter().all(|k| blobs.contains(&k.to_string())));
    assert_eq!(blobs.len(), of_b.iter().collect::<std::collections::BTreeSet<_>>().len(), "nothing of it is left");
    for (key, (bytes, _)) in store.snapshot().iter().filter(|(k, _)| k.as_str().contains("/releases/")) {
        let release: Release = from_json(bytes, key).unwrap();
        assert!(release.lecture("a").is_none() && release.lectures.iter().all(|l| l.prerequisites.is_empty()), "{key}");
    }
    assert!(names(&store, "intents/").is_empty());
    // Its address says why; nothing else does.
    let page = store.get(&Key::new("khoa/a.html").unwrap(), None).await.unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("Bài giảng này đã được gỡ bỏ.") && page.contains("<script src=\"../app-") && !page.contains("Bài a"), "{page}");
    let (words, pages): (Vec<String>, Vec<String>) = names(&store, "khoa/").into_iter().partition(|n| n.contains("/search-"));
    assert_eq!(pages, ["khoa/a.html", "khoa/b.html", "khoa/b.m3u8", "khoa/index.html", "khoa/search.json"]);
    assert_eq!(words.len(), 1, "those of the other");
    let pointer = Head::of(&store, "khoa").await.unwrap().current.unwrap();
    assert_eq!(pointer.withdrawn, [Tombstone { lecture: "a".into(), release: 4, restored: None }]);
    // Going back does not bring it back, and loses no tombstone.
    rollback(&store, "khoa", Some(1), &Ctx::silent()).await.unwrap();
    assert_eq!(Head::of(&store, "khoa").await.unwrap().tombstones(), pointer.withdrawn);
    read_everything(&store);
    assert_eq!(verify_store(&store, false, &Ctx::silent()).await.unwrap().faults, []);
    // Twice is as good as once.
    let again = withdraw(&store, "khoa", "a", &Ctx::silent()).await.unwrap();
    assert!(again.deleted.is_empty() && again.releases.is_empty() && names(&store, "intents/").is_empty());
}

#[tokio::test]
async fn it_comes_back_only_when_its_author_says_so() {
    let (studio, store) = course().await;
    withdraw(&store, "khoa", "a", &Ctx::silent()).await.unwrap();
    let e = studio.publish(&store).await.unwrap_err();
    assert!(e.kind() == Kind::Usage && e.report().contains("--restore a"), "{}", e.report());
    let restore = |id: &str| Options { profile: "p".into(), restore: vec![id.into()], ..Options::default() };
    let wrong = studio.publish_as(&store, &restore("b"), &Ctx::silent()).await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::Usage);
    studio.course("Khoá một", &["b"]);
    assert!(studio.publish(&store).await.is_ok(), "without it all is well");
    assert_eq!(studio.publish_as(&store, &restore("a"), &Ctx::silent()).await.unwrap_err().kind(), Kind::Usage);
    studio.course("Khoá một", &["a", "b"]);
    let done = studio.publish_as(&store, &restore("a"), &Ctx::silent()).await.unwrap();
    assert!(done.encoded.contains(&"a".to_string()) && current(&store).await.lecture("a").is_some());
    // Copies of the first one are still to be dropped.
    let kept = Head::of(&store, "khoa").await.unwrap().tombstones();
    assert_eq!(kept, [Tombstone { lecture: "a".into(), release: 3, restored: Some(done.release) }]);
    studio.course("Khoá hai", &["a", "b"]);
    studio.publish(&store).await.expect("from then on it is a lecture like others");
    read_everything(&store);
    let again = withdraw(&store, "khoa", "a", &Ctx::silent()).await.unwrap();
    assert_eq!(Head::of(&store, "khoa").await.unwrap().tombstones()[0].release, again.release);
    assert!(again.releases.contains(&done.release));
}

/// A handout that another course has too, a lecture that only an earlier release has, and names that are none.
#[tokio::test]
async fn what_others_need_stays() {
    let (studio, store) = course().await;
    let text = std::fs::read_to_string(studio.file()).unwrap();
    studio.write("course.toml", &text.replace("id = \"khoa\"", "id = \"khac\""));
    studio.publish(&store).await.unwrap();
    studio.course("Khoá một", &["b"]);
    studio.publish(&store).await.unwrap();
    let before = names(&store, "blobs/");
    let done = withdraw(&store, "khoa", "a", &Ctx::silent()).await.unwrap();
    assert_eq!((done.release, done.releases.as_slice()), (3, &[1, 2][..]), "the current release had it no more: it stays");
    assert!(done.shared_objects > 0 && !done.deleted.is_empty());
    assert!(names(&store, "blobs/").len() + done.deleted.len() == before.len());
    read_everything(&store);
    for (course, lecture) in [("khoa", "z"), ("none", "a")] {
        assert_eq!(withdraw(&store, course, lecture, &Ctx::silent()).await.unwrap_err().kind(), Kind::NotFound);
    }
    assert!(names(&store, "intents/").is_empty());
}

/// Cut short anywhere, learners see the course with it or without it, and running again, or `check --repair` and running
/// again, ends as if nothing had happened.
#[tokio::test]
async fn any_fault_of_a_withdrawal_is_healed() {
    let (_studio, whole) = course().await;
    let start = whole.snapshot();
    let counting = FailNth::new(&whole, None, &|| ());
    withdraw(&counting, "khoa", "a", &Ctx::silent()).await.unwrap();
    let (operations, gone) = (counting.count.into_inner(), published(&whole));
    for n in 0..operations {
        for fault in [Planted::Once(n), Planted::AnswerLost(n), Planted::Killed(n), Planted::Lying(n)] {
            for repair in [false, true] {
                let clock = Arc::new(TestClock::default());
                let (store, ctx) = (copy_of(&start, &clock).await, at(&clock));
                let look = || read_everything(&store);
                let outcome = withdraw(&FailNth::new(&store, Some(fault), &look), "khoa", "a", &ctx).await;
                assert!(outcome.is_err() || matches!(fault, Planted::Lying(_)), "{fault:?} went unnoticed");
                if repair {
                    clock.advance(intent::DELETER_LIVES + Duration::from_secs(1));
                    verify_store(&FailNth::new(&store, None, &look), true, &ctx).await.unwrap();
                }
                withdraw(&FailNth::new(&store, None, &look), "khoa", "a", &ctx).await.unwrap();
                assert!(published(&store) == gone, "{fault:?} left a trace (repair: {repair})");
            }
        }
    }
}

/// A publisher of the same course at the same moment does not bring it back.
#[tokio::test]
async fn a_publisher_at_the_same_moment_comes_second() {
    let (studio, store) = course().await;
    studio.course("Khoá hai", &["a", "b"]);
    let (options, ctx) = (Options { profile: "p".into(), ..Options::default() }, Ctx::silent());
    let job = Job::prepare(&studio.file(), &store, &studio.encoder, &options, &ctx).await.unwrap();
    withdraw(&store, "khoa", "a", &ctx).await.unwrap();
    let after = store.snapshot();
    let content = job.content();
    let e = commit::commit(&store, &job.head, job.before.as_ref(), content, &mut Sent::default(), &crate::clock::SystemClock, |_, _| ())
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict);
    assert_eq!(store.snapshot(), after, "his release, which names what is gone, is taken back");
}
