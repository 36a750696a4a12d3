/* SPDX-License-Identifier: MIT */
/* lock_order.c - what a thread may do with the locks it holds */
#include "lock_order.h"

#ifdef QCF_DEBUG_LOCKS

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

_Thread_local struct qcf_held_locks qcf_held_locks;

static const char *rank_name(enum qcf_rank rank)
{
	switch (rank) {
#define QCF_LOCK(value, name, may_span_io) \
	case name:                         \
		return #name;
#include "lock_ranks.def"
#undef QCF_LOCK
	}
	return "?";
}

static bool may_span_io(enum qcf_rank rank)
{
	switch (rank) {
#define QCF_LOCK(value, name, may_span_io) \
	case name:                         \
		return may_span_io;
#include "lock_ranks.def"
#undef QCF_LOCK
	}
	return false;
}

static void broken(const char *what, const char *how, enum qcf_rank held)
{
	fprintf(stderr, "lock order: %s %s while holding %s\n", what, how,
	        rank_name(held));
	abort();
}

void qcf_lock_order_take(enum qcf_rank rank)
{
	struct qcf_held_locks *h = &qcf_held_locks;

	if (h->count > 0 && h->ranks[h->count - 1] >= rank)
		broken(rank_name(rank), "taken", h->ranks[h->count - 1]);
	if (h->count == QCF_MAX_HELD)
		abort();
	h->ranks[h->count++] = rank;
}

void qcf_lock_order_drop(enum qcf_rank rank)
{
	struct qcf_held_locks *h = &qcf_held_locks;
	int i = h->count;

	while (i-- > 0 && h->ranks[i] != rank)
		;
	if (i < 0) {
		fprintf(stderr, "lock order: %s dropped and not held\n",
		        rank_name(rank));
		abort();
	}
	for (; i + 1 < h->count; i++)
		h->ranks[i] = h->ranks[i + 1];
	h->count--;
}

void qcf_lock_order_wait(enum qcf_rank rank)
{
	const struct qcf_held_locks *h = &qcf_held_locks;

	for (int i = 0; i < h->count; i++) {
		if (h->ranks[i] > rank ||
		    (h->ranks[i] < rank && !may_span_io(h->ranks[i])))
			broken(rank_name(rank), "waited with", h->ranks[i]);
	}
}

void qcf_lock_order_io(const char *what)
{
	const struct qcf_held_locks *h = &qcf_held_locks;

	for (int i = 0; i < h->count; i++) {
		if (!may_span_io(h->ranks[i]))
			broken(what, "of storage", h->ranks[i]);
	}
}

#endif
