#!/usr/bin/env python3
"""What a learner meets who opens a lecture's link: Chromium behind the link emulator (docs/link.md), against `rivulet serve`.

    benches/player.py [--classes edge,weak-3g,3g] [--seeds 1,2,3] [--traces 10] [--only start,second,2g,traces] [--short]

start   first visit, nothing cached, play tapped as soon as it can be: seconds to speech that is rendered and to a slide that
        is painted, bytes before the sound, and all the code and style that the page has, packed. Beside it hls.js by itself
        on the same package, and on Apple's AVC ladder.
second  another lecture of the course, a minute later, with what the browser kept of the first.
2g      a lecture to its end on 35 kbit/s.
traces  300 s of a lecture on measured 3G links (../shared/traces/norway-3g, or $RIVULET_SHARED/traces); start-up over 15 s counts as
        stall. The page, stock hls.js and stock Shaka Player; several side by side.

One round trip is added for DNS. Where the binary serves no TLS, another for TLS 1.3; the table says so. Medians over the
seeds of the losses; a bar that is missed is marked `!`, and the exit code is 1.
"""

import argparse
import base64
import concurrent.futures
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "link")]
import classes
import common
import pipe
import player_media as media

LINK = HERE.parent / "tests" / "link" / "link.py"
SOUND_S = {"edge": 9.0, "weak-3g": 5.0, "3g": 3.0}
SLIDE_AFTER_S, SECOND_S, BYTES, CODE = 2.0, 3.0, 60_000, 20_000
PLAY_S, START_FREE_S, STALL_SHARE, SESSIONS_SHARE = 300, 15.0, 0.01, 0.95
PORT = 8080


class Site:
    """How the store is served: the command, the address, Chromium's flags, round trips that plain HTTP leaves out."""

    def __init__(self, store):
        told = subprocess.run([common.rivulet(), "serve", "--help"], capture_output=True, text=True).stdout
        self.command = f"exec {common.rivulet()} serve {store} --listen 192.0.2.2:{PORT}"
        if "--tls-cert" in told:
            if not shutil.which("openssl"):
                raise SystemExit("bench-player: a certificate is made with openssl, which is not installed: apt-get install openssl")
            certificate, key = media.OUT / "cert.pem", media.OUT / "key.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-keyout", key, "-out", certificate]
                           + ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:192.0.2.2"], check=True, capture_output=True)
            public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
            self.command += f" --tls-cert {certificate} --tls-key {key}"
            self.origin, self.flags, self.trips = f"https://192.0.2.2:{PORT}", ["--ignore-certificate-errors-spki-list=" + base64.b64encode(hashlib.sha256(public).digest()).decode()], 1
        else:
            self.origin, self.trips = f"http://192.0.2.2:{PORT}", 2
            # Service workers want a secure origin.
            self.flags = [f"--unsafely-treat-insecure-origin-as-secure={self.origin}"]

    def visits(self, link, visits, trips_s):
        """Visits one after the other behind one link, with one profile, as `player.mjs` tells them, DNS (and TLS) added."""
        with tempfile.TemporaryDirectory(dir=media.OUT) as scratch:
            report = Path(scratch) / "report.json"
            specs = [{"profile": f"{scratch}/profile", "watch_s": 0, "limit_s": 150, "flags": self.flags, **v, "url": f"{self.origin}/{v['url']}"} for v in visits]
            # Above other people's builds, where we may.
            node = ["nice", "-n", "-10", "node"] if os.geteuid() == 0 else ["node"]
            script = [sys.executable, "-c", "import subprocess, sys\nfor spec in sys.argv[1:]: subprocess.run([*%r, %r, spec], check=True)" % (node, str(HERE / "player.mjs")), *map(json.dumps, specs)]
            argv = [sys.executable, LINK, "run", *link, "--server", self.command, "--ready", str(PORT), "--server-log", f"{scratch}/server.log", "--report", report, "--", *script]
            done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"bench-player: exit {done.returncode}: {' '.join(map(str, link))}\n{done.stderr[-2000:]}")
            found = [json.loads(line) for line in done.stdout.splitlines()]
            late = json.loads(report.read_text())["late_max_ms"]
        for visit in found:
            visit["late_ms"] = late
            for name in ("sound_s", "slide_s", "picture_s"):
                if visit[name] is not None:
                    visit[name] += self.trips * trips_s
            for fault in [*visit["faults"], *([visit["gave_up"]] if visit["gave_up"] else [])]:
                print(f"  {visits[0]['url']}: {fault}", file=sys.stderr)
        return found

    def on_class(self, name, seed, *visits):
        return self.visits(["--class", name, "--seed", seed], visits, classes.CLASSES[name][2] / 1000)


