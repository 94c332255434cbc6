//! The voice through the real binary: generated recordings in, packets out, decoded again by GStreamer's decoders.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use rivulet::units::Bitrate;
use rivulet::voice::units::Units;
use rivulet::voice::{
    self, AAC_FILE, AacSettings, MIX_FILE, Made, MakeJob, MeasureJob, Measured, OPUS_FILE, OpusSettings, Part, VoiceJob, mix::Mix,
};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const RATE: usize = 48_000;

/// Runs a child verb as `child::run` does; `Err` is the error's kind and message.
fn child<J: serde::Serialize, R: serde::de::DeserializeOwned>(verb: &str, job: &J) -> Result<R, (String, String)> {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_rivulet")).args(["child", verb]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(job).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()) {
        if let Some(ok) = line.get("ok") {
            return Ok(serde_json::from_value(ok.clone()).unwrap());
        }
        if let Some(err) = line.get("err") {
            return Err((err["kind"].as_str().unwrap().into(), err["message"].as_str().unwrap().into()));
        }
    }
    panic!("no answer: {text}");
}

/// Writes a WAV of 16-bit samples.
fn wav(path: &Path, rate: u32, channels: &[Vec<f32>]) {
    let (n, c) = (channels[0].len(), channels.len());
    let bytes = (n * c * 2) as u32;
    let mut out = Vec::from(*b"RIFF");
    out.extend((36 + bytes).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    out.extend((c as u16).to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * c as u32 * 2).to_le_bytes());
    out.extend((c as u16 * 2).to_le_bytes());
    out.extend(b"\x10\0data");
    out.extend(bytes.to_le_bytes());
    for i in 0..n {
        channels.iter().for_each(|ch| out.extend(((ch[i] * 32_767.0) as i16).to_le_bytes()));
    }
    std::fs::write(path, out).unwrap();
}

/// Runs a launch line to its end: how test recordings are made in containers.
fn produce(line: &str) {
    gst::init().unwrap();
    let graph = gst::parse::launch(line).unwrap();
    graph.set_state(gst::State::Playing).unwrap();
    let message =
        graph.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos, gst::MessageType::Error]);
    assert!(matches!(message.as_ref().map(|m| m.view()), Some(gst::MessageView::Eos(_))), "{line}: {message:?}");
    graph.set_state(gst::State::Null).unwrap();
}

/// Decodes a units file as a player would: pre-skip cut at the front, the rest at the end. Samples and their rate.
fn decode(path: &Path) -> (Vec<f32>, usize) {
    gst::init().unwrap();
    let units = Units::open(path).unwrap();
    let header = units.header();
    let config = gst::Buffer::from_slice(units.codec_config());
    let (caps, decoder) = match header.codec.as_str() {
        "opus" => ("audio/x-opus,channel-mapping-family=0,channels=1,rate=48000", "opusdec"),
        _ => ("audio/mpeg,mpegversion=4,stream-format=raw,channels=1", "avdec_aac"),
    };
    let mut caps: gst::Caps = caps.parse().unwrap();
    {
        let structure = caps.get_mut().unwrap().structure_mut(0).unwrap();
        structure.set("rate", header.rate_hz as i32);
        if header.codec == "aac" {
            structure.set("codec_data", config);
        }
    }
    let graph = gst::parse::launch(&format!(
        "appsrc name=in format=time ! {decoder} ! audioconvert ! audio/x-raw,format=F32LE,channels=1 ! appsink name=out sync=false"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let source = graph.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let sink = graph.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    source.set_caps(Some(&caps));
    graph.set_state(gst::State::Playing).unwrap();
    for i in 0..header.packets.len() {
        let mut buffer = gst::Buffer::from_slice(units.read(i..i + 1).unwrap());
        let at =
            |n: usize| gst::ClockTime::from_nseconds(n as u64 * header.samples_per_packet as u64 * 1_000_000_000 / header.rate_hz as u64);
        buffer.get_mut().unwrap().set_pts(at(i));
        buffer.get_mut().unwrap().set_duration(at(i + 1) - at(i));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut samples = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        samples.extend(map.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())));
    }
    graph.set_state(gst::State::Null).unwrap();
    let skip = header.pre_skip as usize;
    let samples = samples[skip..skip + header.total_samples as usize].to_vec();
    (samples, header.rate_hz as usize)
}

