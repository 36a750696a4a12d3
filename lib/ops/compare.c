/* SPDX-License-Identifier: MIT */
/*
 * compare.c - whether a guest sees the same in two images
 *
 * Goes through both disks in step.  What both say are zeros, and what both take
 * from the same bytes of the same file, is not read.
 */
#include "compare.h"
#include "checked.h"
#include "convert_pace.h"
#include "scan.h"
#include "zeros.h"

struct side {
	struct qcf_request request;
	struct qcf_scan scan;
	struct qcf_piece piece;
	uint8_t *buffer; /* of the size of a chunk; owned */
};

struct comparing {
	struct side sides[2];
	uint64_t chunk; /* bytes read at once */
	bool strict;
	struct qcf_pace pace;
	struct qcowfmt_compare_result *result;
};

/* --------------------------------------------------------------- what is found */

/* There is a difference; returns true for convenience. */
static bool differ(struct comparing *c, int difference, uint64_t guest_offset)
{
	c->result->difference = difference;
	c->result->guest_offset = guest_offset;
	return true;
}

static int failed(struct comparing *c, const struct side *side, int step,
                  uint64_t guest_offset, int ret)
{
	c->result->failed_image = side == &c->sides[0] ? 1 : 2;
	c->result->failed_step = step;
	c->result->guest_offset = guest_offset;
	return ret;
}

static bool is_zero_sector(const uint8_t *bytes, uint64_t at, uint64_t len)
{
	return qcf_is_zero(bytes + at, QCF_MIN(len - at, QCF_SECTOR_SIZE));
}

/* The first sector that is not zero, or len. */
static uint64_t find_data(const uint8_t *bytes, uint64_t len)
{
	uint64_t at = 0;

	if (qcf_is_zero(bytes, len))
		return len;
	while (is_zero_sector(bytes, at, len))
		at += QCF_SECTOR_SIZE;
	return at;
}

/* The first sector that is not the same in both buffers, or len. */
static uint64_t find_difference(const struct comparing *c, uint64_t len)
{
	const uint8_t *a = c->sides[0].buffer;
	const uint8_t *b = c->sides[1].buffer;
	uint64_t at = 0;

	if (memcmp(a, b, len) == 0)
		return len;
	while (memcmp(a + at, b + at, QCF_MIN(len - at, QCF_SECTOR_SIZE)) == 0)
		at += QCF_SECTOR_SIZE;
	return at;
}

/* ---------------------------------------------------------------------- bytes */

static int read_side(struct comparing *c, struct side *side,
                     uint64_t guest_offset, uint64_t len,
                     struct qcowfmt_error **errp)
{
	int ret = qcf_scan_read(&side->scan, side->buffer, guest_offset, len,
	                        errp);

	return ret < 0 ? failed(c, side, QCOWFMT_COMPARE_READING, guest_offset,
	                        ret)
	               : 0;
}

/* Compare a chunk, of which at least one side is data. */
static int compare_chunk(struct comparing *c, uint64_t guest_offset,
                         uint64_t len, bool *found, struct qcowfmt_error **errp)
{
	bool reads[2];
	uint64_t same;

	for (int i = 0; i < 2; i++) {
		struct side *side = &c->sides[i];
		int ret = 0;

		reads[i] = side->piece.content == QCF_CONTENT_DATA;
		if (reads[i])
			ret = read_side(c, side, guest_offset, len, errp);
		if (ret < 0)
			return ret;
	}
	same = reads[0] && reads[1] ? find_difference(c, len)
	                            : find_data(c->sides[reads[1]].buffer, len);
	if (same < len)
		*found = differ(c, QCOWFMT_DIFFERENT_CONTENT,
		                guest_offset + same);
	return 0;
}

/* --------------------------------------------------------------------- strict */

/*
 * QEMU compares what its drivers report, piece by piece, and a piece ends with
 * what it keeps in one entry of its cache: an L2 table, or 64 KiB of it.
 */
#define TABLE_PIECE (UINT64_C(64) << 10)

static void cut_to_table(const struct qcf_layer *layer, uint64_t guest_offset,
                         struct qcf_piece *piece)
{
	const struct qcf_geometry *g;
	uint64_t span;

	if (layer->meta == NULL)
		return;
	g = &layer->meta->geometry;
	span = QCF_MIN(g->l2_table_size, TABLE_PIECE) / g->l2_entry_size
	       << g->cluster_bits;
	piece->length =
		QCF_MIN(piece->length, span - (guest_offset & (span - 1)));
}

enum {
	IS_DATA = 1,
	IS_ZERO = 2,
	HAS_OFFSET = 4,
	IS_ALLOCATED = 8,
	IS_LAST = 16,
};

static int status_of(const struct side *side, uint64_t guest_offset)
{
	const struct qcf_piece *piece = &side->piece;
	const struct qcowfmt_image *image = side->scan.image;
	const struct qcf_layer *layer = image->layers[piece->extent.depth];
	uint64_t end = guest_offset + piece->length;
	enum qcf_kind kind = piece->extent.run.kind;
	bool is_data = kind == QCF_DATA || kind == QCF_COMPRESSED;
	int status = piece->content == QCF_CONTENT_DATA ? 0 : IS_ZERO;

	/* In a raw image what is a hole holds no data. */
	if (is_data && !(piece->is_hole && layer->meta == NULL))
		status |= IS_DATA;
	if ((kind == QCF_DATA || kind == QCF_ZERO_ALLOCATED) &&
	    qcf_layer_crypto(layer) == NULL)
		status |= HAS_OFFSET;
	/* Zeros behind the end of a shorter image below belong to this one. */
	if (kind != QCF_UNALLOCATED ||
	    piece->extent.depth + 1 < image->layer_count)
		status |= IS_ALLOCATED;
	if (end == side->scan.size || end == layer->virtual_size)
		status |= IS_LAST;
	return status;
}

