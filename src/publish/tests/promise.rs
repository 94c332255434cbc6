use super::*;
use crate::profile::Promise;

/// No page can be there in a tenth of a second over a round trip of 840 ms.
fn impossible() -> Vec<Promise> {
    vec![Promise { class: "edge".into(), start_s: 0.5, stall_s: 0.0 }]
}

// Nothing of a lecture that breaks a promise is sent, and learners see what they saw before; the rest is kept for the next run.
#[tokio::test]
async fn a_lecture_that_breaks_a_promise_is_not_published_unless_its_author_accepts() {
    let (store, mut studio) = (MemStore::default(), Studio::new());
    studio.encoder.promises = impossible();
    let error = studio.publish(&store).await.unwrap_err();
    let report = error.report();
    assert_eq!(error.kind().exit_code(), 1);
    for part in ["lecture \"a\"", "lecture \"b\"", "on edge it starts after", "promised are 0.5 s and 0.0 s", "profile p", "--accept"] {
        assert!(report.contains(part), "no {part} in {report}");
    }
    let sent: Vec<Key> = store.list("").await.unwrap().into_iter().map(|l| l.key).filter(|k| k.as_str().ends_with(".mp4")).collect();
    assert!(sent.is_empty() && Head::of(&store, "khoa").await.unwrap().current.is_none(), "{sent:?}");

    let accept = Options { profile: "p".into(), accept: true, ..Options::default() };
    let published = studio.publish_as(&store, &accept, &Ctx::silent()).await.unwrap();
    assert_eq!(published.encoded, ["a", "b"]);
    // What is released is not held again, whoever publishes next.
    assert_eq!(studio.publish(&store).await.unwrap().encoded, [""; 0]);
}

#[tokio::test]
async fn a_promise_that_is_kept_is_not_spoken_of() {
    let (store, mut studio) = (MemStore::default(), Studio::new());
    studio.encoder.promises = vec![Promise { class: "edge".into(), start_s: 60.0, stall_s: 0.0 }];
    assert_eq!(studio.publish(&store).await.unwrap().encoded, ["a", "b"]);
}

#[tokio::test]
async fn a_forecast_tells_the_promises_that_would_be_broken() {
    let (store, mut studio) = (MemStore::default(), Studio::new());
    assert!(studio.forecast(&store).await.broken.is_empty());
    studio.encoder.promises = impossible();
    assert_eq!(studio.forecast(&store).await.broken.keys().collect::<Vec<_>>(), ["a", "b"]);
}
