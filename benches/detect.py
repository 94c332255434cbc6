#!/usr/bin/env python3
"""Slide detection against ground truth: recordings labelled by looking (benches/labels), the semi-real lecture with its
truth file, and decks that fixtures/decks.py renders in styles the detector was not tuned on.

    benches/detect.py [--also slides] [--only PATTERN,...] [--decks DIR]

Found changes are the starts of the timeline's slides in `rivulet --json plan` (but one at 0), and their steps. A label is
found when a change lies within 0.5 s of it, one to one, the nearest pairs first; one of an animated transition within 0.5 s
of its begin or of the picture's rest. A label of kind `build` is found by a step or by a slide, any other by a slide alone.
Labels marked optional (a scroll, a menu, a camera's cut) are neither missed nor is what finds them false.

What finds no label is false; in spans of embedded video, handwriting, live coding and the like it is `in spans` instead,
counted a minute. A step that finds nothing is as false as a slide, or reporting steps everywhere would find all builds;
but in such spans it is free, and so is one beside a labelled slide.

Bars, for each of the three groups: 95 % found, 5 % of what is reported false; 2 slides a minute in the spans. Of stuck pictures
90 % of the time found and no other called so; the speaker's place known for 90 % of a deck in which it changes.
Recordings are in $RIVULET_SHARED/media or ../shared/media; those that are missing are skipped, loudly.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

WITHIN_S, FOUND, FALSE, SPAN_RATE = 0.5, 0.95, 0.05, 2.0
LABELS = common.ROOT / "benches" / "labels"
# Here the picture moves by itself: what a detector reports in them is counted apart. A pointer or black is no excuse.
BUSY = ("video", "handwriting", "live_coding", "live_use", "camera", "animation")
# Sections of the semi-real lecture's truth file by words of their names.
SECTIONS = (("embedded", "video"), ("handwriting", "handwriting"), ("with ink", "handwriting"), ("full frame", "camera"))


def distance(label, at):
    """Seconds from a found change to the nearer end of a labelled transition."""
    return min(abs(at - label["at_s"]), abs(at - label.get("settled_s", label["at_s"])))


def match(labels, spans, timeline):
    """Counts of one recording: labelled, found, missed, false (lists of seconds), reported in spans and their minutes."""
    slides = sorted(s["start_s"] for s in timeline["slides"])
    if slides and slides[0] < WITHIN_S:
        slides = slides[1:]
    steps = sorted(at for s in timeline["slides"] for at in s.get("steps_s", []))
    found = [(at, "slide") for at in slides] + [(at, "step") for at in steps]
    pairs = sorted(
        (distance(label, at), label.get("optional", False), kind == "step", i, j)
        for i, label in enumerate(labels)
        for j, (at, kind) in enumerate(found)
        if distance(label, at) <= WITHIN_S + 1e-9 and (kind == "slide" or label["kind"] == "build" or label.get("optional"))
    )
    labels_left, found_left = set(range(len(labels))), set(range(len(found)))
    for _, _, _, i, j in pairs:
        if i in labels_left and j in found_left:
            labels_left.remove(i)
            found_left.remove(j)
    busy = [s for s in spans if s["kind"] in BUSY]
    false, in_spans, steps_in_spans = [], [], 0
    for j in sorted(found_left):
        at, kind = found[j]
        inside = any(s["start_s"] <= at <= s["end_s"] for s in busy)
        steps_in_spans += kind == "step" and inside
        if kind == "step" and (inside or any(distance(label, at) <= WITHIN_S for label in labels)):
            continue
        (in_spans if inside else false).append((at, kind))
    needed = [i for i, label in enumerate(labels) if not label.get("optional")]
    missed = [labels[i] for i in needed if i in labels_left]
    return {
        "labelled": len(needed), "found": len(needed) - len(missed), "missed": missed, "false": false, "in_spans": in_spans, "steps_in_spans": steps_in_spans,
        "minutes": covered(busy) / 60, "optional": sum(1 for i, label in enumerate(labels) if label.get("optional") and i not in labels_left),
    }


def common_s(some, others):
    """Seconds that two lists of spans have in common."""
    return sum(max(0.0, min(a["end_s"], b["end_s"]) - max(a["start_s"], b["start_s"])) for a in some for b in others)


def frozen(spans, timeline):
    """Of a stuck picture: seconds that are labelled, seconds found of them, seconds reported where there is none."""
    wanted = [s for s in spans if s["kind"] == "frozen"]
    found = [s for s in timeline.get("spans", []) if s["kind"] == "frozen"]
    both = common_s(wanted, found)
    return covered(wanted), both, covered(found) - both


def layouts(truth, timeline, duration_s):
    """The share of the time in which the speaker is found where he is, or nowhere where he is not. A place is found where both
    boxes share half of what they cover together; boxes of the truth are pixels of 1280x720."""
    found = timeline.get("speakers", [{"start_s": 0, "end_s": duration_s, "region": timeline["speaker"]}] if timeline.get("speaker") else [])

    def region(of, at):
        return next((s["region"] for s in of if s["start_s"] <= at < s["end_s"]), None)

    def right(at):
        a, b = region(truth, at), region(found, at)
        if a is None or b is None:
            return a is b
        a = [a[0] / 1280, a[1] / 720, a[2] / 1280, a[3] / 720]
        along = [max(0.0, min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
        both = along[0] * along[1]
        return both >= 0.5 * (a[2] * a[3] + b[2] * b[3] - both)

    tenths = range(round(duration_s * 10))
    return sum(right(t / 10) for t in tenths) / max(1, len(tenths))


def covered(spans):
    """Seconds that spans cover, overlaps once."""
    total, until = 0.0, float("-inf")
    for a, b in sorted((s["start_s"], s["end_s"]) for s in spans):
        total += max(0.0, b - max(a, until))
        until = max(until, b)
    return total


def timeline_of(plan):
    """The plan's timeline in seconds, whether it gives one `timeline` in seconds or `timelines` in nanoseconds; None without."""
    if "timeline" in plan:
        return plan["timeline"]
    if not plan.get("timelines"):
        return None
    slides = [s for t in plan["timelines"] for s in t["slides"]]
    return {"slides": [{"start_s": s["start_ns"] / 1e9, "steps_s": [ns / 1e9 for ns in s.get("steps_ns", [])]} for s in slides]}


