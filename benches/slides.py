#!/usr/bin/env python3
"""Slide lectures: CPU, bytes, legibility and floor of Rivulet's package beside ffmpeg 9's ladders. Tables in Markdown.

    benches/slides.py [--only PATTERN,PATTERN] [--all] [--packages DIR] [--no-cpu] [--no-quality] [--pictures N]

Recordings: lec_oop_procedural_141s and lec_gis_vfr_102s of ../shared/media; --all: every lec_oop_* too.

CPU     `rivulet encode` whole, from an empty work directory, and ffmpeg making the package's rungs: same sizes and
        number, same preset, CRF, cap and buffer, all pictures of the recording, keyframes at the package's boundaries,
        Opus and AAC; once with its default threads, once with threads=1 for each encoder. The better counts.
Bytes   all that master.m3u8 leads to (rungs, voices, playlists) against the fMP4 HLS that ffmpeg makes, of
        - Opencast: 1080p, 720p, 480p within 1920, 1280, 854 pixels; CRF 22, at most 4000k, 1200k, 800k, buffers of 2 s, 25
          pictures/s, a keyframe a second, preset medium, stereo AAC of 96k, 96k, 64k in every variant (etc/encoding);
        - Apple: the AVC table of the authoring specification (rule 1.25), read kindly: its rates as caps on CRF 23, since
          slides never need them; a keyframe every 2 s (1.13), stereo AAC of 64k, all pictures.
        No rung above the recording; what ffmpeg made is kept in target/bench/peers while its command is the same.
Legible Top rung against their top rung, and our floor, on the picture that is on the screen in the middle of each slide
        (package.json; else of each segment), or at the nearest time, 1 s away at most, at which nothing moves in the recording (what was
        moved is said: a pointer lags in rungs of fewer pictures, which is not looked for here), at the recording's size. OCR error: characters that came out otherwise than
        in the source (Tesseract vie+eng, psm 11), of words that OCR is sure of and reads in the same way when the
        source's picture is coded at CRF 10 and 16. "Itself" is the same at CRF 13: what OCR makes of noise alone.
        The floor is held to the words that no top rung has wrong.
        SSIMULACRA2 against the source: the PyPI port of the reference.
Floor   AVERAGE-BANDWIDTH and BANDWIDTH of the lowest variant with Opus (floor.m3u8); slides/*.webp and Opus for the page.

Bars (issue 3): CPU at least 4 times less; bytes at most 35 %; OCR error not above theirs (by more than "itself"),
SSIMULACRA2 at most 3 lower; floor 45 kbit/s in the mean, 60 each, peak 100, 26 in the page, OCR error at most 0.02 above
"itself". $RIVULET and $FFMPEG name other binaries than the release build and the ffmpeg of PyPI.
"""

import argparse
import fnmatch
import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common
import legible

SHORT = "lec_oop_procedural_141s*,lec_gis_vfr_102s*"
ALL = "lec_oop_*,lec_gis_vfr_102s*"
CPU, BYTES, LIKENESS, OCR = 4.0, 0.35, 3.0, 0.02
FLOOR_MEAN, FLOOR_EACH, FLOOR_PEAK, PAGE = 45.0, 60.0, 100.0, 26.0
# Width that the picture must fit in, highest bits a second, stereo AAC.
OPENCAST = [(854, "800k", "1600k", "64k"), (1280, "1200k", "2400k", "96k"), (1920, "4000k", "8000k", "96k")]
APPLE = [(416, 145), (640, 365), (768, 730), (768, 1100), (960, 2000), (1280, 3000), (1280, 4500), (1920, 6000), (1920, 7800)]


def fitted(source, width):
    """Even size of a rung whose longer side is `width`."""
    longer = max(source.width, source.height)
    return tuple(2 * round(side * width / longer / 2) for side in (source.width, source.height))


