# SPDX-License-Identifier: GPL-2.0

define help
make demo     boot a guest in which programs talk over PF_SP sockets
make test     run all tests; T="req*" runs some
make test-debug   the same on a kernel that checks all it does; builds it first
make test-kernels the quick ones on each kernel that Debian 13 has
make test-deb the packages, in a Debian 13 made for that; as root
make bench    measure it beside TCP, AF_UNIX, libzmq, nanomsg and nng; QUICK=1
make bench-check  whether a message has become dearer; RENEW=1
make profile  what a message costs, by function; P="sp flood 64"
make unit     the pure code's suites on this machine, in seconds; T="re*"
make shell    a shell in a guest with the module loaded
make modules  build sp.ko for the test kernel, or with KDIR=... for another
make lint     check the sources: format, lints, oldest rustc, licences
make install      build for the running kernel, and install; as root. make install-dev:
              what programs are written with; make install-utils: spcat, spstat
make uninstall    take that away
make deb          packages for Debian 13, in build/deb; DKMS builds the module
make clean    remove what was built here

What is downloaded and the test kernels are in $${SP_CACHE:-~/.cache/pf-sp}.
KSRC= is a kernel source to use; RUSTC=, BINDGEN= and LLVM= are compilers.
endef

.PHONY: help demo test test-debug test-kernels build-kernels test-deb bench bench-check profile unit shell modules modules_install lint clean \
	install uninstall install-dev uninstall-dev install-utils uninstall-utils deb

help:
	$(info $(help))
	@:

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh stock '$(T)'

test-debug:
	@scripts/test.sh debug '$(T)'

test-kernels:
	@scripts/test-kernels.sh $(SUITES)

build-kernels:
	@scripts/test-kernels.sh --build $(SUITES)

test-deb:
	@scripts/test-deb.sh

bench:
	@scripts/bench.sh

bench-check:
	@scripts/bench.sh check

profile:
	@scripts/profile.sh $(P)

unit:
	@scripts/unit.sh '$(T)'

shell:
	@scripts/shell.sh

lint:
	@scripts/lint.sh

# The module is installed for KERNEL, by default the running one; install-dev is what
# programs are compiled and written with, install-utils are the tools.
VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
PREFIX  ?= /usr/local
headers := $(wildcard include/netinet/*.h include/uapi/linux/*.h)
dev     := $(patsubst include/uapi/%,include/%,$(headers)) $(patsubst man/%,share/man/man7/%,$(wildcard man/*.7)) \
	   share/pkgconfig/pf-sp.pc

install:
	@scripts/install.sh install $(KERNEL)
	@$(MAKE) -s install-dev install-utils

uninstall:
	@scripts/install.sh uninstall $(KERNEL)
	@$(MAKE) -s uninstall-dev uninstall-utils

install-dev:
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/netinet include/netinet/*.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/linux include/uapi/linux/*.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man7 man/*.7
	install -d $(DESTDIR)$(PREFIX)/share/pkgconfig
	printf '%s\n' 'Name: PF_SP' 'Description: message patterns as sockets' 'Version: $(VERSION)' \
		'Cflags: -I$(PREFIX)/include' >$(DESTDIR)$(PREFIX)/share/pkgconfig/pf-sp.pc

uninstall-dev:
	rm -f $(dev:%=$(DESTDIR)$(PREFIX)/%)

# They are built elsewhere, since root is only to read the user's tree. Wireshark has one
# place alone for what it loads for everybody, and tells where.
utils := spcat spstat
WIRESHARK ?= $(shell tshark -G folders 2>/dev/null | sed -n 's/^Global Lua Plugins:[[:space:]]*//p')

install-utils:
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && cp -r include userspace "$$out" && \
		$(MAKE) -s -C "$$out/userspace" $(utils:%=./%) && \
		install -D -t $(DESTDIR)$(PREFIX)/bin $(utils:%="$$out"/userspace/%)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(utils:%=man/%.1)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/bash-completion/completions userspace/completion/spcat
	$(if $(WIRESHARK),install -D -m 644 -t $(DESTDIR)$(WIRESHARK) userspace/wireshark/sp.lua)

uninstall-utils:
	rm -f $(utils:%=$(DESTDIR)$(PREFIX)/bin/%) $(utils:%=$(DESTDIR)$(PREFIX)/share/man/man1/%.1) \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/spcat $(if $(WIRESHARK),$(DESTDIR)$(WIRESHARK)/sp.lua)

deb:
	@scripts/deb.sh

ifdef KDIR
modules modules_install clean:
	@scripts/check-kdir.sh $(KDIR)
	$(MAKE) -C $(KDIR) M=$(CURDIR) $@
else
modules:
	+@scripts/build-module.sh stock stock

clean:
	rm -rf build
endif
