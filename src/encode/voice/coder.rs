//! One encoder behind one seam: samples in, packets out into a spool file, a units file at the end. What an encoder does
//! to time is undone here, so that a sample comes back from any decoder where it went in.

use crate::error::{Error, Result, ResultExt};
use crate::voice::Heard;
use crate::voice::mix::Meter;
use crate::voice::resample::Resampler;
use crate::voice::units::{self, Header};
use crate::voice::{AacSettings, OpusSettings, RATE_HZ, VoiceJob, frames};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// AAC-LC.
const AAC_FRAME: u64 = 1024;
/// voaacenc gives sample s back at s + 1600, measured with a click (tests/voice.rs holds it).
const VOAACENC_DELAY: u64 = 1600;
/// So this much silence goes first, and the delay is two whole packets.
const AAC_LEAD: u64 = AAC_FRAME * VOAACENC_DELAY.div_ceil(AAC_FRAME) - VOAACENC_DELAY;
const AAC_PRIMING_PACKETS: usize = ((VOAACENC_DELAY + AAC_LEAD) / AAC_FRAME) as usize;
/// voaacenc does not give what is in it at the end; this much silence pushes the last sample out.
const AAC_TAIL: u64 = 4 * AAC_FRAME;

enum Kind {
    Opus,
    Aac { resampler: Resampler<1> },
}

/// An encoder at work.
pub struct Coder {
    kind: Kind,
    header: Header,
    path: PathBuf,
    graph: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    /// The packets decoded again, and what they measure.
    heard: gst_app::AppSink,
    meter: Meter,
    /// Samples pushed, at the encoder's rate.
    pushed: u64,
    /// Packets still to be thrown away, and packets wanted.
    prime: usize,
    wanted: usize,
    spool: BufWriter<File>,
    spool_path: PathBuf,
    stock: Vec<[f32; 1]>,
}

impl Coder {
    pub fn opus(settings: &OpusSettings, job: &VoiceJob, path: &Path) -> Result<Coder> {
        if ![20, 40, 60].contains(&settings.frame_ms) {
            return Err(Error::usage(format!("Opus packets of {} ms, expected 20, 40 or 60", settings.frame_ms)));
        }
        let text = job
            .fragments
            .bind("voice-opus", &[("bitrate", &settings.bitrate.bps().to_string()), ("frame_ms", &settings.frame_ms.to_string())])?;
        let samples = RATE_HZ / 1000 * settings.frame_ms;
        Coder::start(Kind::Opus, "opus", RATE_HZ, samples, &text, job, path)
    }

    pub fn aac(settings: &AacSettings, job: &VoiceJob, path: &Path) -> Result<Coder> {
        let text = job
            .fragments
            .bind("voice-aac", &[("bitrate", &settings.bitrate.bps().to_string()), ("rate_hz", &settings.rate_hz.to_string())])?;
        let kind = Kind::Aac { resampler: Resampler::new(RATE_HZ, settings.rate_hz) };
        let mut coder = Coder::start(kind, "aac", settings.rate_hz, AAC_FRAME as u32, &text, job, path)?;
        coder.prime = AAC_PRIMING_PACKETS;
        coder.wanted = coder.header.total_samples.div_ceil(AAC_FRAME) as usize;
        coder.silence(AAC_LEAD)?;
        Ok(coder)
    }

    fn start(kind: Kind, codec: &str, rate_hz: u32, samples_per_packet: u32, text: &str, job: &VoiceJob, path: &Path) -> Result<Coder> {
        let graph = crate::gst::launch(text)?;
        let source =
            crate::gst::element(&graph, "samples")?.downcast::<gst_app::AppSrc>().map_err(|_| Error::bug("samples is no appsrc"))?;
        let sink = crate::gst::appsink(&graph, "packets")?;
        let heard = crate::gst::appsink(&graph, "heard")?;
        let spool_path = path.with_extension(format!("spool{}", std::process::id()));
        let doing = || format!("cannot write {}", spool_path.display());
        let spool = BufWriter::new(File::options().read(true).write(true).create(true).truncate(true).open(&spool_path).doing(doing)?);
        // An open file needs no name: nothing is left behind however this process ends.
        std::fs::remove_file(&spool_path).doing(doing)?;
        graph.set_state(gst::State::Playing).map_err(|e| Error::failed(format!("the {codec} encoder does not start")).caused_by(e))?;
        let header = Header {
            codec: codec.into(),
            rate_hz,
            samples_per_packet,
            pre_skip: 0,
            priming: 0,
            total_samples: frames(job.total_ns, rate_hz),
            codec_config: String::new(),
            packets: Vec::new(),
        };
        Ok(Coder {
            kind,
            header,
            path: path.to_path_buf(),
            graph,
            source,
            sink,
            heard,
            meter: Meter::new(rate_hz)?,
            pushed: 0,
            prime: 0,
            wanted: usize::MAX,
            spool,
            spool_path,
            stock: Vec::new(),
        })
    }

    /// Takes samples at 48 kHz.
    pub fn push(&mut self, samples: &[f32]) -> Result<()> {
        self.stock.clear();
        match &mut self.kind {
            Kind::Opus => self.stock.extend(samples.iter().map(|x| [*x])),
            Kind::Aac { resampler } => {
                let mono: Vec<[f32; 1]> = samples.iter().map(|x| [*x]).collect();
                resampler.push(&mono, &mut self.stock);
            }
        }
        self.send()
    }

