/* SPDX-License-Identifier: MIT */
/* fuzz_judge.c - what a check says of an image */
#include "fuzz_judge.h"
#include "check_id.h"

#define AT_VERSION        4u
#define AT_CLUSTER_BITS   20u
#define AT_REFTABLE       48u
#define AT_REFCOUNT_ORDER 96u

/* The count of the cluster of a host offset, by what is stored. */
static uint64_t count_of(const struct fuzz_disk *disk, uint64_t at)
{
	bool is_v2 = fuzz_disk_get(disk, AT_VERSION, 4) == 2;
	uint64_t order = is_v2 ? 4 : fuzz_disk_get(disk, AT_REFCOUNT_ORDER, 4);
	uint64_t bits = fuzz_disk_get(disk, AT_CLUSTER_BITS, 4);
	uint64_t slot = at >> bits;
	uint64_t per_block_bits = bits + 3 - order;
	uint64_t index = slot >> per_block_bits;
	uint64_t block = fuzz_disk_get(
		disk, fuzz_disk_get(disk, AT_REFTABLE, 8) + 8 * index, 8);

	slot &= (UINT64_C(1) << per_block_bits) - 1;
	if (order >= 3)
		return fuzz_disk_get(disk, block + (slot << (order - 3)),
		                     UINT64_C(1) << (order - 3));
	return fuzz_disk_get(disk, block + (slot << order) / 8, 1) >>
	               (slot << order) % 8 &
	       ((1u << (1u << order)) - 1);
}

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	struct fuzz_findings *f = opaque;

	FUZZ_ASSERT(id < QCF_ARRAY_LEN(f->ids) && message[0] != '\0',
	            "finding %" PRIu32, id);
	f->ids[id] = true;
	if (id == QCF_CHECK_DATA_COPIED || id == QCF_CHECK_L2_COPIED)
		f->bad_flag = f->bad_flag ||
		              count_of(&f->fi->image, host_offset) <= 1;
	if (id == QCF_CHECK_LEAK && host_offset < f->first_leak)
		f->first_leak = host_offset;
	if (getenv("QCF_FUZZ_SHOW") != NULL)
		dprintf(STDERR_FILENO, "%" PRIu32 ": %s\n", id, message);
}

void fuzz_judge(struct fuzz_image *fi, uint32_t open_flags,
                uint32_t check_flags, struct fuzz_findings *f)
{
	struct qcowfmt_image *image = NULL;
	int ret = fuzz_open(fi, open_flags, NULL, &image);

	*f = (struct fuzz_findings){
		.first_leak = UINT64_MAX,
		.fi = fi,
		.result = { .struct_size = sizeof(f->result) },
	};
	if (ret == 0)
		ret = qcowfmt_check(image, check_flags, note, f, &f->result,
		                    NULL);
	f->ret = ret;
	if (image != NULL)
		fuzz_close(image);
	f->end = fi->image.size;
}

bool fuzz_is_sound(const struct fuzz_findings *f)
{
	return f->ret == 0 && f->result.corruptions == 0 &&
	       f->result.leaks == 0 && f->result.check_errors == 0;
}

bool fuzz_is_excused(const struct fuzz_image *fi, const struct fuzz_findings *f)
{
	for (uint32_t id = 1; id < QCF_ARRAY_LEN(f->ids); id++) {
		if (f->ids[id] && qcf_check_repair(id) == QCF_REPAIR_NONE)
			return true;
	}
	/* What is something else, too, is not written to. */
	if ((f->ids[QCF_CHECK_DATA_COPIED] || f->ids[QCF_CHECK_L2_COPIED]) &&
	    !f->bad_flag)
		return true;
	/* So few bits, whatever they were before, cannot hold every count. */
	return f->ids[QCF_CHECK_REFCOUNT_LOW] &&
	       fuzz_disk_get(&fi->image, AT_VERSION, 4) == 3 &&
	       fuzz_disk_get(&fi->image, AT_REFCOUNT_ORDER, 4) <= 2;
}

void fuzz_expect_sound(struct fuzz_image *fi,
                       const struct fuzz_findings *before, const char *why)
{
	struct fuzz_findings f;

	fuzz_judge(fi, 0, 0, &f);
	FUZZ_ASSERT(f.ret == 0, "%s: %d", why, f.ret);
	f.ids[QCF_CHECK_LEAK] = f.first_leak < before->end;
	f.ids[QCF_CHECK_DATA_COPIED] = f.ids[QCF_CHECK_L2_COPIED] = false;
	for (size_t i = 0; i < QCF_ARRAY_LEN(f.ids); i++)
		FUZZ_ASSERT(!f.ids[i], "%s: was sound, now has id %zu", why, i);
}
