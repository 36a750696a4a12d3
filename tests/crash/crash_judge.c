/* SPDX-License-Identifier: MIT */
/*
 * crash_judge.c - whether an image survived a power cut
 *
 * The state must open read-only as it is, and read-write after whatever repair
 * the library makes; both times every sector must hold something legal and a
 * check must find no corruption.  Leaks are allowed.  With the dirty bit set
 * the counts may be wrong until the first opening for writing, and right after.
 * Version 2 has no dirty bit: there an operation on snapshots may leave COPIED
 * flags wrong, which costs space but no data.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "crash_content.h"
#include "crash_judge.h"
#include "crash_qemu.h"

/* One state in so many is also written to, and as many are repaired. */
#define WRITE_EVERY 16

static void show_finding(void *opaque, uint32_t id, uint64_t host_offset,
                         const char *message)
{
	(void)opaque;
	printf("  finding %u at %" PRIu64 ": %s\n", id, host_offset, message);
}

/* COPIED flags: see checks.def. */
#define DATA_COPIED 27u
#define L2_COPIED   28u

static void note_flag(void *opaque, uint32_t id, uint64_t host_offset,
                      const char *message)
{
	uint64_t *flags = opaque;

	(void)host_offset;
	(void)message;
	*flags += id == DATA_COPIED || id == L2_COPIED ? 1 : 0;
}

static bool has_counts(const struct world *w)
{
	return w->geometry->version > 1;
}

/* Corruptions that are only flags are told apart. */
static bool check(struct qcowfmt_image *image,
                  struct qcowfmt_check_result *result, uint64_t *flags)
{
	struct qcowfmt_error *error = NULL;

	*flags = 0;
	*result = (struct qcowfmt_check_result){
		.struct_size = sizeof(*result),
	};
	if (qcowfmt_check(image, 0, note_flag, flags, result, &error) == 0)
		return true;
	printf("check: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return false;
}

/* Version 1 has nothing to check but its content. */
static bool check_finds_nothing_bad(const struct world *w,
                                    struct qcowfmt_image *image,
                                    bool leaks_allowed, const char *when)
{
	struct qcowfmt_check_result result;
	bool flags_allowed =
		leaks_allowed && w->rewritten && w->geometry->version == 2;
	uint64_t flags;

	if (!has_counts(w))
		return true;
	if (!check(image, &result, &flags))
		return false;
	if (result.corruptions == (flags_allowed ? flags : 0) &&
	    result.check_errors == 0 && (leaks_allowed || result.leaks == 0))
		return true;
	printf("%s: %" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64
	       " errors\n",
	       when, result.corruptions, result.leaks, result.check_errors);
	qcowfmt_check(image, 0, show_finding, NULL, &result, NULL);
	return false;
}

static bool is_dirty(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(image, 0, &info, NULL) == 0 &&
	       (info.flags & QCOWFMT_INFO_DIRTY) != 0;
}

static bool close_image(struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_close(image, &error) == 0)
		return true;
	printf("close: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return false;
}

static bool raw_view_is_legal(const struct judge *j,
                              struct qcowfmt_image *image,
                              const struct crash_state *state)
{
	uint64_t clusters = qcowfmt_get_size(image) / j->world->cluster_size;

	return !j->world->geometry->data_file_raw ||
	       world_raw_view_is_legal(j->world, state->data, clusters,
	                               state->position);
}

/* What of a state is not as after a close, and legal all the same. */
struct condition {
	bool dirty;
	bool flags; /* COPIED flags are wrong */
};

static bool judge_read_only(struct judge *j, const struct crash_state *state,
                            struct condition *condition)
{
	struct qcowfmt_image *image =
		world_open(j->world, state->image, state->data, false);
	struct qcowfmt_check_result result = { 0 };
	uint64_t flags = 0;

	if (image == NULL)
		return false;
	condition->dirty = is_dirty(image);
	if (condition->dirty && !j->world->geometry->lazy &&
	    !j->world->rewritten) {
		printf("the dirty bit is set without lazy refcounts\n");
		return false;
	}

	bool fine =
		world_content_is_legal(j->world, image, state->position) &&
		raw_view_is_legal(j, image, state) &&
		world_snapshots_are_legal(j->world, image, state->image,
	                                  state->position) &&
		(condition->dirty ||
	         check_finds_nothing_bad(j->world, image, true, "read-only"));

