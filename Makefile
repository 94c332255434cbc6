# Every command of the project; CI calls only these. `make help` lists them.

CARGO ?= cargo
RIVULET = target/release/rivulet
.DEFAULT_GOAL := help
.PHONY: help setup build fixtures demo test test-s3 lint corpus bench bench-camera bench-detect bench-link bench-memory bench-player bench-predict bench-publish bench-replay bench-slides bench-startup bench-sync bench-uplink bench-voice cadence vendor clean-fixtures

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

test-s3: fixtures ## The S3 store against moto's server, and Garage (built where it is not there; RIVULET_NO_GARAGE=1: without it)
	@tests/s3.sh

lint: setup ## Formatting and clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

corpus: build ## Encode, check and play every recording of ../shared/media (or $RIVULET_SHARED/media)
	@tests/corpus.py $(RIVULET)

cadence: build ## Seeks in three players and two browsers, through few and irregular pictures (docs/cadence.md; about 20 minutes)
	@tests/cadence.sh $(RIVULET) --seeks 100 --jobs 2

bench: ## All benches, each in its short form, to the end even where a bar is missed
	@$(MAKE) --no-print-directory --keep-going ARGS= bench-startup bench-detect bench-slides bench-camera bench-predict bench-voice bench-memory bench-sync; missed=$$?; \
	$(MAKE) --no-print-directory --keep-going ARGS=--short bench-link bench-player bench-uplink bench-publish && exit $$missed

bench-camera: build ## CPU seconds, bytes and VMAF against ffmpeg 9 making the same ladder
	@RIVULET=$(RIVULET) benches/camera.py

bench-detect: build ## Slides found, missed and false, against labels, a truth file and rendered decks
	@RIVULET=$(RIVULET) benches/detect.py

bench-link: setup ## How exact the link emulator of the tests is, on each class (root; 4 minutes)
	@benches/link.py $(ARGS)

bench-memory: build ## Peak memory of 1080p: 2 minutes of camera, 5 and 60 of slides
	@RIVULET=$(RIVULET) benches/memory.py

bench-player: build fixtures ## The learner's page in Chromium behind slow links, beside stock players (root; an hour; ARGS=--short: 10 minutes)
	@RIVULET=$(RIVULET) benches/player.py $(ARGS)

bench-predict: build ## Bytes that the plan predicts against the encoder's (ARGS=--all: every recording longer than 30 s)
	@RIVULET=$(RIVULET) benches/predict.py $(ARGS)

bench-publish: build ## Peak memory of publishing 20 GB to a bucket (ARGS=--short: 1 GB)
	@RIVULET=$(RIVULET) benches/memory_publish.py $(ARGS)

bench-replay: build fixtures ## What `replay` computes beside what Chromium measures (root; half an hour; ARGS='--hard --video': more)
	@RIVULET=$(RIVULET) benches/replay.py $(ARGS)

bench-slides: build ## Slide lectures: CPU, bytes, legibility and floor against ffmpeg 9's ladders (ARGS=--all: every lecture)
	@RIVULET=$(RIVULET) benches/slides.py $(ARGS)

bench-startup: build ## Start of rivulet --help
	@RIVULET=$(RIVULET) benches/startup.sh

bench-sync: build ## Voice against picture to the end of an hour (ARGS=--short: 30 s)
	@RIVULET=$(RIVULET) benches/sync.py $(ARGS)

bench-uplink: build ## Publishing over a bad uplink, beside aws and rclone (root; 10 minutes; ARGS=--short: 2)
	@RIVULET=$(RIVULET) benches/uplink.py $(ARGS)

bench-voice: setup ## Intelligibility of the voice on real Vietnamese speech (ARGS=--short: more bit rates)
	@benches/voice.py $(or $(ARGS),--profiles-only)

vendor: ## Check the committed hls.js against npm's integrity hash
	@player/vendor/verify.sh

clean-fixtures: ## Remove generated recordings and the demo
	rm -rf fixtures/out .demo
