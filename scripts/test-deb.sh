#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test-deb.sh
#
# Installs what deb.sh makes in a fresh Debian 13 with the older of its kernels that
# will do, then the newer kernel: both from backports. Then boots that as it is in a
# guest, where guest-deb.sh uses, upgrades and removes the packages. Takes half an hour
# or more, 12 GB of disk, and root, for the new system's sake.
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=scripts/apt.sh
. "$scripts/apt.sh"
top=$(dirname "$scripts")
((!EUID)) || die 'this is for root'

"$scripts/setup-packages.sh" guest deb system
need_space 12000
work=$(mktemp -d -p "$cache" test-deb.XXXXXX)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT

older=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$top/debian/changelog")
newer=$older+1
mkdir "$work/debs"
for version in "$older" "$newer"; do
	"$scripts/deb.sh" "$version" >&2
	cp "$top"/build/deb/*.deb "$work/debs"
done

mirror=$(mirrors | head -n 1)
say 'making a Debian 13'
debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror" >"$work/log" 2>&1 ||
	{ tail "$work/log" >&2; die 'debootstrap failed'; }
echo "deb $mirror trixie-backports main" >"$root/etc/apt/sources.list.d/backports.list"

# inside COMMAND...: in that system, with its own processes and devices; as its owner
# would see it.
inside() {
	# shellcheck disable=SC2016 # the other shell's
	unshare -m -p -f sh -c 'mount -t proc proc "$0/proc" && mount -t devtmpfs dev "$0/dev" && exec chroot "$0" "$@"' \
		"$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}
add() {
	inside apt-get -qq -o Dpkg::Use-Pty=0 install -t trixie-backports -y --no-install-recommends "$@" >&2
}

inside apt-get -qq update
mapfile -t releases < <("$scripts/setup-stock.sh" trixie-backports list | grep -E '[0-9]-amd64$')
old=${releases[0]} new=${releases[-1]}
say "installing Linux $old, then the packages, then Linux $new"
add kmod iproute2 initramfs-tools gcc libc6-dev pkgconf \
	"linux-image-$old" "linux-headers-$old" "linux-source-$(cut -d . -f 1-2 <<<"$old")"
cp "$work"/debs/* "$root/root"
add "/root/pf-sp-dkms_${older}_all.deb" "/root/pf-sp-dev_${older}_all.deb" "/root/pf-sp-utils_${older}_amd64.deb" openssl
add "linux-image-$new" "linux-headers-$new" "linux-source-$(cut -d . -f 1-2 <<<"$new")"
inside dkms status >&2

cp "$top"/userspace/*.[ch] "$scripts/guest-deb.sh" "$root/root"
for program in hello hello_rep; do
	inside sh -c "cd /root && gcc \$(pkgconf --cflags pf-sp) -o $program $program.c $([[ $program == hello ]] || echo endpoint.c)"
done
cp "$root/boot/vmlinuz-$new" "$work/vmlinuz"
cp "$root/boot/initrd.img-$new" "$work/initrd"
say 'making its disk'
mke2fs -q -t ext4 -d "$root" "$work/disk" 8G
rm -rf --one-file-system "$root"

# boot APPEND: what guest-deb.sh prints there.
boot() {
	setpriv --pdeathsig TERM timeout --foreground 3600 qemu-system-x86_64 \
		-M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$work/vmlinuz" -initrd "$work/initrd" -drive "file=$work/disk,format=raw,if=virtio" -serial stdio \
		-append "root=/dev/vda ro console=ttyS0 quiet panic=-1 no_timer_check init=/root/guest-deb.sh $1 -- $older $newer" </dev/null |
		tr -d '\r'
}
{
	echo '#> begin signature'
	boot 'module.sig_enforce=1'
	echo '#> end signature 0'
	echo '#> begin packages'
	boot ''
	echo '#> end packages 0'
} | awk -v expected='signature packages' -f "$scripts/ktap.awk"
