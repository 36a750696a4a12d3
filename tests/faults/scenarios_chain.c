/* SPDX-License-Identifier: MIT */
/*
 * scenarios_chain.c - operations on several images, and making new ones, while
 * something fails
 */
#include <errno.h>
#include <string.h>

#include "auto.h"
#include "fault_images.h"
#include "fault_state.h"

static struct qcowfmt_open_options options_for(int32_t format, uint32_t flags)
{
	return (struct qcowfmt_open_options){
		.struct_size = sizeof(struct qcowfmt_open_options),
		.format = format,
		.flags = flags,
	};
}

static void open_base(struct trial *t)
{
	struct qcowfmt_open_options options =
		options_for(t->kind->base_format, QCOWFMT_OPEN_READ_WRITE);

	t->other = trial_open(t, TRIAL_BASE, &options);
}

static void open_other(struct trial *t)
{
	struct qcowfmt_open_options options =
		options_for(QCOWFMT_FORMAT_QCOW2, 0);

	t->other = trial_open(t, TRIAL_OTHER, &options);
}

/* -------------------------------------------------------------- commit and rebase */

static void commit(struct trial *t)
{
	TRY(t, qcowfmt_commit, t->image, t->other, NULL, &t->error);
}

static void commit_and_keep(struct trial *t)
{
	struct qcowfmt_commit_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_COMMIT_KEEP_TOP,
	};

	TRY(t, qcowfmt_commit, t->image, t->other, &options, &t->error);
}

static void expect_sound_base(struct trial *t)
{
	struct qcowfmt_open_options options =
		options_for(t->kind->base_format, QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_image *image = trial_open(t, TRIAL_BASE, &options);

	if (t->kind->base_format == QCOWFMT_FORMAT_QCOW2)
		TRIAL_ASSERT(t,
		             qcowfmt_check(image, 0, NULL, NULL, &r, NULL) ==
		                             0 &&
		                     r.corruptions + r.check_errors == 0,
		             "the base is corrupt");
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "base");
}

static void rebase(struct trial *t)
{
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.backing_filename = trial_file_name(TRIAL_OTHER),
		.backing_format = t->kind->version == 1 ? NULL : "qcow2",
	};

	TRY(t, qcowfmt_rebase, t->image, t->other, &options, &t->error);
}

static void rebase_to_none(struct trial *t)
{
	TRY(t, qcowfmt_rebase, t->image, NULL, NULL, &t->error);
}

static void rename_base(struct trial *t)
{
	struct qcowfmt_rebase_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_REBASE_UNSAFE,
		.backing_filename = "./base",
		.backing_format =
			t->kind->version == 1
				? NULL
				: qcowfmt_format_name(t->kind->base_format),
	};

	TRY(t, qcowfmt_rebase, t->image, NULL, &options, &t->error);
}

/* ---------------------------------------------------------------------- comparing */

static void compare(struct trial *t)
{
	struct qcowfmt_compare_result r = { .struct_size = sizeof(r) };

	if (TRY(t, qcowfmt_compare, t->image, t->other, NULL, &r, &t->error) <
	    0)
		return;
	trial_put(t, &r.difference, sizeof(r.difference));
	trial_put(t, &r.guest_offset, sizeof(r.guest_offset));
}

static void compare_with_itself(struct trial *t)
{
	struct qcowfmt_compare_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_COMPARE_STRICT,
	};
	struct qcowfmt_compare_result r = { .struct_size = sizeof(r) };

	if (TRY(t, qcowfmt_compare, t->image, t->other, &options, &r,
	        &t->error) < 0)
		return;
	trial_put(t, &r.difference, sizeof(r.difference));
}

static void open_again(struct trial *t)
{
	struct qcowfmt_open_options options = trial_options(t, 0);

	t->other = trial_open(t, TRIAL_TOP, &options);
}

/* ---------------------------------------------------------------------- converting */

/* The new image has the disk of the old one, or, after a failure, is sound as far
 * as it is there. */
static void expect_converted(struct trial *t)
{
	struct qcowfmt_open_options options =
		options_for(QCOWFMT_FORMAT_QCOW2, QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	static struct disk_content disk;
	struct qcowfmt_image *image = trial_open(t, TRIAL_OTHER, &options);

	TRIAL_ASSERT(t,
	             qcowfmt_check(image, 0, NULL, NULL, &r, NULL) == 0 &&
	                     r.corruptions + r.check_errors == 0,
	             "the target is corrupt");
	if (t->outcome >= TRIAL_REPEATED) {
		trial_read_disk(t, image, &disk);
		TRIAL_ASSERT(t,
		             memcmp(disk.bytes, t->after.disk.bytes,
		                    (size_t)t->after.disk.size) == 0,
		             "the target is another disk");
	}
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "target");
}

