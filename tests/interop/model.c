/* SPDX-License-Identifier: MIT */
/* model.c - what an image must hold besides its disk */
#include "model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void qcf_model_init(struct qcf_model *m, uint64_t seed, uint64_t part)
{
	memset(m, 0, sizeof(*m));
	m->rng = qcf_rng_new(seed, part);
	qcf_chain_init(&m->chain);
}

void qcf_model_fini(struct qcf_model *m, bool failed)
{
	int i;

	if (m->disk)
		m->disk->verbs->free(m->disk);
	for (i = 0; i < m->snapshot_count; i++)
		qcf_oracle_close(&m->snapshots[i].oracle);
	for (i = 0; i < m->bitmap_count; i++)
		free(m->bitmaps[i].dirty);
	qcf_chain_fini(&m->chain, failed);
}

static uint64_t units(uint64_t size, uint64_t granularity)
{
	return (size + granularity - 1) / granularity;
}

static void mark(struct qcf_bitmap_model *b, uint64_t start, uint64_t end)
{
	uint64_t i;

	for (i = start / b->granularity;
	     i < b->count && i * b->granularity < end; i++)
		b->dirty[i] = true;
}

static void watch(void *opaque, struct qcf_range range)
{
	struct qcf_model *m = opaque;
	int i;

	for (i = 0; i < m->bitmap_count; i++) {
		if (m->bitmaps[i].enabled)
			mark(&m->bitmaps[i], range.offset,
			     range.offset + range.len);
	}
}

void qcf_model_aim(struct qcf_model *m)
{
	struct qcf_layer *top = qcf_chain_top(&m->chain);
	struct qcf_target *t = &top->target;

	t->size = top->oracle.size;
	t->window_count = 1;
	t->windows[0] = (struct qcf_window){ .end = t->size };
	t->discard_works = top->shape.version > 2 ||
	                   (top->shape.version == 2 && !top->has_backing);
	t->watcher = watch;
	t->watcher_opaque = m;
}

void qcf_model_note(struct qcf_model *m, const char *format, ...)
{
	char *line = m->log[m->changes++ % QCF_MODEL_LOG];
	va_list args;

	va_start(args, format);
	vsnprintf(line, QCF_LOG_LINE, format, args);
	va_end(args);
	if (getenv("QCF_TRACE"))
		fprintf(stderr, "change %" PRIu64 ": %s\n", m->changes, line);
}

void qcf_model_print_log(const struct qcf_model *m, char *out, size_t size)
{
	uint64_t i =
		m->changes > QCF_MODEL_LOG ? m->changes - QCF_MODEL_LOG : 0;
	size_t used = 0;

	out[0] = '\0';
	for (; i < m->changes && used < size; i++)
		used += (size_t)snprintf(out + used, size - used, "\n  %s",
		                         m->log[i % QCF_MODEL_LOG]);
}

/* ------------------------------------------------------------------ the disk */

static void resize_bitmap(struct qcf_bitmap_model *b, uint64_t size)
{
	uint64_t count = units(size, b->granularity);
	bool *dirty = calloc(count + 1, sizeof(*dirty));

	if (!dirty)
		abort();
	memcpy(dirty, b->dirty, count < b->count ? count : b->count);
	free(b->dirty);
	b->dirty = dirty;
	b->count = count;
}

bool qcf_model_resize(struct qcf_model *m, uint64_t size,
                      struct qcf_finding *finding)
{
	struct qcf_layer *top = qcf_chain_top(&m->chain);
	int i;

	m->vm.known = false;
	for (i = 0; i < m->bitmap_count; i++)
		resize_bitmap(&m->bitmaps[i], size);
	if (!qcf_oracle_resize(&top->oracle, size, finding))
		return false;
	qcf_model_aim(m);
	return true;
}

/* ----------------------------------------------------------------- snapshots */

bool qcf_model_take(struct qcf_model *m, const char *name, bool with_vm_state,
                    struct qcf_finding *finding)
{
	const struct qcf_oracle *active = &qcf_chain_top(&m->chain)->oracle;
	struct qcf_snapshot_model *s = &m->snapshots[m->snapshot_count];
	char path[QCF_PATH_SIZE];

	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->vm = m->vm;
	if (with_vm_state)
		m->vm = (struct qcf_vm_model){ .known = true };
	qcf_tmpdir_path(&m->chain.dir, name, path);
	if (!qcf_oracle_copy(active, &s->oracle, path, active->size, finding))
		return false;
	m->snapshot_count++;
	return true;
}

bool qcf_model_apply(struct qcf_model *m, const struct qcf_snapshot_model *s,
                     struct qcf_finding *finding)
{
	struct qcf_oracle *active = &qcf_chain_top(&m->chain)->oracle;
	char path[QCF_PATH_SIZE];

	snprintf(path, sizeof(path), "%s", active->path);
	qcf_oracle_close(active);
	m->vm = s->vm;
	if (!qcf_oracle_copy(&s->oracle, active, path, s->oracle.size, finding))
		return false;
	qcf_model_aim(m);
	return true;
}

void qcf_model_delete(struct qcf_model *m, struct qcf_snapshot_model *s)
{
	qcf_oracle_close(&s->oracle);
	*s = m->snapshots[--m->snapshot_count];
}

void qcf_model_fill_vm_state(const struct qcf_vm_model *vm, uint8_t *buffer)
{
	struct qcf_rng rng = qcf_rng_new(vm->seed, 5);

	qcf_rng_fill(&rng, buffer, vm->len);
}

/* Each snapshot and the disk refer to a cluster, applying one adds one for a
 * moment, and compressed clusters share theirs with others. */
bool qcf_model_may_overflow(const struct qcf_model *m, uint32_t refcount_bits)
{
	const struct qcf_shape *s = &m->chain.layers[m->chain.count - 1].shape;

	if (refcount_bits > 8)
		return false;
	return s->compresses ||
	       m->snapshot_count + 2 > (1 << refcount_bits) - 1;
}

/* ------------------------------------------------------------------- bitmaps */

void qcf_model_add_bitmap(struct qcf_model *m, const char *name,
                          uint64_t granularity, bool enabled)
{
	struct qcf_bitmap_model *b = &m->bitmaps[m->bitmap_count++];

	*b = (struct qcf_bitmap_model){
		.enabled = enabled,
		.granularity = granularity,
		.count = units(qcf_chain_top(&m->chain)->oracle.size,
		               granularity),
	};
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->dirty = calloc(b->count, sizeof(*b->dirty));
	if (!b->dirty)
		abort();
}

void qcf_model_remove_bitmap(struct qcf_model *m, struct qcf_bitmap_model *b)
{
	free(b->dirty);
	*b = m->bitmaps[--m->bitmap_count];
}

void qcf_model_clear_bitmap(struct qcf_bitmap_model *b)
{
	memset(b->dirty, 0, b->count * sizeof(*b->dirty));
}

void qcf_model_merge(struct qcf_bitmap_model *to,
                     const struct qcf_bitmap_model *from, uint64_t disk_size)
{
	uint64_t start;
	uint64_t end;
	uint64_t i;

	for (i = 0; i < from->count; i++) {
		start = i * from->granularity;
		end = start + from->granularity;
		if (from->dirty[i])
			mark(to, start, end < disk_size ? end : disk_size);
	}
}
