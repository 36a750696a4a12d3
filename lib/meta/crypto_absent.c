/* SPDX-License-Identifier: MIT */
/* crypto_absent.c - stands in while encryption is being written */
#include <errno.h>

#include "crypto.h"

int qcf_crypto_open(struct qcowfmt_storage *storage, const struct qcf_header *h,
                    const struct qcf_geometry *g,
                    const struct qcf_secret_source *source,
                    struct qcf_crypto **crypto, struct qcowfmt_error **errp)
{
	(void)storage, (void)h, (void)g, (void)source, (void)crypto;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "encryption is not built in");
}

void qcf_crypto_free(struct qcf_crypto *crypto)
{
	(void)crypto;
}

int qcf_crypto_encrypt(struct qcf_crypto *crypto, const void *in, void *out,
                       size_t len, uint64_t guest_offset, uint64_t host_offset,
                       struct qcowfmt_error **errp)
{
	(void)crypto, (void)in, (void)out, (void)len, (void)guest_offset;
	(void)host_offset, (void)errp;
	return -ENOTSUP;
}

int qcf_crypto_decrypt(struct qcf_crypto *crypto, const void *in, void *out,
                       size_t len, uint64_t guest_offset, uint64_t host_offset,
                       struct qcowfmt_error **errp)
{
	(void)crypto, (void)in, (void)out, (void)len, (void)guest_offset;
	(void)host_offset, (void)errp;
	return -ENOTSUP;
}

void qcf_crypto_area(const struct qcf_header *h, uint64_t *host_offset,
                     uint64_t *len)
{
	(void)h;
	*host_offset = *len = 0;
}

int qcf_crypto_check_options(const struct qcowfmt_encryption_options *options,
                             struct qcowfmt_error **errp)
{
	(void)options;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "encryption is not built in");
}

int qcf_crypto_plan_init(struct qcf_crypto_plan *plan,
                         const struct qcowfmt_encryption_options *options,
                         struct qcowfmt_error **errp)
{
	(void)plan;
	return qcf_crypto_check_options(options, errp);
}

void qcf_crypto_plan_fini(struct qcf_crypto_plan *plan)
{
	(void)plan;
}

__attribute__((weak)) int qcf_storage_allocate(struct qcowfmt_storage *s,
                                               uint64_t offset, uint64_t len,
                                               struct qcowfmt_error **errp)
{
	(void)s, (void)offset, (void)len;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED, "absent");
}
