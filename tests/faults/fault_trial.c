/* SPDX-License-Identifier: MIT */
/* fault_trial.c - calls of the library while something fails, and the verdict */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc_faults.h"
#include "auto.h"
#include "fault_images.h"
#include "fault_state.h"
#include "scratch.h"
#include "unit.h"

/* More descriptors than a trial has open at a time. */
#define DESCRIPTORS 64

#define MAX_CALLED 128

static char called[MAX_CALLED][48];
static size_t called_count;

/* ------------------------------------------------------------------- the calls */

bool trial_was_called(const char *function)
{
	for (size_t i = 0; i < called_count; i++) {
		if (strcmp(called[i], function) == 0)
			return true;
	}
	return false;
}

void trial_enters(struct trial *t, const char *function)
{
	t->failed_call = function;
	if (t->rehearsing && !trial_was_called(function)) {
		ck_assert_uint_lt(called_count, MAX_CALLED);
		snprintf(called[called_count++], sizeof(called[0]), "%s",
		         function);
	}
	faults_inside(true);
}

void trial_leaves(void)
{
	faults_inside(false);
}

/* What an error may say that comes from this fault. */
static bool is_reason(const struct fault *fault, int err)
{
	if (fault->site == FAULT_MEMORY)
		return err == ENOMEM;
	return err == fault->error || err == EIO;
}

static void note_failure(struct trial *t, int err)
{
	snprintf(t->message, sizeof(t->message), "%s",
	         qcowfmt_error_message(t->error));
	TRIAL_ASSERT(t, t->error != NULL, "fails with %d and no error", err);
	TRIAL_ASSERT(t, qcowfmt_error_errno(t->error) == err,
	             "returns %d, its error says %d", err,
	             qcowfmt_error_errno(t->error));
	TRIAL_ASSERT(t,
	             qcowfmt_error_code(t->error) != QCOWFMT_ERR_NONE &&
	                     t->message[0] != '\0',
	             "fails without saying why");
	if (t->failures++ == 0) {
		t->first_errno = err;
		t->first_code = qcowfmt_error_code(t->error);
	}
	if (t->disarmed)
		return;
	TRIAL_ASSERT(t,
	             t->fault == NULL || !t->fault->invisible ||
	                     ((t->scenario->does & WHOLE_BLOCKS) != 0 &&
	                      t->fault->sticky),
	             "fails with %d", err);
	TRIAL_ASSERT(t, t->fault != NULL && faults_made() > 0,
	             "fails with %d without a reason", err);
	TRIAL_ASSERT(t, is_reason(t->fault, err), "fails with %d", err);
}

int64_t trial_returned(struct trial *t, int64_t ret)
{
	faults_inside(false);
	if (ret < 0)
		note_failure(t, (int)-ret);
	else
		TRIAL_ASSERT(t, t->error == NULL, "succeeds with an error: %s",
		             qcowfmt_error_message(t->error));
	qcowfmt_error_free(t->error);
	t->error = NULL;
	return ret;
}

void trial_incomplete(struct trial *t)
{
	TRIAL_ASSERT(t, !t->disarmed && faults_made() > 0,
	             "is incomplete without a reason");
	t->failures++;
}

void trial_put(struct trial *t, const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < len; i++)
		t->digest = (t->digest ^ byte[i]) * UINT64_C(0x100000001b3);
}

void trial_put_text(struct trial *t, const char *text)
{
	if (text != NULL)
		trial_put(t, text, strlen(text));
}

/* ------------------------------------------------------------------ the files */

const char *trial_file_name(enum trial_file file)
{
	static const char *const names[TRIAL_FILES] = { "top", "base", "data",
		                                        "other" };

	return names[file];
}

const char *trial_path(enum trial_file file)
{
	return scratch_path(trial_file_name(file));
}

