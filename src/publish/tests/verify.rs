//! A store that lies there, and what is wrong with it.

use super::*;

/// Everything that can go wrong with a store that lies there: found, named, and repaired where that can be done.
#[tokio::test]
async fn a_store_is_verified_and_repaired() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let sound = store.snapshot();
    let ctx = Ctx::silent();
    let report = verify_store(&store, false, &ctx).await.unwrap();
    assert_eq!((report.faults.as_slice(), report.courses, report.releases), (&[][..], 1, 1));
    let put = async |name: &str, bytes: &[u8]| {
        let key = Key::new(name).unwrap();
        store.put(&key, Body::Bytes(bytes), Caching::Revalidate, Precondition::None).await.unwrap();
    };
    // Pages: changed, gone, and one too many.
    put("khoa/index.html", b"?").await;
    store.delete(&Key::new("khoa/a.m3u8").unwrap()).await.unwrap();
    put("khoa/old.html", b"?").await;
    let names = |r: &Report| r.faults.iter().map(|f| (f.key.clone(), f.repaired)).collect::<Vec<_>>();
    let expected = |repaired| ["khoa/a.m3u8", "khoa/index.html", "khoa/old.html"].map(|k| (k.to_string(), repaired));
    assert_eq!(names(&verify_store(&store, false, &ctx).await.unwrap()), expected(false));
    let repaired = verify_store(&store, true, &ctx).await.unwrap();
    assert!(names(&repaired) == expected(true) && repaired.sound());
    assert_eq!(store.snapshot(), sound);
    // A blob with a flipped bit has the right length, so only its digest tells; repair and publish make it whole.
    let blob = current(&store).await.lectures[0].objects["v-720p.mp4"].key.clone();
    let mut bytes = store.get(&Key::new(&blob).unwrap(), None).await.unwrap();
    bytes[3] ^= 1;
    put(&blob, &bytes).await;
    assert_eq!(names(&verify_store(&store, false, &ctx).await.unwrap()), [(blob.clone(), false)]);
    let kept = verify_store(&store, true, &ctx).await.unwrap();
    assert!(kept.faults[0].message.contains("learners see it now") && kept.faults[0].message.contains("--refresh") && !kept.sound());
    assert_eq!(store.get(&Key::new(&blob).unwrap(), None).await.unwrap(), bytes, "what learners see is not taken away");
    assert_eq!(studio.publish(&store).await.unwrap().objects_sent, 0, "its length is right");
    let healed = studio.publish_with(&store, "p", true).await.unwrap();
    assert_eq!((healed.release, healed.objects_sent), (1, 1));
    assert_eq!(store.snapshot(), sound);
    // One that is cut short is seen without a refresh.
    put(&blob, &bytes[..5]).await;
    assert_eq!(studio.publish(&store).await.unwrap().objects_sent, 1);
    assert_eq!(store.snapshot(), sound);
    // What only an earlier release names is taken away.
    studio.write("a.mp4", "A anew");
    studio.publish(&store).await.unwrap();
    put(&blob, &bytes).await;
    verify_store(&store, true, &ctx).await.unwrap();
    assert_eq!(get_if_there(&store, &Key::new(&blob).unwrap()).await.unwrap(), None);
    // A release that was changed is not believed.
    let mut release = store.get(&release_key("khoa", 2).unwrap(), None).await.unwrap();
    release.push(b' ');
    put("courses/khoa/releases/2.json", &release).await;
    assert!(verify_store(&store, true, &ctx).await.unwrap().faults.iter().any(|f| f.message.contains("roll back")));
    assert_eq!(studio.publish(&store).await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_damaged_course_does_not_keep_others_from_being_published() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let key = Key::new("courses/other/current.json").unwrap();
    store.put(&key, Body::Bytes(b"{"), Caching::Revalidate, Precondition::None).await.unwrap();
    studio.publish(&store).await.unwrap();
    assert_eq!(verify_store(&store, false, &Ctx::silent()).await.unwrap().faults[0].key, key.as_str());
}
