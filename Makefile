# Two commands matter: `make demo` (the whole flow on the jets in the repository) and `make test`.
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
QFORMERS := $(VENV)/bin/qformers
PIP := pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed
JOBS ?= 2
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo demo-hept demo-hept-cms demo-hrrformer demo-erwin test test-all test-reference test-qkeras chaos lint docs bench data venv lock clean
.DEFAULT_GOAL := demo

venv: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; say which Python 3.11 to use: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/$(PIP) --require-hashes -r requirements.txt
	$(VENV)/bin/$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

# requirements.txt anew from pyproject.toml: all versions with their hashes. What stands there already stays; to take
# newer ones: make lock UPGRADE=--upgrade
EXTRAS := cpu jax hls qonnx synth datagen notebook docs dev
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/$(PIP) pip-tools==7.6.2
	build/lock/bin/pip-compile --quiet $(UPGRADE) --allow-unsafe --generate-hashes --no-annotate --no-emit-find-links \
		--no-emit-index-url --no-emit-trusted-host --strip-extras $(EXTRAS:%=--extra %) \
		--output-file requirements.txt pyproject.toml

# The whole flow in a quarter of an hour: logic synthesis, 3 to 5 minutes for each firmware, is `qformers synth BUILD`
demo: $(STAMP)
	$(QFORMERS) run firmware_configs/part_demo.yaml --no-synth
	$(QFORMERS) run firmware_configs/part_demo_folded.yaml --trained runs/part_demo --no-synth \
		--levels interpreter verilator
	$(QFORMERS) run firmware_configs/part_demo_folded.yaml --trained runs/part_demo --run runs/part_demo_folded4 \
		--set firmware.points_per_clock=4 --levels interpreter verilator --no-synth
	$(QFORMERS) compare runs/part_demo runs/part_demo_folded4 runs/part_demo_folded --out runs/comparison

# HEPT on generated tracker events: all hits of a window in one clock, and a block of eight per clock
demo-hept: $(STAMP)
	test -f data/tracks_demo/manifest.json || $(QFORMERS) generate tracks --out data/tracks_demo \
		--events 60 --pileup 10 --seed 1 --no-cells --jobs $(JOBS)
	$(QFORMERS) run firmware_configs/hept_tracking_demo.yaml --no-synth --levels interpreter verilator
	$(QFORMERS) run firmware_configs/hept_tracking_demo_folded.yaml --trained runs/hept_tracking_demo --no-synth \
		--levels interpreter verilator
	$(QFORMERS) compare runs/hept_tracking_demo runs/hept_tracking_demo_folded --out runs/comparison_hept

# HEPT-CMS on generated line segments: all segments of a window in one clock, and a block of eight per clock
OUTER := data/outer_demo
demo-hept-cms: $(STAMP)
	test -f $(OUTER)/manifest.json || $(QFORMERS) generate tracks --detector outer --no-cells --out $(OUTER) \
		--events 60 --pileup 10 --seed 1 --jobs $(JOBS)
	test -f $(OUTER)/segments/lda.json || { $(QFORMERS) generate tracks segments $(OUTER) && \
		$(QFORMERS) fit-lda $(OUTER)/segments/train --out $(OUTER)/segments/lda.json; }
	$(QFORMERS) run firmware_configs/hept_cms_demo.yaml --no-synth --levels interpreter verilator
	$(QFORMERS) run firmware_configs/hept_cms_demo_folded.yaml --trained runs/hept_cms_demo --no-synth \
		--levels interpreter verilator
	$(QFORMERS) compare runs/hept_cms_demo runs/hept_cms_demo_folded --out runs/comparison_hept_cms

# Hrrformer on the jets of `demo`: all particles in one clock, and one per clock
demo-hrrformer: $(STAMP)
	$(QFORMERS) run firmware_configs/hrrformer_demo.yaml --no-synth
	$(QFORMERS) run firmware_configs/hrrformer_demo_folded.yaml --trained runs/hrrformer_demo --no-synth \
		--levels interpreter verilator
	$(QFORMERS) compare runs/hrrformer_demo runs/hrrformer_demo_folded --out runs/comparison_hrrformer

