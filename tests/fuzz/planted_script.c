/* SPDX-License-Identifier: MIT */
/* planted_script.c - a fault to be found: zeros are not filled in when reading */
#include "storage.h"

void __wrap_qcf_iov_zero(const struct iovec *iov, int iovcnt, uint64_t skip,
                         uint64_t len);

void __wrap_qcf_iov_zero(const struct iovec *iov, int iovcnt, uint64_t skip,
                         uint64_t len)
{
	(void)iov;
	(void)iovcnt;
	(void)skip;
	(void)len;
}
