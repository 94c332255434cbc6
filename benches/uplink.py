#!/usr/bin/env python3
"""Sending a course over a bad uplink: 1 Mbit/s, 300 ms round trip, 0.5 % of packets lost each way (docs/link.md).

    benches/uplink.py [--large-mb 32] [--objects 2000] [--short] [--only large,small,thin,paced]

Large: two objects, which all three send in parts; with rivulet handouts. Small: 20 kB each; with rivulet captions, each of which is stored as it was
given and as WebVTT, and has a playlist that comes on top. `rivulet publish`, `aws s3 sync` and `rclone copy` (Debian's awscli and rclone, nothing set) send to an S3 service (moto) behind the
link, each on a link of its own, all at once. The reference is a set of four TCP streams. Bars, of rivulet: on large objects 90 % of
the reference; for small ones at most 1.2 times the time that all bytes that came through take at the link's rate, headers included,
and no more of them than the objects and 1.5 kB for each, in packets. What the link lost or its queue dropped does not come through; what
was sent again for that is told ("twice MB", all bytes sent less those that came through) and is in the time. Thin: objects of 500 kB on a
link of 128 kbit/s, otherwise the same: the bar is 1.2 times the wire's time again, what was sent for nothing included. "queue s" is how
long the last in the link's queue of 75 kB waited at the worst moment. Then `rivulet publish --uplink 512k` on a link of 4 Mbit/s without
loss: in every 30 s window within 5 % of that rate, all packets counted.
"""

import argparse
import base64
import concurrent.futures
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import common

LINK = HERE.parent / "tests" / "link" / "link.py"
OUT = common.OUT / "uplink"
MOTO = "moto[server]==5.2.5"
UP_BPS, DELAY_MS, LOSS, STREAMS, SMALL = 1_000_000, 150, 0.5, 4, 20_000
THIN_BPS, THIN = 128_000, 500_000
LECTURES = 10
LARGE_SHARE, SMALL_TIMES = 0.90, 1.2
PACED_BPS, PACED_BYTES, PACED_OFF, WINDOW_S = 512_000, 6_000_000, 0.05, 30
# What may come through for an object beside its bytes: signed headers, and TCP's and IP's of each packet (4 %).
REQUEST, PACKETS = 1500, 1.06
ENDPOINT, BUCKET = "http://192.0.2.2:5000", "bench"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def plain():
    """Our environment without a network's and a cloud's own settings: there are neither behind the link (rclone 1.60 cannot
    start with a CA bundle)."""
    return {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}


def behind(name, server, ready, command, env=None, up=UP_BPS, loss=LOSS):
    """Runs a command behind the link: (code, stdout, stderr, report)."""
    report = OUT / f"{name}.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, LINK, "run", "--up", str(up), "--down", "4M", "--delay", str(DELAY_MS), "--loss", str(loss), "--seed", "1", "--report", report]
    argv += ["--server", server, "--ready", ready, "--server-log", OUT / f"{name}.log", "--", *command]
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**plain(), **KEYS, **(env or {})})
    return done.returncode, done.stdout, done.stderr, json.loads(report.read_text()) if report.exists() else None


def files(directory, count, size):
    """So many files of random bytes; the same every time."""
    directory.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        path = directory / f"{n:04}.pdf"
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(random.Random(f"{directory.name}/{n}").randbytes(size))
    for path in directory.iterdir():
        if path.suffix == ".pdf" and int(path.stem) >= count:
            path.unlink()
    return directory


def course(name, handouts, directory):
    """A course with as many objects of that size, each lecture of a short recording of its own. Large: a lecture for each file, its
    handout. Small: ten lectures, the objects their captions in many `languages`, of random letters that gzip to that size: each is stored twice, as it
    was given and as WebVTT, so there are half as many."""
    directory.mkdir(parents=True)
    text = f'id = "{name}"\ntitle = "Uplink"\nlanguage = "vi"\nlicence = "CC0-1.0"\n[[modules]]\nid = "m"\ntitle = "M"\n'
    paths = sorted(handouts.glob("*.pdf"))
    paths = paths[::2] if name == "small" else paths
    for n in range(LECTURES if name == "small" else len(paths)):
        picture, sound = ["-f", "lavfi", "-i", "color=white:s=320x180:r=5"], ["-f", "lavfi", "-i", f"sine={300 + 20 * n}:r=48000"]
        subprocess.run([common.ffmpeg(), "-v", "error", "-nostdin", "-y", *picture, *sound, "-t", "4", "-shortest", directory / f"{n}.mp4"], check=True)
        text += f'[[lectures]]\nid = "l{n}"\ntitle = "{n}"\nmodule = "m"\nrecording = "{n}.mp4"\n'
        if name != "small":
            (directory / paths[n].name).symlink_to(paths[n])
            text += f'handout = "{paths[n].name}"\n'
            continue
        captions = []
        for path in paths[n::LECTURES]:
            letters = base64.b64encode(path.read_bytes()).decode()
            cues = [letters[i : i + 600] for i in range(0, len(letters), 600)]
            times = (f"00:00:{(i * 80) // 1000:02}.{(i * 80) % 1000:03} --> 00:00:{(i * 80 + 80) // 1000:02}.{(i * 80 + 80) % 1000:03}" for i in range(len(cues)))
            (directory / f"{path.stem}.vtt").write_text("WEBVTT\n\n" + "".join(f"{t}\n{c}\n\n" for t, c in zip(times, cues)))
            captions.append(f'vi-{path.stem} = "{path.stem}.vtt"')
        text += f"captions = {{ {', '.join(captions)} }}\n"
    (directory / "course.toml").write_text(text)
    return directory / "course.toml"


