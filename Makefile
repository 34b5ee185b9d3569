# Short names for what CMake and the scripts do.
#   make run CH=04 ARGS="--preset smoke"     one chapter, with options for its program
#   make test CH=04 PRESET=asan SLOW=1       one chapter's tests, with sanitizers, the slow ones too
PRESET ?= release
BUILD := $(if $(filter release,$(PRESET)),build,build-$(PRESET))
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
SOURCES = $(shell git ls-files -co --exclude-standard '*.hpp' '*.cpp' '*.cu')
# Compiles everything, or with --target what is named after it.
COMPILE = cmake --preset $(PRESET) >/dev/null && cmake --build $(BUILD) --parallel $(JOBS)
MAKEFLAGS += --no-print-directory
.PHONY: help setup build run test peers fuzz figures bench gpu notebooks handout grade prove museum next hint check format tidy clean
.DEFAULT_GOAL := help

help:     ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
setup:    ## install what is missing (SKIP_DEPS=1 only looks)
	@scripts/setup.sh
build: setup  ## compile everything
	@$(COMPILE)
run: setup  ## run every chapter in order; pictures and numbers in out/index.html
	@$(COMPILE) --target $(if $(CH),gallery $(notdir $(wildcard chapters/$(CH)_*)),experiments)
	@scripts/run.sh $(BUILD)/bin "$(CH)" $(ARGS)
test: setup  ## run the tests
	@$(COMPILE) --target $(if $(CH),tests_$(CH),tests)
	@SLOW=$(SLOW) scripts/test.sh $(BUILD) $(CH)
peers: setup  ## hold modules and drawings against diffusers and transformers (PIP_ARGS=... for pip)
	@$(COMPILE) --target module 04_unet 06_ddim
	@scripts/peers.sh $(BUILD)/bin $(ARGS) || [ $$? = 77 ]
fuzz: setup  ## look for files that break their reader, with clang++: FOR=60 seconds each, FORMAT=npy (all)
	@scripts/fuzz.sh "$(or $(FOR),60)" $(FORMAT)
figures: build  ## run every chapter and renew the lessons' figures
	@FIGURES=1 scripts/run.sh $(BUILD)/bin "$(CH)" $(ARGS)
bench: build  ## time kernels and network, and PyTorch in turn where it is installed
	@$(BUILD)/bin/bench $(ARGS)
	@scripts/bench.sh $(BUILD)/bin
gpu: build  ## on a machine with an NVIDIA GPU: check and time all kernels
	@scripts/gpu.sh $(BUILD)/bin
notebooks: ## execute every notebook and hold it against what the programs wrote
	@scripts/setup.sh notebooks
	@$(MAKE) build
	@scripts/notebooks.sh $(BUILD)/bin
handout:  ## a student's tree with the exercises open: CH=03 (or all) OUT=FOLDER
	@course/handout.py --chapter "$(or $(CH),all)" --out "$(or $(OUT),$(error OUT=FOLDER is missing))"
grade:    ## grade a student's tree, or a folder of them: DIR=FOLDER CH=03 REFERENCE=3.1,3.2 VARIANT=7
	@course/grade.py --dir "$(or $(DIR),$(error DIR=FOLDER is missing))" $(if $(CH),--chapter $(CH)) $(if $(REFERENCE),--reference $(REFERENCE)) \
		$(if $(VARIANT),--variant $(VARIANT))
prove:    ## prove that the exercises can be handed out and graded (CH=01,04: those)
	@course/prove.py $(if $(CH),--chapters $(CH))
museum:   ## apply every published mistake: its test must fail (CH=01,04: those; BUG=07: show one)
	@course/museum.py $(if $(CH),--chapters $(CH)) $(if $(BUG),--show $(BUG))
next:     ## the first exercise that is still open
	@course/student.py next
hint:     ## a hint for an exercise: EX=3.2 (MORE=1: the equations that it needs)
	@course/student.py hint $(EX) $(if $(MORE),--more)
check:    ## build and test an exercise: EX=3.2 (WATCH=1: again at every save)
	@course/student.py check $(EX) $(if $(WATCH),--watch)
format:   ## lay out all sources with clang-format
	@clang-format -i $(SOURCES)
tidy: build  ## check all sources with clang-tidy
	@clang-tidy --quiet -p $(BUILD) $(filter %.cpp,$(SOURCES))
clean:    ## remove what was built and drawn
	@rm -rf build build-* out
