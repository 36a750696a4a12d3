/* SPDX-License-Identifier: MIT */
/* fuzz_ops.c - the operations of a script */
#include <errno.h>

#include "fuzz_ops.h"

#define MAX_WRITE ((uint64_t)40 << 10)

/* One operation, decoded. */
struct op {
	uint64_t offset;
	uint64_t len;
	uint8_t choice; /* the last byte as it is */
};

/* Different bytes each time. */
static const uint8_t *some_bytes(const struct fuzz_world *w, uint64_t len)
{
	static uint8_t bytes[MAX_WRITE];

	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(w->operations * 59 + i / 256 * 7 + 1);
	return bytes;
}

/* With a model nothing but these results is right. */
static bool succeeded(const struct fuzz_world *w, int ret, const char *what,
                      int allowed1, int allowed2)
{
	FUZZ_ASSERT(w->model == NULL || ret == 0 || ret == -allowed1 ||
	                    ret == -allowed2,
	            "%s: %d", what, ret);
	return ret == 0;
}

/* ------------------------------------------------------------------------ data */

/* After a change of a range, which may have failed for lack of space. */
static void look(struct fuzz_world *w, const struct op *op, int ret,
                 const uint8_t *bytes, const char *what)
{
	uint64_t before = op->offset < 5000 ? op->offset : 5000;
	struct fuzz_array *disk;

	if (w->model == NULL)
		return;
	disk = &w->model->disk;
	if (succeeded(w, ret, what, ENOSPC, ENOTSUP) && bytes != NULL)
		memcpy(disk->bytes + op->offset, bytes, (size_t)op->len);
	else if (ret == 0)
		memset(disk->bytes + op->offset, 0, (size_t)op->len);
	else
		fuzz_model_follow(disk, w->image, op->offset, op->len, bytes,
		                  what);
	fuzz_model_expect(disk, w->image, op->offset - before,
	                  before + op->len + 5000, what);
}

static void do_write(struct fuzz_world *w, const struct op *op)
{
	const uint8_t *bytes = some_bytes(w, op->len);

	look(w, op,
	     qcowfmt_pwrite(w->image, bytes, (size_t)op->len, op->offset, NULL),
	     bytes, "write");
}

static void do_write_compressed(struct fuzz_world *w, const struct op *op)
{
	uint64_t cluster = w->fi->base->kind->cluster_size;
	uint64_t size = qcowfmt_get_size(w->image);
	struct op aligned = *op;
	const uint8_t *bytes;

	aligned.offset -= op->offset % cluster;
	aligned.len = cluster < size - aligned.offset ? cluster
	                                              : size - aligned.offset;
	if (aligned.len > MAX_WRITE)
		return;
	bytes = some_bytes(w, aligned.len);
	look(w, &aligned,
	     qcowfmt_pwrite_compressed(w->image, bytes, (size_t)aligned.len,
	                               aligned.offset, NULL),
	     bytes, "compressed write");
}

static void do_zero(struct fuzz_world *w, const struct op *op)
{
	uint32_t flags = op->choice % 2 == 0 ? QCOWFMT_ZERO_MAY_UNMAP : 0;

	look(w, op,
	     qcowfmt_write_zeroes(w->image, op->offset, op->len, flags, NULL),
	     NULL, "zeroes");
}

static void do_discard(struct fuzz_world *w, const struct op *op)
{
	int ret = qcowfmt_discard(w->image, op->offset, op->len, NULL);

	if (w->model == NULL)
		return;
	(void)succeeded(w, ret, "discard", ENOSPC, 0);
	fuzz_model_follow(&w->model->disk, w->image, op->offset, op->len, NULL,
	                  "discard");
}

static void do_read(struct fuzz_world *w, const struct op *op)
{
	static uint8_t bytes[MAX_WRITE];

	if (w->model != NULL)
		fuzz_model_expect(&w->model->disk, w->image, op->offset,
		                  op->len, "read");
	else
		(void)qcowfmt_pread(w->image, bytes, (size_t)op->len,
		                    op->offset, NULL);
}

static void do_vm_state(struct fuzz_world *w, const struct op *op)
{
	static uint8_t back[MAX_WRITE];
	uint64_t offset = op->offset % 10000;
	const uint8_t *bytes = some_bytes(w, op->len);
	int ret = qcowfmt_vm_state_pwrite(w->image, bytes, (size_t)op->len,
	                                  offset, NULL);

	if (!succeeded(w, ret, "VM state", ENOTSUP, ENOSPC) || w->model == NULL)
		return;
	ret = qcowfmt_vm_state_pread(w->image, back, (size_t)op->len, offset,
	                             NULL);
	FUZZ_ASSERT(ret == 0 && memcmp(back, bytes, (size_t)op->len) == 0,
	            "VM state: %d", ret);
}