	if (fine && has_counts(j->world) && check(image, &result, &flags)) {
		j->leaks += result.leaks > 0 ? 1 : 0;
		j->compressed += result.compressed_clusters > 0 ? 1 : 0;
	}
	condition->flags = flags > 0;
	j->dirty += condition->dirty ? 1 : 0;
	j->flags += condition->flags ? 1 : 0;
	return close_image(image) && fine;
}

/* A cluster at the end, where no operation goes, and one that snapshots have, too,
 * are written. */
static bool write_works(const struct world *w, struct qcowfmt_image *image,
                        const struct crash_state *state)
{
	struct qcowfmt_error *error = NULL;
	uint64_t offset = qcowfmt_get_size(image) - w->cluster_size;
	bool fine =
		qcowfmt_pwrite(image, "after the crash", 16, offset, &error) ==
			0 &&
		qcowfmt_pwrite(image, "after the crash", 16, 0, &error) == 0 &&
		qcowfmt_flush(image, &error) == 0;

	if (!fine)
		printf("writing: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return fine &&
	       check_finds_nothing_bad(w, image, true, "after writing") &&
	       world_snapshots_are_legal(w, image, state->image,
	                                 state->position);
}

/* Repairing gives back what has leaked and changes nothing else. */
static bool repair_works(struct judge *j, struct qcowfmt_image *image,
                         size_t position)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;

	if (!has_counts(j->world))
		return true;
	if (qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL, &result,
	                  &error) < 0) {
		printf("repair: %s\n", qcowfmt_error_message(error));
		qcowfmt_error_free(error);
		return false;
	}
	return check_finds_nothing_bad(j->world, image, false, "repaired") &&
	       world_content_is_legal(j->world, image, position);
}

static bool judge_read_write(struct judge *j, const struct crash_state *state,
                             bool was_dirty)
{
	struct qcowfmt_image *image =
		world_open(j->world, state->image, state->data, true);

	if (image == NULL)
		return false;

	bool fine = world_content_is_legal(j->world, image, state->position) &&
	            check_finds_nothing_bad(j->world, image, !was_dirty,
	                                    "read-write");

	if (fine && state->fingerprint % WRITE_EVERY == 0)
		fine = write_works(j->world, image, state);
	if (fine && state->fingerprint % WRITE_EVERY == 1)
		fine = repair_works(j, image, state->position);
	return close_image(image) && fine;
}

/* Keep the bytes of a state that is wrong, if somebody wants to look. */
static void keep_state(const struct crash_state *state)
{
	const char *path = getenv("QCF_KEEP_STATE");
	char data_path[1024];

	if (path == NULL || !write_image_file(state->image, path))
		return;
	printf("the state is in %s\n", path);
	if (state->data == NULL)
		return;
	snprintf(data_path, sizeof(data_path), "%s.data", path);
	if (write_image_file(state->data, data_path))
		printf("its data file is in %s\n", data_path);
}

static bool judge_loudly(struct judge *j, const struct crash_state *state)
{
	struct condition condition = { 0 };

	if (!judge_read_only(j, state, &condition))
		return false;
	if (j->qemu_every > 0 && ++j->since_qemu == j->qemu_every) {
		j->since_qemu = 0;
		j->qemu_checked++;
		if (!qemu_approves(j->world, state, j->qemu_img,
		                   condition.dirty, condition.flags))
			return false;
	}
	return judge_read_write(j, state, condition.dirty);
}

bool judge_state(void *opaque, const struct crash_state *state)
{
	struct judge *j = opaque;

	/* Opening for writing may change the bytes. */
	byte_image_save(state->image);
	if (state->data != NULL)
		byte_image_save(state->data);

	bool fine = judge_loudly(j, state);

	byte_image_undo(state->image);
	if (state->data != NULL)
		byte_image_undo(state->data);
	if (!fine && !j->quiet) {
		printf("%s: %s: state %#" PRIx64 " at position %zu\n",
		       j->world->geometry->name, j->world->sequence,
		       state->fingerprint, state->position);
		keep_state(state);
	}
	return fine;
}
