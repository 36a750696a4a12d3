/* SPDX-License-Identifier: MIT */
/*
 * Promise: every kind of corruption in checks.def is found in some image; opening,
 * checking and repairing it have the verdicts of damages.def, under ceilings of
 * memory and time; a plan says what a repair does; a repair changes nothing that
 * the guest sees, and a second one changes nothing at all; a dehydrated copy has
 * the same findings.
 *
 * QCF_VERDICTS=1 prints what was found in place of comparing it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ceiling.h"
#include "check_id.h"
#include "damaged_images.h"

/* Those that no image has. */
static const struct {
	uint32_t id;
	const char *why;
} exceptions[] = {
	{ QCF_CHECK_REFCOUNT_BLOCK_LOST, "kept for its number: a block that is "
	                                 "not counted is REFCOUNT_LOW" },
};

/* ------------------------------------------------------------------ looking */

struct seen {
	bool ids[256];
	struct qcowfmt_check_result result;
	uint64_t fixed; /* corruptions and leaks */
};

/* The image being looked at. */
static const char *what;
static enum damage_base base;

static void see(void *opaque, uint32_t id, uint64_t host_offset,
                const char *message)
{
	struct seen *seen = opaque;

	(void)host_offset;
	ck_assert_uint_lt(id, 256);
	ck_assert_ptr_null(strchr(message, '\n'));
	seen->ids[id] = true;
}

static void see_error(struct seen *seen)
{
	seen->ids[qcowfmt_error_corruption_id(api_error)] = true;
	api_error_reset();
}

/* What memory an image may take that has no large tables. */
static void end_ceiling(void)
{
	ceiling_end(what, CEILING_MEMORY);
}

/* NULL if it cannot be opened. */
static struct qcowfmt_image *open_disk(struct api_disk *disk, uint32_t flags,
                                       struct seen *seen)
{
	struct qcowfmt_image *image = NULL;
	int ret;

	ceiling_begin();
	ret = damage_open(base, disk, flags, &image);
	end_ceiling();
	if (ret < 0)
		see_error(seen);
	return image;
}

/* The whole disk, or nothing if it cannot be read. */
static bool read_disk(struct api_disk *disk, uint32_t flags, uint8_t *bytes,
                      struct seen *seen)
{
	struct qcowfmt_image *image = open_disk(disk, flags, seen);
	bool done;

	if (image == NULL)
		return false;
	ceiling_begin();
	done = qcowfmt_get_size(image) == DAMAGED_SIZE &&
	       qcowfmt_pread(image, bytes, DAMAGED_SIZE, 0, &api_error) == 0;
	end_ceiling();
	if (!done)
		see_error(seen);
	(void)qcowfmt_close(image, NULL);
	return done;
}

static struct qcowfmt_inspection inspect(struct api_disk *disk,
                                         struct seen *seen)
{
	struct qcowfmt_inspection found = { .struct_size = sizeof(found) };
	struct qcowfmt_storage *storage = api_disk_storage(disk);
	struct api_disk before = damage_copy_disk(disk);

	ceiling_begin();
	API_OK(qcowfmt_inspect(storage, see, seen, &found, &api_error));
	end_ceiling();
	qcowfmt_storage_free(storage);
	ck_assert_uint_eq(before.size, disk->size);
	ck_assert(memcmp(before.bytes, disk->bytes, disk->size) == 0);
	api_disk_fini(&before);
	return found;
}

/* Check or repair; false if the image cannot be opened or is refused. */
static bool check(struct api_disk *disk, uint32_t open_flags, uint32_t flags,
                  struct seen *seen)
{
	struct qcowfmt_image *image =
		open_disk(disk, open_flags | QCOWFMT_OPEN_REPAIR, seen);
	bool done;

	seen->result = (struct qcowfmt_check_result){
		.struct_size = sizeof(seen->result),
	};
	if (image == NULL)
		return false;
	ceiling_begin();
	done = qcowfmt_check(image, flags, see, seen, &seen->result,
	                     &api_error) == 0;
	end_ceiling();
	if (!done)
		see_error(seen);
	(void)qcowfmt_close(image, NULL);
	seen->fixed = seen->result.corruptions_fixed + seen->result.leaks_fixed;
	return done;
}

/* What writing finds and nothing else does. */
static void write_to(const struct damage *damage, struct seen *seen)
{
	static uint8_t bytes[4096];
	struct api_disk disk = damage_make(damage);
	struct qcowfmt_image *image = open_disk(&disk, API_RW, seen);

	if (image != NULL) {
		ceiling_begin();
		if (qcowfmt_pwrite(image, bytes, sizeof(bytes), 0, &api_error) <
		    0)
			see_error(seen);
		if (qcowfmt_discard(image, 0, DAMAGED_SIZE, &api_error) < 0)
			see_error(seen);
		if (qcowfmt_close(image, &api_error) < 0)
			see_error(seen);
		end_ceiling();
	}
	api_disk_fini(&disk);
}

