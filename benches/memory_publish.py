#!/usr/bin/env python3
"""Peak memory of `rivulet publish` while it sends 20 GB to a bucket.

    benches/memory_publish.py [--gb 20] [--files 4] [--short]

The files are handouts: sparse, each with its own first bytes, so that they are different objects. The service is in this
process: it keeps texts, counts what comes of the rest and throws it away. Bar: 200 MB.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

LIMIT_MB = 200
KEPT = 1 << 20
PIECE = 1 << 20


class Bucket:
    def __init__(self):
        self.lock = threading.Lock()
        self.objects = {}  # name: (length, bytes or None, ETag, headers)
        self.uploads = {}  # id: (name, headers, {number: length})
        self.received = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket = Bucket()

    def log_message(self, *_):
        pass

    def answer(self, status, text="", headers=(), length=None):
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code></Error>")

    def name(self):
        parts = urlsplit(self.path)
        return unquote(parts.path).split("/", 2)[2] if parts.path.count("/") > 1 else "", {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}

    def body(self):
        """Its length, and the bytes where they are few."""
        left = length = int(self.headers.get("Content-Length", 0))
        kept = b"" if length <= KEPT else None
        while left:
            piece = self.rfile.read(min(left, PIECE))
            if not piece:
                raise ConnectionError
            left -= len(piece)
            if kept is not None:
                kept += piece
        with self.bucket.lock:
            self.bucket.received += length
        return length, kept

    def labels(self):
        return [(n, v) for n, v in self.headers.items() if n.lower() in ("content-type", "cache-control", "content-encoding") or n.lower().startswith("x-amz-meta-")]

    def do_PUT(self):
        name, query = self.name()
        length, kept = self.body()
        with self.bucket.lock:
            if "partNumber" in query:
                self.bucket.uploads[query["uploadId"]][2][int(query["partNumber"])] = length
                return self.answer(200, headers=[("ETag", f'"part-{query["partNumber"]}"')])
            there = self.bucket.objects.get(name)
            if self.headers.get("If-None-Match") == "*" and there or self.headers.get("If-Match", there and there[2]) != (there and there[2]):
                return self.refuse(412, "PreconditionFailed")
            etag = f'"{hashlib.md5(kept if kept is not None else name.encode()).hexdigest()}"'
            self.bucket.objects[name] = (length, kept, etag, self.labels())
        self.answer(200, headers=[("ETag", etag)])

    def do_POST(self):
        name, query = self.name()
        self.body()
        with self.bucket.lock:
            if "uploads" in query:
                made = f"u{len(self.bucket.uploads)}"
                self.bucket.uploads[made] = (name, self.labels(), {})
                return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{made}</UploadId></InitiateMultipartUploadResult>")
            _, labels, parts = self.bucket.uploads[query["uploadId"]]
            self.bucket.objects[name] = (sum(parts.values()), None, f'"whole-{len(parts)}"', labels)
        self.answer(200, f'<CompleteMultipartUploadResult><ETag>"whole-{len(parts)}"</ETag></CompleteMultipartUploadResult>')

    def do_DELETE(self):
        with self.bucket.lock:
            self.bucket.objects.pop(self.name()[0], None)
        self.answer(204)

    def do_GET(self):
        name, query = self.name()
        with self.bucket.lock:
            if "uploads" in query:
                return self.answer(200, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
            if "list-type" in query:
                row = lambda n, o: f"<Contents><Key>{n}</Key><Size>{o[0]}</Size><ETag>{o[2]}</ETag><LastModified>{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}</LastModified></Contents>"
                rows = [row(n, o) for n, o in sorted(self.bucket.objects.items()) if n.startswith(query.get("prefix", ""))]
                return self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(rows)}</ListBucketResult>")
            there = self.bucket.objects.get(name)
        if not there:
            return self.refuse(404, "NoSuchKey")
        length, kept, etag, labels = there
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if kept is not None else None
        if asked:
            first, last = int(asked[1]), min(int(asked[2]), length - 1)
            return self.answer(206, kept[first : last + 1], [("ETag", etag), ("Content-Range", f"bytes {first}-{last}/{length}"), *labels])
        self.answer(200, kept or b"", [("ETag", etag), *labels], length)

    do_HEAD = do_GET


def course(directory, files, size):
    directory.mkdir()
    recording = directory / "short.mp4"
    picture, sound = ["-f", "lavfi", "-i", "color=white:s=320x180:r=5"], ["-f", "lavfi", "-i", "sine=300:r=48000"]
    subprocess.run([common.ffmpeg(), "-v", "error", "-nostdin", "-y", *picture, *sound, "-t", "4", "-shortest", recording], check=True)
    text = 'id = "large"\ntitle = "Large"\nlanguage = "vi"\n'
    for n in range(files):
        with open(directory / f"{n}.pdf", "wb") as f:
            f.write(f"%PDF {n}".encode())
            f.truncate(size)
        text += f'[[lectures]]\nid = "l{n}"\ntitle = "{n}"\nrecording = "short.mp4"\nhandout = "{n}.pdf"\n'
    (directory / "course.toml").write_text(text)
    return directory / "course.toml"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gb", type=float, default=20)
    p.add_argument("--files", type=int, default=4)
    p.add_argument("--short", action="store_true", help="1 GB")
    args = p.parse_args()
    args.gb = 1 if args.short else args.gb
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
    env |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}
    common.OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=common.OUT, prefix="memory-") as scratch:
        scratch = Path(scratch)
        env["RIVULET_WORK"] = str(scratch / "work")
        toml = course(scratch / "course", args.files, int(args.gb * 1e9 / args.files))
        # Encoded by a first publish to nowhere in particular: the peak is to be that of sending.
        small = scratch / "course" / "small.toml"
        small.write_text(re.sub(r"handout.*\n", "", toml.read_text()))
        subprocess.run([common.rivulet(), "--quiet", "publish", small, "--to", scratch / "store"], env=env, check=True, stdin=subprocess.DEVNULL)
        began = time.monotonic()
        publisher = subprocess.Popen([common.rivulet(), "--quiet", "publish", toml, "--to", "s3://bench/large"], env=env, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(publisher.pid, 0)
        publisher.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
    server.shutdown()
    if publisher.returncode:
        raise SystemExit(f"memory_publish: exit {publisher.returncode}")
    peak, received = usage.ru_maxrss * 1024 / 1e6, Handler.bucket.received
    print(f"memory: publish of {args.gb:g} GB in {args.files} files: {peak:.0f} MB at the peak, {received / 1e9:.2f} GB sent in {seconds:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} s of CPU")
    return common.verdict(f"memory_publish: under {LIMIT_MB} MB, everything sent", peak < LIMIT_MB and received >= args.gb * 1e9)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
