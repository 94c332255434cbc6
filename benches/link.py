#!/usr/bin/env python3
"""How exact the link emulator (tests/link, docs/link.md) is: what is measured from inside each class, beside its nominal values.

    benches/link.py [--seconds 30] [--short] [--classes 2g,edge]

For each class: a small packet's round trip, what a flood of UDP carries each way (IP bytes; the bar is 2 %), how many of
packets that fit are lost (within four standard deviations), and one TCP stream each way in the second half of its time:
payload, so at most 96.5 % of the rate; on a link without loss it must reach 90 %, with loss it is what cubic makes of it
(above 100 where what waited behind a lost packet came in this half).
All classes run side by side: each is a link of its own.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "link")]
import common
import classes

LINK = HERE.parent / "tests" / "link" / "link.py"
PROBE = [sys.executable, "-B", str(HERE / "link_probe.py")]
RATE_OFF, RTT_OFF, RTT_OFF_S, TCP_LEAST, LATE_MS = 0.02, 0.02, 0.004, 0.90, 20.0


def start(name, seconds):
    down, up, rtt, _ = classes.CLASSES[name]
    report = common.OUT / f"link-{name}.json"
    argv = [sys.executable, LINK, "run", "--class", name, "--seed", "1", "--report", report]
    argv += ["--server", " ".join([*PROBE, "server"]), "--ready", "listening", "--server-log", common.OUT / f"link-{name}.log"]
    return subprocess.Popen([str(a) for a in [*argv, "--", *PROBE, "client", up * 1000, down * 1000, rtt / 1000, seconds]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE), report


def row(name, found, report):
    """What is off by too much is marked with `!`: (text, whether all is well)."""
    down, up, rtt, loss = classes.CLASSES[name]
    marks = []

    def cell(text, ok):
        marks.append(ok)
        return text + (" " if ok else "!")

    # A ping of 64 bytes takes its time on the link too.
    expected = rtt / 1000 + 64 * 8 / (down * 1000) + 64 * 8 / (up * 1000)
    trip = found["rtt_s"]
    out = f"{name:>8} {expected * 1000:8.0f} " + cell(f"{trip * 1000:8.1f}", abs(trip - expected) <= RTT_OFF * expected + RTT_OFF_S)
    for way, kbps in (("down", down), ("up", up)):
        # What is lost took its time as well.
        carried = found[f"flood_{way}"].get("bps", 0) / (1 - loss / 100) / 1000
        out += f" {kbps:6} " + cell(f"{carried:8.1f}", abs(carried - kbps) <= RATE_OFF * kbps * (1 if not loss else 2))
        trickle = found[f"trickle_{way}"]
        sent = found["trickle_up_sent"] if way == "up" else trickle.get("highest", 0) + 1
        lost = sent - trickle["received"]
        sigma = (sent * loss / 100 * (1 - loss / 100)) ** 0.5
        out += f" {loss:4} " + cell(f"{100 * lost / sent:5.2f}", abs(lost - sent * loss / 100) <= 4 * sigma)
        tcp = found[f"tcp_{way}"]["bps"] / 1000 / kbps
        out += " " + cell(f"{100 * tcp:6.1f}", bool(loss) or tcp >= TCP_LEAST)
    return out + " " + cell(f"{report['late_max_ms']:6.1f}", report["late_max_ms"] <= LATE_MS), all(marks)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--seconds", type=int, default=30, help="of each stream")
    args.add_argument("--short", action="store_true", help="20 s of each")
    args.add_argument("--classes", type=lambda s: s.split(","), default=list(classes.CLASSES))
    args = args.parse_args()
    if subprocess.run([sys.executable, LINK, "possible"]).returncode:
        raise SystemExit("bench-link: SKIPPED, nothing was measured")
    common.OUT.mkdir(parents=True, exist_ok=True)
    running = {name: start(name, 20 if args.short else args.seconds) for name in args.classes}
    print(f"{'':8} {'round trip, ms':>18} {'down, kbit/s':>16} {'loss, %':>11} {'TCP, %':>7} {'up, kbit/s':>16} {'loss, %':>11} {'TCP, %':>7} {'late':>7}")
    print(f"{'class':>8} {'nominal':>8} {'found':>9} {'nominal':>6} {'found':>9} {'nom':>4} {'found':>6} {'':>7} {'nominal':>6} {'found':>9} {'nom':>4} {'found':>6} {'':>7} {'ms':>7}")
    good = True
    for name, (child, report) in running.items():
        out, _ = child.communicate()
        if child.returncode:
            raise SystemExit(f"bench-link: {name}: exit {child.returncode}; {common.OUT / f'link-{name}.log'} has the server's words")
        text, ok = row(name, json.loads(out), json.loads(report.read_text()))
        good &= ok
        print(text, flush=True)
    return common.verdict("link: every class as its nominal values, ! where not", good)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
