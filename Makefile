# `make demo` and `make test` are all a fresh machine needs; both install into .venv first.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test lint clean

demo: .venv/demo.stamp
	.venv/bin/photodrag demo -o out --overwrite

test: .venv/test.stamp
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadgroup

lint: .venv/test.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	touch $@

.venv/test.stamp: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/demo.stamp

clean:
	rm -rf .venv out build dist
