# Thin: every target also works as plain CMake. CH=04 narrows `test` to one chapter.
.PHONY: setup build run test clean help
help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)
setup:           ## install what is missing (SKIP_DEPS=1: only check)
	@scripts/setup.sh
build: setup     ## compile everything
	@cmake --preset release && cmake --build --preset release --parallel
test: build      ## compile and run the tests
	@ctest --preset release -LE slow $(if $(CH),-L ch$(CH))
run: build       ## run the finished chapters in order; pictures land in out/
	@for program in build/bin/[0-9][0-9]_*; do $$program || exit 1; done
clean:           ## remove what was built and drawn
	@rm -rf build build-* out
