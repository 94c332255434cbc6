"""The link emulator's own tests: its decisions under a clock of our own, and one live link, of which order and bytes are told,
never seconds. Without the rights for a link the live ones are skipped, aloud."""

import hashlib
import json
import os
import random
import re
import select
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import classes
import link
from pipe import SECOND, Constant, Loss, Pipe, Trace

MS = SECOND // 1000


def packet(n, size=1000):
    return n.to_bytes(4, "big") + bytes(size - 4)


def arrivals(way):
    return [(at, int.from_bytes(p[:4], "big")) for at, p in way.due(1 << 62)]


class Rates(unittest.TestCase):
    def test_packets_leave_at_the_rate_and_arrive_a_delay_later(self):
        way = Pipe(Constant(80_000), 50 * MS)
        for n in range(5):
            self.assertTrue(way.offer(0, packet(n)))
        self.assertEqual(way.next_due(), 150 * MS)
        self.assertEqual(list(way.due(150 * MS - 1)), [])
        self.assertEqual(arrivals(way), [((100 * (n + 1) + 50) * MS, n) for n in range(5)])

    def test_an_idle_link_owes_nothing(self):
        way = Pipe(Constant(80_000), 0)
        way.offer(0, packet(0)), way.offer(7 * SECOND, packet(1))
        self.assertEqual(arrivals(way), [(100 * MS, 0), (7 * SECOND + 100 * MS, 1)])

    def test_a_trace_waits_through_its_outages_and_loops(self):
        trace = Trace([{"duration_ms": 1000, "bandwidth_kbps": 8, "latency_ms": 100}, {"duration_ms": 3000, "bandwidth_kbps": 0, "latency_ms": 700}])
        self.assertEqual(trace.finish(0, 1000), SECOND)
        self.assertEqual(trace.finish(500 * MS, 1000), 4 * SECOND + 500 * MS)
        self.assertEqual(trace.finish(2 * SECOND, 2000), 9 * SECOND)
        self.assertEqual([trace.delay(at) for at in (0, 2 * SECOND, 4 * SECOND)], [50 * MS, 350 * MS, 50 * MS])

    def test_a_trace_carries_what_its_spans_add_up_to(self):
        chance = random.Random(4)
        spans = [{"duration_ms": chance.randint(1, 3000), "bandwidth_kbps": chance.choice([0, 4, 300, 5000]), "latency_ms": 100} for _ in range(50)]
        spans.append({"duration_ms": 10, "bandwidth_kbps": 100, "latency_ms": 100})
        trace = Trace(spans)
        # A bit/s for a nanosecond is a unit here; the walk counts what was carried up to each packet's end.
        at = chance.randint(0, trace.length)
        for _ in range(200):
            size = chance.randint(40, 1500)
            end = trace.finish(at, size)
            carried = sum(min(e, end) * bps - b * bps for b, e, bps, _ in pieces(trace, at, end))
            self.assertLess(abs(carried - size * 8 * SECOND), 5_000_000)
            at = end

    def test_a_shorter_delay_overtakes_nothing(self):
        trace = Trace([{"duration_ms": 1000, "bandwidth_kbps": 80, "latency_ms": 4000}, {"duration_ms": 1000, "bandwidth_kbps": 80, "latency_ms": 0}])
        way = Pipe(trace, None)
        for n in range(15):
            way.offer(0, packet(n))
        got = arrivals(way)
        self.assertEqual([n for _, n in got], list(range(15)))
        self.assertEqual(got, sorted(got))

    def test_what_is_no_trace_is_refused(self):
        for spans in ([], [{"duration_ms": 1000, "bandwidth_kbps": 0}], [{"duration_ms": 0, "bandwidth_kbps": 3}], [{"kbps": 3}], {"a": 1}, 7):
            with self.assertRaises(ValueError, msg=spans):
                Trace(spans)


def pieces(trace, start, end):
    for piece in trace.walk(start):
        if piece[0] >= end:
            return
        yield piece


