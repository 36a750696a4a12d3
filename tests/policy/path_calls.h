/* SPDX-License-Identifier: MIT */
/*
 * path_calls.h - which system calls reach for a file, and which cannot
 *
 * Two lists.  A call of the first names a file or a peer.  A call of the second
 * only works on what is open already, or on memory, time and the process itself.
 * One that is in neither is reported as it is, so that a list that is too short
 * fails a test and does not hide anything.
 */
#ifndef PATH_CALLS_H
#define PATH_CALLS_H

#include <stddef.h>

#define NO_ARGUMENT (-1)

/* What a call does with the file that it names. */
enum touch {
	TOUCH_OPEN,   /* opens it, as the flags say */
	TOUCH_LOOK,   /* asks about it */
	TOUCH_CHANGE, /* makes, removes, renames or changes it */
	TOUCH_RUN,    /* executes it */
	TOUCH_PEER,   /* connects or binds to an address */
};

struct path_call {
	long number;
	const char *name;
	enum touch touch;
	/* Which argument is the directory, the path, the flags of an open. */
	int directory;
	int path;
	int flags;
};

extern const struct path_call path_calls[];
extern const size_t path_call_count;

extern const long harmless_calls[];
extern const size_t harmless_call_count;

/* NULL for a call that names nothing, or is not known. */
const struct path_call *find_path_call(long number);

#endif
