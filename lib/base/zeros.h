/* SPDX-License-Identifier: MIT */
/* zeros.h - finding zeros in memory */
#ifndef QCF_ZEROS_H
#define QCF_ZEROS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/*
 * Whether len bytes are all zero.  If the first 16 are, the rest is exactly
 * when every byte equals the one 16 before it, and comparing memory is what
 * the C library does with the widest vectors of the machine.
 */
static inline bool qcf_is_zero(const void *buffer, size_t len)
{
	static const char zeros[16];
	const char *bytes = buffer;
	size_t head = len < sizeof(zeros) ? len : sizeof(zeros);

	return memcmp(bytes, zeros, head) == 0 &&
	       (len == head || memcmp(bytes, bytes + head, len - head) == 0);
}

#endif
