/* SPDX-License-Identifier: MIT */
/*
 * img_convert_snapshots.c - internal snapshots that "convert" takes along
 *
 * The first state is copied like any image.  Of each later one only what differs
 * from the state before is written, so that states share clusters in the target
 * as they did in the source.  Where both states of the source have the same host
 * clusters nothing is read.
 */
#include <string.h>

#include "img_convert_copy.h"
#include "img_convert_keep.h"
#include "img_zero.h"
#include "tool_error.h"

/* A multiple of every cluster size. */
#define BUFFER_SIZE (2 * MIB)

struct keeper {
	const struct img_convert_request *request;
	const struct qcf_tool_open *open; /* how the source was opened */
	struct qcowfmt_image *target;
	struct qcowfmt_image *before; /* the state that the target has; NULL:
				       * none */
	uint64_t cluster_size;        /* of the target */
	char *wanted;                 /* BUFFER_SIZE each */
	char *present;
};

static bool failed(const char *doing, const struct qcowfmt_error *error)
{
	qcf_tool_error("error while %s: %s", doing,
	               qcowfmt_error_message(error));
	return false;
}

/* ------------------------------------------------------------- differences */

static bool is_nothing(const struct qcowfmt_extent *extent)
{
	return extent->kind == QCOWFMT_EXTENT_ZERO ||
	       extent->kind == QCOWFMT_EXTENT_UNALLOCATED;
}

/* Whether two states have the same in a range, as far as the tables tell. */
static bool is_same_extent(const struct qcowfmt_extent *a,
                           const struct qcowfmt_extent *b)
{
	if (is_nothing(a) && is_nothing(b))
		return true;
	return a->kind == QCOWFMT_EXTENT_DATA && b->kind == a->kind &&
	       a->depth == b->depth && a->host_offset == b->host_offset;
}

/*
 * How many bytes from offset on need not be looked at; else 0, and *len gets
 * shorter, to where that might change.
 */
static uint64_t known_to_be_same(const struct keeper *k,
                                 struct qcowfmt_image *state, uint64_t offset,
                                 uint64_t *len)
{
	struct qcowfmt_extent now;
	struct qcowfmt_extent then;
	uint64_t both;

	if (k->before == NULL || qcowfmt_get_size(k->before) <= offset)
		return 0;
	both = qcf_min(*len, qcowfmt_get_size(k->before) - offset);
	if (qcowfmt_map(state, offset, both, 0, &now, 1, NULL) < 0 ||
	    qcowfmt_map(k->before, offset, both, 0, &then, 1, NULL) < 0)
		return 0;
	both = qcf_min(now.length, then.length);
	if (is_same_extent(&now, &then))
		return both;
	*len = qcf_min(*len,
	               qcf_round_up(offset + both, k->cluster_size) - offset);
	return 0;
}

static int write_part(const struct keeper *k, const char *bytes, uint64_t len,
                      uint64_t offset, struct qcowfmt_error **errp)
{
	if (qcf_is_zero(bytes, (size_t)len))
		return qcowfmt_write_zeroes(k->target, offset, len,
		                            QCOWFMT_ZERO_MAY_UNMAP, errp);
	if (k->request->compress && offset % k->cluster_size == 0 &&
	    (len % k->cluster_size == 0 ||
	     offset + len == qcowfmt_get_size(k->target)))
		return qcowfmt_pwrite_compressed(k->target, bytes, (size_t)len,
		                                 offset, errp);
	return qcowfmt_pwrite(k->target, bytes, (size_t)len, offset, errp);
}

/* Write those clusters of a range that differ. */
static int update(const struct keeper *k, struct qcowfmt_image *state,
                  uint64_t offset, uint64_t len, struct qcowfmt_error **errp)
{
	uint64_t at = 0;
	int ret = qcowfmt_pread(state, k->wanted, (size_t)len, offset, errp);

	if (ret == 0)
		ret = qcowfmt_pread(k->target, k->present, (size_t)len, offset,
		                    errp);
	while (ret == 0 && at < len) {
		uint64_t part = qcf_min(k->cluster_size -
		                                (offset + at) % k->cluster_size,
		                        len - at);

		if (memcmp(k->wanted + at, k->present + at, (size_t)part) != 0)
			ret = write_part(k, k->wanted + at, part, offset + at,
			                 errp);
		at += part;
	}
	return ret;
}

static bool copy_difference(const struct keeper *k, struct qcowfmt_image *state)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	uint64_t size = qcowfmt_get_size(state);
	uint64_t offset = 0;

	while (offset < size) {
		uint64_t len = qcf_min(size - offset, UINT64_MAX / 4);
		uint64_t skip = known_to_be_same(k, state, offset, &len);

		if (skip > 0) {
			offset += skip;
			continue;
		}
		len = qcf_min(len, BUFFER_SIZE - offset % BUFFER_SIZE);
		if (update(k, state, offset, len, &error) < 0)
			return failed("copying a snapshot", error);
		offset += len;
	}
	return true;
}