/* ------------------------------------------------------------------- snapshots */

static const char *some_id(const struct op *op, uint32_t *id)
{
	static char text[8];

	*id = 1 + op->choice % 5;
	(void)snprintf(text, sizeof(text), "%" PRIu32, *id);
	return text;
}

static void do_snapshot_create(struct fuzz_world *w, const struct op *op)
{
	struct qcowfmt_snapshot_options o = {
		.struct_size = sizeof(o),
		.name = "taken",
		.date_sec = 1000,
	};
	int ret;

	(void)op;
	if (w->model != NULL &&
	    w->model->snapshot_count == FUZZ_MODEL_SNAPSHOTS)
		return;
	ret = qcowfmt_snapshot_create(w->image, &o, NULL);
	if (succeeded(w, ret, "snapshot", ENOTSUP, EOVERFLOW) &&
	    w->model != NULL)
		(void)fuzz_model_add(w->model);
}

static void do_snapshot_apply(struct fuzz_world *w, const struct op *op)
{
	uint32_t id;
	int ret =
		qcowfmt_snapshot_apply(w->image, some_id(op, &id), NULL, NULL);
	const struct fuzz_array *disk;

	if (w->model == NULL)
		return;
	disk = fuzz_model_find(w->model, id);
	if (disk == NULL)
		FUZZ_ASSERT(ret == -ENOENT || ret == -ENOTSUP, "%d", ret);
	else if (succeeded(w, ret, "apply", ENOTSUP, EOVERFLOW))
		w->model->disk = *disk;
	fuzz_model_expect_all(&w->model->disk, w->image, "apply");
}

static void do_snapshot_delete(struct fuzz_world *w, const struct op *op)
{
	uint32_t id;
	int ret =
		qcowfmt_snapshot_delete(w->image, some_id(op, &id), NULL, NULL);

	if (w->model == NULL)
		return;
	if (fuzz_model_find(w->model, id) == NULL)
		FUZZ_ASSERT(ret == -ENOENT || ret == -ENOTSUP, "%d", ret);
	else if (succeeded(w, ret, "delete", 0, 0))
		fuzz_model_remove(w->model, id);
	fuzz_model_expect_all(&w->model->disk, w->image, "delete");
}

static void do_bitmap(struct fuzz_world *w, const struct op *op)
{
	static const char *const names[] = { "one", "two", "three" };
	struct qcowfmt_bitmap_action actions[2] = {
		{ .image = w->image,
		  .kind = 1 + op->choice % 6,
		  .name = names[op->offset % 3],
		  .source_name = names[op->offset / 3 % 3] },
		{ .image = w->image,
		  .kind = 1 + op->choice / 6 % 6,
		  .name = names[op->offset / 9 % 3],
		  .source_name = names[op->offset / 27 % 3] },
	};

	actions[0].struct_size = actions[1].struct_size = sizeof(actions[0]);
	(void)qcowfmt_bitmap_change(actions, 1 + op->offset / 81 % 2, NULL,
	                            NULL);
}

/* ----------------------------------------------------------------- whole images */

