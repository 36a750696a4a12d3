/* SPDX-License-Identifier: MIT */
/* fault_state.h - what an image of a trial is like, to be compared */
#ifndef QCF_FAULT_STATE_H
#define QCF_FAULT_STATE_H

#include "fault_trial.h"

/* The state of the image in the trial's files, and what the check says of it.
 * No handle may be open. */
void trial_look(struct trial *t, struct trial_state *state);

/* The disk that a handle shows. */
void trial_read_disk(struct trial *t, struct qcowfmt_image *image,
                     struct disk_content *disk);

/* Each sector is as in one of the two; facts are equal to those of one.  With
 * exact they are those of the second. */
void trial_expect_disk(struct trial *t, const struct disk_content *disk,
                       bool exact);
void trial_expect_facts(struct trial *t, const char *facts, bool exact);

/* Ends the test, saying which trial it was. */
#define TRIAL_ASSERT(t, condition, ...) \
	((condition) ? (void)0 : trial_fails((t), __VA_ARGS__))
void trial_fails(const struct trial *t, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

#endif
