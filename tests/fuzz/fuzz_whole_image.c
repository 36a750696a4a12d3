/* SPDX-License-Identifier: MIT */
/*
 * fuzz_whole_image.c - target: a tampered image is converted, compacted,
 * amended, resized, committed, rebased, streamed, measured, compared
 *
 * Input: fuzz_input.h; the script says which of these and how.  A conversion that
 * succeeds has made an image with the same disk.  In the end the image is repaired:
 * what reads right still does, and nothing is found but what is beyond repair.
 */
#include "fuzz_input.h"
#include "fuzz_judge.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_bases_make();
	return 0;
}

/* More is not copied: the disk of a tampered image may be as large as it likes. */
#define MAX_COPY ((uint64_t)4 << 20)

struct work {
	struct fuzz_image *fi;
	struct fuzz_cursor *script;
};

static struct fuzz_disk target_disk;

/* ------------------------------------------------------------------- converting */

static struct qcowfmt_create_options new_image(struct fuzz_cursor *script,
                                               uint64_t size)
{
	uint64_t choice = fuzz_take(script, 1);

	return (struct qcowfmt_create_options){
		.struct_size = sizeof(struct qcowfmt_create_options),
		.virtual_size = size,
		.format = choice % 4 == 0 ? QCOWFMT_FORMAT_RAW
		                          : QCOWFMT_FORMAT_QCOW2,
		.cluster_size =
			choice % 4 == 0 ? 0 : UINT64_C(512) << choice / 4 % 6,
		.flags = choice >= 240 ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0,
	};
}

static struct qcowfmt_image *make_target(
	const struct qcowfmt_create_options *create)
{
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = create->format,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_storage *storage;

	fuzz_disk_reset(&target_disk, NULL, 0);
	storage = fuzz_disk_storage(&target_disk, true);
	if (create->format == QCOWFMT_FORMAT_RAW)
		(void)fuzz_disk_set_size(&target_disk, create->virtual_size);
	else if (qcowfmt_create(storage, create, NULL) < 0)
		open.flags = 0;
	if (open.flags == 0 || qcowfmt_open(storage, &open, &image, NULL) < 0)
		qcowfmt_storage_free(storage);
	return image;
}

static void expect_equal(struct qcowfmt_image *a, struct qcowfmt_image *b)
{
	struct qcowfmt_compare_result r = { .struct_size = sizeof(r) };
	int ret = qcowfmt_compare(a, b, NULL, &r, NULL);

	FUZZ_ASSERT(ret == 0 && r.difference == QCOWFMT_SAME,
	            "the copy: %d, difference %d at 0x%" PRIx64, ret,
	            r.difference, r.guest_offset);
}

static void do_convert(struct work *w, struct qcowfmt_image *image)
{
	static const uint32_t flags[] = { 0,
		                          QCOWFMT_CONVERT_COMPRESS,
		                          QCOWFMT_CONVERT_OUT_OF_ORDER,
		                          QCOWFMT_CONVERT_IN_ORDER,
		                          QCOWFMT_CONVERT_SALVAGE,
		                          QCOWFMT_CONVERT_TARGET_IS_ZERO,
		                          QCOWFMT_CONVERT_COPY_RANGE };
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_create_options create = new_image(w->script, size);
	uint64_t choice = fuzz_take(w->script, 1);
	struct qcowfmt_convert_options o = {
		.struct_size = sizeof(o),
		.flags = flags[choice % QCF_ARRAY_LEN(flags)],
		.sparse_size = choice / 8 % 4 * 4096,
	};
	struct qcowfmt_image *target;

	if (size > MAX_COPY)
		return;
	target = make_target(&create);
	if (target == NULL)
		return;
	if (qcowfmt_convert(&image, 1, target, &o, NULL) == 0 &&
	    (o.flags & QCOWFMT_CONVERT_SALVAGE) == 0)
		expect_equal(image, target);
	fuzz_close(target);
}

static int take_stream(void *opaque, const void *buffer, size_t len)
{
	uint64_t *total = opaque;

	(void)buffer;
	*total += len;
	return *total > 2 * FUZZ_DISK_ROOM ? -1 : 0;
}

