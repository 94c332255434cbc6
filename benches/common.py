"""What the benches share: the ffmpeg to compare with, CPU seconds and memory of a tree of processes. Python 3 alone."""

import csv
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
OUT = ROOT / "target" / "bench"
VENV = ROOT / "target" / "bench-venv"
# Of 2026, with libvmaf, x264, Opus: a static ffmpeg that comes as a Python package.
FFMPEG_PACKAGE = "imageio-ffmpeg==0.8.1"


def install(*packages):
    """Python packages `name==version` into the benches' virtual environment; what is there is not asked for again."""
    def there(package):
        # moto[server]==1.2: what the brackets bring comes with the same call.
        name, version = re.sub(r"\[.*\]", "", package).lower().replace("-", "_").split("==")
        return any(VENV.glob(f"lib/python*/site-packages/{name}-{version}.dist-info"))

    missing = [p for p in packages if not there(p)]
    if missing:
        print(f"bench: getting {', '.join(missing)} from PyPI into {VENV}", file=sys.stderr)
        if not (VENV / "bin" / "pip").exists():
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin" / "pip", "-q", "--disable-pip-version-check", "install", *missing], check=True, stdout=sys.stderr)


def run_with(*packages):
    """Goes on inside the virtual environment with these packages: the script starts again there."""
    install(*packages)
    if Path(sys.prefix).resolve() != VENV.resolve():
        sys.stdout.flush()
        # Small matrices: more threads spin and do nothing.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        os.execv(VENV / "bin" / "python", [VENV / "bin" / "python", "-B", *sys.argv])


def rivulet():
    """The binary under test: $RIVULET, else the release build."""
    path = Path(os.environ.get("RIVULET", ROOT / "target" / "release" / "rivulet")).resolve()
    if not path.exists():
        raise SystemExit(f"bench: {path} is not there; run: make build")
    return path


def ffmpeg():
    """The ffmpeg to compare with: $FFMPEG, else ffmpeg 9 in a virtual environment of its own under target/."""
    if "FFMPEG" in os.environ:
        return os.environ["FFMPEG"]
    install(FFMPEG_PACKAGE)
    return str(next(VENV.glob("lib/python*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*")))


def media():
    """The directory of real recordings, or None where there is none: $RIVULET_SHARED/media, else ../shared/media."""
    directory = Path(os.environ.get("RIVULET_SHARED", ROOT.parent / "shared")) / "media"
    return directory if (directory / "MANIFEST.tsv").exists() else None


def manifest(directory):
    """MANIFEST.tsv: a dict a file."""
    with open(directory / "MANIFEST.tsv", encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


class Run:
    """A command run to its end in a session of its own: `cpu_s` of it and all its descendants, `wall_s`, `out`, `peak_mb`."""

    def __init__(self, argv, limit_s, env=None, watch_memory=False):
        argv = [str(a) for a in argv]
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, env={**os.environ, **(env or {})})
            watch = Memory(child.pid) if watch_memory else None
            late = threading.Timer(limit_s, lambda: os.killpg(child.pid, 9))
            late.start()
            # The times that wait4 gives hold those of all descendants that were waited for.
            _, status, usage = os.wait4(child.pid, 0)
            late.cancel()
            self.wall_s = time.monotonic() - began
            self.cpu_s = usage.ru_utime + usage.ru_stime
            self.peak_mb = watch.end() if watch else None
            self.code = child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), err.seek(0)
            self.out, said = out.read().decode(), err.read().decode(errors="replace")
        if self.code != 0:
            why = f"killed after {limit_s:.0f} s" if self.code == -9 else f"exit {self.code}"
            raise SystemExit(f"bench: {why}: {' '.join(argv)}\n{said[-2000:]}")


class Memory(threading.Thread):
    """Highest sum of PSS over all processes of a session, ten looks a second.

    PSS (proportional set size) counts a page shared by n processes as 1/n for each, so that their sum is what the tree
    takes from the machine: RSS would count GStreamer's libraries once a child. The page cache is not in it.
    """

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session, self.peak_kb, self.stopped = session, 0, threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(0.1):
            self.peak_kb = max(self.peak_kb, sum(self.pss(p) for p in os.listdir("/proc") if p.isdigit()))

    def pss(self, pid):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if int(stat.read().rsplit(")", 1)[1].split()[3]) != self.session:
                    return 0
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                return int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M)[1])
        except (OSError, TypeError, IndexError):
            return 0  # It ended while we looked.

    def end(self):
        self.stopped.set()
        self.join()
        return self.peak_kb / 1000


def plan(recording, arguments=()):
    """The plan's JSON line, made in a work directory that is thrown away: `encode` must not profit from it."""
    with tempfile.TemporaryDirectory(dir=OUT) as work:
        out = Run([rivulet(), "--json", "plan", recording, *arguments], 900, {"RIVULET_WORK": work}).out
    return next(line for line in map(json.loads, out.splitlines()) if line["type"] == "plan")


def encode(recording, directory, arguments=(), limit_s=7200, watch_memory=False):
    """A package from nothing: its package.json and the `Run`."""
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=OUT) as work:
        run = Run([rivulet(), "--json", "encode", recording, "-o", directory, *arguments], limit_s, {"RIVULET_WORK": work}, watch_memory)
    return json.loads((directory / "package.json").read_text()), run


def ffmpeg_ladder(recording, plan, directory, threads=None, step=0):
    """`step` is added to every CRF, and takes the cap with it: 6 steps are half the bits."""
    directory.mkdir(parents=True, exist_ok=True)
    rungs = plan["rungs"]
    graph = [f"[0:v]split={len(rungs)}" + "".join(f"[i{n}]" for n in range(len(rungs)))]
    graph += [f"[i{n}]scale={r['width']}:{r['height']},setsar=1,format=yuv420p[o{n}]" for n, r in enumerate(rungs)]
    keyframes = ",".join(f"{b:.6f}" for b in plan["boundaries_s"][:-1])
    argv = [ffmpeg(), "-v", "error", "-nostdin", "-y", "-i", recording, "-filter_complex", ";".join(graph)]
    for n, rung in enumerate(rungs):
        max_bps = rung["max_bps"] * 2 ** (-step / 6)
        argv += ["-map", f"[o{n}]", "-c:v", "libx264", "-preset", plan["preset"], "-profile:v", "high", "-crf", rung["crf"] + step]
        argv += ["-maxrate", round(max_bps), "-bufsize", round(max_bps * rung["buffer_ms"] / 1000)]
        # Keyframes where the plan has them, nowhere else, and such that a segment decodes alone.
        argv += ["-force_key_frames", keyframes, "-forced-idr", 1, "-g", 1000000, "-sc_threshold", 0, "-fps_mode", "passthrough"]
        argv += (["-threads", threads] if threads else []) + [directory / f"v-{rung['name']}.mp4"]
    for codec, rate, suffix in [("libopus", "20k", "opus.mp4"), ("aac", "32k", "aac.mp4")] if plan["voice"] else []:
        argv += ["-map", "0:a:0", "-ac", 1, "-c:a", codec, "-b:a", rate, directory / f"a-{suffix}"]
    return Run(argv, 3600)


def verdict(what, ok):
    print(f"{what}: {'ok' if ok else 'MISSED'}", flush=True)
    return ok
