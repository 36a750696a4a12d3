/* SPDX-License-Identifier: MIT */
/*
 * check_l2.c - what the entries of L2 tables refer to
 *
 * A cluster that an entry names counts as referenced even if the rest of the
 * entry makes no sense, so that no repair frees it.
 *
 * Most entries of most tables are plain data clusters that follow each other, so
 * those are counted as runs; anything else takes the slow way.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "check_l2.h"
#include "check_refs.h"
#include "checked.h"
#include "l2_bounds.h"

/* The walk through one table. */
struct walk {
	struct qcf_checker *c;
	const struct qcf_l2_ref *ref;
	/* Where the next cluster would be if the file were not fragmented;
	 * 0 = no opinion. */
	uint64_t expected;
};

/* --------------------------------------------------------- entry by entry */

static void count_guest_cluster(struct walk *w, const struct qcf_mapping *m)
{
	struct qcowfmt_check_result *result = w->c->result;

	if (w->ref->active == 0 || m->kind == QCF_UNALLOCATED ||
	    m->kind == QCF_ZERO_PLAIN)
		return;
	result->allocated_clusters += w->ref->active;
	if (m->kind == QCF_COMPRESSED) {
		result->compressed_clusters += w->ref->active;
		result->fragmented_clusters += w->ref->active;
		return;
	}
	if (w->expected != 0 && m->host_offset != w->expected)
		result->fragmented_clusters += w->ref->active;
	w->expected = m->host_offset + w->c->geometry->cluster_size;
}

static void check_reserved(struct walk *w, uint64_t at,
                           const struct qcf_mapping *m, struct qcf_l2_raw raw)
{
	if (m->reserved != 0)
		qcf_check_report(w->c, QCF_CHECK_L2_RESERVED, at, w->ref->names,
		                 "ERROR found l2 entry with reserved bits set: "
		                 "%" PRIx64,
		                 qcf_be64_decode(raw.word));
}

static void check_bitmap(struct walk *w, uint64_t at,
                         const struct qcf_mapping *m, struct qcf_l2_raw raw)
{
	const char *what = "unallocated cluster has non-zero subcluster "
			   "allocation map";

	if (qcf_mapping_check(w->c->geometry, raw) !=
	    QCF_CHECK_SUBCLUSTER_BITMAP)
		return;
	if (m->kind == QCF_COMPRESSED)
		what = "compressed cluster with non-zero subcluster allocation "
		       "bitmap";
	else if (qcf_mapping_has_cluster(m))
		what = "allocated cluster has corrupted subcluster allocation "
		       "bitmap";
	qcf_check_report(w->c, QCF_CHECK_SUBCLUSTER_BITMAP, at, w->ref->names,
	                 "ERROR %s, entry=0x%" PRIx64, what,
	                 qcf_be64_decode(raw.word));
}

static int walk_compressed(struct walk *w, uint64_t at,
                           const struct qcf_mapping *m, struct qcf_l2_raw raw,
                           struct qcowfmt_error **errp)
{
	if (m->copied)
		qcf_check_report(w->c, QCF_CHECK_COMPRESSED_COPIED, at,
		                 w->ref->names,
		                 "ERROR: coffset=0x%" PRIx64
		                 ": copied flag must never be set for "
		                 "compressed clusters",
		                 m->host_offset);
	/* Where it would be in which file, nobody can tell. */
	if (w->c->geometry->data_file) {
		qcf_check_report(w->c, QCF_CHECK_DATA_FILE_COMPRESSED, at,
		                 w->ref->names,
		                 "ERROR compressed cluster with data file, "
		                 "entry=0x%" PRIx64,
		                 qcf_be64_decode(raw.word));
		return 0;
	}
	return qcf_check_count_range(w->c, m->host_offset, m->compressed_len,
	                             w->ref->names, errp);
}

bool qcf_check_is_bad_zero(const struct qcf_checker *c,
                           const struct qcf_mapping *m)
{
	return m->kind == QCF_ZERO_ALLOCATED &&
	       !qcf_is_aligned(m->host_offset, c->geometry->cluster_size);
}

