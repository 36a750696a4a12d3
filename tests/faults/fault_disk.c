/* SPDX-License-Identifier: MIT */
/* fault_disk.c - the bytes of an image file, behind storage of an application */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "fault_disk.h"
#include "fault_points.h"

#define SECTOR 512u

void fault_disk_init(struct fault_disk *disk)
{
	*disk = (struct fault_disk){ .bytes = calloc(1, FAULT_DISK_CAPACITY) };
	if (disk->bytes == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
}

void fault_disk_fini(struct fault_disk *disk)
{
	free(disk->bytes);
}

void fault_disk_load(struct fault_disk *disk, const void *bytes, size_t len)
{
	memcpy(disk->bytes, bytes, len);
	if (disk->touched > len)
		memset(disk->bytes + len, 0, disk->touched - len);
	disk->touched = len;
	disk->size = len;
	disk->flush_faults = 0;
}

void fault_disk_copy(struct fault_disk *to, const struct fault_disk *from)
{
	static const uint8_t none[1];

	if (from == NULL)
		fault_disk_load(to, none, 0);
	else
		fault_disk_load(to, from->bytes, from->size);
}

static bool fits(uint64_t offset, uint64_t len)
{
	return offset <= FAULT_DISK_CAPACITY &&
	       len <= FAULT_DISK_CAPACITY - offset;
}

static void grow(struct fault_disk *disk, uint64_t end)
{
	disk->size = QCF_MAX(disk->size, (size_t)end);
	disk->touched = QCF_MAX(disk->touched, disk->size);
}

/* --------------------------------------------------------------- the functions */

static int64_t disk_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	const struct fault_disk *disk = opaque;
	const struct fault *fault = fault_at(FAULT_READ);

	if (fault != NULL && fault->error != 0)
		return -fault->error;
	if (offset >= disk->size)
		return 0;
	len = QCF_MIN(len, disk->size - (size_t)offset);
	memcpy(buffer, disk->bytes + offset, len);
	return (int64_t)len;
}

static void put(struct fault_disk *disk, const void *bytes, size_t len,
                uint64_t offset)
{
	grow(disk, offset + len);
	if (bytes == NULL)
		memset(disk->bytes + offset, 0, len);
	else
		memcpy(disk->bytes + offset, bytes, len);
}

/* What happens to a change that ends there. */
static const struct fault *fault_of_change(const struct fault_disk *disk,
                                           enum fault_site site, uint64_t end)
{
	const struct fault *fault = fault_at(site);

	return fault == NULL && end > disk->size ? fault_at(FAULT_SPACE)
	                                         : fault;
}

/* Write, or write the first part and fail. */
static int change(struct fault_disk *disk, enum fault_site site,
                  const void *bytes, size_t len, uint64_t offset)
{
	const struct fault *fault = fault_of_change(disk, site, offset + len);

	if (!fits(offset, len))
		return -ENOSPC;
	if (fault == NULL) {
		put(disk, bytes, len, offset);
		return 0;
	}
	if (fault->half && fault_half(offset, len) > 0)
		put(disk, bytes, fault_half(offset, len), offset);
	return -fault->error;
}

static int disk_pwrite(void *opaque, const void *buffer, size_t len,
                       uint64_t offset)
{
	return change(opaque, FAULT_WRITE, buffer, len, offset);
}

static int disk_flush(void *opaque)
{
	struct fault_disk *disk = opaque;
	const struct fault *fault = fault_at(FAULT_FLUSH);

	if (fault == NULL)
		return 0;
	disk->flush_faults++;
	return -fault->error;
}

static int disk_get_size(void *opaque, uint64_t *size)
{
	const struct fault_disk *disk = opaque;
	const struct fault *fault = fault_at(FAULT_SIZE);

	*size = disk->size;
	return fault == NULL ? 0 : -fault->error;
}

static int disk_truncate(void *opaque, uint64_t size)
{
	struct fault_disk *disk = opaque;
	const struct fault *fault = fault_at(FAULT_TRUNCATE);

	if (fault != NULL)
		return -fault->error;
	if (!fits(size, 0))
		return -ENOSPC;
	if (size < disk->size)
		memset(disk->bytes + size, 0, disk->size - (size_t)size);
	disk->size = (size_t)size;
	grow(disk, size);
	return 0;
}

static int disk_zero(void *opaque, uint64_t offset, uint64_t len)
{
	return change(opaque, FAULT_ZERO, NULL, (size_t)len, offset);
}

static int disk_discard(void *opaque, uint64_t offset, uint64_t len)
{
	struct fault_disk *disk = opaque;
	const struct fault *fault = fault_at(FAULT_DISCARD);

	if (fault != NULL)
		return -fault->error;
	/* Anything may be there afterwards. */
	if (offset < disk->size)
		memset(disk->bytes + offset, 0xd5,
		       QCF_MIN((size_t)len, disk->size - (size_t)offset));
	return 0;
}

static int disk_allocate(void *opaque, uint64_t offset, uint64_t len)
{
	struct fault_disk *disk = opaque;
	const struct fault *fault =
		fault_of_change(disk, FAULT_ALLOCATE, offset + len);

	if (!fits(offset, len))
		return -ENOSPC;
	if (fault == NULL || (fault->half && len > 1))
		grow(disk, offset + (fault == NULL ? len : len / 2));
	return fault == NULL ? 0 : -fault->error;
}

static bool is_data(const struct fault_disk *disk, uint64_t sector)
{
	static const uint8_t zeros[SECTOR];
	uint64_t at = sector * SECTOR;

	return at < disk->size &&
	       memcmp(disk->bytes + at, zeros,
	              QCF_MIN((size_t)SECTOR, disk->size - (size_t)at)) != 0;
}

/* Sectors of zeros are holes. */
static int disk_extent(void *opaque, uint64_t offset, uint64_t len,
                       uint64_t *run)
{
	const struct fault_disk *disk = opaque;
	const struct fault *fault = fault_at(FAULT_EXTENT);
	uint64_t sector = offset / SECTOR;
	uint64_t end = offset + len;
	bool data = is_data(disk, sector);

	if (fault != NULL)
		return -fault->error;
	do {
		sector++;
	} while (sector * SECTOR < end && is_data(disk, sector) == data);
	*run = QCF_MIN(sector * SECTOR, end) - offset;
	return data ? QCOWFMT_STORAGE_DATA : QCOWFMT_STORAGE_HOLE;
}

struct qcowfmt_storage_ops fault_disk_ops(bool writable)
{
	struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = disk_pread,
		.get_size = disk_get_size,
		.extent = disk_extent,
	};

	if (writable) {
		ops.pwrite = disk_pwrite;
		ops.flush = disk_flush;
		ops.truncate = disk_truncate;
		ops.zero = disk_zero;
		ops.discard = disk_discard;
		ops.allocate = disk_allocate;
	}
	return ops;
}