# Erwin on the same jets: all particles in one clock, and a ball of eight per clock
demo-erwin: $(STAMP)
	$(QFORMERS) run firmware_configs/erwin_demo.yaml --no-synth
	$(QFORMERS) run firmware_configs/erwin_demo_folded.yaml --trained runs/erwin_demo --no-synth \
		--levels interpreter verilator
	$(QFORMERS) compare runs/erwin_demo runs/erwin_demo_folded --out runs/comparison_erwin

test: $(STAMP)
	$(RUN) -m pytest -m "not slow and not reference" -n $(JOBS) --dist loadfile

test-all: $(STAMP)
	$(RUN) -m pytest -m "not reference" -n $(JOBS) --dist loadfile

# Kills, full disks, damaged files, changed builds, mutated inputs, hostile values: an hour or two
chaos: $(STAMP)
	PYTHONPATH=tests:. TF_CPP_MIN_LOG_LEVEL=3 $(RUN) -m chaos

# weaver-core, hrr and flax themselves beside our models, in an environment of their own (PyTorch, about 900 MB); Erwin's
# ball trees, and its model where ERWIN_CHECKOUT names a checkout of maxxxzdn/erwin
REFERENCE := .venv-reference
test-reference: $(REFERENCE)/.installed
	$(REFERENCE)/bin/python -m pytest -m reference tests/models/test_reference_weaver.py \
		tests/models/test_reference_erwin.py tests/nn/test_ball_tree.py tests/models/test_reference_hrr.py

$(REFERENCE)/.installed: $(STAMP)
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/$(PIP) torch==2.13.0
	$(REFERENCE)/bin/$(PIP) --no-deps weaver-core==0.5.3 balltree-erwin==0.1.0 einops==0.8.2
	echo "import site; site.addsitedir('$(CURDIR)/$(VENV)/lib/python3.11/site-packages')" \
		> $(REFERENCE)/lib/python3.11/site-packages/qformers.pth
	$(REFERENCE)/bin/$(PIP) hrr==1.2.3 flax==0.12.8  # last: pip now sees our JAX and NumPy, and takes no others
	touch $@

# QKeras itself beside our import of its models, in an environment of its own; 0.9 runs on the same Keras through tf_keras
QKERAS := .venv-qkeras
test-qkeras: $(STAMP) $(QKERAS)/.installed
	PYTHONPATH=tests $(QKERAS)/bin/python -m support.qkeras_truth v3 build/qkeras wide
	PYTHONPATH=tests:$(QKERAS)/old $(QKERAS)/bin/python -m support.qkeras_truth v0.9 build/qkeras wide
	QKERAS_TRUTH=$(CURDIR)/build/qkeras $(RUN) -m pytest tests/interop/test_interop_qkeras.py tests/precision/test_qkeras_formats.py \
		tests/interop/test_qkeras_firmware.py

$(QKERAS)/.installed:
	$(PYTHON) -m venv $(QKERAS)
	$(QKERAS)/bin/$(PIP) qkeras-v3==1.2.1 keras==3.15.1 tensorflow-cpu==2.21.0 \
		tf_keras==2.21.0 numpy==2.4.6
	$(QKERAS)/bin/$(PIP) --no-deps --target $(QKERAS)/old QKeras==0.9.0
	touch $@

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) docs/write_reference.py --check
	$(RUN) benchmarks/write_docs.py --check
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

# pages that commands write, and the site in build/site
docs: $(STAMP)
	$(RUN) docs/write_reference.py
	$(RUN) benchmarks/write_docs.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: $(STAMP)
	$(RUN) benchmarks/pair_features.py
	$(RUN) benchmarks/stream_memory.py
	$(RUN) benchmarks/hls_compile.py 4 8 16

data: $(STAMP)
	$(QFORMERS) generate lhc5 --out data/lhc5 --jets 130000 --jobs $(JOBS)
	$(QFORMERS) generate jetclass --out data/jetclass --jets 100000 --jobs $(JOBS)

clean:
	rm -rf $(VENV) $(REFERENCE) $(QKERAS) build *.egg-info
