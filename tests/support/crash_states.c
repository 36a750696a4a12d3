/* SPDX-License-Identifier: MIT */
/*
 * crash_states.c - what storage may hold after a power cut
 *
 * The log is cut into windows that end at a flush, at a mark and at the end.
 * What was pending in a window that ended with a flush is stable afterwards; a
 * mark makes nothing stable, but the test knows more from there on, so all
 * subsets are looked at again.
 *
 * An operation becomes one or two items.  A size change is an item of its own:
 * a write beyond the end can lose its bytes and keep the new size, and bytes
 * beyond an end that was never moved are lost.  Items of a subset are applied
 * in the order of the log, since a disk that has two versions of a sector keeps
 * the newer one.
 *
 * A write is torn at multiples of 512 bytes, or at multiples of 4096 as by a disk
 * with such sectors, never inside.
 *
 * A discard is a hint.  It may take effect long after it was issued, also behind
 * flushes, but not on bytes that were written later.
 *
 * With a data file the items of both files are pending together, and a flush of
 * one ends the window but keeps the items of the other pending.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "crash_states.h"

#define SECTOR       512u
#define PAGE_SECTORS 8u /* of a disk with sectors of 4096 bytes */

#define DEFAULT_EXHAUSTIVE 12u
#define MOST_EXHAUSTIVE    20u
#define DEFAULT_SAMPLES    256u

/* Discards that wait behind a flush. */
#define MAX_LATE 2u

enum item_kind { ITEM_BYTES, ITEM_GROW, ITEM_SHRINK };

struct item {
	enum item_kind kind;
	enum rec_file file;
	size_t offset;       /* of bytes */
	size_t len;          /* of bytes, or the size */
	const uint8_t *data; /* NULL: zeros */
	bool is_hint;        /* a discard: may never happen */
};

/* Which sectors of a write arrive. */
enum tear {
	TEAR_NONE, /* all */
	TEAR_FIRST,
	TEAR_NOT_FIRST,
	TEAR_LAST,
	TEAR_NOT_LAST,
	TEAR_FRONT_HALF,
	TEAR_BACK_HALF,
	TEAR_EVEN,
	TEAR_PAGE_PREFIX, /* 4096 bytes at a time, up to a random one */
	TEAR_PAGE_RANDOM, /* any of them */
	TEAR_RANDOM,
	TEAR_COUNT
};

struct choice {
	bool applied;
	enum tear tear;
};

struct set {
	uint64_t *keys; /* 0 is free */
	size_t room;    /* a power of two */
	size_t count;
};

struct walk {
	const struct crash_options *options;
	crash_visitor visitor;
	void *opaque;
	struct crash_totals *totals;
	/* The stable bytes, between visits; as in the log. */
	struct byte_image *images[REC_FILES];
	struct item *items;     /* pending */
	struct choice *choices; /* one for each item */
	bool *late;             /* of each item: stays pending */
	size_t count, room;
	size_t position;
	uint64_t epoch; /* marks passed */
	uint64_t random;
	unsigned int torn_seen; /* for torn_stride */
	struct set seen;
	bool known; /* the states of this window: they are not visited */
	bool stopped;
};