static void do_stream(struct work *w, struct qcowfmt_image *image)
{
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_create_options create = new_image(w->script, 0);
	struct qcowfmt_convert_options o = { .struct_size = sizeof(o) };
	uint64_t total = 0;

	if (fuzz_take(w->script, 1) % 2 == 1)
		o.flags = QCOWFMT_CONVERT_COMPRESS;
	if (size <= MAX_COPY)
		(void)qcowfmt_stream(&image, 1, &create, &o, take_stream,
		                     &total, NULL);
}

/* --------------------------------------------------------------- looking at two */

static void do_compare(struct work *w, struct qcowfmt_image *image)
{
	struct qcowfmt_compare_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_compare_options o = { .struct_size = sizeof(o) };
	struct qcowfmt_image *snapshot;

	if (fuzz_take(w->script, 1) % 2 == 1)
		o.flags = QCOWFMT_COMPARE_STRICT;
	if (qcowfmt_get_size(image) > MAX_COPY ||
	    fuzz_open(w->fi, 0, "1", &snapshot) < 0)
		return;
	if (qcowfmt_get_size(snapshot) <= MAX_COPY)
		(void)qcowfmt_compare(image, snapshot, &o, &r, NULL);
	fuzz_close(snapshot);
}

static void do_measure(struct work *w, struct qcowfmt_image *image)
{
	struct qcowfmt_measure_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_create_options create = new_image(w->script, 0);

	if (qcowfmt_get_size(image) <= MAX_COPY)
		(void)qcowfmt_measure(image, &create, &r, NULL);
}

/* ------------------------------------------------------------- changing in place */

/* The guest sees the same if the image was sound.  What snapshots see of a backing
 * file goes with it. */
static void change(struct work *w, bool is_rebase,
                   int (*operation)(struct work *w,
                                    struct qcowfmt_image *image))
{
	static struct fuzz_views before;
	static struct fuzz_views after;
	struct qcowfmt_image *image;
	struct fuzz_findings f;

	fuzz_judge(w->fi, 0, 0, &f);
	if (fuzz_is_sound(&f))
		fuzz_views_read(w->fi, 0, before.disks);
	if (fuzz_open(w->fi, QCOWFMT_OPEN_READ_WRITE, NULL, &image) < 0)
		return;
	(void)operation(w, image);
	fuzz_close(image);
	if (!fuzz_is_sound(&f))
		return;
	fuzz_views_read(w->fi, 0, after.disks);
	for (size_t i = 1; i <= FUZZ_MAX_SNAPSHOTS && is_rebase; i++)
		before.disks[i].is_there = false;
	fuzz_views_expect(before.disks, after.disks, 0, "change");
	fuzz_expect_sound(w->fi, &f, "change");
}

static int compact(struct work *w, struct qcowfmt_image *image)
{
	(void)w;
	return qcowfmt_compact(image, NULL, NULL, NULL);
}

static int amend(struct work *w, struct qcowfmt_image *image)
{
	uint64_t choice = fuzz_take(w->script, 1);
	struct qcowfmt_amend_options o = {
		.struct_size = sizeof(o),
		.version = choice % 2 == 0 ? 2 : 3,
		.refcount_bits = choice / 2 % 2 == 0 ? 0 : 1u << choice / 4 % 7,
		.lazy_refcounts = (int32_t)(choice / 32 % 3) - 1,
	};

	return qcowfmt_amend(image, &o, NULL);
}

static int grow(struct work *w, struct qcowfmt_image *image)
{
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_resize_options o = {
		.struct_size = sizeof(o),
		.preallocation = (int32_t)(fuzz_take(w->script, 1) % 3),
	};

	if (size > MAX_COPY)
		return 0;
	return qcowfmt_resize(image, size + 512 * fuzz_take(w->script, 2), &o,
	                      NULL);
}

