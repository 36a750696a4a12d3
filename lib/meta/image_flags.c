/* SPDX-License-Identifier: MIT */
/* image_flags.c - dirty, corrupt and autoclear bits in the header */
#include "image_flags.h"

/* Write one 64-bit header field and make it stable. */
static int write_field(struct qcf_meta *meta, uint64_t at, uint64_t value,
                       struct qcowfmt_error **errp)
{
	struct qcf_be64 raw = qcf_be64_encode(value);
	int ret =
		qcf_storage_pwrite(meta->storage, &raw, sizeof(raw), at, errp);

	if (ret == 0)
		ret = qcf_meta_flush(meta, errp);
	return qcf_wrap(errp, "updating the feature bits", ret);
}

int qcf_flags_set_incompatible(struct qcf_meta *meta, uint64_t bits,
                               struct qcowfmt_error **errp)
{
	uint64_t value = atomic_load(&meta->incompatible) | bits;
	int ret = write_field(meta, QCF_HEADER_AT_INCOMPATIBLE, value, errp);

	if (ret == 0)
		atomic_store(&meta->incompatible, value);
	return ret;
}

int qcf_flags_clear_incompatible(struct qcf_meta *meta, uint64_t bits,
                                 struct qcowfmt_error **errp)
{
	uint64_t value = atomic_load(&meta->incompatible) & ~bits;
	int ret = write_field(meta, QCF_HEADER_AT_INCOMPATIBLE, value, errp);

	if (ret == 0)
		atomic_store(&meta->incompatible, value);
	return ret;
}

int qcf_flags_autoclear(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint64_t bits = qcf_feature_autoclear_to_clear(&meta->header);
	uint64_t value = meta->header.autoclear_features & ~bits;
	int ret;

	if (bits == 0)
		return 0;
	ret = write_field(meta, QCF_HEADER_AT_AUTOCLEAR, value, errp);
	if (ret == 0)
		meta->header.autoclear_features = value;
	return ret;
}

/*
 * The corrupt bit is written without commit.lock, which the caller may hold.
 * Poisoning first makes that safe: nobody changes the field any more, and a
 * bit that another thread sets at the same moment is this same one.
 */
int qcf_meta_corrupt(struct qcf_meta *meta, enum qcf_check id,
                     uint64_t host_offset, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *cause = NULL;
	int ret = qcf_corrupt(&cause, id, host_offset);
	bool first = !atomic_load(&meta->poison.set);

	if (meta->writable) {
		qcf_poison_set(&meta->poison, cause);
		if (first && meta->header.version >= 3)
			(void)qcf_flags_set_incompatible(
				meta, QCF_INCOMPAT_CORRUPT, NULL);
	}
	qcf_error_move(errp, cause);
	return ret;
}
