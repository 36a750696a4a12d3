/* SPDX-License-Identifier: MIT */
/* target.c - where on a disk random operations happen, and how large */
#include <string.h>

#include "workload.h"

#define SMALL_DISK   (UINT64_C(4) << 20)
#define MAX_WINDOW   (UINT64_C(8) << 20)
#define MIN_MAX_LEN  (UINT64_C(128) << 10)
#define MOST_MAX_LEN ((UINT64_C(4) << 20) + 4096)

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A window around a place, moved so that it lies on the disk. */
static void add_window(struct qcf_target *t, uint64_t around, uint64_t len)
{
	uint64_t half = len / 2;
	uint64_t start = around > half ? around - half : 0;
	struct qcf_window *w = &t->windows[t->window_count];

	if (start + len > t->size)
		start = t->size - len;
	if (t->window_count > 0 && start < w[-1].end)
		return;
	w->start = start;
	w->end = start + len;
	t->window_count++;
}

void qcf_target_init(struct qcf_target *t, uint64_t size, uint64_t cluster_size,
                     bool discard_works)
{
	uint64_t l2_span = cluster_size * (cluster_size / 8);
	uint64_t len = min(16 * cluster_size, MAX_WINDOW);

	memset(t, 0, sizeof(*t));
	t->size = size;
	t->cluster_size = cluster_size;
	t->unit = cluster_size;
	t->discard_works = discard_works;
	t->max_len = min(16 * cluster_size, MOST_MAX_LEN);
	if (t->max_len < MIN_MAX_LEN)
		t->max_len = MIN_MAX_LEN;
	if (size <= SMALL_DISK || size <= 2 * len) {
		add_window(t, 0, size);
		return;
	}
	add_window(t, 0, len);
	if (l2_span < size)
		add_window(t, l2_span, len);
	if (2 * l2_span < size)
		add_window(t, 2 * l2_span, len);
	add_window(t, size, len);
}

void qcf_target_resize(struct qcf_target *t, uint64_t size)
{
	int count = 0;
	int i;

	t->size = size;
	for (i = 0; i < t->window_count; i++) {
		struct qcf_window w = t->windows[i];

		w.end = min(w.end, size);
		if (w.start < w.end)
			t->windows[count++] = w;
	}
	t->window_count = count;
}

static const struct qcf_window *any_window(const struct qcf_target *t,
                                           struct qcf_rng *rng)
{
	return &t->windows[qcf_rng_below(rng, (uint64_t)t->window_count)];
}

/* A byte more or less, a sector more or less, or exact. */
static uint64_t nudge(struct qcf_rng *rng, uint64_t boundary)
{
	static const int64_t steps[] = { 0,   0,    0,   1,  -1,
		                         512, -512, 511, -7, 4096 };
	int64_t step =
		steps[qcf_rng_below(rng, sizeof(steps) / sizeof(steps[0]))];

	if (step < 0 && boundary < (uint64_t)-step)
		return boundary;
	return boundary + (uint64_t)step;
}

static uint64_t any_offset(const struct qcf_target *t, struct qcf_window w,
                           struct qcf_rng *rng)
{
	uint64_t offset = qcf_rng_between(rng, w.start, w.end - 1);
	uint64_t kind = qcf_rng_below(rng, 10);

	if (kind < 3)
		offset = nudge(rng, offset - offset % t->cluster_size);
	else if (kind < 5)
		offset = nudge(rng, offset - offset % t->unit);
	else if (kind < 7)
		offset -= offset % 512;
	if (offset < w.start || offset >= w.end)
		return w.start;
	return offset;
}

static uint64_t any_len(const struct qcf_target *t, struct qcf_rng *rng)
{
	uint64_t kind = qcf_rng_below(rng, 20);
	uint64_t limit;

	if (kind < 4)
		limit = 600;
	else if (kind < 6)
		limit = t->unit == t->cluster_size ? 600 : 4 * t->unit;
	else if (kind < 13)
		limit = 2 * t->cluster_size;
	else if (kind < 19)
		limit = 6 * t->cluster_size;
	else
		limit = t->max_len;
	return qcf_rng_between(rng, 1, min(limit, t->max_len));
}

/* The end of a range: as it comes, on a boundary, or at the end of all. */
static uint64_t any_end(const struct qcf_target *t, struct qcf_window w,
                        uint64_t offset, uint64_t len, struct qcf_rng *rng)
{
	uint64_t end = offset + len;
	uint64_t kind = qcf_rng_below(rng, 10);

	uint64_t unit = qcf_rng_percent(rng, 50) ? t->cluster_size : t->unit;

	if (kind < 3)
		end = nudge(rng, end + unit - 1 - (end - 1) % unit);
	else if (kind < 5)
		end += 511 - (end - 1) % 512;
	if (end <= offset || end - offset > t->max_len)
		end = offset + len;
	return min(end, w.end);
}

struct qcf_range qcf_target_range(const struct qcf_target *t,
                                  struct qcf_rng *rng)
{
	struct qcf_window w = *any_window(t, rng);
	struct qcf_range range;

	range.offset = any_offset(t, w, rng);
	range.len = any_end(t, w, range.offset, any_len(t, rng), rng) -
	            range.offset;
	return range;
}

struct qcf_range qcf_target_long_range(const struct qcf_target *t,
                                       struct qcf_rng *rng)
{
	struct qcf_window w = *any_window(t, rng);
	struct qcf_range range = qcf_target_range(t, rng);

	if (!qcf_rng_percent(rng, 4))
		return range;
	range.offset = any_offset(t, w, rng);
	range.len = w.end - range.offset;
	if (qcf_rng_percent(rng, 50))
		range.len = qcf_rng_between(rng, 1, range.len);
	return range;
}

struct qcf_range qcf_target_clusters(const struct qcf_target *t,
                                     struct qcf_rng *rng)
{
	uint64_t cs = t->cluster_size;
	uint64_t most = t->max_len / cs < 6 ? t->max_len / cs : 6;
	struct qcf_window w = *any_window(t, rng);
	struct qcf_range range;

	range.offset = qcf_rng_between(rng, w.start, w.end - 1);
	range.offset -= range.offset % cs;
	range.len = qcf_rng_between(rng, 1, most) * cs;
	while (range.offset + range.len >= w.end + cs)
		range.len -= cs;
	range.len = min(range.len, t->size - range.offset);
	return range;
}

void qcf_target_touch(const struct qcf_target *t, struct qcf_range range)
{
	if (t->watcher)
		t->watcher(t->watcher_opaque, range);
}

void qcf_target_discard(const struct qcf_target *t, struct qcf_oracle *oracle,
                        struct qcf_range range)
{
	uint64_t cs = t->cluster_size;
	uint64_t first = (range.offset + cs - 1) / cs * cs;
	uint64_t last = range.offset + range.len;

	if (last != t->size)
		last = last / cs * cs;
	if (t->discard_works && first < last)
		qcf_oracle_zero(oracle, first, last - first);
}
