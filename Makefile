# make demo | check | test | lint | bench | setup. Everything lives in .venv and build/ inside this folder.

SHELL := /bin/bash
VENV := $(CURDIR)/.venv
export VIRTUAL_ENV := $(VENV)
export PATH := $(VENV)/bin:$(PATH)
# Bytecode, whatever the shell says of it, and kept out of the tree: a process that imports torch begins in a third of
# the time with it.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache
export PYTHON ?= python3
# The versions of Python that every pin has wheels for.
export PYTHONS := 3.11 to 3.14
$(shell setup/moved.sh)

CPP_FILES := $(shell find cpp export_examples -name '*.[ch]pp' -o -name '*.[ch]' -o -name '*.map' -o -name '*.in' -o -name '*.def' -o -name 'CMakeLists.txt' -o -name '*.cmake')
PYTHON_FOLDERS := python tests export_examples packages cpp/bench docs/hooks.py
# header/policy.h has marks for names in it: no C yet.
CLANG_FORMAT_FILES := $(shell find cpp python tests export_examples -name '*.[ch]pp' -o -name '*.[ch]' \
	-not -path '*/monocypher/*' -not -path '*/export/header/policy.h')

.PHONY: setup demo check test test-cpp test-asan test-python cross fuzz rtsan lint format docs bench wiring-bench policy-table dist dist-test clean

# MiB on the disk, .venv and build/ in the end, with some room: 1,500 were measured for the demo, and 3,900 with the
# trainers and the builds for them (not the root of make rtsan).
DEMO_MIB := 1800
DEV_MIB := 3000
TRAINERS_MIB := 5000

# pip install -e . in the folder build/$(1), with what CMake shall build: $(2), settings of scikit-build-core.
PACKAGE = $(VENV)/bin/python -m pip install --disable-pip-version-check -v --no-compile --no-build-isolation --no-deps \
	$(foreach setting,build-dir=build/$(1) $(2),--config-settings=$(setting)) -e .
PACKAGE_SOURCES := pyproject.toml CMakeLists.txt CMakePresets.json $(CPP_FILES)
# One build for the Python package and for C++: the preset dev with the bindings.
DEV_SETTINGS := cmake.args=--preset=dev cmake.build-type=RelWithDebInfo cmake.define.GANGLION_BUILD_TESTS=ON cmake.define.GANGLION_LIBTORCH=ON

## setup: a .venv with everything pinned but the trainers, the Python package (editable) and the C++ build
setup: .venv/.installed
	cmake --build --preset dev

.venv/.requirements: requirements-dev.txt requirements-demo.txt
	@setup/preflight.sh $(DEV_MIB)
	@setup/step.sh build/packages-dev.log "Python packages, those of the demo and a developer's, into .venv" \
	setup/packages.sh -r requirements-dev.txt
	@touch $@

.venv/.trainers: .venv/.requirements requirements-trainers.txt
	@setup/preflight.sh $(TRAINERS_MIB)
	@setup/step.sh build/packages-trainers.log "the trainers whose files the tests read into .venv" \
	setup/packages.sh --no-deps -r requirements-trainers.txt
	@touch $@

.venv/.installed: .venv/.requirements $(PACKAGE_SOURCES)
	@setup/preflight.sh $(DEV_MIB) > /dev/null
	@setup/step.sh build/package.log "the Python package, its C++ library and the C++ tests" \
	$(call PACKAGE,dev,$(DEV_SETTINGS))
	@# An editable install keeps what is built elsewhere; mypy and editors look for the stubs beside the sources.
	@cp $$(python -c "from ganglion.runtime.libtorch_build import package_data as d; print(d())")/_core.pyi python/ganglion/
	@touch $@

.venv/.demo-packages: requirements-demo.txt
	@setup/preflight.sh $(DEMO_MIB)
	@setup/step.sh build/packages-demo.log "[1/3] Python packages of the demo into .venv" \
	setup/packages.sh -r requirements-demo.txt
	@touch $@

.venv/.demo: .venv/.demo-packages $(PACKAGE_SOURCES)
	@setup/preflight.sh $(DEMO_MIB) > /dev/null
	@setup/step.sh build/package-demo.log "[2/3] C++ library and the programs that fly" \
	$(call PACKAGE,python,$(foreach part,BUILD_EXAMPLES=ON LIBTORCH=ON PYTHON_STUBS=OFF,cmake.define.GANGLION_$(part)) \
	"build.targets=ganglion_libtorch;_core;ganglion-run;ganglion-bench;02_fly_cartpole")
	@touch $@

## demo: export the shipped policy, verify it on every engine, fly it from Python and C++, write out/demo/report.html
demo: .venv/.demo
	@echo "[3/3] exports the policy, verifies it on every engine and flies it, about a minute"
	@GANGLION_LIBTORCH=$(CURDIR)/build/python/libganglion_libtorch.so PYTHONPYCACHEPREFIX= \
	python export_examples/demo.py --fly-binary build/python/export_examples/02_fly_cartpole -o out/demo

## test: the C++ and Python tests; with WHOLE=1 (CI) every case of tests that have many, and the C++ tests once more under
## sanitizers and for 64-bit ARM
test: test-cpp $(if $(WHOLE),test-asan cross) test-python

test-cpp: setup
	ctest --preset dev $(if $(WHOLE),,-LE '^whole$$')

test-asan: setup
	cmake --preset asan > build/configure-asan.log || (cat build/configure-asan.log; false)
	cmake --build --preset asan
	ctest --preset asan

# Whole files, in the order that tests/python/conftest.py gives them.
PYTEST := python -m pytest -n $$(nproc) --dist loadfile --no-loadscope-reorder
SAMPLE := $(if $(WHOLE),,--sample)