static int remember_bad_zero(struct walk *w, uint64_t at,
                             struct qcowfmt_error **errp)
{
	struct qcf_checker *c = w->c;
	size_t room = c->bad_zero_room == 0 ? 16 : c->bad_zero_room * 2;
	struct qcf_bad_zero *more = c->bad_zeros;

	if (c->bad_zero_count == c->bad_zero_room) {
		more = realloc(c->bad_zeros, room * sizeof(*more));
		if (more == NULL)
			return qcf_fail_oom(errp);
		c->bad_zeros = more;
		c->bad_zero_room = room;
	}
	more[c->bad_zero_count++] = (struct qcf_bad_zero){ at, w->ref->names };
	return 0;
}

static int walk_bad_zero(struct walk *w, uint64_t at,
                         const struct qcf_mapping *m,
                         struct qcowfmt_error **errp)
{
	struct qcf_checker *c = w->c;

	qcf_finding_fixable(c, QCF_CHECK_ZERO_OFFSET, at, c->fix_all,
	                    w->ref->names,
	                    "offset=%" PRIx64
	                    ": Preallocated cluster is not properly aligned; "
	                    "L2 entry corrupted.",
	                    m->host_offset);
	if (c->fix_all)
		return remember_bad_zero(w, at, errp);
	return c->geometry->data_file
	               ? 0
	               : qcf_check_count_range(c, m->host_offset,
	                                       c->geometry->cluster_size,
	                                       w->ref->names, errp);
}

/* Guest data in a data file is not counted. */
static int walk_cluster(struct walk *w, uint64_t at,
                        const struct qcf_mapping *m,
                        struct qcowfmt_error **errp)
{
	struct qcf_checker *c = w->c;
	const struct qcf_geometry *g = c->geometry;

	if (qcf_check_is_bad_zero(c, m))
		return walk_bad_zero(w, at, m, errp);
	if (!qcf_is_aligned(m->host_offset, g->cluster_size))
		qcf_check_report(c, QCF_CHECK_DATA_OFFSET, at, w->ref->names,
		                 "ERROR offset=%" PRIx64
		                 ": Data cluster is not properly aligned; L2 "
		                 "entry corrupted.",
		                 m->host_offset);
	if (g->data_file)
		return 0;
	return qcf_check_count_range(c, m->host_offset, g->cluster_size,
	                             w->ref->names, errp);
}

static int walk_entry(struct walk *w, uint64_t i, struct qcf_l2_raw raw,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = w->c->geometry;
	uint64_t at = w->ref->offset + i * g->l2_entry_size;
	struct qcf_mapping m = qcf_l2_entry_decode(g, raw);
	int ret = 0;

	check_reserved(w, at, &m, raw);
	if (g->extended_l2)
		check_bitmap(w, at, &m, raw);
	if (qcf_mapping_has_cluster(&m) &&
	    (!m.copied || !qcf_check_in_file(w->c, m.host_offset)))
		w->c->need_flags = true;
	if (!w->c->fix_all || !qcf_check_is_bad_zero(w->c, &m))
		count_guest_cluster(w, &m);
	if (m.kind == QCF_COMPRESSED)
		ret = walk_compressed(w, at, &m, raw, errp);
	else if (qcf_mapping_has_cluster(&m))
		ret = walk_cluster(w, at, &m, errp);
	return ret;
}

/* -------------------------------------------------------------- run by run */

/* Flags that a run of entries has in common: the first word with its offset
 * taken out. */
#define RUN_FLAGS (~QCF_ENTRY_OFFSET)

/* Words that are compared at once, without looking for the first that differs. */
#define RUN_STEP 8u

bool qcf_check_is_plain(const struct qcf_checker *c, uint64_t word)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t offset = word & QCF_ENTRY_OFFSET;

	return (word & RUN_FLAGS & ~QCF_ENTRY_COPIED) == 0 &&
	       (offset & (g->cluster_size - 1)) == 0 && offset != 0 &&
	       offset >> g->cluster_bits < c->file_clusters;
}

