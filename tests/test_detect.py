"""The matching of benches/detect.py on timelines made up here: python3 -m unittest tests/test_detect.py"""

import json
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benches"))
import detect


def timeline(*slides):
    """Slides as a start, or as a start with its steps."""
    return {"slides": [{"start_s": s[0], "steps_s": list(s[1:])} if isinstance(s, tuple) else {"start_s": s} for s in slides]}


def label(at, kind="slide", **more):
    return {"at_s": at, "kind": kind, **more}


class Matching(unittest.TestCase):
    def counts(self, labels, found, spans=()):
        r = detect.match(labels, spans, found)
        return r["found"], len(r["missed"]), len(r["false"]), len(r["in_spans"])

    def test_the_slide_at_zero_is_not_counted_but_a_late_first_slide_is(self):
        self.assertEqual(self.counts([label(10)], timeline(0, 10.1)), (1, 0, 0, 0))
        self.assertEqual(self.counts([label(10)], timeline(10.1)), (1, 0, 0, 0))

    def test_half_a_second_is_near_enough_and_more_is_both_missed_and_false(self):
        self.assertEqual(self.counts([label(10)], timeline(0, 10.5)), (1, 0, 0, 0))
        self.assertEqual(self.counts([label(10)], timeline(0, 10.51)), (0, 1, 1, 0))

    def test_one_to_one_nearest_first(self):
        self.assertEqual(self.counts([label(10)], timeline(0, 9.8, 10.1)), (1, 0, 1, 0))
        self.assertEqual(self.counts([label(10), label(10.6)], timeline(0, 10.3)), (1, 1, 0, 0))

    def test_a_build_is_found_by_a_step_or_a_slide_and_a_slide_by_a_slide_alone(self):
        self.assertEqual(self.counts([label(10, "build")], timeline((0, 10.2))), (1, 0, 0, 0))
        self.assertEqual(self.counts([label(10, "build")], timeline(0, 10.2)), (1, 0, 0, 0))
        self.assertEqual(self.counts([label(10)], timeline((0, 10.2))), (0, 1, 0, 0))

    def test_steps_everywhere_are_false(self):
        self.assertEqual(self.counts([label(5, "build")], timeline((0, *range(1, 20)))), (1, 0, 18, 0))

    def test_a_transition_counts_at_either_end_and_not_in_a_long_middle(self):
        slow = [label(10, "fade", settled_s=12)]
        self.assertEqual(self.counts(slow, timeline(0, 10.4)), (1, 0, 0, 0))
        self.assertEqual(self.counts(slow, timeline(0, 11.6)), (1, 0, 0, 0))
        self.assertEqual(self.counts(slow, timeline(0, 11)), (0, 1, 1, 0))

    def test_optional_labels_are_neither_missed_nor_false(self):
        scroll = [label(10, "scroll", optional=True)]
        self.assertEqual(self.counts(scroll, timeline(0)), (0, 0, 0, 0))
        self.assertEqual(self.counts(scroll, timeline(0, 10)), (0, 0, 0, 0))

    def test_spans_take_slides_that_match_nothing_and_forgive_steps(self):
        ink = [{"kind": "handwriting", "start_s": 20, "end_s": 50}]
        self.assertEqual(self.counts([label(30)], timeline((0, 21, 22), 30.1, 40), ink), (1, 0, 0, 1))
        pointer = [{"kind": "pointer", "start_s": 20, "end_s": 50}]
        self.assertEqual(self.counts([], timeline(0, 30), pointer), (0, 0, 1, 0))

    def test_overlapping_spans_count_once(self):
        spans = [{"kind": "video", "start_s": 0, "end_s": 40}, {"kind": "camera", "start_s": 20, "end_s": 60}]
        self.assertAlmostEqual(detect.match([], spans, timeline(0))["minutes"], 1.0)

    def test_both_ways_of_writing_a_timeline_are_read(self):
        slides = [{"start_ns": 2_500_000_000, "steps_ns": [4_000_000_000]}]
        self.assertEqual(detect.timeline_of({"timelines": [{"slides": slides}]}), {"slides": [{"start_s": 2.5, "steps_s": [4.0]}]})
        self.assertEqual(detect.timeline_of({"timeline": timeline(1)}), timeline(1))
        self.assertIsNone(detect.timeline_of({}))

    def test_truth_sections_become_labels_and_spans(self):
        truth = {"slide_changes": [5.0], "sections": [{"name": "title slide", "start": 0, "end": 9}, {"name": "embedded ultrasound video", "start": 9, "end": 20}]}
        labels, spans = detect.of_truth(truth)
        self.assertEqual([x["at_s"] for x in labels], [5.0, 9])
        self.assertEqual(spans, [{"kind": "video", "start_s": 9, "end_s": 20}])


class Beside(unittest.TestCase):
    def test_steps_in_spans_are_counted_though_they_are_free(self):
        film = [{"kind": "video", "start_s": 20, "end_s": 50}]
        r = detect.match([], film, timeline((0, 10, 21, 22)))
        self.assertEqual((r["steps_in_spans"], len(r["false"]), len(r["in_spans"])), (2, 1, 0))

    def test_a_stuck_picture_is_found_by_the_second(self):
        spans = [{"kind": "frozen", "start_s": 20, "end_s": 30}, {"kind": "camera", "start_s": 0, "end_s": 60}]
        found = {"spans": [{"kind": "motion", "start_s": 0, "end_s": 22}, {"kind": "frozen", "start_s": 22, "end_s": 33}]}
        self.assertEqual(detect.frozen(spans, found), (10, 8, 3))
        self.assertEqual(detect.frozen(spans, {}), (10, 0, 0))

    def test_a_speaker_is_found_where_he_is_and_nowhere_where_he_is_not(self):
        truth = [{"start_s": 0, "end_s": 10, "region": [960, 0, 320, 720]}]
        right = [{"start_s": 0, "end_s": 10, "region": [0.75, 0, 0.25, 1]}]
        self.assertEqual(detect.layouts(truth, {"speakers": right}, 20), 1.0)
        self.assertEqual(detect.layouts(truth, {"speakers": []}, 20), 0.5)
        self.assertEqual(detect.layouts(truth, {"speakers": [dict(right[0], end_s=20)]}, 20), 0.5)
        self.assertEqual(detect.layouts(truth, {"speakers": [dict(right[0], region=[0, 0, 0.25, 1])]}, 10), 0.0)


class Labels(unittest.TestCase):
    def test_committed_labels_are_in_order_and_of_known_kinds(self):
        files = sorted((ROOT / "benches" / "labels").glob("*.json"))
        self.assertGreater(len(files), 20)
        for path in files:
            found = json.loads(path.read_text(encoding="utf-8"))
            with self.subTest(path.name):
                self.assertEqual(len(found["sha256"]), 16)
                times = [c["at_s"] for c in found["changes"]]
                self.assertEqual(times, sorted(times))
                for change in found["changes"]:
                    self.assertIn(change["kind"], ("slide", "build", "scroll", "fade", "cut"))
                    self.assertGreater(change.get("settled_s", change["at_s"] + 1), change["at_s"])
                for span in found["spans"]:
                    self.assertIn(span["kind"], (*detect.BUSY, "pointer", "black"))
                    self.assertGreater(span["end_s"], span["start_s"])


if __name__ == "__main__":
    unittest.main()
