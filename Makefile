# Thin: every target also works as plain CMake. CH=04 narrows `test` to one chapter.
.PHONY: setup build test clean help
help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)
setup:           ## install what is missing (SKIP_DEPS=1: only check)
	@scripts/setup.sh
build: setup     ## compile everything
	@cmake --preset release && cmake --build --preset release --parallel
test: build      ## compile and run the tests
	@ctest --preset release -LE slow $(if $(CH),-L ch$(CH))
clean:           ## remove what was built and drawn
	@rm -rf build build-* out
