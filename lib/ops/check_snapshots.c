/* SPDX-License-Identifier: MIT */
/*
 * check_snapshots.c - the snapshot table
 *
 * Entries follow each other by their own lengths, so after one that claims to end
 * behind the table nothing is known any more: then nothing that seems leaked may
 * be freed.  An entry of zeros, as there is behind the last one if the header
 * counts too many, is no snapshot.
 *
 * An entry with a NUL byte in a text, or with extra data that nobody knows, may
 * also be one whose length is wrong.  It is believed if it is the last, or if what
 * follows it can be an entry; else nothing is known any more, too.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check_refs.h"
#include "check_snapshots.h"
#include "checked.h"
#include "header_ext.h"

/* The longest entry that is legal: lengths of 16 bits and their padding. */
#define MAX_ENTRY \
	(QCF_SNAPSHOT_FIXED_LEN + QCF_MAX_SNAPSHOT_EXTRA + 2u * UINT16_MAX + 8u)

/* ----------------------------------------------------------------- reading */

static int read_bytes(struct qcf_snapshot_view *view, struct qcf_checker *c,
                      struct qcowfmt_error **errp)
{
	uint64_t offset = c->header->snapshots_offset;
	struct qcf_be64 *bytes = NULL;
	uint64_t len;
	int ret;

	if (c->header->snapshot_count == 0 || offset >= c->file_size)
		return 0;
	len = QCF_MIN(c->file_size - offset, QCF_MAX_SNAPSHOT_TABLE);
	len = QCF_MIN(len, c->header->snapshot_count * (uint64_t)MAX_ENTRY);
	ret = qcf_check_read_table(c, "snapshot table", offset, len, &bytes,
	                           errp);
	view->bytes = (uint8_t *)bytes;
	view->len = bytes == NULL ? 0 : (size_t)len;
	c->lost = c->lost || bytes == NULL;
	return ret;
}

int qcf_snapshot_view_read(struct qcf_snapshot_view *view,
                           struct qcf_checker *c, struct qcowfmt_error **errp)
{
	uint32_t count = QCF_MIN(c->header->snapshot_count, QCF_MAX_SNAPSHOTS);
	struct qcf_reader reader;
	int ret;

	*view = (struct qcf_snapshot_view){ 0 };
	ret = read_bytes(view, c, errp);
	if (ret < 0)
		return ret;
	view->parts = calloc((size_t)count + 1, sizeof(*view->parts));
	if (view->parts == NULL)
		return qcf_fail_oom(errp);
	reader = qcf_reader_init(view->bytes, view->len);
	while (view->bytes != NULL && view->count < count &&
	       qcf_snapshot_entry_locate(&view->parts[view->count], &reader)) {
		view->end = view->parts[view->count].end;
		view->count++;
	}
	return 0;
}

void qcf_snapshot_view_fini(struct qcf_snapshot_view *view)
{
	free(view->bytes);
	free(view->parts);
}

