/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever a power cut or a failing storage leaves of a key change,
 * every other key still opens the image; a key that was added opens it, and one
 * that was erased does not.
 */
#include "crash_states.h"
#include "key_disk.h"

enum kind {
	ADD,         /* "second" beside "first" */
	ADD_SLOT_6,  /* whose slot lies in two sectors */
	ERASE,       /* "second", leaving "first" */
	ERASE_OTHER, /* "second" in slot 6 */
	REPLACE,     /* "first" by "second", the only ones */
	KIND_COUNT
};

static void prepare(struct key_disk *disk, enum kind kind)
{
	key_disk_init(disk);
	if (kind == ERASE)
		ck_assert_int_eq(add_key(disk, 1, "second", 0), 1);
	if (kind == ERASE_OTHER)
		ck_assert_int_eq(add_key(disk, 6, "second", 0), 6);
	rec_log_restart(disk->log);
}

static int change(struct key_disk *disk, enum kind kind)
{
	switch (kind) {
	case ADD:
		return add_key(disk, -1, "second", 0);
	case ADD_SLOT_6:
		return add_key(disk, 6, "second", 0);
	case ERASE:
	case ERASE_OTHER:
		return erase_key(disk, -1, "second", 0);
	default:
		return add_key(disk, 0, "second", QCOWFMT_KEY_FORCE);
	}
}

static bool first_stays(enum kind kind)
{
	return kind != REPLACE;
}

static bool second_stays(enum kind kind)
{
	return kind != ERASE && kind != ERASE_OTHER;
}

/* What holds while a change is under way, and once it was acknowledged. */
static void judge(struct key_disk *disk, struct byte_image *bytes,
                  enum kind kind, bool acknowledged)
{
	bool first = key_opens(disk, bytes, "first");
	bool second = key_opens(disk, bytes, "second");

	if (first_stays(kind))
		ck_assert(first);
	else
		ck_assert(first || second);
	if (!acknowledged)
		return;
	ck_assert(first == first_stays(kind));
	ck_assert(second == second_stays(kind));
}

/* ------------------------------------------------------------------- crashes */

struct trial {
	struct key_disk *disk;
	enum kind kind;
};

static bool visit(void *opaque, const struct crash_state *state)
{
	struct trial *trial = opaque;
	const struct rec_log *log = trial->disk->log;
	bool acknowledged = false;

	for (size_t i = 0; i < state->position; i++)
		acknowledged = acknowledged || log->ops[i].kind == REC_MARK;
	judge(trial->disk, state->image, trial->kind, acknowledged);
	return true;
}

START_TEST(power_cuts_lose_no_key)
{
	struct crash_options options = { .samples = 64, .seed = 1 };
	struct crash_totals totals = { 0 };
	struct key_disk disk;
	struct trial trial = { &disk, (enum kind)_i };

	prepare(&disk, trial.kind);
	ck_assert_int_ge(change(&disk, trial.kind), 0);
	rec_log_mark(disk.log);
	ck_assert(
		crash_states_visit(disk.log, &options, visit, &trial, &totals));
	printf("%" PRIu64 " states, %" PRIu64 " torn\n", totals.states,
	       totals.torn);
	ck_assert_uint_ge(totals.states, 15);
	key_disk_fini(&disk);
}

END_TEST

/* ------------------------------------------------------------------ failures */

/* Let the n-th call of a verb fail; false if there were fewer. */
static bool fail_nth(enum kind kind, uint32_t verb, uint64_t nth, bool sticky)
{
	struct key_disk disk;
	bool reached;
	int ret;

	prepare(&disk, kind);
	disk.plan.verbs = VERB_BIT(verb);
	disk.plan.error = EIO;
	disk.plan.sticky = sticky;
	atomic_store(&disk.plan.calls, 0);
	disk.plan.nth = nth;
	ret = change(&disk, kind);
	disk.plan.nth = 0;
	reached = atomic_load(&disk.plan.failures) > 0;
	if (reached) {
		ck_assert_int_eq(ret, -EIO);
		ck_assert(qcf_poison_check(&disk.poison, NULL) ==
		          (verb == VERB_FLUSH ? -EIO : 0));
	} else {
		ck_assert_int_ge(ret, 0);
	}
	judge(&disk, NULL, kind, !reached);
	/* What failed for a moment can be done again. */
	if (reached && verb != VERB_FLUSH && !sticky && kind <= ADD_SLOT_6) {
		ck_assert_int_ge(change(&disk, kind), 0);
		judge(&disk, NULL, kind, true);
	}
	key_disk_fini(&disk);
	return reached;
}

START_TEST(failures_lose_no_key)
{
	static const uint32_t verbs[] = { VERB_READ, VERB_WRITE, VERB_FLUSH };

	for (size_t i = 0; i < QCF_ARRAY_LEN(verbs); i++) {
		uint64_t nth = 1;

		while (fail_nth((enum kind)_i, verbs[i], nth, nth % 2 == 0))
			nth++;
		ck_assert_uint_ge(nth, 2);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, power_cuts_lose_no_key, 0, KIND_COUNT);
	tcase_add_loop_test(tcase, failures_lose_no_key, 0, KIND_COUNT);
}

int main(void)
{
	return unit_run("key_changes_are_safe", add_tests);
}
