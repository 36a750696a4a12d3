/* SPDX-License-Identifier: MIT */
/*
 * Promise: an ordering bug cannot hide.  A toy store keeps a record and a
 * pointer to it; each of its flushes, and the atomicity of its pointer, is
 * needed, and taking any one away is caught.
 */
#include <string.h>

#include "crash_states.h"
#include "unit.h"

/*
 * Sector 0: version of the newest record, written last.
 * From sector 8 on, 4 sectors for each record: its version in every byte.
 */
#define RECORD_OFFSET(version) ((8u + 4u * (version)) * 512u)
#define RECORD_LEN             (4u * 512u)

enum bug {
	BUG_NONE,
	BUG_NO_FLUSH_BEFORE_POINTER, /* the pointer may come first */
	BUG_NO_FLUSH_AFTER_POINTER,  /* acknowledged, but not stable */
	BUG_POINTER_IN_TWO_SECTORS,  /* the pointer can be torn */
	BUG_IN_PLACE,                /* the record is overwritten */
	BUG_COUNT
};

static struct qcowfmt_storage *s;

static void put(const void *data, size_t len, uint64_t offset)
{
	ck_assert_int_eq(qcf_storage_pwrite(s, data, len, offset, NULL), 0);
}

static void put_pointer(uint8_t version, enum bug bug)
{
	uint8_t two[2] = { version, version };

	/* The bug keeps one copy at the end of sector 0, one in sector 1. */
	if (bug == BUG_POINTER_IN_TWO_SECTORS)
		put(two, 2, 511);
	else
		put(two, 1, 511);
}

static void store(struct rec_log *log, uint8_t version, enum bug bug)
{
	uint8_t record[RECORD_LEN];

	memset(record, version, sizeof(record));
	put(record, sizeof(record),
	    RECORD_OFFSET(bug == BUG_IN_PLACE ? 1u : version));
	if (bug != BUG_NO_FLUSH_BEFORE_POINTER)
		ck_assert_int_eq(qcf_storage_flush(s, NULL), 0);
	put_pointer(version, bug);
	if (bug != BUG_NO_FLUSH_AFTER_POINTER)
		ck_assert_int_eq(qcf_storage_flush(s, NULL), 0);
	rec_log_mark(log); /* acknowledged to the user */
}

struct judge {
	const struct rec_log *log;
	enum bug bug;
};

/* How many marks there are up to a position: the acknowledged version. */
static uint8_t acknowledged(const struct rec_log *log, size_t position)
{
	uint8_t count = 0;

	for (size_t i = 0; i < position; i++)
		count = (uint8_t)(count + (log->ops[i].kind == REC_MARK));
	return count;
}

static bool is_fine(void *opaque, const struct crash_state *state)
{
	const struct judge *judge = opaque;
	const uint8_t *bytes = byte_image_bytes(state->image);
	uint8_t version = bytes[511];
	size_t at = RECORD_OFFSET(judge->bug == BUG_IN_PLACE ? 1u : version);

	if (judge->bug == BUG_POINTER_IN_TWO_SECTORS && bytes[512] != version)
		return false;
	if (version < acknowledged(judge->log, state->position))
		return false;
	for (size_t i = 0; version > 0 && i < RECORD_LEN; i++) {
		if (bytes[at + i] != version)
			return false;
	}
	return true;
}

START_TEST(bug_is_caught)
{
	enum bug bug = (enum bug)_i;
	struct rec_log *log = rec_log_new(65536);
	struct judge judge = { log, bug };
	struct crash_options options = { .seed = 7 };
	struct crash_totals totals = { 0 };

	s = rec_storage_new(log);
	ck_assert_int_eq(qcf_storage_truncate(s, 32768, NULL), 0);
	rec_log_restart(log);
	for (uint8_t version = 1; version <= 3; version++)
		store(log, version, bug);

	bool fine = crash_states_visit(log, &options, is_fine, &judge, &totals);

	ck_assert_msg(fine == (bug == BUG_NONE), "bug %d after %d states", bug,
	              (int)totals.states);
	if (fine)
		ck_assert_uint_gt(totals.states, 30);
	qcowfmt_storage_free(s);
	rec_log_free(log);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, bug_is_caught, BUG_NONE, BUG_COUNT);
}

int main(void)
{
	return unit_run("crash_states_catch_a_missing_flush", add);
}
