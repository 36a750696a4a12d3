/* SPDX-License-Identifier: MIT */
/*
 * image_disk.h - an image as the disk of a team of writers
 *
 * Now and then snapshots and dirty bitmaps are made and removed, each under a name
 * that says what it has to hold.  What is done is said before and after:
 *
 *   s! NAME   a snapshot is about to be made     s+ NAME   it is there
 *   s? NAME   about to be deleted                s- NAME   it is gone
 *   b! NAME   a bitmap is about to be added      b+ NAME   it is there
 *   b= NAME   about to be disabled: what was written up to the moment that the
 *             rest of the line tells is in it, and nothing else
 *   b# NAME   it is disabled                     b? b-     as for snapshots
 */
#ifndef QCF_TEST_IMAGE_DISK_H
#define QCF_TEST_IMAGE_DISK_H

#include <qcowfmt.h>

#include "durable_team.h"

#define NAME_ROOM 64

/* The name of what is made between "first" and "done". */
void image_disk_name(char name[NAME_ROOM], uint32_t first,
                     const struct moment *done);

/* And back; false if it is not such a name. */
bool image_disk_parse_name(const char *name, uint32_t *first,
                           struct moment *done);

/* Ends the program if it cannot be opened. */
struct qcowfmt_image *image_disk_open(const char *path, const char *snapshot,
                                      uint32_t flags);

/* Ends the program with a message. */
void fail(const char *what, const struct qcowfmt_error *error)
	__attribute__((noreturn));

/* What a writer does besides writing. */
struct image_habits {
	bool snapshots;
	bool bitmaps;
	bool direct; /* bypass the page cache */
};

/* Write until something fails. */
void image_disk_write(const char *path, const struct history *h, uint32_t first,
                      const struct image_habits *habits);

#endif
