# The whole project from a bare Python 3.11 and make.  `make` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
TRITON := nvidia-pytriton
DEMO_OUT ?= demo_output
CHECKPOINT ?= $(lastword $(sort $(wildcard model_repository/swin_unet_hippocampus/*/checkpoint.safetensors)))
REPOSITORY ?= model_repository
include deploy/versions.env

.PHONY: help demo gateway-demo docs test container-test stress fuzz kills batch-kills gateway-kills conformance mutation lint debian benchmark engine triton-image gpu gpu-check cpu-image clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# Two environments' worth of packages in one folder: `make demo` needs no torch, `make test` adds the rest.
# nvidia-pytriton's metadata wants numpy<2; we use only the tritonserver in it, hence --no-deps.
$(VENV)/demo.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or later with venv found; install it, or make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@echo "installing the client and the CPU server into $(VENV), without torch; a minute or two ..."
	@$(PIP) --editable '.[client,demo,server]'
	@$(PIP) --no-deps $(TRITON)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/demo.stamp
	@echo "installing training, export and the test tools into $(VENV); a minute or two ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

demo: $(VENV)/demo.stamp ## segment both hippocampi of the MNI152 brain: DICOM in, a real Triton, DICOM SEG out
	$(BIN)/python -m swinunet.demo --output $(DEMO_OUT)

gateway-demo: $(VENV)/demo.stamp ## a network of three on loopback: a sender, the gateway, a PACS; the brain goes in, SEG and SR come back
	@$(PIP) --editable '.[client,demo,gateway,server]'
	$(BIN)/python -m swinunet.demo.gateway --output $(DEMO_OUT)

test: $(VENV)/dev.stamp ## run every test, against a real Triton; PARALLEL=2: in so many processes, a file in one of them
	$(BIN)/python -m pytest $(if $(PARALLEL),--numprocesses $(PARALLEL) --dist loadfile)

stress: $(VENV)/dev.stamp ## the tests in random order beside a CPU burner, on one core, with one BLAS thread; ONLY=tests/imaging, SEED=1
	$(BIN)/python -P tests/support/stress.py $(if $(SEED),--seed $(SEED)) $(or $(ONLY),tests)

fuzz: $(VENV)/dev.stamp ## read hostile files made anew for SECONDS=300, or CASE=NAME again
	PYTHONPATH=tests/support $(BIN)/python tests/fuzz/fuzz_reading.py $(if $(CASE),--case $(CASE),--seconds $(or $(SECONDS),300))

kills: $(VENV)/dev.stamp ## kill a run of many studies at COUNT=100 random moments; the next run must heal everything
	SWINUNET_KILLS=$(or $(COUNT),100) $(BIN)/python -m pytest -q tests/client/test_interrupted_writing.py -k random_moments

gateway-kills: $(VENV)/dev.stamp ## kill the gateway at COUNT=30 random moments; no instance that got a success may be lost
	SWINUNET_GATEWAY_KILLS=$(or $(COUNT),30) $(BIN)/python -m pytest -q tests/gateway/test_kills.py -k random

conformance: $(VENV)/dev.stamp ## write docs/dicom-conformance.md from the code
	PYTHONPATH=tests/support $(BIN)/python -P tests/support/conformance_statement.py

batch-kills: $(VENV)/dev.stamp ## COUNT=2000 studies on a Ray cluster of 4 nodes here; workers and a node are killed meanwhile
	SWINUNET_BATCH_STUDIES=$(or $(COUNT),2000) $(BIN)/python -m pytest -q tests/batch/test_ray_batch.py -k workers_and_a_node

container-test: $(VENV)/dev.stamp ## root: build the CPU image with podman, segment in it, start deploy/compose.yaml and send it a head; 10 minutes
	@command -v debootstrap >/dev/null && command -v podman >/dev/null && test -x /usr/lib/podman/netavark || { apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends podman runc buildah netavark aardvark-dns iptables debootstrap; }
	@$(PIP) --editable '.[deploy-check]'
	SWINUNET_TEST_IMAGE=1 $(BIN)/python -m pytest -q tests/deploy/test_cpu_image.py tests/deploy/test_compose_started.py

mutation: $(VENV)/dev.stamp ## break lines on purpose, 40 a file, and count those no test notices; ONLY=imaging, PER_FILE=40, SECONDS=3000
	$(BIN)/python tests/mutation/mutation.py $(if $(ONLY),--only $(ONLY)) --per-file $(or $(PER_FILE),40) $(if $(SECONDS),--seconds $(SECONDS))

lint: $(VENV)/dev.stamp ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/dev.stamp ## the documentation as a site, in docs_output
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -P -m mkdocs build --strict
	@echo "docs_output/index.html"

# Debian starts what it installs: an Orthanc that listens on every interface, which no test needs.
debian: ## Debian packages for tests that skip without them (root): dciodvfy, PostgreSQL, Orthanc with DICOMweb, dcmtk, Chromium, Prometheus, Node, zsh, fish
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; }
	command -v dciodvfy >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends dicom3tools; }
	command -v Orthanc >/dev/null && command -v dcmsend >/dev/null || { apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends orthanc orthanc-dicomweb dcmtk; \
		systemctl disable --now orthanc 2>/dev/null || true; }
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	command -v node >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs; }
	command -v zsh >/dev/null && command -v fish >/dev/null || { apt-get update -qq \
		&& apt-get install -y -qq --no-install-recommends zsh fish; }
	command -v promtool >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; \
		systemctl disable --now prometheus 2>/dev/null || true; }

benchmark: $(VENV)/dev.stamp ## every engine, Triton, the whole chain on the paper's network, DICOM reading, and what tuning gains; 20 minutes or so
	$(BIN)/swinunet benchmark --recipe swin-unet --perf-analyzer --tune swin_unet_hippocampus --output benchmark_output
	$(BIN)/swinunet benchmark reading --output benchmark_output

NO_GPU := no NVIDIA GPU here (nvidia-smi does not run); the CPU engines need none: make demo, make benchmark
NO_DOCKER := no Docker that answers here; with TensorRT on this GPU host (make gpu), swinunet export --engine tensorrt-fp16 \
	needs none, and the CPU engines need no GPU: make demo, make benchmark

# A version is never overwritten: one that is exported again, with a plan, becomes the next.
MODEL_FOLDER = $(REPOSITORY)/$(or $(MODEL),swin_unet_hippocampus)
VERSION ?= $(shell last=0; for each in $(notdir $(wildcard $(MODEL_FOLDER)/[0-9]*)); do \
	[ "$$each" -gt $$last ] 2>/dev/null && last=$$each; done; echo $$((last + 1)))

engine: ## on a GPU host: export CHECKPOINT to REPOSITORY as VERSION with a TensorRT plan, inside NVIDIA's container
	@docker info >/dev/null 2>&1 || { echo "$(NO_DOCKER)" >&2; exit 1; }
	@nvidia-smi >/dev/null 2>&1 || { echo "$(NO_GPU)" >&2; exit 1; }
	docker build --quiet --file deploy/engine.Dockerfile --tag swinunet-engine \
		--build-arg TENSORRT_IMAGE=$(TENSORRT_IMAGE) --build-arg TENSORRT_VERSION=$(TENSORRT_VERSION) .
	docker run --rm --gpus all --user "$$(id -u):$$(id -g)" \
		--volume "$(abspath $(CHECKPOINT)):/work/$(notdir $(CHECKPOINT)):ro" --volume "$(abspath $(REPOSITORY)):/work/repository" \
		swinunet-engine $(notdir $(CHECKPOINT)) --repository repository --engine tensorrt-fp16 --version $(VERSION)
	@echo "start the plan: docker run --rm --gpus all --network host --volume '$(abspath $(REPOSITORY)):/models:ro' \
	$(TRITON_IMAGE) tritonserver --model-repository=/models --model-config-name=tensorrt"

cpu-image: ## client, gateway and the bundled Triton on Debian, for machines without a GPU; deploy/compose.yaml runs it
	@docker info >/dev/null 2>&1 || { echo "$(NO_DOCKER)" >&2; exit 1; }
	docker build --quiet --file deploy/cpu.Dockerfile --tag swinunet-cpu .

triton-image: ## NVIDIA's Triton of the same release, with what our models need in it
	@docker info >/dev/null 2>&1 || { echo "$(NO_DOCKER)" >&2; exit 1; }
	docker build --quiet --file deploy/triton.Dockerfile --tag swinunet-triton --build-arg TRITON_IMAGE=$(TRITON_IMAGE) .

# onnxruntime and onnxruntime-gpu are the same Python package: one has to go.
gpu: ## on a GPU host: TensorRT and onnxruntime-gpu into the environment, in the container's versions
	@nvidia-smi >/dev/null 2>&1 || { echo "$(NO_GPU)" >&2; exit 1; }
	@$(MAKE) --no-print-directory $(VENV)/dev.stamp
	$(BIN)/python -m pip uninstall -qq -y onnxruntime
	$(PIP) --editable '.[gpu]' tensorrt==$(TENSORRT_VERSION)

# Installs nothing, so that it needs no network: a GPU host has run `make gpu`.
gpu-check: ## what this machine's GPU builds, runs rightly and how fast: a folder to send back, in under ten minutes
	@test -x $(BIN)/python || { echo "nothing is installed in $(VENV); first: make gpu (without a GPU: make lint)" >&2; exit 1; }
	$(BIN)/python -P -m swinunet.benchmarks.gpu_check --output gpu_check_output

clean: ## remove the environment and everything made by the other targets
	rm -rf $(VENV) demo_output benchmark_output gpu_check_output mutation_output
