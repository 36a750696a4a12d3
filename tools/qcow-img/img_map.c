/* SPDX-License-Identifier: MIT */
/* img_map.c - "qcow-img map": show where the data of an image lies */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "img_command.h"
#include "img_holes.h"
#include "tool_error.h"
#include "tool_image_command.h"
#include "tool_size.h"
#include "tool_text.h"

static const struct qcf_tool_option options[] = {
	QCF_OPTION_FORMAT,
	{ 's', "start-offset", "OFFSET", "where to start", false },
	{ 'l', "max-length", "LENGTH", "how far to go", false },
	QCF_OPTION_OUTPUT,
	QCF_OPTION_FORCE_SHARE,
	QCF_OPTION_OBJECT,
	QCF_OPTION_IMAGE_OPTS,
	QCF_OPTIONS_END
};

struct request {
	struct qcf_image_args image;
	uint64_t start;
	uint64_t length;
};

/* One line of the output. */
struct entry {
	uint64_t start;
	uint64_t length;
	uint64_t offset; /* QCOWFMT_NO_OFFSET if none */
	uint32_t depth;
	bool present;
	bool zero;
	bool data;
	bool compressed;
};

/* What does not change while an image is mapped. */
struct mapping {
	struct qcowfmt_image *image;
	struct qcowfmt_info *layers; /* by depth, as the next two */
	bool *shows_holes;
	const char **files; /* where the data of each lies */
	uint64_t *starts;   /* in the file of each: where a raw disk begins */
	uint32_t map_flags;
	uint32_t layer_count;
	bool whole_sectors; /* all files are read in those */
	bool json;
	bool is_first; /* no JSON object was printed yet */
};

static bool take_option(int option, void *opaque)
{
	struct request *r = opaque;

	if (option == 's')
		return qcf_parse_size_argument(optarg, "start offset",
		                               &r->start);
	return qcf_parse_size_argument(optarg, "max length", &r->length);
}

/* ------------------------------------------------------------------ layers */

/* The file that holds the data of a layer. */
static const char *data_file(const struct qcowfmt_info *layer,
                             const char *replacement)
{
	static const char protocol[] = "file:";
	const char *name = layer->data_filename;

	if ((layer->flags & QCOWFMT_INFO_DATA_FILE) == 0)
		return layer->filename;
	if (replacement != NULL)
		return replacement;
	if (name == NULL)
		return layer->filename;
	if (strncmp(name, protocol, strlen(protocol)) == 0)
		name += strlen(protocol);
	return name;
}

/* Of a raw disk that was described as a part of its file. */
static uint64_t window_start(const struct request *r,
                             const struct qcowfmt_info *layer, uint32_t depth)
{
	const struct qcf_image_node *node =
		qcf_image_opts_node(&r->image.opts, depth);

	if (node == NULL || layer->format != QCOWFMT_FORMAT_RAW)
		return 0;
	return node->window.offset;
}

static bool look_at_layers(struct mapping *m, const struct request *r)
{
	const char *replacement = r->image.opts.data_path;
	const struct qcf_image_node *node =
		qcf_image_opts_node(&r->image.opts, 0);
	struct qcowfmt_info top = { .struct_size = sizeof(top) };
	uint32_t depth;

	if (qcowfmt_get_info(m->image, 0, &top, NULL) < 0)
		return false;
	m->map_flags = qcf_hole_flags(m->image);
	m->whole_sectors = node != NULL && node->direct == QCF_CHOICE_ON;
	m->layer_count = top.chain_depth;
	m->layers = qcf_tool_alloc(top.chain_depth * sizeof(*m->layers));
	m->shows_holes = qcf_tool_alloc(top.chain_depth * sizeof(bool));
	m->files = qcf_tool_alloc(top.chain_depth * sizeof(*m->files));
	m->starts = qcf_tool_alloc(top.chain_depth * sizeof(*m->starts));
	for (depth = 0; depth < top.chain_depth; depth++) {
		struct qcowfmt_info *layer = &m->layers[depth];

		layer->struct_size = sizeof(*layer);
		if (qcowfmt_get_info(m->image, depth, layer, NULL) < 0)
			return false;
		m->shows_holes[depth] = qcf_shows_holes(layer);
		m->files[depth] =
			data_file(layer, depth == 0 ? replacement : NULL);
		m->starts[depth] = window_start(r, layer, depth);
	}
	return true;
}

/* ----------------------------------------------------------------- entries */

static struct entry make_entry(const struct mapping *m,
                               const struct qcowfmt_extent *e)
{
	uint32_t depth = e->depth < m->layer_count ? e->depth : 0;
	bool is_hole =
		(e->flags & QCOWFMT_EXTENT_HOLE) != 0 && m->shows_holes[depth];
	struct entry entry = {
		.start = e->guest_offset,
		.length = e->length,
		.offset = QCOWFMT_NO_OFFSET,
		.depth = e->depth,
		.present = e->kind != QCOWFMT_EXTENT_UNALLOCATED,
		.zero = e->kind == QCOWFMT_EXTENT_UNALLOCATED ||
		        e->kind == QCOWFMT_EXTENT_ZERO || is_hole,
		.data = e->kind == QCOWFMT_EXTENT_COMPRESSED ||
		        e->kind == QCOWFMT_EXTENT_DATA,
		.compressed = e->kind == QCOWFMT_EXTENT_COMPRESSED,
	};

	if (is_hole && m->layers[depth].format == QCOWFMT_FORMAT_RAW)
		entry.data = false;
	if ((e->flags & QCOWFMT_EXTENT_HOST_OFFSET) != 0 &&
	    (e->flags & QCOWFMT_EXTENT_ENCRYPTED) == 0)
		entry.offset = m->starts[depth] + e->host_offset;
	return entry;
}

