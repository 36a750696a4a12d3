/* SPDX-License-Identifier: MIT */
/* convert_plan.c - cutting the disk that convert reads into pieces */
#include "convert_plan.h"

/* Zeros in one piece: little enough that somebody who cancels need not wait
 * until terabytes have been zeroed. */
#define MAX_ZEROS (UINT64_C(1) << 30)

struct search {
	struct qcf_planner *planner;
	qcf_poll_callback poll;
	void *poll_opaque;
};

/* What is at an offset, up to end.  Where everything is written, all is data but
 * what the target has from its backing file, or as zeros behind the end of it. */
static int look(const struct qcf_planner *p, uint64_t offset,
                enum qcf_source_content *content, uint64_t *end,
                struct qcowfmt_error **errp)
{
	const struct qcf_source_image *image =
		qcf_source_image_at(p->source, offset);
	int ret;

	if (p->write_all && image->left_below == 0) {
		*content = QCF_SOURCE_DATA;
		*end = image->start + image->size;
		return 0;
	}
	ret = qcf_source_content(p->source, offset, content, end, errp);
	if (ret == 0 && p->write_all && *content == QCF_SOURCE_ZERO &&
	    offset - image->start < image->left_below)
		*content = QCF_SOURCE_DATA;
	return ret;
}

/* Follow one kind of content, from extent to extent, up to limit at most. */
static int extend(const struct search *s, enum qcf_source_content wanted,
                  uint64_t limit, uint64_t *end, struct qcowfmt_error **errp)
{
	while (*end < limit) {
		enum qcf_source_content content;
		uint64_t next;
		int ret = look(s->planner, *end, &content, &next, errp);

		if (ret == 0 && s->poll != NULL)
			ret = s->poll(s->poll_opaque, errp);
		if (ret < 0)
			return ret;
		if (content != wanted)
			break;
		*end = QCF_MIN(next, limit);
	}
	return 0;
}

/*
 * Whole units of data, as many as fit a buffer.  In front of the first unit
 * boundary, where what is to be copied begins in the middle of a unit, only the
 * rest of that unit.
 */
static int plan_data(const struct search *s, struct qcf_copy_piece *piece,
                     struct qcowfmt_error **errp)
{
	const struct qcf_planner *p = s->planner;
	uint64_t limit = QCF_MIN(qcf_unit_down(piece->offset, p->buffer_size) +
	                                 p->buffer_size,
	                         p->dirty_end);
	uint64_t end = QCF_MIN(qcf_unit_up(piece->offset + 1, p->unit), limit);
	uint64_t before = 0;
	int ret = 0;

	if (piece->offset % p->unit != 0)
		limit = end;
	while (ret == 0 && end < limit && end != before) {
		before = end;
		ret = extend(s, QCF_SOURCE_DATA, limit, &end, errp);
		end = QCF_MIN(qcf_unit_up(end, p->unit), limit);
	}
	piece->content = QCF_SOURCE_DATA;
	piece->length = end - piece->offset;
	return ret;
}

/* The next piece of what is to be copied, whether or not it needs work. */
static int plan_piece(const struct search *s, struct qcf_copy_piece *piece,
                      struct qcowfmt_error **errp)
{
	const struct qcf_planner *p = s->planner;
	uint64_t end = p->position;
	int ret;

	piece->offset = p->position;
	piece->content = QCF_SOURCE_DATA;
	ret = look(p, piece->offset, &piece->content, &end, errp);
	if (ret == 0 && piece->content != QCF_SOURCE_DATA)
		ret = extend(s, piece->content, p->dirty_end, &end, errp);
	if (ret < 0)
		return ret;
	end = end < p->dirty_end ? qcf_unit_down(end, p->unit) : p->dirty_end;
	if (piece->content == QCF_SOURCE_DATA || end <= piece->offset)
		return plan_data(s, piece, errp);
	piece->length = end - piece->offset;
	return 0;
}

/* A long range of zeros is several pieces. */
static void limit_zeros(const struct qcf_planner *p,
                        struct qcf_copy_piece *piece)
{
	uint64_t end = qcf_unit_down(piece->offset + MAX_ZEROS, p->unit);

	if (piece->length > MAX_ZEROS && end > piece->offset)
		piece->length = end - piece->offset;
}

static bool needs_work(const struct qcf_planner *p,
                       const struct qcf_copy_piece *piece)
{
	return piece->content == QCF_SOURCE_DATA ||
	       (piece->content == QCF_SOURCE_ZERO &&
	        piece->offset < p->zeros_below);
}

/* Let position be in a range that is to be copied.  Returns 0 at the end. */
static int find_dirty(struct qcf_planner *p, struct qcowfmt_error **errp)
{
	uint64_t start = 0;
	uint64_t len = 0;
	int ret;

	if (p->position < p->dirty_end)
		return 1;
	if (p->position >= p->source->size)
		return 0;
	if (p->next_dirty == NULL) {
		p->dirty_end = p->source->size;
		return 1;
	}
	ret = p->next_dirty(p->dirty_opaque, p->position, &start, &len, errp);
	if (ret <= 0 || start >= p->source->size)
		return QCF_MIN(ret, 0);
	p->position = QCF_MAX(p->position, start);
	p->dirty_end = QCF_MIN(start + len, p->source->size);
	return p->position < p->dirty_end;
}

/* Whether there is so much shows when it is read. */
static int plan_input(struct qcf_planner *p, struct qcf_copy_piece *piece)
{
	if (p->position >= p->source->size ||
	    atomic_load(&p->source->input->at_end))
		return 0;
	*piece = (struct qcf_copy_piece){
		.content = QCF_SOURCE_DATA,
		.offset = p->position,
		.length =
			QCF_MIN(p->buffer_size, p->source->size - p->position),
	};
	piece->progress = piece->length;
	p->position += piece->length;
	return 1;
}

void qcf_plan_rewind(struct qcf_planner *planner)
{
	planner->position = 0;
	planner->dirty_end = 0;
}

int qcf_plan_next(struct qcf_planner *planner, qcf_poll_callback poll,
                  void *poll_opaque, struct qcf_copy_piece *piece,
                  struct qcowfmt_error **errp)
{
	const struct search s = { planner, poll, poll_opaque };
	int ret;

	if (planner->source->input != NULL)
		return plan_input(planner, piece);
	while ((ret = find_dirty(planner, errp)) > 0) {
		ret = plan_piece(&s, piece, errp);
		if (ret < 0)
			return ret;
		if (needs_work(planner, piece)) {
			if (piece->content == QCF_SOURCE_ZERO)
				limit_zeros(planner, piece);
			planner->position = piece->offset + piece->length;
			piece->progress = piece->content == QCF_SOURCE_DATA
			                          ? piece->length
			                          : 0;
			return 1;
		}
		planner->position = piece->offset + piece->length;
	}
	return ret;
}

int qcf_plan_count(struct qcf_planner *planner, qcf_poll_callback poll,
                   void *poll_opaque, uint64_t *total,
                   struct qcowfmt_error **errp)
{
	struct qcf_copy_piece piece;
	int ret;

	*total = 0;
	qcf_plan_rewind(planner);
	while ((ret = qcf_plan_next(planner, poll, poll_opaque, &piece, errp)) >
	       0)
		*total += piece.progress;
	qcf_plan_rewind(planner);
	return ret;
}