/* How many first words, step apart, go up by a cluster each. */
static uint64_t rising_words(const struct qcf_be64 *words, uint64_t step,
                             uint64_t cluster_size, uint64_t max)
{
	uint64_t next = qcf_be64_decode(words[0]) + cluster_size;
	uint64_t n = 1;

	while (n + RUN_STEP <= max) {
		uint64_t differ = 0;

		for (uint64_t i = 0; i < RUN_STEP; i++)
			differ |= qcf_be64_decode(words[(n + i) * step]) ^
			          (next + i * cluster_size);
		if (differ != 0)
			break;
		n += RUN_STEP;
		next += RUN_STEP * cluster_size;
	}
	while (n < max && qcf_be64_decode(words[n * step]) == next) {
		n++;
		next += cluster_size;
	}
	return n;
}

/* How many of the second words of entries are legal for data clusters. */
static uint64_t legal_bitmaps(const struct qcf_be64 *words, uint64_t max)
{
	uint64_t n = 0;

	while (n < max) {
		uint64_t bitmap = qcf_be64_decode(words[2 * n + 1]);

		if ((bitmap >> 32 & bitmap) != 0)
			break;
		n++;
	}
	return n;
}

uint64_t qcf_check_plain_run(const struct qcf_checker *c,
                             const struct qcf_be64 *words, uint64_t max)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t offset = qcf_be64_decode(words[0]) & QCF_ENTRY_OFFSET;
	uint64_t step = g->l2_entry_size / sizeof(*words);

	max = QCF_MIN(max, c->file_clusters - (offset >> g->cluster_bits));
	return rising_words(words, step, g->cluster_size, max);
}

static int count_run(struct walk *w, uint64_t word, uint64_t len,
                     struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = w->c->geometry;
	uint64_t offset = word & QCF_ENTRY_OFFSET;

	if ((word & QCF_ENTRY_COPIED) == 0)
		w->c->need_flags = true;
	if (w->ref->active > 0) {
		w->c->result->allocated_clusters += len * w->ref->active;
		if (offset != w->expected && w->expected != 0)
			w->c->result->fragmented_clusters += w->ref->active;
		w->expected = offset + (len << g->cluster_bits);
	}
	return qcf_counts_add(&w->c->counts, offset >> g->cluster_bits, len,
	                      w->ref->names, errp);
}

/* A run of plain clusters from entry i on; *len is 0 if there is none. */
static int walk_run(struct walk *w, const struct qcf_be64 *words, uint64_t max,
                    uint64_t *len, struct qcowfmt_error **errp)
{
	uint64_t word = qcf_be64_decode(words[0]);

	*len = 0;
	if (!qcf_check_is_plain(w->c, word))
		return 0;
	*len = qcf_check_plain_run(w->c, words, max);
	if (w->c->geometry->extended_l2)
		*len = legal_bitmaps(words, *len);
	return *len == 0 ? 0 : count_run(w, word, *len, errp);
}

/* Whether an entry refers to nothing, and nothing is wrong with it. */
static bool is_nothing(const struct qcf_geometry *g,
                       const struct qcf_be64 *words)
{
	if (g->extended_l2)
		return words[0].raw == 0 && words[1].raw == 0;
	return words[0].raw == 0 ||
	       words[0].raw == qcf_be64_encode(QCF_ENTRY_ZERO).raw;
}

static int walk_words(struct walk *w, const struct qcf_be64 *words,
                      struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = w->c->geometry;
	uint64_t step = g->l2_entry_size / sizeof(*words);
	uint64_t count = g->l2_entry_count;
	uint64_t i = 0;
	int ret = 0;

	while (ret == 0 && i < count) {
		uint64_t len = 0;

		if (is_nothing(g, words + i * step)) {
			i++;
			continue;
		}
		if (!g->data_file)
			ret = walk_run(w, words + i * step, count - i, &len,
			               errp);
		if (ret == 0 && len == 0) {
			ret = walk_entry(w, i, qcf_l2_table_get(g, words, i),
			                 errp);
			len = 1;
		}
		i += len;
	}
	return ret;
}