def rivulet(name, handouts, scratch):
    if "s3://" not in subprocess.run([common.rivulet(), "publish", "--help"], capture_output=True, text=True).stdout:
        return "this rivulet does not publish to s3://"
    toml = course(name, handouts, scratch / f"course-{name}")
    env = {"RIVULET_WORK": str(scratch / f"work-{name}"), "AWS_ENDPOINT_URL": ENDPOINT}
    # Encoded, and in the work directory, by publishing to a directory first.
    common.Run([common.rivulet(), "publish", toml, "--to", scratch / f"store-{name}"], 3600, env)
    return [common.rivulet(), "--json", "publish", toml, "--to", f"s3://{BUCKET}/{name}"], env


def tool(program, why):
    path = f"/usr/bin/{program}"
    return path if os.access(path, os.X_OK) else f"{program} is not installed: apt-get install {why}"


def aws(name, handouts, _):
    path = tool("aws", "awscli")
    return ([path, "s3", "sync", "--no-progress", "--endpoint-url", ENDPOINT, str(handouts), f"s3://{BUCKET}/{name}"], {}) if path.startswith("/") else path


def rclone(name, handouts, _):
    path = tool("rclone", "rclone")
    options = ["--config", "/dev/null", "--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", ENDPOINT]
    return ([path, "copy", *options, str(handouts), f":s3:{BUCKET}/{name}"], {}) if path.startswith("/") else path


def send(name, who, handouts, scratch):
    """Why not, or a dict: seconds, bytes up that came through and those sent for nothing, objects and their bytes."""
    command = who(name, handouts, scratch)
    if isinstance(command, str):
        return command
    argv, env = command
    server = f"exec {common.VENV}/bin/python -B {HERE / 's3_server.py'} 192.0.2.2 5000 {BUCKET}"
    rate = THIN_BPS if name == "thin" else UP_BPS
    code, out, err, report = behind(f"{who.__name__}-{name}", server, "ready", argv, env, up=rate)
    if code:
        said = (err.strip().splitlines() or ["nothing said"])[-1]
        return f"exit {code}: {said}"
    # The service's own word, at its end: what it holds.
    held = re.findall(r"^holds (\d+) objects, (\d+) bytes$", (OUT / f"{who.__name__}-{name}.log").read_text(), re.M)
    if not held:
        return f"the service did not say what it holds: {OUT / f'{who.__name__}-{name}.log'}"
    objects, size = map(int, held[-1])
    up = report["up"]
    twice = up["offered_bytes"] - up["delivered_bytes"]
    of_wire = report["seconds"] / (up["delivered_bytes"] * 8 / rate)
    waits = up["queue_peak_bytes"] * 8 / rate
    return {"seconds": report["seconds"], "wire": up["delivered_bytes"], "of_wire": of_wire, "twice": twice, "objects": objects, "bytes": size, "waits": waits, "late": report["late_max_ms"]}


def good_enough(name, found, best):
    if name == "large":
        return found["bytes"] * 8 / found["seconds"] >= LARGE_SHARE * best
    if name == "thin":
        return found["of_wire"] <= SMALL_TIMES
    return found["of_wire"] <= SMALL_TIMES and found["wire"] <= PACKETS * (found["bytes"] + REQUEST * found["objects"])


