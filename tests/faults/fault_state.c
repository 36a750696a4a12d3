/* SPDX-License-Identifier: MIT */
/* fault_state.c - what an image of a trial is like, to be compared */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "fault_state.h"
#include "unit.h"

#define SECTOR 512u

void trial_fails(const struct trial *t, const char *format, ...)
{
	char what[1024];
	va_list args;

	faults_disarm();
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	ck_abort_msg("%s, %s%s, %s %" PRIu64 "%s%s, error %d: %s (%s: %s)",
	             t->scenario->name, t->kind->name,
	             t->in_files ? " in files" : "",
	             t->fault == NULL ? "rehearsal"
	                              : fault_site_name(t->fault->site),
	             t->nth, t->fault != NULL && t->fault->sticky ? "+" : "",
	             t->fault != NULL && t->fault->half ? " half" : "",
	             t->fault != NULL ? t->fault->error : 0, what,
	             t->failed_call == NULL ? "" : t->failed_call, t->message);
}

/* ---------------------------------------------------------------------- facts */

struct text {
	char *text;
	size_t len;
};

static void add(struct text *to, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(struct text *to, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	to->len += (size_t)vsnprintf(to->text + to->len,
	                             TRIAL_FACTS - 1 - to->len, format, args);
	va_end(args);
	if (to->len > TRIAL_FACTS - 2)
		to->len = TRIAL_FACTS - 2;
}

static const char *shown(const char *text)
{
	return text == NULL ? "-" : text;
}

static void add_info(struct trial *t, struct qcowfmt_image *image,
                     struct text *to)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	TRIAL_ASSERT(t, qcowfmt_get_info(image, 0, &info, NULL) == 0,
	             "no info");
	add(to,
	    "size %" PRIu64 " version %u counts %u backing %s %s data %s "
	    "lazy %d raw %d\n",
	    info.virtual_size, info.version, info.refcount_bits,
	    shown(info.backing_filename), shown(info.backing_format),
	    shown(info.data_filename),
	    (info.flags & QCOWFMT_INFO_LAZY_REFCOUNTS) != 0,
	    (info.flags & QCOWFMT_INFO_DATA_FILE_RAW) != 0);
}

static uint64_t hash_disk(const struct disk_content *disk)
{
	uint64_t hash = disk->size;

	for (uint64_t i = 0; i < disk->size; i++)
		hash = (hash ^ disk->bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static void add_snapshot(struct trial *t, const struct qcowfmt_snapshot *s,
                         struct text *to)
{
	static struct disk_content disk;
	struct qcowfmt_open_options options = trial_options(t, 0);
	struct qcowfmt_image *image;

	options.snapshot_id = s->id;
	image = trial_open(t, TRIAL_TOP, &options);
	trial_read_disk(t, image, &disk);
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "snapshot");
	add(to, "snapshot %s %s vm %" PRIu64 " disk %" PRIx64 "\n", s->id,
	    s->name, s->vm_state_size, hash_disk(&disk));
}

static void add_snapshots(struct trial *t, struct qcowfmt_image *image,
                          struct text *to)
{
	struct qcowfmt_snapshot_list *list = NULL;
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

	TRIAL_ASSERT(t, qcowfmt_snapshot_list(image, 0, &list, NULL) == 0,
	             "no snapshots");
	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++) {
		qcowfmt_snapshot_list_get(list, i, &s, NULL);
		add_snapshot(t, &s, to);
	}
	qcowfmt_snapshot_list_free(list);
}

static void add_bits(struct trial *t, struct qcowfmt_image *image,
                     const char *name, struct text *to)
{
	uint64_t at = 0;
	uint64_t len = 0;

	for (;;) {
		int ret = qcowfmt_bitmap_next(image, name, at + len, &at, &len,
		                              NULL);

		TRIAL_ASSERT(t, ret >= 0, "bitmap %s: %d", name, ret);
		if (ret == 0)
			break;
		add(to, " %" PRIu64 "+%" PRIu64, at, len);
	}
}

static void add_bitmaps(struct trial *t, struct qcowfmt_image *image,
                        struct text *to)
{
	struct qcowfmt_bitmap_list *list = NULL;
	struct qcowfmt_bitmap b = { .struct_size = sizeof(b) };