static void write_file(struct trial *t, enum trial_file file)
{
	const struct fault_disk *disk = &t->now[file];
	int fd = open(trial_path(file), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	TRIAL_ASSERT(t,
	             fd >= 0 &&
	                     pwrite(fd, disk->bytes, disk->size, 0) ==
	                             (ssize_t)disk->size &&
	                     ftruncate(fd, (off_t)disk->size) == 0,
	             "cannot write a file: %d", errno);
	close(fd);
}

static void read_file(struct trial *t, enum trial_file file)
{
	static uint8_t bytes[FAULT_DISK_CAPACITY];
	int fd = open(trial_path(file), O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : pread(fd, bytes, sizeof(bytes), 0);

	TRIAL_ASSERT(t, len >= 0, "cannot read a file: %d", errno);
	fault_disk_load(&t->now[file], bytes, (size_t)len);
	if (fd >= 0)
		close(fd);
}

struct qcowfmt_storage *trial_storage(struct trial *t, enum trial_file file,
                                      bool writable)
{
	struct qcowfmt_storage_ops ops = fault_disk_ops(writable);
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = writable ? 0 : QCOWFMT_FILE_READ_ONLY,
	};
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_error *error = NULL;
	int ret =
		t->in_files
			? qcowfmt_storage_open_file(trial_path(file), &options,
	                                            &storage, &error)
			: qcowfmt_storage_new_custom(&ops, &t->now[file],
	                                             trial_file_name(file),
	                                             &storage, &error);

	TRIAL_ASSERT(t, ret == 0, "storage of %s: %s", trial_file_name(file),
	             qcowfmt_error_message(error));
	return storage;
}

struct qcowfmt_storage *trial_try_storage(struct trial *t, enum trial_file file,
                                          bool writable)
{
	struct qcowfmt_storage_ops ops = fault_disk_ops(writable);
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = writable ? 0 : QCOWFMT_FILE_READ_ONLY,
	};
	struct qcowfmt_storage *storage = NULL;

	if (t->in_files)
		TRY(t, qcowfmt_storage_open_file, trial_path(file), &options,
		    &storage, &t->error);
	else
		TRY(t, qcowfmt_storage_new_custom, &ops, &t->now[file],
		    trial_file_name(file), &storage, &t->error);
	return storage;
}

/* Supplies what the image names; the library may be in the middle of a call. */
static int supply(void *opaque, const struct qcowfmt_reference *reference,
                  struct qcowfmt_storage **storage, int32_t *format)
{
	struct trial *t = opaque;
	bool data = reference->kind == QCOWFMT_REFERENCE_DATA_FILE;
	enum trial_file file = data ? TRIAL_DATA : TRIAL_BASE;
	struct qcowfmt_storage_ops ops = fault_disk_ops(data);

	(void)format;
	if (strcmp(reference->name, trial_file_name(TRIAL_OTHER)) == 0)
		file = TRIAL_OTHER;
	return qcowfmt_storage_new_custom(&ops, &t->now[file], reference->name,
	                                  storage, NULL);
}

struct qcowfmt_open_options trial_options(struct trial *t, uint32_t flags)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = t->kind->format,
		.flags = flags,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
	};

	options.reference_policy = QCOWFMT_REFERENCES_CALLBACK;
	options.reference_callback = supply;
	options.reference_opaque = t;
	if (t->in_files)
		options.reference_policy = QCOWFMT_REFERENCES_BENEATH;
	if (t->kind->encryption != 0) {
		options.secret = TRIAL_SECRET;
		options.secret_len = strlen(TRIAL_SECRET);
	}
	return options;
}

