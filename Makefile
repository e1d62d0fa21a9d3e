# SPDX-License-Identifier: Apache-2.0
# Makefile of Piramid (GNU make). `make help` lists the targets. The library's sources stand in
# lib/sources.txt and nowhere else; meson.build and amalgamation/gen.py read the same list.
#
# Variables: BUILD (folder, default build), CC, CFLAGS (-O2 -g), WERROR=1, ZSTD=0|1, DEBUG=1,
# SAN=address,undefined|thread, LAYERS="base os" (only these folders of lib/), TESTS="alloc map"
# (only these unit tests), PREFIX, DESTDIR, FUZZ_SECONDS (of processor time, each target).

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 30
PKG_CONFIG ?= pkg-config
PYTHON ?= python3
AFL_CC ?= afl-clang-fast
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif
WERROR ?= $(if $(CI),1,0)
DEBUG ?= 0
SAN ?=
LAYERS ?=
TESTS ?=
LIB_CFLAGS ?=
CMOCKA ?= -lcmocka
RUN ?=
comma := ,

VERSION := $(shell sed -n 's/^\#define PV_VERSION_STRING "\(.*\)"/\1/p' include/pv.h)
SOVERSION := $(shell echo $(VERSION) | cut -d. -f1-2)
ZSTD ?= $(shell $(PKG_CONFIG) --exists libzstd 2>/dev/null && echo 1 || echo 0)

# ---- flags -------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wcast-align -Wwrite-strings \
	-Wimplicit-fallthrough
PV_CFLAGS := -std=c11 -D_GNU_SOURCE -DPV_WITH_ZSTD=$(ZSTD) -fvisibility=hidden -fPIC -pthread \
	$(WARNINGS)
PV_LIBS := -pthread -lm
ifeq ($(ZSTD),1)
PV_LIBS += -lzstd
endif
ifeq ($(WERROR),1)
PV_CFLAGS += -Werror
endif
ifeq ($(DEBUG),1)
PV_CFLAGS += -DPV_DEBUG=1
endif
ifeq ($(FAKE_STORE),1)
PV_CFLAGS += -DPV_TEST_FAKE_STORE
endif
ifneq ($(SAN),)
PV_CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer
PV_LDFLAGS := -fsanitize=$(SAN)
ifneq ($(findstring undefined,$(SAN)),)
PV_CFLAGS += -fno-sanitize-recover=undefined
endif
endif
# C++ only proves that pv.h is C++: what the two languages share of the flags.
CXX_COMPILE = $(CXX) -std=c++11 $(filter-out -std=% -Wstrict-prototypes -Wmissing-prototypes \
	-Wimplicit-fallthrough -Wconversion,$(PV_CFLAGS)) $(CFLAGS) -MMD -MP
COMPILE = $(CC) $(PV_CFLAGS) $(CFLAGS) -MMD -MP
LINK = $(CC) $(CFLAGS) $(PV_LDFLAGS) $(LDFLAGS)

# ---- what there is -----------------------------------------------------------------------------

LIB_ALL := $(shell sed 's/\#.*//' lib/sources.txt)
LIB_SRC := $(if $(LAYERS),$(foreach l,$(LAYERS),$(filter $(l)/%,$(LIB_ALL))),$(LIB_ALL))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/lib/%.o)
LIB_A := $(BUILD)/libpiramid.a
LIB_SO := $(BUILD)/libpiramid.so.$(VERSION)

