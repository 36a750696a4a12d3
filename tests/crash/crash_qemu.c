/* SPDX-License-Identifier: MIT */
/* crash_qemu.c - what QEMU says about a state after a power cut */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "auto.h"
#include "crash_qemu.h"
#include "scratch.h"

#define MAX_COMMAND 2048

bool write_image_file(const struct byte_image *image, const char *path)
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

/* How qemu-img is told of an image; a secret may be needed. */
static void name_image(const struct world *w, const char *path, char *text,
                       size_t size)
{
	const char *driver = w->geometry->version == 1 ? "qcow" : "qcow2";

	if (w->geometry->encryption == QCOWFMT_ENCRYPTION_NONE)
		snprintf(text, size, "--image-opts driver=%s,file.filename=%s",
		         driver, path);
	else
		snprintf(text, size,
		         "--object 'secret,id=key,data=%s' --image-opts "
		         "driver=%s,file.filename=%s,encrypt.key-secret=key",
		         w->secret, driver, path);
}

/* Leaks (status 3) are allowed. */
static bool check_is_fine(const struct world *w, const char *path,
                          const char *qemu_img, bool dirty)
{
	char image[MAX_COMMAND / 2];
	char command[MAX_COMMAND];

	name_image(w, path, image, sizeof(image));
	snprintf(command, sizeof(command), "%s check -q %s %s >%s.log 2>&1",
	         qemu_img, dirty ? "-r all" : "", image, path);

	int status = run(command);

	if (status == 0 || (status == 3 && !dirty))
		return true;
	printf("qemu-img check ends with status %d\n", status);
	return false;
}

/* What a snapshot holds is what it held before.  QEMU shows of it as much as the
 * disk is long now. */
static bool snapshot_is_intact(const char *path, uint64_t size,
                               const char *qemu_img)
{
	char command[MAX_COMMAND];

	snprintf(command, sizeof(command),
	         "%s convert -f qcow2 -l before -O raw %s %s.raw && "
	         "cmp -n %" PRIu64 " %s.raw %s",
	         qemu_img, path, path, size, path,
	         scratch_path("snapshot.raw"));
	if (run(command) == 0)
		return true;
	printf("the snapshot has changed; QEMU lists:\n");
	fflush(stdout);
	snprintf(command, sizeof(command), "%s snapshot -l %s", qemu_img, path);
	(void)run(command);
	return false;
}

static bool same_content(struct qcowfmt_image *image, FILE *file)
{
	uint64_t size = qcowfmt_get_size(image);
	static uint8_t ours[65536], theirs[65536];

	for (uint64_t at = 0; at < size; at += sizeof(ours)) {
		size_t len = (size_t)QCF_MIN(sizeof(ours), size - at);

		if (qcowfmt_pread(image, ours, len, at, NULL) != 0 ||
		    fread(theirs, 1, len, file) != len ||
		    memcmp(ours, theirs, len) != 0) {
			printf("QEMU reads something else near %llu\n",
			       (unsigned long long)at);
			return false;
		}
	}
	return true;
}

static bool reads_the_same(struct world *w, const struct crash_state *state,
                           const char *path, const char *qemu_img,
                           uint64_t *size)
{
	char image_text[MAX_COMMAND / 2];
	char command[MAX_COMMAND];
	bool fine = false;
	struct qcowfmt_image *image =
		world_open(w, state->image, state->data, false);

	name_image(w, path, image_text, sizeof(image_text));
	snprintf(command, sizeof(command), "%s convert %s -O raw %s.read",
	         qemu_img, image_text, path);
	if (run(command) != 0) {
		printf("qemu-img cannot read the state\n");
		qcowfmt_close(image, NULL);
		return false;
	}
	snprintf(command, sizeof(command), "%s.read", path);

	FILE *file = fopen(command, "rb");

	if (file != NULL && image != NULL) {
		*size = qcowfmt_get_size(image);
		fine = same_content(image, file);
	}
	if (file != NULL)
		fclose(file);
	return qcowfmt_close(image, NULL) == 0 && fine;
}

/* Under each name that an image may have for it. */
static bool write_second_file(const struct world *w,
                              const struct crash_state *state)
{
	bool is_base = w->geometry->commits;

	return state->data == NULL ||
	       (write_image_file(state->data,
	                         scratch_path(is_base ? "backing" : "data")) &&
	        write_image_file(state->data,
	                         scratch_path(is_base ? "basefil" : "data2")));
}

bool qemu_approves(struct world *w, const struct crash_state *state,
                   const char *qemu_img, bool dirty, bool flags)
{
	const char *path = scratch_path("state.qcow2");
	bool has_first =
		w->geometry->snapshot && w->snapshots[0].ending == SIZE_MAX;

	uint64_t size = 0;

	if (!write_image_file(state->image, path) ||
	    !write_second_file(w, state)) {
		perror(path);
		return false;
	}
	if (!reads_the_same(w, state, path, qemu_img, &size) ||
	    (w->geometry->version > 1 && !flags &&
	     !check_is_fine(w, path, qemu_img, dirty)))
		return false;
	return !has_first || snapshot_is_intact(path, size, qemu_img);
}
