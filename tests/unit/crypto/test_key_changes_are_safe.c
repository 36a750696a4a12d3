/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever a power cut or a failing storage leaves of a key change,
 * every other key still opens the image, and no slot is active that no secret
 * opens; a key that was added opens the image, and one that was erased is gone.
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

/* Each active slot by itself is opened by one of the secrets. */
static void judge_slots(struct byte_image *bytes)
{
	static const char *const secrets[] = { "first", "second" };
	const uint8_t *area = byte_image_bytes(bytes) + AREA_OFFSET;
	size_t len = byte_image_size(bytes) - AREA_OFFSET;
	struct qcf_luks_header h;
	uint8_t key[QCF_LUKS_MAX_KEY];

	ck_assert_int_eq(qcf_luks_header_decode(&h, area, len, len, 0, NULL),
	                 0);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		size_t at = (size_t)h.slots[i].key_sector * QCF_LUKS_SECTOR;
		int opened = 0;

		if (!h.slots[i].active)
			continue;
		for (size_t j = 0; j < 2; j++) {
			struct qcf_passphrase p = { secrets[j],
				                    strlen(secrets[j]) };

			opened += qcf_luks_open_slot(&h, i, &p, area + at, key,
			                             NULL);
		}
		ck_assert_int_eq(opened, 1);
	}
}

/* Neither salt nor stripes are left of the slots that are not in use. */
static void judge_wiped(struct key_disk *disk, struct byte_image *bytes)
{
	static const uint8_t zeros[QCF_LUKS_SALT_LEN];
	const uint8_t *area = byte_image_bytes(bytes) + AREA_OFFSET;
	const uint8_t *before =
		byte_image_bytes(disk->log->initial[REC_IMAGE]) + AREA_OFFSET;
	size_t len = byte_image_size(bytes) - AREA_OFFSET;
	struct qcf_luks_header h;

	ck_assert_int_eq(qcf_luks_header_decode(&h, area, len, len, 0, NULL),
	                 0);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		size_t at = (size_t)h.slots[i].key_sector * QCF_LUKS_SECTOR;

		if (h.slots[i].active)
			continue;
		ck_assert_mem_eq(h.slots[i].salt, zeros, sizeof(zeros));
		for (size_t j = 0; j < 64000; j += 16)
			ck_assert(memcmp(area + at + j, zeros, 16) == 0 ||
			          memcmp(area + at + j, before + at + j, 16) !=
			                  0);
	}
}

/* What holds while a change is under way, and once it was acknowledged. */
static void judge(struct key_disk *disk, struct byte_image *bytes,
                  enum kind kind, bool acknowledged)
{
	bool first = key_opens(disk, bytes, "first");
	bool second = key_opens(disk, bytes, "second");

	judge_slots(bytes);
	if (first_stays(kind))
		ck_assert(first);
	else
		ck_assert(first || second);
	if (!acknowledged)
		return;
	ck_assert(first == first_stays(kind));
	ck_assert(second == second_stays(kind));
	judge_wiped(disk, bytes);
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
	judge(&disk, disk.log->now[REC_IMAGE], kind, !reached);
	/* What failed for a moment can be done again. */
	if (reached && verb != VERB_FLUSH && !sticky && kind <= ADD_SLOT_6) {
		ck_assert_int_ge(change(&disk, kind), 0);
		judge(&disk, disk.log->now[REC_IMAGE], kind, true);
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
