/* SPDX-License-Identifier: MIT */
/* crash_parts.h - what the files that make up a crash world share */
#ifndef QCF_CRASH_PARTS_H
#define QCF_CRASH_PARTS_H

#include "crash_world.h"

/* End the program and say why; error may be NULL. */
void world_give_up(const struct world *w, const char *what,
                   struct qcowfmt_error *error) __attribute__((noreturn));

/* Ends the program if there is no memory. */
void *world_need(void *memory);

/* Take note of what an operation returned: whether it succeeded. */
bool world_succeeded(struct world *w, const char *what, int ret,
                     struct qcowfmt_error *error);

/* Around each call of the library. */
void world_guard(const struct world *w, bool inside);

/* An operation that is stable, together with all that was written before, has
 * returned: acknowledge that.  Ends the program if it failed. */
void world_finish(struct world *w, const char *what, int ret,
                  struct qcowfmt_error *error);

/* Put new content for a range into the buffer, and remember it. */
void world_prepare_write(struct world *w, uint64_t sector, uint64_t count);

/* Ends the program if it cannot be written. */
void world_write_file(const struct world *w, const struct byte_image *image,
                      const char *path);

/* --- see crash_changes.c --- */

/* Traits, and keys, are as they are made. */
void traits_begin(struct world *w);

/* All traits as one number. */
uint64_t traits_stamp(const struct traits *traits);

/* The name that an image has for what it is put on; NULL for BASE_NONE. */
const char *world_base_name(enum crash_base base);

/* What is behind a name; first is what BASE_FIRST holds now, NULL if it never
 * changes.  NULL if the name is not one of ours. */
struct byte_image *world_base_bytes(const struct world *w, const char *name,
                                    struct byte_image *first);

/* What BASE_FIRST holds now. */
struct byte_image *world_first_base(const struct world *w);

/* --- see crash_bitmaps.c --- */

void bitmaps_begin(struct world *w);
void bitmaps_forget(struct world *w);

/* The disk is about to be written to. */
void bitmaps_touch(struct world *w);

/* What is in memory now was stored, or is going to be, by what began at this
 * position. */
void bitmaps_note(struct world *w, size_t position);

/* Know of no snapshots but the one of the start image. */
void world_forget_snapshots(struct world *w);

/* Open the image on the storages that the world records or watches. */
void world_open_recorded(struct world *w);

/* --- history: see crash_history.c --- */

/* What the present generation writes to a sector, and what was below. */
uint64_t history_new_stamp(const struct world *w, uint64_t sector);
uint64_t history_backing_stamp(const struct world *w, uint64_t sector);

/* The contents of a sector, from now on remembered. */
struct sector *history_sector(struct world *w, uint64_t sector);

/* Which of the contents that a sector may have now it has; -1 if none. */
int history_find(struct world *w, uint64_t sector, const uint8_t *bytes);

/* A sector is being given a content. */
void history_add(struct world *w, uint64_t sector, uint64_t stamp,
                 size_t position);

/* The newest content of a sector is another one. */
void history_amend(struct world *w, uint64_t sector, uint64_t stamp);

/* The newest contents of a range may or may not have got there. */
void history_doubt(struct world *w, uint64_t sector, uint64_t count);

/* What came after the last acknowledged flush may be lost. */
void history_doubt_unstable(struct world *w);

/* A flush has been acknowledged. */
void history_acknowledge(struct world *w);

/* What there is now is what there was before the log. */
void history_forget(struct world *w);

/* Back to the first content; clusters that had none are dropped. */
void history_rewind(struct world *w);

#endif
