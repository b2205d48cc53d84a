# Two commands set up everything: `make run` and `make test`. The rest is for those who change the code.
PYTHON ?= python3
BIN := .venv/bin
TUNE := $(BIN)/python -P -m search

# Ray's package has a script named `tune` too, and the last one installed wins: ours is put in its place again.
OWN_SCRIPT = grep -qs 'from search' $(BIN)/tune || $(BIN)/python -m pip install -qq --force-reinstall --no-deps --editable .

# Tests start hundreds of processes; without bytecode on disk each would compile tune again, 0.4 s of its 1.3 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test browser ray ray-installed compat soak check fix clean

run: .venv/installed ## 100 trials of twodigit into studies.db
	$(TUNE) run --task twodigit --trials 100

test: .venv/installed-dev ## every test, on real data
	$(TUNE) data fetch
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

browser: .venv/installed-dev ## the pages, in a real Chromium; fails where there is none
	$(TUNE) data fetch
	$(BIN)/python -m pytest -m browser tests/browser

ray: ray-installed ## a Ray cluster of two nodes, killed in parts; installs Ray, 250 MB
	$(BIN)/tune --version
	$(TUNE) data fetch
	$(BIN)/python -m pytest -m ray -o log_cli=true -o log_cli_level=INFO tests/search/launchers/test_ray_cluster.py

ray-installed: .venv/installed-dev
	@$(BIN)/python -c 'import ray' 2>/dev/null || $(BIN)/python -m pip install -qq --no-compile --editable '.[ray]'
	@$(OWN_SCRIPT)

compat: .venv/installed-dev ## the contract suites with the oldest and the newest Optuna that the index offers
	$(BIN)/python tests/compat.py

soak: .venv/installed-dev ## hundreds of schedules of faults on every database; hours
	$(TUNE) data fetch
	TUNE_SOAK=$${TUNE_SOAK:-500} TUNE_MOMENTS_STRIDE=1 $(BIN)/python -m pytest -n 2 --timeout 3600 tests/faults

check: .venv/installed-dev ## lint, format, types, words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/docs/test_words.py

fix: .venv/installed-dev ## what lint and format can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## the virtual environment and all caches; never a study
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# What is installed, and for what; each is made once, and again when pyproject.toml changes.
# pip would compile every module of every package, for half of the time that it takes; most are never imported.
# Those that a worker imports are compiled at once, the others when they are needed.
.venv/installed: EXTRAS := [export]
.venv/installed-dev: EXTRAS := [dev,export,postgresql,mysql]

.venv/installed .venv/installed-dev: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tune needs Python 3.11 or newer; PYTHON=python3.x make ...")'
	@echo "setting up .venv (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --no-compile --editable '.$(EXTRAS)'
	@$(OWN_SCRIPT)
	@$(BIN)/python -c 'import search.objectives.network.open_network, search.cli.app'
	@touch $@
