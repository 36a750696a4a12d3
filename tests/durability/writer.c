/* SPDX-License-Identifier: MIT */
/*
 * writer.c - a writer that can be killed at any moment, and the judge of what it left
 *
 *   writer write IMAGE SEED THREADS FIRST HABITS
 *   writer judge IMAGE SEED THREADS FIRST SAID STATE
 *   writer settle IMAGE
 *
 * "write" goes on until it is killed or something fails, and says on standard
 * output what it promises (durable_team.h, image_disk.h).  HABITS are the letters s
 * (snapshots), b (bitmaps), d (bypass the page cache), or - for none.
 *
 * "judge" holds the image against what was said, the file SAID.  STATE is a file
 * with what there was before (nothing, if there is no such file); it is replaced
 * by what there is now.  Prints the first number for the next writer.  "settle"
 * opens the image for writing, which sees to counts and flags that are behind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"

static bool load(const char *path, struct seen *seen)
{
	FILE *f = fopen(path, "rbe");
	size_t done;

	/* Before the first time everything is zeros. */
	if (f == NULL)
		return true;
	done = fread(seen, sizeof(*seen), 1, f);
	fclose(f);
	return done == 1;
}

static bool save(const char *path, const struct seen *seen)
{
	FILE *f = fopen(path, "wbe");
	size_t done;

	if (f == NULL)
		return false;
	done = fwrite(seen, sizeof(*seen), 1, f);
	return fclose(f) == 0 && done == 1;
}

static void write_image(char **argv, const struct history *h, uint32_t first)
{
	struct image_habits habits = {
		.snapshots = strchr(argv[6], 's') != NULL,
		.bitmaps = strchr(argv[6], 'b') != NULL,
		.direct = strchr(argv[6], 'd') != NULL,
	};

	image_disk_write(argv[2], h, first, &habits);
}

static void judge(char **argv, const struct history *h, uint32_t first)
{
	static struct promises promises;
	static struct seen seen;
	uint32_t next = 0;

	promises_read(argv[6], first, &promises);
	if (!load(argv[7], &seen))
		fail(argv[7], NULL);
	judge_image(argv[2], h, first, &promises, &seen);
	if (!save(argv[7], &seen))
		fail(argv[7], NULL);
	for (uint32_t t = 0; t < h->threads; t++) {
		if (promises.flushed.number[t] > next)
			next = promises.flushed.number[t];
	}
	printf("%" PRIu32 "\n", next + UNHEARD + 1);
}

static int settle(const char *path)
{
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_close(image_disk_open(path, NULL, QCOWFMT_OPEN_READ_WRITE),
	                  &error) < 0)
		fail("closing", error);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct history h = { .seed = 0 };
	uint32_t first;

	if (argc == 3 && strcmp(argv[1], "settle") == 0)
		return settle(argv[2]);
	if (argc < 7)
		fail("arguments are missing", NULL);
	h.seed = strtoull(argv[3], NULL, 10);
	h.threads = (uint32_t)strtoul(argv[4], NULL, 10);
	first = (uint32_t)strtoul(argv[5], NULL, 10);
	if (h.threads == 0 || h.threads > MAX_THREADS)
		fail("so many threads cannot be", NULL);
	if (strcmp(argv[1], "judge") == 0 && argc == 8) {
		judge(argv, &h, first);
		return EXIT_SUCCESS;
	}
	write_image(argv, &h, first);
	return EXIT_FAILURE;
}
