# Tidemill. `make help` lists the targets.

BUILD   ?= build
CC      ?= cc
OPT     ?= -O2
WERROR  ?= $(if $(CI),-Werror)
PKGS    := libnats libuv lua5.4 lua5.4-cjson libmicrohttpd libcrypto
VERSION := 0.1.0

# V=1 shows the commands whole.
Q        = $(if $(V),,@)
say      = $(if $(V),@:,@printf '  %-4s %s\n' $(1) $(2))

# The flags Debian hardens its own packages with; scripts/check-hardening looks for what they do.
HARDEN_x86_64  := -fcf-protection
HARDEN_aarch64 := -mbranch-protection=standard
MACHINE        := $(shell uname -m)
HARDEN  ?= -fstack-protector-strong -fstack-clash-protection $(HARDEN_$(MACHINE)) \
           -D_FORTIFY_SOURCE=2 -Wformat -Werror=format-security -fPIE
CFLAGS  += -std=c11 -D_GNU_SOURCE $(OPT) $(SANITIZED) $(COUNTED_LINES) -g -Wall -Wextra -Wpedantic -Wshadow \
           -Wstrict-prototypes -Wmissing-prototypes $(WERROR) $(HARDEN) -pthread -Isrc -DTIDEMILL_VERSION='"$(VERSION)"'
LDFLAGS += -pie -Wl,-z,relro,-z,now,-z,noexecstack -pthread $(SANITIZED) \
           $(if $(COVERAGE),--coverage -Wl$(comma)--wrap=_exit $(BUILD)/tests/coverage/exit.o)

# SANITIZE=address,undefined or thread, where a fault ends the program; or memcheck, whose builds
# tests/sanitizer.h must know.
SANITIZED     = $(if $(SANITIZE),-fno-omit-frame-pointer $(if $(filter memcheck,$(SANITIZE)),-DMEMCHECK,\
                  -fsanitize=$(SANITIZE) -fno-sanitize-recover=all))
comma        := ,

# COVERAGE=1: each line counts how often it has run.
COUNTED_LINES = $(if $(COVERAGE),--coverage -fprofile-update=atomic -DCOVERAGE) $(if $(GC_STRESS),-DGC_STRESS)

# Looked up once, and only when something is compiled (scripts/setup may have to come first).
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)

LUA_SOURCES := $(wildcard src/lua/*.lua)
SOURCES     := $(wildcard src/*/*.c)
OBJECTS     := $(SOURCES:src/%.c=$(BUILD)/obj/%.o) $(LUA_SOURCES:src/lua/%.lua=$(BUILD)/obj/lua/%.o)
LIBRARY     := $(BUILD)/libtidemill.a
PROGRAM     := $(BUILD)/tidemill

UNIT_TESTS        := $(patsubst tests/unit/test_%.c,$(BUILD)/tests/unit_%,$(wildcard tests/unit/test_*.c))
INTEGRATION_TESTS := $(patsubst tests/integration/test_%.c,$(BUILD)/tests/integration_%,\
                       $(wildcard tests/integration/test_*.c))