/* ----------------------------------------------------------------- verdicts */

static enum damage_check verdict_of_check(bool done, const struct seen *seen)
{
	if (!done)
		return CHECK_REFUSED;
	if (seen->result.corruptions > 0)
		return CHECK_CORRUPT;
	if (seen->result.check_errors > 0)
		return CHECK_ERRORS;
	return seen->result.leaks > 0 ? CHECK_LEAKS : CHECK_CLEAN;
}

static bool can_open(const struct damage *damage, uint32_t flags)
{
	struct api_disk disk = damage_make(damage);
	struct seen seen = { 0 };
	struct qcowfmt_image *image = open_disk(&disk, flags, &seen);

	(void)qcowfmt_close(image, NULL);
	api_disk_fini(&disk);
	return image != NULL;
}

static enum damage_check checked(struct api_disk *disk)
{
	struct seen seen = { 0 };
	bool done = check(disk, 0, 0, &seen);

	return verdict_of_check(done, &seen);
}

static enum damage_repair repaired(struct api_disk *disk)
{
	struct seen seen = { 0 };

	if (!check(disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &seen))
		return REPAIR_REFUSED;
	return seen.fixed > 0 ? REPAIR_MENDS : REPAIR_NOTHING;
}

static void print_verdicts(const struct damage *found)
{
	static const char *const opens[] = { "NO", "YES" };
	static const char *const checks[] = { "CLEAN", "LEAKS", "CORRUPT",
		                              "ERRORS", "REFUSED" };
	static const char *const repairs[] = { "NOTHING", "MENDS", "REFUSED" };

	printf("verdicts: %u, \"%s\": %s, %s, %s, %s, %s\n", found->id,
	       found->what, opens[found->read_only], opens[found->read_write],
	       checks[found->check], repairs[found->repair],
	       checks[found->after]);
}

static void compare_verdicts(const struct damage *damage)
{
	struct api_disk disk = damage_make(damage);
	struct damage found = *damage;

	found.read_only = can_open(damage, 0) ? OPEN_YES : OPEN_NO;
	found.read_write = can_open(damage, API_RW) ? OPEN_YES : OPEN_NO;
	found.check = checked(&disk);
	found.repair = repaired(&disk);
	found.after = checked(&disk);
	api_disk_fini(&disk);
	if (getenv("QCF_VERDICTS") != NULL) {
		print_verdicts(&found);
		return;
	}
	ck_assert_msg(found.read_only == damage->read_only, "%s: read-only %d",
	              what, found.read_only);
	ck_assert_msg(found.read_write == damage->read_write,
	              "%s: read-write %d", what, found.read_write);
	ck_assert_msg(found.check == damage->check, "%s: check %d", what,
	              found.check);
	ck_assert_msg(found.repair == damage->repair, "%s: repair %d", what,
	              found.repair);
	ck_assert_msg(found.after == damage->after, "%s: after repair %d", what,
	              found.after);
}

/* -------------------------------------------------------------------- tests */

/* Where a table is guest data, too, it is left out of a dehydrated copy. */
static bool is_shared(const struct damage *damage)
{
	return damage != NULL &&
	       strncmp(what, "refcount table is guest data", 28) == 0;
}

/* A dehydrated copy has the same findings, where nothing had to be left out. */
static void try_dehydrated(const struct damage *damage, struct api_disk *disk,
                           const struct qcowfmt_inspection *found)
{
	struct api_disk copy = { 0 };
	struct qcowfmt_storage *source = api_disk_storage(disk);
	struct qcowfmt_storage *target = api_disk_storage(&copy);
	struct seen seen = { 0 };
	struct qcowfmt_inspection again;

	API_OK(qcowfmt_dehydrate(source, target, 0, &api_error));
	qcowfmt_storage_free(source);
	qcowfmt_storage_free(target);
	ck_assert_uint_eq(copy.size, disk->size);
	again = inspect(&copy, &seen);
	if (!is_shared(damage)) {
		ck_assert_msg(again.corruptions == found->corruptions &&
		                      again.leaks == found->leaks,
		              "%s: dehydrated %" PRIu64 ", want %" PRIu64, what,
		              again.corruptions, found->corruptions);
		ck_assert_uint_eq(again.flags, found->flags);
	}
	api_disk_fini(&copy);
}

static void expect_plan(const struct seen *plan, const struct seen *repair)
{
	ck_assert_msg(
		plan->result.corruptions_fixed ==
				repair->result.corruptions_fixed &&
			plan->result.leaks_fixed == repair->result.leaks_fixed,
		"%s: planned %" PRIu64 "+%" PRIu64 ", done %" PRIu64
		"+%" PRIu64,
		what, plan->result.corruptions_fixed, plan->result.leaks_fixed,
		repair->result.corruptions_fixed, repair->result.leaks_fixed);
}