    /// Drains the encoder and says how its packets sound. Nothing is in the units file yet.
    pub fn drain(&mut self) -> Result<Heard> {
        if let Kind::Aac { resampler } = &mut self.kind {
            self.stock.clear();
            resampler.flush(&mut self.stock);
            self.send()?;
            self.silence(AAC_TAIL)?;
        }
        self.source.end_of_stream().map_err(|e| Error::failed("an encoder takes no end").caused_by(e))?;
        while !self.sink.is_eos() || !self.heard.is_eos() {
            match self.sink.try_pull_sample(gst::ClockTime::from_mseconds(10)) {
                Some(sample) => self.keep(&sample)?,
                None => self.check()?,
            }
            self.listen(gst::ClockTime::from_mseconds(10))?;
        }
        if let Kind::Opus = self.kind {
            // Channel mapping family 0, RFC 7845 section 5.1: pre-skip at byte 10, little endian.
            let config = hex_bytes(&self.header.codec_config);
            self.header.pre_skip = match config.get(10..12) {
                Some(skip) if config.starts_with(b"OpusHead") => u16::from_le_bytes([skip[0], skip[1]]) as u32,
                _ => return Err(Error::bug("opusenc gives no OpusHead")),
            };
            self.wanted =
                (self.header.total_samples + self.header.pre_skip as u64).div_ceil(self.header.samples_per_packet as u64) as usize;
        }
        if self.header.codec_config.is_empty() || self.header.packets.len() < self.wanted {
            return Err(Error::failed(format!(
                "the {} encoder gave {} packets, {} are needed",
                self.header.codec,
                self.header.packets.len(),
                self.wanted
            )));
        }
        Ok(Heard { codec: self.header.codec.clone(), lufs: self.meter.lufs(), true_peak_dbtp: self.meter.dbtp() })
    }

    /// Writes the units file; after [`Coder::drain`].
    pub fn write(mut self) -> Result<()> {
        self.header.packets.truncate(self.wanted);
        let bytes: u64 = self.header.packets.iter().map(|n| *n as u64).sum();
        let doing = || format!("cannot write {}", self.spool_path.display());
        self.spool.flush().doing(doing)?;
        let mut payload = self.spool.get_ref();
        payload.rewind().doing(doing)?;
        units::write(&self.path, &self.header, std::io::Read::take(payload, bytes))
    }

    fn silence(&mut self, samples: u64) -> Result<()> {
        self.stock.clear();
        self.stock.resize(samples as usize, [0.0]);
        self.send()
    }

    /// Sends the stock to the encoder and keeps what comes out meanwhile.
    fn send(&mut self) -> Result<()> {
        if self.stock.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.stock.len() * 2);
        for [x] in &self.stock {
            bytes.extend_from_slice(&((x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16).to_le_bytes());
        }
        let time = |n: u64| gst::ClockTime::from_nseconds((n as u128 * 1_000_000_000 / self.header.rate_hz as u128) as u64);
        let (pts, end) = (time(self.pushed), time(self.pushed + self.stock.len() as u64));
        let mut buffer = gst::Buffer::from_slice(bytes);
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            buffer.set_duration(end - pts);
        }
        self.pushed += self.stock.len() as u64;
        if let Err(e) = self.source.push_buffer(buffer) {
            self.check()?;
            return Err(Error::failed(format!("the {} encoder stopped", self.header.codec)).caused_by(e));
        }
        while let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::ZERO) {
            self.keep(&sample)?;
        }
        self.listen(gst::ClockTime::ZERO)?;
        self.check()
    }

    /// Measures what has been decoded again.
    fn listen(&mut self, wait: gst::ClockTime) -> Result<()> {
        while let Some(sample) = self.heard.try_pull_sample(wait) {
            let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) else { continue };
            let samples: Vec<f32> = map.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            self.meter.add(&samples)?;
        }
        Ok(())
    }

    fn keep(&mut self, sample: &gst::Sample) -> Result<()> {
        let Some(buffer) = sample.buffer() else { return Ok(()) };
        if self.header.codec_config.is_empty() {
            self.header.codec_config =
                config(sample.caps()).map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect()).unwrap_or_default();
        }
        // opusenc repeats its headers in the stream.
        if buffer.flags().contains(gst::BufferFlags::HEADER) {
            return Ok(());
        }
        if self.prime > 0 {
            self.prime -= 1;
            return Ok(());
        }
        let map = buffer.map_readable().map_err(|e| Error::failed("a packet cannot be read").caused_by(e))?;
        self.spool.write_all(&map).doing(|| format!("cannot write {}", self.spool_path.display()))?;
        self.header.packets.push(map.len() as u32);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match crate::gst::fault(&self.graph) {
            Some(fault) => Err(Error::failed(format!("the {} encoder failed", self.header.codec)).caused_by(fault)),
            None => Ok(()),
        }
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        let _ = self.graph.set_state(gst::State::Null);
    }
}

/// AudioSpecificConfig, or OpusHead, from the caps.
fn config(caps: Option<&gst::CapsRef>) -> Option<Vec<u8>> {
    let structure = caps?.structure(0)?;
    let buffer = match structure.get::<gst::Buffer>("codec_data") {
        Ok(buffer) => buffer,
        Err(_) => structure.get::<gst::Array>("streamheader").ok()?.first()?.get::<gst::Buffer>().ok()?,
    };
    Some(buffer.map_readable().ok()?.to_vec())
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