CLI_SRC := $(wildcard examples/cli/*.c) $(wildcard examples/common/*.c)
CLI := $(if $(wildcard examples/cli/*.c),$(BUILD)/piramid)
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c))

# In the folders of larger suites a file with a main is a program; the others, and all of support/,
# help every test.
SUITE_FILES := $(wildcard tests/sim/*.c tests/crash/*.c tests/model/*.c tests/threads/*.c)
SUITE_SRC := $(sort $(shell grep -l '^int main.' /dev/null $(SUITE_FILES)))
SUPPORT_SRC := $(wildcard tests/support/*.c) $(filter-out $(SUITE_SRC),$(SUITE_FILES))
ifeq ($(CMOCKA),)
SUPPORT_SRC += tests/cross/cmocka.c
endif
SUPPORT_A := $(BUILD)/libtestsupport.a
UNIT_SRC := $(if $(TESTS),\
	$(foreach t,$(TESTS),$(or $(wildcard tests/unit/test_$t.cpp),tests/unit/test_$t.c)),\
	$(wildcard tests/unit/test_*.c tests/unit/test_*.cpp))
UNIT := $(addprefix $(BUILD)/,$(basename $(UNIT_SRC)))
SUITES := $(SUITE_SRC:%.c=$(BUILD)/%)
SCRIPTS := $(wildcard tests/cli/test_*.sh tests/cli/test_*.py)

FUZZ_SRC := $(wildcard fuzz/fuzz_*.c)
FUZZ := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZ_HELP := fuzz/image.c fuzz/use.c fuzz/clock.c
IMPORT_SRC := $(wildcard examples/cli/read*.c examples/common/*.c) examples/cli/args.c
BENCH := $(patsubst %.c,$(BUILD)/%,$(wildcard bench/bench_*.c))
BENCH_HELP := $(filter-out bench/bench_%,$(wildcard bench/*.c))
ANN_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard bench/ann/*.c))
WALK_OBJ := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard bench/walk/*.c))

AMALGAMATION := $(BUILD)/amalgamation/pv.c
PV_UNIT := $(patsubst tests/unit/%.c,$(BUILD)/pv-tests/%,$(filter %.c,$(UNIT_SRC)))

JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
RUN_TESTS = $(PYTHON) tools/run_tests.py --jobs $(JOBS) $(if $(RUN),--under '$(RUN)')

PYTHON_TESTS = PIRAMID_LIBRARY=$(abspath $(BUILD)/libpiramid.so) $(PYTHON) \
	bindings/python/run_tests.py --env $(abspath $(BUILD)/python)

.PHONY: all lib cli examples test tests suites threads coverage coverage-run scripts python test-pv quick \
	check soak fuzz corpora seeds bench benches bench-ann ann-peers amalgamation lint asan tsan aarch64 \
	aarch64-base fake sched install demo clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: lib cli examples
lib: $(LIB_A) $(LIB_SO)
cli: $(CLI)
examples: $(EXAMPLES)

# Objects are rebuilt when the compiler or its flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(COMPILE))' | cmp -s - $@ || echo '$(subst ','\'',$(COMPILE))' > $@
.PHONY: FORCE
FORCE:

# ---- library -----------------------------------------------------------------------------------

$(BUILD)/obj/lib/%.o: lib/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) $(LIB_CFLAGS) -Iinclude -Ilib -c $< -o $@

$(LIB_A): $(LIB_OBJ) lib/sources.txt
	@mkdir -p $(@D) && rm -f $@
	ar rcs $@ $(LIB_OBJ)

$(LIB_SO): $(LIB_OBJ) piramid.map lib/sources.txt
	$(LINK) -shared -Wl,-soname,libpiramid.so.$(SOVERSION) -Wl,--version-script,piramid.map \
		-Wl,-z,relro -o $@ $(LIB_OBJ) $(PV_LIBS)
	ln -sf libpiramid.so.$(VERSION) $(BUILD)/libpiramid.so.$(SOVERSION)
	ln -sf libpiramid.so.$(SOVERSION) $(BUILD)/libpiramid.so

# ---- examples: they see include/ only ----------------------------------------------------------

$(BUILD)/obj/examples/%.o: examples/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -Iinclude -Iexamples -c $< -o $@

$(BUILD)/piramid: $(CLI_SRC:%.c=$(BUILD)/obj/%.o) $(LIB_A)
	$(LINK) -o $@ $^ $(PV_LIBS)

$(BUILD)/examples/%: $(BUILD)/obj/examples/%.o $(LIB_A)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PV_LIBS)

# ---- tests -------------------------------------------------------------------------------------

$(BUILD)/obj/tests/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -Iinclude -Ilib -Itests -c $< -o $@

$(BUILD)/obj/tests/%.o: tests/%.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(CXX_COMPILE) -Iinclude -c $< -o $@

# The header is C99, and so is the program that tests it.
$(BUILD)/obj/tests/unit/test_header_c99.o: PV_CFLAGS := $(PV_CFLAGS:-std=c11=-std=c99)

$(SUPPORT_A): $(SUPPORT_SRC:%.c=$(BUILD)/obj/%.o)
	@mkdir -p $(@D) && rm -f $@
	ar rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(SUPPORT_A) $(LIB_A)
	@mkdir -p $(@D)
	$(if $(wildcard $(@:$(BUILD)/%=%).cpp),$(LINK:$(CC)%=$(CXX)%),$(LINK)) -o $@ $^ $(CMOCKA) \
		$(PV_LIBS)

tests: $(UNIT) $(SUITES)
test: $(UNIT)
	$(RUN_TESTS) --timeout 120 $(UNIT)
THREADS := $(filter $(BUILD)/tests/threads/%,$(SUITES))
threads: $(THREADS)
	$(RUN_TESTS) --timeout 600 $(THREADS)
SUITE_SECONDS ?= 900
suites: $(SUITES)
	$(RUN_TESTS) --timeout $(SUITE_SECONDS) $(SUITES)
scripts: lib cli $(BUILD)/bench/bench_filter
	PIRAMID=$(abspath $(BUILD)/piramid) BUILD=$(abspath $(BUILD)) \
		$(RUN_TESTS) --timeout 300 $(SCRIPTS)

# The Python package, installed into an environment of its own.
python: lib
	$(PYTHON_TESTS)

asan:
	+$(MAKE) BUILD=$(BUILD)/asan SAN=address,undefined DEBUG=1 CFLAGS='-O1 -g' test
tsan:
	+$(MAKE) BUILD=$(BUILD)/tsan SAN=thread DEBUG=1 CFLAGS='-O1 -g' test

# The library, the program and unit tests for arm64, run by QEMU. The cross compiler and QEMU are all
# that is needed: no zstd, and tests/cross in place of cmocka. aarch64-base is a processor without
# dot products of bytes. Left out: what takes long there and looks at numbers, not at instructions,
# and the mark of a forked child, which QEMU does not wipe.
ARM_CC ?= aarch64-linux-gnu-gcc
ARM_RUN ?= qemu-aarch64 -L /usr/aarch64-linux-gnu
ARM_TESTS ?= ann_codes ann_cramped ann_lists header_c99 os_sys $(filter base_% kernel% quant_% \
	query_% value_% vector_%,$(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c)))
ARM_OMIT ?= whatever_the_values near_the_truth sigma_covers lose_as_little more_bytes learning_can \
	turned_codes forkmark
ARM_MAKE = $(MAKE) BUILD=$(BUILD)/aarch64 CC=$(ARM_CC) ZSTD=0 CMOCKA=
aarch64 aarch64-base: ARM_CPU = $(if $(filter %-base,$@),cortex-a72,max)
aarch64-base: ARM_TESTS := kernel kernel_types quant_panel
aarch64 aarch64-base:
	@for p in $(ARM_CC) $(firstword $(ARM_RUN)); do command -v $$p >/dev/null || { \
		echo "no $$p: nothing is tested for arm64 (tools/deps.sh check installs it)"; exit 1; }; done
	+CROSS_OMIT='$(ARM_OMIT)' $(ARM_MAKE) all TESTS='$(ARM_TESTS)' RUN='$(ARM_RUN) -cpu $(ARM_CPU)' test

# The tree over the strict store of tests/support/fake_store.h, which moves and frees pages at every
# moment that store.h allows.
fake:
	+$(MAKE) BUILD=$(BUILD)/fake SAN=address,undefined DEBUG=1 CFLAGS='-O1 -g' FAKE_STORE=1 \
		LAYERS='base os tree' TESTS='$(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_tree*.c))' \
		test

# Lines of lib/ that unit tests and short runs of the suites reach; at least 95 % of store and tree,
# or it fails. gcc only, because gcov reads what its compiler wrote.
COVERAGE_RUNS := PV_CRASH_IMAGES=1500 PV_DAMAGE=20 PV_DAMAGE_STEP=8192 PV_KILLS=5 \
	PV_KILL_ROUNDS=5 PV_MODEL_SEEDS=20 PV_HISTORY_SEEDS=8 PV_THREADS_COMMITS=600 \
	PV_THREADS_ROUNDS=10
COVERAGE_PROGRAMS = $(UNIT) $(filter-out %/crash_api %/crash_faults,$(SUITES)) # long, nothing new
coverage:
	tools/deps.sh check
	+$(MAKE) BUILD=$(BUILD)/coverage CC=gcc CXX=g++ SAN= \
		CFLAGS='-O1 -g --coverage -fprofile-update=atomic' coverage-run
	$(PYTHON) tools/coverage.py --build $(BUILD)/coverage --missing lib/store --missing lib/tree \
		--want lib/store=95 --want lib/tree=95
coverage-run: $(UNIT) $(SUITES)
	find $(BUILD) -name '*.gcda' -delete
	$(COVERAGE_RUNS) $(RUN_TESTS) --timeout $(SUITE_SECONDS) $(COVERAGE_PROGRAMS)

# The store under a scheduler that follows from a seed: the library is compiled as for the thread
# sanitizer, and linked with tests/sched instead of it, through which all calls of pthreads go, too.
SCHED_SRC := $(wildcard tests/sched/*.c)
SCHED_WRAP := $(addprefix -Wl$(comma)--wrap=,sched_yield $(addprefix pthread_,mutex_lock \
	mutex_trylock mutex_unlock cond_wait cond_timedwait cond_signal cond_broadcast create join self))
sched:
	+$(MAKE) BUILD=$(BUILD)/sched LAYERS='base os store' LIB_CFLAGS=-fsanitize=thread \
		$(BUILD)/sched/tests/sched/sched_store
	$(RUN_TESTS) --timeout $(SUITE_SECONDS) $(BUILD)/sched/tests/sched/sched_store
$(BUILD)/tests/sched/sched_store: $(SCHED_SRC:%.c=$(BUILD)/obj/%.o) $(SUPPORT_A) $(LIB_A)
	@mkdir -p $(@D)
	$(LINK) $(SCHED_WRAP) -o $@ $^ $(CMOCKA) $(PV_LIBS)

# The same unit tests in one translation unit with pv.c: what helps a test is included too, because
# every internal function is static there.
amalgamation: $(AMALGAMATION)
$(AMALGAMATION): amalgamation/gen.py lib/sources.txt $(LIB_ALL:%=lib/%) $(wildcard lib/*/*.h) \
		include/pv.h include/pv_unstable.h
	$(PYTHON) amalgamation/gen.py $(@D)

