/* SPDX-License-Identifier: MIT */
/* api_disk.c - application-supplied storage whose failures a test controls */
#include "api_disk.h"

#include "api_test.h"

static int64_t disk_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	const struct api_disk *disk = opaque;
	uint64_t left = offset < disk->size ? disk->size - offset : 0;

	if (disk->fail_pread != 0)
		return -disk->fail_pread;
	if (len > left)
		len = (size_t)left;
	if (len > 0)
		memcpy(buffer, disk->bytes + offset, len);
	return (int64_t)len;
}

/* Twice as much each time: sanitizers copy whatever is made larger. */
static int disk_reserve(struct api_disk *disk, uint64_t size)
{
	uint64_t room = QCF_MAX(size + 1, 2 * disk->room);
	uint8_t *bytes;

	if (size < disk->room)
		return 0;
	bytes = realloc(disk->bytes, room);
	if (bytes == NULL)
		return -ENOMEM;
	disk->bytes = bytes;
	disk->room = room;
	return 0;
}

static int disk_resize(struct api_disk *disk, uint64_t size)
{
	if (disk->limit != 0 && size > disk->limit)
		return -ENOSPC;
	if (disk_reserve(disk, size) != 0)
		return -ENOMEM;
	if (size > disk->size)
		memset(disk->bytes + disk->size, 0, size - disk->size);
	disk->size = size;
	return 0;
}

static int disk_pwrite(void *opaque, const void *buffer, size_t len,
                       uint64_t offset)
{
	struct api_disk *disk = opaque;
	int ret = 0;

	if (disk->fail_pwrite != 0)
		return -disk->fail_pwrite;
	if (offset + len > disk->size)
		ret = disk_resize(disk, offset + len);
	if (ret == 0 && len > 0)
		memcpy(disk->bytes + offset, buffer, len);
	return ret;
}

static int disk_flush(void *opaque)
{
	struct api_disk *disk = opaque;

	if (disk->fail_flush != 0)
		return -disk->fail_flush;
	disk->flushes++;
	return 0;
}

static int disk_get_size(void *opaque, uint64_t *size)
{
	const struct api_disk *disk = opaque;

	*size = disk->size;
	return 0;
}

static int disk_truncate(void *opaque, uint64_t size)
{
	return disk_resize(opaque, size);
}

static void disk_close(void *opaque)
{
	struct api_disk *disk = opaque;

	disk->closed++;
}

struct qcowfmt_storage_ops api_disk_ops(void)
{
	return (struct qcowfmt_storage_ops){
		.struct_size = sizeof(struct qcowfmt_storage_ops),
		.pread = disk_pread,
		.pwrite = disk_pwrite,
		.flush = disk_flush,
		.get_size = disk_get_size,
		.truncate = disk_truncate,
		.close = disk_close,
	};
}

struct qcowfmt_storage *api_disk_storage(struct api_disk *disk)
{
	struct qcowfmt_storage_ops ops = api_disk_ops();
	struct qcowfmt_storage *storage = NULL;

	API_OK(qcowfmt_storage_new_custom(&ops, disk, "disk", &storage,
	                                  &api_error));
	return storage;
}

void api_disk_fini(struct api_disk *disk)
{
	free(disk->bytes);
	disk->bytes = NULL;
	disk->size = 0;
	disk->room = 0;
}
