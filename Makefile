# The commands of the study; `make` alone lists them.
SHELL := /bin/sh

PYTHON ?= python3
export N ?= 4
READY := .venv/ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC starts commands with $SHELL. The others are settings of a user's that would stop Python, DVC or matplotlib, or let
# each program compile every module that it imports, which takes seconds.
export SHELL
unexport MPLBACKEND PYTHONDONTWRITEBYTECODE PYTHONOPTIMIZE PYTHONSAFEPATH PYTHONWARNINGS
# Git sets these in hooks; commands that run in a copy of the project would use them there.
unexport $(filter-out GIT_CONFIG%,$(shell git rev-parse --local-env-vars 2>/dev/null))

# Make passes a signal to the process that it has started. It starts a command with `$` through a shell, which would end
# alone; `exec` puts the program in the place of that shell.

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: reproduce
reproduce: $(READY) ## compute the study and print its table; JOBS=n runs in parallel
	@python -m commands.reproduce

.PHONY: replicate
replicate: $(READY) ## repeat the planned techniques over seeds and analyse the results; JOBS=n in parallel
	@python -m replication.run

.PHONY: tune
tune: $(READY) ## tune each technique and compare them; JOBS=n in parallel
	@python -m replication.tuning.run

.PHONY: audit
audit: $(READY) ## recompute N=4 replicates, drawn at random, and compare them with those in metrics/
	@exec python -m replication.audit "$$N"

.PHONY: verify
verify: $(READY) ## recompute the committed study in a temporary copy, and compare every byte
	@python -m commands.verify

.PHONY: experiments
experiments: $(READY) ## create one DVC experiment per technique, for `dvc metrics diff baseline dropout`
	@python -m commands.experiments

.PHONY: compare
compare: $(READY) ## compare two revisions, with 95 % intervals: make compare A=main B=HEAD
	@exec python -m commands.compare "$${A-}" "$${B-}"

.PHONY: sync
sync: $(READY) ## bring dvc.yaml and the schemas for editors in line with params.yaml and the code
	@python -m commands.sync
	@python -m commands.schema
	@python -m replication.schema

.PHONY: report
report: .venv/ready-plots ## write all results to report.html, which works offline; REV=main adds its curves
	@exec python -m commands.report $${REV-}

.PHONY: publish
publish: $(READY) ## put the models that dvc.lock names into .dvc/models, from which clones pull them
	@python -m commands.publish

.PHONY: smoke
smoke: $(READY) ## run the whole pipeline on a slice of the data, in a temporary copy
	@python -m commands.smoke

.PHONY: lint
lint: .venv/ready-test ## format, style, types, layers, workflows
	@ruff check
	@ruff format --check
	@clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')
	@mypy
	@lint-imports --no-cache > /dev/null || lint-imports --no-cache
	@actionlint
	@zizmor --offline --quiet .github
	@check-jsonschema --quiet --builtin-schema vendor.citation-file-format CITATION.cff

.PHONY: check
check: lint ## lint, types, and the tests that run no pipeline
	@python -m pytest -m "not pipeline"

.PHONY: test
test: lint ## lint, types, and all tests
	@python -m pytest

.PHONY: benchmark
benchmark: .venv/ready-benchmark ## time the study against other libraries; leave the machine alone meanwhile
	@python -m stages.check
	dvc --wait-for-lock repro prepare
	python -m benchmarks.run
	python -m benchmarks.figure
	python -m benchmarks.tables

.PHONY: backends
backends: $(READY) ## train with PyTorch's own modules too, and compare: metrics/backends.json
	@python -m benchmarks.backends

.PHONY: environment
environment: $(READY) $(GROUP:%=.venv/ready-%) ## only create the virtual environment, .venv; GROUP=s3 adds a group

.PHONY: clean
clean: ## delete checkpoints, logs and tool caches; results and data stay
	rm -rf .checkpoints logs build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find lenet5 stages commands replication benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

# What every command but help and clean needs.
.PHONY: usable
usable:
	@command -v $(PYTHON) > /dev/null || { echo "'$(PYTHON)' is not installed. Install Python 3.11 or later (Debian, Ubuntu: sudo apt-get install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) commands/environment.py

$(READY): requirements/study.txt requirements/torch.txt requirements/torch-cpu.txt | usable
	@$(PYTHON) commands/environment.py study

# What a group of commands needs in addition
.venv/ready-%: requirements/%.txt $(READY) | usable
	@$(PYTHON) commands/environment.py $*