	TRIAL_ASSERT(t, qcowfmt_bitmap_list(image, 0, &list, NULL) == 0,
	             "no bitmaps");
	for (uint32_t i = 0; i < qcowfmt_bitmap_list_count(list); i++) {
		qcowfmt_bitmap_list_get(list, i, &b, NULL);
		add(to, "bitmap %s %" PRIu64 " flags %u", b.name, b.granularity,
		    b.flags & QCOWFMT_BITMAP_ENABLED);
		if ((b.flags & QCOWFMT_BITMAP_INCONSISTENT) != 0)
			add(to, " inconsistent");
		else
			add_bits(t, image, b.name, to);
		add(to, "\n");
	}
	qcowfmt_bitmap_list_free(list);
}

static void add_keys(struct trial *t, struct qcowfmt_image *image,
                     struct text *to)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };

	TRIAL_ASSERT(t, qcowfmt_get_encryption_info(image, 0, &info, NULL) == 0,
	             "no encryption info");
	add(to, "encryption %d keys ", info.encryption);
	for (int i = 0; i < QCOWFMT_KEY_SLOT_COUNT; i++)
		add(to, "%d", info.slots[i].active);
	add(to, "\n");
}

void trial_read_disk(struct trial *t, struct qcowfmt_image *image,
                     struct disk_content *disk)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	disk->size = qcowfmt_get_size(image);
	TRIAL_ASSERT(t, disk->size <= sizeof(disk->bytes), "size %" PRIu64,
	             disk->size);
	ret = qcowfmt_pread(image, disk->bytes, (size_t)disk->size, 0, &error);
	TRIAL_ASSERT(t, ret == 0, "cannot be read: %s",
	             qcowfmt_error_message(error));
}

/* ----------------------------------------------------------------- the check */

/* Flags that are clear although the count is 1: they cost a copy at the next
 * write, and version 2 may be left with them. */
#define DATA_COPIED 27u
#define L2_COPIED   28u

struct findings {
	bool print;
	uint64_t flags;
};

static void note_finding(void *opaque, uint32_t id, uint64_t host_offset,
                         const char *message)
{
	struct findings *f = opaque;

	f->flags += id == DATA_COPIED || id == L2_COPIED;
	if (f->print)
		printf("finding %u at 0x%" PRIx64 ": %s\n", id, host_offset,
		       message);
}

static struct qcowfmt_check_result check(struct trial *t,
                                         struct qcowfmt_image *image,
                                         uint32_t flags, struct findings *f)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_check(image, flags, note_finding, f, &r, &error);

	TRIAL_ASSERT(t, ret == 0, "check: %s", qcowfmt_error_message(error));
	return r;
}

static void expect_sound(struct trial *t, struct qcowfmt_image *image)
{
	struct findings f = { false, 0 };
	struct qcowfmt_check_result r = check(t, image, 0, &f);

	if (t->kind->version == 2 && t->outcome == TRIAL_POISONED)
		r.corruptions -= f.flags;
	if (r.corruptions == 0 && r.check_errors == 0)
		return;
	f.print = true;
	check(t, image, 0, &f);
	trial_fails(t, "%" PRIu64 " corruptions, %" PRIu64 " errors",
	            r.corruptions, r.check_errors);
}

/* Nothing is left, and a second repair has nothing to do. */
static void expect_repairable(struct trial *t, struct qcowfmt_image *image)
{
	struct findings f = { false, 0 };
	struct qcowfmt_check_result r =
		check(t, image, QCOWFMT_CHECK_REPAIR_ALL, &f);

	TRIAL_ASSERT(t,
	             r.corruptions == 0 && r.leaks == 0 && r.check_errors == 0,
	             "repair leaves %" PRIu64 " corruptions, %" PRIu64 " leaks",
	             r.corruptions, r.leaks);
	r = check(t, image, QCOWFMT_CHECK_REPAIR_ALL, &f);
	TRIAL_ASSERT(t, r.corruptions_fixed == 0 && r.leaks_fixed == 0,
	             "a second repair mends %" PRIu64 " and %" PRIu64,
	             r.corruptions_fixed, r.leaks_fixed);
}

static struct qcowfmt_image *open_top(struct trial *t, uint32_t flags)
{
	struct qcowfmt_open_options options = trial_options(t, flags);

	return trial_open(t, TRIAL_TOP, &options);
}

static void look_at(struct trial *t, struct qcowfmt_image *image,
                    struct trial_state *state)
{
	struct text facts = { state->facts, 0 };

	trial_read_disk(t, image, &state->disk);
	memset(state->facts, 0, sizeof(state->facts));
	add_info(t, image, &facts);
	if (t->kind->version >= 2) {
		add_snapshots(t, image, &facts);
		add_bitmaps(t, image, &facts);
		add_keys(t, image, &facts);
	}
}