static void make_target(struct trial *t)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = trial_disk_size(t->kind),
		.cluster_size = 4096,
	};
	struct qcowfmt_open_options options =
		options_for(QCOWFMT_FORMAT_QCOW2, QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_storage *storage = trial_storage(t, TRIAL_OTHER, true);

	TRIAL_ASSERT(t, qcowfmt_create(storage, &create, NULL) == 0, "target");
	qcowfmt_storage_free(storage);
	t->other = trial_open(t, TRIAL_OTHER, &options);
}

static void convert_with(struct trial *t, uint32_t flags, uint32_t threads)
{
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.threads = threads,
	};

	if (TRY(t, qcowfmt_convert, &t->image, 1, t->other, &options,
	        &t->error) >= 0)
		TRY(t, qcowfmt_flush, t->other, &t->error);
}

static void convert(struct trial *t)
{
	convert_with(t, 0, 0);
}

static void convert_compressed(struct trial *t)
{
	convert_with(t, QCOWFMT_CONVERT_COMPRESS, 0);
}

static void convert_in_threads(struct trial *t)
{
	convert_with(t, 0, 2);
}

static void convert_by_copying(struct trial *t)
{
	convert_with(t, QCOWFMT_CONVERT_COPY_RANGE, 0);
}

static int take(void *opaque, const void *buffer, size_t len)
{
	trial_put(opaque, buffer, len);
	return 0;
}

static void stream(struct trial *t)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.cluster_size = 4096,
	};

	TRY(t, qcowfmt_stream, &t->image, 1, &create, NULL, take, t, &t->error);
}

static void stream_compressed(struct trial *t)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.cluster_size = 4096,
	};
	struct qcowfmt_convert_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_CONVERT_COMPRESS,
	};

	TRY(t, qcowfmt_stream, &t->image, 1, &create, &options, take, t,
	    &t->error);
}

static void dehydrate(struct trial *t)
{
	struct qcowfmt_storage *source = trial_try_storage(t, TRIAL_TOP, false);
	struct qcowfmt_storage *target =
		source == NULL ? NULL : trial_try_storage(t, TRIAL_OTHER, true);

	if (target != NULL)
		TRY(t, qcowfmt_dehydrate, source, target,
		    QCOWFMT_DEHYDRATE_NO_NAMES, &t->error);
	TRY_VOID(t, qcowfmt_storage_free, source);
	TRY_VOID(t, qcowfmt_storage_free, target);
}

/* ------------------------------------------------------------------------ creating */

/* What a failed creation leaves does not open, or is the image it was to be. */
static void expect_created(struct trial *t)
{
	struct qcowfmt_open_options options =
		options_for(QCOWFMT_FORMAT_PROBE, QCOWFMT_OPEN_NO_DATA);
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_storage *storage = trial_storage(t, TRIAL_OTHER, false);
	struct qcowfmt_image *image = NULL;
	uint8_t magic[4] = { 0 };

	options.reference_policy = QCOWFMT_REFERENCES_IGNORE;
	TRIAL_ASSERT(t, qcowfmt_storage_pread(storage, magic, 4, 0, NULL) >= 0,
	             "target");
	if (memcmp(magic, "QFI\xfb", 4) != 0 && t->outcome < TRIAL_REPEATED) {
		qcowfmt_storage_free(storage);
		return;
	}
	TRIAL_ASSERT(t, qcowfmt_open(storage, &options, &image, NULL) == 0,
	             "the new image does not open");
	TRIAL_ASSERT(t,
	             qcowfmt_check(image, 0, NULL, NULL, &r, NULL) ==
	                             -ENOTSUP ||
	                     r.corruptions + r.leaks + r.check_errors == 0,
	             "the new image is not clean");
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "target");
}

static void create_with(struct trial *t,
                        const struct qcowfmt_create_options *options)
{
	struct qcowfmt_storage *storage =
		trial_try_storage(t, TRIAL_OTHER, true);

	if (storage == NULL)
		return;
	TRY(t, qcowfmt_create, storage, options, &t->error);
	TRY_VOID(t, qcowfmt_storage_free, storage);
}

