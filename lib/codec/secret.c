/* SPDX-License-Identifier: MIT */
/* secret.c - memory for passphrases and keys */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checked.h"
#include "secret.h"

static bool whole_pages(size_t len, size_t *map_len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t sum;

	if (!qcf_add_u64(QCF_MAX(len, (size_t)1), page - 1, &sum) ||
	    sum > SIZE_MAX)
		return false;
	*map_len = (size_t)qcf_align_down(sum, page);
	return true;
}

int qcf_secret_init(struct qcf_secret *secret, size_t len,
                    struct qcowfmt_error **errp)
{
	size_t map_len;
	void *map;

	*secret = (struct qcf_secret){ 0 };
	if (!whole_pages(len, &map_len))
		return qcf_fail_oom(errp);
	map = mmap(NULL, map_len, PROT_READ | PROT_WRITE,
	           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return qcf_fail_oom(errp);
	(void)mlock(map, map_len);
	(void)madvise(map, map_len, MADV_DONTDUMP);
	*secret = (struct qcf_secret){ map, len, map_len };
	return 0;
}

int qcf_secret_copy(struct qcf_secret *secret, const void *bytes, size_t len,
                    struct qcowfmt_error **errp)
{
	int ret = qcf_secret_init(secret, len, errp);

	if (ret == 0 && len > 0)
		memcpy(secret->bytes, bytes, len);
	return ret;
}

void qcf_secret_fini(struct qcf_secret *secret)
{
	if (secret->bytes != NULL) {
		explicit_bzero(secret->bytes, secret->map_len);
		(void)munmap(secret->bytes, secret->map_len);
	}
	*secret = (struct qcf_secret){ 0 };
}
