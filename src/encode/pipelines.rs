//! `rivulet pipelines check`: builds every pipeline with every profile. Unknown elements and properties fail to build;
//! misspelt caps fields would be ignored silently by GStreamer, so they are compared with the fields that exist; options of the
//! video encoder are looked at by coding a picture.

use super::decoder::{describe, init, launch};
use crate::error::{Error, Result};
use crate::pipeline::Fragments;
use crate::plan::{Effort, Shape};
use crate::profile::{self, Profile};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checked {
    pub pipeline: String,
    pub profile: String,
    /// What is wrong; empty where nothing is.
    pub faults: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    fragments: Fragments,
    /// Name, and what its file says: a profile's name is its file's and no field of it.
    profiles: Vec<(String, serde_json::Value)>,
}

impl Job {
    pub fn new(fragments: &Fragments, profiles: &[Profile]) -> Result<Job> {
        let bug = |e| Error::bug("a profile does not serialise").caused_by(e);
        let plain = |profile: &Profile| {
            let mut value = serde_json::to_value(profile).map_err(bug)?;
            value.as_object_mut().and_then(|fields| fields.remove("name"));
            Ok((profile.name.clone(), value))
        };
        Ok(Job { fragments: fragments.clone(), profiles: profiles.iter().map(plain).collect::<Result<_>>()? })
    }

    fn profiles(&self) -> Result<Vec<Profile>> {
        let bug = |e| Error::bug("a profile does not come back").caused_by(e);
        let whole = |(name, value): &(String, serde_json::Value)| {
            let profile: Profile = serde_json::from_value(value.clone()).map_err(bug)?;
            Ok(Profile { name: name.clone(), ..profile })
        };
        self.profiles.iter().map(whole).collect()
    }
}

/// The built-in profiles.
pub fn built_in_profiles() -> Result<Vec<Profile>> {
    profile::BUILT_IN.iter().map(|(name, _)| profile::load(name)).collect()
}

/// The child's side.
pub fn check(job: &Job) -> Result<Vec<Checked>> {
    init()?;
    let mut out = Vec::new();
    for profile in &job.profiles()? {
        for role in job.fragments.roles() {
            for values in parameters(role, profile) {
                let pairs: Vec<_> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let faults = match job.fragments.bind(role, &pairs).and_then(|text| launch(&complete(role, &text))) {
                    Ok(pipeline) if role == "rung-h264" => [caps_faults(&pipeline), option_faults(&pipeline)].concat(),
                    Ok(pipeline) => caps_faults(&pipeline),
                    Err(e) => vec![e.report()],
                };
                out.push(Checked { pipeline: role.into(), profile: profile.name.clone(), faults });
            }
        }
    }
    Ok(out)
}

type Values = Vec<(String, String)>;

/// Every set of values that a profile gives a role.
fn parameters(role: &str, profile: &Profile) -> Vec<Values> {
    let set = |pairs: &[(&str, String)]| pairs.iter().map(|(n, v)| (n.to_string(), v.clone())).collect::<Values>();
    match role {
        "decode" => vec![set(&[("path", "/dev/null".into())])],
        "pictures-interlaced" => ["top", "bottom"]
            .iter()
            .map(|f| set(&[("caps", "video/x-raw,format=I420,colorimetry=bt709".into()), ("fields", f.to_string())]))
            .collect(),
        "pictures" => vec![
            set(&[("caps", "video/x-raw,format=I420,colorimetry=bt709".into())]),
            set(&[("caps", "video/x-raw,format=I420_10LE".into())]),
        ],
        "card" => vec![set(&[
            ("width", "640".into()),
            ("height", "360".into()),
            ("colour", "bt709".into()),
            ("title", "Suy hô hấp \"cấp\"".into()),
            ("font", "DejaVu Sans 20".into()),
        ])],
        "still-webp" => vec![set(&[("quality", "45".into())])],
        "rung-h264" => profile
            .rungs
            .iter()
            .map(|r| (r, Shape::Motion))
            .chain(profile.slides.rungs.iter().map(|r| (r, Shape::Slides)))
            .map(|(r, shape)| {
                let effort = Effort::of(&profile.video.preset, shape);
                set(&[
                    ("crf", r.crf.to_string()),
                    ("max_kbps", (r.max.bps() / 1000).to_string()),
                    ("buffer_ms", ((r.buffer_s * 1000.0) as u64).to_string()),
                    ("b_pictures", if shape == Shape::Motion { "3" } else { "0" }.into()),
                    ("references", "1".into()),
                    ("lookahead", "40".into()),
                    ("full", r.buffer_full.to_string()),
                    ("preset", profile.video.preset.clone()),
                    ("motion", effort.motion),
                    ("partitions", effort.partitions),
                    ("psy", u8::from(effort.psy).to_string()),
                    ("level", "4".into()),
                ])
            })
            .collect(),
        "voice-opus" => {
            vec![set(&[("bitrate", profile.voice.opus.bitrate.bps().to_string()), ("frame_ms", profile.voice.opus.packet_ms.to_string())])]
        }
        "voice-aac" => {
            vec![set(&[("bitrate", profile.voice.aac.bitrate.bps().to_string()), ("rate_hz", profile.voice.aac.rate_hz.to_string())])]
        }
        _ => vec![Vec::new()],
    }
}