static struct qcowfmt_create_options creation(void)
{
	return (struct qcowfmt_create_options){
		.struct_size = sizeof(struct qcowfmt_create_options),
		.virtual_size = 300000 / 512 * 512,
		.cluster_size = 4096,
	};
}

static void create(struct trial *t)
{
	struct qcowfmt_create_options options = creation();

	options.backing_filename = "base";
	options.backing_format = "raw";
	create_with(t, &options);
}

static void create_full(struct trial *t)
{
	struct qcowfmt_create_options options = creation();

	options.preallocation = QCOWFMT_PREALLOCATION_FULL;
	create_with(t, &options);
}

static void create_reserved(struct trial *t)
{
	struct qcowfmt_create_options options = creation();

	options.preallocation = QCOWFMT_PREALLOCATION_FALLOC;
	create_with(t, &options);
}

static void create_version_1(struct trial *t)
{
	struct qcowfmt_create_options options = creation();

	options.format = QCOWFMT_FORMAT_QCOW;
	create_with(t, &options);
}

static void create_luks(struct trial *t)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = TRIAL_SECRET,
		.secret_len = strlen(TRIAL_SECRET),
	};
	struct qcowfmt_create_options options = creation();

	options.encryption = &encryption;
	create_with(t, &options);
}

static void create_with_data_file(struct trial *t)
{
	struct qcowfmt_create_options options = creation();
	struct qcowfmt_storage *data = trial_try_storage(t, TRIAL_DATA, true);

	if (data == NULL)
		return;
	options.data_storage = data;
	options.data_filename = "data";
	options.flags = QCOWFMT_CREATE_DATA_FILE_RAW;
	create_with(t, &options);
	TRY_VOID(t, qcowfmt_storage_free, data);
}

const struct scenario chain_scenarios[] = {
	{ "commit", NEEDS_BASE, CHANGES_BASE | TOP_ONLY, commit, open_base,
	  expect_sound_base },
	{ "commit and keep the top", NEEDS_BASE, CHANGES_BASE | TOP_ONLY,
	  commit_and_keep, open_base, expect_sound_base },
	{ "rebase", NEEDS_BASE | NEEDS_QCOW, ONCE | STEPS, rebase, open_other },
	{ "rebase to none", NEEDS_BASE | NEEDS_QCOW, ONCE | STEPS,
	  rebase_to_none },
	{ "rename the base", NEEDS_BASE | NEEDS_QCOW, ONCE, rename_base },
	{ "compare", 0, READS_ONLY, compare, open_other },
	{ "compare with itself", 0, READS_ONLY, compare_with_itself,
	  open_again },
	{ "convert", 0, READS_ONLY | CHANGES_OTHER, convert, make_target,
	  expect_converted },
	{ "convert compressed", 0, READS_ONLY | CHANGES_OTHER,
	  convert_compressed, make_target, expect_converted },
	{ "convert in threads", 0, READS_ONLY | CHANGES_OTHER | OTHER_VARIES,
	  convert_in_threads, make_target, expect_converted },
	{ "convert by copying", 0, READS_ONLY | CHANGES_OTHER | OTHER_VARIES,
	  convert_by_copying, make_target, expect_converted },
	{ "stream", 0, READS_ONLY, stream },
	{ "stream compressed", 0, READS_ONLY, stream_compressed },
	{ "dehydrate", NEEDS_QCOW, OPENS | READS_ONLY | CHANGES_OTHER,
	  dehydrate },
	{ "create", NEEDS_BASE, OPENS | READS_ONLY | CHANGES_OTHER, create,
	  NULL, expect_created },
	{ "create in full", NEEDS_BASE, OPENS | READS_ONLY | CHANGES_OTHER,
	  create_full, NULL, expect_created },
	{ "create reserved", NEEDS_BASE, OPENS | READS_ONLY | CHANGES_OTHER,
	  create_reserved, NULL, expect_created },
	{ "create version 1", NEEDS_BASE, OPENS | READS_ONLY | CHANGES_OTHER,
	  create_version_1, NULL, expect_created },
	{ "create with a data file", NEEDS_BASE, OPENS | CHANGES_OTHER,
	  create_with_data_file, NULL, expect_created },
	{ "create with LUKS", NEEDS_LUKS,
	  OPENS | READS_ONLY | CHANGES_OTHER | OTHER_VARIES, create_luks, NULL,
	  expect_created },
};
const size_t chain_scenario_count = QCF_ARRAY_LEN(chain_scenarios);
