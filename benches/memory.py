#!/usr/bin/env python3
"""Peak memory of a 1080p recording with two chunks in flight: under 1.2 GB, and the same for an hour as for 5 minutes.

    benches/memory.py [--minutes 5,60] [--fps 10] [--profile P]   # minutes of slides; 2 of camera come first

Measured is the highest sum of PSS over rivulet and all its children, ten samples a second (common.py says why PSS).

An hour of camera is hours of x264: two minutes say what its ladder holds, which is another than that of slides. Within a ladder
it does not depend on what the pictures show, but on their size and number: so the long recordings are a slide with a running
clock, cheap to encode, at a frame rate that still fills every buffer: a segment of 6 s at 10 pictures a second has 60. It is
a coded minute, joined end to end by stream copy. `--fps 30` is the same with three times the pictures and the time.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import camera
import common

LIMIT_MB, GROWTH = 1200, 1.05


def recording(minutes, fps):
    path = common.OUT / f"slide-1080p-{fps}fps-{minutes}min.mp4"
    if path.exists():
        return path
    ffmpeg = [common.ffmpeg(), "-v", "error", "-nostdin", "-y"]
    with tempfile.TemporaryDirectory(dir=common.OUT) as scratch:
        minute, whole = f"{scratch}/minute.mkv", f"{scratch}/whole.mp4"
        # A noisy still, so that keyframes have a true size, and a small moving test card for the clock.
        picture = f"color=white:s=1920x1080:r={fps},noise=alls=20:allf=p,format=yuv420p[page];testsrc=s=320x240:r={fps}[clock];[page][clock]overlay=1560:40"
        subprocess.run(
            [*ffmpeg, "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "anoisesrc=a=0.05:c=pink:r=48000", "-t", "60", "-pix_fmt", "yuv420p", "-c:v", "libx264"]
            + ["-preset", "veryfast", "-crf", "23", "-g", str(5 * fps), "-bf", "0", "-c:a", "pcm_s16le", minute],
            check=True,
        )
        subprocess.run([*ffmpeg, "-stream_loop", str(minutes - 1), "-i", minute, "-c:v", "copy", "-c:a", "aac", "-b:a", "64k", "-ac", "1", "-t", str(60 * minutes), whole], check=True)
        Path(whole).rename(path)
    return path


def moving():
    """The drawn camera, three times over, as 1080p."""
    path = common.OUT / "camera-1080p-2min.mp4"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=common.OUT) as scratch:
            whole = f"{scratch}/whole.mp4"
            subprocess.run(
                [common.ffmpeg(), "-v", "error", "-nostdin", "-y", "-stream_loop", "2", "-i", camera.drawn_recording(), "-t", "120", "-vf", "scale=1920:1080"]
                + ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "copy", whole],
                check=True,
            )
            Path(whole).rename(path)
    return path


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--minutes", type=lambda s: [int(m) for m in s.split(",")], default=[5, 60])
    args.add_argument("--fps", type=int, default=10)
    args.add_argument("--profile", help="profile instead of the default")
    args = args.parse_args()
    common.OUT.mkdir(parents=True, exist_ok=True)
    more = ["--jobs", "2"] + (["--profile", args.profile] if args.profile else [])
    print(f"  {'1080p':>15}{'rungs':>7}{'peak MB':>10}{'CPU s':>9}{'wall s':>9}")

    def peak(name, path, minutes):
        package, run = common.encode(path, common.OUT / "memory-rivulet", more, limit_s=120 * minutes + 600, watch_memory=True)
        if "instead of 2 at once" in run.out:
            sys.exit("memory: too little is free on this machine for two chunks at once")
        if (package["shape"], package["rungs"][-1]["height"]) != ("motion" if name == "camera" else "slides", 1080):
            sys.exit(f"memory: {path.name} did not become {name} of 1080p, but {package['shape']}")
        print(f"  {minutes:>4} min {name:>6}{len(package['rungs']):7}{run.peak_mb:10.0f}{run.cpu_s:9.0f}{run.wall_s:9.0f}", flush=True)
        return run.peak_mb

    of_camera = peak("camera", moving(), 2)
    peaks = [peak("slides", recording(minutes, args.fps), minutes) for minutes in args.minutes]
    most = max(peaks + [of_camera])
    low = common.verdict(f"memory: {most:.0f} MB at the peak, {LIMIT_MB} allowed", most <= LIMIT_MB)
    growth = max(peaks) / min(peaks)
    return common.verdict(f"memory: {growth:.3f} times between shortest and longest, {GROWTH} allowed", growth <= GROWTH) and low


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