/// The loudest sample within 50 ms of `at`, in seconds.
fn click_near(samples: &[f32], rate: usize, at: f64) -> f64 {
    let from = ((at - 0.05).max(0.0) * rate as f64) as usize;
    let to = (((at + 0.05) * rate as f64) as usize).min(samples.len());
    let (i, _) = samples[from..to].iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap();
    (from + i) as f64 / rate as f64
}

/// A buzz of harmonics at a gliding 120 Hz in bursts with pauses, like voiced words; level as a factor.
fn voiced(seconds: f64, level: f32, rate: usize) -> Vec<f32> {
    let mut phase = 0.0f32;
    (0..(seconds * rate as f64) as usize)
        .map(|i| {
            let t = i as f32 / rate as f32;
            phase = (phase + (120.0 + 25.0 * (t * 4.0).sin()) / rate as f32).fract();
            let buzz: f32 = (1..24).map(|k| (std::f32::consts::TAU * phase * k as f32 + (k * k) as f32).sin() / k as f32).sum();
            let word = (t * 3.1 * std::f32::consts::TAU).sin().max(0.0) * if (t as usize) % 5 == 4 { 0.02 } else { 1.0 };
            0.3 * buzz * level * (word + 0.002)
        })
        .collect()
}

/// Noise bursts with pauses, like words, and a faint room; level as a factor.
fn speech_like(seconds: f64, level: f32, rate: usize) -> Vec<f32> {
    let (mut state, mut low) = (12_345u32, 0.0f32);
    (0..(seconds * rate as f64) as usize)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let white = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            low += 0.2 * (white - low);
            let t = i as f32 / rate as f32;
            let word = (t * 3.1 * std::f32::consts::TAU).sin().max(0.0) * if (t as usize) % 5 == 4 { 0.02 } else { 1.0 };
            low * level * (word + 0.002)
        })
        .collect()
}

fn part(path: &Path, seconds: f64) -> Part {
    // A WAV file is one bare stream: it has no id.
    Part { path: path.into(), track: 0, stream_id: String::new(), start_ns: 0, end_ns: (seconds * 1e9) as u64, offset_ns: 0 }
}

/// A part of a file with several tracks, chosen as probing names them.
fn track(path: &Path, seconds: f64, track: usize) -> Part {
    let about = serde_json::json!({"path": path, "sha256": "0".repeat(64), "bytes": 1, "times": "auto"});
    let source: rivulet::probe::Source = child("probe", &about).unwrap();
    let stream_id = source.audio.get(track).map_or("none such".into(), |a| a.stream_id.clone());
    Part { track, stream_id, ..part(path, seconds) }
}

fn job(parts: Vec<Part>, seconds: f64) -> VoiceJob {
    VoiceJob {
        task: "test".into(),
        parts,
        total_ns: (seconds * 1e9) as u64,
        opus: Some(OpusSettings { bitrate: Bitrate::from_bps(24_000), frame_ms: 60 }),
        aac: Some(AacSettings { bitrate: Bitrate::from_bps(32_000), rate_hz: 32_000 }),
        fragments: rivulet::pipeline::Fragments::built_in(),
    }
}

fn measure_job(job: &VoiceJob, dir: &Path) -> MeasureJob {
    MeasureJob { job: job.clone(), dir: Some(dir.into()) }
}

fn make(job: &VoiceJob, dir: &Path) -> (Measured, Made) {
    let measured: Measured = child("loudness", &measure_job(job, dir)).unwrap();
    let made = child("voice", &MakeJob { job: job.clone(), measured: measured.clone(), dir: dir.into() }).unwrap();
    (measured, made)
}

/// What only measures leaves no decoded voice behind, and what is made later of what it found is the same to the byte.
#[test]
fn what_is_only_measured_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    wav(&recording, 48_000, &[voiced(4.0, 0.3, 48_000)]);
    let job = job(vec![part(&recording, 4.0)], 4.0);
    let [at_once, later] = ["at-once", "later"].map(|name| dir.path().join(name));
    for place in [&at_once, &later] {
        std::fs::create_dir(place).unwrap();
    }
    let (measured, made) = make(&job, &at_once);
    let alone: Measured = child("loudness", &MeasureJob { dir: None, ..measure_job(&job, &later) }).unwrap();
    assert_eq!((&alone, std::fs::read_dir(&later).unwrap().count()), (&measured, 0));
    let made_later: Made = child("voice", &MakeJob { job, measured: alone, dir: later.clone() }).unwrap();
    assert_eq!(made_later, made);
    for name in [OPUS_FILE, AAC_FILE] {
        assert!(std::fs::read(later.join(name)).unwrap() == std::fs::read(at_once.join(name)).unwrap(), "{name}");
    }
}

