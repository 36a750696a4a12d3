/* SPDX-License-Identifier: MIT */
/* oracle.c - the flat array that a virtual disk must equal */
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* From here on a range is zeroed by punching a hole, not byte by byte. */
#define PUNCH_MIN (UINT64_C(1) << 20)
#define PAGE      UINT64_C(4096)

static bool fail(const struct qcf_oracle *oracle, const char *what,
                 struct qcf_finding *finding)
{
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s %s: %s", what,
	                 oracle->path, strerror(errno));
}

static bool map_file(struct qcf_oracle *oracle, uint64_t size,
                     struct qcf_finding *finding)
{
	void *map;

	if (ftruncate(oracle->fd, (off_t)size) != 0)
		return fail(oracle, "sizing", finding);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, oracle->fd,
	           0);
	if (map == MAP_FAILED)
		return fail(oracle, "mapping", finding);
	oracle->bytes = map;
	oracle->size = size;
	return true;
}

bool qcf_oracle_create(struct qcf_oracle *oracle, const char *path,
                       uint64_t size, struct qcf_finding *finding)
{
	snprintf(oracle->path, sizeof(oracle->path), "%s", path);
	oracle->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (oracle->fd < 0)
		return fail(oracle, "creating", finding);
	return map_file(oracle, size, finding);
}

bool qcf_oracle_resize(struct qcf_oracle *oracle, uint64_t size,
                       struct qcf_finding *finding)
{
	munmap(oracle->bytes, oracle->size);
	oracle->bytes = NULL;
	return map_file(oracle, size, finding);
}

/* Copy the data of [*position, size) up to the next hole. */
static bool copy_piece(const struct qcf_oracle *from, struct qcf_oracle *to,
                       uint64_t *position)
{
	off_t data = lseek(from->fd, (off_t)*position, SEEK_DATA);
	off_t hole;
	uint64_t end;

	if (data < 0 || (uint64_t)data >= to->size)
		return false;
	hole = lseek(from->fd, data, SEEK_HOLE);
	end = hole < 0 ? from->size : (uint64_t)hole;
	if (end > to->size)
		end = to->size;
	memcpy(to->bytes + data, from->bytes + data, end - (uint64_t)data);
	*position = end;
	return true;
}

bool qcf_oracle_copy(const struct qcf_oracle *from, struct qcf_oracle *to,
                     const char *path, uint64_t size,
                     struct qcf_finding *finding)
{
	uint64_t position = 0;

	if (!qcf_oracle_create(to, path, size, finding))
		return false;
	while (position < from->size && copy_piece(from, to, &position))
		continue;
	return true;
}

void qcf_oracle_close(struct qcf_oracle *oracle)
{
	if (oracle->bytes)
		munmap(oracle->bytes, oracle->size);
	if (oracle->bytes || oracle->fd > 0)
		close(oracle->fd);
	oracle->bytes = NULL;
	oracle->fd = -1;
}

void qcf_oracle_write(struct qcf_oracle *oracle, const void *data, size_t len,
                      uint64_t offset)
{
	memcpy(oracle->bytes + offset, data, len);
}

void qcf_oracle_zero(struct qcf_oracle *oracle, uint64_t offset, uint64_t len)
{
	uint64_t first = (offset + PAGE - 1) & ~(PAGE - 1);
	uint64_t last = (offset + len) & ~(PAGE - 1);

	if (len < PUNCH_MIN ||
	    fallocate(oracle->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	              (off_t)first, (off_t)(last - first)) != 0) {
		memset(oracle->bytes + offset, 0, len);
		return;
	}
	memset(oracle->bytes + offset, 0, first - offset);
	memset(oracle->bytes + last, 0, offset + len - last);
}

static uint64_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint64_t i = 0;

	while (i < len && a[i] == b[i])
		i++;
	return i;
}

static uint64_t count_differences(const uint8_t *a, const uint8_t *b,
                                  size_t len)
{
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < len; i++)
		count += a[i] != b[i];
	return count;
}

bool qcf_oracle_verify(const struct qcf_oracle *oracle, const void *data,
                       size_t len, uint64_t offset, struct qcf_finding *finding)
{
	const uint8_t *got = data;
	const uint8_t *want = oracle->bytes + offset;
	uint64_t at;

	if (memcmp(got, want, len) == 0)
		return true;
	at = first_difference(got, want, len);
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "read of %zu bytes at %" PRIu64 ": byte %" PRIu64
	                 " is 0x%02x, want 0x%02x (%" PRIu64
	                 " bytes of this read differ)",
	                 len, offset, offset + at, got[at], want[at],
	                 count_differences(got, want, len));
}
