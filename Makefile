# `make help` lists the targets. `make run` and `make test` do all the set-up on a fresh machine.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
ROWS ?= 200000
DAYS ?= 730
OUT ?= out
SEED ?= 7
IMAGE ?=
MODELS ?=
PYTEST_ARGS ?=
KINDS ?=
IMAGES_ARGS ?=
# Two tasks of a fan-out run at a time: each gets half of the cores, or OpenMP's spinning makes both 100 times slower.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
export OMP_NUM_THREADS ?= $(shell n=$$(( $(CORES) / 2 )); echo $$(( n > 0 ? n : 1 )))
export OMP_WAIT_POLICY ?= PASSIVE
WORKERS := $(shell echo $$(( $(CORES) > 2 ? $(CORES) : 2 )))
PYTEST := $(BIN)/python -m pytest

help: ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Make .venv from the locked requirements (run and test call it themselves)
	@scripts/install.sh

run: install ## The demonstration: models roll out on simulated traffic, out/demo/index.html (x86-64 Linux)
	@$(BIN)/cd4ml demo --seed $(SEED) --out $(OUT)/demo

run-pipeline: install ## Simulate a shop and run the whole training pipeline on it: out/report.html
	@$(BIN)/cd4ml data simulate --rows $(ROWS) --days $(DAYS) --seed 7 --out $(OUT)/shop
	@$(BIN)/cd4ml run sales-forecast --data $(OUT)/shop --out $(OUT)

test: install ## Run the tests that need nothing but Python
	@$(PYTEST) -n 4 --dist loadgroup $(PYTEST_ARGS)

coverage: install ## The same tests, and which lines and branches they reached; fails below 90 % (half as long again)
	@$(PYTEST) -n 4 --dist loadgroup --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

test-browser: install ## Look at the pages in a real chromium, at desktop and phone width
	@$(PYTEST) -m browser $(PYTEST_ARGS)

test-s3: install ## Stores on a real S3 server, with faults and kills (CD4ML_TEST_S3_ENDPOINT, or Ceph RGW, or moto)
	@$(PYTEST) -n 2 --dist loadgroup -m s3 $(PYTEST_ARGS)

test-loop: install ## The README's tour and the shipped problems at full size (real tables: CD4ML_TEST_DATA)
	@$(PYTEST) -n $(WORKERS) --dist loadgroup --no-loadscope-reorder -m loop $(PYTEST_ARGS)

test-simulations: install ## Hold the promised error rates of the statistics by simulation, with fixed seeds
	@$(PYTEST) -n $(WORKERS) --dist loadgroup -m simulations $(PYTEST_ARGS)

test-faults: install ## Kill a run at random points and compare with an undisturbed one
	@$(PYTEST) -n $(WORKERS) --dist loadgroup -m faults $(PYTEST_ARGS)

test-serving: install ## Servers behind a gateway: swapped, killed, fuzzed, under load
	@$(PYTEST) -m serving $(PYTEST_ARGS)

test-demo: install ## The demonstration with three seeds: decisions, and traffic of bad models, are as promised
	@$(PYTEST) -m demo $(PYTEST_ARGS)

test-cluster: install ## The planes against the API server that KUBECONFIG names; skipped by name without
	@$(PYTEST) -m cluster $(PYTEST_ARGS)

test-services: install ## Evidence from a real Prometheus (Debian: apt-get install prometheus)
	@$(PYTEST) -m services $(PYTEST_ARGS)

test-docs: install ## Run the commands of README, docs and guides as they stand there
	@$(PYTEST) -n $(WORKERS) --dist loadgroup -m docs $(PYTEST_ARGS)

docs: install ## Build the documentation, offline and strict: out/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir $(CURDIR)/$(OUT)/site

release-check: install ## Release each champion again from the store alone, verify it, take it down (MODELS="NAME ...")
	@$(BIN)/cd4ml models release-check $(MODELS)

test-containers: install ## Build the images and run all of it in containers, hardened (needs podman or docker)
	@$(PYTEST) -m containers --durations=25 --durations-min=2 $(PYTEST_ARGS) tests/containers

bench-serving: install ## Requests a second and latency against KServe with scikit-learn and MLServer; ratios
	@$(PYTEST) -m bench_serving -s $(PYTEST_ARGS)

bench: install ## Measure against peers in the same run; ratios, not seconds
	@$(PYTEST) -m bench -s $(PYTEST_ARGS)

lint: install ## ruff, mypy strict and the import contracts
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/ruff format --no-cache --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lint-manifests: install ## yamllint, hadolint and checkov over manifests and images, offline (checkov: out/checkov)
	@scripts/checkov_environment.sh $(OUT)/checkov
	@$(BIN)/python -m scripts.lint_manifests --checkov $(OUT)/checkov/bin/checkov

images: install ## Build the images with docker, podman or buildah: out/images (KINDS="predictor seldon" for some)
	@$(BIN)/python -m scripts.images build $(KINDS) $(IMAGES_ARGS)

generate: install ## Write the compiled pipelines, component READMEs and reference pages (IMAGE=registry/name:tag)
	@$(BIN)/python -m scripts.generate $(if $(IMAGE),--image $(IMAGE))

check-generated: install ## Fail when a generated file differs from what its source would give
	@$(BIN)/python -m scripts.generate --check

check: lint check-generated test ## Everything that a commit must pass

clean: ## Remove what was made here: .venv, caches, out
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov build dist out src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: docs test-docs help install run run-pipeline test coverage test-demo test-services test-containers test-browser test-s3 test-loop test-simulations test-faults test-serving test-cluster release-check bench bench-serving lint lint-manifests generate check-generated check clean