def of_truth(truth):
    """Labels and spans of the semi-real lecture: its slide changes, and each section's begin but the first's."""
    starts = [s["start"] for s in truth["sections"]][1:]
    labels = [{"at_s": at, "kind": "slide"} for at in sorted({*truth["slide_changes"], *starts})]
    spans = []
    for section in truth["sections"]:
        for words, kind in SECTIONS:
            if words in section["name"]:
                spans.append({"kind": kind, "start_s": section["start"], "end_s": section["end"]})
                break
    return labels, spans


def recordings(media, decks, wanted):
    """(group, path, labels, spans, layouts or None) of all whose name is `wanted`; says what is missing."""
    for path in sorted(LABELS.glob("*.json")):
        label = json.loads(path.read_text(encoding="utf-8"))
        file = media / label["file"]
        if not wanted(file.name):
            continue
        if not file.exists():
            print(f"detect: SKIPPED, not there: {file}", flush=True)
            continue
        if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(label["sha256"]):
            raise SystemExit(f"detect: {file} is not the recording that was labelled: its sha256 does not begin with {label['sha256']}")
        if "truth" in label:
            yield ("semi-real", file, *of_truth(json.loads((media / label["truth"]).read_text(encoding="utf-8"))), None)
        else:
            yield "labelled", file, label["changes"], label["spans"], None
    for path in sorted(decks.glob("*.truth.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        if wanted(truth["file"]):
            yield "decks", decks / truth["file"], truth["changes"], truth["spans"], (truth["speakers"], truth["duration_s"]) if truth.get("speakers") else None


def seconds(found):
    return " ".join(f"{at:.2f}{'' if kind == 'slide' else ' ' + kind}," for at, kind in found).rstrip(",") or "none"


def report(results):
    """Prints the totals of each group and says whether all bars are met."""
    ok = True
    for group in ("labelled", "semi-real", "decks"):
        of = [r for g, r in results if g == group]
        if not of:
            continue
        labelled, found = sum(r["labelled"] for r in of), sum(r["found"] for r in of)
        false, useful = sum(len(r["false"]) for r in of), found + sum(r["optional"] for r in of)
        in_spans, minutes = sum(len(r["in_spans"]) for r in of), sum(r["minutes"] for r in of)
        rate, share, busy = found / max(1, labelled), false / max(1, false + useful), in_spans / max(minutes, 1e-9)
        print(f"detect: {group}: {len(of)} recordings, {labelled} changes labelled, {found} found ({100 * rate:.1f} %), {labelled - found} missed, "
              f"{false} false ({100 * share:.1f} %); {in_spans} slides and {sum(r['steps_in_spans'] for r in of)} steps in {minutes:.1f} min of video, ink and live work ({busy:.2f} slides a minute)")
        ok &= common.verdict(f"detect: {group}: at least {100 * FOUND:.0f} % found", rate >= FOUND)
        ok &= common.verdict(f"detect: {group}: at most {100 * FALSE:.0f} % false", share <= FALSE)
        ok &= common.verdict(f"detect: {group}: at most {SPAN_RATE:.0f} slides a minute in spans that move by themselves", busy <= SPAN_RATE)
    wanted, found, false = (sum(r["frozen"][i] for _, r in results) for i in range(3))
    print(f"detect: stuck pictures: {found:.1f} of {wanted:.1f} s found, {false:.1f} s reported where there are none")
    ok &= common.verdict("detect: stuck pictures: 90 % found, none elsewhere", found >= 0.9 * wanted and false <= 0.05 * wanted)
    for at in (r["layouts"] for _, r in results if r["layouts"] is not None):
        ok &= common.verdict(f"detect: layouts that change: the speaker's place known for at least 90 % of the time ({100 * at:.1f} %)", at >= 0.9)
    return ok


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--also", choices=["slides"], help="slides: print the times that were missed, false or in spans")
    parser.add_argument("--only", default="*", help="names of recordings, * and ? allowed, by commas")
    parser.add_argument("--decks", type=Path, default=common.ROOT / "fixtures" / "out" / "decks", help="made there if it is missing")
    parser.add_argument("--no-make", action="store_true", help="take the decks that are there")
    options = parser.parse_args()
    common.OUT.mkdir(parents=True, exist_ok=True)
    if not options.no_make:
        subprocess.run([common.ROOT / "fixtures" / "decks.py", options.decks], check=True)
    media = Path(os.environ.get("RIVULET_SHARED", common.ROOT.parent / "shared")) / "media"
    results, ok = [], True
    print(f"{'recording':34} labelled found missed false in-spans")
    patterns = options.only.split(",")
    for group, file, labels, spans, places in recordings(media, options.decks, lambda name: any(fnmatch.fnmatch(name, p) for p in patterns)):
        try:
            timeline = timeline_of(common.plan(file, ["--quick"]))
        except SystemExit as failed:
            print(f"detect: {file.name}: no plan: {failed}", flush=True)
            timeline, ok = {"slides": []}, False
        if timeline is None:
            raise SystemExit(f"detect: the plan of {file.name} has no timeline: this rivulet does not look for slides")
        r = match(labels, spans, timeline)
        r["frozen"] = frozen(spans, timeline)
        r["layouts"] = layouts(places[0], timeline, places[1]) if places else None
        results.append((group, r))
        print(f"{file.name:34} {r['labelled']:8} {r['found']:5} {len(r['missed']):6} {len(r['false']):5} {len(r['in_spans']):8}", flush=True)
        if options.also and (r["missed"] or r["false"] or r["in_spans"]):
            print(f"    missed {seconds([(m['at_s'], m['kind']) for m in r['missed']])}; false {seconds(r['false'])}; in spans {seconds(r['in_spans'])}", flush=True)
    if not results:
        raise SystemExit("detect: nothing to measure")
    ok &= report(results)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