# The package builds its LibTorch engine when it first needs it; that of build/dev is the same source.
test-python: setup .venv/.trainers
	$(if $(WHOLE),,GANGLION_LIBTORCH=$(CURDIR)/build/dev/libganglion_libtorch.so) $(PYTEST) $(SAMPLE)

## check: what is not deep (tests/python/conftest.py): a developer's look before a commit
check: setup
	ctest --preset check
	$(PYTEST) -q $(SAMPLE) -m "not deep"

## cross: the C++ library and its tests for 64-bit ARM, run under QEMU; skips where the tools are not installed
CROSS_TOOLS := aarch64-linux-gnu-g++ qemu-aarch64
cross: setup
	@if [ $$(command -v $(CROSS_TOOLS) | wc -l) = 2 ]; then set -e; \
	cmake --preset aarch64 > build/configure-aarch64.log || (cat build/configure-aarch64.log; false); \
	cmake --build --preset aarch64; \
	ctest --preset aarch64; \
	else echo "cross: skipped: $(CROSS_TOOLS) are not both on the PATH (Debian: g++-aarch64-linux-gnu qemu-user)"; fi

## fuzz: the readers of files under libFuzzer for FUZZ_SECONDS; an input that breaks them stays in build/fuzz
FUZZ_SECONDS ?= 60
fuzz: export ASAN_OPTIONS := allow_addr2line=1
fuzz: export UBSAN_OPTIONS := halt_on_error=1:print_stacktrace=1:allow_addr2line=1
fuzz: setup
	@mkdir -p build/fuzz/corpus
	@compiler=$$(tests/newest_clang.sh fuzzer,address,undefined 15) || { \
	echo "fuzz: no clang >= 15 with libFuzzer is on the PATH (Debian: clang-19 libclang-rt-19-dev)"; exit 1; }; \
	CC=$${compiler/clang++/clang} CXX=$$compiler cmake --preset fuzz > build/configure-fuzz.log || (cat build/configure-fuzz.log; false)
	cmake --build --preset fuzz
	build/fuzz/tests/fuzz/fuzz_readers -max_total_time=$(FUZZ_SECONDS) -max_len=32768 -timeout=10 -print_pcs=0 \
	-verbosity=1 -artifact_prefix=build/fuzz/ build/fuzz/corpus tests/golden/fuzz_corpus

## rtsan: the control loop under RealtimeSanitizer and -Wfunction-effects, with clang >= 20 or in a Debian root made for it
rtsan: setup
	tests/realtime/rtsan.sh

## lint: formatters in check mode, ruff, mypy --strict, clang-tidy (but for files of another architecture)
lint: setup .venv/.trainers  # mypy looks at what we build on them
	ruff check $(PYTHON_FOLDERS)
	ruff format --check $(PYTHON_FOLDERS)
	mypy
	clang-format --dry-run --Werror $(CLANG_FORMAT_FILES)
	cmake --preset lint > build/configure-lint.log || (cat build/configure-lint.log; false)
	find cpp -name '*.cpp' -not -path 'cpp/bindings/*' -not -name 'neon_*' | xargs -P $$(nproc) -n 1 clang-tidy -p build/lint --quiet \
	--extra-arg=-Wno-unknown-warning-option

## format: apply the formatters
format: setup
	ruff check --fix-only -q $(PYTHON_FOLDERS)
	ruff format -q $(PYTHON_FOLDERS)
	clang-format -i $(CLANG_FORMAT_FILES)

## docs: the docs site, in build/docs; a warning or a dead link fails it
docs: export NO_MKDOCS_2_WARNING := 1
docs: .venv/.docs
	@setup/step.sh build/docs.log "the docs site, into build/docs" python -m mkdocs build --strict
	@echo "docs: open $(CURDIR)/build/docs/index.html"

.venv/.docs: requirements-docs.txt
	@setup/step.sh build/packages-docs.log "what the docs site is built with, into .venv" \
	setup/packages.sh -r requirements-docs.txt
	@touch $@

## bench: latency of a step, native against ONNX Runtime, LibTorch and a read of the weights; cpp/bench/RESULTS.md
bench: setup
	python cpp/bench/run.py

## wiring-bench: plants faults in observations of robots that walk, counts what ganglion wiring names; docs/wiring_bench.md
WIRING_JOBS ?= $$(nproc)
wiring-bench: setup .venv/.wiring
	PYTHONPATH=tests/bench python -m wiring.run --jobs $(WIRING_JOBS) --page docs/wiring_bench.md

.venv/.wiring: requirements-wiring.txt
	@setup/step.sh build/packages-wiring.log "packages whose robots walk in the bench, into .venv" \
	setup/packages.sh --no-deps -r requirements-wiring.txt
	@touch $@

## policy-table: holds every kind of policy, trainer and public file against its reference; docs/policy_table.md
policy-table: setup .venv/.trainers
	PYTHONPATH=tests/bench:tests/python/support python -m policy_table.run

## dist: wheels, SDKs and .debs for x86-64 and aarch64, and the sdist, into dist/; docs/packages.md
dist: .venv/.packages
	python packages/dist.py

## dist-test: installs what dist/ holds in empty environments: here, in Debian roots, on other CPUs; builds it a second time
dist-test: dist
	python -m pytest -p no:cacheprovider tests/packages

.venv/.packages: .venv/.requirements packages/requirements.txt
	@setup/step.sh build/packages-dist.log "the compiler of the packages, and what repairs them, into .venv" \
	setup/packages.sh -r packages/requirements.txt
	@touch $@

clean:
	rm -rf build out .venv
