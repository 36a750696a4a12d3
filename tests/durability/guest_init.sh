#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# PID 1 of a guest whose disks are taken away and come back.  The kernel's command
# line has the seed of what it writes.

b=/bin/busybox

$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
while read -r module; do
	$b insmod "/modules/$module" || echo "no module $module"
done </modules/order
$b stty -F /dev/ttyS1 115200 raw -echo
seed=$($b sed -n 's/.*qcf_seed=\([0-9]*\).*/\1/p' /proc/cmdline)
/bin/guest_writer /dev/ttyS1 "$seed" /dev/vd[a-z]
echo "guest_writer has ended"
$b poweroff -f
