#!/usr/bin/env python3
"""CPU seconds and quality of a camera recording's ladder, beside ffmpeg 9 making the same rungs.

    benches/camera.py [RECORDING] [--times N] [--subsample N] [--profile P]

ffmpeg decodes once, scales with its default bicubic and makes all rungs and both voices in one process, with the preset,
CRF, maxrate, bufsize and keyframe times of our plan; once with its default threads, once with threads=1 for each encoder.

Quality is VMAF of every N-th frame, mean and 5th percentile: at the recording's own size (what a learner sees full
screen; the bar is held to this one) and at the rung's size. ffmpeg is encoded again a step coarser and a step finer (CRF
and cap together), and the bytes it needs for our quality are read off the line through these points (log of the bytes
over quality). "bytes" below 1 means that we need fewer.

Bars: CPU no more than that of the better ffmpeg; bytes at equal quality at most 1.03 times its.
$RIVULET and $FFMPEG name other binaries than the release build and the ffmpeg of PyPI.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

CPU_RATIO, BYTES_RATIO = 1.0, 1.03
TALK = "talk_conference_62s.mp4"


def drawn_recording():
    """A hand-held camera over a drawn room, 720p, 40 s: the project's own, where there is no real recording."""
    sys.path.insert(0, str(common.ROOT / "fixtures"))
    import pictures
    import tools

    path = common.OUT / "camera-720p.mp4"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=common.OUT) as scratch:
            scratch = Path(scratch)
            still = tools.draw(pictures.room(1536, 864), scratch / "room.png")
            inputs, chain = tools.camera(still, 1280, 720, 40, 25)
            speech = tools.Track(40)
            speech.say(0.5, "Bệnh nhân nam, sáu mươi hai tuổi, đau ngực hai giờ, huyết áp tụt.")
            speech.save(scratch / "voice.wav")
            tools.ffmpeg(*inputs, "-i", scratch / "voice.wav", "-vf", chain, *tools.X264, "-crf", 20, "-g", 50, *tools.AAC, "-t", 40, scratch / "whole.mp4")
            (scratch / "whole.mp4").rename(path)
    return path


