/* SPDX-License-Identifier: MIT */
/* scenarios_files.c - functions that need files, while something fails */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "fault_images.h"
#include "fault_state.h"
#include "scratch.h"

static uint8_t bytes[TRIAL_MAX_DISK];

static void read_and_close(struct trial *t, struct qcowfmt_image *image)
{
	if (TRY(t, qcowfmt_pread, image, bytes, 5000, 0, &t->error) >= 0)
		trial_put(t, bytes, 5000);
	TRY(t, qcowfmt_close, image, &t->error);
}

static void open_file(struct trial *t)
{
	struct qcowfmt_open_options options = trial_options(t, 0);
	struct qcowfmt_image *image = NULL;

	if (TRY(t, qcowfmt_open_file, trial_path(TRIAL_TOP), &options, &image,
	        &t->error) >= 0)
		read_and_close(t, image);
}

static void open_directly(struct trial *t)
{
	struct qcowfmt_open_options options =
		trial_options(t, QCOWFMT_OPEN_READ_WRITE | QCOWFMT_OPEN_DIRECT);
	struct qcowfmt_image *image = NULL;

	if (TRY(t, qcowfmt_open_file, trial_path(TRIAL_TOP), &options, &image,
	        &t->error) < 0)
		return;
	if (TRY(t, qcowfmt_pread, image, bytes, 512, 0, &t->error) >= 0 &&
	    TRY(t, qcowfmt_pwrite, image, bytes, 512, 0, &t->error) >= 0)
		TRY(t, qcowfmt_flush, image, &t->error);
	TRY(t, qcowfmt_close, image, &t->error);
}

static void use_descriptor(struct trial *t)
{
	struct qcowfmt_open_options options = trial_options(t, 0);
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;
	int fd = open(trial_path(TRIAL_TOP), O_RDONLY | O_CLOEXEC);

	options.reference_policy = QCOWFMT_REFERENCES_IGNORE;
	if (TRY(t, qcowfmt_storage_from_fd, fd, "it", NULL, &storage,
	        &t->error) >= 0) {
		if (TRY(t, qcowfmt_open, storage, &options, &image,
		        &t->error) >= 0)
			TRY(t, qcowfmt_close, image, &t->error);
		else
			TRY_VOID(t, qcowfmt_storage_free, storage);
	}
	close(fd);
}

/* --------------------------------------------------------------------- creating */

static void remove_new(struct trial *t)
{
	(void)t;
	(void)unlink(scratch_path("new"));
	(void)unlink(scratch_path("new-data"));
}

static void create_file(struct trial *t)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 300000 / 512 * 512,
		.cluster_size = 4096,
		.preallocation = QCOWFMT_PREALLOCATION_METADATA,
	};

	TRY(t, qcowfmt_create_file, scratch_path("new"), &options, &t->error);
}

/* After a failure there is no file, after success the image. */
static void expect_file(struct trial *t)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
	};
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_image *image = NULL;
	bool there = access(scratch_path("new"), F_OK) == 0;

	TRIAL_ASSERT(t, there == (t->outcome >= TRIAL_REPEATED),
	             "the new file is %sthere", there ? "" : "not ");
	if (!there)
		return;
	TRIAL_ASSERT(t,
	             qcowfmt_open_file(scratch_path("new"), &options, &image,
	                               NULL) == 0 &&
	                     qcowfmt_check(image, 0, NULL, NULL, &r, NULL) ==
	                             0 &&
	                     r.corruptions + r.leaks + r.check_errors == 0 &&
	                     qcowfmt_close(image, NULL) == 0,
	             "the new file is not sound");
	remove_new(t);
}

/* ------------------------------------------------------- bitmaps of two images */

static const char *journal(void)
{
	return scratch_path("journal");
}

static void open_second(struct trial *t)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
	};

	(void)unlink(journal());
	t->other = trial_open(t, TRIAL_OTHER, &options);
}

static void add_two(struct trial *t)
{
	struct qcowfmt_bitmap_action actions[2] = {
		{ .struct_size = sizeof(actions[0]),
		  .image = t->image,
		  .name = "third",
		  .kind = QCOWFMT_BITMAP_ADD },
		{ .struct_size = sizeof(actions[0]),
		  .image = t->other,
		  .name = "third",
		  .kind = QCOWFMT_BITMAP_ADD },
	};

	TRY(t, qcowfmt_bitmap_change, actions, 2, journal(), &t->error);
}