def peer(name, recording, source, sound):
    """A peer's ladder as HLS in a directory of its own."""
    longer = max(source.width, source.height)
    table = OPENCAST if name == "opencast" else [(w, f"{k}k", f"{2 * k}k", "64k") for w, k in APPLE]
    rungs = [r for r in table if r[0] <= longer] or [(longer, *table[0][1:])]
    graph = ["[0:v]" + ("fps=25," if name == "opencast" else "") + f"split={len(rungs)}" + "".join(f"[i{n}]" for n in range(len(rungs)))]
    argv = []
    for n, (width, cap, buffer, voice) in enumerate(rungs):
        w, h = fitted(source, width)
        graph.append(f"[i{n}]scale={w}:{h},setsar=1,format=yuv420p[o{n}]")
        argv += ["-map", f"[o{n}]", *(["-map", "0:a:0", f"-b:a:{n}", voice] if sound else [])]
        argv += [f"-maxrate:v:{n}", cap, f"-bufsize:v:{n}", buffer]
    argv = ["-filter_complex", ";".join(graph), *argv, "-c:v", "libx264", "-preset", "medium", "-profile:v", "high"]
    if name == "opencast":
        argv += ["-crf", "22", "-x264-params", "keyint=25:min-keyint=25:scenecut=0"]
    else:
        argv += ["-crf", "23", "-force_key_frames", "expr:gte(t,n_forced*2)", "-forced-idr", "1", "-g", "1000000", "-sc_threshold", "0", "-fps_mode", "passthrough"]
    argv += ["-c:a", "aac", "-ac", "2"] if sound else []
    variants = " ".join(f"v:{n},a:{n}" if sound else f"v:{n}" for n in range(len(rungs)))
    argv += ["-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4", "-hls_flags", "single_file+independent_segments"]
    argv += ["-master_pl_name", "master.m3u8", "-var_stream_map", variants]
    digest = hashlib.sha256(json.dumps([argv, recording.stat().st_size, common.FFMPEG_PACKAGE]).encode()).hexdigest()[:12]
    made = common.OUT / "peers" / f"{recording.stem}-{name}-{digest}"
    if not made.exists():
        scratch = made.with_name(f"{made.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        # -threads 1 a rung would give other bytes by a hair; what they ship is made with the defaults.
        common.Run([common.ffmpeg(), "-v", "error", "-nostdin", "-i", recording, *argv, "-hls_segment_filename", scratch / "s_%v.mp4", scratch / "v_%v.m3u8"], 7200)
        scratch.rename(made)
    return made, made / f"v_{len(rungs) - 1}.m3u8", len(rungs)


def reached(directory):
    """Files that master.m3u8 leads to, itself included."""
    seen, todo = set(), ["master.m3u8"]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.endswith(".m3u8"):
            text = (directory / name).read_text(encoding="utf-8")
            todo += re.findall(r'URI="([^"]+)"', text) + [line for line in text.splitlines() if line and not line.startswith("#")]
    return [directory / name for name in seen]


def weight(files):
    return sum(f.stat().st_size for f in files)


def floor_rate(directory):
    """(AVERAGE-BANDWIDTH, BANDWIDTH, playlist of the pictures) of the lowest variant with Opus, or without sound."""
    path = directory / "floor.m3u8"
    text = (path if path.exists() else directory / "master.m3u8").read_text(encoding="utf-8")
    found = []
    for tags, uri in re.findall(r"#EXT-X-STREAM-INF:(.*)\n([^#\n]+)", text):
        if "opus" in tags or "mp4a" not in text:
            found.append((int(re.search(r"(?<!-)\bBANDWIDTH=(\d+)", tags)[1]), int(re.search(r"AVERAGE-BANDWIDTH=(\d+)", tags)[1]), uri.strip()))
    peak, average, uri = min(found)
    return average, peak, uri


def moments(package, most):
    """Seconds of at most `most` pictures, spread evenly: the middle of every slide, else of every segment."""
    starts = []
    for slide in package.get("slides") or []:
        key = next((k for k in ("start_s", "at_s", "time_s", "begin_s") if k in slide), None)
        if key is None:
            raise SystemExit(f"slides: a slide of package.json has no time that this bench knows: {sorted(slide)}")
        starts.append(slide[key])
    edges = [*starts, package["duration_s"]] if starts else package["boundaries_s"]
    middles = [(a + b) / 2 for a, b in zip(edges, edges[1:]) if b > a]
    if len(middles) <= most:
        return middles
    return [middles[round(n * (len(middles) - 1) / (most - 1))] for n in range(most)]


def cpu(recording, directory, result):
    """Encodes, and lets ffmpeg make the same rungs."""
    package, run = common.encode(recording, directory)
    result["ours_cpu_s"], result["ours_wall_s"] = run.cpu_s, run.wall_s
    plan = {"preset": package["preset"], "boundaries_s": package["boundaries_s"], "voice": bool(package["voices"]), "rungs": []}
    for rung in package["rungs"]:
        if not rung.get("crf") or not rung.get("max_bps"):
            raise SystemExit(f"slides: rung {rung['name']} of package.json has no CRF or cap to give to ffmpeg")
        # Every profile has buffers of 2 s; package.json does not repeat it.
        plan["rungs"].append({"buffer_ms": 2000, **rung})
    theirs = common.OUT / "slides-ffmpeg"
    for name, threads in ("default_cpu_s", None), ("single_cpu_s", 1):
        shutil.rmtree(theirs, ignore_errors=True)
        result[name] = common.ffmpeg_ladder(recording, plan, theirs, threads).cpu_s
    result["rungs"] = []
    for rung in package["rungs"]:
        ours, other = directory / f"v-{rung['name']}.m3u8", theirs / f"v-{rung['name']}.mp4"
        result["rungs"].append((rung, len(legible.Video(ours).times), len(legible.Video(other).times), rung["bytes"], other.stat().st_size))
    return package


def quality(recording, source, package, tops, floor, most, result):
    """OCR errors and SSIMULACRA2 of the pictures of `tops` (name: playlist) and of the floor."""
    middles = moments(package, most)
    seconds = [source.at_rest(s) for s in middles]
    moved = [f"{b - a:+.2f}" for a, b in zip(middles, seconds) if a != b]
    print(f"slides: {len(moved)} of {len(seconds)} pictures are of a time nearby at which nothing moves: {', '.join(moved) or 'none'} s", file=sys.stderr, flush=True)
    size = (source.width, source.height)
    with tempfile.TemporaryDirectory(dir=common.OUT) as scratch:
        scratch = Path(scratch)
        pictures = source.save(seconds, size, scratch / "source")
        # Two codings say which words are sure, a third how far OCR is from itself on those.
        again = [[legible.read(p) for p in legible.coded_again(pictures, crf, scratch / f"crf{crf}")] for crf in (10, 16, 13)]
        sure = [legible.sure_words(legible.read(p), others) for p, *others in zip(pictures, *again[:2])]
        result["pictures"], result["characters"] = len(pictures), sum(len(w[0]) for words in sure for w in words)
        kept = sure
        result["itself"] = legible.character_errors(again[2], sure)
        for name, playlist in {**tops, "floor": floor}.items():
            shown = legible.Video(playlist, source.matrix).save(seconds, size, scratch / name)
            read = [legible.read(p) for p in shown]
            result[f"{name}_ocr"] = legible.character_errors(read, sure)
            if name == "floor":
                result["floor_surely"] = legible.character_errors(read, kept)
                result["itself_surely"] = legible.character_errors(again[2], kept)
            else:
                kept = [[w for w in words if not legible.error(w, r)] for words, r in zip(kept, read)]
            result[f"{name}_like"] = legible.likeness(shown, pictures)


def measure(recording, args):
    result = {"name": recording.stem}

    def say(what):
        print(f"slides: {recording.stem}: {what}", file=sys.stderr, flush=True)

    if args.packages:
        directory = args.packages / recording.name
        package = json.loads((directory / "package.json").read_text())
    else:
        directory = common.OUT / "slides" / recording.stem
        if args.no_cpu:
            package, run = common.encode(recording, directory)
        else:
            say("CPU")
            package = cpu(recording, directory, result)
    source = legible.Video(recording)
    peers = {}
    for name in "opencast", "apple":
        say(f"bytes of {name}")
        peers[name] = peer(name, recording, source, bool(package["voices"]))
        result[f"{name}_bytes"], result[f"{name}_rungs"] = weight(f for f in peers[name][0].iterdir()), peers[name][2]
    result["bytes"], result["count"] = weight(reached(directory)), len(package["rungs"])
    result["whole_bytes"] = weight(f for f in directory.rglob("*") if f.is_file())
    result["average"], result["peak"], floor = floor_rate(directory)
    stills, voice = list(directory.glob("slides/*.webp")), directory / "a-opus.mp4"
    result["stills"] = len(stills)
    result["page"] = weight([*stills, voice]) * 8 / package["duration_s"] / 1000 if stills and voice.exists() else None
    if not args.no_quality:
        say("legibility")
        top = directory / f"v-{max(package['rungs'], key=lambda r: (r['height'], r['bytes']))['name']}.m3u8"
        quality(recording, source, package, {"ours": top, **{n: p[1] for n, p in peers.items()}}, directory / floor, args.pictures, result)
    return result


def table(head, rows):
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def report(results, args):
    ok, verdict = True, common.verdict
    if "ours_cpu_s" in results[0]:
        rows, ratios = [], []
        for r in results:
            ratios.append(min(r["default_cpu_s"], r["single_cpu_s"]) / r["ours_cpu_s"])
            rows.append([r["name"], str(r["count"]), f"{r['ours_cpu_s']:.1f}", f"{r['default_cpu_s']:.1f}", f"{r['single_cpu_s']:.1f}", f"{ratios[-1]:.2f}"])
        table(["CPU s", "rungs", "rivulet", "ffmpeg", "threads=1", "times less"], rows)
        rows = [[r["name"], g["name"], f"{g['width']}x{g['height']}", str(g["crf"]), str(n), f"{kb / 1e3:.0f}", str(m), f"{other / 1e3:.0f}"] for r in results for g, n, m, kb, other in r["rungs"]]
        table(["rung against rung", "rung", "size", "CRF", "pictures", "kB", "ffmpeg's pictures", "kB"], rows)
        ok &= verdict(f"slides: at worst {min(ratios):.2f} times less CPU than ffmpeg, {CPU:g} wanted", min(ratios) >= CPU)
    rows, shares = [], []
    for r in results:
        shares += [r["bytes"] / r[f"{n}_bytes"] for n in ("opencast", "apple")]
        rows.append([r["name"], f"{r['bytes'] / 1e3:.0f}", f"{r['whole_bytes'] / 1e3:.0f}", *(f"{r[n + '_bytes'] / 1e3:.0f} ({r[n + '_rungs']})" for n in ("opencast", "apple")), f"{100 * shares[-2]:.0f} %", f"{100 * shares[-1]:.0f} %"])
    table(["kB of the ladder", "rivulet", "whole package", "Opencast (rungs)", "Apple (rungs)", "of Opencast", "of Apple"], rows)
    ok &= verdict(f"slides: at worst {100 * max(shares):.0f} % of their bytes, {100 * BYTES:.0f} % allowed", max(shares) <= BYTES)
    if not args.no_quality:
        def number(value, digits):
            return "no text" if value is None else f"{value:.{digits}f}"

        rows = [[r["name"], str(r["pictures"]), str(r["characters"]), number(r["itself"], 3), *(number(r[f"{n}_ocr"], 3) for n in ("ours", "opencast", "apple", "floor")), *(number(r[f"{n}_like"], 1) for n in ("ours", "opencast", "apple", "floor"))] for r in results]
        table(["legibility", "pictures", "characters", "itself", "OCR error: top", "Opencast's", "Apple's", "floor", "SSIMULACRA2: top", "Opencast's", "Apple's", "floor"], rows)
        text = [r for r in results if r["itself"] is not None]
        worse = max((r["ours_ocr"] - r[f"{n}_ocr"] - r["itself"] for r in text for n in ("opencast", "apple")), default=0)
        ok &= verdict(f"slides: top rung's OCR error at worst {worse:+.3f} beyond theirs and what noise does, 0 allowed", worse <= 0)
        lower = max(r[f"{n}_like"] - r["ours_like"] for r in results for n in ("opencast", "apple"))
        ok &= verdict(f"slides: top rung's SSIMULACRA2 at worst {lower:.1f} below theirs, {LIKENESS:g} allowed", lower <= LIKENESS)
        # Not of words that a top rung has wrong, ours or theirs: Tesseract errs on what no eye tells apart.
        worse = max((r["floor_surely"] - r["itself_surely"] for r in text if r["floor_surely"] is not None), default=0)
        ok &= verdict(f"slides: floor's OCR error at worst {worse:.3f} above the source's own (words that all top rungs keep), {OCR} allowed", worse <= OCR)
    rows = [[r["name"], f"{r['average'] / 1e3:.1f}", f"{r['peak'] / 1e3:.1f}", "no slides" if r["page"] is None else f"{r['page']:.1f}", str(r["stills"])] for r in results]
    table(["floor, kbit/s", "AVERAGE-BANDWIDTH", "BANDWIDTH", "in the page", "stills"], rows)
    mean, each, peak = (f / 1e3 for f in (sum(r["average"] for r in results) / len(results), max(r["average"] for r in results), max(r["peak"] for r in results)))
    ok &= verdict(f"slides: floor {mean:.1f} kbit/s in the mean, {FLOOR_MEAN:g} allowed; {each:.1f} at most, {FLOOR_EACH:g} allowed; peak {peak:.1f}, {FLOOR_PEAK:g} allowed", mean <= FLOOR_MEAN and each <= FLOOR_EACH and peak <= FLOOR_PEAK)
    pages = [r["page"] for r in results]
    what = "no slide pictures in a package" if None in pages else f"{max(pages):.1f} kbit/s"
    ok &= verdict(f"slides: in the page {what}, {PAGE:g} allowed", None not in pages and max(pages) <= PAGE)
    return ok


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only", help=f"file patterns, comma-separated [{SHORT}]")
    args.add_argument("--all", action="store_true", help=f"the same as --only '{ALL}'")
    args.add_argument("--packages", type=Path, help="packages made before, DIR/<file name>/ (tests/corpus.py --out): no CPU is measured")
    args.add_argument("--no-cpu", action="store_true")
    args.add_argument("--no-quality", action="store_true", help="no OCR, no SSIMULACRA2")
    args.add_argument("--pictures", type=int, default=6, help="looked at in each lecture, at most [6]")
    args = args.parse_args()
    media = common.media()
    if media is None:
        print("slides: SKIPPED, NOTHING WAS MEASURED: no ../shared/media/MANIFEST.tsv; set RIVULET_SHARED to the directory above media/")
        return True
    common.run_with(*legible.PACKAGES)
    patterns = (args.only or (ALL if args.all else SHORT)).split(",")
    files = [r["file"] for r in common.manifest(media) if any(fnmatch.fnmatch(r["file"], p) for p in patterns)]
    if not files:
        raise SystemExit(f"slides: no recording of {media} matches {','.join(patterns)}")
    common.OUT.mkdir(parents=True, exist_ok=True)
    return report([measure(media / f, args) for f in files], args)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