HARNESS           := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%.o,\
                       $(filter-out tests/integration/test_%,$(wildcard tests/integration/*.c)))
SCRIPT_TESTS      := $(patsubst tests/script/%,$(BUILD)/tests/script_%,$(wildcard tests/script/*))
FILTER            := $(BUILD)/tests/filter.o
# What has to do with a Lua state, but for what measures time or lets allocations fail by itself.
GC_STRESS_TESTS   := $(patsubst %,$(BUILD)/tests/unit_%,api call config config_problems embedded engine failure guards \
                       guide json json_decode json_encode json_lazy json_lazy_memory json_outline kv lint luafile \
                       message rule sandbox schedule state testing vocabulary)
FAULT_TESTS       := $(filter $(BUILD)/tests/unit_faults_%,$(UNIT_TESTS))
CHAOS             := $(patsubst tests/chaos/%.c,$(BUILD)/tests/chaos/%.o,\
                       $(filter-out tests/chaos/main.c,$(wildcard tests/chaos/*.c)))
SOAK              := $(patsubst tests/soak/%.c,$(BUILD)/tests/soak/%.o,\
                       $(filter-out tests/soak/main.c,$(wildcard tests/soak/*.c)))

# What the runner of the benchmark is made of, and the programs it compares tidemill with.
BENCH             := $(patsubst %,$(BUILD)/bench/%.o,run stage trial usage workload samples latency \
                       reading socket rounds compare grow downstream) \
                     $(patsubst %,$(BUILD)/tests/integration/%.o,server process loopback)
REFERENCES        := $(patsubst %,$(BUILD)/bench/%,floor fetch drain throttle)

# What the count of instructions is made of: always built in the same way, whatever OPT and CFLAGS say.
COUNTED           := $(patsubst %.c,$(BUILD)/counted/%.o,bench/instructions.c src/mill/rehearsal.c \
                       $(wildcard src/base/*.c src/rules/*.c)) $(LUA_SOURCES:src/lua/%.lua=$(BUILD)/obj/lua/%.o)
COUNTED_FLAGS     := -std=c11 -D_GNU_SOURCE -O2 -g -Isrc -DTIDEMILL_VERSION='"$(VERSION)"' -pthread

BENCH_FLAGS        = $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(N),--count $(N)) \
                     $(if $(BYTES),--bytes $(BYTES)) $(if $(ALERTS),--alerts $(ALERTS)) \
                     $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) \
                     $(if $(PROGRAMS),--programs "$(PROGRAMS)") $(if $(BATCH),--batch $(BATCH)) \
                     $(if $(BURN),--burn $(BURN))

# What the fuzzers call, in clang's own instrumented build: compiled once for all of them.
FUZZERS           := $(addprefix $(BUILD)/fuzz/,$(or $(FUZZ),\
                       $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))))
FUZZED            := $(patsubst src/%.c,$(BUILD)/fuzz/obj/%.o,$(wildcard src/base/*.c src/rules/*.c) \
                       $(patsubst %,src/bus/%.c,creds json_scan library nkey puback wire) \
                       $(patsubst %,src/ops/%.c,address escape)) \
                     $(LUA_SOURCES:src/lua/%.lua=$(BUILD)/obj/lua/%.o)
FUZZ_FLAGS        := -std=c11 -D_GNU_SOURCE -O1 -gline-tables-only -Wall -Wextra -Isrc -pthread \
                     -DTIDEMILL_VERSION='"$(VERSION)"' -fno-omit-frame-pointer \
                     -fsanitize=address,undefined -fno-sanitize-recover=all -D__SANITIZE_ADDRESS__ # as gcc says

.PHONY: gcstress gcstress-here compat container-check coverage soak bench bench-instructions bench-json fuzz all setup demo test unit chaos asan tsan valgrind lint format clean help
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# What a recipe builds is built by all processors, unless -j has said otherwise.
SPREAD = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

all: setup ## build build/tidemill
	@$(MAKE) --no-print-directory $(SPREAD) $(PROGRAM)

setup: ## install what is missing (Debian packages); silent when nothing is
	@scripts/setup

demo: all ## the main job on a private nats-server: readings in, alerts out, a reload in the middle
	@scripts/demo

test: setup ## all tests, unit and integration (TESTS=name runs those whose name contains it)
	@scripts/setup test
	@scripts/promtool $(BUILD)/tools || echo "the tests that need promtool are skipped" >&2
	@$(MAKE) --no-print-directory $(SPREAD) $(PROGRAM) $(UNIT_TESTS) $(INTEGRATION_TESTS) $(SCRIPT_TESTS)
	@PATH="$(abspath $(BUILD)/tools):$$PATH" scripts/run-tests $(BUILD)/tests

unit: setup ## the unit tests alone
	@$(MAKE) --no-print-directory $(SPREAD) $(UNIT_TESTS)
	@scripts/run-tests $(BUILD)/tests unit_

chaos: setup ## kill, pause and reload at random, lose and double nothing (SEED= INPUTS= SECONDS_OF_FAULTS= ROUNDS= ACK=)
	@$(MAKE) --no-print-directory $(SPREAD) $(PROGRAM) $(BUILD)/tests/chaos/chaos
	@PATH="$$PATH:/usr/sbin" TIDEMILL=$(abspath $(PROGRAM)) $(BUILD)/tests/chaos/chaos \
	  $(if $(SEED),--seed $(SEED)) $(if $(INPUTS),--inputs $(INPUTS)) \
	  $(if $(SECONDS_OF_FAULTS),--seconds $(SECONDS_OF_FAULTS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(ACK),--ack $(ACK))

soak: setup ## 15 minutes of mixed traffic, disturbed: exactly once, and nothing grows (SECONDS=900)
	@$(MAKE) --no-print-directory $(SPREAD) $(PROGRAM) $(BUILD)/tests/soak/soak
	@PATH="$$PATH:/usr/sbin" TIDEMILL=$(abspath $(PROGRAM)) $(BUILD)/tests/soak/soak $(SECONDS)

# The unit and integration tests in a build of its own: folder, SANITIZE, patience, programs left out.
# (The + of those recipes: make does not see by itself that there is a make in it.)
# The hardening flags would only stand between the checker and the fault; everything takes longer, so
# the tests' patience grows. Warnings stay warnings: the compiler guesses worse about such code.
checked = HARNESS_PATIENCE=$(3) TEST_TIMEOUT=1800 SKIP="$(4)" $(MAKE) --no-print-directory \
            BUILD=$(BUILD)/$(1) OPT=-O1 HARDEN= WERROR= SANITIZE=$(2) SCRIPT_TESTS= test

asan: setup ## unit and integration tests under AddressSanitizer with leak detection, and UndefinedBehaviorSanitizer
	+@UBSAN_OPTIONS=print_stacktrace=1 $(call checked,asan,address$(comma)undefined,4)

# Left out are four of one thread that leave thousands of C functions by Lua's longjmp: the sanitizer's
# shadow stack keeps each, and overflows, or takes all memory. A second SIGTERM ends a process with its threads, on purpose.
tsan: setup ## the same under ThreadSanitizer
	+@TSAN_OPTIONS=report_thread_leaks=0:atexit_sleep_ms=0:suppressions=$(abspath tests/tsan.supp) \
	  $(call checked,tsan,thread,4,unit_pattern unit_hostile_rules unit_faults_json unit_faults_rules)

# Left out is what shows that rules which take too much are stopped in time, and nothing else: what
# takes a tenth of a second elsewhere is a matter of minutes here. And what takes a tidemill's sockets by
# pidfd_getfd, which valgrind does not know, or holds one of its threads: valgrind runs one at a time.
valgrind: LEFT_OUT := unit_hostile_rules integration_hostile_rules integration_cut_connections integration_watchdog
valgrind: setup ## the same under valgrind's memcheck, leaks are errors (35 min)
	+@WRAPPER=scripts/memcheck INTEGRATION_JOBS=$(or $(INTEGRATION_JOBS),4) \
	  $(call checked,valgrind,memcheck,10,$(LEFT_OUT))

# Rules run hundreds of times slower there; tests/sanitizer.h knows.
gcstress: setup ## the engine's unit tests with a full collection at every new object, under AddressSanitizer
	@scripts/setup test
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/gcstress OPT=-O1 HARDEN= WERROR= SANITIZE=address$(comma)undefined \
	  GC_STRESS=1 gcstress-here

gcstress-here:
	@$(MAKE) --no-print-directory $(SPREAD) $(GC_STRESS_TESTS)
	@TEST_TIMEOUT=1800 scripts/run-tests $(BUILD)/tests unit_

# Left out are the scripts that look at how the program is built, or measure it.
coverage: setup ## line coverage of src/ by make test, at least 85 %, per file (6 min; not in CI)
	@scripts/setup coverage
	@find $(BUILD)/coverage -name '*.gcda' -delete 2>/dev/null || true
	@SKIP="script_hardening script_instructions script_bench" HARNESS_PATIENCE=2 \
	  $(MAKE) --no-print-directory BUILD=$(BUILD)/coverage OPT=-O1 HARDEN= COVERAGE=1 test
	@scripts/coverage $(BUILD)/coverage 85

compat: ## all tests in a Debian 13, and the server's with the newest nats-server (TESTS=)
	@TESTS=$(TESTS) scripts/compat-check

container-check: ## the image and the compose file with a real engine: reload, crash, scale, drain, count
	@scripts/container-check

lint: setup ## format check, static analysis, shell and Lua lint, the include rules
	@scripts/setup lint
	@scripts/lint

bench: setup ## tidemill beside a bare socket and libnats (SCENARIO= N= BYTES= ALERTS= ROUNDS= SECONDS= PROGRAMS= BATCH= BURN=)
	@$(MAKE) --no-print-directory $(SPREAD) $(PROGRAM) $(BUILD)/bench/run $(REFERENCES)
	@PATH="$$PATH:/usr/sbin" TIDEMILL=$(abspath $(PROGRAM)) $(BUILD)/bench/run $(BENCH_FLAGS)

bench-instructions: setup ## instructions per message, against the figure kept (RECORD=1 keeps it, PROFILE=1 explains it)
	@scripts/setup test
	@$(MAKE) --no-print-directory $(SPREAD) $(BUILD)/bench/instructions
	@scripts/bench-instructions $(if $(RECORD),--record) $(if $(PROFILE),--profile) $(BUILD)/bench/instructions

bench-json: setup ## the JSON codec beside lua-cjson
	@$(MAKE) --no-print-directory $(SPREAD) $(BUILD)/bench/json
	@$(BUILD)/bench/json

fuzz: setup ## feed the parsers what nobody would send, SECONDS= each (30; FUZZ="json units" runs these only)
	@scripts/setup fuzz
	@$(MAKE) --no-print-directory $(SPREAD) $(FUZZERS)
	@scripts/fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(BUILD)/fuzz $(notdir $(FUZZERS))

format: ## rewrite the C sources with clang-format
	@clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

clean: ## remove build/
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r target text; do printf '  make %-15s %s\n' "$$target" "$$text"; done

# Where lines are counted, everything is linked with what writes the counts down at the end.
COVERAGE_END := $(if $(COVERAGE),$(BUILD)/tests/coverage/exit.o)
$(PROGRAM) $(UNIT_TESTS) $(INTEGRATION_TESTS): | $(COVERAGE_END)

$(PROGRAM): $(BUILD)/obj/cmd/main.o $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

$(LIBRARY): $(filter-out $(BUILD)/obj/cmd/main.o,$(OBJECTS))
	@rm -f $@ # and q, not r: members of one name from two folders both stay
	$(call say,AR,$@)
	$(Q)$(AR) qcs $@ $^

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

# A Lua source becomes the symbols _binary_src_lua_NAME_lua_start and _end.
$(BUILD)/obj/lua/%.o: src/lua/%.lua
	@mkdir -p $(@D)
	$(call say,LD,$<)
	$(Q)$(LD) -r -b binary -z noexecstack -o $@ $<

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) $(PKG_CFLAGS) -Itests -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit_%: $(BUILD)/tests/unit/test_%.o $(FILTER) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) $(WRAPS) -o $@ $^ -lcmocka $(PKG_LIBS) -lm

# Allocations fail there on request (tests/alloc_faults.h).
$(FAULT_TESTS): $(BUILD)/tests/alloc_faults.o
$(FAULT_TESTS): WRAPS := $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc free strdup strndup asprintf \
  __asprintf_chk aligned_alloc opendir fopen open_memstream)

# tests/gc_stress.c
ifneq ($(GC_STRESS),)
$(GC_STRESS_TESTS): $(BUILD)/tests/gc_stress.o
$(GC_STRESS_TESTS): WRAPS := $(patsubst %,-Wl$(comma)--wrap=lua_%,newstate close getallocf setallocf)
endif

$(BUILD)/tests/script_%: tests/script/%
	@mkdir -p $(@D)
	@install -m 755 $< $@

$(BUILD)/tests/integration_chaos: $(CHAOS)

$(BUILD)/tests/chaos/chaos: $(BUILD)/tests/chaos/main.o $(CHAOS) $(HARNESS) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(PKG_LIBS) -lm

$(BUILD)/tests/integration_soak: $(SOAK)

$(BUILD)/tests/soak/soak: $(BUILD)/tests/soak/main.o $(SOAK) $(HARNESS) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(PKG_LIBS) -lm

$(BUILD)/tests/integration_%: $(BUILD)/tests/integration/test_%.o $(HARNESS) $(FILTER) $(LIBRARY)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(PKG_LIBS) -lm

$(BUILD)/bench/%.o: bench/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) $(PKG_CFLAGS) -Itests -MMD -MP -c -o $@ $<

# Only the libraries a program calls: the yardsticks carry none for nothing.
$(BUILD)/bench/%: $(BUILD)/bench/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--as-needed -o $@ $^ $(PKG_LIBS) $(YARDSTICK_LIBS) -lm

$(BUILD)/counted/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,"$< (counted)")
	$(Q)$(CC) $(COUNTED_FLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/bench/instructions: $(COUNTED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread -Wl,--as-needed -o $@ $^ $(PKG_LIBS) -lm

$(BUILD)/tests/script_instructions: $(BUILD)/bench/instructions
$(BUILD)/tests/script_bench: $(BUILD)/bench/run $(REFERENCES) $(PROGRAM)

$(BUILD)/bench/json: $(LIBRARY)
$(BUILD)/bench/run: $(BENCH) $(LIBRARY)
$(BUILD)/bench/floor: $(patsubst %,$(BUILD)/bench/%.o,socket pulls options reading) $(LIBRARY)
$(BUILD)/bench/drain: $(patsubst %,$(BUILD)/bench/%.o,socket pulls options) $(LIBRARY)
$(BUILD)/bench/throttle: $(patsubst %,$(BUILD)/bench/%.o,socket) $(LIBRARY)
$(BUILD)/bench/fetch: $(patsubst %,$(BUILD)/bench/%.o,options reading document) $(LIBRARY)
$(BUILD)/bench/fetch: YARDSTICK_LIBS := -lcjson

$(BUILD)/fuzz/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CC,"$< (fuzzed)")
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/libtidemill.a: $(FUZZED) Makefile
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) qcs $@ $(FUZZED)

$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.h) $(BUILD)/fuzz/libtidemill.a
	$(call say,LINK,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer $(PKG_CFLAGS) -Wl,--as-needed -o $@ $(filter-out %.h,$^) \
	  $(PKG_LIBS) -lm

.SECONDARY:
-include $(wildcard $(BUILD)/obj/*/*.d $(BUILD)/tests/*/*.d $(BUILD)/bench/*.d $(BUILD)/counted/*/*.d \
  $(BUILD)/counted/*/*/*.d $(BUILD)/fuzz/obj/*/*.d)