static void do_resize(struct fuzz_world *w, const struct op *op)
{
	struct qcowfmt_resize_options o = {
		.struct_size = sizeof(o),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	uint64_t size = (op->offset / 512 + op->choice) * 512 + 512;
	struct fuzz_array *disk;
	int ret;

	size = size < FUZZ_MODEL_ROOM ? size : FUZZ_MODEL_ROOM;
	ret = qcowfmt_resize(w->image, size, &o, NULL);
	if (!succeeded(w, ret, "resize", ENOTSUP, ENOSPC) || w->model == NULL)
		return;
	disk = &w->model->disk;
	if (size > disk->size)
		memset(disk->bytes + disk->size, 0,
		       (size_t)(size - disk->size));
	disk->size = size;
	fuzz_model_expect_all(disk, w->image, "resize");
}

static void do_compact(struct fuzz_world *w, const struct op *op)
{
	int ret = qcowfmt_compact(w->image, NULL, NULL, NULL);

	(void)op;
	if (w->model == NULL)
		return;
	(void)succeeded(w, ret, "compact", ENOTSUP, ENOSPC);
	fuzz_model_expect_all(&w->model->disk, w->image, "compact");
}

static void do_amend(struct fuzz_world *w, const struct op *op)
{
	struct qcowfmt_amend_options o = {
		.struct_size = sizeof(o),
		.version = op->choice % 4,
		.refcount_bits =
			op->offset % 2 == 0 ? 1u << op->choice / 4 % 7 : 0,
		.lazy_refcounts = (int32_t)(op->offset / 2 % 3) - 1,
	};
	int ret;

	if (o.version == 1)
		o.version = 0;
	ret = qcowfmt_amend(w->image, &o, NULL);
	FUZZ_ASSERT(w->model == NULL || ret == 0 || ret == -EINVAL ||
	                    ret == -ENOTSUP || ret == -EOVERFLOW ||
	                    ret == -ENOSPC,
	            "amend: %d", ret);
	if (w->model != NULL)
		fuzz_model_expect_all(&w->model->disk, w->image, "amend");
}

static void do_check(struct fuzz_world *w, const struct op *op)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	int ret = qcowfmt_check(w->image, 0, NULL, NULL, &r, NULL);

	(void)op;
	FUZZ_ASSERT(w->model == NULL || (ret == 0 && r.corruptions == 0 &&
	                                 r.leaks == 0 && r.check_errors == 0),
	            "check: %d, %" PRIu64 " corruptions, %" PRIu64 " leaks",
	            ret, r.corruptions, r.leaks);
}

static void do_flush(struct fuzz_world *w, const struct op *op)
{
	(void)op;
	(void)succeeded(w, qcowfmt_flush(w->image, NULL), "flush", 0, 0);
}

static void do_reopen(struct fuzz_world *w, const struct op *op)
{
	int ret = qcowfmt_close(w->image, NULL);

	(void)op;
	w->image = NULL;
	(void)succeeded(w, ret, "close", 0, 0);
	ret = fuzz_open(w->fi, QCOWFMT_OPEN_READ_WRITE | w->flags, NULL,
	                &w->image);
	if (succeeded(w, ret, "open", 0, 0) && w->model != NULL)
		fuzz_model_expect_all(&w->model->disk, w->image, "reopen");
}

/* --------------------------------------------------------------------- scripts */

typedef void (*operation)(struct fuzz_world *w, const struct op *op);

static const operation operations[] = {
	do_write,
	do_write,
	do_write_compressed,
	do_zero,
	do_discard,
	do_read,
	do_flush,
	do_snapshot_create,
	do_snapshot_apply,
	do_snapshot_delete,
	do_resize,
	do_bitmap,
	do_reopen,
	do_vm_state,
	do_compact,
	do_amend,
	do_check,
};

static const operation metadata_operations[] = {
	do_snapshot_create, do_snapshot_delete, do_bitmap,  do_amend,
	do_check,           do_reopen,          do_compact,
};

/* The first 256 KiB of a disk, however large, or its end. */
static bool decode(const struct fuzz_world *w, struct fuzz_cursor *script,
                   struct op *op)
{
	uint64_t size = qcowfmt_get_size(w->image);
	uint64_t span = size < FUZZ_DISK_SIZE ? size : FUZZ_DISK_SIZE;
	uint64_t where = fuzz_take(script, 2);

	op->choice = (uint8_t)fuzz_take(script, 1);
	if (size == 0)
		return false;
	op->offset = where * 7 % span;
	if (op->choice == 255)
		op->offset += size - span;
	op->len = op->choice < 80 ? (op->choice + UINT64_C(1)) * 512
	                          : op->choice * UINT64_C(13);
	if (op->len > size - op->offset)
		op->len = size - op->offset;
	return true;
}

static operation choose(const struct fuzz_world *w, uint64_t what)
{
	if (w->only == FUZZ_OPS_METADATA)
		return metadata_operations[what %
		                           QCF_ARRAY_LEN(metadata_operations)];
	return operations[what % QCF_ARRAY_LEN(operations)];
}

bool fuzz_run_script(struct fuzz_world *world, struct fuzz_cursor *script)
{
	struct op op;

	while (!fuzz_is_done(script) &&
	       world->operations < FUZZ_MAX_OPERATIONS) {
		uint64_t what = fuzz_take(script, 1);

		if (!decode(world, script, &op))
			break;
		choose(world, what)(world, &op);
		world->operations++;
		if (world->image == NULL)
			return false;
	}
	return true;
}
