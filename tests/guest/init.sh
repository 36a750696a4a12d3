#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# PID 1 of the guest.  The kernel's command line says what to do:
#
#   qcf_stage=probe    nothing: the machine can run a guest
#   qcf_stage=write    mount /dev/vda, write files with checksums, sync
#   qcf_stage=verify   mount each of /dev/vd[ab] that exists, verify all files
#                      the first stage wrote and the payload the host wrote
#
# The last line on the console is "QCF-GUEST done STAGE" if all went well, or
# "QCF-GUEST failed WHAT"; then the guest powers off.  (set -e would end PID 1
# and panic the kernel, hence the explicit checks.)

b=/bin/busybox

fail()
{
	echo "QCF-GUEST failed $*"
	$b dmesg | $b tail -n 20
	$b poweroff -f
}

load_modules()
{
	while read -r module; do
		$b insmod "/modules/$module" || fail "insmod $module"
	done </modules/order
}

wait_for()
{
	tries=0
	while [ ! -b "$1" ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || fail "no $1"
		$b usleep 100000
	done
}

mount_disk()
{
	$b mount -t ext4 "$@" || fail "mount $*"
}

# Many small files, a few large ones, holes, renames and deletions: the ext4
# metadata is rewritten many times and the image sees small, unaligned-to-
# cluster writes as well as long runs.
write_files()
{
	cd /mnt || fail "cd"
	$b mkdir guest guest/small || fail mkdir
	i=0
	while [ $i -lt 300 ]; do
		echo "file $i of the first boot" >"guest/small/$i" || fail small
		i=$((i + 1))
	done
	$b dd if=/dev/urandom of=guest/large bs=1M count=24 2>/dev/null ||
		fail large
	$b dd if=/dev/urandom of=guest/sparse bs=4k count=3 seek=7777 \
		2>/dev/null || fail sparse
	$b dd if=/dev/urandom of=guest/doomed bs=1M count=16 2>/dev/null ||
		fail doomed
	$b sync
	$b rm guest/doomed guest/small/1?? || fail rm
	$b mv guest/small/7 guest/renamed || fail mv
	$b dd if=/dev/urandom of=guest/large bs=4k count=100 seek=1000 \
		conv=notrunc 2>/dev/null || fail rewrite
	$b cp -r base guest/copy-of-base || fail cp
	$b find guest -type f -exec $b sha256sum {} + >SHA256SUMS || fail sums
	$b sync
	$b fstrim /mnt || fail fstrim
	cd / || fail "cd"
}

verify_files()
{
	cd /mnt || fail "cd"
	$b sha256sum -c SHA256SUMS >/sums.log || {
		$b grep -v ': OK$' /sums.log
		fail "checksums on $1"
	}
	count=$($b grep -c ': OK$' /sums.log)
	[ "$count" -ge 200 ] || fail "only $count files on $1"
	[ ! -e guest/doomed ] || fail "a deleted file is back on $1"
	echo "QCF-GUEST payload $1 $($b sha256sum <payload)"
	cd / || fail "cd"
}

stage_write()
{
	wait_for /dev/vda
	mount_disk /dev/vda /mnt
	write_files
	$b umount /mnt || fail umount
}

stage_verify()
{
	wait_for /dev/vda
	for disk in vda vdb; do
		[ -b /dev/$disk ] || continue
		mount_disk /dev/$disk /mnt
		verify_files $disk
		echo "second boot" >/mnt/second-boot || fail "write on $disk"
		$b umount /mnt || fail "umount $disk"
	done
}

$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
load_modules
stage=$($b sed -n 's/.*qcf_stage=\([a-z]*\).*/\1/p' /proc/cmdline)
case $stage in
probe) ;;
write) stage_write ;;
verify) stage_verify ;;
*) fail "stage '$stage'" ;;
esac
$b sync
echo "QCF-GUEST done $stage"
$b poweroff -f