/* Cut both pieces where QEMU's end, and compare what they are. */
static bool compare_status(struct comparing *c, uint64_t guest_offset)
{
	int status[2];

	for (int i = 0; i < 2; i++) {
		struct side *side = &c->sides[i];
		struct qcf_layer **layers = side->scan.image->layers;

		cut_to_table(layers[0], guest_offset, &side->piece);
		cut_to_table(layers[side->piece.extent.depth], guest_offset,
		             &side->piece);
		status[i] = status_of(side, guest_offset);
	}
	return status[0] != status[1] &&
	       differ(c, QCOWFMT_DIFFERENT_ALLOCATION, guest_offset);
}

/* -------------------------------------------------------------------- the walk */

static int look_at_sides(struct comparing *c, uint64_t guest_offset,
                         uint64_t end, struct qcowfmt_error **errp)
{
	for (int i = 0; i < 2; i++) {
		struct side *side = &c->sides[i];
		int ret;

		qcf_request_renew(&side->request);
		ret = qcf_scan_piece(&side->scan, guest_offset,
		                     end - guest_offset, &side->piece, errp);
		if (ret == 0 && side->piece.content == QCF_CONTENT_BELOW)
			ret = qcf_extent_lookup_chain(
				side->scan.image, guest_offset, 1,
				&side->piece.extent, errp);
		if (ret < 0)
			return failed(c, side, QCOWFMT_COMPARE_MAPPING,
			              guest_offset, ret);
	}
	return 0;
}

/* Whether the two pieces cannot differ. */
static bool is_same_anyway(const struct comparing *c)
{
	const struct side *a = &c->sides[0];
	const struct side *b = &c->sides[1];

	return (a->piece.content == QCF_CONTENT_ZEROS &&
	        b->piece.content == QCF_CONTENT_ZEROS) ||
	       qcf_scan_same_place(&a->scan, &a->piece, &b->scan, &b->piece);
}

static int compare_pieces(struct comparing *c, uint64_t at, uint64_t end,
                          bool *found, struct qcowfmt_error **errp)
{
	int ret = qcf_pace_to(&c->pace, at, errp);

	while (ret == 0 && !*found && at < end) {
		uint64_t len = QCF_MIN(end - at, c->chunk);

		ret = compare_chunk(c, at, len, found, errp);
		at += len;
		if (ret == 0 && !*found)
			ret = qcf_pace_to(&c->pace, at, errp);
	}
	return ret;
}

static int compare_disks(struct comparing *c, struct qcowfmt_error **errp)
{
	uint64_t common = QCF_MIN(c->sides[0].scan.size, c->sides[1].scan.size);
	uint64_t total = c->pace.total;
	uint64_t at = 0;
	bool found = false;
	int ret = 0;

	while (ret == 0 && !found && at < total) {
		uint64_t end = at < common ? common : total;

		ret = look_at_sides(c, at, end, errp);
		if (ret == 0 && c->strict)
			found = compare_status(c, at);
		if (ret < 0 || found)
			break;
		end = at + QCF_MIN(c->sides[0].piece.length,
		                   c->sides[1].piece.length);
		ret = is_same_anyway(c)
		              ? qcf_pace_to(&c->pace, end, errp)
		              : compare_pieces(c, at, end, &found, errp);
		at = end;
	}
	return ret;
}

/* ---------------------------------------------------------------- the operation */

static int begin_side(struct comparing *c, struct side *side,
                      struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	int ret = qcf_scan_init(&side->scan, image, errp);

	if (ret < 0)
		return ret;
	side->buffer = aligned_alloc(QCF_SCAN_ALIGNMENT, c->chunk);
	return side->buffer == NULL ? qcf_fail_oom(errp) : 0;
}

static void end_side(struct side *side)
{
	free(side->buffer);
	qcf_scan_fini(&side->scan);
	qcf_request_end(&side->request);
}

static int compare(struct comparing *c, struct qcowfmt_image *first,
                   struct qcowfmt_image *second, struct qcowfmt_error **errp)
{
	int ret = begin_side(c, &c->sides[0], first, errp);

	if (ret == 0)
		ret = begin_side(c, &c->sides[1], second, errp);
	if (ret < 0)
		return ret;
	c->pace.total = QCF_MAX(c->sides[0].scan.size, c->sides[1].scan.size);
	if (c->strict && c->sides[0].scan.size != c->sides[1].scan.size) {
		differ(c, QCOWFMT_DIFFERENT_SIZE,
		       QCF_MIN(c->sides[0].scan.size, c->sides[1].scan.size));
		return 0;
	}
	return compare_disks(c, errp);
}

int qcf_compare(struct qcowfmt_image *first, struct qcowfmt_image *second,
                const struct qcowfmt_compare_options *options,
                struct qcowfmt_compare_result *result,
                struct qcowfmt_error **errp)
{
	struct comparing c = {
		.chunk = QCF_MAX(qcf_scan_chunk(first), qcf_scan_chunk(second)),
		.strict = (options->flags & QCOWFMT_COMPARE_STRICT) != 0,
		.result = result,
	};
	int ret;

	qcf_pace_init(&c.pace, options->progress, options->progress_opaque, 0);
	*result = (struct qcowfmt_compare_result){ 0 };
	if ((options->flags & ~QCOWFMT_COMPARE_STRICT) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown compare flags 0x%x",
		                options->flags & ~QCOWFMT_COMPARE_STRICT);
	qcf_request_begin_both(&c.sides[0].request, first, &c.sides[1].request,
	                       second);
	ret = compare(&c, first, second, errp);
	end_side(&c.sides[1]);
	end_side(&c.sides[0]);
	return ret;
}
