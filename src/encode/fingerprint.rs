//! Which tools make the bytes: part of every plan's digest. x264 does not say its build but in the stream, so one small
//! picture is encoded to ask it.

use super::decoder::{init, launch};
use crate::child;
use crate::error::{Error, Result};
use crate::progress::Ctx;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::collections::BTreeMap;

pub type Fingerprint = BTreeMap<String, String>;

/// Asks a child, so that this process never loads GStreamer.
pub async fn fingerprint(ctx: &Ctx) -> Result<Fingerprint> {
    child::run("fingerprint", "the tools", &(), child::Limits::wall(60), ctx, |_| {}).await
}

/// The child's side.
pub fn look() -> Result<Fingerprint> {
    init()?;
    let version = |factory: &str| {
        gst::ElementFactory::find(factory).and_then(|f| f.plugin()).map(|p| p.version().to_string()).ok_or_else(|| {
            Error::failed(format!("GStreamer has no element {factory}")).hint("`make setup` installs the Debian packages that hold it")
        })
    };
    let (major, minor, micro, _) = gst::version();
    Ok(BTreeMap::from([
        ("rivulet".into(), env!("CARGO_PKG_VERSION").into()),
        ("gstreamer".into(), format!("{major}.{minor}.{micro}")),
        ("libav".into(), version("avdec_h264")?),
        ("opusenc".into(), version("opusenc")?),
        ("tesseract".into(), super::ocr::look()),
        ("voaacenc".into(), version("voaacenc")?),
        ("webpenc".into(), version("webpenc")?),
        ("x264".into(), x264_build()?),
    ]))
}

/// `core 164 r3095 baee400`, from the user data of the first picture.
fn x264_build() -> Result<String> {
    let pipeline = launch(
        "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width=64,height=64 ! x264enc threads=1 ! appsink name=units sync=false",
    )?;
    let sink = pipeline.by_name("units").and_then(|e| e.downcast::<gst_app::AppSink>().ok()).ok_or_else(|| Error::bug("no appsink"))?;
    let unit = pipeline.set_state(gst::State::Playing).ok().and_then(|_| sink.try_pull_sample(gst::ClockTime::from_seconds(20)));
    let _ = pipeline.set_state(gst::State::Null);
    let sample = unit.ok_or_else(|| Error::failed("x264enc does not encode"))?;
    let map = sample.buffer().and_then(|b| b.map_readable().ok()).ok_or_else(|| Error::failed("x264enc gave nothing"))?;
    let text = String::from_utf8_lossy(&map);
    let build = text.split_once("x264 - ").and_then(|(_, rest)| rest.split_once(" - ")).map(|(build, _)| build.trim().to_string());
    Ok(build.unwrap_or_else(|| "unknown".into()))
}
