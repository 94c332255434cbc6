#!/usr/bin/env python3
"""Whether `rivulet replay` says what happens: the learner's page in Chromium behind the link emulator, and beside each visit what
replay computes of the same lecture on the same link.

    benches/replay.py [--classes edge,3g] [--traces 10] [--hard] [--video] [--jobs 3] [--sessions FILE]

Classes are a lecture of 40 s to its end, traces 300 s of a long one (../shared/traces/norway-3g, or $RIVULET_SHARED/traces),
evenly taken; `--hard` adds those on which replay computes a stall or a start after 4 s, `--video` some with automatic video. What the
browser takes from the loader's last byte to the sound is this machine's, and not the link's: half a second where it is idle, three where
others work beside it. So each visit's own is given to replay, as --device, and printed. `--sessions FILE` keeps what was measured, and measures
only what is not in it. At last all traces are replayed, and those that fail are listed.

Bars: start-up within 15 %, stalls within 10 % or a second. One that is missed is marked `!`, and the exit code is 1.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "link")]
import classes
import common
import player
import player_media as media

SHORT, LONG = "bai-1", "dai"
START, STALL, STALL_S = 0.15, 0.10, 1.0
VIDEO_CLASSES, VIDEO_S = ["edge-avg", "weak-3g", "3g"], 120


def package(store, ident):
    """The lecture as a package directory again, which is what replay reads: package.json and the voice it names."""
    current = json.loads((store / "courses" / media.COURSE / "current.json").read_text())
    release = json.loads((store / "courses" / media.COURSE / "releases" / f"{current['release']}.json").read_text())
    lecture = next(l for l in release["lectures"] if l["id"] == ident)
    out = media.OUT / "replay" / ident
    out.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "a-opus.mp4"):
        (out / name).write_bytes((store / lecture["objects"][name]["key"]).read_bytes())
    return out


def replay(store, ident, *arguments):
    """Sessions by their trace or class."""
    out = common.Run([common.rivulet(), "--json", "replay", package(store, ident), *arguments], 600).out
    return {s["trace"]: s for s in map(json.loads, out.splitlines()) if s["type"] == "session"}


# What the loader takes in Chromium from its last byte to the tap that it offers.
LOADER_S = 0.04


class Visit:
    """One that is measured and computed."""

    def __init__(self, link, rtt_s, ident, replayed, name, seconds=None, video=False, seed="1"):
        self.link, self.rtt_s, self.ident, self.replayed, self.name, self.seconds, self.video = [*link, "--seed", seed], rtt_s, ident, replayed, name, seconds, video
        self.key = f"{name} {seed} {ident} {'video' if video else 'slides'}"

    def measure(self, site):
        spec = {**player.page(self.ident), "warm": True, "log": True, "watch_s": self.seconds or 600, "limit_s": 700, **({"mode": "auto"} if self.video else {})}
        return site.visits(self.link, [spec], self.rtt_s)[0]

    def device_s(self, measured):
        """From the loader's last byte to the sound: what it takes before it offers the tap, and what follows."""
        return LOADER_S + max(0.0, (measured["sound_s"] or 0.0) - self.rtt_s - (measured["offered_s"] or 0.0))

    def compute(self, store, device_s):
        more = ["--seconds", self.seconds] if self.seconds else []
        return replay(store, self.ident, *self.replayed, "--device", f"{device_s:.2f}", *more, *(["--mode", "video"] if self.video else []))[self.name]


def of_class(name, seed, **more):
    return Visit(["--class", name], classes.CLASSES[name][2] / 1000, more.pop("ident", SHORT), ["--class", name], name, seed=seed, **more)


def of_trace(file, **more):
    return Visit(["--trace", file, "--up", "330k"], classes.trace(file)[0]["latency_ms"] / 1000, LONG, ["--trace", file], file.stem, seconds=player.PLAY_S, **more)


