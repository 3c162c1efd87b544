# For people; what is built, and how, stands in meson.build.
#
#   make PREFIX=/usr DESTDIR=/tmp/package install       MESON_ARGS=-Doption=value make

BUILD ?= build
PREFIX ?= /usr/local
MESON_ARGS ?=

.DEFAULT_GOAL := build
.PHONY: build help demo test cluster sim mutants asan tsan bench format install clean

build: $(BUILD)/build.ninja ## build the programs in build/
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_ARGS)

demo: ## three nodes and their store on this machine, to play with; Ctrl-C ends them
	tools/deps demo
	$(MAKE) build
	tools/asuser $(BUILD) pgkeep demo $(DEMO_ARGS)

test: ## unit tests, scenarios, fences, sanitizers and a small cluster (below 20 minutes)
	tools/deps test
	tools/run-tests $(TEST_ARGS)

cluster: ## every test on real PostgreSQL and etcd (long; as root also those that cut networks)
	tools/deps cluster
	$(MAKE) build
	tools/asuser --keep-root $(BUILD) python3 -m pytest test/cluster $(TEST_ARGS)

asan tsan: %: ## unit tests and scenarios under ASan+UBSan, or what has threads under TSan
	tools/deps build
	tools/run-tests --only $@

sim: ## simulated clusters by seed: SEEDS=n FROM=m, or SEED=n for the story of one
	tools/deps build
	$(MAKE) build
	build/test/sim/sim $(if $(SEED),-v --from $(SEED),--seeds $(or $(SEEDS),200) --from $(or $(FROM),1))

mutants: ## deliberate mistakes, each to be caught by a simulated cluster: SEEDS=n FROM=m ONLY=NAME,NAME
	tools/deps build
	$(MAKE) build
	build/test/sim/sim --mutants $(ONLY) --seeds $(or $(SEEDS),2000) --from $(or $(FROM),1)

bench: ## measurements
	tools/deps demo
	$(MAKE) build
	test/bench/run $(BUILD) $(BENCH_ARGS)

format: ## lay out the C code as .clang-format says
	git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

# The prefix of an earlier `make` may be another one; what was built does not depend on it.
install: build ## install below $(DESTDIR)$(PREFIX)
	grep -q '"name": "prefix", "value": "$(PREFIX)"' $(BUILD)/meson-info/intro-buildoptions.json || \
	    { meson configure $(BUILD) -Dprefix=$(PREFIX) && ninja -C $(BUILD); }
	meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

clean: ## remove everything that was built
	rm -rf $(BUILD) build-asan build-tsan

help: ## this list
	@sed -n 's/^\([a-z ]*\): .*##\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
