//! Manifests: what is read back, what is refused, what differs.

use super::*;

fn object(name: &str) -> Object {
    Object::of(&FileEntry { sha256: Digest::of(name.as_bytes()), bytes: name.len() as u64 }, name)
}

fn lecture(id: &str, files: &[&str]) -> Lecture {
    Lecture {
        id: id.into(),
        title: Text(BTreeMap::from([("vi".into(), id.to_uppercase())])),
        module: None,
        presenter: None,
        prerequisites: vec![],
        duration_s: 60.0,
        source: Source {
            recordings: vec![],
            profile: "p".into(),
            profile_sha256: Digest::of(b"p"),
            trims: None,
            captions: BTreeMap::new(),
        },
        plan: Digest::of(id.as_bytes()),
        partial: false,
        floor_only: false,
        rungs: vec![],
        voices: vec![],
        objects: files.iter().map(|f| (f.to_string(), object(f))).collect(),
        slides: Vec::new(),
        chapters: Vec::new(),
        captions: BTreeMap::new(),
        handout: None,
    }
}

fn release(n: u64, lectures: Vec<Lecture>) -> Release {
    let title = Text(BTreeMap::from([("vi".into(), "C".into())]));
    let previous = (n > 1).then(|| n - 1);
    Release {
        format: 1,
        course: "c".into(),
        release: n,
        previous,
        stage: Stage::Full,
        title,
        language: "vi".into(),
        licence: None,
        address: None,
        modules: vec![],
        lectures,
    }
}

#[test]
fn manifests_read_back_and_foreign_formats_are_refused() {
    let mut r = release(3, vec![lecture("a", &["v.mp4"])]);
    r.lectures[0].handout = Some(Attachment { name: "Bài 1.pdf".into(), object: object("x.pdf") });
    r.lectures[0].source.trims = Some(Trims { start_s: 1.5, end_s: None });
    let key = release_key("c", 3).unwrap();
    let bytes = to_json(&r).unwrap();
    assert_eq!(from_json::<Release>(&bytes, &key).unwrap(), r);
    let newer = String::from_utf8(bytes.clone()).unwrap().replace("\"format\": 1", "\"format\": 2");
    assert_eq!(from_json::<Release>(newer.as_bytes(), &key).unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(from_json::<Release>(&bytes[..bytes.len() / 2], &key).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn names_of_blobs_hold_the_digest_and_a_plain_extension() {
    let d = Digest::of(b"");
    assert!(blob_name(&d, "v-720p.mp4").ends_with("b855.mp4") && blob_name(&d, "v").starts_with("blobs/e3/e3b0"));
    for odd in ["noext", "a.", "a.tài", "a.averylongone", "a.m/4"] {
        assert!(blob_name(&d, odd).ends_with(".bin"), "{odd}");
    }
    assert!(blob_name(&d, "SLIDES.PDF").ends_with(".pdf"));
}

/// A manifest that was tampered with must not make us read, or write, elsewhere.
#[test]
fn an_object_is_named_by_its_digest_or_refused() {
    let good = object("a.mp4");
    assert!(good.key().is_ok());
    for key in
        ["blobs/../etc/passwd", "index.html", "blobs/", "blobs/é", &good.key.replace("blobs/", "blobs/x"), &format!("{}/x", good.key)]
    {
        assert!(Object { key: key.to_string(), ..good.clone() }.key().is_err(), "{key}");
    }
    assert!(Object { sha256: Digest::of(b"other"), ..good }.key().is_err());
}

#[test]
fn release_numbers_come_from_their_keys() {
    assert_eq!(release_number(&release_key("c", 12).unwrap()), Some(12));
    for odd in ["courses/c/releases/012.json", "courses/c/releases/+1.json", "courses/c/current.json", "courses/c/releases/1.txt"] {
        assert_eq!(release_number(&Key::new(odd).unwrap()), None, "{odd}");
    }
}

#[test]
fn a_diff_tells_reencoded_from_edited_lectures() {
    let old = release(1, vec![lecture("a", &["a.mp4"]), lecture("b", &["b.mp4"]), lecture("c", &["c.mp4"])]);
    let mut new = release(2, vec![lecture("a", &["a.mp4"]), lecture("b", &["bb.mp4"]), lecture("d", &["d.mp4", "bb.mp4"])]);
    assert_eq!(diff(&old, &old), Diff::default());
    new.lectures[0].presenter = Some("Hoa".into());
    let found = diff(&old, &new);
    assert_eq!((found.added, found.removed), (vec!["d".to_string()], vec!["c".to_string()]));
    assert_eq!((found.edited, found.reencoded), (vec!["a".to_string()], vec!["b".to_string()]));
    assert_eq!((found.new_objects, found.new_bytes, found.again_bytes), (2, 11, 6));
    assert!(!found.course_edited);
    let turned = release(2, old.lectures.iter().rev().cloned().collect());
    assert!(diff(&old, &turned).course_edited && turned.same_content(&turned.clone()) && !turned.same_content(&old));
}

/// docs/manifest.schema.json is what the types say.
#[test]
fn the_committed_schema_is_that_of_the_types() {
    let text = serde_json::to_string_pretty(&schema::schema()).unwrap() + "\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manifest.schema.json");
    if std::env::var_os("RIVULET_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "run RIVULET_WRITE_SCHEMA=1 cargo test --lib schema, and commit docs/manifest.schema.json");
}

/// A lecture that was brought back is what it is from then on; what it was before stays away.
#[test]
fn releases_lose_what_was_withdrawn() {
    let one = release(1, vec![lecture("a", &["a.mp4"]), Lecture { prerequisites: vec!["a".into()], ..lecture("b", &["b.mp4"]) }]);
    let mut current = one.pointer(b"", Vec::new());
    assert_eq!(current.stripped(&one), None);
    current.withdrawn = vec![Tombstone { lecture: "a".into(), release: 2, restored: None }];
    let bare = current.stripped(&one).unwrap();
    assert_eq!(bare.lectures, [lecture("b", &["b.mp4"])]);
    assert_eq!((current.stripped(&bare), current.tombstone("a").is_some()), (None, true));
    current.withdrawn[0].restored = Some(3);
    assert!(current.stripped(&one).is_some() && current.tombstone("a").is_none());
    assert_eq!(current.stripped(&release(3, vec![lecture("a", &["new.mp4"])])), None);
}