/// A click in the recording is in the decoded voice within a millisecond: at the start, in the middle, at the very end.
#[test]
fn a_click_comes_back_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let clicks = [0.1, 5.0, 9.985];
    // 44.1 kHz, so that the resampler is in the way as well; 40 ms before the end nothing may be lost.
    let mut samples = vec![0.0f32; 441_000];
    for at in clicks {
        let i = (at * 44_100.0) as usize;
        samples[i - 8..i + 9].iter_mut().enumerate().for_each(|(k, x)| *x = 0.7 * (1.0 - (k as f32 - 8.0).abs() / 9.0));
    }
    let recording = dir.path().join("clicks.wav");
    wav(&recording, 44_100, &[samples]);
    make(&job(vec![part(&recording, 10.0)], 10.0), dir.path());
    for (name, packet) in [(OPUS_FILE, 2880), (AAC_FILE, 1024)] {
        let (heard, rate) = decode(&dir.path().join(name));
        assert_eq!(heard.len(), 10 * rate);
        let units = Units::open(&dir.path().join(name)).unwrap();
        let header = units.header();
        // No packet beyond what is needed.
        assert_eq!(header.packets.len(), (10 * rate + header.pre_skip as usize).div_ceil(packet), "{name}");
        assert_eq!((header.samples_per_packet, header.priming), (packet as u32, 0));
        for at in clicks {
            let back = click_near(&heard, rate, at);
            assert!((back - at).abs() < 0.001, "{name}: click at {at} came back at {back}");
        }
    }
}

#[test]
fn any_level_comes_out_at_the_target_below_the_peak() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    for (level, rate) in [(0.1, 16_000), (1.0, 48_000)] {
        let samples = voiced(12.0, level, rate);
        wav(&recording, rate as u32, &[samples.clone(), samples]);
        let (measured, made) = make(&job(vec![part(&recording, 12.0)], 12.0), dir.path());
        assert!(made.warnings.is_empty() && measured.warnings.is_empty(), "{measured:?} {made:?}");
        for (name, heard) in [(OPUS_FILE, &made.heard[0]), (AAC_FILE, &made.heard[1])] {
            // Measured here, on what the decoder gives, not what the child says.
            let (samples, rate) = decode(&dir.path().join(name));
            let mut meter = voice::mix::Meter::new(rate as u32).unwrap();
            meter.add(&samples).unwrap();
            assert!((meter.lufs() - voice::TARGET_LUFS).abs() <= 0.75, "{name} at level {level}: {:.2} LUFS", meter.lufs());
            assert!(meter.dbtp() <= voice::PEAK_DBTP, "{name} at level {level}: {:.2} dBTP", meter.dbtp());
            assert!((meter.lufs() - heard.lufs).abs() < 0.15, "the child measured {heard:?}");
        }
        let (lufs, _) = voice::summary(&made.heard);
        assert!((lufs - voice::TARGET_LUFS).abs() <= 0.5, "{lufs}");
    }
}

