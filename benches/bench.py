#!/usr/bin/env python3
"""Numbers for what the design promises of `encode`, against ffmpeg and against itself.

    benches/bench.py camera RIVULET [--recording FILE]     CPU seconds and quality against ffmpeg making the same rungs
    benches/bench.py memory RIVULET [--minutes 5,60]       peak memory of a 1080p camera recording, short and long

`camera` reads each rung's CRF, maxrate and bufsize from the x264 text in its own stream, the preset from pipelines/, and
the keyframe times from package.json, so ffmpeg is asked for the same thing. $FFMPEG is the ffmpeg to compare with;
without libvmaf in it quality is SSIM. The recordings are a hand-held camera over a drawn room (fixtures/tools.py).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "fixtures"))
sys.dont_write_bytecode = True
import pictures
import tools

FFMPEG = os.environ.get("FFMPEG", "ffmpeg")
OUT = ROOT / "target" / "bench"
MEMORY_LIMIT_MB, MEMORY_GROWTH, CPU_RATIO = 1200, 1.05, 1.15


def timed(argv, **options):
    """Runs to the end; CPU seconds of it and all its descendants, wall seconds, stdout."""
    began = time.monotonic()
    child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, **options)
    watch = Memory(child.pid)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"bench: exit {child.returncode}: {' '.join(map(str, argv))}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, out.decode(), watch.end()


class Memory(threading.Thread):
    """Highest sum, over all processes of a session, of their proportional share of memory; ten samples a second."""

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session, self.peak_kb, self.stop = session, 0, threading.Event()
        self.start()

    def run(self):
        while not self.stop.wait(0.1):
            total = 0
            for proc in Path("/proc").glob("[0-9]*"):
                try:
                    if int((proc / "stat").read_text().rsplit(")", 1)[1].split()[3]) == self.session:
                        total += int(re.search(r"^Pss:\s+(\d+)", (proc / "smaps_rollup").read_text(), re.M)[1])
                except (OSError, TypeError, ValueError, IndexError):
                    continue  # It ended between two looks.
            self.peak_kb = max(self.peak_kb, total)

    def end(self):
        self.stop.set()
        self.join()
        return self.peak_kb / 1000


def encode(rivulet, recording, directory):
    """One package from an empty work directory."""
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=OUT) as work:
        cpu, wall, _, peak_mb = timed([rivulet, "--json", "encode", recording, "-o", directory], env={**os.environ, "RIVULET_WORK": work})
    return json.loads((directory / "package.json").read_text()), cpu, wall, peak_mb


def camera_recording(width, height, seconds):
    """A coded piece of 10 s without B-frames, repeated: an hour costs no more than ten seconds."""
    path = OUT / f"camera-{height}p-{seconds}s.mp4"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=OUT) as scratch:
            scratch = Path(scratch)
            still = tools.draw(pictures.room(width * 6 // 5, height * 6 // 5), scratch / "room.png")
            inputs, chain = tools.camera(still, width, height, 10, 25)
            tools.ffmpeg(*inputs, "-vf", chain, *tools.X264, "-bf", 0, "-crf", 23, "-g", 50, scratch / "piece.mkv")
            speech = tools.Track(10)
            speech.say(0.5, "Bệnh nhân nam, sáu mươi hai tuổi, đau ngực hai giờ, huyết áp tụt.")
            speech.save(scratch / "voice.wav")
            loop = ["-stream_loop", seconds // 10 - 1]
            tools.ffmpeg(*loop, "-i", scratch / "piece.mkv", *loop, "-i", scratch / "voice.wav", "-c:v", "copy", *tools.AAC, "-t", seconds, scratch / "whole.mp4")
            (scratch / "whole.mp4").rename(path)
    return path


def settings(directory, package):
    """What x264 says it did, a rung."""
    found = []
    for rung in package["rungs"]:
        text = re.search(rb"x264 - core [^\0]*?options: ([ -~]+)", (directory / f"v-{rung['name']}.mp4").read_bytes())
        if not text:
            raise SystemExit(f"bench: rung {rung['name']} carries no x264 settings to compare with")
        options = dict(o.split("=", 1) for o in text[1].decode().split() if "=" in o)
        found.append((rung, options["crf"], options.get("vbv_maxrate"), options.get("vbv_bufsize")))
    return found


def preset():
    presets = {m for f in (ROOT / "pipelines").glob("*.gst") for m in re.findall(r"speed-preset=(\w+)", f.read_text())}
    if len(presets) != 1:
        raise SystemExit(f"bench: pipelines/ name {len(presets)} presets ({', '.join(sorted(presets))}); one is needed")
    return presets.pop()


def ffmpeg_ladder(recording, rungs, keyframes, threads, directory):
    directory.mkdir(parents=True, exist_ok=True)
    split = f"[0:v]split={len(rungs)}" + "".join(f"[i{n}]" for n in range(len(rungs)))
    scales = [f"[i{n}]scale={r['width']}:{r['height']},format=yuv420p[o{n}]" for n, (r, *_) in enumerate(rungs)]
    argv = [FFMPEG, "-v", "error", "-nostdin", "-y", "-i", recording, "-filter_complex", ";".join([split, *scales])]
    for n, (rung, crf, maxrate, bufsize) in enumerate(rungs):
        argv += ["-map", f"[o{n}]", "-c:v", "libx264", "-preset", preset(), "-crf", crf, "-sc_threshold", "0", "-g", "100000", "-force_key_frames", keyframes, "-fps_mode", "passthrough"]
        argv += (["-maxrate", f"{maxrate}k", "-bufsize", f"{bufsize}k"] if maxrate else []) + (["-threads", threads] if threads else [])
        argv += [directory / f"v-{rung['name']}.mp4"]
    argv += ["-map", "0:a?", "-ac", "1", "-c:a", "aac", "-b:a", "32k", directory / "a-aac.mp4", "-map", "0:a?", "-ac", "1", "-c:a", "libopus", "-b:a", "24k", directory / "a-opus.mp4"]
    return timed(argv)


def quality(coded, recording, width, height):
    """Mean and 5th percentile, at the highest rung's size: VMAF where this ffmpeg has it, else SSIM times 100."""
    vmaf = "libvmaf" in subprocess.run([FFMPEG, "-v", "quiet", "-filters"], capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as scratch:
        log = f"{scratch}/log"
        measure = f"libvmaf=log_fmt=json:log_path={log}:n_threads=2" if vmaf else f"ssim=stats_file={log}"
        same = f"scale={width}:{height}:flags=bicubic,setpts=PTS-STARTPTS,format=yuv420p"
        graph = f"[0:v]{same}[a];[1:v]{same}[b];[a][b]{measure}"
        subprocess.run([FFMPEG, "-v", "error", "-nostdin", "-i", coded, "-i", recording, "-lavfi", graph, "-f", "null", "-"], check=True)
        if vmaf:
            scores = [f["metrics"]["vmaf"] for f in json.loads(Path(log).read_text())["frames"]]
        else:
            scores = [100 * float(s) for s in re.findall(r"All:([\d.]+)", Path(log).read_text())]
    scores.sort()
    return "VMAF" if vmaf else "SSIM", sum(scores) / len(scores), scores[len(scores) // 20]


def camera(rivulet, recording):
    recording = recording or camera_recording(1280, 720, 60)
    ours = OUT / "camera-rivulet"
    package, cpu, wall, _ = encode(rivulet, recording, ours)
    rungs = settings(ours, package)
    keyframes = ",".join(f"{b:.6f}" for b in package["boundaries_s"][:-1])
    print(f"{recording.name}, {package['duration_s']:.0f} s, {len(rungs)} rungs, preset {preset()}")
    print(f"  {'rivulet':28} {cpu:8.1f} CPU s {wall:8.1f} s  {package['duration_s'] / cpu:5.2f} media s per CPU s")
    best = None
    for name, threads in (("ffmpeg, default threads", None), ("ffmpeg, threads=1 a rung", "1")):
        theirs, their_wall, _, _ = ffmpeg_ladder(recording, rungs, keyframes, threads, OUT / "camera-ffmpeg")
        best = min(best or theirs, theirs)
        print(f"  {name:28} {theirs:8.1f} CPU s {their_wall:8.1f} s  rivulet needs {cpu / theirs:.2f} times that")
    size = max((r for r, *_ in rungs), key=lambda r: r["height"])
    for rung, *_ in rungs:
        for who, directory in (("rivulet", ours), ("ffmpeg", OUT / "camera-ffmpeg")):
            file = directory / f"v-{rung['name']}.mp4"
            what, mean, low = quality(file, recording, size["width"], size["height"])
            print(f"  {rung['name']:8} {who:8} {file.stat().st_size / 1e3:9.0f} kB  {what} mean {mean:6.2f}  5th percentile {low:6.2f}")
    ok = cpu <= CPU_RATIO * best
    print(f"camera: {cpu / best:.2f} times the CPU of the better ffmpeg, {CPU_RATIO} allowed: {'ok' if ok else 'TOO MUCH'}")
    return ok


def memory(rivulet, minutes):
    peaks = []
    for m in minutes:
        _, cpu, wall, peak = encode(rivulet, camera_recording(1920, 1080, m * 60), OUT / "memory-rivulet")
        peaks.append(peak)
        print(f"  1080p, {m:3} min: peak {peak:6.0f} MB, {wall:7.0f} s, {cpu:7.0f} CPU s", flush=True)
    growth = max(peaks) / min(peaks)
    ok = max(peaks) <= MEMORY_LIMIT_MB and growth <= MEMORY_GROWTH
    print(f"memory: {max(peaks):.0f} MB of {MEMORY_LIMIT_MB} allowed, {growth:.3f} times from the shortest to the longest, {MEMORY_GROWTH} allowed: {'ok' if ok else 'TOO MUCH'}")
    return ok


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("bench", choices=["camera", "memory"])
    args.add_argument("rivulet", type=Path)
    args.add_argument("--recording", type=Path)
    args.add_argument("--minutes", type=lambda s: [int(m) for m in s.split(",")], default=[5, 60])
    args = args.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    rivulet = args.rivulet.resolve()
    return 0 if (camera(rivulet, args.recording) if args.bench == "camera" else memory(rivulet, args.minutes)) else 1


if __name__ == "__main__":
    sys.exit(main())
