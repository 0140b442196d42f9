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

.PHONY: help demo test lint debian benchmark clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

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
	$(BIN)/python -m demo --output $(DEMO_OUT)

test: $(VENV)/dev.stamp ## run every test, against a real Triton
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

debian: ## Debian packages for tests that skip without them (root): dciodvfy, the DICOM validator
	command -v dciodvfy >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends dicom3tools; }

benchmark: $(VENV)/dev.stamp ## every engine, Triton and the whole chain on the paper's network, in one run of 12 minutes
	$(BIN)/swinunet benchmark --recipe swin-unet --perf-analyzer --output benchmark_output

clean: ## remove the environment and everything made by the other targets
	rm -rf $(VENV) demo_output benchmark_output