def paced(handouts, scratch):
    """Why not, or the least and the most that any window of 30 s carried, as shares of the rate."""
    argv, env = rivulet("paced", handouts, scratch)
    server = f"exec {common.VENV}/bin/python -B {HERE / 's3_server.py'} 192.0.2.2 5000 {BUCKET}"
    code, _, err, report = behind("rivulet-paced", server, "ready", [*argv, "--uplink", str(PACED_BPS)], env, up=4_000_000, loss=0)
    if code:
        return f"exit {code}: {(err.strip().splitlines() or ['nothing said'])[-1]}"
    seconds = report["up_by_second"]
    # The most: of all windows. The least: of those in which the large object was on its way all the time; before and after it come
    # lists, and pages that wait for one another.
    sums = lambda of: [sum(of[i : i + WINDOW_S]) * 8 / (WINDOW_S * PACED_BPS) for i in range(len(of) - WINDOW_S + 1)]
    sent = list(itertools.accumulate(seconds))
    first = next(i for i, n in enumerate(seconds) if n > 0.5 * PACED_BPS / 8) + 1
    last = next(i for i, n in enumerate(sent) if n > PACED_BYTES)
    return min(sums(seconds[first:last])), max(sums(seconds))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--large-mb", type=int, default=32, help="of all large objects together")
    p.add_argument("--objects", type=int, default=2000)
    p.add_argument("--short", action="store_true", help="20 MB and 300 objects")
    p.add_argument("--only", type=lambda s: s.split(","), default=["large", "small", "thin", "paced"])
    args = p.parse_args()
    if subprocess.run([sys.executable, LINK, "possible"]).returncode:
        raise SystemExit("bench-uplink: SKIPPED, nothing was measured")
    if args.short:
        args.large_mb, args.objects = 20, 300
    OUT.mkdir(parents=True, exist_ok=True)
    common.install(MOTO)
    common.ffmpeg()
    kinds = {"large": (2, args.large_mb * 1_000_000 // 2), "small": (args.objects, SMALL), "thin": (3, THIN), "paced": (1, PACED_BYTES)}
    handouts = {name: files(OUT / f"handouts-{name}", *kinds[name]) for name in args.only}
    print(f"uplink: {UP_BPS / 1e6:.0f} Mbit/s up, {2 * DELAY_MS} ms, {LOSS} % loss; load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    probe = [sys.executable, "-B", str(HERE / "link_probe.py")]
    # In memory where there is some: thousands of small files synced to a busy disk would be what is measured.
    room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else OUT
    with tempfile.TemporaryDirectory(dir=room, prefix="rivulet-uplink-") as scratch, concurrent.futures.ThreadPoolExecutor(16) as pool:
        reference = pool.submit(behind, "reference", " ".join([*probe, "server"]), "listening", [*probe, "bulk", str(STREAMS), "60"])
        running = {(name, who): pool.submit(send, name, who, handouts[name], Path(scratch)) for name in args.only if name != "paced" for who in (rivulet, aws, rclone)}
        held = pool.submit(paced, handouts["paced"], Path(scratch)) if "paced" in args.only else None
        code, out, err, _ = reference.result()
        if code:
            raise SystemExit(f"bench-uplink: reference: exit {code}: {err[-500:]}")
        best = json.loads(out)["bps"]
        print(f"reference: {STREAMS} TCP streams carry {best / 1000:.0f} kbit/s\n")
        print(f"  {'':6}{'':16}{'objects':>8}{'MB':>8}{'wire MB':>9}{'twice MB':>10}{'seconds':>9}{'kbit/s':>8}{'of ref.':>9}{'of wire time':>14}{'queue s':>9}{'late ms':>9}")
        good = True
        for (name, who), future in running.items():
            found = future.result()
            what = {"rivulet": "rivulet publish", "aws": "aws s3 sync", "rclone": "rclone copy"}[who.__name__]
            if isinstance(found, str):
                print(f"  {name:6}{what:16}MISSING: {found}", flush=True)
                good = False
                continue
            bps, ok = found["bytes"] * 8 / found["seconds"], who is not rivulet or good_enough(name, found, best)
            good &= ok
            share = "" if name == "thin" else f"{100 * bps / best:.0f}%"
            print(f"  {name:6}{what:16}{found['objects']:8}{found['bytes'] / 1e6:8.1f}{found['wire'] / 1e6:9.1f}{found['twice'] / 1e6:10.2f}{found['seconds']:9.1f}{bps / 1000:8.0f}{share:>9}{found['of_wire']:14.2f}{found['waits']:9.1f}{found['late']:9.1f}"
                  + ("" if ok else " !"), flush=True)
        if held and isinstance(found := held.result(), str):
            print(f"  paced  rivulet publish --uplink MISSING: {found}")
            good = False
        elif held:
            ok = found[0] >= 1 - PACED_OFF and found[1] <= 1 + PACED_OFF
            good &= ok
            print(f"\n  paced  rivulet publish --uplink {PACED_BPS // 1000}k: {100 * found[0]:.1f} to {100 * found[1]:.1f} % of the rate in every {WINDOW_S} s window" + ("" if ok else " !"))
    return common.verdict(f"uplink: rivulet at {100 * LARGE_SHARE:.0f} % of the reference, {SMALL_TIMES} times the wire's time, 128 kbit/s not drowned, --uplink within {100 * PACED_OFF:.0f} %", good)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
