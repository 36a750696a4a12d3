/* SPDX-License-Identifier: MIT */
/*
 * promises.h - what a writer has said, read from a file
 */
#ifndef QCF_TEST_PROMISES_H
#define QCF_TEST_PROMISES_H

#include "image_disk.h"

#define MAX_THINGS 512u

/* A snapshot or a bitmap. */
struct thing {
	char kind; /* 's' or 'b' */
	char name[NAME_ROOM];
	bool is_there; /* said to be */
	bool is_gone;
	bool may_change; /* something was begun that nobody heard the end of */
	bool is_disabled;
	/* What is in a bitmap, unless more is. */
	bool has_end;
	struct moment end;
};

struct promises {
	struct moment flushed;
	uint32_t count;
	struct thing things[MAX_THINGS];
};

/* "first" - 1 is what was flushed before. */
void promises_read(const char *path, uint32_t first, struct promises *p);

/* NULL if nothing was said of it. */
const struct thing *promises_find(const struct promises *p, char kind,
                                  const char *name);

#endif