static void *need(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

static uint64_t next_random(struct walk *w)
{
	uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* ------------------------------------------------------------ states seen */

static size_t slot_of(const struct set *set, uint64_t key)
{
	size_t slot = (size_t)(key >> 20) & (set->room - 1);

	while (set->keys[slot] != 0 && set->keys[slot] != key)
		slot = (slot + 1) & (set->room - 1);
	return slot;
}

static void set_grow(struct set *set)
{
	struct set wider = { .room = set->room == 0 ? 1024 : set->room * 2 };

	wider.keys = need(calloc(wider.room, sizeof(*wider.keys)));
	wider.count = set->count;
	for (size_t i = 0; i < set->room; i++) {
		if (set->keys[i] != 0)
			wider.keys[slot_of(&wider, set->keys[i])] =
				set->keys[i];
	}
	free(set->keys);
	*set = wider;
}

/* False if it is there already. */
static bool set_add(struct set *set, uint64_t key)
{
	if (2 * set->count >= set->room)
		set_grow(set);
	key |= key == 0;

	size_t slot = slot_of(set, key);

	if (set->keys[slot] == key)
		return false;
	set->keys[slot] = key;
	set->count++;
	return true;
}

/* ------------------------------------------------------- making one state */

/* Of a write, seen in sectors of the disk. */
struct torn {
	enum tear tear;
	size_t count;
	size_t cut;     /* of TEAR_PAGE_PREFIX: the first one that is lost */
	uint64_t pages; /* of TEAR_PAGE_RANDOM: a bit for each of 64 */
};

static bool sector_arrives(struct walk *w, const struct torn *t, size_t index,
                           size_t sector)
{
	switch (t->tear) {
	case TEAR_FIRST:
		return index == 0;
	case TEAR_NOT_FIRST:
		return index != 0;
	case TEAR_LAST:
		return index == t->count - 1;
	case TEAR_NOT_LAST:
		return index != t->count - 1;
	case TEAR_FRONT_HALF:
		return index < t->count / 2;
	case TEAR_BACK_HALF:
		return index >= t->count / 2;
	case TEAR_EVEN:
		return index % 2 == 0;
	case TEAR_PAGE_PREFIX:
		return sector < t->cut;
	case TEAR_PAGE_RANDOM:
		return (t->pages >> sector / PAGE_SECTORS % 64 & 1) != 0;
	case TEAR_RANDOM:
		return next_random(w) % 2 == 0;
	case TEAR_NONE:
	case TEAR_COUNT:
		break;
	}
	return true;
}

static size_t sector_count(const struct item *item)
{
	if (item->kind != ITEM_BYTES || item->len == 0)
		return 0;
	return (item->offset + item->len - 1) / SECTOR - item->offset / SECTOR +
	       1;
}

static struct torn tear_up(struct walk *w, const struct item *item,
                           enum tear tear)
{
	size_t count = sector_count(item);
	size_t first = item->offset / SECTOR / PAGE_SECTORS;
	size_t pages =
		(item->offset / SECTOR + count - 1) / PAGE_SECTORS - first + 1;

	return (struct torn){
		.tear = tear,
		.count = count,
		.cut = (first + (size_t)(next_random(w) % (pages + 1))) *
		       PAGE_SECTORS,
		.pages = next_random(w),
	};
}

static void apply_bytes(struct walk *w, const struct item *item, enum tear tear)
{
	struct byte_image *image = w->images[item->file];
	size_t end = item->offset + item->len;
	size_t at = item->offset;

	if (tear == TEAR_NONE) {
		byte_image_poke(image, at, item->data, item->len);
		return;
	}

	struct torn torn = tear_up(w, item, tear);

	for (size_t i = 0; at < end; i++) {
		size_t stop = QCF_MIN((at / SECTOR + 1) * SECTOR, end);

		if (sector_arrives(w, &torn, i, at / SECTOR))
			byte_image_poke(image, at,
			                item->data == NULL
			                        ? NULL
			                        : item->data +
			                                  (at - item->offset),
			                stop - at);
		at = stop;
	}
}

static void apply(struct walk *w, const struct item *item, enum tear tear)
{
	struct byte_image *image = w->images[item->file];
	size_t size = byte_image_size(image);

	switch (item->kind) {
	case ITEM_BYTES:
		apply_bytes(w, item, tear);
		break;
	case ITEM_GROW:
		byte_image_set_size(image, QCF_MAX(size, item->len));
		break;
	case ITEM_SHRINK:
		byte_image_set_size(image, QCF_MIN(size, item->len));
		break;
	}
}

/* Apply what was chosen.  Bytes beyond the final size are lost. */
static void apply_choices(struct walk *w)
{
	size_t reach[REC_FILES] = { 0 };

	for (size_t i = 0; i < w->count; i++) {
		const struct item *item = &w->items[i];

		if (!w->choices[i].applied)
			continue;
		apply(w, item, w->choices[i].tear);
		if (item->kind == ITEM_BYTES)
			reach[item->file] = QCF_MAX(reach[item->file],
			                            item->offset + item->len);
	}
	for (int file = 0; file < REC_FILES; file++) {
		struct byte_image *image = w->images[file];
		size_t size = image == NULL ? 0 : byte_image_size(image);

		if (reach[file] > size)
			byte_image_poke(image, size, NULL, reach[file] - size);
	}
}

static void save_images(struct walk *w)
{
	for (int file = 0; file < REC_FILES; file++) {
		if (w->images[file] != NULL)
			byte_image_save(w->images[file]);
	}
}

static void undo_images(struct walk *w)
{
	for (int file = 0; file < REC_FILES; file++) {
		if (w->images[file] != NULL)
			byte_image_undo(w->images[file]);
	}
}

static uint64_t fingerprint_of(const struct walk *w)
{
	uint64_t fingerprint = byte_image_fingerprint(w->images[REC_IMAGE]);

	/* An odd factor, so that bytes may not change places unseen. */
	if (w->images[REC_DATA] != NULL)
		fingerprint += byte_image_fingerprint(w->images[REC_DATA]) *
		               UINT64_C(0x9e3779b97f4a7c15);
	return fingerprint;
}

static void show(struct walk *w, uint64_t fingerprint)
{
	struct crash_state state = {
		.image = w->images[REC_IMAGE],
		.data = w->images[REC_DATA],
		.position = w->position,
		.fingerprint = fingerprint,
	};

	save_images(w);
	w->stopped = !w->visitor(w->opaque, &state);
	undo_images(w);
}

/* By content: a stride would never see some of the subsets. */
static bool is_left_out(const struct walk *w, uint64_t fingerprint)
{
	bool nothing_is_lost = true;

	if ((fingerprint >> 24) % QCF_MAX(w->options->thin, 1u) == 0 ||
	    w->seen.count == 1)
		return false;
	for (size_t i = 0; i < w->count; i++)
		nothing_is_lost = nothing_is_lost && w->choices[i].applied &&
		                  w->choices[i].tear == TEAR_NONE;
	return !nothing_is_lost;
}

static void visit(struct walk *w, bool torn)
{
	if (w->stopped)
		return;
	save_images(w);
	apply_choices(w);

	uint64_t fingerprint = fingerprint_of(w);

	if (!set_add(&w->seen, fingerprint + w->epoch + 1)) {
		w->totals->duplicates++;
	} else if (w->known) {
		w->totals->known++;
	} else if (is_left_out(w, fingerprint)) {
		w->totals->left_out++;
	} else {
		w->totals->states++;
		w->totals->torn += torn ? 1 : 0;
		show(w, fingerprint);
	}
	undo_images(w);
}

/* --------------------------------------------------------- choosing states */

static void choose_all(struct walk *w, bool applied)
{
	for (size_t i = 0; i < w->count; i++)
		w->choices[i] = (struct choice){ .applied = applied };
}

/* All up to and without a position. */
static void choose_prefix(struct walk *w, size_t count)
{
	for (size_t i = 0; i < w->count; i++)
		w->choices[i] = (struct choice){ .applied = i < count };
}

static void choose_random(struct walk *w, bool with_tears)
{
	/* Dense, sparse and even subsets. */
	uint64_t odds = next_random(w) % 7 + 1;

	for (size_t i = 0; i < w->count; i++) {
		bool tear = with_tears && sector_count(&w->items[i]) > 1 &&
		            next_random(w) % 3 == 0;

		w->choices[i] = (struct choice){
			.applied = next_random(w) % 8 < odds,
			.tear = tear ? (enum tear)(next_random(w) % TEAR_COUNT)
			             : TEAR_NONE,
		};
	}
}

static void visit_subsets(struct walk *w)
{
	uint64_t subsets = UINT64_C(1) << w->count;

	for (uint64_t bits = 0; bits < subsets; bits++) {
		for (size_t i = 0; i < w->count; i++)
			w->choices[i] = (struct choice){
				.applied = (bits >> i & 1) != 0,
			};
		visit(w, false);
	}
}

static void visit_sample(struct walk *w, unsigned int samples)
{
	w->totals->sampled += w->known ? 0 : 1;
	for (size_t i = 0; i <= w->count; i++) {
		choose_prefix(w, i);
		visit(w, false);
	}
	for (size_t i = 0; i < w->count; i++) {
		choose_all(w, true);
		w->choices[i].applied = false;
		visit(w, false);
		choose_all(w, false);
		w->choices[i].applied = true;
		visit(w, false);
	}
	for (unsigned int i = 0; i < samples; i++) {
		choose_random(w, i % 2 == 0);
		visit(w, i % 2 == 0);
	}
}

/* What else arrives beside a torn write. */
static void choose_company(struct walk *w, size_t torn, int company)
{
	switch (company) {
	case 0:
		choose_prefix(w, torn);
		break;
	case 1:
		choose_all(w, true);
		break;
	case 2:
		choose_all(w, false);
		break;
	default:
		choose_random(w, false);
		break;
	}
	/* Its size, or there would be nothing to see beyond the end. */
	if (torn > 0 && w->items[torn - 1].kind == ITEM_GROW)
		w->choices[torn - 1].applied = true;
}

#define COMPANIES 4

static void visit_torn(struct walk *w, size_t index)
{
	unsigned int stride = QCF_MAX(w->options->torn_stride, 1u);

	if (sector_count(&w->items[index]) < 2)
		return;
	for (int tear = TEAR_NONE + 1; tear < TEAR_COUNT; tear++) {
		for (int company = 0; company < COMPANIES; company++) {
			if (w->torn_seen++ % stride != 0)
				continue;
			choose_company(w, index, company);
			w->choices[index] = (struct choice){
				.applied = true,
				.tear = (enum tear)tear,
			};
			visit(w, true);
		}
	}
}

static void visit_window(struct walk *w)
{
	unsigned int most = w->options->exhaustive;
	unsigned int samples = w->options->samples;

	most = most == 0 ? DEFAULT_EXHAUSTIVE : QCF_MIN(most, MOST_EXHAUSTIVE);
	w->known = w->options->from > 0 && w->position <= w->options->from;
	w->totals->windows += w->known ? 0 : 1;
	if (w->count <= most)
		visit_subsets(w);
	else
		visit_sample(w, samples == 0 ? DEFAULT_SAMPLES : samples);
	for (size_t i = 0; i < w->count; i++)
		visit_torn(w, i);
}

/* ------------------------------------------------------------------ windows */

static void add_item(struct walk *w, struct item item)
{
	if (w->count == w->room) {
		w->room = w->room * 2 + 32;
		w->items = need(realloc(w->items, w->room * sizeof(*w->items)));
		w->choices = need(
			realloc(w->choices, w->room * sizeof(*w->choices)));
		w->late = need(realloc(w->late, w->room * sizeof(*w->late)));
	}
	w->items[w->count++] = item;
}

static void add_size(struct walk *w, const struct rec_op *op, uint64_t size)
{
	if (size != op->old_size)
		add_item(w, (struct item){
				    .file = op->file,
				    .kind = size > op->old_size ? ITEM_GROW
		                                                : ITEM_SHRINK,
				    .len = (size_t)size,
			    });
}

static void add_op(struct walk *w, const struct rec_op *op)
{
	if (op->kind == REC_TRUNCATE) {
		add_size(w, op, op->offset);
		return;
	}
	if (op->kind != REC_DISCARD)
		add_size(w, op, QCF_MAX(op->old_size, op->offset + op->len));
	add_item(w, (struct item){
			    .kind = ITEM_BYTES,
			    .file = op->file,
			    .offset = (size_t)op->offset,
			    .len = (size_t)op->len,
			    .data = op->data,
			    .is_hint = op->kind == REC_DISCARD,
		    });
}

/* Whether something later in the file changes bytes that a discard drops. */
static bool is_overtaken(const struct walk *w, size_t hint)
{
	const struct item *h = &w->items[hint];

	for (size_t i = hint + 1; i < w->count; i++) {
		const struct item *item = &w->items[i];

		if (item->file == h->file && !item->is_hint &&
		    (item->kind != ITEM_BYTES ||
		     (item->offset < h->offset + h->len &&
		      h->offset < item->offset + item->len)))
			return true;
	}
	return false;
}

/* Everything pending in a file has become stable.  A flush promises nothing
 * about discards: each happens, does not, or is still to come. */
static void settle(struct walk *w, enum rec_file file)
{
	size_t left = 0;
	size_t hints = 0;

	for (size_t i = 0; i < w->count; i++) {
		const struct item *item = &w->items[i];

		w->choices[i] = (struct choice){
			.applied = item->file == file &&
			           (!item->is_hint || next_random(w) % 4 == 0),
		};
		w->late[i] = item->file == file && item->is_hint &&
		             !w->choices[i].applied && hints < MAX_LATE &&
		             !is_overtaken(w, i) && next_random(w) % 3 != 0;
		hints += w->late[i] ? 1 : 0;
	}
	apply_choices(w);
	for (size_t i = 0; i < w->count; i++) {
		if (w->items[i].file != file || w->late[i])
			w->items[left++] = w->items[i];
	}
	w->count = left;
}

static void walk_log(struct walk *w, const struct rec_log *log)
{
	for (size_t i = 0; i < log->count && !w->stopped; i++) {
		const struct rec_op *op = &log->ops[i];

		w->position = i;
		if (op->kind == REC_FLUSH) {
			visit_window(w);
			settle(w, op->file);
		} else if (op->kind == REC_MARK) {
			/* What went before it, then what it tells. */
			visit_window(w);
			w->position = i + 1;
			w->epoch++;
			visit_window(w);
		} else {
			add_op(w, op);
		}
	}
	w->position = log->count;
	visit_window(w);
}

bool crash_states_visit(const struct rec_log *log,
                        const struct crash_options *options,
                        crash_visitor visitor, void *opaque,
                        struct crash_totals *totals)
{
	struct walk w = {
		.options = options,
		.visitor = visitor,
		.opaque = opaque,
		.totals = totals,
		.random = options->seed,
	};

	for (int file = 0; file < REC_FILES; file++) {
		const struct byte_image *initial = log->initial[file];

		if (initial == NULL)
			continue;
		w.images[file] = byte_image_new(byte_image_capacity(initial));
		byte_image_copy(w.images[file], initial);
	}
	walk_log(&w, log);
	for (int file = 0; file < REC_FILES; file++)
		byte_image_free(w.images[file]);
	free(w.items);
	free(w.choices);
	free(w.late);
	free(w.seen.keys);
	return !w.stopped;
}