/* Nothing changes: neither by a plan nor by a second repair. */
static void expect_unchanged(struct api_disk *disk, uint32_t open_flags,
                             uint32_t flags, struct seen *seen)
{
	struct api_disk before = damage_copy_disk(disk);

	(void)check(disk, open_flags, flags, seen);
	ck_assert_msg(before.size == disk->size &&
	                      memcmp(before.bytes, disk->bytes, disk->size) ==
	                              0,
	              "%s: changed by flags %u", what, flags);
	api_disk_fini(&before);
}

static void try_repair(struct api_disk *disk)
{
	static uint8_t before[DAMAGED_SIZE];
	static uint8_t after[DAMAGED_SIZE];
	struct seen seen = { 0 };
	struct seen plan = { 0 };
	bool readable = read_disk(disk, QCOWFMT_OPEN_REPAIR, before, &seen);

	expect_unchanged(disk, 0, QCOWFMT_CHECK_REPAIR_ALL | QCOWFMT_CHECK_PLAN,
	                 &plan);
	if (!check(disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &seen))
		return;
	expect_plan(&plan, &seen);
	if (readable) {
		ck_assert_msg(read_disk(disk, 0, after, &seen),
		              "%s: not readable any more", what);
		ck_assert_msg(memcmp(before, after, DAMAGED_SIZE) == 0,
		              "%s: the disk has changed", what);
	}
	expect_unchanged(disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL, &seen);
}

static void try_damage(const struct damage *damage, bool found_ids[256])
{
	static uint8_t bytes[DAMAGED_SIZE];
	struct api_disk disk = damage_make(damage);
	struct seen seen = { 0 };
	struct qcowfmt_inspection found;

	what = damage->what;
	base = damage->base;
	found = inspect(&disk, &seen);
	(void)read_disk(&disk, 0, bytes, &seen);
	if (!seen.ids[damage->id])
		write_to(damage, &seen);
	ck_assert_msg(seen.ids[damage->id], "%s: id %u is not found", what,
	              damage->id);
	ck_assert_msg(found.corruptions > 0 || damage->check == CHECK_LEAKS ||
	                      damage->check == CHECK_CLEAN,
	              "%s: no corruption", what);
	for (size_t i = 0; i < 256; i++)
		found_ids[i] = found_ids[i] || seen.ids[i];
	compare_verdicts(damage);
	try_dehydrated(damage, &disk, &found);
	try_repair(&disk);
	api_disk_fini(&disk);
}

static bool is_exception(uint32_t id)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(exceptions); i++) {
		if (exceptions[i].id == id)
			return true;
	}
	return false;
}

static void print_figures(void)
{
	printf("figure: corruption-images %zu images\n", damage_count);
	printf("figure: corruption-images-memory %" PRIu64 " bytes at most\n",
	       ceiling_most_memory());
	printf("figure: corruption-images-time %.3f s at most\n",
	       ceiling_most_seconds());
	(void)fflush(stdout);
}

START_TEST(every_kind)
{
	static const uint32_t ids[] = {
#define QCF_CHECK(number, name, repair, text) (number),
#include "checks.def"
#undef QCF_CHECK
	};
	static bool found[256];

	damage_make_bases();
	for (size_t i = 0; i < damage_count; i++)
		try_damage(&damages[i], found);
	for (size_t i = 0; i < QCF_ARRAY_LEN(ids); i++)
		ck_assert_msg(found[ids[i]] != is_exception(ids[i]),
		              "corruption id %u: %s", ids[i],
		              found[ids[i]] ? "is no exception"
		                            : "no image has it");
	damage_drop_bases();
	print_figures();
}

END_TEST

/* An undamaged image has no findings, and a repair leaves every byte. */
START_TEST(sound_images)
{
	damage_make_bases();
	for (int i = 0; i < BASE_COUNT; i++) {
		struct api_disk disk =
			damage_copy_disk(damage_base((enum damage_base)i));
		struct seen seen = { 0 };
		struct qcowfmt_inspection found;

		base = (enum damage_base)i;
		what = damage_base_names[i];
		found = inspect(&disk, &seen);
		ck_assert_uint_eq(found.corruptions + found.leaks, 0);
		ck_assert_uint_eq(found.check_errors, 0);
		ck_assert_uint_eq(found.flags & (QCOWFMT_INSPECT_CAN_OPEN |
		                                 QCOWFMT_INSPECT_HEADER |
		                                 QCOWFMT_INSPECT_COMPLETE),
		                  QCOWFMT_INSPECT_CAN_OPEN |
		                          QCOWFMT_INSPECT_HEADER |
		                          QCOWFMT_INSPECT_COMPLETE);
		try_dehydrated(NULL, &disk, &found);
		expect_unchanged(&disk, API_RW, QCOWFMT_CHECK_REPAIR_ALL,
		                 &seen);
		api_disk_fini(&disk);
	}
	damage_drop_bases();
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, every_kind);
	tcase_add_test(tcase, sound_images);
}

int main(int argc, char **argv)
{
	return api_main("every_corruption_is_found", add_tests, argc, argv);
}
