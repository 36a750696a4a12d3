/* SPDX-License-Identifier: MIT */
/*
 * iov.c - positions within a vector of buffers
 *
 * A vector is addressed as if its buffers were joined.  The caller has checked
 * with qcf_iov_len() that the vector is sound and that every position it asks
 * for lies inside.
 */
#include <limits.h>
#include <string.h>

#include "checked.h"
#include "storage.h"

bool qcf_iov_len(const struct iovec *iov, int iovcnt, uint64_t *len)
{
	uint64_t sum = 0;

	if (iovcnt < 0 || (iovcnt > 0 && iov == NULL))
		return false;
	for (int i = 0; i < iovcnt; i++) {
		if (!qcf_add_u64(sum, iov[i].iov_len, &sum))
			return false;
	}
	if (sum > INT64_MAX)
		return false;
	*len = sum;
	return true;
}

int qcf_iov_slice(const struct iovec *iov, int iovcnt, uint64_t skip,
                  uint64_t len, struct iovec *out)
{
	int count = 0;

	for (int i = 0; i < iovcnt && len > 0; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		uint64_t part = QCF_MIN(iov[i].iov_len - skip, len);

		out[count].iov_base = (uint8_t *)iov[i].iov_base + skip;
		out[count].iov_len = (size_t)part;
		count++;
		len -= part;
		skip = 0;
	}
	return count;
}

int qcf_iov_window(const struct iovec *iov, int iovcnt, uint64_t skip,
                   struct iovec *out, int max)
{
	int first = 0;

	while (first < iovcnt && skip >= iov[first].iov_len)
		skip -= iov[first++].iov_len;

	int count = QCF_MIN(iovcnt - first, max);

	for (int i = 0; i < count; i++)
		out[i] = iov[first + i];
	if (skip > 0) {
		out[0].iov_base = (uint8_t *)out[0].iov_base + skip;
		out[0].iov_len -= (size_t)skip;
	}
	return count;
}

/* The part of one element that a position range touches; false if none. */
static bool next_part(const struct iovec *element, uint64_t *skip, uint64_t len,
                      uint8_t **part, size_t *part_len)
{
	if (*skip >= element->iov_len) {
		*skip -= element->iov_len;
		return false;
	}
	*part = (uint8_t *)element->iov_base + *skip;
	*part_len = (size_t)QCF_MIN(element->iov_len - *skip, len);
	*skip = 0;
	return true;
}

void qcf_iov_zero(const struct iovec *iov, int iovcnt, uint64_t skip,
                  uint64_t len)
{
	uint8_t *part;
	size_t part_len;

	for (int i = 0; i < iovcnt && len > 0; i++) {
		if (!next_part(&iov[i], &skip, len, &part, &part_len))
			continue;
		memset(part, 0, part_len);
		len -= part_len;
	}
}

void qcf_iov_from_buffer(const struct iovec *iov, int iovcnt, uint64_t skip,
                         const void *buffer, size_t len)
{
	const uint8_t *from = buffer;
	uint8_t *part;
	size_t part_len;

	for (int i = 0; i < iovcnt && len > 0; i++) {
		if (!next_part(&iov[i], &skip, len, &part, &part_len))
			continue;
		memcpy(part, from, part_len);
		from += part_len;
		len -= part_len;
	}
}

void qcf_iov_to_buffer(const struct iovec *iov, int iovcnt, uint64_t skip,
                       void *buffer, size_t len)
{
	uint8_t *to = buffer;
	uint8_t *part;
	size_t part_len;

	for (int i = 0; i < iovcnt && len > 0; i++) {
		if (!next_part(&iov[i], &skip, len, &part, &part_len))
			continue;
		memcpy(to, part, part_len);
		to += part_len;
		len -= part_len;
	}
}
