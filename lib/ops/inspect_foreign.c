/* SPDX-License-Identifier: MIT */
/*
 * inspect_foreign.c - what else a file could be taken for
 *
 * A qcow image cannot be mistaken for a format whose mark is where its own is: those
 * count for raw files only.  Guest data can have marks, too, by chance or by
 * intention; an image where they count is unusual in either case.
 */
#include <stdint.h>
#include <string.h>

#include "inspect_foreign.h"

#define MAX_MARK 20u

static const struct mark {
	const char *name;
	uint64_t offset;
	bool from_end; /* offset counts back from the end of the file */
	bool is_image; /* a disk image, which programs may probe for */
	uint8_t len;
	uint8_t bytes[MAX_MARK];
} marks[] = {
	{ "a boot sector or partition table",
	  510,
	  false,
	  false,
	  2,
	  { 0x55, 0xaa } },
	{ "a GUID partition table", 512, false, false, 8, "EFI PART" },
	{ "a GUID partition table with sectors of 4096 bytes", 4096, false,
	  false, 8, "EFI PART" },
	{ "a VDI image", 64, false, true, 4, { 0x7f, 0x10, 0xda, 0xbe } },
	{ "an ext2, ext3 or ext4 file system",
	  1080,
	  false,
	  false,
	  2,
	  { 0x53, 0xef } },
	{ "a btrfs file system", 65600, false, false, 8, "_BHRfS_M" },
	{ "an ISO 9660 file system", 32769, false, false, 5, "CD001" },
	{ "a UDF file system", 32769, false, false, 5, "BEA01" },
	{ "an LVM physical volume", 536, false, false, 8, "LVM2 001" },
	{ "a swap area", 4086, false, false, 8, "SWAPSPAC" },
	{ "a POSIX tar archive", 257, false, false, 5, "ustar" },
	{ "a VMDK image", 0, false, true, 4, "KDMV" },
	{ "a VMDK image of version 3", 0, false, true, 4, "COWD" },
	{ "a VMDK description", 0, false, true, 20, "# Disk DescriptorFil" },
	{ "a QED image", 0, false, true, 4, "QED" },
	{ "a VHDX image", 0, false, true, 8, "vhdxfile" },
	{ "a Parallels image", 0, false, true, 15, "WithoutFreeSpac" },
	{ "a Parallels image", 0, false, true, 15, "WithouFreSpacEx" },
	{ "a LUKS volume", 0, false, true, 6, "LUKS\xba\xbe" },
	{ "a Bochs image", 0, false, true, 16, "Bochs Virtual HD" },
	{ "a cloop image", 0, false, true, 17, "#!/bin/sh\n#V2.0 F" },
	{ "a VHD image of dynamic size", 0, false, true, 8, "conectix" },
	{ "a VHD image", 512, true, true, 8, "conectix" },
	{ "a DMG image", 512, true, true, 4, "koly" },
	{ "a ZIP archive", 22, true, false, 4, { 'P', 'K', 5, 6 } },
};

static int has_mark(struct qcowfmt_storage *storage, const struct mark *mark,
                    uint64_t size, bool *has, struct qcowfmt_error **errp)
{
	uint64_t offset = mark->offset;
	uint8_t bytes[MAX_MARK];
	int64_t got;

	*has = false;
	if (mark->from_end)
		offset = size < mark->offset ? size : size - mark->offset;
	if (offset >= size || size - offset < mark->len)
		return 0;
	got = qcf_storage_pread_padded(storage, bytes, mark->len, offset, errp);
	if (got < 0)
		return (int)got;
	*has = memcmp(bytes, mark->bytes, mark->len) == 0;
	return 0;
}

_Static_assert(QCF_ARRAY_LEN(marks) <= QCF_MAX_FOREIGN, "room for all names");

int qcf_inspect_foreign(struct qcowfmt_storage *storage, bool is_raw,
                        const char **names, size_t *count,
                        struct qcowfmt_error **errp)
{
	uint64_t size = 0;
	int ret = qcf_storage_get_size(storage, &size, errp);

	*count = 0;
	for (size_t i = 0; ret == 0 && i < QCF_ARRAY_LEN(marks); i++) {
		bool has = false;

		if (is_raw && !marks[i].is_image)
			continue;
		ret = has_mark(storage, &marks[i], size, &has, errp);
		if (has)
			names[(*count)++] = marks[i].name;
	}
	return ret;
}
