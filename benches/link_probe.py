"""Both ends of benches/link.py, run inside a link: `server` answers, `client` measures and prints one JSON line. `bulk`
is the reference of benches/uplink.py: so many TCP streams up at once.

Both ends are on one machine and share its monotonic clock, so each direction's delay is measured by itself.
"""

import json
import socket
import statistics
import sys
import threading
import time

SERVER, PORT = "192.0.2.2", 7
HEADERS = 28  # IP and UDP: the link's rate counts them.


def udp(bind=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if bind:
        s.bind(bind)
    return s


def stream(s, to, name, seconds, bps, size):
    """Sends numbered packets of `size` bytes on the wire at `bps`; an empty one tells how many there were."""
    begin, n, gap = time.monotonic(), 0, size * 8 / bps
    while n * gap < seconds:
        wait = begin + n * gap - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        s.sendto(f"{name} {n} {time.monotonic():.6f} ".encode().ljust(size - HEADERS), to)
        n += 1
    return n


class Heard(threading.Thread):
    """Notes what comes: {name: [(number, sent, arrived, bytes on the wire)]}. Answers a ping, and sends where it is told to."""

    def __init__(self, s):
        super().__init__(daemon=True)
        self.s, self.runs = s, {}
        self.start()

    def run(self):
        while True:
            data, who = self.s.recvfrom(65536)
            now = time.monotonic()
            name, *rest = data.split()
            if name == b"ping":
                self.s.sendto((b"pong " + b" ".join(rest)).ljust(len(data)), who)
            elif name == b"send":
                _, run, seconds, bps, size = data.decode().split()
                threading.Thread(target=stream, args=(self.s, who, run, float(seconds), float(bps), int(size)), daemon=True).start()
            else:
                self.runs.setdefault(name.decode(), []).append((int(rest[0]), float(rest[1]), now, len(data) + HEADERS))


def told(run):
    """What a stream that was heard shows."""
    if len(run) < 2:
        return {"received": len(run)}
    first, last = run[0][2], run[-1][2]
    return {"received": len(run), "highest": max(r[0] for r in run), "bps": sum(r[3] for r in run[1:]) * 8 / (last - first), "delay_s": min(r[2] - r[1] for r in run)}


def server():
    heard = Heard(udp((SERVER, PORT)))
    listener = socket.create_server((SERVER, PORT))
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, heard), daemon=True).start()


def serve(connection, heard):
    with connection, connection.makefile("rwb") as talk:
        verb, value = talk.readline().decode().split()
        if verb == "told":
            talk.write(json.dumps(told(heard.runs.get(value, []))).encode())
        elif verb == "pull":
            fill(connection, float(value))
        elif verb == "push":
            talk.write(json.dumps(drain(connection)).encode())


def fill(connection, seconds):
    end, piece = time.monotonic() + seconds, bytes(16384)
    try:
        while time.monotonic() < end:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # The other end has seen enough.


def drain(connection, until=None):
    """Bytes and, of the second half of the time, when slow start is over, bits a second. What waited behind a lost packet comes
    all at once when it is sent again: on a lossy link that can look like more than the rate."""
    marks, total = [], 0
    while piece := connection.recv(65536):
        total += len(piece)
        marks.append((time.monotonic(), total))
        if until and marks[-1][0] > until:
            break
    middle = next(m for m in marks if m[0] >= (marks[0][0] + marks[-1][0]) / 2)
    return {"bps": (marks[-1][1] - middle[1]) * 8 / (marks[-1][0] - middle[0]), "bytes": total}


def ask(line):
    connection = socket.create_connection((SERVER, PORT))
    connection.sendall(line.encode() + b"\n")
    return connection


def client(up_bps, down_bps, rtt_s, seconds):
    s, found = udp(), {}
    trips = []
    s.settimeout(3 * rtt_s + 1)
    for n in range(12):
        s.sendto(f"ping {n} {time.monotonic():.6f}".encode().ljust(64 - HEADERS), (SERVER, PORT))
        try:
            sent = float(s.recvfrom(100)[0].split()[2])
            trips.append(time.monotonic() - sent)
        except TimeoutError:
            pass
    found["rtt_s"], found["pings_answered"] = statistics.median(trips), len(trips)
    s.settimeout(None)
    heard = Heard(s)

    def both(name, share, size, length):
        s.sendto(f"send {name}-down {length} {down_bps * share} {size}".encode(), (SERVER, PORT))
        found[f"{name}_up_sent"] = stream(s, (SERVER, PORT), f"{name}-up", length, up_bps * share, size)
        time.sleep(rtt_s + 10)  # Until the queues are empty.
        found[f"{name}_down"] = told(heard.runs.get(f"{name}-down", []))
        with ask(f"told {name}-up") as connection:
            found[f"{name}_up"] = json.loads(connection.makefile().read())

    # More than fits, for the rate; small ones that fit, for the loss.
    both("flood", 1.25, 1000, seconds / 2)
    both("trickle", 0.5, 100, seconds)
    with ask(f"pull {seconds}") as connection:
        found["tcp_down"] = drain(connection, time.monotonic() + seconds)
    with ask("push 0") as connection:
        fill(connection, seconds)
        found["tcp_up"] = json.loads(connection.makefile().read())
    print(json.dumps(found))


def bulk(streams, seconds):
    """What several TCP streams together carry up, in the second half of the time."""
    def one(found):
        with ask("push 0") as connection:
            fill(connection, seconds)
            found.append(json.loads(connection.makefile().read()))

    found = []
    threads = [threading.Thread(target=one, args=(found,)) for _ in range(int(streams))]
    [t.start() for t in threads], [t.join() for t in threads]
    print(json.dumps({"bps": sum(f["bps"] for f in found), "bytes": sum(f["bytes"] for f in found)}))


if __name__ == "__main__":
    {"server": server, "client": client, "bulk": bulk}[sys.argv[1]](*map(float, sys.argv[2:]))