struct qcowfmt_image *trial_open(struct trial *t, enum trial_file file,
                                 const struct qcowfmt_open_options *options)
{
	bool writable = (options->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcowfmt_storage *storage = trial_storage(t, file, writable);
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_open(storage, options, &image, &error);

	TRIAL_ASSERT(t, ret == 0, "%s does not open: %s", trial_file_name(file),
	             qcowfmt_error_message(error));
	return image;
}

/* ------------------------------------------------------------------ scenarios */

const struct scenario *trial_scenario(size_t index)
{
	const struct {
		const struct scenario *list;
		size_t count;
	} groups[] = {
		{ guest_scenarios, guest_scenario_count },
		{ meta_scenarios, meta_scenario_count },
		{ whole_scenarios, whole_scenario_count },
		{ chain_scenarios, chain_scenario_count },
		{ file_scenarios, file_scenario_count },
		{ queue_scenarios, queue_scenario_count },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(groups); i++) {
		if (index < groups[i].count)
			return &groups[i].list[index];
		index -= groups[i].count;
	}
	return NULL;
}

bool trial_applies(const struct scenario *s, const struct trial_kind *k,
                   bool in_files)
{
	bool qcow2 = k->format == QCOWFMT_FORMAT_QCOW2;

	const struct {
		uint32_t need;
		bool met;
	} needs[] = {
		{ NEEDS_QCOW2, qcow2 },
		{ NEEDS_COUNTS, qcow2 },
		{ NEEDS_QCOW, k->format != QCOWFMT_FORMAT_RAW },
		{ NEEDS_VERSION_3, k->version == 3 },
		{ NEEDS_BASE, k->base_format != QCOWFMT_FORMAT_PROBE },
		{ NEEDS_SNAPSHOTS, k->snapshots },
		{ NEEDS_NO_SNAPSHOTS, !k->snapshots },
		{ NEEDS_BITMAPS, k->bitmaps },
		{ NEEDS_NO_BITMAPS, !k->bitmaps },
		{ NEEDS_LUKS, k->encryption == QCOWFMT_ENCRYPTION_LUKS },
		{ NEEDS_NO_SECRET, k->encryption == 0 },
		{ NEEDS_NO_DATA, !k->data_file },
		{ NEEDS_DATA_FILE, k->data_file },
		{ NEEDS_FILES, in_files },
		{ NEEDS_PLAIN,
		  !k->data_file && !k->zstd &&
		          (k->flags & QCOWFMT_CREATE_EXTENDED_L2) == 0 },
		{ NEEDS_GROWING, k->format != QCOWFMT_FORMAT_QCOW &&
		                         !(k->version == 2 && k->snapshots) },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(needs); i++) {
		if ((s->needs & needs[i].need) != 0 && !needs[i].met)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------- a trial */

static const struct scenario preparing = { .name = "preparing" };

void trial_init(struct trial *t, const struct trial_kind *kind, bool in_files)
{
	*t = (struct trial){ .kind = kind, .scenario = &preparing };
	for (int i = 0; i < TRIAL_FILES; i++) {
		fault_disk_init(&t->made[i]);
		fault_disk_init(&t->now[i]);
		fault_disk_init(&t->rehearsed[i]);
	}
	trial_make_images(t);
	for (int i = 0; i < TRIAL_FILES; i++)
		fault_disk_copy(&t->made[i], &t->now[i]);
	fault_disk_init(&t->damaged);
	fault_disk_copy(&t->damaged, &t->made[TRIAL_TOP]);
	if (kind->version >= 2)
		trial_damage(&t->damaged);
	t->in_files = in_files;
}

void trial_fini(struct trial *t)
{
	for (int i = 0; i < TRIAL_FILES; i++) {
		fault_disk_fini(&t->made[i]);
		fault_disk_fini(&t->now[i]);
		fault_disk_fini(&t->rehearsed[i]);
	}
	fault_disk_fini(&t->damaged);
}

static int count_descriptors(void)
{
	struct pollfd fds[DESCRIPTORS];
	int closed = 0;

	for (int i = 0; i < DESCRIPTORS; i++)
		fds[i] = (struct pollfd){ .fd = i };
	poll(fds, DESCRIPTORS, 0);
	for (int i = 0; i < DESCRIPTORS; i++)
		closed += (fds[i].revents & POLLNVAL) != 0;
	return DESCRIPTORS - closed;
}

void trial_write_files(struct trial *t)
{
	for (int i = 0; i < TRIAL_FILES && t->in_files; i++)
		write_file(t, (enum trial_file)i);
}

/* What a file is at the beginning of a trial. */
static const struct fault_disk *first(const struct trial *t, int file)
{
	if (file == TRIAL_TOP && (t->scenario->does & DAMAGED) != 0)
		return &t->damaged;
	return &t->made[file];
}

static void set_up(struct trial *t)
{
	for (int i = 0; i < TRIAL_FILES; i++)
		fault_disk_copy(&t->now[i], first(t, i));
	trial_write_files(t);
	t->failures = 0;
	t->digest = 0;
	t->disarmed = false;
	t->failed_call = NULL;
	t->message[0] = '\0';
}

static void open_handle(struct trial *t)
{
	uint32_t does = t->scenario->does;
	struct qcowfmt_open_options options = trial_options(
		t, (does & READS_ONLY) != 0 ? 0 : QCOWFMT_OPEN_READ_WRITE);

	if ((does & TOP_ONLY) != 0)
		options.chain_limit = 1;
	if ((does & DAMAGED) != 0)
		options.flags |= QCOWFMT_OPEN_REPAIR;
	if ((does & OPENS) == 0)
		t->image = trial_open(t, TRIAL_TOP, &options);
	if (t->scenario->prepare != NULL)
		t->scenario->prepare(t);
}

static bool is_poisoned(struct trial *t)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_flush(t->image, &error);
	int code = qcowfmt_error_code(error);

	TRIAL_ASSERT(t, ret == 0 || code == QCOWFMT_ERR_POISONED,
	             "flush after the failure: %s",
	             qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return ret < 0;
}

/* A poisoned image says so, to writers as well. */
static void expect_refusal(struct trial *t)
{
	struct qcowfmt_error *error = NULL;
	uint8_t byte = 1;
	int ret = qcowfmt_pwrite(t->image, &byte, 1, 0, &error);

	TRIAL_ASSERT(
		t, ret < 0 && qcowfmt_error_code(error) == QCOWFMT_ERR_POISONED,
		"poisoned, but a write gives %d", ret);
	qcowfmt_error_free(error);
}

/* Whether what a failed attempt says is known to be possible: the first one had
 * arrived, or it was the other image that was poisoned. */
static bool may_fail_again(const struct trial *t)
{
	return (t->scenario->again_errno != 0 &&
	        t->first_errno == t->scenario->again_errno) ||
	       (t->first_code == QCOWFMT_ERR_POISONED && t->other != NULL &&
	        (t->fault->any || t->fault->site == FAULT_FLUSH ||
	         t->fault->site == FAULT_SYS_FDATASYNC));
}

/* The calls, made again with nothing in their way. */
static void act_again(struct trial *t)
{
	qcowfmt_storage_free(t->storage);
	t->storage = NULL;
	t->failures = 0;
	t->digest = 0;
	t->scenario->act(t);
	if (t->failures == 0)
		t->outcome = TRIAL_REPEATED;
	else if (t->first_code != QCOWFMT_ERR_POISONED)
		t->outcome = TRIAL_ARRIVED;
	TRIAL_ASSERT(t, t->failures == 0 || may_fail_again(t),
	             "fails again: %s", t->message);
}

/* After a failure. */
static void use_handle(struct trial *t)
{
	static struct disk_content disk;
	bool writable = (t->scenario->does & READS_ONLY) == 0;
	bool poisoned;

	if ((t->scenario->does & TOP_ONLY) == 0) {
		trial_read_disk(t, t->image, &disk);
		trial_expect_disk(t, &disk, false);
	}
	poisoned = writable && is_poisoned(t);
	TRIAL_ASSERT(t,
	             poisoned || !writable ||
	                     t->now[TRIAL_TOP].flush_faults == 0 || t->in_files,
	             "not poisoned although a flush failed");
	t->outcome = poisoned ? TRIAL_POISONED : TRIAL_FAILED;
	if (poisoned)
		expect_refusal(t);
	else if ((t->scenario->does & ONCE) == 0)
		act_again(t);
}

static void go_on(struct trial *t)
{
	t->disarmed = true;
	t->outcome = t->failures > 0 ? TRIAL_FAILED : TRIAL_SUCCEEDED;
	if (t->failures == 0)
		TRIAL_ASSERT(t, t->now[TRIAL_TOP].flush_faults == 0,
		             "succeeds although a flush failed");
	else if (t->image != NULL)
		use_handle(t);
	else if ((t->scenario->does & ONCE) == 0)
		act_again(t);
}

/* Whatever the scenario left open. */
static void close_all(struct trial *t)
{
	bool must_work = t->outcome != TRIAL_POISONED;
	struct qcowfmt_error *error = NULL;
	int ret;

	(void)qcowfmt_close(t->other, NULL);
	t->other = NULL;
	ret = qcowfmt_close(t->image, &error);
	t->image = NULL;
	TRIAL_ASSERT(t, !must_work || ret == 0, "close: %s",
	             qcowfmt_error_message(error));
	TRIAL_ASSERT(t, (ret < 0) == (error != NULL), "close: %d", ret);
	qcowfmt_error_free(error);
	qcowfmt_storage_free(t->storage);
	t->storage = NULL;
}

static bool same_bytes(const struct fault_disk *a, const struct fault_disk *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static void expect_untouched(struct trial *t)
{
	uint32_t does = t->scenario->does;

	for (int i = 0; i < TRIAL_FILES; i++) {
		bool may_change = i == TRIAL_BASE ? (does & CHANGES_BASE) != 0
		                  : i == TRIAL_OTHER
		                          ? (does & CHANGES_OTHER) != 0
		                          : (does & READS_ONLY) == 0;

		TRIAL_ASSERT(
			t, may_change || same_bytes(&t->now[i], first(t, i)),
			"%s has changed", trial_file_name((enum trial_file)i));
	}
}

static void expect_result(struct trial *t)
{
	bool at_once = t->outcome == TRIAL_SUCCEEDED;

	TRIAL_ASSERT(t,
	             (!at_once && t->outcome != TRIAL_REPEATED) ||
	                     t->digest == t->rehearsed_digest,
	             "succeeds with another result");
	TRIAL_ASSERT(t, !at_once || t->fsyncs == t->rehearsed_fsyncs,
	             "succeeds, but a directory is not stable");
	/* What found no space in one place may have found it in another. */
	if (!at_once || t->fault->error == ENOSPC ||
	    (t->scenario->does & (CHANGES_OTHER | OTHER_VARIES)) !=
	            CHANGES_OTHER)
		return;
	TRIAL_ASSERT(
		t, same_bytes(&t->now[TRIAL_OTHER], &t->rehearsed[TRIAL_OTHER]),
		"succeeds, but the other file is not as it is to be");
}

void trial_load_files(struct trial *t)
{
	for (int i = 0; i < TRIAL_FILES && t->in_files; i++)
		read_file(t, (enum trial_file)i);
}

/* Judging looks at the bytes themselves. */
static void judge(struct trial *t)
{
	static struct trial_state state;
	bool in_files = t->in_files;
	bool exact = t->outcome >= TRIAL_ARRIVED;

	trial_load_files(t);
	expect_untouched(t);
	expect_result(t);
	t->in_files = false;
	if (t->scenario->judge != NULL)
		t->scenario->judge(t);
	if ((t->scenario->does & READS_ONLY) == 0) {
		trial_look(t, &state);
		trial_expect_disk(t, &state.disk, exact);
		trial_expect_facts(t, state.facts, exact);
	}
	t->in_files = in_files;
}

bool trial_run(struct trial *t, const struct fault *fault, uint64_t nth)
{
	int64_t live = alloc_faults_live();
	int descriptors = t->in_files ? count_descriptors() : 0;
	bool made;

	t->fault = fault;
	t->nth = nth;
	set_up(t);
	open_handle(t);
	t->fsyncs = faults_fsyncs();
	faults_arm(fault, nth);
	t->scenario->act(t);
	faults_disarm();
	t->fsyncs = faults_fsyncs() - t->fsyncs;
	made = faults_made() > 0;
	go_on(t);
	close_all(t);
	TRIAL_ASSERT(t, alloc_faults_live() == live,
	             "%d blocks of memory are lost",
	             (int)(alloc_faults_live() - live));
	TRIAL_ASSERT(t, !t->in_files || count_descriptors() == descriptors,
	             "%d descriptors are lost",
	             count_descriptors() - descriptors);
	judge(t);
	return made;
}

/* ------------------------------------------------------------- the rehearsal */

void trial_rehearse(struct trial *t, const struct scenario *scenario)
{
	bool in_files = t->in_files;
	uint64_t fsyncs;

	t->scenario = scenario;
	t->fault = NULL;
	t->nth = 0;
	t->rehearsing = true;
	set_up(t);
	t->in_files = false;
	trial_look(t, &t->before);
	t->in_files = in_files;
	set_up(t);
	open_handle(t);
	fsyncs = faults_fsyncs();
	t->scenario->act(t);
	t->rehearsed_fsyncs = faults_fsyncs() - fsyncs;
	TRIAL_ASSERT(t, t->failures == 0, "fails: %s", t->message);
	t->outcome = TRIAL_SUCCEEDED;
	close_all(t);
	trial_load_files(t);
	expect_untouched(t);
	t->rehearsed_digest = t->digest;
	for (int i = 0; i < TRIAL_FILES; i++)
		fault_disk_copy(&t->rehearsed[i], &t->now[i]);
	t->in_files = false;
	trial_look(t, &t->after);
	t->in_files = in_files;
	t->rehearsing = false;
}
