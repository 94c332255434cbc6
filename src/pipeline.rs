//! `pipelines/*.gst`: GStreamer fragments in gst-launch syntax with `{named}` parameters.

use crate::error::{Error, Result};

/// The launch text of a fragment: comment lines (first mark `#`) removed, every `{name}` replaced. A parameter without a
/// value, or a value without a parameter, is a bug.
pub fn bind(text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut bound: String = text.lines().filter(|l| !l.trim_start().starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    for (name, value) in values {
        let mark = format!("{{{name}}}");
        if !bound.contains(&mark) {
            return Err(Error::bug(format!("a pipeline has no parameter {mark}")));
        }
        bound = bound.replace(&mark, value);
    }
    match bound.find('{') {
        Some(at) => Err(Error::bug(format!("a pipeline's parameter has no value: {}", bound[at..].lines().next().unwrap_or_default()))),
        None => Ok(bound),
    }
}
