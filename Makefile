# The commands of the study; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
READY := .venv/ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# What is killed leaves children that finish their work; they hold the lock until then.
define alone
mkdir -p .checkpoints
exec 9> .checkpoints/$@.lock
if command -v flock > /dev/null && ! flock --nonblock 9; then
	echo "Another 'make $@' is at work in this folder; waiting for it to end."
	flock 9
fi
endef

define whole_jobs
case "$(JOBS)" in
'' | *[!0-9]* | 0*) echo "JOBS is '$(JOBS)', but must be a whole number of at least 1." >&2; exit 1 ;;
esac
endef

# What can be computed side by side once the data are there, a job a line; the shortest comes last.
define stages
from stages.params import load_params
print(*(f"train@{name} evaluate@{name}" for name in load_params().techniques), "theory", sep="\n")
endef

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Trainings run side by side, as many as there are cores; what they computed the last `dvc repro` verifies and joins.
.PHONY: reproduce
reproduce: $(READY) ## compute the study and print its table; JOBS=n trainings side by side
	@$(whole_jobs)
	$(alone)
	python -m stages.params
	dvc repro --single-item check prepare
	# xargs goes on with the others when one fails, which 123 says in the end; the plain `dvc repro` then tells why again.
	python -c '$(stages)' | xargs -r -L 1 -P $(JOBS) \
		sh -c 'dvc --wait-for-lock repro --single-item "$$@" || exit 1' _ 2>&1 |
		{ trap '' INT; cat; } || [ $$? = 123 ] # cat passes on what the interrupted say last
	dvc repro
	cat metrics/summary.md

.PHONY: replicate
replicate: $(READY) ## repeat every technique over seeds, and what that shows: an hour and a half on two cores; JOBS=n
	@$(whole_jobs)
	$(alone)
	python -m stages.params
	dvc repro --quiet prepare
	python -m replication.run $(JOBS)
	cat metrics/replication.md

.PHONY: experiments
experiments: $(READY) ## one DVC experiment per technique, for `dvc metrics diff baseline dropout` and `dvc exp show`
	@python -m stages.experiments

.PHONY: plots
plots: $(READY) ## all plots in one file, plots.html, that needs no network; REV=main for those of that revision too
	@python -m stages.page $(REV)

.PHONY: smoke
smoke: $(READY) ## the whole pipeline on a slice of the data, in a temporary copy: a minute or two
	@python -m stages.smoke

.PHONY: test
test: $(READY) ## lint, types and tests
	ruff check
	ruff format --check
	mypy
	python -m pytest

.PHONY: benchmark
benchmark: $(READY) ## time the study against the usual loop and others: under 20 minutes, in which to leave the machine alone
	@python -m stages.params
	dvc repro --quiet prepare
	python -m pip --quiet --disable-pip-version-check install --requirement benchmarks/requirements.txt
	python -m benchmarks.run
	python -m benchmarks.figure

.PHONY: backends
backends: $(READY) ## train by PyTorch's own modules too, for metrics/backends.json: under ten minutes on two cores
	@python -m benchmarks.backends

.PHONY: environment
environment: $(READY) ## only make the virtual environment, .venv

.PHONY: clean
clean: ## remove checkpoints, logs and caches of tools; results and data stay
	rm -rf .checkpoints logs .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find stages benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

$(READY): requirements.txt
	@if ! command -v $(PYTHON) > /dev/null; then
		echo "There is no '$(PYTHON)'. Install Python 3.11 or later (Debian, Ubuntu: sudo apt-get install python3 python3-venv)." >&2
		exit 1
	fi
	if ! $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; then
		echo "Python 3.11 to 3.14 is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Install one, and name it: make PYTHON=python3.12 ..." >&2
		exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip, venv' 2> /dev/null; then
		echo "Python's venv module is missing. Install it (Debian, Ubuntu: sudo apt-get install python3-venv) and run again." >&2
		exit 1
	fi
	echo "Making the virtual environment .venv (some minutes, once) ..."
	$(PYTHON) -m venv .venv
	pip="python -m pip --quiet --disable-pip-version-check install"
	$$pip --requirement requirements.txt
	# On a processor that the native backend does not support, backend torch is left; what this says tells so.
	python -W ignore::RuntimeWarning -m stages.native.build > /dev/null || true
	touch $@
