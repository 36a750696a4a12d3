/* SPDX-License-Identifier: MIT */
/* scratch.c - a fresh directory for the files of a test program */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"

#define KEPT_PATHS 8
#define MAX_PATH   4096

static char directory[MAX_PATH];

void scratch_init(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/qcowfmt-test-XXXXXX",
	         base == NULL || base[0] == '\0' ? "/tmp" : base);
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