bool qcf_snapshot_view_is_empty(const struct qcf_snapshot_view *view,
                                uint32_t index)
{
	const struct qcf_snapshot_parts *p = &view->parts[index];

	for (size_t i = p->start; i < p->end; i++) {
		if (view->bytes[i] != 0)
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- checking */

bool qcf_check_is_snapshot_l1(const struct qcf_checker *c,
                              const struct qcf_snapshot_parts *p)
{
	return qcf_is_aligned(p->l1_table_offset, c->geometry->cluster_size) &&
	       (uint64_t)p->l1_size * 8 <= QCF_MAX_L1_SIZE &&
	       p->l1_table_offset < QCF_HOST_OFFSET_LIMIT;
}

static void report_l1(struct qcf_checker *c,
                      const struct qcf_snapshot_view *view, uint32_t index)
{
	const struct qcf_snapshot_parts *p = &view->parts[index];
	const uint8_t *id = view->bytes + p->end - p->name_len - p->id_len;
	bool large = (uint64_t)p->l1_size * 8 > QCF_MAX_L1_SIZE;
	char id_text[64];
	char name_text[256];

	qcf_escape(id_text, sizeof(id_text), id, p->id_len);
	qcf_escape(name_text, sizeof(name_text), id + p->id_len, p->name_len);
	qcf_check_report(c, QCF_CHECK_SNAPSHOT_L1,
	                 c->header->snapshots_offset + p->start, 1,
	                 "ERROR snapshot %s (%s) %s=%#" PRIx64
	                 ": L1 table is %s; snapshot table entry corrupted",
	                 id_text, name_text, large ? "l1_size" : "l1_offset",
	                 large ? p->l1_size : p->l1_table_offset,
	                 large ? "too large" : "not cluster aligned");
	c->lost = true;
}

static void report_incomplete(struct qcf_checker *c, uint32_t index,
                              uint64_t at)
{
	qcf_finding_fixable(c, QCF_CHECK_SNAPSHOT_INCOMPLETE, at, c->fix_all, 1,
	                    "snapshot table entry %" PRIu32 " is incomplete",
	                    index);
	c->need_snapshots = c->need_snapshots || c->fix_all;
}

static void report_text(struct qcf_checker *c, uint32_t index, uint64_t at)
{
	qcf_finding_fixable(c, QCF_CHECK_SNAPSHOT_TEXT, at, c->fix_all, 1,
	                    "snapshot table entry %" PRIu32
	                    " has a NUL byte in its id or name",
	                    index);
	c->need_snapshots = c->need_snapshots || c->fix_all;
}

static bool has_nul(const struct qcf_snapshot_view *view, uint32_t index)
{
	const struct qcf_snapshot_parts *p = &view->parts[index];
	size_t len = p->id_len + p->name_len;

	return len > 0 && memchr(view->bytes + p->end - len, '\0', len) != NULL;
}

/* Whether the length of an entry may be wrong. */
static bool is_doubtful(const struct qcf_snapshot_view *view, uint32_t index)
{
	return view->parts[index].extra_len > QCF_KNOWN_SNAPSHOT_EXTRA ||
	       has_nul(view, index);
}

/* Whether bytes are an entry as programs write it. */
static bool is_plausible(const struct qcf_checker *c,
                         const struct qcf_snapshot_view *view, uint32_t index)
{
	const struct qcf_snapshot_parts *p = &view->parts[index];

	return p->l1_table_offset != 0 && p->l1_size > 0 &&
	       qcf_check_is_snapshot_l1(c, p) &&
	       qcf_check_in_file(c, p->l1_table_offset) &&
	       p->extra_len <= QCF_MAX_SNAPSHOT_EXTRA && !has_nul(view, index);
}

/* The entry does not follow from the one in front of it. */
static bool is_lost(const struct qcf_checker *c,
                    const struct qcf_snapshot_view *view, uint32_t index)
{
	return index > 0 && is_doubtful(view, index - 1) &&
	       !is_plausible(c, view, index);
}

static void report_lost(struct qcf_checker *c, uint32_t index, uint64_t at)
{
	qcf_check_report(c, QCF_CHECK_SNAPSHOT_ENTRY, at, 1,
	                 "ERROR snapshot table entry %" PRIu32
	                 " is not one, so the length of the entry in front of "
	                 "it is wrong",
	                 index);
	c->lost = true;
}

static void check_entry(struct qcf_checker *c,
                        const struct qcf_snapshot_view *view, uint32_t index)
{
	const struct qcf_snapshot_parts *p = &view->parts[index];
	uint64_t at = c->header->snapshots_offset + p->start;

	if (is_lost(c, view, index)) {
		report_lost(c, index, at);
		return;
	}
	if (p->extra_len > QCF_MAX_SNAPSHOT_EXTRA) {
		qcf_finding_fixable(
			c, QCF_CHECK_SNAPSHOT_EXTRA, at, c->fix_all, 1,
			"snapshot table entry %" PRIu32
			" has too much extra data (%" PRIu32 " > %u)",
			index, p->extra_len, QCF_MAX_SNAPSHOT_EXTRA);
		c->need_snapshots = c->need_snapshots || c->fix_all;
	} else if ((c->geometry->version >= 3 &&
	            p->extra_len < QCF_MIN_SNAPSHOT_EXTRA) ||
	           qcf_snapshot_view_is_empty(view, index)) {
		report_incomplete(c, index, at);
	}
	if (!qcf_check_is_snapshot_l1(c, p))
		report_l1(c, view, index);
	if (has_nul(view, index))
		report_text(c, index, at);
}

/* Entries that do not end in the table, or begin behind it. */
static void check_missing(struct qcf_checker *c,
                          const struct qcf_snapshot_view *view)
{
	uint64_t at = c->header->snapshots_offset + view->end;
	uint32_t claimed =
		QCF_MIN(c->header->snapshot_count, QCF_MAX_SNAPSHOTS);

	/* Nothing can be told from a table that is not in the file. */
	if (view->bytes == NULL) {
		for (uint32_t i = 0; i < claimed; i++)
			report_incomplete(c, i, at);
		return;
	}
	if (view->count == claimed)
		return;
	qcf_check_report(c, QCF_CHECK_SNAPSHOT_ENTRY, at, 1,
	                 "ERROR snapshot table entry %" PRIu32
	                 " does not end inside the table; %" PRIu32
	                 " entries cannot be read",
	                 view->count, claimed - view->count);
	c->lost = true;
}

int qcf_check_walk_snapshots(struct qcf_checker *c,
                             const struct qcf_snapshot_view *view,
                             struct qcowfmt_error **errp)
{
	if (c->header->snapshot_count == 0)
		return 0;
	for (uint32_t i = 0; i < view->count; i++)
		check_entry(c, view, i);
	check_missing(c, view);
	if (view->bytes == NULL)
		return qcf_check_count_table(
			c, c->header->snapshots_offset,
			QCF_SNAPSHOT_FIXED_LEN *
				(uint64_t)c->header->snapshot_count,
			errp);
	return qcf_check_count_range(c, c->header->snapshots_offset,
	                             QCF_MAX(view->end, (size_t)1), 1, errp);
}