class Queues(unittest.TestCase):
    def test_a_full_queue_drops_what_comes_last(self):
        way = Pipe(Constant(80_000), 0, queue_bytes=3000)
        self.assertEqual([way.offer(0, packet(n)) for n in range(5)], [True, True, True, False, False])
        # One has left, one may come.
        self.assertEqual([way.offer(100 * MS, packet(n)) for n in (5, 6)], [True, False])
        self.assertEqual([n for _, n in arrivals(way)], [0, 1, 2, 5])
        self.assertEqual(way.counts["dropped_packets"], 3)
        self.assertEqual(way.counts["queue_peak_bytes"], 3000)

    def test_a_queue_in_milliseconds(self):
        way = Pipe(Constant(80_000), 0, 1 << 40, 250 * MS)
        self.assertEqual([way.offer(0, packet(n)) for n in range(4)], [True, True, False, False])

    def test_an_empty_queue_takes_any_packet(self):
        self.assertTrue(Pipe(Constant(8_000), 0, queue_bytes=100).offer(0, packet(0)))


class Losses(unittest.TestCase):
    def lost(self, count=500_000, **how):
        loss = Loss(**how)
        return [loss() for _ in range(count)]

    def test_a_seed_gives_the_same_losses(self):
        self.assertEqual(self.lost(10_000, percent=1, seed="7/up"), self.lost(10_000, percent=1, seed="7/up"))
        self.assertNotEqual(self.lost(10_000, percent=1, seed="7/up"), self.lost(10_000, percent=1, seed="8/up"))

    def test_single_and_bursty_losses_have_the_same_share(self):
        for burst in (1, 4, 20):
            lost = self.lost(percent=2, burst=burst, seed=1)
            runs = [len(r) for r in re.findall("1+", "".join("01"[x] for x in lost))]
            self.assertAlmostEqual(sum(lost) / len(lost), 0.02, delta=0.002)
            self.assertAlmostEqual(sum(runs) / len(runs), max(burst, 1.02), delta=0.15 * burst)

    def test_a_lost_packet_took_its_time(self):
        way = Pipe(Constant(80_000), 0, loss=lambda turns=iter([True, False]): next(turns))
        way.offer(0, packet(0)), way.offer(0, packet(1))
        self.assertEqual(arrivals(way), [(200 * MS, 1)])


class Words(unittest.TestCase):
    def test_classes_are_those_of_the_program(self):
        text = (HERE.parent.parent / "src" / "link.rs").read_text()
        found = re.findall(r'name: "([\w-]+)", down_kbps: ([\d.]+), rtt_ms: ([\d.]+), loss_percent: ([\d.]+), up_kbps: ([\d.]+)', text)
        self.assertEqual({n: (float(d), float(u), float(r), float(l)) for n, d, r, l, u in found}, classes.CLASSES)

    def test_rates_and_queues(self):
        self.assertEqual([classes.rate(t) for t in ("512k", "1.5M", "64000")], [512_000, 1_500_000, 64_000])
        self.assertEqual([classes.queue(t) for t in ("75k", "9000", "600ms")], [(75_000, None), (9000, None), (1 << 40, 600 * MS)])
        for wrong in ("", "0", "k", "-1M", "1G", "1.2.3"):
            with self.assertRaises(ValueError, msg=wrong):
                classes.rate(wrong)
        for wrong in ("", "0", "ms", "1.5k"):
            with self.assertRaises(ValueError, msg=wrong):
                classes.queue(wrong)


SEND = "import hashlib,os,random,socket,sys; s=socket.create_connection(('192.0.2.2',7)); d=random.Random(sys.argv[1]).randbytes(200000); s.sendall(d); s.shutdown(1); print(s.makefile().read())"
DIGEST = """import hashlib,socket
s=socket.create_server(('192.0.2.2',7)); print('listening',flush=True); c,_=s.accept(); h=hashlib.sha256()
while d:=c.recv(65536): h.update(d)
c.sendall(h.hexdigest().encode())"""
FLOOD = """import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.connect(('192.0.2.2',7))
for n in range(100): s.send(n.to_bytes(4,'big')+bytes(968))
print(s.recv(100).decode())"""
# Twenty packets fit; then the link is silent, and what came is told.
COUNT = """import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('192.0.2.2',7)); print('listening',flush=True); got=[]
while len(got)<20: d,who=s.recvfrom(2000); got.append(int.from_bytes(d[:4],'big'))
s.sendto(' '.join(map(str,got)).encode(),who)"""