/* Whether an image in storage has the bitmap. */
static bool has_third(struct trial *t, enum trial_file file)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_NO_DATA,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_image *image = trial_open(t, file, &options);
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_bitmap b = { .struct_size = sizeof(b) };
	bool found = false;

	TRIAL_ASSERT(t, qcowfmt_bitmap_list(image, 0, &list, NULL) == 0,
	             "bitmaps of %s", trial_file_name(file));
	for (uint32_t i = 0; i < qcowfmt_bitmap_list_count(list); i++) {
		qcowfmt_bitmap_list_get(list, i, &b, NULL);
		found = found || strcmp(b.name, "third") == 0;
	}
	qcowfmt_bitmap_list_free(list);
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "close");
	return found;
}

/* With the journal, if it is still there, both or none have changed. */
static void expect_both(struct trial *t)
{
	struct qcowfmt_error *error = NULL;
	bool there = access(journal(), F_OK) == 0;

	TRIAL_ASSERT(t, !there || t->outcome < TRIAL_REPEATED,
	             "the journal is left");
	if (there) {
		TRIAL_ASSERT(t, qcowfmt_bitmap_recover(journal(), &error) == 0,
		             "recovery: %s", qcowfmt_error_message(error));
		t->in_files = true;
		trial_load_files(t);
		t->in_files = false;
	}
	TRIAL_ASSERT(t, has_third(t, TRIAL_TOP) == has_third(t, TRIAL_OTHER),
	             "one image has changed, the other has not");
	(void)unlink(journal());
}

/* Break off a change at the n-th write; whether that leaves a journal.  Nothing
 * reaches the images any more, as when the power goes. */
static bool break_off(struct trial *t, uint64_t nth)
{
	const struct fault fault = { FAULT_SYS_PWRITEV, EIO, false, true };
	struct qcowfmt_open_options options =
		trial_options(t, QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_bitmap_action actions[2] = {
		{ .struct_size = sizeof(actions[0]),
		  .name = "third",
		  .kind = QCOWFMT_BITMAP_ADD },
	};

	trial_write_files(t);
	open_second(t);
	t->image = trial_open(t, TRIAL_TOP, &options);
	actions[0].image = t->image;
	actions[1] = actions[0];
	actions[1].image = t->other;
	faults_arm(&fault, nth);
	faults_inside(true);
	(void)qcowfmt_bitmap_change(actions, 2, journal(), NULL);
	(void)qcowfmt_close(qcf_take(&t->image), NULL);
	(void)qcowfmt_close(qcf_take(&t->other), NULL);
	faults_disarm();
	return access(journal(), F_OK) == 0;
}

static void leave_journal(struct trial *t)
{
	static const struct trial_kind *kind;
	static uint64_t nth;

	if (kind != t->kind)
		nth = 1;
	kind = t->kind;
	while (!break_off(t, nth))
		TRIAL_ASSERT(t, ++nth < 200, "no journal is left");
}

static void recover(struct trial *t)
{
	TRY(t, qcowfmt_bitmap_recover, journal(), &t->error);
}

static void expect_recovered(struct trial *t)
{
	bool there = access(journal(), F_OK) == 0;

	TRIAL_ASSERT(t, !there || t->outcome == TRIAL_FAILED,
	             "the journal is left");
	if (!there)
		TRIAL_ASSERT(
			t, has_third(t, TRIAL_TOP) && has_third(t, TRIAL_OTHER),
			"recovered, but not changed");
	(void)unlink(journal());
}

const struct scenario file_scenarios[] = {
	{ "open a file", NEEDS_FILES, OPENS | READS_ONLY, open_file },
	{ "write directly", NEEDS_FILES, OPENS | DIRTY | WHOLE_BLOCKS,
	  open_directly },
	{ "use a descriptor", NEEDS_FILES, OPENS | READS_ONLY, use_descriptor },
	{ "create a file", NEEDS_FILES | NEEDS_BASE, OPENS | READS_ONLY,
	  create_file, remove_new, expect_file },
	{ "create a file once", NEEDS_FILES | NEEDS_BASE,
	  OPENS | READS_ONLY | ONCE, create_file, remove_new, expect_file },
	{ "change bitmaps of two images", NEEDS_FILES | NEEDS_VERSION_3,
	  CHANGES_OTHER | OTHER_VARIES | ONCE | STEPS, add_two, open_second,
	  expect_both },
	{ "recover bitmaps", NEEDS_FILES | NEEDS_VERSION_3,
	  OPENS | CHANGES_OTHER | OTHER_VARIES | STEPS | DIRTY, recover,
	  leave_journal, expect_recovered, ENOENT },
};
const size_t file_scenario_count = QCF_ARRAY_LEN(file_scenarios);