/*
 * The last sector of a raw disk may end behind its file: take off what the file
 * does not hold.  False if there is nothing of that.
 */
static bool split_at_end(const struct mapping *m, struct entry *entry,
                         struct entry *rest)
{
	const struct qcowfmt_info *layer = &m->layers[entry->depth];
	uint64_t end = m->starts[entry->depth] + layer->file_size;

	if (m->whole_sectors || layer->format != QCOWFMT_FORMAT_RAW ||
	    !entry->data || entry->offset >= end ||
	    entry->length <= end - entry->offset)
		return false;
	*rest = *entry;
	entry->length = end - entry->offset;
	rest->start += entry->length;
	rest->offset += entry->length;
	rest->length -= entry->length;
	rest->data = false;
	rest->zero = true;
	return true;
}

static bool continues(const struct entry *a, const struct entry *b)
{
	return a->depth == b->depth && a->present == b->present &&
	       a->zero == b->zero && a->data == b->data &&
	       a->compressed == b->compressed &&
	       (a->offset == QCOWFMT_NO_OFFSET
	                ? b->offset == QCOWFMT_NO_OFFSET
	                : b->offset == a->offset + a->length);
}

static const char *yes_no(bool value)
{
	return value ? "true" : "false";
}

static void print_json(struct mapping *m, const struct entry *e)
{
	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"depth\": %" PRIu32 ", \"present\": %s, \"zero\": %s"
	       ", \"data\": %s, \"compressed\": %s",
	       m->is_first ? "[" : ",\n", e->start, e->length, e->depth,
	       yes_no(e->present), yes_no(e->zero), yes_no(e->data),
	       yes_no(e->compressed));
	if (e->offset != QCOWFMT_NO_OFFSET)
		printf(", \"offset\": %" PRIu64, e->offset);
	putchar('}');
	m->is_first = false;
}

static bool print_human(const struct mapping *m, const struct entry *e)
{
	if (!e->data || e->zero)
		return true;
	if (e->offset == QCOWFMT_NO_OFFSET) {
		qcf_tool_error("File contains external, encrypted or "
		               "compressed clusters.");
		return false;
	}
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64, e->start,
	       e->length, e->offset);
	qcf_print_plain(m->files[e->depth]);
	putchar('\n');
	return true;
}

static bool print_entry(struct mapping *m, const struct entry *e)
{
	if (!m->json)
		return print_human(m, e);
	print_json(m, e);
	return true;
}

/* --------------------------------------------------------------------- map */

#define EXTENTS_PER_CALL 256

/*
 * Take one more entry: it continues the current one, or that one is complete
 * and printed.
 */
static bool add_entry(struct mapping *m, struct entry *current,
                      const struct entry *next)
{
	if (current->length != 0 && continues(current, next)) {
		current->length += next->length;
		return true;
	}
	if (current->length != 0 && !print_entry(m, current))
		return false;
	*current = *next;
	return true;
}

static bool add_extent(struct mapping *m, struct entry *current,
                       const struct qcowfmt_extent *extent)
{
	struct entry next = make_entry(m, extent);
	struct entry rest;
	bool has_rest = split_at_end(m, &next, &rest);

	return add_entry(m, current, &next) &&
	       (!has_rest || add_entry(m, current, &rest));
}

/*
 * Print the entries of [offset, end).  An empty range is one empty entry,
 * about which nothing is known.
 */
static bool print_range(struct mapping *m, uint64_t offset, uint64_t end)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_extent extents[EXTENTS_PER_CALL];
	struct entry current = { .start = offset, .offset = QCOWFMT_NO_OFFSET };

	while (offset < end) {
		int count = qcowfmt_map(m->image, offset, end - offset,
		                        m->map_flags, extents, EXTENTS_PER_CALL,
		                        &error);

		if (count < 0) {
			qcf_tool_error("Failed to read image metadata: %s",
			               qcowfmt_error_message(error));
			return false;
		}
		for (int i = 0; i < count; i++) {
			if (!add_extent(m, &current, &extents[i]))
				return false;
			offset = extents[i].guest_offset + extents[i].length;
		}
	}
	return print_entry(m, &current);
}

static bool map_image(struct mapping *m, const struct request *r)
{
	uint64_t size = qcowfmt_get_size(m->image);
	uint64_t end = size;
	bool ok;

	if (!look_at_layers(m, r)) {
		qcf_tool_error("Failed to read image metadata");
		return false;
	}
	if (r->start < size)
		end = r->start + qcf_min(size - r->start, r->length);
	if (!m->json)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to",
		       "File");
	ok = print_range(m, r->start, end);
	if (ok && m->json)
		puts("]");
	return ok;
}

static int run(struct qcowfmt_image *image, void *opaque)
{
	const struct request *r = opaque;
	struct mapping m = { .image = image,
		             .json = r->image.json,
		             .is_first = true };
	bool ok = map_image(&m, r);

	free(m.layers);
	free(m.shows_holes);
	free(m.files);
	free(m.starts);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct qcf_image_command command = {
	{ "FILE", "Show where the data of an image lies.", options },
	take_option,
	run,
};

int qcf_img_map(int argc, char **argv)
{
	struct request r = { .length = UINT64_MAX,
		             .image.open.in_order = true };

	return qcf_image_command_run(&command, &r.image, &r, argc, argv);
}