static int rebase(struct work *w, struct qcowfmt_image *image)
{
	struct qcowfmt_rebase_options o = { .struct_size = sizeof(o) };

	(void)w;
	if (qcowfmt_get_size(image) > MAX_COPY)
		return 0;
	return qcowfmt_rebase(image, NULL, &o, NULL);
}

/* --------------------------------------------------------------------- committing */

static struct qcowfmt_image *open_backing(struct fuzz_image *fi)
{
	bool is_raw = strcmp(fi->base->kind->backing_format, "raw") == 0;
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = is_raw ? QCOWFMT_FORMAT_RAW : QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.max_metadata_size = 4 << 20,
	};
	struct qcowfmt_storage *storage = fuzz_disk_storage(&fi->backing, true);
	struct qcowfmt_image *image = NULL;

	if (qcowfmt_open(storage, &open, &image, NULL) < 0)
		qcowfmt_storage_free(storage);
	return image;
}

static void do_commit(struct work *w)
{
	struct qcowfmt_commit_options o = { .struct_size = sizeof(o) };
	bool keep = fuzz_take(w->script, 1) % 2 == 1;
	struct qcowfmt_image *base;
	struct qcowfmt_image *top;

	if (w->fi->base->kind->backing_format == NULL)
		return;
	base = open_backing(w->fi);
	if (base == NULL)
		return;
	o.flags = keep ? QCOWFMT_COMMIT_KEEP_TOP : 0;
	if (fuzz_open_limited(w->fi, keep ? 0 : QCOWFMT_OPEN_READ_WRITE, 1,
	                      &top) == 0) {
		(void)qcowfmt_commit(top, base, &o, NULL);
		fuzz_close(top);
	}
	fuzz_close(base);
}

/* ---------------------------------------------------------------------- repairing */

static void repair(struct fuzz_image *fi)
{
	const uint32_t rw = QCOWFMT_OPEN_READ_WRITE | QCOWFMT_OPEN_REPAIR;
	static struct fuzz_views before;
	static struct fuzz_views after;
	struct fuzz_findings f;

	fuzz_views_read(fi, QCOWFMT_OPEN_REPAIR, before.disks);
	fuzz_views_keep_right(&before, fi->base);
	fuzz_judge(fi, rw, QCOWFMT_CHECK_REPAIR_ALL, &f);
	fuzz_views_read(fi, QCOWFMT_OPEN_REPAIR, after.disks);
	fuzz_views_expect(before.disks, after.disks, 0, "repair in the end");
	if (f.ret != 0)
		return;
	fuzz_judge(fi, QCOWFMT_OPEN_REPAIR, 0, &f);
	FUZZ_ASSERT(fuzz_is_sound(&f) || fuzz_is_excused(fi, &f),
	            "repaired in the end: %d, %" PRIu64 " corruptions, %" PRIu64
	            " leaks",
	            f.ret, f.result.corruptions, f.result.leaks);
}

/* ------------------------------------------------------------------------ choosing */

static void look(struct work *w,
                 void (*operation)(struct work *w, struct qcowfmt_image *image))
{
	struct qcowfmt_image *image;

	if (fuzz_open(w->fi, 0, NULL, &image) < 0)
		return;
	operation(w, image);
	fuzz_close(image);
}

static void run(struct work *w)
{
	switch (fuzz_take(w->script, 1) % 9) {
	case 0:
		look(w, do_convert);
		break;
	case 1:
		look(w, do_stream);
		break;
	case 2:
		look(w, do_compare);
		break;
	case 3:
		look(w, do_measure);
		break;
	case 4:
		change(w, false, compact);
		break;
	case 5:
		change(w, false, amend);
		break;
	case 6:
		change(w, false, grow);
		break;
	case 7:
		change(w, true, rebase);
		break;
	default:
		do_commit(w);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_image fi;
	static struct fuzz_input in;
	struct fuzz_cursor script;
	struct work work = { &fi, &script };

	fuzz_input_parse(&in, data, size);
	fuzz_input_apply(&in, &fi);
	script = (struct fuzz_cursor){ in.script, in.script_len, 0 };
	for (int i = 0; i < 3; i++)
		run(&work);
	repair(&fi);
	return 0;
}
