#!/usr/bin/env python3
"""How far the voice drifts from the picture in an hour: flash and click of one instant, in decoded pictures and samples.

    benches/sync.py [--short]

The hour is the project's own (`fixtures/make.py long`): a flash and a click every 5 s. --short takes the 30 s of the tests. Of
every rung and both voices each event is looked up by timestamps and edit lists, as ffmpeg applies them; printed is the
worst distance of a click from its flash in the first and in the last minute, and anywhere. Bar (issue 2): 10 ms to the
end. $RIVULET names another binary than the release build.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

WITHIN_S = 0.010


def output(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True)


def flashes(path):
    """Times at which a frame is bright and the one before was not."""
    told = output("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-vf", "scale=32:18,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-vsync", "passthrough", "-f", "null", "-").stdout
    found, before = [], 0.0
    for at, bright in re.findall(r"pts_time:([\d.]+)\s+lavfi\.signalstats\.YAVG=([\d.]+)", told):
        if float(bright) > 128 > before:
            found.append(float(at))
        before = float(bright)
    return found


def clicks(path, last_s):
    """Times at which sound begins after at least a second of quiet."""
    told = output("ffmpeg", "-v", "info", "-nostdin", "-i", path, "-af", "silencedetect=noise=-34dB:d=1", "-f", "null", "-").stderr
    found = [float(at) for at in re.findall(r"silence_end: ([\d.]+)", told)]
    # Where the file ends, silence does too.
    return [at for at in found if at <= last_s + 1]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--short", action="store_true")
    args = args.parse_args()
    name = "flash-click" if args.short else "flash-click-1h"
    recording = common.ROOT / "fixtures" / "out" / f"{name}.mp4"
    if not recording.exists():
        subprocess.run([common.ROOT / "fixtures" / "make.py", *([] if args.short else ["long"])], check=True)
    events = [e["s"] for e in json.loads(recording.with_suffix(".truth.json").read_text())["events"]]
    common.OUT.mkdir(parents=True, exist_ok=True)
    directory = common.OUT / "sync"
    package, run = common.encode(recording, directory)
    print(f"{name}: {package['duration_s']:.0f} s, {len(events)} events, {run.cpu_s:.0f} CPU s")
    heard = {path.stem[2:]: clicks(path, events[-1]) for path in sorted(directory.glob("a-*.mp4"))}
    print(f"\n  {'rung':12}{'voice':8}{'first minute':>14}{'last minute':>14}{'worst':>10}")
    held = len(heard) == len(package["voices"]) > 0
    for rung in package["rungs"]:
        seen = flashes(directory / f"v-{rung['name']}.mp4")
        for voice, ticks in heard.items():
            if len(seen) != len(events) or len(ticks) != len(events):
                held = False
                print(f"  {rung['name']:12}{voice:8}  {len(seen)} flashes and {len(ticks)} clicks for {len(events)} events")
                continue
            apart = [click - flash for flash, click in zip(seen, ticks)]
            worst = lambda some: max(some, key=abs) * 1000
            first = [a for a, s in zip(apart, events) if s < 60]
            last = [a for a, s in zip(apart, events) if s >= events[-1] - 60]
            held &= abs(worst(apart)) <= WITHIN_S * 1000
            print(f"  {rung['name']:12}{voice:8}{worst(first):11.2f} ms{worst(last):11.2f} ms{worst(apart):7.2f} ms", flush=True)
    return common.verdict(f"sync: clicks within {WITHIN_S * 1000:g} ms of their flashes, to the end", held)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
