#!/bin/sh
# All tests: cargo's, then the browser's on packages of the fixtures.
set -eu
cd "$(dirname "$0")/.."
cargo test --locked --no-fail-fast
tests/corpus.py target/debug/rivulet fixtures/out --only 'flash-click.mp4,odd-vfr.mkv,odd-audio-only.m4a' --out target/browser
