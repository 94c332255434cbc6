#!/usr/bin/env python3
"""Intelligibility and quality of the voice, per codec, bit rate and packet length, on real Vietnamese speech.

    benches/voice.py [--only PATTERN,PATTERN] [--every N] [--short | --profiles-only | --opus KBPS...] [--jobs N]

All clips of ../shared/media whose name matches (`vi_*.wav`: 47 clips of seven people, 3 min) are brought to the same level and
joined, with 0.4 s of silence between them, into one track: an encoder meets them as it meets a lecture. Every
configuration encodes that track once, with the element and the properties of pipelines/voice-opus.gst and
voice-aac.gst. What is decoded is moved back by the codec's delay (found by correlation, told in the table) and scored
clip by clip against the source:

  ESTOI  extended short-time objective intelligibility, 0 to 1 (PyPI pystoi, at 10 kHz)
  PESQ   ITU-T P.862.2, wide band, 1 to 4.64 (PyPI pesq, at 16 kHz)

Mean and worst clip of each. kbit/s are the packets' alone; "in MP4" adds 4 bytes of sample table a packet and 110 bytes of
moof and mdat header for every 6 s. Bar (issue 3): ESTOI at least 0.93, in the mean, for Opus as the profiles have it.
"""

import argparse
import fnmatch
import multiprocessing
import re
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

common.run_with("numpy==2.4.6", "scipy==1.17.1", "pystoi==0.4.1", "pesq==0.0.4", common.FFMPEG_PACKAGE)
import numpy as np
import pesq
import pystoi
from scipy.io import wavfile
from scipy.signal import correlate

ESTOI = 0.93
RATE = 16_000
GAP_S = 0.4
OPUS_KBPS = [8, 10, 12, 14, 16, 18, 20, 24]
PACKET_MS = [60, 40, 20]
AAC_KBPS = [16, 20, 24, 32, 40, 48]
AAC_HZ = [16000, 22050, 24000, 32000]


def element(fragment, **values):
    """The encoder's line of a pipeline file, with its parameters filled in."""
    text = (common.ROOT / "pipelines" / f"{fragment}.gst").read_text(encoding="utf-8")
    line = re.search(r"^! ((?:opusenc|voaacenc) .*)$", text, re.M)[1]
    return line.format(**values).split()


