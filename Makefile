# Every target sets up what it needs. Recipes say what they are for; CI runs `make test`.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export OPENBLAS_NUM_THREADS := 1
UV := 0.13.9
LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links -c .ci/constraints.txt

.PHONY: demo up test fast check lint kafka bench chaos clean

demo: .venv/ready            ## the whole pipeline on real prices, with a live table (arguments: ARGS="--seconds 20")
	@$(BIN)/usp demo $(ARGS)

up: .venv/ready              ## the pipeline on local services, until Ctrl-C
	@$(BIN)/usp up $(ARGS)

test: .venv/ready            ## everything that CI runs; without Java and Maven the tests on Apache Kafka are skipped
	@$(BIN)/python -m usp.io.embedded kafka || [ -z "$$CI" ]
	@$(BIN)/pytest -q -n auto --dist loadfile -m "not system" $(ARGS); found=$$?; \
		$(BIN)/pytest -q -n auto --dist loadfile -m system --durations 10 $(ARGS) && exit $$found

fast: .venv/ready            ## unit, property and harness tests; under two minutes
	@$(BIN)/pytest -q -n auto --dist loadfile -m "not slow and not kafka and not system" $(ARGS)

check: lint fast             ## what to run before a commit

lint: .venv/ready            ## formatting, lint, floors, types, dependencies
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/pyright
	@mkdir -p .types && ln -sfn .. .types/usp  # mypy wants the package under its name
	@cd .types && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.local/mypy -p usp.config -p usp.schemas -p usp.io -p usp.predictor -p usp.stages
	@$(BIN)/deptry . --no-ansi

kafka: .venv/ready           ## fetch Apache Kafka by pinned version into .local/kafka, where Java and Maven are
	@$(BIN)/python -m usp.io.embedded kafka

bench: .venv/ready           ## the figures of runbooks/performance.md
	@$(BIN)/usp bench $(ARGS)

chaos: .venv/ready           ## kill, freeze and damage a pipeline of real processes, then verify (ARGS="--minutes 5 --seed 1")
	@$(BIN)/usp chaos $(ARGS)

.venv/ready: requirements.lock pyproject.toml
	@.ci/environment $(PYTHON)
	@touch $@

clean:                       ## forget the environment and all local state
	rm -rf .venv .local var

lock: .venv/ready            ## pin every dependency by version and hash, for a change of pyproject.toml
	@$(BIN)/pip install -q "uv==$(UV)"
	@$(LOCK) --extra embedded --extra dev pyproject.toml -o requirements.lock
	@$(LOCK) pyproject.toml .ci/build.txt -o requirements-runtime.lock