$(BUILD)/pv-tests/%: tests/unit/%.c $(AMALGAMATION) $(SUPPORT_SRC) $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -Iinclude -Ilib -Itests -include $(AMALGAMATION) \
		$(addprefix -include ,$(shell $(PYTHON) tools/test_helpers.py $<)) $< \
		-o $@ $(PV_LDFLAGS) $(LDFLAGS) -lcmocka $(PV_LIBS)
test-pv: $(PV_UNIT)
	$(RUN_TESTS) --timeout 120 $(PV_UNIT)

# ---- fuzzing -----------------------------------------------------------------------------------

$(BUILD)/obj/fuzz/%.o: fuzz/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -Iinclude -Ilib -Itests -Iexamples -Ifuzz -c $< -o $@

$(BUILD)/libfuzzhelp.a: $(FUZZ_HELP:%.c=$(BUILD)/obj/%.o)
	@mkdir -p $(@D) && rm -f $@
	ar rcs $@ $^

$(BUILD)/fuzz/%: $(BUILD)/obj/fuzz/%.o $(BUILD)/obj/fuzz/driver_file.o $(BUILD)/libfuzzhelp.a \
		$(SUPPORT_A) $(LIB_A)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PV_LIBS)

# The readers of the program's import, whose own messages go to the target.
$(BUILD)/fuzz/fuzz_import: $(IMPORT_SRC:%.c=$(BUILD)/obj/%.o)

