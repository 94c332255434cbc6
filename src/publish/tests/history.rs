//! Looking back, going back, and looking ahead.

use super::*;

#[tokio::test]
async fn going_back_follows_what_was_current_and_forward_again_goes_on() {
    let (studio, store) = (Studio::new(), MemStore::default());
    for title in ["Một", "Hai", "Ba"] {
        studio.course(title, &["a", "b"]);
        studio.publish(&store).await.unwrap();
    }
    let ctx = Ctx::silent();
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap().release, 2);
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap().release, 1);
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap_err().kind(), Kind::Usage);
    let page = get_if_there(&store, &Key::new("khoa/index.html").unwrap()).await.unwrap().unwrap();
    assert!(String::from_utf8(page).unwrap().contains("Một"));
    assert_eq!(rollback(&store, "khoa", Some(9), &ctx).await.unwrap_err().kind(), Kind::NotFound);
    let lines = releases(&store, "khoa").await.unwrap();
    assert_eq!(lines.iter().map(|l| (l.release, l.current)).collect::<Vec<_>>(), [(1, true), (2, false), (3, false)]);
    assert_eq!(rollback(&store, "khoa", Some(1), &ctx).await.unwrap().objects_sent, 0, "to where we are: nothing to do");
    // The next release is made over the one that is current, and the way back is to that.
    studio.course("Bốn", &["a", "b"]);
    assert_eq!(studio.publish(&store).await.unwrap().release, 4);
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap().release, 1);
    let (from, to, diff) = compare(&store, "khoa", Some(4)).await.unwrap();
    assert_eq!((from, to, diff.course_edited, diff.new_objects), (1, 4, true, 0));
    assert_eq!(releases(&store, "other").await.unwrap_err().kind(), Kind::NotFound);
    read_everything(&store);
}

/// A dry run tells what then happens, and does nothing.
#[tokio::test]
async fn a_forecast_comes_true_to_the_byte() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let first = studio.forecast(&store).await;
    assert_eq!(first.encode, ["a", "b"]);
    assert!(store.snapshot().is_empty() && studio.encoder.asked().is_empty());
    // Captions and handout are known; the rest is predicted, and takes its time.
    assert_eq!((first.objects, first.predicted_objects, first.predicted_bytes), (2, 20, 10_000_000));
    let wire = first.bytes + 10_000_000 + 22 * 1_000;
    assert_eq!(first.uplink_s, Some(wire as f64 * 8.0 / 1e6));
    // A package that is complete here is counted, not predicted: its release and pages are all that is still unknown.
    studio.publish(&MemStore::default()).await.unwrap();
    studio.encoder.asked();
    let encoded = studio.forecast(&store).await;
    assert_eq!((encoded.encode.len(), encoded.predicted_objects, encoded.predicted_bytes), (2, 0, 0));
    studio.publish(&store).await.unwrap();
    assert_eq!(encoded.objects as usize, store.snapshot().keys().filter(|k| k.as_str().starts_with("blobs/")).count());
    studio.course("Khoá khác", &["a", "b"]);
    studio.write("bài.pdf", "%PDF new");
    let before = store.snapshot();
    let would = studio.forecast(&store).await;
    assert_eq!(store.snapshot(), before);
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((would.objects, would.bytes, would.objects_known), (done.objects_sent, done.bytes_sent, done.objects_known));
    assert!(would.objects > 3);
    let nothing = studio.forecast(&store).await;
    assert_eq!((nothing.objects, nothing.bytes), (0, 0));
}