def page(ident):
    return {"url": f"{media.COURSE}/{ident}.html", "tap": True}


def peer(name):
    return {"url": f"peers/{name}.html", "tap": False}


class Column:
    """The median of one value over several visits; never is worse than ever."""

    def __init__(self, visits, name):
        values = sorted(float("inf") if v[name] is None else v[name] for v in visits)
        self.median, self.worst = statistics.median_low(values) if len(values) % 2 else values[len(values) // 2], values[-1]

    def text(self, width, scale=1.0, limit=None):
        bad = limit is not None and not self.median <= limit
        number = "never" if self.median == float("inf") else f"{self.median / scale:.1f}"
        return f"{number:>{width}}" + ("!" if bad else " "), not bad


def line(name, what, visits, bars):
    """One row: (text, whether its bars are met). `bars`: the limit of sound, slide after sound, bytes and code, or None each."""
    sound, slide = Column(visits, "sound_s"), Column(visits, "slide_s")
    slide_bar = sound.median + bars["slide_after"] if bars.get("slide_after") else None
    cells = [sound.text(7, limit=bars.get("sound")), (f"{sound.worst:8.1f}", True), slide.text(8, limit=slide_bar)]
    picture = visits[0]
    cells.append((f"{picture['slide'] or '':>10}", True))
    first = f"{picture['picture_s']:.1f} {picture['picture']}" if picture["picture_s"] is not None else ""
    cells.append((f"{first:>15}", True))
    cells += [Column(visits, "bytes_before_sound").text(8, 1000, bars.get("bytes")), Column(visits, "code").text(7, 1000, bars.get("code"))]
    cells.append((f"{visits[0]['requests_before_sound']:5} {max(v['late_ms'] for v in visits):6.1f}", True))
    return f"{name:>8}  {what:<26}" + " ".join(text for text, _ in cells), all(ok for _, ok in cells)


HEADER = f"{'class':>8}  {'':<26}{'sound':>7}  {'worst':>8} {'slide':>8}  {'its size':>10} {'first picture':>15} {'kB':>8}  {'code':>7}  {'reqs':>5} {'late':>6}"


def start(site, args):
    print("\nFirst visit: seconds from opening the link; kB and requests before the sound; code: kB of script and style in all; late: what the emulator was late, ms\n" + HEADER)
    good = True
    for name in args.classes:
        bars = {"sound": SOUND_S.get(name), "slide_after": SLIDE_AFTER_S, "bytes": BYTES, "code": CODE}
        for what, visit, limits in (("page", page("bai-1"), bars), ("hls.js, same package", peer("hls-bai-1"), {}), ("hls.js, Apple's ladder", peer("hls-apple-bai-1"), {})):
            text, ok = line(name, what, [site.on_class(name, seed, visit)[0] for seed in args.seeds], limits)
            good &= ok
            print(text, flush=True)
    return common.verdict("start: sound, slide, bytes and code of the page", good)


def second(site, args):
    print("\nSecond visit: another lecture, with what the browser kept of the first, of which 30 s were heard\n" + HEADER)
    visits = [site.on_class("weak-3g", seed, {**page("bai-1"), "watch_s": 30}, page("bai-2"))[1] for seed in args.seeds]
    text, ok = line("weak-3g", "page", visits, {"sound": SECOND_S})
    print(text)
    return common.verdict(f"second visit: voice within {SECOND_S:.0f} s", ok)


def through_2g(site, args):
    visit = site.on_class("2g", args.seeds[0], {**page("bai-1"), "watch_s": 600, "limit_s": 400})[0]
    print(f"\n2g, to the end: sound after {visit['sound_s'] or float('inf'):.1f} s, {visit['stalls']} stalls of {visit['stall_s']:.1f} s in {visit['played_s']:.0f} s, {visit['bytes'] / 1000:.0f} kB")
    return common.verdict("2g: played through without a stall", bool(visit["ended"]) and visit["stalls"] == 0)


def oracle(spans, voice_bps):
    """Whether one who knows the trace hears 300 s without a stall: every second's voice is there in time, were the link filled
    from the first moment and 15 s waited for, with 7 % of headers and 60 kB for the page."""
    trace, need = pipe.Trace(spans), 60_000.0
    for second in range(PLAY_S):
        need += voice_bps / 8 * 1.07
        if trace.finish(0, int(need)) > (START_FREE_S + second) * pipe.SECOND:
            return False
    return True


def stalled(visit):
    """Share of the time that was stall; what was not played at all is stall too."""
    if visit["sound_s"] is None:
        return 1.0
    rest = 0.0 if visit["ended"] else max(0.0, PLAY_S - visit["played_s"] - visit["stall_s"])
    return (visit["stall_s"] + max(0.0, visit["sound_s"] - START_FREE_S) + rest) / PLAY_S


def traces(site, args, voice_bps):
    directory = Path(os.environ.get("RIVULET_SHARED", common.ROOT.parent / "shared")) / "traces" / "norway-3g"
    files = sorted(directory.glob("*.json"))
    if not files:
        print(f"\ntraces: SKIPPED, none in {directory}")
        return True
    files = [files[i * len(files) // args.traces] for i in range(min(args.traces, len(files)))]
    players = {"page": page("dai"), "hls.js, same": peer("hls-dai"), "hls.js, Apple": peer("hls-apple-dai"), "Shaka, Apple": peer("shaka-apple-dai")}
    print(f"\n{PLAY_S} s on measured links: seconds to the sound, stalls, their seconds and share (start-up over {START_FREE_S:.0f} s included), MB")
    print(f"{'':>32} {'oracle':>7}" + "".join(f"{name:>30}" for name in players), flush=True)

    def session(file, visit):
        spans = classes.trace(file)
        link = ["--trace", file, "--up", "330k", "--seed", args.seeds[0]]
        return site.visits(link, [{**visit, "watch_s": PLAY_S, "limit_s": PLAY_S * 2}], spans[0]["latency_ms"] / 1000)[0]

    possible, passed, failed = 0, 0, []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        running = {file: {name: pool.submit(session, file, visit) for name, visit in players.items()} for file in files}
        for file, sessions in running.items():
            can = oracle(classes.trace(file), voice_bps)
            text = f"{file.stem:>32} {'plays' if can else 'stalls':>7}"
            for name, future in sessions.items():
                visit = future.result()
                share = stalled(visit)
                sound = "never" if visit["sound_s"] is None else f"{visit['sound_s']:.1f}"
                text += f"{sound:>9}{visit['stalls']:4}{visit['stall_s']:6.1f}{100 * share:5.0f}%{visit['bytes'] / 1e6:5.1f}"
                if name == "page" and can:
                    possible += 1
                    passed += share < STALL_SHARE
                    failed += [file.stem] if share >= STALL_SHARE else []
            print(text, flush=True)
    for name in failed:
        print(f"  failed: {name}")
    return common.verdict(f"traces: {passed} of {possible} that an oracle plays have under {100 * STALL_SHARE:.0f} % stall", possible == 0 or passed / possible >= SESSIONS_SHARE)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda s: s.split(",")
    p.add_argument("--classes", type=words, default=["edge", "weak-3g", "3g"])
    p.add_argument("--seeds", type=words, default=["1", "2", "3"], help="of the losses")
    p.add_argument("--only", type=words, default=["start", "second", "2g", "traces"])
    p.add_argument("--traces", type=int, default=10, help="how many, evenly taken")
    p.add_argument("--jobs", type=int, default=5, help="trace sessions side by side")
    p.add_argument("--short", action="store_true", help="one seed, no traces")
    args = p.parse_args()
    if args.short:
        args.seeds, args.only = args.seeds[:1], [part for part in args.only if part != "traces"]
    if subprocess.run([sys.executable, LINK, "possible"]).returncode:
        raise SystemExit("bench-player: SKIPPED, nothing was measured")
    media.OUT.mkdir(parents=True, exist_ok=True)
    subprocess.run([common.ROOT / "tests" / "browser" / "modules.sh"], check=True)
    long = "traces" in args.only
    store, lectures = media.publish(long)
    media.peers(store, long)
    site = Site(store)
    print(f"player: {site.origin.split(':')[0]}, one round trip added for DNS" + (" and one for TLS 1.3, which this binary does not serve" if site.trips == 2 else ""))
    print(f"player: load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; the browser's own work counts, so measure on an idle one", flush=True)
    good = [start(site, args)] if "start" in args.only else []
    good += [second(site, args)] if "second" in args.only else []
    good += [through_2g(site, args)] if "2g" in args.only else []
    if long:
        voice = min(v["average_bps"] for v in lectures["dai"]["voices"])
        good += [traces(site, args, voice)]
    return all(good)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