/* ------------------------------------------------------------------- states */

static bool match_size(const struct keeper *k, struct qcowfmt_image *state)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};

	if (qcowfmt_get_size(k->target) == qcowfmt_get_size(state) ||
	    qcowfmt_resize(k->target, qcowfmt_get_size(state), &options,
	                   &error) == 0)
		return true;
	return failed("giving the target the size of a snapshot", error);
}

/* Let the target have the content of a state, which is the last one then. */
static bool copy_state(struct keeper *k, struct qcowfmt_image *state)
{
	struct img_source source = { .handles = &state, .count = 1 };

	if (!match_size(k, state))
		return false;
	source.size = qcowfmt_get_size(state);
	return k->before == NULL ? qcf_copy(k->request, &source, k->target)
	                         : copy_difference(k, state);
}

static bool copy_vm_state(const struct keeper *k, struct qcowfmt_image *state,
                          uint64_t size)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	uint64_t offset;

	for (offset = 0; offset < size; offset += BUFFER_SIZE) {
		size_t len = (size_t)qcf_min(size - offset, BUFFER_SIZE);

		if (qcowfmt_vm_state_pread(state, k->wanted, len, offset,
		                           &error) < 0 ||
		    qcowfmt_vm_state_pwrite(k->target, k->wanted, len, offset,
		                            &error) < 0)
			return failed("copying VM state", error);
	}
	return true;
}

static bool take_snapshot(const struct keeper *k,
                          const struct qcowfmt_snapshot *s)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = s->name,
		.id = s->id,
		.vm_state_size = s->vm_state_size,
		.vm_clock_nsec = s->vm_clock_nsec,
		.icount = s->icount,
		.date_sec = s->date_sec,
		.date_nsec = s->date_nsec,
		.extra = s->extra,
		.extra_len = s->extra_len,
	};

	return qcowfmt_snapshot_create(k->target, &options, &error) == 0 ||
	       failed("making a snapshot", error);
}

static bool keep_snapshot(struct keeper *k, const struct qcowfmt_snapshot *s)
{
	struct qcf_tool_open open = *k->open;
	struct qcowfmt_image *state = NULL;
	QCF_AUTO_FREE char *reason = NULL;

	open.snapshot_id = s->id;
	open.snapshot_name = s->name;
	if (qcf_tool_open(&open, &state, &reason) < 0) {
		qcf_tool_error("Failed to load snapshot: %s", reason);
		return false;
	}
	if (!copy_state(k, state) ||
	    !copy_vm_state(k, state, s->vm_state_size) ||
	    !take_snapshot(k, s)) {
		(void)qcowfmt_close(state, NULL);
		return false;
	}
	(void)qcowfmt_close(k->before, NULL);
	k->before = state;
	return true;
}

static bool keep_all(struct keeper *k, struct qcowfmt_image *source)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_snapshot_list *list = NULL;
	bool ok = true;
	uint32_t i;

	if (qcowfmt_snapshot_list(source, 0, &list, &error) < 0)
		return failed("reading the snapshots", error);
	for (i = 0; ok && i < qcowfmt_snapshot_list_count(list); i++) {
		struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

		ok = qcowfmt_snapshot_list_get(list, i, &s, NULL) == 0 &&
		     keep_snapshot(k, &s);
	}
	qcowfmt_snapshot_list_free(list);
	return ok && copy_state(k, source);
}

bool qcf_keep_snapshots(const struct img_convert_request *r,
                        const struct img_source *source,
                        struct qcowfmt_image *target)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct keeper k = {
		.request = r,
		.open = &source->requests[0],
		.target = target,
	};
	QCF_AUTO_FREE char *wanted = NULL;
	QCF_AUTO_FREE char *present = NULL;
	bool ok;

	(void)qcowfmt_get_info(target, 0, &info, NULL);
	if (info.format != QCOWFMT_FORMAT_QCOW2) {
		qcf_tool_error("Format driver '%s' does not support snapshots",
		               qcowfmt_format_name(info.format));
		return false;
	}
	wanted = qcf_tool_alloc(BUFFER_SIZE);
	present = qcf_tool_alloc(BUFFER_SIZE);
	k.wanted = wanted;
	k.present = present;
	k.cluster_size = info.cluster_size;
	ok = keep_all(&k, source->handles[0]);
	(void)qcowfmt_close(k.before, NULL);
	return ok;
}
