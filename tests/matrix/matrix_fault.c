/* SPDX-License-Identifier: MIT */
/* matrix_fault.c - faults planted in a game, which must be noticed */
#include "matrix_fault.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Where the header says where the refcount table is. */
#define REFCOUNT_TABLE_FIELD 48

static void shorten_last_write(struct qcf_turn *turn, uint64_t bytes)
{
	int i = turn->count - 1;

	while (i > 0 && turn->ops[i].kind != QCF_TURN_WRITE_PATTERN)
		i--;
	if (turn->ops[i].range.len <= bytes)
		turn->ops[i].kind = QCF_TURN_FLUSH;
	else
		turn->ops[i].range.len -= bytes;
}

void qcf_fault_in_turn(enum qcf_matrix_fault fault, struct qcf_turn *turn)
{
	if (fault == QCF_MATRIX_FAULT_LOST_WRITE)
		shorten_last_write(turn, UINT64_MAX);
	if (fault == QCF_MATRIX_FAULT_SHORT_WRITE)
		shorten_last_write(turn, 1);
}

/* Change how often the first cluster, with the header, is said to be used. */
static bool change_header_count(int fd, uint16_t count)
{
	uint64_t table;
	uint64_t block;

	count = htobe16(count);
	return pread(fd, &table, 8, REFCOUNT_TABLE_FIELD) == 8 &&
	       pread(fd, &block, 8, (off_t)be64toh(table)) == 8 &&
	       pwrite(fd, &count, 2, (off_t)be64toh(block)) == 2;
}

static bool change_byte(int fd, off_t at)
{
	uint8_t byte = 0;

	if (pread(fd, &byte, 1, at) < 0)
		return false;
	byte ^= 0x40;
	return pwrite(fd, &byte, 1, at) == 1;
}

bool qcf_fault_in_files(enum qcf_matrix_fault fault,
                        const struct qcf_matrix_image *image,
                        struct qcf_finding *finding)
{
	bool data = fault == QCF_MATRIX_FAULT_DATA_FILE;
	bool good;
	int fd;

	if (fault < QCF_MATRIX_FAULT_LEAK)
		return true;
	fd = open(data ? image->data_path : image->path, O_RDWR | O_CLOEXEC);
	if (data)
		good = change_byte(fd, (off_t)(image->size / 2));
	else
		good = change_header_count(
			fd, fault == QCF_MATRIX_FAULT_LEAK ? 2 : 0);
	if (fd >= 0)
		close(fd);
	return good ? true
	            : qcf_found(finding, QCF_FOUND_HARNESS,
	                        "cannot plant fault %d: %s", (int)fault,
	                        strerror(errno));
}
