#!/usr/bin/env python3
"""Runs Rivulet over a directory of recordings and holds every outcome against what its MANIFEST.tsv says of the file.

    tests/corpus.py RIVULET [MEDIA] [--only GLOB,GLOB] [--out DIR]

MEDIA is $RIVULET_SHARED/media or ../shared/media; without it the run is skipped, loudly. A sound recording must encode,
pass `rivulet check`, decode in ffmpeg without a word and play to its end in Chromium; a broken one must be refused
(exit 4) with one message, or saved in part (exit 3) with a warning; one without a decoder must be refused by name.
Nothing may panic, hang or make GStreamer complain. Prints a table and `N passed, N failed`; DIR/corpus.tsv has it too.
"""

import argparse
import csv
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOUND = {"lecture", "odd", "derived", "clip", "speech"}
CLASSES = SOUND | {"broken", "odd-unsupported"}
# Minutes of decoding in a megabyte: may be refused, by a limit that the message names.
COST_BOMBS = {"odd_av1_4k60_363s.mp4"}
# Sound without a header: nothing in the file says what it is, so it may be refused like a broken one.
HEADERLESS = {"en_demo_instruct.g722"}
# Never on stderr, whatever the file holds.
ALARMS = re.compile(r"panicked at|CRITICAL \*\*|GStreamer-CRITICAL|Segmentation fault")


class Ended:
    """How a command ended: code (None: the time limit), stdout, stderr, wall and CPU seconds, peak memory in MB."""

    def __init__(self, argv, limit_s, log):
        began = time.monotonic()
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            self.code = None
            while time.monotonic() - began < limit_s:
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    self.code = os.waitstatus_to_exitcode(status)
                    break
                time.sleep(0.02)
            else:
                os.killpg(child.pid, signal.SIGKILL)
                _, _, usage = os.wait4(child.pid, 0)
            child.returncode = self.code if self.code is not None else -9
        self.wall_s, self.cpu_s, self.peak_mb = time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        self.out, self.err = (Path(f"{log}.{x}").read_text(encoding="utf-8", errors="replace") for x in ("out", "err"))

    def lines(self, kind):
        """The NDJSON objects of one type."""
        found = []
        for line in self.out.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and value.get("type") == kind:
                found.append(value)
        return found


def seconds(row):
    """The row's duration where it is one; headers lie, so no more than ten minutes are believed."""
    try:
        return min(max(float(row.get("duration_s") or 0), 0), 600)
    except ValueError:
        return 0


def encode_fault(row, ended, package):
    """What is wrong with how `encode` ended, or None."""
    kind = "broken" if row["file"] in HEADERLESS else row["class"]
    errors = ended.lines("error")
    if ended.code is None:
        return "time limit: killed"
    if alarm := ALARMS.search(ended.err):
        return f"stderr has {alarm.group()!r}"
    if ended.code not in (0, 3):
        if len(errors) != 1 or not errors[0].get("message"):
            return f"exit {ended.code} with {len(errors)} error lines, not one"
        if package.exists():
            return f"exit {ended.code}, yet a package.json was written"
    message = errors[0]["message"] if errors else ""
    if kind == "odd-unsupported":
        named = re.search(r"decoder|encrypt|protect", message, re.I)
        return None if ended.code == 4 and named else f"exit {ended.code}, wanted 4 naming the decoder: {message}"
    if kind == "broken":
        if ended.code == 3:
            lines = ended.lines("package")
            said = lines and (lines[-1].get("warnings") or ended.lines("warning"))
            return None if said else "exit 3 without a warning that says what was lost"
        return None if ended.code == 4 else f"exit {ended.code}, wanted 4, or 3 with a warning: {message}"
    if row["file"] in COST_BOMBS and ended.code == 4:
        return None if "limit" in message else f"refused, but no limit is named: {message}"
    return None if ended.code == 0 else f"exit {ended.code}: {message}"


def package_fault(rivulet, directory, log, limit_s):
    """What is wrong with a finished package, or None: our checker first, then ffmpeg on every variant and rendition."""
    checked = Ended([rivulet, "--json", "check", directory], limit_s, f"{log}.check")
    if checked.code != 0:
        rules = sorted({f"{f.get('rule')}" for f in checked.lines("finding") if f.get("level") == "must"})
        return f"check: exit {checked.code} {' '.join(rules)}"
    for playlist in sorted(directory.glob("[va]-*.m3u8")) + [directory / "master.m3u8"]:
        # Every picture at its own time: ffmpeg would else put them on a grid of the rate that it guesses from the first seconds,
        # and two of a sparse lecture may fall on one place of it.
        as_it_is = ["-vsync", "passthrough", "-enc_time_base:v", "-1"]
        decoded = Ended(["ffmpeg", "-v", "error", "-xerror", "-nostdin", "-i", playlist, "-map", "0", *as_it_is, "-f", "null", "-"], limit_s, f"{log}.ffmpeg")
        if decoded.code != 0 or decoded.err.strip():
            return f"ffmpeg on {playlist.name}: exit {decoded.code} {decoded.err.strip().splitlines()[:1]}"
    return None