/// Bursts of noise are the worst for a codec: it makes other noise of them, with peaks 4 dB higher. Where loudness and peak
/// cannot both be had, the peak is kept, and what is missed is said.
#[test]
fn the_peak_goes_before_the_loudness() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    wav(&recording, RATE as u32, &[speech_like(12.0, 1.6, RATE)]);
    let (_, made) = make(&job(vec![part(&recording, 12.0)], 12.0), dir.path());
    let (lufs, peak) = voice::summary(&made.heard);
    assert!(peak <= voice::PEAK_DBTP, "{made:?}");
    let missed = (lufs - voice::TARGET_LUFS).abs() > voice::TOLERANCE_LU;
    assert_eq!(missed, made.warnings.iter().any(|w| w.contains("LUFS")), "{made:?}");
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    wav(&recording, 44_100, &[speech_like(4.0, 0.5, 44_100)]);
    let job = job(vec![part(&recording, 4.0)], 4.0);
    let bytes = |name| std::fs::read(dir.path().join(name)).unwrap();
    make(&job, dir.path());
    let first = (bytes(OPUS_FILE), bytes(AAC_FILE));
    make(&job, dir.path());
    assert!(first == (bytes(OPUS_FILE), bytes(AAC_FILE)));
    assert!(!dir.path().join(MIX_FILE).exists(), "the decoded voice is removed when it has served");
    // Without what the first child decoded, or with it damaged, the second decodes by itself, to the same bytes.
    for damage in [false, true] {
        let measured: Measured = child("loudness", &measure_job(&job, dir.path())).unwrap();
        let mix = dir.path().join(MIX_FILE);
        let mut decoded = std::fs::read(&mix).unwrap();
        assert_eq!(decoded.len(), 4 * RATE * 4 + 64);
        std::fs::remove_file(&mix).unwrap();
        if damage {
            decoded[1000] ^= 0x40;
            std::fs::write(&mix, decoded).unwrap();
        }
        let _: Made = child("voice", &MakeJob { job: job.clone(), measured, dir: dir.path().into() }).unwrap();
        assert!(first == (bytes(OPUS_FILE), bytes(AAC_FILE)), "damage: {damage}");
        assert!(!mix.exists());
    }
}

/// Two files of unlike rate and channels, trimmed, with a pause between them and nothing for the last second.
#[test]
fn parts_lie_where_they_belong_and_missing_sound_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let click = |rate: usize, seconds: usize, at: f64| {
        let mut samples = vec![0.0f32; rate * seconds];
        samples[(at * rate as f64) as usize] = 0.9;
        samples
    };
    let (a, b) = (dir.path().join("a.wav"), dir.path().join("b.wav"));
    wav(&a, 48_000, &[click(48_000, 3, 1.5)]);
    let loud = click(16_000, 2, 1.0);
    wav(&b, 16_000, &[loud.clone(), loud]);
    // From a only 1 to 3 s, so its click lies at 0.5 s; b begins at 4 s and is said to be 3 s long, but is 2 s.
    let parts =
        vec![Part { start_ns: 1_000_000_000, end_ns: 3_000_000_000, ..part(&a, 3.0) }, Part { offset_ns: 4_000_000_000, ..part(&b, 3.0) }];
    let (measured, _) = make(&job(parts, 7.0), dir.path());
    assert_eq!(measured.warnings, ["b.wav has no sound from 6.0 to 7.0 s of the lecture: silence there"]);
    // It ends there, without a fault: nothing of the recording is lost.
    assert!(!measured.lost);
    for name in [OPUS_FILE, AAC_FILE] {
        let (heard, rate) = decode(&dir.path().join(name));
        assert_eq!(heard.len(), 7 * rate);
        for at in [0.5, 5.0] {
            assert!((click_near(&heard, rate, at) - at).abs() < 0.001, "{name} at {at}");
        }
    }
}

#[test]
fn a_voice_on_one_channel_is_taken_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    let voice = speech_like(3.0, 0.5, RATE);
    wav(&recording, RATE as u32, &[vec![0.0; voice.len()], voice.clone()]);
    let one: Measured = child("loudness", &measure_job(&job(vec![part(&recording, 3.0)], 3.0), dir.path())).unwrap();
    wav(&recording, RATE as u32, &[voice]);
    let mono: Measured = child("loudness", &measure_job(&job(vec![part(&recording, 3.0)], 3.0), dir.path())).unwrap();
    assert_eq!((one.mix, mono.mix), (Mix::Right, Mix::Mono));
    assert!((one.source_lufs - mono.source_lufs).abs() < 0.1, "{one:?} {mono:?}");
}

