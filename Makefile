PY ?= python3
VENV ?= .venv
RUN ?= runs/demo

.PHONY: setup demo test clean

# An empty TORCH_INDEX takes the package index's own build. On Linux without a GPU, name PyTorch's CPU index to save gigabytes.
TORCH_INDEX ?=

$(VENV)/.torch: pyproject.toml
	$(PY) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) 'torch>=2.9,<2.14'
	touch $@

# what each target needs, and no more: the demonstration does without the packages that only tests use
$(VENV)/.demo: $(VENV)/.torch
	$(VENV)/bin/python -m pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.torch
	$(VENV)/bin/python -m pip install --quiet -e '.[dev,demo]'
	touch $@

setup: $(VENV)/.dev

demo: $(VENV)/.demo
	$(VENV)/bin/polymodal demo --out $(RUN)

test: setup
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile

clean:
	rm -rf $(VENV) runs
