//! The floor first, and never back to it.

use super::*;

async fn publish_told(studio: &Studio, store: &dyn Store) -> (Vec<Published>, Result<Published>) {
    let mut told = Vec::new();
    let options = Options { profile: "p".into(), ..Options::default() };
    let mut tell = |p: &Published| told.push(p.clone());
    let last = publish(&studio.file(), store, &studio.encoder, &options, &Ctx::silent(), &mut tell).await;
    (told, last)
}

#[tokio::test]
async fn what_is_new_is_there_with_its_floor_first() {
    let (mut studio, store) = (Studio::new(), MemStore::default());
    studio.encoder.floors = vec!["a"];
    let look = || read_everything(&store);
    let (told, last) = publish_told(&studio, &FailNth::new(&store, None, &look)).await;
    let last = last.unwrap();
    // "b" is too short for a floor of its own: it is made whole beside the floor of "a".
    assert_eq!(studio.encoder.asked(), ["the floor of a", "b", "a"]);
    assert_eq!((told.len(), told[0].stage, told[0].release, told[0].encoded.clone()), (1, Stage::Floor, 1, vec!["a".to_string()]));
    assert_eq!((last.stage, last.release), (Stage::Full, 2));
    let first = state::release(&store, "khoa", 1).await.unwrap().0;
    assert_eq!(first.lectures.iter().map(|l| l.floor_only).collect::<Vec<_>>(), [true, false]);
    assert_eq!(first.lectures[0].rungs.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["270p"]);
    assert!(!current(&store).await.lectures.iter().any(|l| l.floor_only));
    // Each line counts its own: together they are all that is there.
    let all = store.snapshot();
    assert!(!all.keys().any(|k| k.as_str().starts_with("intents/")));
    let writes = told[0].objects_sent + last.objects_sent;
    assert!(writes >= all.len() as u64, "{writes} of {}", all.len());
    // The way back is to no floor.
    assert_eq!(rollback(&store, "khoa", None, &Ctx::silent()).await.unwrap_err().kind(), Kind::Usage);
    assert_eq!(rollback(&store, "khoa", Some(1), &Ctx::silent()).await.unwrap().stage, Stage::Floor, "unless it is named");
}

/// If the second half fails the first stands, and the next run goes on from it without making the floor again.
#[tokio::test]
async fn a_floor_stands_while_the_rest_fails() {
    let (mut studio, store) = (Studio::new(), MemStore::default());
    (studio.encoder.floors, studio.encoder.broken) = (vec!["a", "b"], vec!["b"]);
    let (told, last) = publish_told(&studio, &store).await;
    assert_eq!((told.len(), last.unwrap_err().kind()), (1, Kind::BadMedia));
    let stands = current(&store).await;
    assert_eq!((stands.release, stands.stage, stands.lectures.len()), (1, Stage::Floor, 2));
    read_everything(&store);
    studio.encoder.asked();
    studio.encoder.broken.clear();
    let (told, last) = publish_told(&studio, &store).await;
    assert_eq!((told.len(), last.unwrap().release, studio.encoder.asked()), (0, 2, vec!["a".to_string(), "b".to_string()]));
    assert_eq!(current(&store).await.stage, Stage::Full);
}

/// A title corrected where the recordings are not: the floor is carried over, and the release stays one of floors.
#[tokio::test]
async fn a_floor_is_carried_over_as_a_floor() {
    let (mut studio, store) = (Studio::new(), MemStore::default());
    (studio.encoder.floors, studio.encoder.broken) = (vec!["a"], vec!["a"]);
    publish_told(&studio, &store).await.1.unwrap_err();
    studio.remove("a.mp4");
    studio.course("Khoá đúng", &["a", "b"]);
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((done.stage, done.carried), (Stage::Floor, vec!["a".to_string()]));
    read_everything(&store);
}

/// Publishing anew over a full release, and beside a new lecture: nobody goes from a whole lecture to its floor.
#[tokio::test]
async fn nobody_is_taken_back_to_a_floor() {
    let (mut studio, store) = (Studio::new(), MemStore::default());
    studio.course("Khoá một", &["a"]);
    studio.publish(&store).await.unwrap();
    let whole = current(&store).await.lectures[0].objects.clone();
    studio.encoder.floors = vec!["a", "b"];
    studio.write("a.mp4", "A anew");
    studio.course("Khoá hai", &["a", "b"]);
    let never_less = || {
        for (key, (bytes, _)) in store.snapshot().iter().filter(|(k, _)| k.as_str().contains("/releases/")) {
            let release: Release = from_json(bytes, key).unwrap();
            assert!(!release.lecture("a").unwrap().floor_only, "{key}");
        }
    };
    let (told, last) = publish_told(&studio, &FailNth::new(&store, None, &never_less)).await;
    assert_eq!((told[0].stage, told[0].encoded.clone(), last.unwrap().stage), (Stage::Floor, vec!["b".to_string()], Stage::Full));
    let first = state::release(&store, "khoa", 2).await.unwrap().0;
    assert_eq!(first.title.in_language("vi"), "Khoá hai");
    assert_eq!(first.lectures[0].objects, whole, "kept until its replacement is complete");
    assert_ne!(current(&store).await.lectures[0].objects, whole);
    assert_eq!(rollback(&store, "khoa", None, &Ctx::silent()).await.unwrap().release, 1, "over the floor, to the last full one");
}
