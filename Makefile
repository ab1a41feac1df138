# What a person runs, and CI too: `make demo`, `make check`, `make test`. Each installs what it needs first.
.DEFAULT_GOAL := help
.PHONY: help setup demo check style types imports project translations requirements test test-sqlite test-postgresql \
        messages compile bench
MAKEFLAGS += --no-print-directory

PORT ?= 8000
SANDBOX_PORT ?= 8001
ARGS ?=
PYTHON := .venv/bin/python
# Tests take their turns on all cores; PARALLEL= runs them one by one (for a debugger). Python's own tracebacks,
# because Python 3.11 with Playwright's greenlets may fail to parse source from deep in a stack (SystemError).
PARALLEL ?= --numprocesses auto --dist worksteal --tb=native
# What is checked is the checkout, not the settings of whoever runs the check.
CHECKING := ENV_FILE=/dev/null DATABASE_URL=sqlite:///:memory: \
            SECRET_KEY=only-for-checks-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGH
PRODUCTION := DEBUG=false PUBLIC_URL=https://console.example.com ALLOWED_HOSTS=console.example.com

help:
	@echo "make demo      the console, a worker and a local Feishu, on this machine (PORT=, SANDBOX_PORT=, ARGS=--once)"
	@echo "make test      the whole suite: SQLite, PostgreSQL, browser (ARGS= goes to pytest)"
	@echo "make check     style, types, imports, migrations, translations, locked requirements"
	@echo "make setup     .venv with everything locked in requirements-dev.txt"
	@echo "make messages  brings the translation catalogue up to date; make compile locks new requirements"
	@echo "make bench     measures (ARGS=)"

setup:
	@bin/setup dev

demo:
	@bin/setup runtime
	@exec $(PYTHON) manage.py demo --port $(PORT) --sandbox-port $(SANDBOX_PORT) $(ARGS)

check: style types imports project translations requirements
	@echo "make check: all good"

style: setup
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m ruff check --quiet .

types: setup
	$(PYTHON) -m mypy .

imports: setup
	.venv/bin/lint-imports

project: setup
	$(CHECKING) $(PYTHON) manage.py check --fail-level WARNING
	$(CHECKING) $(PRODUCTION) $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(CHECKING) $(PYTHON) manage.py makemigrations --check --dry-run

translations: setup
	bin/need gettext
	bin/check-translations

requirements: setup
	bin/check-requirements

test: test-sqlite test-postgresql

# The browser tests run once, on PostgreSQL; so do the tests that only it can pass (marked postgres).
test-sqlite: setup
	TEST_DATABASE=sqlite $(PYTHON) -m pytest $(PARALLEL) -m "not postgres and not browser" $(ARGS)

test-postgresql: setup
	bin/need postgresql chromium fonts-noto-cjk libatomic1 faketime  # libatomic1 for Playwright's driver
	TEST_DATABASE=postgresql $(PYTHON) -m pytest $(PARALLEL) $(ARGS)

messages: setup
	bin/need gettext
	bin/check-translations --update

compile: setup
	bin/check-requirements --update

bench: setup
	@bin/need postgresql
	@exec $(PYTHON) -m bench $(ARGS)