int qcf_check_walk_l2(struct qcf_checker *c, const struct qcf_l2_ref *ref,
                      const struct qcf_be64 *words, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = c->geometry;
	struct walk w = { .c = c, .ref = ref };
	int ret = qcf_check_count_range(c, ref->offset, g->cluster_size,
	                                ref->names, errp);

	if (ret < 0 || words == NULL)
		return ret;
	return walk_words(&w, words, errp);
}

/* ----------------------------------------------------------------- reading */

int qcf_l2_reader_init(struct qcf_l2_reader *reader, struct qcf_checker *c,
                       struct qcowfmt_error **errp)
{
	*reader = (struct qcf_l2_reader){ .checker = c };
	reader->room = qcf_check_read_ahead(c);
	reader->words = malloc(reader->room);
	return reader->words == NULL ? qcf_fail_oom(errp) : 0;
}

void qcf_l2_reader_fini(struct qcf_l2_reader *reader)
{
	free(reader->words);
}

/* Bytes of tables that follow each other, not more than the buffer holds. */
static uint64_t run_of_tables(const struct qcf_l2_reader *r,
                              struct qcf_l2_ref *const *refs, size_t count)
{
	uint64_t size = r->checker->geometry->cluster_size;
	uint64_t len = size;

	for (size_t i = 1; i < count && len + size <= r->room &&
	                   refs[i]->offset == refs[0]->offset + len;
	     i++)
		len += size;
	return len;
}

/*
 * An image can name more tables than anybody can read that are all in one hole of
 * its file.  What storage says about holes is a hint, which a repair does not rely
 * on, nor a check of any image with a reasonable number of tables.
 */
static bool is_in_hole(struct qcf_l2_reader *r, uint64_t offset)
{
	struct qcf_checker *c = r->checker;
	uint64_t size = c->geometry->cluster_size;
	uint64_t max = (c->file_clusters << c->geometry->cluster_bits) - offset;

	r->total += size;
	if (r->total < QCF_ASK_FOR_HOLES_FROM || c->meta != NULL)
		return false;
	if (offset < r->hole || offset >= r->hole_end) {
		uint64_t run = 0;

		if (qcf_storage_extent(c->storage, offset, max, &run, NULL) !=
		    QCOWFMT_STORAGE_HOLE)
			return false;
		r->hole = offset;
		r->hole_end = offset + run;
	}
	return r->hole_end - offset >= size;
}

/* Several tables at once; quietly, because one bad sector among them says nothing
 * about the first. */
static bool read_ahead(struct qcf_l2_reader *r, uint64_t offset, uint64_t len)
{
	bool ok = qcf_storage_pread_padded(r->checker->storage, r->words, len,
	                                   offset, NULL) >= 0;

	r->first = offset;
	r->len = ok ? len : 0;
	return ok;
}

static int read_one(struct qcf_l2_reader *r, uint64_t offset, bool *ok,
                    struct qcowfmt_error **errp)
{
	uint64_t size = r->checker->geometry->cluster_size;

	r->first = offset;
	r->len = size;
	return qcf_check_read(r->checker, "L2 table", offset, r->words, size,
	                      ok, errp);
}

static bool holds(const struct qcf_l2_reader *r, uint64_t offset)
{
	return offset >= r->first &&
	       qcf_range_within(offset - r->first,
	                        r->checker->geometry->cluster_size, r->len);
}

int qcf_l2_reader_get(struct qcf_l2_reader *r, struct qcf_l2_ref *const *refs,
                      size_t count, const struct qcf_be64 **words,
                      struct qcowfmt_error **errp)
{
	uint64_t size = r->checker->geometry->cluster_size;
	uint64_t offset = refs[0]->offset;
	bool ok = true;
	int ret = 0;

	*words = NULL;
	if (!qcf_check_in_file(r->checker, offset) || is_in_hole(r, offset))
		return 0;
	if (!holds(r, offset)) {
		uint64_t len = run_of_tables(r, refs, count);

		if (len == size || !read_ahead(r, offset, len))
			ret = read_one(r, offset, &ok, errp);
	}
	if (ret < 0 || !ok) {
		r->len = 0;
		return ret;
	}
	*words = r->words + (offset - r->first) / sizeof(struct qcf_be64);
	return 0;
}
