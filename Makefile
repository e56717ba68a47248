# Two commands matter: `make demo` (the whole flow on the jets in the repository) and `make test`.
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
JOBS ?= 2
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-all test-reference lint bench data venv clean
.DEFAULT_GOAL := demo

venv: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; say which Python 3.11 to use: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(STAMP)
	$(RUN) scripts/run.py firmware_configs/part_demo.yaml

test: $(STAMP)
	$(RUN) -m pytest -m "not slow and not reference" -n $(JOBS) --dist loadfile

test-all: $(STAMP)
	$(RUN) -m pytest -m "not reference" -n $(JOBS) --dist loadfile

# weaver-core itself beside our model, in an environment of its own (PyTorch, about 900 MB)
REFERENCE := .venv-reference
test-reference: $(REFERENCE)/.installed
	$(REFERENCE)/bin/python -m pytest -m reference tests/test_reference_weaver.py

$(REFERENCE)/.installed: $(STAMP)
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(REFERENCE)/bin/pip install --quiet --disable-pip-version-check --no-deps weaver-core==0.5.3
	echo "import site; site.addsitedir('$(CURDIR)/$(VENV)/lib/python3.11/site-packages')" \
		> $(REFERENCE)/lib/python3.11/site-packages/qformers.pth
	touch $@

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(STAMP)
	$(RUN) benchmarks/pair_features.py
	$(RUN) benchmarks/stream_memory.py
	$(RUN) benchmarks/hls_compile.py 4 8 16

data: $(STAMP)
	$(RUN) scripts/generate_data.py lhc5 --out data/lhc5 --jets 130000 --jobs $(JOBS)
	$(RUN) scripts/generate_data.py jetclass --out data/jetclass --jets 100000 --jobs $(JOBS)

clean:
	rm -rf $(VENV) $(REFERENCE) build *.egg-info