def row(visit, measured, computed, device_s):
    """A line, and whether the bars are met. Both clocks begin with the opening of the link, stalls are counted after the start."""
    start, said = measured["sound_s"], computed["start_s"]
    good_start = start is not None and said is not None and abs(said / start - 1) <= START
    good_stall = abs(computed["stall_s"] - measured["stall_s"]) <= max(STALL_S, STALL * measured["stall_s"])
    seconds = lambda s: "never" if s is None else f"{s:.2f}"
    text = f"{visit.key[:48]:<48}{device_s:>7.2f}{seconds(start):>8}{seconds(said):>8}{' ' if good_start else '!'}{measured['stalls']:>5}{measured['stall_s']:>7.1f}"
    text += f"{computed['stalls']:>5}{computed['stall_s']:>7.1f}{' ' if good_stall else '!'}{measured['bytes'] / 1000:>9.0f}{computed['bytes'] / 1000:>8.0f}{measured['late_ms']:>7.1f}"
    if visit.video:
        ways = lambda found: ", ".join(f"{name} {s:.0f}" for name, s in sorted(found.items()) if s >= 0.5)
        text += f"\n{'':>10}seen {ways(measured['ways'])}\n{'':>6}computed {ways(computed['rung_seconds'])}"
    return text, good_start and good_stall


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--classes", type=lambda s: s.split(","), default=list(classes.CLASSES))
    p.add_argument("--seeds", type=lambda s: s.split(","), default=["1", "2", "3"], help="of the losses, where there are any")
    p.add_argument("--traces", type=int, default=10)
    p.add_argument("--hard", action="store_true")
    p.add_argument("--video", action="store_true")
    p.add_argument("--jobs", type=int, default=3)
    p.add_argument("--sessions", type=Path)
    args = p.parse_args()
    if subprocess.run([sys.executable, player.LINK, "possible"]).returncode:
        raise SystemExit("bench-replay: SKIPPED, nothing was measured")
    media.OUT.mkdir(parents=True, exist_ok=True)
    subprocess.run([common.ROOT / "tests" / "browser" / "modules.sh"], check=True)
    store, _ = media.publish(True)
    site = player.Site(store)
    if site.trips != 1:
        raise SystemExit("bench-replay: this binary serves no TLS, and replay computes with it")
    directory = Path(os.environ.get("RIVULET_SHARED", common.ROOT.parent / "shared")) / "traces" / "norway-3g"
    files = sorted(directory.glob("*.json"))
    everywhere = replay(store, LONG, "--trace", directory) if files else {}

    visits = [of_class(name, seed) for name in args.classes for seed in (args.seeds if classes.CLASSES[name][3] else args.seeds[:1])]
    taken = [files[i * len(files) // args.traces] for i in range(min(args.traces, len(files)))] if files else []
    if args.hard:
        taken += [f for f in files if f not in taken and (everywhere[f.stem]["stall_s"] > 0 or everywhere[f.stem]["start_s"] > 4)]
    visits += [of_trace(f) for f in taken]
    if args.video:
        visits += [of_class(name, args.seeds[0], ident=LONG, seconds=VIDEO_S, video=True) for name in VIDEO_CLASSES] + [of_trace(f, video=True) for f in taken[-2:]]

    have = json.loads(args.sessions.read_text()) if args.sessions and args.sessions.exists() else {}

    def measured(visit):
        if visit.key not in have:
            found = have[visit.key] = visit.measure(site)
            if args.sessions:
                # A number more is a visit more; nothing is lost where it is stopped.
                part = args.sessions.with_suffix(".part")
                part.write_text(json.dumps(dict(have)))
                part.rename(args.sessions)
            print(f"  {visit.key}: {found['sound_s']} s, {found['stalls']} stalls", file=sys.stderr, flush=True)
        return have[visit.key]

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        print(f"replay: load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {args.jobs} browsers side by side")
        print("\nSeconds from the page to the sound (the machine's), to the sound, stalls and their seconds, kB: as measured, as computed; late: the emulator, ms")
        print(f"{'':<48}{'device':>7}{'start':>8}{'':>9}{'stalls':>12}{'':>12}{'kB':>10}{'':>8}{'late':>7}")
        good = True
        for visit, found in zip(visits, pool.map(measured, visits)):
            device_s = visit.device_s(found)
            text, ok = row(visit, found, visit.compute(store, device_s), device_s)
            good &= ok
            print(text, flush=True)
    if files:
        some = {n: s for n, s in everywhere.items()}
        passed = [n for n, s in some.items() if s["stall_share"] < player.STALL_SHARE]
        possible = [n for n, s in some.items() if s["oracle_stall_s"] == 0]
        print(f"\nAll {len(some)} traces, replayed: {len(passed)} have under 1 % stall; of {len(possible)} that an oracle plays without, {len(set(passed) & set(possible))}; the slowest took {max(s['computed_s'] for s in some.values()):.3f} s")
        for name in sorted(set(some) - set(passed)):
            s = some[name]
            print(f"  failed: {name}: start {s['start_s']:.1f} s, {s['stalls']} stalls of {s['stall_s']:.1f} s; an oracle stalls {s['oracle_stall_s']:.1f} s")
        good &= common.verdict("traces: 95 % of those that an oracle plays", len(set(passed) & set(possible)) >= player.SESSIONS_SHARE * len(possible))
    return common.verdict("replay: start within 15 %, stalls within 10 % or a second", good)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
