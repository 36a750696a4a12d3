/* SPDX-License-Identifier: MIT */
/* scratch.c - a fresh directory for the files of a test program */
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"

#define KEPT_PATHS 8
#define MAX_PATH   4096

static char directory[MAX_PATH];

/* Tests hand names to a shell and put them into options of QEMU's, where blanks,
 * quotes and commas have a meaning. */
static bool is_plain(const char *name)
{
	return name[strcspn(name, " \t\n\"'`\\$&|;<>()*?[]#~!{},=:%")] == '\0';
}

static const char *base_directory(void)
{
	const char *base = getenv("TMPDIR");

	if (base == NULL || base[0] == '\0')
		return "/tmp";
	if (is_plain(base))
		return base;
	fprintf(stderr, "files are made in /tmp, not in \"%s\"\n", base);
	return "/tmp";
}

void scratch_init(void)
{
	snprintf(directory, sizeof(directory), "%s/qcowfmt-test-XXXXXX",
	         base_directory());
	if (mkdtemp(directory) == NULL) {
		perror(directory);
		exit(EXIT_FAILURE);
	}
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void scratch_fini(void)
{
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *name)
{
	static char paths[KEPT_PATHS][MAX_PATH + 64];
	static unsigned int next;
	char *path = paths[next++ % KEPT_PATHS];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}
