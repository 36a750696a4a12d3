/* SPDX-License-Identifier: MIT */
/* matrix_foreign.c - images of version 1 as neither side makes them */
#include "matrix_foreign.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEADER_SIZE 48u
#define MIN_L2_BITS 6u
#define L2_BITS     8u /* how many values there are */

static uint8_t *put32(uint8_t *to, uint32_t value)
{
	uint32_t word = htobe32(value);

	memcpy(to, &word, sizeof(word));
	return to + sizeof(word);
}

static uint8_t *put64(uint8_t *to, uint64_t value)
{
	uint64_t word = htobe64(value);

	memcpy(to, &word, sizeof(word));
	return to + sizeof(word);
}

static uint8_t log2_of(uint64_t power)
{
	return (uint8_t)__builtin_ctzll(power);
}

/*
 *   byte  0 -  7  magic, version
 *         8 - 19  where the name of the backing file is, and its length
 *        20 - 23  time stamp of the backing file
 *        24 - 31  virtual size
 *        32 - 35  cluster bits, L2 bits, padding
 *        36 - 39  encryption
 *        40 - 47  where the L1 table is
 */
static void encode_header(const struct qcf_matrix_image *image, uint8_t l2_bits,
                          uint32_t name_len, uint64_t l1_offset,
                          uint8_t header[HEADER_SIZE])
{
	uint8_t *to = header;

	to = put32(to, UINT32_C(0x514649fb));
	to = put32(to, 1);
	to = put64(to, name_len ? HEADER_SIZE : 0);
	to = put32(to, name_len);
	to = put32(to, UINT32_C(0x4b000000));
	to = put64(to, image->size);
	*to++ = log2_of(image->traits.cluster_size);
	*to++ = l2_bits;
	*to++ = 0;
	*to++ = 0;
	to = put32(to, (uint32_t)image->traits.encryption);
	put64(to, l1_offset);
}

bool qcf_foreign_create(const struct qcf_matrix_image *image,
                        struct qcf_finding *finding)
{
	const char *name = image->backing ? image->backing->path : "";
	uint32_t name_len = (uint32_t)strlen(name);
	uint8_t l2_bits = (uint8_t)(MIN_L2_BITS + image->seed % L2_BITS);
	uint64_t per_table = image->traits.cluster_size << l2_bits;
	uint64_t l1_offset = (HEADER_SIZE + name_len + 7) / 8 * 8;
	uint64_t l1_len = 8 * ((image->size + per_table - 1) / per_table);
	uint8_t header[HEADER_SIZE];
	bool good;
	int fd;

	encode_header(image, l2_bits, name_len, l1_offset, header);
	fd = open(image->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	good = fd >= 0 &&
	       pwrite(fd, header, HEADER_SIZE, 0) == (ssize_t)HEADER_SIZE &&
	       pwrite(fd, name, name_len, HEADER_SIZE) == (ssize_t)name_len &&
	       ftruncate(fd, (off_t)(l1_offset + l1_len)) == 0;
	if (fd >= 0)
		close(fd);
	if (good)
		return true;
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s", image->path,
	                 strerror(errno));
}
