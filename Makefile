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
make install      build for the running kernel, and install; as root
make uninstall    take that away
make deb          packages for Debian 13, in build/deb; DKMS builds the module
make clean    remove what was built here

What is downloaded and the test kernels are in $${SP_CACHE:-~/.cache/pf-sp}.
KSRC= is a kernel source to use; RUSTC=, BINDGEN= and LLVM= are compilers.
endef

.PHONY: help demo test test-debug test-kernels build-kernels test-deb bench bench-check profile unit shell modules modules_install lint clean \
	install uninstall install-dev uninstall-dev deb

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
# programs are compiled and written with.
VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
PREFIX  ?= /usr/local
headers := $(wildcard include/netinet/*.h include/uapi/linux/*.h)
dev     := $(patsubst include/uapi/%,include/%,$(headers)) $(patsubst man/%,share/man/man7/%,$(wildcard man/*.7)) \
	   share/pkgconfig/pf-sp.pc

install:
	@scripts/install.sh install $(KERNEL)
	@$(MAKE) -s install-dev

uninstall:
	@scripts/install.sh uninstall $(KERNEL)
	@$(MAKE) -s uninstall-dev

install-dev:
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/netinet include/netinet/*.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/linux include/uapi/linux/*.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man7 man/*.7
	install -d $(DESTDIR)$(PREFIX)/share/pkgconfig
	printf '%s\n' 'Name: PF_SP' 'Description: message patterns as sockets' 'Version: $(VERSION)' \
		'Cflags: -I$(PREFIX)/include' >$(DESTDIR)$(PREFIX)/share/pkgconfig/pf-sp.pc

uninstall-dev:
	rm -f $(dev:%=$(DESTDIR)$(PREFIX)/%)

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