/* Facts are taken with the image read-only: opening it for writing would mark its
 * bitmaps.  A dirty image has to be opened for writing first. */
void trial_look(struct trial *t, struct trial_state *state)
{
	bool counted = t->kind->version >= 2;
	struct qcowfmt_image *image = open_top(t, QCOWFMT_OPEN_READ_WRITE);
	static struct disk_content disk;

	if (counted && (t->scenario->does & DAMAGED) == 0)
		expect_sound(t, image);
	trial_read_disk(t, image, &disk);
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "close");
	image = open_top(t, 0);
	look_at(t, image, state);
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "close");
	if (!counted || t->rehearsing)
		return;
	image = open_top(t, QCOWFMT_OPEN_READ_WRITE);
	expect_repairable(t, image);
	trial_read_disk(t, image, &disk);
	TRIAL_ASSERT(t,
	             disk.size == state->disk.size &&
	                     memcmp(disk.bytes, state->disk.bytes,
	                            (size_t)disk.size) == 0,
	             "repair changes the disk");
	TRIAL_ASSERT(t, qcowfmt_close(image, NULL) == 0, "close");
}

/* ----------------------------------------------------------------- comparing */

static bool sector_is(const struct disk_content *disk, uint64_t at,
                      const uint8_t *bytes, size_t len)
{
	return at + len <= disk->size &&
	       memcmp(disk->bytes + at, bytes, len) == 0;
}

void trial_expect_disk(struct trial *t, const struct disk_content *disk,
                       bool exact)
{
	const struct disk_content *before = &t->before.disk;
	const struct disk_content *after = &t->after.disk;

	TRIAL_ASSERT(t,
	             disk->size == after->size ||
	                     (!exact && disk->size == before->size),
	             "%" PRIu64 " bytes", disk->size);
	for (uint64_t at = 0; at < disk->size; at += SECTOR) {
		size_t len = (size_t)QCF_MIN(disk->size - at, (uint64_t)SECTOR);
		const uint8_t *bytes = disk->bytes + at;

		TRIAL_ASSERT(
			t,
			sector_is(after, at, bytes, len) ||
				(!exact && sector_is(before, at, bytes, len)),
			"byte %" PRIu64 " is %u, was %u, want %u", at, bytes[0],
			before->bytes[at], after->bytes[at]);
	}
}

static bool is_lost_bitmap(const char *line)
{
	return strncmp(line, "bitmap ", 7) == 0 &&
	       strstr(line, " inconsistent") != NULL;
}

/* Take a line from a text. */
static const char *next_line(const char **text, char *line)
{
	size_t len = strcspn(*text, "\n");

	memcpy(line, *text, len);
	line[len] = '\0';
	*text += len + ((*text)[len] != '\0');
	return line;
}

/* The same lines, but for bitmaps that nobody trusts any more. */
static bool matches(const char *facts, const char *state, bool may_lose)
{
	char a[TRIAL_FACTS], b[TRIAL_FACTS];

	while (*facts != '\0' || *state != '\0') {
		next_line(&facts, a);
		next_line(&state, b);
		if (strcmp(a, b) == 0)
			continue;
		if (!may_lose || !is_lost_bitmap(a) ||
		    strncmp(b, "bitmap ", 7) != 0)
			return false;
	}
	return true;
}

/* Each line is of one of the two states, or a bitmap that nobody trusts. */
static bool lines_are_known(const struct trial *t, const char *facts)
{
	char line[TRIAL_FACTS];

	while (*facts != '\0') {
		next_line(&facts, line);
		if (!is_lost_bitmap(line) &&
		    strstr(t->before.facts, line) == NULL &&
		    strstr(t->after.facts, line) == NULL)
			return false;
	}
	return true;
}

void trial_expect_facts(struct trial *t, const char *facts, bool exact)
{
	uint32_t does = t->scenario->does;
	/* A handle that was lost leaves bitmaps in use. */
	bool lost = (does & OPENS) != 0 && t->outcome != TRIAL_SUCCEEDED;
	bool may_lose = t->outcome == TRIAL_POISONED || (does & DIRTY) != 0;
	bool known =
		matches(facts, t->after.facts,
	                (!exact && may_lose) || (lost && may_lose)) ||
		(!exact && matches(facts, t->before.facts, may_lose)) ||
		(!exact && (does & STEPS) != 0 && lines_are_known(t, facts));

	TRIAL_ASSERT(t, known, "is\n%sbut was\n%sand is to be\n%s", facts,
	             t->before.facts, t->after.facts);
}
