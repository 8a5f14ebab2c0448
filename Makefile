# SPDX-License-Identifier: Apache-2.0
# The front door. Meson builds; this file knows the words that people type.

BUILD      ?= build
MESON_ARGS ?=
PYTEST      = /usr/bin/python3 -m pytest -q -p no:cacheprovider
JOBS       ?= $(shell nproc)

.DEFAULT_GOAL := build
.PHONY: help quickstart build install uninstall clean check \
        check-unit check-integration check-conformance check-asan check-tsan check-fuzz check-style \
        check-vm vm-shell vm-run bench packages-build packages-test packages-bench packages-quickstart packages-vm

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

packages-build packages-test packages-bench packages-quickstart packages-vm: packages-%:
	@dist/install-packages build run $(filter-out build,$*)

$(BUILD)/build.ninja: | packages-build
	@meson setup $(BUILD) --buildtype=release -Db_ndebug=false $(MESON_ARGS) >/dev/null

build: $(BUILD)/build.ninja ## build the library, varve and varved in build/
	@[ -t 1 ] || quiet=--quiet; ninja -C $(BUILD) -j $(JOBS) $$quiet

quickstart: packages-quickstart build ## run a container from a real Debian image on Varve (root)
	@examples/quickstart $(BUILD)

install: build ## install below the prefix (MESON_ARGS=--prefix=/usr)
	@meson install -C $(BUILD) --no-rebuild

uninstall: ## take the installed files away again
	@ninja -C $(BUILD) uninstall

clean: ## remove what was built
	@rm -rf build build-*

check: packages-test packages-vm ## run every lane below, one after the other (root)
	@tests/run-lanes style unit integration conformance asan tsan fuzz vm

check-style: packages-test ## formatting, linters, include directions, manual pages
	@tests/run-lanes style

check-unit: packages-test ## unit tests
	@tests/run-lanes unit

check-integration: packages-test ## the real programs on real file systems (root)
	@tests/run-lanes integration

check-conformance: packages-test ## containerd's own snapshotter suite against varved (root)
	@tests/run-lanes conformance

check-asan: packages-test ## unit, conformance and, on one driver each, integration under ASan and UBSan
	@tests/run-lanes asan

check-tsan: packages-test ## the concurrent tests under ThreadSanitizer
	@tests/run-lanes tsan

check-fuzz: packages-test ## every fuzzer over its corpus and some seconds more
	@tests/run-lanes fuzz

check-vm: packages-vm ## the suites on Debian's kernel with ZFS, in a virtual machine (root)
	@tests/run-lanes vm

vm-shell: packages-vm ## a shell in that virtual machine (root)
	@tests/vm/vm shell

vm-run: export VM_COMMAND = $(value CMD)
vm-run: packages-vm ## one command there: make vm-run CMD='varve --version' (root)
	@tests/vm/vm run "$$VM_COMMAND"

bench: bench-snapshots bench-diff bench-unpack bench-pull bench-package bench-volumes ## all benchmarks

bench-%: packages-test packages-bench build ## one benchmark: bench-snapshots, bench-diff, bench-unpack, bench-pull, bench-package, bench-transfer, bench-volumes
	@bench/$*
