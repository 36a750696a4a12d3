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

#include "auto.h"
#include "crash_content.h"
#include "crash_judge.h"
#include "crash_parts.h"
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

/* What a check found; corruptions that are only flags are told apart. */
struct findings {
	struct qcowfmt_check_result result;
	uint64_t flags;
};

static bool check(struct qcowfmt_image *image, struct findings *f)
{
	struct qcowfmt_error *error = NULL;

	*f = (struct findings){
		.result.struct_size = sizeof(f->result),
	};
	if (qcowfmt_check(image, 0, note_flag, &f->flags, &f->result, &error) ==
	    0)
		return true;
	printf("check: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return false;
}

static bool get_info(struct qcowfmt_image *image, struct qcowfmt_info *info)
{
	*info = (struct qcowfmt_info){ .struct_size = sizeof(*info) };
	return qcowfmt_get_info(image, 0, info, NULL) == 0;
}

/* How bad things may be. */
enum tolerance {
	NOTHING_WRONG,
	LEAKS,
	LEAKS_AND_FLAGS,
	ANYTHING, /* not looked at: thousands of counts may be wrong */
};

static bool is_tolerable(const struct findings *f, enum tolerance tolerance)
{
	const struct qcowfmt_check_result *r = &f->result;

	return r->check_errors == 0 &&
	       r->corruptions ==
	               (tolerance == LEAKS_AND_FLAGS ? f->flags : 0) &&
	       (tolerance != NOTHING_WRONG || r->leaks == 0);
}

/* Version 1 has nothing to check but its content. */
static bool check_and_judge(const struct world *w, struct qcowfmt_image *image,
                            enum tolerance tolerance, const char *when,
                            struct findings *f)
{
	*f = (struct findings){ 0 };
	if (!has_counts(w) || tolerance == ANYTHING)
		return true;
	if (!check(image, f))
		return false;
	if (is_tolerable(f, tolerance))
		return true;
	printf("%s: %" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64
	       " errors\n",
	       when, f->result.corruptions, f->result.leaks,
	       f->result.check_errors);
	qcowfmt_check(image, 0, show_finding, NULL, &f->result, NULL);
	return false;
}

/* Leaks are allowed after a power cut; without a dirty bit flags can be wrong. */
static enum tolerance tolerance_of(const struct world *w,
                                   struct qcowfmt_image *image)
{
	struct qcowfmt_info info;

	if (w->rewritten && get_info(image, &info) && info.version == 2)
		return LEAKS_AND_FLAGS;
	return LEAKS;
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

/* As long as the header says that the data file is the disk. */
static bool raw_view_is_legal(const struct judge *j,
                              const struct qcowfmt_info *info,
                              const struct crash_state *state)
{
	return (info->flags & QCOWFMT_INFO_DATA_FILE_RAW) == 0 ||
	       world_raw_view_is_legal(j->world, state->data,
	                               info->virtual_size /
	                                       j->world->cluster_size,
	                               state->position);
}

/* What of a state is not as after a close, and legal all the same. */
struct condition {
	bool dirty;
	bool flags; /* COPIED flags are wrong */
	bool leaks;
};

static bool dirty_bit_is_legal(const struct world *w, bool dirty)
{
	if (!dirty || w->may_be_dirty || w->rewritten)
		return true;
	printf("the dirty bit is set without lazy refcounts\n");
	return false;
}

/* What the image says and holds. */
static bool image_is_legal(struct judge *j, struct qcowfmt_image *image,
                           const struct qcowfmt_info *info,
                           const struct crash_state *state)
{
	struct world *w = j->world;
	size_t position = state->position;

	return world_traits_are_legal(w, info, position) &&
	       world_content_is_legal(w, image, position) &&
	       world_bitmaps_are_legal(w, image, position) &&
	       raw_view_is_legal(j, info, state) &&
	       world_snapshots_are_legal(w, image, state->image, position) &&
	       world_keys_are_legal(w, image, state);
}

static bool judge_read_only(struct judge *j, const struct crash_state *state,
                            struct condition *condition)
{
	struct qcowfmt_image *image =
		world_open(j->world, state->image, state->data, false);
	struct qcowfmt_info info;
	struct findings f;

	if (image == NULL)
		return false;

	bool fine = get_info(image, &info);

	condition->dirty = (info.flags & QCOWFMT_INFO_DIRTY) != 0;
	fine = fine && dirty_bit_is_legal(j->world, condition->dirty) &&
	       image_is_legal(j, image, &info, state) &&
	       check_and_judge(j->world, image,
	                       condition->dirty ? ANYTHING
	                                        : tolerance_of(j->world, image),
	                       "read-only", &f);
	if (fine) {
		condition->flags = f.flags > 0;
		condition->leaks = f.result.leaks > 0;
		j->leaks += condition->leaks ? 1 : 0;
		j->compressed += f.result.compressed_clusters > 0 ? 1 : 0;
		j->dirty += condition->dirty ? 1 : 0;
		j->flags += condition->flags ? 1 : 0;
	}
	return close_image(image) && fine;
}

/* A cluster at the end, where no operation goes, and one that snapshots have, too,
 * are written. */
static bool write_works(struct world *w, struct qcowfmt_image *image,
                        const struct crash_state *state)
{
	struct findings f;
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
	       check_and_judge(w, image, tolerance_of(w, image),
	                       "after writing", &f) &&
	       world_snapshots_are_legal(w, image, state->image,
	                                 state->position);
}

static bool repair(struct qcowfmt_image *image,
                   struct qcowfmt_check_result *result)
{
	struct qcowfmt_error *error = NULL;

	*result = (struct qcowfmt_check_result){
		.struct_size = sizeof(*result),
	};
	if (qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL, NULL, result,
	                  &error) == 0)
		return true;
	printf("repair: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return false;
}

/* Repairing gives back what has leaked and changes nothing else, and a second
 * repair finds nothing to do. */
static bool repair_works(struct judge *j, struct qcowfmt_image *image,
                         size_t position)
{
	struct qcowfmt_check_result result, again;
	struct findings f;

	if (!has_counts(j->world))
		return true;
	if (!repair(image, &result) ||
	    !check_and_judge(j->world, image, NOTHING_WRONG, "repaired", &f) ||
	    !world_content_is_legal(j->world, image, position) ||
	    !repair(image, &again))
		return false;
	if (again.leaks_fixed == 0 && again.corruptions_fixed == 0)
		return true;
	printf("a second repair has something to do\n");
	return false;
}

/* Opening for writing repairs what is dirty and changes nothing else. */
static bool judge_read_write(struct judge *j, const struct crash_state *state,
                             const struct condition *condition)
{
	struct qcowfmt_image *image =
		world_open(j->world, state->image, state->data, true);
	uint64_t lot = state->fingerprint % WRITE_EVERY;
	struct findings f;

	if (image == NULL)
		return false;

	bool fine = true;

	if (condition->dirty || lot % 4 == 0)
		fine = world_content_is_legal(j->world, image, state->position);
	if (fine && (condition->dirty || lot % 2 == 0))
		fine = check_and_judge(j->world, image,
		                       condition->dirty
		                               ? NOTHING_WRONG
		                               : tolerance_of(j->world, image),
		                       "read-write", &f);
	if (fine && lot == 0)
		fine = write_works(j->world, image, state);
	if (fine && lot == 1)
		fine = repair_works(j, image, state->position);
	return close_image(image) && fine;
}

/* ----------------------------------------------------------- a second power cut */

/* On recording storage, and all that there is to repair. */
static bool repair_recorded(struct judge *j, const struct crash_state *state)
{
	struct world *w = j->world;
	struct rec_log *log = j->repairing;
	bool is_base = w->geometry->commits;
	struct qcowfmt_check_result result;

	byte_image_copy(log->now[REC_IMAGE], state->image);
	if (state->data != NULL)
		byte_image_copy(log->now[REC_DATA], state->data);
	rec_log_restart(log);

	struct qcowfmt_image *image = world_open_on(
		w, rec_storage_new(log),
		state->data == NULL || is_base ? NULL
					       : rec_data_storage_new(log),
		is_base ? state->data : NULL, true, NULL);

	if (image == NULL)
		return false;

	bool fine = repair(image, &result);

	return close_image(image) && fine;
}

/* A repair that is cut short can be done again, then for good. */
static bool repairs_for_good(struct judge *j, const struct crash_state *state)
{
	struct qcowfmt_check_result result;
	struct qcowfmt_image *image =
		world_open(j->world, state->image, state->data, true);
	uint64_t before;
	bool fine;

	if (image == NULL)
		return false;
	fine = repair_works(j, image, state->position);
	if (!close_image(image) || !fine)
		return false;
	before = byte_image_fingerprint(state->image);
	image = world_open(j->world, state->image, state->data, true);
	if (image == NULL)
		return false;
	fine = repair(image, &result);
	if (!close_image(image) || !fine)
		return false;
	if (byte_image_fingerprint(state->image) == before)
		return true;
	printf("repairing what was repaired changes it\n");
	return false;
}

static bool judge_second(void *opaque, const struct crash_state *second)
{
	struct judge *j = opaque;
	struct condition condition = { 0 };
	struct crash_state state = *second;

	state.position = j->first_position;
	return judge_read_only(j, &state, &condition) &&
	       repairs_for_good(j, &state);
}

/* Cut the power at every moment of a repair. */
static bool survives_second(struct judge *j, const struct crash_state *state)
{
	struct crash_options options = {
		.seed = state->fingerprint,
		.exhaustive = 6,
		.samples = 12,
		.torn_stride = 7,
	};

	if (j->repairing == NULL) {
		j->repairing = rec_log_new(byte_image_capacity(state->image));
		if (state->data != NULL)
			rec_log_add_data(j->repairing,
			                 byte_image_capacity(state->data));
	}
	if (!repair_recorded(j, state))
		return false;
	j->repairs++;
	j->first_position = state->position;
	if (crash_states_visit(j->repairing, &options, judge_second, j,
	                       &j->second))
		return true;
	printf("(after a second power cut, while repairing)\n");
	return false;
}

static bool is_to_be_cut_again(struct judge *j, const struct condition *c)
{
	return j->second_every > 0 && has_counts(j->world) &&
	       (c->dirty || c->flags || c->leaks) &&
	       ++j->since_second % j->second_every == 0;
}

void judge_fini(struct judge *j)
{
	rec_log_free(j->repairing);
	j->repairing = NULL;
}

/* -------------------------------------------------------------------- one state */

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

static void show_log(const struct rec_log *log, size_t end)
{
	static const char *const kinds[] = {
		[REC_WRITE] = "write",     [REC_ZERO] = "zero",
		[REC_DISCARD] = "discard", [REC_TRUNCATE] = "truncate",
		[REC_FLUSH] = "flush",     [REC_MARK] = "mark",
	};

	for (size_t i = 0; i < QCF_MIN(end, log->count); i++)
		printf("  %zu: %s file %d at %" PRIu64 " len %" PRIu64 "\n", i,
		       kinds[log->ops[i].kind], (int)log->ops[i].file,
		       log->ops[i].offset, log->ops[i].len);
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
	if (is_to_be_cut_again(j, &condition) && !survives_second(j, state))
		return false;
	return judge_read_write(j, state, &condition);
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
		if (getenv("QCF_SHOW_LOG") != NULL)
			show_log(j->world->log, state->position);
	}
	return fine;
}
