//! `pipelines/*.gst`: GStreamer topology as text, one role a file, with `{named}` parameters. Loading and binding are pure;
//! a user's own directory overrides built-in files of the same name. `check` (below `encode`) builds every one.

use crate::error::{Error, Result, ResultExt};
use crate::units::Digest;
use std::collections::BTreeMap;
use std::path::Path;

const BUILT_IN: &[(&str, &str)] = &[
    ("decode", include_str!("../pipelines/decode.gst")),
    ("pictures", include_str!("../pipelines/pictures.gst")),
    ("pictures-interlaced", include_str!("../pipelines/pictures-interlaced.gst")),
    ("rung-h264", include_str!("../pipelines/rung-h264.gst")),
    ("voice-decode", include_str!("../pipelines/voice-decode.gst")),
    ("voice-opus", include_str!("../pipelines/voice-opus.gst")),
    ("voice-aac", include_str!("../pipelines/voice-aac.gst")),
    ("card", include_str!("../pipelines/card.gst")),
    ("reread-h264", include_str!("../pipelines/reread-h264.gst")),
    ("still-webp", include_str!("../pipelines/still-webp.gst")),
];

/// All fragments by role, comments stripped.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Fragments(BTreeMap<String, String>);

impl Fragments {
    /// The built-in fragments.
    pub fn built_in() -> Self {
        Fragments(BUILT_IN.iter().map(|(role, text)| (role.to_string(), strip(text))).collect())
    }

    /// The built-in fragments, overridden by those in `dir`. A file there with a name that no role has is an error.
    pub fn load(dir: Option<&Path>) -> Result<Self> {
        let mut all = Self::built_in();
        let Some(dir) = dir else { return Ok(all) };
        let entries = std::fs::read_dir(dir).doing(|| format!("cannot read pipelines from {}", dir.display()))?;
        for entry in entries {
            let path = entry.doing(|| format!("cannot read {}", dir.display()))?.path();
            if path.extension().is_none_or(|e| e != "gst") {
                continue;
            }
            let role = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_string();
            let Some(slot) = all.0.get_mut(&role) else {
                let known: Vec<_> = all.0.keys().map(String::as_str).collect();
                return Err(Error::usage(format!("{}: no pipeline has the role \"{role}\"", path.display()))
                    .hint(format!("roles are {}", known.join(", "))));
            };
            *slot = strip(&std::fs::read_to_string(&path).doing(|| format!("cannot read {}", path.display()))?);
        }
        Ok(all)
    }

    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The launch text of one role with its parameters filled in. Every `{name}` must be given, and every given name used.
    pub fn bind(&self, role: &str, values: &[(&str, &str)]) -> Result<String> {
        let text = self.0.get(role).ok_or_else(|| Error::bug(format!("no pipeline has the role {role}")))?;
        fill(role, text, values)
    }

    /// Covers every fragment; part of the plan's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(serde_json::to_string(&self.0).expect("strings serialise").as_bytes())
    }
}

fn fill(role: &str, text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut used = vec![false; values.len()];
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| Error::usage(format!("pipeline {role}: a {{ is not closed")))?;
        let at = values.iter().position(|(n, _)| *n == name).ok_or_else(|| {
            let known: Vec<_> = values.iter().map(|(n, _)| *n).collect();
            Error::usage(format!("pipeline {role}: there is no parameter {{{name}}}")).hint(format!("it may use {}", known.join(", ")))
        })?;
        used[at] = true;
        out.push_str(before);
        out.push_str(&quote(values[at].1));
        rest = after;
    }
    out.push_str(rest);
    match used.iter().position(|u| !u) {
        None => Ok(out),
        Some(i) => Err(Error::usage(format!("pipeline {role} does not use its parameter {{{}}}", values[i].0))
            .hint("a parameter that is ignored would make a profile's value do nothing")),
    }
}

/// Drops comment lines and folds white space.
fn strip(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.collect::<Vec<_>>().join(" ")
}

/// A value as gst-launch syntax takes it: quoted, with `"` and `\` escaped, unless it is plain.
fn quote(value: &str) -> String {
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "_./:+-".contains(c));
    match plain {
        true => value.to_string(),
        false => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_gst_launch() {
        let f = Fragments(BTreeMap::from([("x".into(), "a location={path} ! b".into())]));
        assert_eq!(f.bind("x", &[("path", "/tmp/bài \"1\".mp4")]).unwrap(), "a location=\"/tmp/bài \\\"1\\\".mp4\" ! b");
    }

    #[test]
    fn a_parameter_that_is_missing_or_ignored_is_an_error() {
        let f = Fragments(BTreeMap::from([("x".into(), "a crf={crf}".into())]));
        assert!(f.bind("x", &[]).is_err());
        assert!(f.bind("x", &[("crf", "1"), ("max", "2")]).is_err());
    }

    #[test]
    fn comments_do_not_reach_gstreamer() {
        assert!(Fragments::built_in().0.values().all(|t| !t.contains('#')));
    }
}
