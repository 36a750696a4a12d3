/* SPDX-License-Identifier: MIT */
/* fuzz_judge.c - what a check says of an image */
#include "fuzz_judge.h"
#include "check_id.h"

#define AT_VERSION        4u
#define AT_REFCOUNT_ORDER 96u

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	struct fuzz_findings *f = opaque;

	FUZZ_ASSERT(id < QCF_ARRAY_LEN(f->ids) && message[0] != '\0',
	            "finding %" PRIu32, id);
	f->ids[id] = true;
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
	static const struct {
		uint32_t id;
		const char *repair;
	} ids[] = {

#define QCF_CHECK(number, name, repair, text) { (number), #repair },
#include "checks.def"
#undef QCF_CHECK
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(ids); i++) {
		if (f->ids[ids[i].id] && strcmp(ids[i].repair, "NONE") == 0)
			return true;
	}
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
