/* SPDX-License-Identifier: MIT */
/*
 * crash_states.h - what storage may hold after a power cut
 *
 * From a recorded log: everything before the last completed flush, and of the
 * operations since then any subset, torn at boundaries of 512 or 4096 bytes.  A
 * flush of one file says nothing about another, and nothing about discards, which
 * can take effect later.
 */
#ifndef QCF_CRASH_STATES_H
#define QCF_CRASH_STATES_H

#include "byte_image.h"
#include "rec_storage.h"

struct crash_state {
	/* The bytes; data is NULL in a log of one file.  The visitor may change
	 * them: changes are undone. */
	struct byte_image *image;
	struct byte_image *data;
	/* Operations [0, position) of the log had been issued. */
	size_t position;
	/* Tells this state from all others of the log. */
	uint64_t fingerprint;
};

/* Looks at one state.  False ends the enumeration. */
typedef bool (*crash_visitor)(void *opaque, const struct crash_state *state);

struct crash_options {
	/* Windows with more pending items than this are sampled: 12 if 0. */
	unsigned int exhaustive;
	/* Random subsets of a sampled window: 256 if 0. */
	unsigned int samples;
	uint64_t seed;
	/* Only every n-th torn write variant: 1 if 0. */
	unsigned int torn_stride;
	/* Visit about one state in n, and always the first and those in which
	 * nothing is lost: 1 if 0. */
	unsigned int thin;
	/* What was possible up to this position of the log was visited with
	 * another log that begins in the same way, and is not visited again. */
	size_t from;
};

struct crash_totals {
	uint64_t states;     /* visited, all different */
	uint64_t duplicates; /* not visited again */
	uint64_t left_out;   /* not visited because of thin */
	uint64_t known;      /* not visited because of from */
	uint64_t torn;       /* of the states, those with a torn write */
	uint64_t windows;    /* between flushes or marks */
	uint64_t sampled;    /* of the windows, not exhaustive */
};

/*
 * Visit every state of the log, those with equal bytes once per mark.  Returns
 * false if the visitor did.  Adds to totals.
 */
bool crash_states_visit(const struct rec_log *log,
                        const struct crash_options *options,
                        crash_visitor visitor, void *opaque,
                        struct crash_totals *totals);

#endif
