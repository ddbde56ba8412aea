# Every target sets itself up on first use. `make help` lists them.

PYTHON ?= python3
SCALE  ?= cpu
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OPTIONS = scale=$(SCALE) $(if $(SEEDS),seeds=$(SEEDS)) $(if $(DATA),data=$(DATA)) $(if $(filter-out 0,$(FORCE)),force=true) $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup lock lint demo test test-slow golden data reproduce-all report replay status wandb-sync \
	bench-maml bench-word2vec bench-pi_limit bench-kernels bench-maml_pi bench-sweep bench-minibatches bench-ranks

help: ## this list
	@grep -hE '^[A-Za-z0-9_%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 22
	@echo
	@echo 'Options: SCALE=demo|cpu|paper SEEDS=3 DATA=omniglot FORCE=1 ARGS="key=value ..." DATA_MIRROR=folder PYTHON=python3.11 LOCK=file'

setup: $(READY) ## the environment in .venv, from pinned requirements

$(READY): requirements.txt pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' || \
		{ echo "error: $(PYTHON) is not Python 3.10 to 3.12; name one, such as: make setup PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip==26.3"
	$(BIN)/python -m pip install --quiet --requirement requirements.txt $(if $(LOCK),--constraint $(LOCK))
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

lock: $(READY) ## requirements.lock: all versions in .venv, for make setup LOCK=requirements.lock
	sed -n '/^#/p; /^$$/q' requirements.lock > requirements.lock.new && echo >> requirements.lock.new
	$(BIN)/python -m pip freeze --all --exclude pip --exclude infwidth >> requirements.lock.new
	mv requirements.lock.new requirements.lock

lint: $(READY) ## style, format and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

demo: $(READY) ## everything on embedded data in minutes: results/demo/index.html
	for experiment in maml word2vec cifar10 maml_pi theory; do $(BIN)/python -m infwidth.reproduce experiment=$$experiment scale=demo $(ARGS) || exit 1; done

test: $(READY) ## the default tests, under 5 minutes
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow and not realdata"

test-slow: $(READY) ## statistics over many draws, and real data where DATA_MIRROR has it
	$(BIN)/python -m pytest -q -m "slow or realdata"

golden: $(READY) ## the recorded numbers only (GOLDEN_DIR=folder for others)
	$(BIN)/python -m pytest -q -m golden

data: $(READY) ## download, verify and prepare the datasets (or from DATA_MIRROR)
	$(BIN)/python -m infwidth.prepare

reproduce-%: $(READY) ## a published experiment: make reproduce-maml SCALE=paper SEEDS=3
	$(BIN)/python -m infwidth.reproduce experiment=$* $(OPTIONS)

reproduce-all: $(READY) ## all experiments
	for experiment in experiments/*/; do $(BIN)/python -m infwidth.reproduce experiment=$$(basename $$experiment) $(OPTIONS) || exit 1; done

report: $(READY) ## results/index.html from runs.csv and the local runs
	$(BIN)/python -m infwidth.report

replay: $(READY) ## do marked rows still come out? Their first steps and a short twin, again
	$(BIN)/python -m infwidth.replay $(ARGS)

status: $(READY) ## how far a sweep is: make status NAME=maml_widths (ARGS="paths.results=results/demo")
	$(BIN)/python -m infwidth.status name=$(NAME) $(ARGS)

wandb-sync: $(READY) ## upload the runs that W&B kept offline
	@set -- $$(find results -type d -name 'offline-run-*'); \
		if [ $$# -eq 0 ]; then echo "No offline runs in results."; else $(BIN)/wandb sync "$$@"; fi

bench-maml: $(READY) ## meta-batches and episodes per second beside learn2learn's
	$(BIN)/python benchmarks/maml.py $(ARGS)

bench-word2vec: $(READY) ## examples per CPU-second, words per second and analogies beside gensim's
	$(BIN)/python benchmarks/word2vec.py $(ARGS)

bench-pi_limit: $(READY) ## the pi-limit's step and memory against the rows that it has
	$(BIN)/python benchmarks/pi_limit.py $(ARGS)

bench-kernels: $(READY) ## kernel matrices beside X X^T; ARGS="--peer PYTHON": and beside neural-tangents
	$(BIN)/python benchmarks/kernels.py $(ARGS)

bench-maml_pi: $(READY) ## a meta-step of the pi-limit beside an ordinary step and episode by episode
	$(BIN)/python benchmarks/maml_pi.py $(ARGS)

bench-sweep: $(READY) ## a sweep of 24 small runs in parallel beside one after another
	$(BIN)/python benchmarks/sweep.py $(ARGS)

bench-ranks: $(READY) ## two processes on one run beside one, of a thread each: time and memory
	$(BIN)/python benchmarks/ranks.py $(ARGS)

bench-minibatches: $(READY) ## up to which size CBOW's minibatches train as they should
	$(BIN)/python benchmarks/minibatches.py $(ARGS)