/// Fragments that begin or end inside a larger pipeline are built with what stands around them.
fn complete(role: &str, text: &str) -> String {
    match role {
        "decode" => format!("{text} ! fakesink"),
        _ => text.to_string(),
    }
}

/// Fields of raw and coded media that GStreamer 1.22's elements read.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "video/x-raw",
        &[
            "format",
            "width",
            "height",
            "framerate",
            "max-framerate",
            "pixel-aspect-ratio",
            "interlace-mode",
            "colorimetry",
            "chroma-site",
            "views",
            "field-order",
        ],
    ),
    ("audio/x-raw", &["format", "rate", "channels", "layout", "channel-mask"]),
    ("video/x-h264", &["stream-format", "alignment", "profile", "level", "width", "height", "framerate"]),
    ("audio/mpeg", &["mpegversion", "stream-format", "rate", "channels", "base-profile", "profile", "level", "framed"]),
    ("audio/x-opus", &["rate", "channels", "channel-mapping-family", "stream-count", "coupled-count"]),
];

/// What the encoder says of its options: x264 looks at them when a first picture comes, not before.
fn option_faults(pipeline: &gst::Pipeline) -> Vec<String> {
    let missing = |name: &str| vec![format!("no fitting element is named {name}")];
    let Some(input) = pipeline.by_name("pictures").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()) else { return missing("pictures") };
    let Some(output) = pipeline.by_name("units").and_then(|e| e.downcast::<gst_app::AppSink>().ok()) else { return missing("units") };
    let (width, height) = (128, 96);
    let caps = gst::Caps::builder("video/x-raw").field("format", "I420").field("width", width).field("height", height);
    input.set_caps(Some(&caps.field("framerate", gst::Fraction::new(0, 1)).build()));
    let mut grey = gst::Buffer::from_slice(vec![128u8; (width * height * 3 / 2) as usize]);
    grey.get_mut().expect("the buffer is new").set_pts(gst::ClockTime::ZERO);
    let fed = pipeline.set_state(gst::State::Playing).is_ok() && input.push_buffer(grey).is_ok() && input.end_of_stream().is_ok();
    let coded = if fed { output.try_pull_sample(gst::ClockTime::from_seconds(5)) } else { None };
    let fault = pipeline.bus().filter(|_| coded.is_none()).and_then(|bus| {
        bus.timed_pop_filtered(gst::ClockTime::SECOND, &[gst::MessageType::Error]).map(|message| match message.view() {
            gst::MessageView::Error(e) => describe(e),
            _ => String::new(),
        })
    });
    let _ = pipeline.set_state(gst::State::Null);
    match coded {
        Some(_) => Vec::new(),
        None => vec![format!("the encoder codes no picture: {}", fault.as_deref().unwrap_or("it says nothing"))],
    }
}

fn caps_faults(pipeline: &gst::Pipeline) -> Vec<String> {
    let mut faults = Vec::new();
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        if element.factory().is_none_or(|f| f.name() != "capsfilter") {
            continue;
        }
        let caps = element.property::<gst::Caps>("caps");
        for structure in caps.iter() {
            match FIELDS.iter().find(|(media, _)| *media == structure.name().as_str()) {
                None => faults.push(format!("caps of the unknown media type {}", structure.name())),
                Some((media, known)) => {
                    let unknown = structure.fields().filter(|f| !known.contains(&f.as_str()));
                    faults.extend(unknown.map(|f| format!("caps {media} have no field \"{f}\": known are {}", known.join(", "))));
                }
            }
        }
    }
    faults
}
