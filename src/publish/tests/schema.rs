//! docs/manifest.schema.json holds for what is really written, and refuses what is not.

use super::*;
use serde_json::Value;

/// What a schema says against a value: the keywords that ours uses, and no other.
fn against(schema: &Value, root: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else {
        assert_eq!(schema, &Value::Bool(true));
        return;
    };
    for (keyword, wants) in keywords {
        let mut wrong = |what: &str| found.push(format!("{at}: {what}"));
        match keyword.as_str() {
            "$ref" => {
                let path = wants.as_str().unwrap().trim_start_matches('#');
                against(root.pointer(path).unwrap_or_else(|| panic!("{path} is not in the schema")), root, value, at, found);
            }
            "type" => {
                let is = |name: &str| match name {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => panic!("type {other}"),
                };
                let any = wants.as_array().cloned().unwrap_or_else(|| vec![wants.clone()]);
                if !any.iter().any(|name| is(name.as_str().unwrap())) {
                    wrong(&format!("is no {wants}"));
                }
            }
            "required" => {
                for name in wants.as_array().unwrap().iter().map(|n| n.as_str().unwrap()) {
                    if value.is_object() && value.get(name).is_none() {
                        wrong(&format!("has no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in wants.as_object().unwrap() {
                    value.get(name).iter().for_each(|v| against(schema, root, v, &format!("{at}/{name}"), found));
                }
            }
            "additionalProperties" => {
                let known = |name: &String| keywords.get("properties").is_some_and(|p| p.get(name).is_some());
                for (name, v) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    against(wants, root, v, &format!("{at}/{name}"), found);
                }
            }
            "items" => value.as_array().into_iter().flatten().for_each(|v| against(wants, root, v, at, found)),
            "minimum" if value.as_f64().is_some_and(|v| v < wants.as_f64().unwrap()) => wrong("is too small"),
            "maximum" if value.as_f64().is_some_and(|v| v > wants.as_f64().unwrap()) => wrong("is too large"),
            "const" if value != wants => wrong(&format!("is not {wants}")),
            "enum" if !wants.as_array().unwrap().contains(value) => wrong(&format!("is none of {wants}")),
            "pattern" => {
                assert_eq!(wants, "^[0-9a-f]{64}$", "the only one that this test knows");
                let hex = |s: &str| s.len() == 64 && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if !value.as_str().is_some_and(hex) {
                    wrong("is no digest");
                }
            }
            "anyOf" | "oneOf" => {
                let none = |schema: &Value| {
                    let mut inner = Vec::new();
                    against(schema, root, value, at, &mut inner);
                    !inner.is_empty()
                };
                if wants.as_array().unwrap().iter().all(none) {
                    wrong("fits no alternative");
                }
            }
            "$schema" | "$defs" | "title" | "description" | "format" | "default" | "minimum" | "maximum" | "const" | "enum" => {}
            other => panic!("the schema uses {other}, which this test does not know"),
        }
    }
}

#[tokio::test]
async fn the_committed_schema_holds_for_real_manifests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manifest.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let faults = |value: &Value| {
        let mut found = Vec::new();
        against(&schema, &schema, value, "", &mut found);
        found
    };
    let (mut studio, store) = (Studio::new(), MemStore::default());
    studio.encoder.floors = vec!["a"];
    studio.publish(&store).await.unwrap();
    withdraw(&store, "khoa", "b", &Ctx::silent()).await.unwrap();
    let mut seen = 0;
    let manifest = |key: &Key| key.as_str().starts_with("courses/") && !key.as_str().ends_with("/pages.json");
    for (key, (bytes, _)) in store.snapshot().iter().filter(|(k, _)| manifest(k)) {
        let value: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(faults(&value), Vec::<String>::new(), "{key}");
        seen += 1;
        // It bites: nothing required may be missing, nothing be of another kind.
        for name in ["course", "release", "stage", "title"] {
            let mut less = value.clone();
            less.as_object_mut().unwrap().remove(name);
            assert!(!faults(&less).is_empty(), "{key} without {name}");
            less[name] = Value::Bool(true);
            assert!(!faults(&less).is_empty(), "{key} with another {name}");
        }
    }
    assert_eq!(seen, 4);
}

/// Exact bytes of each lecture and of each of its rungs are in the manifest.
#[tokio::test]
async fn the_manifest_has_the_bytes_of_every_rung_and_object() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let all = store.snapshot();
    for lecture in &current(&store).await.lectures {
        let bytes = |key: &str| all[&Key::new(key).unwrap()].0.len() as u64;
        assert!(lecture.all_objects().all(|o| o.bytes == bytes(&o.key)));
        for rung in &lecture.rungs {
            assert_eq!(rung.bytes, bytes(&lecture.objects[&format!("v-{}.mp4", rung.name)].key));
        }
        for voice in &lecture.voices {
            assert_eq!(voice.bytes, bytes(&lecture.objects[&format!("a-{}.mp4", voice.name)].key));
        }
    }
}
