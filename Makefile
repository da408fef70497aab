# SPDX-License-Identifier: Apache-2.0
# A thin front for Meson. `make` alone lists what there is.

BUILD ?= build
CAY_DATA ?= /var/lib/cay
# A compiler newer than those of CI may warn of more; CI itself builds with werror.
MESON_OPTIONS ?= -Dwerror=false
export CAY_DATA

.PHONY: help build run stop test bench bench-cluster fuzz install clean

help:
	@echo 'make run      install what is missing, build, start everything, show a sandbox at work'
	@echo 'make stop     end what make run started, sandboxes included; data stays in $(CAY_DATA)'
	@echo 'make test     install what tests need, build, run all tests (root)'
	@echo 'make build    build into $(BUILD)/'
	@echo 'make bench    measure, beside what is replaced or the physical limit (ten minutes)'
	@echo 'make bench-cluster  measure cay controller on a real kube-apiserver (a quarter of an hour)'
	@echo 'make fuzz     fuzz every parser for a minute each (clang)'
	@echo 'make install  install under /usr/local (DESTDIR and PREFIX are honoured)'
	@echo 'make clean    remove $(BUILD)/ and build-fuzz/'

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@tools/install-packages build
	@told=$$(meson setup $(BUILD) $(MESON_OPTIONS) 2>&1) || { echo "$$told" >&2; exit 1; }

# What runs; tests and benches, half of all there is to compile, can wait.
PROGRAMS = cay src/init/init src/runtime/launcher src/sandboxd/sandboxd src/sandboxd/socket-activate

run: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(PROGRAMS)
	@tools/install-packages run
	@tools/demo $(BUILD)/cay

stop:
	@test -x $(BUILD)/cay || { echo 'There is no $(BUILD)/cay: make build makes it' >&2; exit 1; }
	@tools/as-root $(BUILD)/cay down

test:
	@tools/install-packages build run test cluster bench
	@tools/run-tests $(BUILD)

bench: build
	@tools/install-packages run bench
	@tools/as-root bench/run $(BUILD)
	@bench/router $(BUILD)

bench-cluster: build
	@tools/install-packages run cluster
	@tools/build-control-plane >/dev/null
	@bench/cluster/run $(BUILD)

fuzz:
	@tools/install-packages build fuzz
	@fuzz/run

PREFIX ?= /usr/local
install: build
	@meson configure $(BUILD) --prefix=$(PREFIX)
	@ninja -C $(BUILD) >/dev/null
	@meson install -C $(BUILD) --no-rebuild --quiet
	@echo 'Installed under $(DESTDIR)$(PREFIX): cay, its manual page, shell completion and systemd unit'

clean:
	rm -rf $(BUILD) build-fuzz