@unittest.skipIf(link.no_link(), f"NO LIVE LINK TESTED: {link.no_link()}")
class Live(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)

    def start(self, name, options, server, *command, **more):
        script = self.scratch / f"{name}.py"
        script.write_text(server or "")
        serve = ["--server", f"exec {sys.executable} {script}", "--ready", "listening", "--server-log", self.scratch / f"{name}.log"] if server else []
        argv = [sys.executable, HERE / "link.py", "run", *options, *serve, "--report", self.scratch / f"{name}.json", "--", *command]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **more)

    def ended(self, child, name):
        out, _ = child.communicate(timeout=100)
        report = json.loads((self.scratch / f"{name}.json").read_text()) if child.returncode == 0 else None
        return out.decode().split(), report

    def test_two_lossy_links_side_by_side_carry_all_bytes_in_order(self):
        options = ["--up", "5M", "--down", "5M", "--delay", "5", "--loss", "3", "--burst", "2", "--seed", "1"]
        children = {seed: self.start(seed, options, DIGEST, sys.executable, "-c", SEND, seed) for seed in ("a", "b")}
        for seed, child in children.items():
            out, report = self.ended(child, seed)
            self.assertEqual(out, [hashlib.sha256(random.Random(seed).randbytes(200000)).hexdigest()])
            self.assertGreater(report["up"]["lost_packets"], 0)
            self.assertGreater(report["up"]["delivered_bytes"], 200000)
            self.assertEqual(report["refused_packets"], 0)

    def test_what_does_not_fit_the_queue_is_dropped_from_its_end_and_counted(self):
        child = self.start("flood", ["--up", "200k", "--delay", "1", "--queue", "20000"], COUNT, sys.executable, "-c", FLOOD)
        out, report = self.ended(child, "flood")
        # 972 bytes of data are packets of 1000, twenty of which wait; more may have come while the first ones left.
        self.assertEqual(out, [str(n) for n in range(20)])
        up = report["up"]
        self.assertEqual((up["offered_packets"], up["offered_bytes"]), (100, 100_000))
        self.assertEqual(up["queue_peak_bytes"], 20_000)
        self.assertGreater(up["dropped_packets"], 0)
        self.assertGreaterEqual(up["offered_packets"] - up["dropped_packets"], up["delivered_packets"])

    def test_the_exit_code_is_the_commands(self):
        for code, command in ((7, ["/bin/sh", "-c", "exit 7"]), (137, ["/bin/sh", "-c", "kill -KILL $$"]), (127, ["/nothing/of/this/name"])):
            child = self.start("code", [], None, *command, stderr=subprocess.DEVNULL)
            child.communicate(timeout=60)
            self.assertEqual(child.returncode, code)

    def test_there_is_no_way_around_the_link(self):
        asks = "import socket,sys\ntry: socket.create_connection(('8.8.8.8',53),5)\nexcept OSError as e: print(e.errno)"
        out, report = self.ended(self.start("out", [], None, sys.executable, "-c", asks), "out")
        self.assertEqual(out, ["101"])  # ENETUNREACH
        self.assertEqual(report["up"]["offered_packets"], 0)

    def test_a_server_that_never_gets_ready_ends_it(self):
        child = self.start("dead", [], "raise SystemExit(3)", "/bin/true", stderr=subprocess.PIPE)
        _, said = child.communicate(timeout=60)
        self.assertEqual(child.returncode, link.NO_LINK)
        self.assertIn(b"not ready: it ended", said)

    def left_by(self, signal):
        """Starts a command and a server that leave the link's session and hold a pipe; nothing may hold it after `signal`."""
        reader, writer = os.pipe()
        server = f"import os,time\nos.write({writer},b's'); print('listening',flush=True); time.sleep(1000)"
        script = f"echo c >&{writer}; setsid sleep 1000 & exec setsid sleep 1000"
        child = self.start("killed", [], server, "/bin/sh", "-c", script, pass_fds=[writer], stderr=subprocess.DEVNULL)
        os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as held:
            said = b""
            while said.count(b"\n") < 1:
                said += held.read(10)
            child.send_signal(signal)
            self.assertEqual(len(select.select([held], [], [], 60)[0]), 1, "something still holds the pipe")
            self.assertEqual(held.read(10), b"")
        child.communicate(timeout=60)
        return child.returncode

    def test_kill_9_leaves_nothing(self):
        self.assertEqual(self.left_by(9), -9)

    def test_a_termination_is_passed_on(self):
        self.assertEqual(self.left_by(15), 128 + 15)


if __name__ == "__main__":
    unittest.main()