# The seeds of fuzz_file and fuzz_log that begin with made-: make them anew after a change of format.
$(BUILD)/fuzz/make_seeds: $(BUILD)/obj/fuzz/make_seeds.o $(BUILD)/libfuzzhelp.a $(LIB_A)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PV_LIBS)
seeds: $(BUILD)/fuzz/make_seeds
	$< fuzz/corpus

corpora: $(FUZZ)
	@n=0; for f in $(FUZZ); do name=$$(basename $$f | sed 's/^fuzz_//'); \
		$$f fuzz/corpus/$$name >$$f.log 2>&1 || { tail -n 20 $$f.log; echo "$$f failed"; exit 1; }; \
		echo "$$name: $$(tail -n 1 $$f.log)"; n=$$((n + 1)); done; echo "$$n passed, 0 failed"
fuzz:
	BUILD=$(BUILD) AFL_CC=$(AFL_CC) $(PYTHON) tools/fuzz.py $(FUZZ_FLAGS) $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# ---- benches -----------------------------------------------------------------------------------

$(BUILD)/obj/bench/%.o: bench/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -Iinclude -Ibench $(if $(filter bench/bench_kernel% bench/bench_filter% bench/bench_walk% bench/walk/%,$<),-Ilib) -c $< -o $@

$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(BENCH_HELP:%.c=$(BUILD)/obj/%.o) $(LIB_A)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PV_LIBS)

$(BUILD)/bench/bench_walk: $(WALK_OBJ)

$(BUILD)/bench/ann: $(ANN_OBJ) $(LIB_A)
	@mkdir -p $(@D)
	$(LINK) -o $@ $^ $(PV_LIBS)

# Short by default; BENCH_LONG=1 for figures to be quoted, BENCH_ARGS for the options of bench/run.py.
benches: $(BENCH) $(BUILD)/bench/ann
bench: benches
	$(PYTHON) bench/run.py --build $(BUILD) $(BENCH_ARGS)

