#!/usr/bin/env python3
"""A slow link to run a command behind: two network namespaces, and between them this program, which holds every IP packet for
as long as the link would. docs/link.md says how it works and how exact it is.

    tests/link/link.py run --class edge --server 'rivulet serve store --listen 192.0.2.2:8080' --ready 8080 -- COMMAND...

COMMAND runs in the client's namespace; what --server starts is in the other, at 192.0.2.2. There is no other network, and no
DNS. The exit code is COMMAND's; 125 if there is no link to be had. Wants root (CAP_NET_ADMIN and CAP_SYS_ADMIN).
"""

import argparse
import gc
import json
import os
import re
import select
import signal
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import classes
import netns
import pipe

NO_LINK = 125
GRACE_S = 20.0  # From SIGTERM to SIGKILL, for the server and for a command that we are told to stop.


def no_link():
    """Why this machine cannot have a link, or None."""
    if not hasattr(os, "geteuid") or not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun (Linux with CONFIG_TUN; in a container: --device /dev/net/tun)"
    try:
        with open("/proc/self/status") as f:
            held = int(re.search(r"^CapEff:\s+(\w+)", f.read(), re.M)[1], 16)
    except (OSError, TypeError):
        return "there is no /proc"
    missing = [name for name, bit in (("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)) if not held >> bit & 1]
    return f"this process lacks {' and '.join(missing)}: run it as root" if missing else None


class Forwarder:
    """Carries packets until the client's command has ended. Its clock begins with the first packet."""

    def __init__(self, client, server, up, down):
        self.ways = ((client.tun, server.tun, up), (server.tun, client.tun, down))
        self.began, self.late_ns, self.refused = None, 0, 0
        self.wake, self.woken = os.pipe()
        os.set_blocking(self.wake, False), os.set_blocking(self.woken, False)
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)

    def now(self):
        return 0 if self.began is None else time.monotonic_ns() - self.began

    def step(self, talk, until):
        """Waits for the next thing to happen (or `until`, monotonic nanoseconds), and does it. `talk`: {descriptor: reader}."""
        now = self.now()
        for _, to, way in self.ways:
            for at, packet in way.due(now):
                self.late_ns = max(self.late_ns, now - at)
                try:
                    os.write(to, packet)
                except OSError:
                    self.refused += 1  # The device is full or gone: a packet lost like any other.
        dues = [due for _, _, way in self.ways if (due := way.next_due()) is not None]
        waits = [max(0, min(dues) - self.now())] if dues else []
        waits += [max(0, until - time.monotonic_ns())] if until is not None else []
        ready, _, _ = select.select([self.ways[0][0], self.ways[1][0], self.wake, *talk], [], [], min(waits) / 1e9 if waits else None)
        for source, _, way in self.ways:
            if source in ready:
                self.take(source, way)
        if self.wake in ready:
            os.read(self.wake, 4096)
        for descriptor in ready:
            if descriptor in talk:
                talk[descriptor](descriptor)

    def take(self, source, way):
        for _ in range(64):  # Then the other direction has its turn.
            try:
                packet = os.read(source, 65536)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue
            if self.began is None:
                self.began = time.monotonic_ns()
            way.offer(self.now(), packet)


class Ready:
    """Passes on what the server says, and knows whether it has said that it is ready."""

    def __init__(self, wanted, to):
        self.done, self.wanted, self.to, self.text = wanted is None, wanted and re.compile(wanted), to, ""

    def read(self, descriptor, talk):
        said = os.read(descriptor, 65536)
        if not said:
            del talk[descriptor]
            return
        os.write(self.to, said)
        if not self.done:
            self.text += said.decode(errors="replace")
            self.done = bool(self.wanted.search(self.text))


def run(args, up, down):
    client, server = netns.Namespace(netns.CLIENT, args.congestion), netns.Namespace(netns.SERVER, args.congestion)
    stops = []
    signal.signal(signal.SIGTERM, lambda *_: stops.append("term"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The terminal sends Ctrl-C to the command too; we end when it does.
    signal.signal(signal.SIGCHLD, lambda *_: None)  # Wakes the forwarder.
    forwarder = Forwarder(client, server, up, down)
    env = {"LINK_CLIENT": netns.CLIENT, "LINK_SERVER": netns.SERVER}
    talk, ready, serving, ended = {}, Ready(args.ready, 2), None, {}

    def alive(pid):
        if pid is not None and pid not in ended:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                ended[pid] = os.waitstatus_to_exitcode(status)
        return pid is not None and pid not in ended

    if args.server:
        heard, said = os.pipe()
        ready.to = os.open(args.server_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644) if args.server_log else 2
        serving = netns.spawn(server, ["/bin/sh", "-c", args.server], env, said)
        os.close(said)
        talk[heard] = lambda descriptor: ready.read(descriptor, talk)
        patience = time.monotonic_ns() + args.ready_limit * pipe.SECOND
        while not ready.done:
            if stops or not alive(serving) or not talk or time.monotonic_ns() > patience:
                why = "we were told to stop" if stops else f"it did not say {args.ready!r} within {args.ready_limit} s" if alive(serving) and talk else "it ended"
                end(forwarder, talk, alive, serving)
                raise ValueError(f"the server is not ready: {why}: {args.server}")
            forwarder.step(talk, patience)

    command = netns.spawn(client, args.command, env)
    realtime()
    killing = None
    while alive(command):
        if stops and killing is None:
            os.kill(command, signal.SIGTERM)
            killing = time.monotonic_ns() + int(GRACE_S * 1e9)
        elif killing is not None and (len(stops) > 1 or time.monotonic_ns() > killing):
            os.kill(command, signal.SIGKILL)
        if serving is not None and not alive(serving):
            if ended[serving]:
                print(f"link: the server ended with code {ended[serving]} before the command did: {args.server}", file=sys.stderr)
            serving = None
        forwarder.step(talk, killing)
    seconds = forwarder.now() / 1e9
    end(forwarder, talk, alive, serving)
    code = ended[command]
    report = {"seconds": seconds, "up": up.counts, "down": down.counts, "up_by_second": up.by_second, "late_max_ms": forwarder.late_ns / 1e6, "refused_packets": forwarder.refused,
              "code": code if code >= 0 else 128 - code}
    if args.report:
        Path(args.report).write_text(json.dumps(report) + "\n")
    return report["code"]


def end(forwarder, talk, alive, serving):
    """Stops the server. With it go our descriptors, and with them the namespaces."""
    if serving is None or not alive(serving):
        return
    os.kill(serving, signal.SIGTERM)
    patience = time.monotonic_ns() + int(GRACE_S * 1e9)
    # To the end of what it says, too.
    while (alive(serving) or talk) and time.monotonic_ns() < patience:
        forwarder.step(talk, patience)
    if alive(serving):
        os.kill(serving, signal.SIGKILL)
        os.waitpid(serving, 0)


def realtime():
    """Before all ordinary processes: on a busy machine the link must not get slower. Without the right, as we are."""
    gc.collect(), gc.freeze()
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        pass


def pipes(args):
    """(up, down) of the command line."""
    down_kbps, up_kbps, rtt_ms, loss = classes.CLASSES[args.link_class or "3g"]
    if not args.link_class:
        loss = 0
    loss = loss if args.loss is None else args.loss
    made = []
    for name, given, trace, kbps in (("up", args.up, args.trace_up, up_kbps), ("down", args.down, args.trace, down_kbps)):
        if given and trace:
            raise ValueError(f"both a rate and a trace for the way {name}: give one")
        rate = pipe.Trace(classes.trace(trace), trace) if trace else pipe.Constant(classes.rate(given) if given else kbps * 1000)
        if args.delay is not None:
            delay = int(args.delay * 1_000_000)
        elif args.link_class:
            delay = rtt_ms * 500_000
        elif args.trace or args.trace_up:
            # A way without a trace beside one with: as far as that one at its beginning.
            delay = None if trace else pipe.Trace(classes.trace(args.trace or args.trace_up)).delay(0)
        else:
            delay = rtt_ms * 500_000
        queue_bytes, queue_ns = classes.queue(args.queue)
        made.append(pipe.Pipe(rate, delay, queue_bytes, queue_ns, pipe.Loss(loss, args.burst, f"{args.seed}/{name}")))
    return made


def parse(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = p.add_subparsers(dest="verb", required=True)
    verbs.add_parser("possible", help="exit 0 if this machine can have a link, else say why not")
    r = verbs.add_parser("run", help="run a command behind a link")
    r.add_argument("--class", dest="link_class", choices=classes.CLASSES, help="a link by name; 3g without its loss if nothing is said")
    r.add_argument("--up", metavar="RATE", help="bits a second from the client: 512k, 1.5M")
    r.add_argument("--down", metavar="RATE", help="bits a second to the client")
    r.add_argument("--delay", type=float, metavar="MS", help="one way, in each direction; the class's or trace's round trip is twice that")
    r.add_argument("--loss", type=float, metavar="PERCENT", help="of packets, in each direction")
    r.add_argument("--burst", type=float, default=1.0, metavar="N", help="losses in runs of N packets in the mean (1: each by itself)")
    r.add_argument("--queue", default="75k", help="before each direction, drop-tail: bytes (75k) or waiting time (600ms)")
    r.add_argument("--trace", metavar="FILE", help="throughput to the client over time, looped; begins with the first packet")
    r.add_argument("--trace-up", metavar="FILE", help="the same from the client")
    r.add_argument("--seed", default="0", help="of the losses")
    r.add_argument("--congestion", default="cubic", help="TCP's congestion control at both ends")
    r.add_argument("--server", metavar="CMD", help="shell command in the server's namespace")
    r.add_argument("--ready", metavar="REGEX", help="what the server says when the command may start")
    r.add_argument("--ready-limit", type=int, default=60, metavar="S")
    r.add_argument("--server-log", metavar="FILE", help="what the server says goes there instead of stderr")
    r.add_argument("--report", metavar="FILE", help="packets and bytes of each direction, as JSON")
    r.add_argument("command", nargs="+", metavar="COMMAND")
    args = p.parse_args(argv)
    if args.verb == "run" and args.ready and not args.server:
        p.error("--ready is about --server, which is not there")
    return args


def main(argv=None):
    args = parse(argv)
    why = no_link()
    if why:
        print(f"link: no link here: {why}", file=sys.stderr)
        return NO_LINK
    if args.verb == "possible":
        return 0
    try:
        up, down = pipes(args)
        return run(args, up, down)
    except (OSError, ValueError) as e:
        print(f"link: {e}", file=sys.stderr)
        return NO_LINK


if __name__ == "__main__":
    sys.exit(main())