def read(path):
    """A recording as mono float at 16 kHz."""
    raw = subprocess.run([common.ffmpeg(), "-v", "error", "-nostdin", "-i", path, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32).astype(np.float64)


def loud(samples):
    """RMS of the 20 ms frames that are within 30 dB of the loudest: of the words, not of the pauses."""
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    power = (frames**2).mean(axis=1)
    return np.sqrt(power[power > power.max() / 1000].mean())


def join(clips):
    """One track, and where each clip lies in it. -20 dBFS of speech is about -20 LUFS, and no peak is near full scale."""
    track, spans, at = [], [], 0
    for clip in clips:
        gain = min(0.1 / loud(clip), 0.9 / np.abs(clip).max())
        track += [clip * gain, np.zeros(round(GAP_S * RATE))]
        spans.append((at, at + len(clip)))
        at += len(track[-2]) + len(track[-1])
    return np.concatenate([*track, np.zeros(RATE)]), spans


def code(config, wav, directory):
    """Encodes and decodes the track: samples at 16 kHz, bytes of all packets."""
    codec, kbps, detail = config
    if codec == "opus":
        coder, rate, decoder = element("voice-opus", bitrate=kbps * 1000, frame_ms=detail), 48000, "opusdec"
    else:
        coder, rate, decoder = element("voice-aac", bitrate=kbps * 1000, rate_hz=detail), detail, "avdec_aac"
    payload, heard = directory / "payload", directory / "heard.wav"
    argv = ["gst-launch-1.0", "-q", "filesrc", f"location={wav}", "!", "wavparse", "!", "audioconvert", "!", "audioresample", "quality=10", "!"]
    argv += [f"audio/x-raw,format=S16LE,layout=interleaved,rate={rate},channels=1", "!", *coder, "!"]
    argv += ["audio/mpeg,mpegversion=4,stream-format=raw", "!"] if codec == "aac" else []
    argv += ["tee", "name=split", "split.", "!", "queue", "!", "filesink", f"location={payload}"]
    argv += ["split.", "!", "queue", "!", decoder, "!", "audioconvert", "dithering=none", "!", "audio/x-raw,format=F32LE,channels=1", "!", "wavenc", "!", "filesink", f"location={heard}"]
    common.Run(argv, 600)
    return read(heard), payload.stat().st_size


def delay(source, heard):
    """Samples by which `heard` is later, from -0.2 to 0.4 s."""
    n = 60 * RATE
    a, b = source[:n], heard[:n]
    both = correlate(b, a, method="fft")
    zero = len(a) - 1
    window = both[zero - RATE // 5 : zero + 2 * RATE // 5]
    return int(window.argmax()) - RATE // 5


def measure(task):
    """Scores one configuration: (config, kbit/s, delay in ms, [(ESTOI, PESQ) of each clip])."""
    config, wav, track, spans = task
    try:
        return score(config, wav, track, spans)
    except SystemExit as e:
        raise RuntimeError(str(e)) from None  # Or the pool waits for ever.


def score(config, wav, track, spans):
    with tempfile.TemporaryDirectory(dir=common.OUT) as scratch:
        heard, size = code(config, wav, Path(scratch))
    late = delay(track, heard)
    heard = np.concatenate([np.zeros(max(-late, 0)), heard[max(late, 0) :], np.zeros(len(track))])[: len(track)]
    scores = []
    for begin, end in spans:
        a, b = track[begin:end], heard[begin:end]
        b = b * np.sqrt((a**2).mean() / max((b**2).mean(), 1e-12))
        scores.append((pystoi.stoi(a, b, RATE, extended=True), pesq.pesq(RATE, a.astype(np.float32), b.astype(np.float32), "wb")))
    return config, size * 8 / (len(track) / RATE) / 1000, late * 1000 / RATE, scores


def in_mp4(config, kbps):
    """kbit/s with the container of docs/pipeline.md: what varies is the packets a second."""
    codec, _, detail = config
    packets = 1000 / detail if codec == "opus" else detail / 1024
    return kbps + (packets * 4 + 110 / 6) * 8 / 1000


def profiles():
    """What the profiles have: {(codec, kbps, detail): names}."""
    found = {}
    for path in sorted((common.ROOT / "profiles").glob("*.toml")):
        voice = tomllib.loads(path.read_text(encoding="utf-8"))["voice"]
        kbps = {k: round(float(v["bitrate"].rstrip("k"))) for k, v in voice.items()}
        for config in ("opus", kbps["opus"], voice["opus"]["packet_ms"]), ("aac", kbps["aac"], voice["aac"]["rate_hz"]):
            found.setdefault(config, []).append(path.stem)
    return found


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only", default="vi_*.wav", help="clips [vi_*.wav]")
    args.add_argument("--every", type=int, default=1, help="every N-th clip alone")
    args.add_argument("--short", action="store_true", help="Opus in 60 ms packets and AAC at 24 and 32 kHz alone")
    args.add_argument("--profiles-only", action="store_true", help="only what the profiles have, for the bar")
    args.add_argument("--opus", type=int, nargs="+", metavar="KBPS", help="these bit rates in 60 ms packets alone")
    args.add_argument("--jobs", type=int, default=2)
    args = args.parse_args()
    media = common.media()
    if media is None:
        print("voice: SKIPPED, NOTHING WAS MEASURED: no MANIFEST.tsv in ../shared/media; set RIVULET_SHARED to the directory above media/")
        return True
    common.OUT.mkdir(parents=True, exist_ok=True)
    files = [r["file"] for r in common.manifest(media) if r["class"] in ("speech", "clip") and any(fnmatch.fnmatch(r["file"], p) for p in args.only.split(","))][:: args.every]
    if not files:
        raise SystemExit(f"voice: no clip of {media} matches {args.only}")
    track, spans = join([read(media / f) for f in files])
    used = profiles()
    if args.opus:
        configs = [("opus", k, 60) for k in args.opus]
    elif args.profiles_only:
        configs = sorted(used, key=lambda c: (c[0] != "opus", c[1]))
    else:
        configs = [("opus", k, ms) for ms in PACKET_MS for k in OPUS_KBPS] + [("aac", k, hz) for k in AAC_KBPS for hz in AAC_HZ]
        if args.short:
            configs = [c for c in configs if c[2] in (60, 24000, 32000)]
        configs += [c for c in used if c not in configs]
    print(f"{len(files)} clips, {sum(e - b for b, e in spans) / RATE:.0f} s of speech\n")
    print("| codec | kbit/s asked | packet or rate | kbit/s | in MP4 | delay ms | ESTOI mean | worst | PESQ mean | worst | profile |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    held = []
    with tempfile.TemporaryDirectory(dir=common.OUT) as scratch, multiprocessing.Pool(args.jobs) as pool:
        wav = Path(scratch) / "track.wav"
        wavfile.write(wav, RATE, (track * 32767).round().astype(np.int16))
        for config, kbps, late, scores in pool.imap(measure, [(c, wav, track, spans) for c in configs]):
            estoi, quality = ([s[i] for s in scores] for i in range(2))
            detail = f"{config[2]} ms" if config[0] == "opus" else f"{config[2] / 1000:g} kHz"
            print(f"| {config[0]} | {config[1]} | {detail} | {kbps:.1f} | {in_mp4(config, kbps):.1f} | {late:.1f} | {statistics.mean(estoi):.3f} | {min(estoi):.3f} | {statistics.mean(quality):.2f} | {min(quality):.2f} | {' '.join(used.get(config, []))} |", flush=True)
            if config in used and config[0] == "opus":
                held.append(statistics.mean(estoi))
    if not held:
        return True  # None of them is in a profile: a table and no bar.
    print()
    return common.verdict(f"voice: ESTOI of the profiles' Opus at least {min(held):.3f} in the mean of the clips, {ESTOI} wanted", min(held) >= ESTOI)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
