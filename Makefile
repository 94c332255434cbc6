# Every command of the project; CI calls only these. `make help` lists them.

CARGO ?= cargo
RIVULET = target/release/rivulet
.DEFAULT_GOAL := help
.PHONY: help setup build fixtures demo test lint corpus bench bench-camera bench-memory bench-startup cadence vendor clean-fixtures

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: ## Install the Debian packages of packages.txt that are missing
	@.ci/setup

build: setup ## The release binary, target/release/rivulet
	$(CARGO) build --release --locked

fixtures: setup ## Make the project's own recordings (about a minute, once)
	@fixtures/make.py

demo: build fixtures ## Transcode, check and publish a small course into .demo/
	@fixtures/demo.py $(RIVULET)

test: fixtures ## All tests: Rust, then a browser
	@tests/run.sh

lint: setup ## Formatting and clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

corpus: build ## Encode, check and play every recording of ../shared/media (or $RIVULET_SHARED/media)
	@tests/corpus.py $(RIVULET)

cadence: build ## Seeks in three players and two browsers, through few and irregular pictures (docs/cadence.md; about 20 minutes)
	@tests/cadence.sh $(RIVULET) --seeks 100 --jobs 2

bench: bench-startup bench-camera bench-memory ## All benches

bench-camera: build ## CPU seconds, bytes and VMAF against ffmpeg 9 making the same ladder
	@RIVULET=$(RIVULET) benches/camera.py

bench-memory: build ## Peak memory of 5 and of 60 minutes of 1080p
	@RIVULET=$(RIVULET) benches/memory.py

bench-startup: build ## Start of rivulet --help
	@RIVULET=$(RIVULET) benches/startup.sh

vendor: ## Check the committed hls.js against npm's integrity hash
	@player/vendor/verify.sh

clean-fixtures: ## Remove generated recordings and the demo
	rm -rf fixtures/out .demo