# Recall against queries per second, beside the peers that ann-peers could install or build.
ann-peers: $(ANN_OBJ)
	OBJECTS=$(abspath $(BUILD))/obj/bench/ann bench/ann/peers.sh $(BUILD)/ann-peers
ANN_PYTHON = $(or $(wildcard $(BUILD)/ann-peers/venv/bin/python),$(PYTHON))
bench-ann: $(BUILD)/bench/ann
	$(ANN_PYTHON) bench/ann/selftest.py $<
	$(ANN_PYTHON) bench/run_ann.py --build $(BUILD) $(BENCH_ARGS)

# ---- the whole ---------------------------------------------------------------------------------

lint:
	$(PYTHON) tools/lint.py
quick: lint lib cli test
check:
	tools/deps.sh check
	$(PYTHON) tools/check.py --build $(BUILD) $(STEPS)
# Each run with seeds of its own, printed; PV_SEED=... replays.
soak: PV_SEED ?= time
soak:
	tools/deps.sh soak
	+PV_SOAK=1 PV_SEED=$(PV_SEED) $(MAKE) SUITE_SECONDS=36000 suites sched
	+$(MAKE) fuzz FUZZ_SECONDS=600
	+$(MAKE) coverage
	+$(MAKE) benches
	$(PYTHON) bench/run_open.py --build $(BUILD) --long
	$(PYTHON) tools/mutants.py
	+PIRAMIDDB_RUNS=2000 $(MAKE) python
	PV_SOAK=1 sh tests/spin/run.sh
# Planted bugs, each of which a named test must find.
mutants:
	tools/deps.sh soak
	$(PYTHON) tools/mutants.py

demo:
	tools/deps.sh demo
	+$(MAKE) all
	BUILD=$(abspath $(BUILD)) tools/demo.sh

install: lib cli
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig \
		$(DESTDIR)$(PREFIX)/bin
	install -m 644 include/pv.h include/pv_unstable.h $(DESTDIR)$(PREFIX)/include
	install -m 644 $(LIB_A) $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(LIB_SO) $(DESTDIR)$(PREFIX)/lib
	ln -sf libpiramid.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libpiramid.so.$(SOVERSION)
	ln -sf libpiramid.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libpiramid.so
	sed -e 's|@prefix@|$(PREFIX)|' -e 's|@version@|$(VERSION)|' \
		-e 's|@requires_private@|$(if $(filter 1,$(ZSTD)),libzstd)|' \
		piramid.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/piramid.pc
	$(if $(CLI),install -m 755 $(CLI) $(DESTDIR)$(PREFIX)/bin)

clean:
	rm -rf $(BUILD)

help:
	@echo 'make [all]        static and shared library, the program piramid, the examples'
	@echo 'make demo         install what is missing, build, and run a short tour'
	@echo 'make check        install what is missing and run every test (under 30 minutes)'
	@echo 'make quick        lint, build and unit tests (under a minute)'
	@echo 'make test         unit tests; TESTS="alloc map" picks some'
	@echo 'make suites       crash, model and thread suites'
	@echo 'make scripts      tests of the command line'
	@echo 'make python       the Python package: install it into an environment and test it there'
	@echo 'make asan tsan    unit tests under the sanitizers, in a build folder of their own'
	@echo 'make aarch64      unit tests for arm64, cross-compiled and run by QEMU; aarch64-base: an old one'
	@echo 'make coverage     lines of lib/ that the tests reach; lib/store and lib/tree: 95 %'
	@echo 'make sched        the store under a scheduler that follows from a seed'
	@echo 'make fake         tests of the tree over a store that forgives nothing'
	@echo 'make amalgamation build/amalgamation/pv.c + pv.h;  test-pv: the unit tests on pv.c'
	@echo 'make corpora      replay the fuzz corpora;  fuzz FUZZ_SECONDS=30: AFL++ on each target, CPU time'
	@echo 'make bench        ratios against peers, short; BENCH_LONG=1 for figures to quote'
	@echo 'make bench-ann    recall against speed beside the peers that make ann-peers installs'
	@echo 'make soak         the larger suites and the fuzzers for hours'
	@echo 'make lint benches seeds install PREFIX= DESTDIR= clean'
	@echo 'Variables: BUILD CC CFLAGS WERROR ZSTD DEBUG SAN LAYERS; see the top of the Makefile'

-include $(LIB_OBJ:.o=.d) $(shell find $(BUILD)/obj $(BUILD)/pv-tests -name '*.d' 2>/dev/null)
