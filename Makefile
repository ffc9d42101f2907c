# The commands of the study; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

PYTHON ?= python3
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
N ?= 4
READY := .venv/ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC starts commands with $SHELL. The others are settings of a user's that would stop Python, DVC or matplotlib.
export SHELL
unexport MPLBACKEND PYTHONOPTIMIZE PYTHONSAFEPATH PYTHONWARNINGS
# Git sets these in hooks; commands that run in a copy of the project would use them there.
unexport $(filter-out GIT_CONFIG%,$(shell git rev-parse --local-env-vars 2>/dev/null))

# A killed make leaves children that finish their work. They inherit the lock and hold it until then.
define alone
mkdir -p .checkpoints
exec 9> .checkpoints/$@.lock
if command -v flock > /dev/null && ! flock --nonblock 9; then
	echo "Another 'make $@' is running in this folder; waiting for it to end."
	flock 9
fi
endef

define whole_jobs
case "$(JOBS)" in
'' | *[!0-9]* | 0*) echo "JOBS is '$(JOBS)', but must be a whole number of at least 1." >&2; exit 1 ;;
esac
endef

# What can run in parallel once the data are prepared, one job per line; the shortest comes last.
define stages
from lenet5 import load_params
print(*(f"train@{name} evaluate@{name}" for name in load_params().techniques), "theory", sep="\n")
endef

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The runs train in parallel, one per core; the last `dvc repro` verifies them and runs the stages that join them.
.PHONY: reproduce
reproduce: $(READY) ## compute the study and print its table; JOBS=n runs in parallel
	@$(whole_jobs)
	$(alone)
	python -m stages.check
	dvc repro --single-item check prepare
	# xargs continues with the other jobs when one fails, and exits with 123; the last `dvc repro` repeats the error.
	python -c '$(stages)' | xargs -r -L 1 -P $(JOBS) \
		sh -c 'dvc --wait-for-lock repro --single-item "$$@" || exit 1' _ 2>&1 |
		{ trap '' INT; cat; } || [ $$? = 123 ] # on Ctrl-C, cat still forwards the last lines
	dvc repro
	python -m commands.origins
	cat metrics/summary.md

.PHONY: replicate
replicate: $(READY) ## repeat every technique over seeds and analyse the results; JOBS=n in parallel
	@$(whole_jobs)
	$(alone)
	python -m stages.check
	dvc repro --quiet prepare
	python -m replication.run $(JOBS)
	cat metrics/replication.md

.PHONY: audit
audit: $(READY) ## recompute N=4 replicates, drawn at random, and compare them with metrics/replicates
	@python -m replication.audit "$(N)"

.PHONY: experiments
experiments: $(READY) ## create one DVC experiment per technique, for `dvc metrics diff baseline dropout`
	@python -m commands.experiments

.PHONY: compare
compare: $(READY) ## compare two revisions, with 95 % intervals: make compare A=main B=HEAD
	@python -m commands.compare "$(A)" "$(B)"

.PHONY: sync
sync: $(READY) ## bring dvc.yaml and the schemas for editors in line with params.yaml and the code
	@python -m commands.sync
	python -m commands.schema
	python -m replication.schema

.PHONY: plots
plots: $(READY) ## write all plots to plots.html, which works offline; REV=main adds those of that revision
	@python -m commands.page $(REV)

.PHONY: smoke
smoke: $(READY) ## run the whole pipeline on a slice of the data, in a temporary copy
	@python -m commands.smoke

.PHONY: lint
lint: $(READY)
	@ruff check
	ruff format --check
	clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')
	mypy
	lint-imports --no-cache > /dev/null || lint-imports --no-cache

.PHONY: check
check: lint ## lint, types, and the tests that run no pipeline
	@python -m pytest -m "not pipeline"

.PHONY: test
test: lint ## lint, types, and all tests
	@python -m pytest

.PHONY: benchmark
benchmark: $(READY) ## time the study against other libraries; leave the machine alone meanwhile
	@python -m stages.check
	dvc repro --quiet prepare
	python -m pip --quiet --disable-pip-version-check install --requirement benchmarks/requirements.txt
	python -m benchmarks.run
	python -m benchmarks.figure

.PHONY: backends
backends: $(READY) ## train with PyTorch's own modules too, and compare: metrics/backends.json
	@python -m benchmarks.backends

.PHONY: environment
environment: $(READY) ## only create the virtual environment, .venv

.PHONY: clean
clean: ## delete checkpoints, logs and tool caches; results and data stay
	rm -rf .checkpoints logs build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find lenet5 stages commands replication benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

# What every command but help and clean needs.
.PHONY: usable
usable:
	@stop() { printf '%s\n' "$$*" >&2; exit 1; }
	case $$PWD in *[{}]*) stop "DVC cannot work in $$PWD: rename the folder so that its path has no { or }." ;; esac
	for each in . .git .dvc .venv .checkpoints data logs metrics models; do
		if [ -e $$each ] && [ ! -w $$each ]; then
			stop "Cannot write to $$PWD/$$each. Fix this, or clone the repository to a folder of your own."
		fi
	done
	command -v git > /dev/null || stop "git is not installed. Install it (Debian, Ubuntu: sudo apt-get install git)."
	if [ -e .git ] && [ ! -O . ] && ! git rev-parse 2> /dev/null; then
		stop "$$PWD belongs to another user, so git cannot be used in it. Clone the repository to a folder of your own."
	fi
	# A ZIP download has no .git, and may lie within another repository.
	if [ -n "$$(git rev-parse --show-cdup 2>&1)" ] || ! git rev-parse --quiet --verify HEAD > /dev/null; then
		stop "$$PWD is not a git repository with a commit. Use 'git clone' instead of a download," \
			"or run: git init && git add --all && git commit --message study"
	fi

$(READY): requirements.txt | usable
	@if ! command -v $(PYTHON) > /dev/null; then
		echo "'$(PYTHON)' is not installed. Install Python 3.11 or later (Debian, Ubuntu: sudo apt-get install python3 python3-venv)." >&2
		exit 1
	fi
	if ! $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))'; then
		echo "Python 3.11 to 3.14 is required, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Install one and name it: make PYTHON=python3.12 ..." >&2
		exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip, venv' 2> /dev/null; then
		echo "Python's venv module is missing. Install it (Debian, Ubuntu: sudo apt-get install python3-venv) and run again." >&2
		exit 1
	fi
	echo "Creating the virtual environment .venv (a few minutes, once) ..."
	$(PYTHON) -m venv .venv
	python -m pip --quiet --disable-pip-version-check install --requirement requirements.txt
	# On a processor that the native backend does not support, its error message names the alternative, backend torch.
	python -W ignore::RuntimeWarning -m lenet5.network.native.build > /dev/null || true
	touch $@
