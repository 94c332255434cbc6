#!/bin/sh
# Cold start of `rivulet --help`, which must not wait for GStreamer: least and median of 30 runs in ms, under 50 allowed.
# The first run, which reads the binary from disk, is printed and not counted. $RIVULET names another binary.
set -eu
cd "$(dirname "$0")/.."
exec python3 - "${RIVULET:-target/release/rivulet}" <<'PY'
import subprocess, sys, time

def once():
    began = time.perf_counter()
    subprocess.run([sys.argv[1], "--help"], check=True, stdout=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - began)

first, runs = once(), sorted(once() for _ in range(30))
ok = runs[15] < 50
print(f"startup: first {first:.1f} ms, then least {runs[0]:.1f}, median {runs[15]:.1f} ms, 50 allowed: {'ok' if ok else 'MISSED'}")
sys.exit(0 if ok else 1)
PY
