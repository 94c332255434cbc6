//! The JSON Schema of `current.json` and `releases/<n>.json`, made from the types that write them: docs/manifest.schema.json
//! is this text, and a test holds it to that. `RIVULET_WRITE_SCHEMA=1 cargo test schema` writes it anew.

use super::{Current, Release};

/// One schema that holds for either file.
pub fn schema() -> serde_json::Value {
    #[derive(schemars::JsonSchema)]
    #[schemars(untagged, title = "The files of a course in a store")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Manifest {
        Current(Current),
        Release(Release),
    }
    schemars::schema_for!(Manifest).to_value()
}
