#!/bin/sh
# All tests: the matching of the detection bench and the link emulator (live where we may make namespaces), then cargo's,
# then the browser's: packages of four fixtures, made by the binary that was just tested, checked, decoded by ffmpeg and
# played in Chromium, lip sync included; and two broken ones, which must be refused. Then the learner's page, in a course of
# its own. Last, seeks through few and irregular pictures in three players (`make cadence` does ten times as many, in Firefox too).
set -eu
cd "$(dirname "$0")/.."
python3 -m unittest -q tests/test_detect.py
python3 -m unittest -q tests/link/test_link.py
${CARGO:-cargo} test --locked --no-fail-fast
tests/browser/modules.sh
tests/corpus.py target/debug/rivulet fixtures/out --only 'flash-click.mp4,odd-vfr.mkv,sparse.mkv,odd-audio-only.m4a,broken-no-moov.mp4,broken-text.mp4' --out target/browser
node tests/browser/page.mjs target/debug/rivulet fixtures/out target/browser-page
node tests/browser/cadence.mjs --chromium --seeks 10 --jobs 2 target/browser/sparse.mkv fixtures/out/sparse.truth.json
