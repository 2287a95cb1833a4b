# SPDX-License-Identifier: GPL-2.0

define help
make demo     boot a guest in which programs talk over PF_SP sockets
make test     run all tests; T="req*" runs some
make test-debug   the same on a kernel that checks all it does; builds it first
make unit     the pure code's suites on this machine, in seconds; T="re*"
make shell    a shell in a guest with the module loaded
make modules  build sp.ko for the test kernel, or with KDIR=... for another
make lint     check the sources: format, lints, oldest rustc, licences
make clean    remove what was built here

What is downloaded and the test kernels are in $${SP_CACHE:-~/.cache/pf-sp}.
KSRC= is a kernel source to use; RUSTC=, BINDGEN= and LLVM= are compilers.
endef

.PHONY: help demo test test-debug unit shell modules modules_install lint clean

help:
	$(info $(help))
	@:

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh stock '$(T)'

test-debug:
	@scripts/test.sh debug '$(T)'

unit:
	@scripts/unit.sh '$(T)'

shell:
	@scripts/shell.sh

lint:
	@scripts/lint.sh

ifdef KDIR
modules modules_install clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) $@
else
modules:
	+@scripts/build-module.sh stock stock

clean:
	rm -rf build
endif
