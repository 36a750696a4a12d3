/* SPDX-License-Identifier: MIT */
/*
 * crash_judge.c - whether an image survived a power cut
 *
 * The state must open read-only as it is, and read-write after whatever repair
 * the library makes; both times every sector must hold something legal and a
 * check must find no corruption.  Leaks are allowed.  With the dirty bit set
 * the counts may be wrong until the first opening for writing, and right after.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "crash_content.h"
#include "crash_judge.h"
#include "scratch.h"

/* One state in so many is also written to. */
#define WRITE_EVERY 16

static void show_finding(void *opaque, uint32_t id, uint64_t host_offset,
                         const char *message)
{
	(void)opaque;
	printf("  finding %u at %" PRIu64 ": %s\n", id, host_offset, message);
}

static bool check(struct qcowfmt_image *image,
                  struct qcowfmt_check_result *result)
{
	struct qcowfmt_error *error = NULL;

	*result = (struct qcowfmt_check_result){
		.struct_size = sizeof(*result),
	};
	if (qcowfmt_check(image, 0, NULL, NULL, result, &error) == 0)
		return true;
	printf("check: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return false;
}

static bool check_finds_nothing_bad(struct qcowfmt_image *image,
                                    bool leaks_allowed, const char *when)
{
	struct qcowfmt_check_result result;

	if (!check(image, &result))
		return false;
	if (result.corruptions == 0 && result.check_errors == 0 &&
	    (leaks_allowed || result.leaks == 0))
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

static bool judge_read_only(struct judge *j, const struct crash_state *state,
                            bool *dirty)
{
	struct qcowfmt_image *image = world_open(j->world, state->image, false);
	struct qcowfmt_check_result result;

	if (image == NULL)
		return false;
	*dirty = is_dirty(image);
	if (*dirty && !j->world->geometry->lazy) {
		printf("the dirty bit is set without lazy refcounts\n");
		return false;
	}

	bool fine =
		world_content_is_legal(j->world, image, state->position) &&
		(*dirty || check_finds_nothing_bad(image, true, "read-only"));

	if (fine && check(image, &result) && result.leaks > 0)
		j->leaks++;
	j->dirty += *dirty ? 1 : 0;
	return close_image(image) && fine;
}

/* A cluster at the end, where no operation goes, is written and read. */
static bool write_works(const struct world *w, struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;
	uint64_t offset = (w->geometry->virtual_clusters - 1) * w->cluster_size;
	bool fine = qcowfmt_pwrite(image, "after the crash", 16, offset,
	                           &error) == 0 &&
	            qcowfmt_flush(image, &error) == 0;

	if (!fine)
		printf("writing: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return fine && check_finds_nothing_bad(image, true, "after writing");
}

static bool judge_read_write(struct judge *j, const struct crash_state *state,
                             bool was_dirty)
{
	struct qcowfmt_image *image = world_open(j->world, state->image, true);

	if (image == NULL)
		return false;

	bool fine = world_content_is_legal(j->world, image, state->position) &&
	            check_finds_nothing_bad(image, !was_dirty, "read-write");

	if (fine && state->fingerprint % WRITE_EVERY == 0)
		fine = write_works(j->world, image);
	return close_image(image) && fine;
}

static bool write_file(const struct byte_image *image, const char *path)
{
	FILE *file = fopen(path, "wb");
	size_t size = byte_image_size(image);

	if (file == NULL)
		return false;

	bool fine = fwrite(byte_image_bytes(image), 1, size, file) == size;

	return fclose(file) == 0 && fine;
}

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What a snapshot holds is what it held before. */
static bool snapshot_is_intact(struct judge *j, const char *path)
{
	char command[2048];

	snprintf(command, sizeof(command),
	         "%s convert -f qcow2 -l before -O raw %s %s.raw && "
	         "cmp %s.raw %s",
	         j->qemu_img, path, path, path, scratch_path("snapshot.raw"));
	if (run(command) == 0)
		return true;
	printf("the snapshot has changed\n");
	return false;
}

/* qemu-img finds no corruption; leaks (status 3) are allowed. */
static bool judge_by_qemu(struct judge *j, const struct crash_state *state,
                          bool dirty)
{
	const char *path = scratch_path("state.qcow2");
	char command[1024];

	if (!write_file(state->image, path)) {
		perror(path);
		return false;
	}
	snprintf(command, sizeof(command),
	         "%s check -q -f qcow2 %s %s >%s.log 2>&1", j->qemu_img,
	         dirty ? "-r all" : "", path, path);

	int status = run(command);

	j->qemu_checked++;
	if (status != 0 && (status != 3 || dirty)) {
		printf("qemu-img check ends with status %d\n", status);
		return false;
	}
	return !j->world->geometry->snapshot || snapshot_is_intact(j, path);
}

/* Keep the bytes of a state that is wrong, if somebody wants to look. */
static void keep_state(const struct crash_state *state)
{
	const char *path = getenv("QCF_KEEP_STATE");

	if (path != NULL && write_file(state->image, path))
		printf("the state is in %s\n", path);
}

static bool judge_loudly(struct judge *j, const struct crash_state *state)
{
	bool dirty = false;

	if (!judge_read_only(j, state, &dirty))
		return false;
	if (j->qemu_every > 0 && state->fingerprint % j->qemu_every == 0 &&
	    !judge_by_qemu(j, state, dirty))
		return false;
	return judge_read_write(j, state, dirty);
}

bool judge_state(void *opaque, const struct crash_state *state)
{
	struct judge *j = opaque;

	/* Opening for writing may change the bytes. */
	byte_image_save(state->image);

	bool fine = judge_loudly(j, state);

	byte_image_undo(state->image);
	if (!fine && !j->quiet) {
		printf("%s: %s: state %#" PRIx64 " at position %zu\n",
		       j->world->geometry->name, j->world->sequence,
		       state->fingerprint, state->position);
		keep_state(state);
	}
	return fine;
}