/// A film with two sound tracks: the one that is asked for is taken, and the pictures cost nothing (they are no pictures).
#[test]
fn the_track_that_is_asked_for_is_taken_and_pictures_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("film.mkv");
    produce(&format!(
        "matroskamux name=m ! filesink location={} audiotestsrc num-buffers=100 volume=0.5 ! audio/x-raw,rate=48000,channels=1 ! vorbisenc ! m. \
         audiotestsrc num-buffers=100 volume=0.05 ! audio/x-raw,rate=48000,channels=1 ! vorbisenc ! m. \
         videotestsrc num-buffers=50 ! video/x-raw,width=64,height=64,framerate=25/1 ! jpegenc ! m.",
        recording.display()
    ));
    let measure = |number| child::<_, Measured>("loudness", &measure_job(&job(vec![track(&recording, 2.0, number)], 2.0), dir.path()));
    let (first, second) = (measure(0).unwrap(), measure(1).unwrap());
    assert!((first.source_lufs - second.source_lufs - 20.0).abs() < 0.5, "{first:?} {second:?}");
    let (kind, message) = measure(2).unwrap_err();
    assert_eq!(kind, "bad_media");
    assert!(message.contains("film.mkv") && message.contains("track 2"), "{message}");
}

/// Ten seconds of AAC, of which two are overwritten: what was there is lost and said to be, and what comes after is in its
/// place. Without the damage nothing is lost.
#[test]
fn sound_that_does_not_decode_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.m4a");
    produce(&format!(
        "audiotestsrc num-buffers=100 samplesperbuffer=4800 ! audio/x-raw,rate=48000,channels=1 ! voaacenc ! aacparse ! mp4mux ! filesink location={}",
        recording.display()
    ));
    let measure = || -> Measured { child("loudness", &measure_job(&job(vec![track(&recording, 10.0, 0)], 10.0), dir.path())).unwrap() };
    assert!(!measure().lost);
    let mut bytes = std::fs::read(&recording).unwrap();
    let data = bytes.windows(4).position(|w| w == b"mdat").unwrap() + 4;
    let index = bytes.windows(4).position(|w| w == b"moov").unwrap();
    let (start, end) = (data + (index - data) * 2 / 5, data + (index - data) * 3 / 5);
    bytes[start..end].fill(0xff);
    std::fs::write(&recording, bytes).unwrap();
    let measured = measure();
    assert!(measured.lost, "{measured:?}");
    assert!(measured.warnings.iter().any(|w| w.contains("has no sound from 4.")), "{measured:?}");
}

#[test]
fn silence_is_kept_silent_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    wav(&recording, RATE as u32, &[vec![0.0; 2 * RATE]]);
    let (_, made) = make(&job(vec![part(&recording, 2.0)], 2.0), dir.path());
    assert!(made.warnings[0].contains("silent"), "{made:?}");
    assert_eq!(made.gain_db, 0.0);
    assert!(decode(&dir.path().join(OPUS_FILE)).0.iter().all(|x| x.abs() < 1e-3));
}

#[test]
fn what_is_no_media_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.mp4");
    std::fs::write(&recording, "minutes of the meeting").unwrap();
    let (kind, message) = child::<_, Measured>("loudness", &measure_job(&job(vec![part(&recording, 2.0)], 2.0), dir.path())).unwrap_err();
    assert_eq!(kind, "bad_media");
    assert!(message.contains("a.mp4"), "{message}");
}

/// What is there already is not made again: with all of it in place no child is started (this test's own program, which
/// would be asked to be one, knows no such verb).
#[test]
fn what_exists_is_kept_and_what_is_damaged_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.wav");
    wav(&recording, RATE as u32, &[speech_like(2.0, 0.5, RATE)]);
    let job = job(vec![part(&recording, 2.0)], 2.0);
    let (measured, made) = make(&job, dir.path());
    std::fs::write(dir.path().join("voice-loudness.json"), serde_json::to_vec(&measured).unwrap()).unwrap();
    std::fs::write(dir.path().join("voice.json"), serde_json::to_vec(&made).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ctx = rivulet::progress::Ctx::silent();
    let output = runtime.block_on(voice::voice(&job, dir.path(), &ctx)).unwrap();
    assert_eq!(output.opus, Some(dir.path().join(OPUS_FILE)));
    assert_eq!(output.loudness.lufs, voice::summary(&made.heard).0);
    let mut bytes = std::fs::read(dir.path().join(AAC_FILE)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(dir.path().join(AAC_FILE), bytes).unwrap();
    assert!(runtime.block_on(voice::voice(&job, dir.path(), &ctx)).is_err(), "it must want to make it again");
}
