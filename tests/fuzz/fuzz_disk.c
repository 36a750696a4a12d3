/* SPDX-License-Identifier: MIT */
/*
 * fuzz_disk.c - a file in memory with a ceiling for what is done to it
 *
 * The memory is kept from one input to the next, and only pieces that were
 * touched are cleared: most inputs touch few.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "fuzz_disk.h"

/*
 * What one input may cost on one file.  The longest file has 16 MiB and may
 * be read as a whole for each of the few operations of an input, tables more
 * often.
 */
#define MAX_BYTES_MOVED ((uint64_t)1 << 30)
#define MAX_CALLS       ((uint64_t)1 << 20)

/* Requests of qcow-io may run beside each other. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void unlock(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex);
}

/* Until the end of the scope */
#define ONE_AT_A_TIME                                                      \
	__attribute__((cleanup(unlock))) pthread_mutex_t *locked_ = &lock; \
	(void)pthread_mutex_lock(locked_)

static void count(struct fuzz_disk *disk, uint64_t len)
{
	disk->calls++;
	disk->bytes_moved += len;
	FUZZ_ASSERT(disk->calls <= MAX_CALLS, "%" PRIu64 " calls", disk->calls);
	FUZZ_ASSERT(disk->bytes_moved <= MAX_BYTES_MOVED, "%" PRIu64 " bytes",
	            disk->bytes_moved);
}

static void touch(struct fuzz_disk *disk, uint64_t at, uint64_t len)
{
	for (uint64_t i = at / FUZZ_DISK_PIECE;
	     len > 0 && i <= (at + len - 1) / FUZZ_DISK_PIECE; i++)
		disk->touched[i] = true;
}

/* Bytes behind the end are zeros at all times. */
static void clear(struct fuzz_disk *disk, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t piece = from / FUZZ_DISK_PIECE;
		uint64_t end = (piece + 1) * FUZZ_DISK_PIECE;

		end = end < to ? end : to;
		if (disk->touched[piece])
			memset(disk->bytes + from, 0, (size_t)(end - from));
		from = end;
	}
}

static bool fits(uint64_t at, uint64_t len)
{
	return at <= FUZZ_DISK_ROOM && len <= FUZZ_DISK_ROOM - at;
}

bool fuzz_disk_poke(struct fuzz_disk *disk, uint64_t at, const void *bytes,
                    size_t len)
{
	if (!fits(at, len))
		return false;
	touch(disk, at, len);
	if (len > 0)
		memcpy(disk->bytes + at, bytes, len);
	if (at + len > disk->size)
		disk->size = at + len;
	return true;
}

bool fuzz_disk_set_size(struct fuzz_disk *disk, uint64_t size)
{
	if (!fits(size, 0))
		return false;
	if (size < disk->size)
		clear(disk, size, disk->size);
	disk->size = size;
	return true;
}

void fuzz_disk_reset(struct fuzz_disk *disk, const void *bytes, size_t len)
{
	if (disk->bytes == NULL) {
		disk->bytes = mmap(NULL, FUZZ_DISK_ROOM, PROT_READ | PROT_WRITE,
		                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		FUZZ_ASSERT(disk->bytes != MAP_FAILED, "out of memory");
	}
	(void)fuzz_disk_set_size(disk, 0);
	memset(disk->touched, 0, sizeof(disk->touched));
	disk->bytes_moved = disk->calls = disk->writes = 0;
	FUZZ_ASSERT(fuzz_disk_poke(disk, 0, bytes, len), "a base of %zu bytes",
	            len);
}

uint64_t fuzz_disk_get(const struct fuzz_disk *disk, uint64_t at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | (at < disk->size && i < disk->size - at
		                              ? disk->bytes[at + i]
		                              : 0);
	return value;
}

/* ------------------------------------------------------------------- storage */

static int64_t disk_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	struct fuzz_disk *disk = opaque;
	uint64_t left = offset < disk->size ? disk->size - offset : 0;

	ONE_AT_A_TIME;
	len = len < left ? len : (size_t)left;
	count(disk, len);
	if (len > 0)
		memcpy(buffer, disk->bytes + offset, len);
	return (int64_t)len;
}

static int disk_pwrite(void *opaque, const void *buffer, size_t len,
                       uint64_t offset)
{
	struct fuzz_disk *disk = opaque;

	ONE_AT_A_TIME;
	count(disk, len);
	disk->writes++;
	return fuzz_disk_poke(disk, offset, buffer, len) ? 0 : -ENOSPC;
}

static int disk_flush(void *opaque)
{
	ONE_AT_A_TIME;
	count(opaque, 0);
	return 0;
}

static int disk_get_size(void *opaque, uint64_t *size)
{
	struct fuzz_disk *disk = opaque;

	ONE_AT_A_TIME;
	count(disk, 0);
	*size = disk->size;
	return 0;
}

static int disk_truncate(void *opaque, uint64_t size)
{
	struct fuzz_disk *disk = opaque;

	ONE_AT_A_TIME;
	count(disk, 0);
	disk->writes++;
	return fuzz_disk_set_size(disk, size) ? 0 : -ENOSPC;
}

static int disk_zero(void *opaque, uint64_t offset, uint64_t len)
{
	struct fuzz_disk *disk = opaque;

	ONE_AT_A_TIME;
	count(disk, 0);
	disk->writes++;
	if (!fits(offset, len))
		return -ENOSPC;
	clear(disk, offset, offset + len);
	if (offset + len > disk->size)
		disk->size = offset + len;
	return 0;
}

static int disk_discard(void *opaque, uint64_t offset, uint64_t len)
{
	struct fuzz_disk *disk = opaque;

	ONE_AT_A_TIME;
	count(disk, 0);
	disk->writes++;
	if (offset < disk->size)
		clear(disk, offset,
		      len < disk->size - offset ? offset + len : disk->size);
	return 0;
}

struct qcowfmt_storage *fuzz_disk_storage(struct fuzz_disk *disk, bool writable)
{
	static const struct qcowfmt_storage_ops read_only = {
		.struct_size = sizeof(read_only),
		.pread = disk_pread,
		.get_size = disk_get_size,
	};
	static const struct qcowfmt_storage_ops read_write = {
		.struct_size = sizeof(read_write),
		.pread = disk_pread,
		.pwrite = disk_pwrite,
		.flush = disk_flush,
		.get_size = disk_get_size,
		.truncate = disk_truncate,
		.zero = disk_zero,
		.discard = disk_discard,
	};
	struct qcowfmt_storage *storage = NULL;

	(void)qcowfmt_storage_new_custom(writable ? &read_write : &read_only,
	                                 disk, "image", &storage, NULL);
	return fuzz_need(storage);
}

/* ---------------------------------------------------------------------- copies */

struct fuzz_bytes fuzz_disk_copy(const struct fuzz_disk *disk)
{
	struct fuzz_bytes copy = { .size = disk->size };

	copy.bytes = fuzz_need(malloc((size_t)disk->size + 1));
	memcpy(copy.bytes, disk->bytes, (size_t)disk->size);
	return copy;
}

bool fuzz_disk_equals(const struct fuzz_disk *disk,
                      const struct fuzz_bytes *bytes)
{
	return disk->size == bytes->size &&
	       memcmp(disk->bytes, bytes->bytes, (size_t)bytes->size) == 0;
}