def vmaf(coded, recording, size, subsample):
    """Mean, 5th percentile and number of frames. Frames are paired by their place: both have the same pictures, and
    timestamps of different timescales round differently."""
    # The same colours for both: libavfilter would convert what is tagged to what is not, and 720p of an untagged recording would lose 5 VMAF.
    colours = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    same = f"{colours},scale={size[0]}:{size[1]}:flags=bicubic,setsar=1,format=yuv420p,settb=1/1000,setpts=N*40"
    with tempfile.TemporaryDirectory(dir=common.OUT) as scratch:
        log = f"{scratch}/vmaf.json"
        graph = f"[0:v]{same}[a];[1:v]{same}[b];[a][b]libvmaf=log_fmt=json:log_path={log}:n_threads=2:n_subsample={subsample}"
        common.Run([common.ffmpeg(), "-v", "error", "-nostdin", "-i", coded, "-i", recording, "-lavfi", graph, "-f", "null", "-"], 3600)
        scores = sorted(f["metrics"]["vmaf"] for f in json.loads(Path(log).read_text())["frames"])
    return sum(scores) / len(scores), scores[len(scores) // 20]


def frames(file):
    """Pictures that decode."""
    said = subprocess.run([common.ffmpeg(), "-nostdin", "-i", file, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "null", "-"], capture_output=True, text=True).stderr
    return int(re.findall(r"frame=\s*(\d+)", said)[-1]), re.search(r"Video:.*?, (\d+)x(\d+)", said).groups()


def bytes_for(quality, points):
    """Bytes that ffmpeg needs for a quality: log-linear between the two points around it, or on through the nearest two."""
    points = sorted(points, key=lambda p: p[1])
    below = max((i for i, p in enumerate(points[:-1]) if p[1] <= quality), default=0)
    (b0, q0), (b1, q1) = points[below], points[below + 1]
    if q1 - q0 < 0.01:
        return b0  # No slope to read off: these points are the same picture.
    return math.exp(math.log(b0) + (quality - q0) / (q1 - q0) * (math.log(b1) - math.log(b0)))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("recording", type=Path, nargs="?")
    args.add_argument("--subsample", type=int, default=3, help="VMAF of every N-th frame [3]")
    args.add_argument("--times", type=int, default=3, help="runs of each, in turn [3]")
    args.add_argument("--profile", help="profile instead of the default")
    args.add_argument("--cpu-only", action="store_true", help="no quality")
    args = args.parse_args()
    common.OUT.mkdir(parents=True, exist_ok=True)
    media = common.media()
    recording = args.recording or (media / TALK if media else drawn_recording())
    more = ["--profile", args.profile] if args.profile else []

    plan = common.plan(recording, more)
    ours = common.OUT / "camera-rivulet"
    version = subprocess.run([common.ffmpeg(), "-version"], capture_output=True, text=True).stdout.split()[2]
    # In turn, several times, the least of each: what else the machine's cores carry costs either of them up to half as much again.
    kinds = {"ffmpeg, default threads": None, "ffmpeg, threads=1 a rung": 1}
    own, theirs = [], {name: [] for name in kinds}
    for _ in range(args.times):
        package, run = common.encode(recording, ours, more)
        own.append(run)
        for name, threads in kinds.items():
            theirs[name].append(common.ffmpeg_ladder(recording, plan, common.OUT / "camera-ffmpeg", threads))
    print(f"{recording.name}: {package['duration_s']:.1f} s, {len(plan['rungs'])} rungs, preset {plan['preset']}, both voices; ffmpeg {version}; the least of {args.times} runs in turn\n")
    print(f"  {'':26}{'CPU s':>9}{'wall s':>9}{'media s per CPU s':>20}{'rivulet / ffmpeg':>19}   all CPU s")
    least = {name: min(r.cpu_s for r in runs) for name, runs in {"rivulet": own, **theirs}.items()}
    for name, runs in {"rivulet": own, **theirs}.items():
        ratio = "" if name == "rivulet" else f"{least['rivulet'] / least[name]:.3f}"
        everyone = " ".join(f"{r.cpu_s:.1f}" for r in runs)
        print(f"  {name:26}{least[name]:9.1f}{min(r.wall_s for r in runs):9.1f}{package['duration_s'] / least[name]:20.2f}{ratio:>19}   {everyone}")
    ratio = least["rivulet"] / min(least[name] for name in kinds)
    fine = common.verdict(f"camera: {ratio:.3f} times the CPU of the better ffmpeg, {CPU_RATIO} allowed", ratio <= CPU_RATIO)
    if args.cpu_only:
        return fine

    # threads=1 came last, so camera-ffmpeg holds the bytes that do not depend on threads.
    steps = {0: common.OUT / "camera-ffmpeg"}
    for step in -1, 1:
        steps[step] = common.OUT / f"camera-ffmpeg{step:+}"
        common.ffmpeg_ladder(recording, plan, steps[step], 1, step)
    count, source_size = frames(recording)
    print(f"\n  {'rung':7}{'VMAF at':>11}{'kB':>8}{'mean':>8}{'5th %':>8}{'ffmpeg kB':>12}{'mean':>8}{'5th %':>8}{'bytes at equal mean':>22}{'5th %':>8}")
    worst = 0
    for rung in plan["rungs"]:
        file = f"v-{rung['name']}.mp4"
        if not (ours / file).exists():
            print(f"  {rung['name']:7} left out of the package")
            continue
        for directory in [ours, steps[0]]:
            if frames(directory / file)[0] != count:
                print(f"  {rung['name']}: {directory.name} has {frames(directory / file)[0]} pictures of the recording's {count}: not compared")
                return False
        kb = (ours / file).stat().st_size
        for size in dict.fromkeys([tuple(map(int, source_size)), (rung["width"], rung["height"])]):
            mean, low = vmaf(ours / file, recording, size, args.subsample)
            points = [((d / file).stat().st_size, *vmaf(d / file, recording, size, args.subsample)) for d in steps.values()]
            at_mean, at_low = (kb / bytes_for(q, [(p[0], p[i]) for p in points]) for i, q in ((1, mean), (2, low)))
            if size == tuple(map(int, source_size)):
                worst = max(worst, at_mean, at_low)
            b, m, l = points[0]
            print(f"  {rung['name']:7}{f'{size[0]}x{size[1]}':>11}{kb / 1e3:8.0f}{mean:8.2f}{low:8.2f}{b / 1e3:12.0f}{m:8.2f}{l:8.2f}{at_mean:22.3f}{at_low:8.3f}", flush=True)
    return common.verdict(f"camera: at worst {worst:.3f} times the bytes at equal quality, {BYTES_RATIO} allowed", worst <= BYTES_RATIO) and fine


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