def examine(rivulet, media, row, out):
    stem = row["file"]
    directory, log = out / stem, out / "log" / stem
    # A broken file's duration is anybody's guess; none here holds more than a minute.
    limit = 180 if row["class"] == "broken" else 120 + 10 * seconds(row)
    ended = Ended([rivulet, "--json", "encode", media / row["file"], "-o", directory, *captions_of(row["file"])], limit, f"{log}.encode")
    package = directory / "package.json"
    fault = encode_fault(row, ended, package)
    if fault is None and ended.code in (0, 3):
        fault = package_fault(rivulet, directory, log, limit) if package.exists() else "no package.json"
    made = ended.lines("package")
    rungs = " ".join(r["name"] for r in made[-1].get("rungs", [])) if made else ""
    message = (ended.lines("error") or [{}])[0].get("message", "")
    return {
        "file": row["file"], "class": row["class"], "exit": ended.code, "wall_s": round(ended.wall_s, 1), "cpu_s": round(ended.cpu_s, 1),
        "peak_mb": round(ended.peak_mb), "rungs": rungs, "plays": "", "fault": fault or "", "message": message,
    }


def browse(script, urls, limit_s, log):
    """Runs one of tests/browser's scripts over pages; what it says of each, by address."""
    done = Ended(["node", HERE / "browser" / script[0], *script[1:], *urls], limit_s, log)
    said = {}
    for line in done.out.splitlines():
        if line.startswith("{"):
            value = json.loads(line)
            said[value["url"]] = value
    silence = {"ok": False, "errors": [" ".join(done.err.split())[-200:] or "nothing was said"]}
    return {url: said.get(url, silence) for url in urls}


def captions_of(file):
    """Our captions for a recording, in the encoding of Vietnamese Windows and with faults; or nothing."""
    path = HERE / "browser" / f"{Path(file).stem}.vi.srt"
    return ["--captions", f"vi={path}"] if path.exists() else []


def play(rivulet, out, results):
    """Plays every package in one browser, all rungs in turn, each package from a server of its own."""
    found = [r for r in results if (out / r["file"] / "package.json").exists() and not r["fault"]]
    if not found:
        return
    if not (HERE / "browser" / "node_modules").exists():
        subprocess.run(["npm", "ci", "--prefix", HERE / "browser", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], check=True, stdin=subprocess.DEVNULL)
    servers, pages = [], {}
    try:
        for r in found:
            server = subprocess.Popen([rivulet, "--json", "serve", out / r["file"], "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            servers.append(server)
            line = server.stdout.readline()
            if line:
                pages[json.loads(line)["url"]] = r
            else:
                r["fault"] = "serve ended without a word"
        said = browse(["play.mjs", "--cycle", "--limit", "300"], pages, 60 + 300 * len(pages), out / "log" / "play")
        clicks = [url for url, r in pages.items() if r["file"].startswith("flash-click")]
        heard = browse(["sync.mjs"], clicks, 60 + 60 * len(clicks), out / "log" / "sync") if clicks else {}
        # The small file is the same lecture: as close together in the browser's own player. And captions show.
        small = {url + "floor.mp4": url for url in clicks}
        alone = browse(["sync.mjs"], list(small), 60 + 60 * len(small), out / "log" / "floor") if small else {}
        told = [url for url, r in pages.items() if captions_of(r["file"])]
        shown = browse(["captions.mjs"], told, 60 + 60 * len(told), out / "log" / "captions") if told else {}
        for url, r in pages.items():
            lines = [said[url]] + [heard[u] for u in (url,) if u in heard]
            lines += [alone[u] for u, of in small.items() if of == url] + [shown[u] for u in (url,) if u in shown]
            errors = [e for line in lines if not line["ok"] for e in line["errors"]]
            r["plays"] = "no" if errors else "yes"
            r["fault"] = f"browser: {'; '.join(errors)}" if errors else ""
            if url in heard:
                print(f"{r['file']}: sound is {heard[url].get('median_ms')} ms from the picture in Chromium")
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(10)


def main():
    shared = Path(os.environ.get("RIVULET_SHARED", HERE.parent.parent / "shared"))
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("rivulet", type=Path)
    args.add_argument("media", type=Path, nargs="?", default=shared / "media")
    args.add_argument("--only", default="*", help="file patterns, comma-separated")
    args.add_argument("--out", type=Path, default=HERE.parent / "target" / "corpus")
    args = args.parse_intermixed_args()
    rivulet = args.rivulet.resolve()
    manifest = args.media / "MANIFEST.tsv"
    if not manifest.exists():
        print(f"corpus: SKIPPED, NOTHING WAS TESTED: no {manifest}; set RIVULET_SHARED to the directory above media/")
        return 0
    with open(manifest, encoding="utf-8", newline="") as f:
        rows = [r for r in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE) if r["class"] in CLASSES]
    rows = [r for r in rows if any(fnmatch.fnmatch(r["file"], p) for p in args.only.split(","))]
    if not rows:
        print(f"corpus: no file of {manifest} matches {args.only}", file=sys.stderr)
        return 2
    # Only what an earlier run left: the mark proves whose directory it is.
    if args.out.exists():
        if not (args.out / "corpus.tsv").exists():
            print(f"corpus: {args.out} is not from an earlier run; remove it or give another --out", file=sys.stderr)
            return 2
        shutil.rmtree(args.out)
    (args.out / "log").mkdir(parents=True)
    table = args.out / "corpus.tsv"
    table.touch()

    results = []
    for n, row in enumerate(rows, 1):
        results.append(examine(rivulet, args.media, row, args.out))
        r = results[-1]
        print(f"[{n}/{len(rows)}] {r['file']:44} {r['class']:15} exit {r['exit']}  {r['wall_s']:7.1f} s  {r['cpu_s']:7.1f} CPU s  {r['fault'] or r['rungs'] or r['message']}", flush=True)
    play(rivulet, args.out, results)

    with open(table, "w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, results[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(results)
    failed = [r for r in results if r["fault"]]
    for r in failed:
        print(f"FAILED {r['file']} ({r['class']}): {r['fault']}")
    print(f"corpus: {len(results) - len(failed)} passed, {len(failed)} failed; {table}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
