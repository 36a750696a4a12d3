/* SPDX-License-Identifier: MIT */
/* tool_driver.c - the block drivers that QEMU's programs know */
#include "tool_driver.h"

#include <string.h>

#include "tool_util.h"

bool qcf_is_known_driver(const char *name)
{
	static const char *const drivers[] = {
		"blkdebug",
		"blklogwrites",
		"blkverify",
		"bochs",
		"cloop",
		"compress",
		"copy-on-read",
		"dmg",
		"file",
		"ftp",
		"ftps",
		"gluster",
		"host_cdrom",
		"host_device",
		"http",
		"https",
		"io_uring",
		"iscsi",
		"iser",
		"luks",
		"nbd",
		"nfs",
		"null-aio",
		"null-co",
		"nvme",
		"nvme-io_uring",
		"parallels",
		"preallocate",
		"qcow",
		"qcow2",
		"qed",
		"quorum",
		"raw",
		"rbd",
		"replication",
		"ssh",
		"throttle",
		"vdi",
		"vhdx",
		"virtio-blk-vfio-pci",
		"virtio-blk-vhost-user",
		"virtio-blk-vhost-vdpa",
		"vmdk",
		"vpc",
		"vvfat",
	};
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(drivers); i++) {
		if (strcmp(name, drivers[i]) == 0)
			return true;
	}
	return false;
}
