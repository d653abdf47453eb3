# `make` alone says what there is. Everything is set up in .venv when it is needed.

TRACE ?= sample_traces/mapgpa_64mib_interrupted.tdxt
# The sample's first MapGPA.
ARGS ?= $(if $(GUEST),,$(if $(filter file,$(origin TRACE)),--at 9))
PYTEST_ARGS ?=
KERNELS := $(or $(TDXDBG_KERNELS),.cache/kernels)
JOBS ?= auto
FUZZ ?= 100000

PY := .venv/bin/python
# A worker that crashed is not replaced: pytest-xdist 3.8 may wait for its replacement for ever.
XDIST := --dist loadgroup --max-worker-restart=0
# What reaches every branch of the engine and of the TDX module; the others run
# without the cost of watching for that.
COVERING := tests/engine tests/module tests/vectors tests/samples tests/test_verify.py

.PHONY: help run linux test test-linux lint unit fuzz kernels samples guests screenshots lock clean setup setup-dev
.NOTPARALLEL:

help:
	@echo "make run [TRACE=file]   open the debugger on a recording; GUEST=mapgpa_retry: on a guest"
	@echo "make linux              fetch Debian's kernel and boot it as a TD in the debugger [ARGS=...]"
	@echo "make test               everything that a change has to pass"
	@echo "make test-linux         boots real kernels in many combinations; fetches them"
	@echo "make lint               its static half alone"
	@echo "make unit               its tests alone [PYTEST_ARGS=...] [JOBS=n]"
	@echo "make fuzz [FUZZ=n]      the long fuzz run"
	@echo "make samples            write sample_traces/ anew"
	@echo "make guests             assemble the sample guests anew"
	@echo "make screenshots        draw the pictures in docs/ anew"
	@echo "make lock [UPGRADE=1]   write requirements/ anew"
	@echo "make clean              remove .venv and everything that was built"

setup:
	@sh tools/setup run

setup-dev:
	@sh tools/setup dev

run: setup
	@$(PY) -m tdxdbg $(if $(GUEST),live "$(GUEST)",replay "$(TRACE)") $(ARGS)

linux: setup
	@sh tools/fetch_kernels cloud busybox >/dev/null
	@$(PY) tools/make_initramfs.py $(KERNELS)/initrd
	@$(PY) -m tdxdbg linux $(KERNELS)/cloud/vmlinuz --initrd $(KERNELS)/initrd \
		$(if $(filter command,$(origin ARGS)),$(ARGS))

test: lint unit

lint: setup-dev
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	.venv/bin/lint-imports

# One kernel is booted in the tests; what cannot be fetched is said, and skipped there.
kernels:
	@sh tools/fetch_kernels cloud busybox >/dev/null || true

unit: setup-dev kernels
	$(PY) -m pytest -n $(JOBS) $(XDIST) $(COVERING) --cov=tdxdbg.engine --cov=tdxdbg.module \
		--cov-branch --cov-fail-under=100 $(PYTEST_ARGS)
	$(PY) -m pytest -n $(JOBS) $(XDIST) $(COVERING:%=--ignore=%) $(PYTEST_ARGS)

test-linux: setup-dev
	@sh tools/fetch_kernels all >/dev/null || true
	$(PY) -m pytest -n $(JOBS) $(XDIST) -m linux tests/linux $(PYTEST_ARGS)

fuzz: setup-dev
	TDXDBG_FUZZ=$(FUZZ) $(PY) -m pytest -n $(JOBS) $(XDIST) --timeout=0 -m fuzz $(PYTEST_ARGS)

samples: setup-dev
	@sh tools/fetch_kernels cloud busybox >/dev/null || true
	$(PY) tools/make_samples.py
	$(PY) -m tools.make_boot_sample

guests: setup-dev
	$(PY) tools/make_guests.py

screenshots: setup-dev
	$(PY) tools/screenshot.py

lock:
	@sh tools/lock $(if $(UPGRADE),--upgrade)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
		.coverage .coverage.* htmlcov build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
