#!/usr/bin/env python3
"""How near `rivulet plan` comes to the bytes of `rivulet encode`, on sound recordings longer than 30 s.

    benches/predict.py [--only PATTERN,PATTERN] [--all] [--packages DIR]

Five of them: slides, camera, screens; --all: every one. Each recording of ../shared/media is planned in an empty work directory, before anything of it is encoded. --packages
takes packages made before, DIR/<file name>/ (tests/corpus.py --out), by the same binary and profile.
"off" is predicted over actual, less one, of all rungs together; "worst rung" the same of the rung that is furthest off.
Bar (issue 3): the total within 10 % on every recording. A recording that should work and does not is a miss, too.
$RIVULET names another binary than the release build.
"""

import argparse
import fnmatch
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

SHORT = "lec_oop_intro_41s*,lec_gis_vfr_102s*,talk_conference_62s*,screencast_map_68s*,screencast_phone_65s*"
LEAST_S, OFF = 30.0, 0.10
SOUND = {"lecture", "odd", "derived", "clip", "speech"}
# 4K at 60 pictures a second: refused by a limit, on purpose. Sound without a header: nothing in the file says what it is.
REFUSED = {"odd_av1_4k60_363s.mp4", "en_demo_instruct.g722"}


def wanted(row, patterns):
    try:
        long_enough = float(row["duration_s"]) > LEAST_S
    except ValueError:
        return False
    return long_enough and row["class"] in SOUND and row["file"] not in REFUSED and any(fnmatch.fnmatch(row["file"], p) for p in patterns)


def compare(recording, packages):
    """(duration, predicted bytes, actual bytes, worst rung's name, how far it is off), or what is wrong."""
    plan = common.plan(recording)
    if packages is None:
        package, _ = common.encode(recording, common.OUT / "predict" / recording.name)
    elif (packages / recording.name / "package.json").exists():
        package = json.loads((packages / recording.name / "package.json").read_text())
    else:
        return f"no package in {packages}"
    actual = {r["name"]: r["bytes"] for r in package["rungs"]}
    predicted = {r["name"]: r["predicted_bytes"] for r in plan["rungs"]}
    if not actual:
        return "a package without rungs"
    # A rung that one side alone has counts in the total, and is as far off as can be.
    off = {n: predicted.get(n, 0) / actual[n] - 1 if n in actual else float("inf") for n in actual | predicted}
    worst = max(off, key=lambda n: abs(off[n]))
    return package["duration_s"], sum(predicted.values()), sum(actual.values()), worst, off[worst]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only", help=f"file patterns, comma-separated [{SHORT}]")
    args.add_argument("--all", action="store_true")
    args.add_argument("--packages", type=Path)
    args = args.parse_args()
    media = common.media()
    if media is None:
        print("predict: SKIPPED, NOTHING WAS MEASURED: no ../shared/media/MANIFEST.tsv; set RIVULET_SHARED to the directory above media/")
        return True
    common.OUT.mkdir(parents=True, exist_ok=True)
    patterns = args.only or ("*" if args.all else SHORT)
    rows = [r for r in common.manifest(media) if wanted(r, patterns.split(","))]
    if not rows:
        raise SystemExit(f"predict: no recording of {media} longer than {LEAST_S:g} s matches {patterns}")
    print("| recording | s | predicted kB | actual kB | off | worst rung | off |\n|---|---|---|---|---|---|---|", flush=True)
    far = []
    for row in rows:
        name = row["file"]
        try:
            found = compare(media / name, args.packages)
        except SystemExit as e:
            found = str(e).splitlines()[-1]
        if isinstance(found, str):
            far.append(name)
            print(f"| {name} | {float(row['duration_s']):.0f} | {found} |", flush=True)
            continue
        seconds, predicted, actual, rung, worst = found
        off = predicted / actual - 1
        if abs(off) > OFF:
            far.append(name)
        print(f"| {name} | {seconds:.0f} | {predicted / 1e3:.0f} | {actual / 1e3:.0f} | {100 * off:+.1f} % | {rung} | {100 * worst:+.1f} % |", flush=True)
    print()
    return common.verdict(f"predict: {len(rows) - len(far)} of {len(rows)} recordings within {100 * OFF:.0f} % of the bytes", not far)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
