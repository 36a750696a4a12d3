/* SPDX-License-Identifier: MIT */
/*
 * Promise: what is remembered of a long chain never changes what it reads, and it
 * spares asking the images in between.
 *
 * Chains of images of all sorts and sizes are read again and again, at once and
 * through a queue, while the first image changes, and compared with an array of
 * bytes.
 */
#include "api_test.h"
#include "checked.h"
#include "count_storage.h"

#define CHAINS     160
#define MAX_LAYERS 9u
#define MAX_SIZE   ((uint32_t)(640u << 10))
#define MAX_LEN    ((uint32_t)(96u << 10))
#define REQUESTS   300

static uint8_t model[MAX_SIZE];
static uint8_t buffer[MAX_SIZE];
static struct unit_random rng;

static uint32_t below(uint32_t limit)
{
	return (uint32_t)unit_random_below(&rng, limit);
}

/* ------------------------------------------------------------------ the chain */

struct chain {
	unsigned int count;
	uint32_t sizes[MAX_LAYERS]; /* [0] is that of the lowest */
	uint64_t cluster_sizes[MAX_LAYERS];
	bool raw_base;
	uint32_t least_bits; /* of cluster sizes, above 512 */
	bool extended;       /* where the format has it */
};

static const char *layer_path(unsigned int number)
{
	static char name[32];

	snprintf(name, sizeof(name), "layer%u", number);
	return scratch_path(name);
}

static struct qcowfmt_image *open_layer(const struct chain *c,
                                        unsigned int number)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = number == 0 && c->raw_base ? QCOWFMT_FORMAT_RAW
		                                     : QCOWFMT_FORMAT_PROBE,
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
		.cache_size = below(2) ? 0 : UINT64_C(1) << (14 + below(6)),
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(layer_path(number), &options, &image,
	                         &api_error));
	return image;
}

static void create_layer(struct chain *c, unsigned int number)
{
	char backing[32];
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = c->sizes[number],
		.version = 2 + below(2),
	};

	snprintf(backing, sizeof(backing), "layer%u", number - 1);
	options.cluster_size = UINT64_C(512)
	                       << (c->least_bits + below(8 - c->least_bits));
	if (c->extended && options.version == 3 &&
	    options.cluster_size >= 16384)
		options.flags |= QCOWFMT_CREATE_EXTENDED_L2;
	if (c->least_bits <= 3 && below(6) == 0) {
		options.format = QCOWFMT_FORMAT_QCOW;
		options.version = 0;
		options.flags = 0;
		options.cluster_size = 0;
	}
	if (number > 0)
		options.backing_filename = backing;
	c->cluster_sizes[number] = options.cluster_size;
	API_OK(qcowfmt_create_file(layer_path(number), &options, &api_error));
}

static void create_raw(uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		model[i] = (uint8_t)below(3);
	api_write_file(layer_path(0), model, size);
}

/* A range of an image: often short, often at a place where others were, too, or
 * where an image of the chain ends. */
static void draw_range(const struct chain *c, unsigned int number,
                       uint32_t *offset, uint32_t *len)
{
	uint32_t size = c->sizes[number];
	uint32_t most = below(3) ? 8192 : MAX_LEN;

	switch (below(4)) {
	case 0:
		*offset = below(size);
		break;
	case 1:
		*offset = c->sizes[below(number + 1)] - 1 - below(512);
		*offset += below(2) ? 512 : 0;
		break;
	default:
		*offset = below(size / 4096 + 1) * 4096;
	}
	*offset = QCF_MIN(*offset, size - 1);
	*len = 1 + below(QCF_MIN(most, size - *offset));
}

static void write_data(struct qcowfmt_image *image, uint32_t offset,
                       uint32_t len)
{
	memset(model + offset, (int)below(256), len);
	API_OK(qcowfmt_pwrite(image, model + offset, len, offset, &api_error));
}

static void write_compressed(struct qcowfmt_image *image, uint32_t size,
                             uint32_t cluster_size, uint32_t offset)
{
	uint32_t len;

	offset = offset / cluster_size * cluster_size;
	len = QCF_MIN(cluster_size, size - offset);
	memset(model + offset, (int)below(256), len);
	API_OK(qcowfmt_pwrite_compressed(image, model + offset, len, offset,
	                                 &api_error));
}

static void change(const struct chain *c, unsigned int number,
                   struct qcowfmt_image *image)
{
	uint32_t cluster_size = (uint32_t)c->cluster_sizes[number];
	uint32_t offset;
	uint32_t len;

	draw_range(c, number, &offset, &len);
	if (below(4) == 0) {
		API_OK(qcowfmt_write_zeroes(
			image, offset, len,
			below(2) ? QCOWFMT_ZERO_MAY_UNMAP : 0, &api_error));
		memset(model + offset, 0, len);
	} else if (cluster_size != 0 && below(3) == 0) {
		write_compressed(image, c->sizes[number], cluster_size, offset);
	} else {
		write_data(image, offset, len);
	}
}

/* The model becomes what the highest image shows. */
static void make_chain(struct chain *c)
{
	*c = (struct chain){
		.count = 3 + below(MAX_LAYERS - 2),
		.raw_base = below(3) == 0,
		.least_bits = below(8),
		.extended = below(2) == 0,
	};
	memset(model, 0, sizeof(model));
	for (unsigned int i = 0; i < c->count; i++) {
		struct qcowfmt_image *image;

		c->sizes[i] = (1 + below(MAX_SIZE / 512)) * 512;
		if (i == 0 && c->raw_base) {
			create_raw(c->sizes[i]);
			continue;
		}
		create_layer(c, i);
		/* Behind the end of what is below there are zeros. */
		memset(model + c->sizes[i], 0, MAX_SIZE - c->sizes[i]);
		image = open_layer(c, i);
		for (uint32_t n = below(7); n > 0; n--)
			change(c, i, image);
		api_close(image);
	}
}

/* -------------------------------------------------------------------- reading */

static void expect(uint32_t offset, uint32_t len, const char *how)
{
	for (uint32_t i = 0; i < len; i++)
		ck_assert_msg(buffer[i] == model[offset + i],
		              "%s of %u at %u: byte %u is 0x%02x, want 0x%02x",
		              how, len, offset, offset + i, buffer[i],
		              model[offset + i]);
}

static void read_at_once(struct qcowfmt_image *image, uint32_t offset,
                         uint32_t len)
{
	memset(buffer, 0xee, len);
	API_OK(qcowfmt_pread(image, buffer, len, offset, &api_error));
	expect(offset, len, "read");
}

static void read_by_queue(struct qcowfmt_queue *queue, uint32_t offset,
                          uint32_t len)
{
	struct qcowfmt_completion done = { 0 };

	memset(buffer, 0xee, len);
	API_OK(qcowfmt_queue_pread(queue, buffer, len, offset, 1, &api_error));
	ck_assert_int_eq(qcowfmt_queue_reap(queue, &done, 1, -1), 1);
	ck_assert_int_eq(done.result, 0);
	expect(offset, len, "read by a queue");
}

START_TEST(chains_of_all_sorts)
{
	struct chain c;
	struct qcowfmt_image *image;
	struct qcowfmt_queue *queue = NULL;

	rng = unit_random_init();
	rng.state += (uint64_t)_i << 32;
	make_chain(&c);
	image = open_layer(&c, c.count - 1);
	API_OK(qcowfmt_queue_new(image, NULL, &queue, &api_error));
	for (int i = 0; i < REQUESTS; i++) {
		uint32_t offset;
		uint32_t len;

		draw_range(&c, c.count - 1, &offset, &len);
		if (below(12) == 0)
			change(&c, c.count - 1, image);
		else if (below(3) == 0)
			read_by_queue(queue, offset, len);
		else
			read_at_once(image, offset, len);
	}
	qcowfmt_queue_free(queue);
	api_close(image);
}

END_TEST

/* ------------------------------------------------------------ what is asked for */

#define IMAGES 12u
#define PLACES 32u
/* More than a slice of 4 KiB maps. */
#define APART (UINT64_C(33) << 20)
#define BYTES 4096u

static struct storage_counts counts[IMAGES];

static int open_counted(void *opaque, const struct qcowfmt_reference *reference,
                        struct qcowfmt_storage **storage, int32_t *format)
{
	const struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_READ_ONLY,
	};
	int ret = qcowfmt_storage_open_file(scratch_path(reference->name),
	                                    &options, storage, NULL);

	(void)opaque;
	*format = QCOWFMT_FORMAT_QCOW2;
	ck_assert_uint_lt(reference->depth, IMAGES);
	if (ret == 0)
		*storage =
			count_storage_new(*storage, &counts[reference->depth]);
	return ret;
}

/* Each image has something near each place; at the places themselves only the
 * lowest one. */
static void make_images(void)
{
	const struct chain no_raw = { 0 };

	for (unsigned int i = 0; i < IMAGES; i++) {
		struct qcowfmt_image *image;
		char below_it[32];

		snprintf(below_it, sizeof(below_it), "layer%u", i - 1);
		if (i == 0)
			api_create(layer_path(i), PLACES * APART, 0);
		else
			api_create_overlay(layer_path(i), PLACES * APART,
			                   below_it, "qcow2");
		image = open_layer(&no_raw, i);
		for (unsigned int n = 0; n < PLACES; n++)
			api_write(image, n * APART + i * 65536, BYTES,
			          (uint8_t)(1 + i));
		api_close(image);
	}
}

static uint64_t reads_between(void)
{
	uint64_t reads = 0;

	for (unsigned int i = 1; i < IMAGES - 1; i++)
		reads += atomic_load(&counts[i].calls[VERB_READ]);
	return reads;
}

static void reset_counts(void)
{
	for (unsigned int i = 0; i < IMAGES; i++)
		storage_counts_reset(&counts[i]);
}

static void read_places(struct qcowfmt_image *image)
{
	for (unsigned int n = 0; n < PLACES; n++)
		api_expect(image, n * APART, BYTES, 1);
}

START_TEST(images_in_between_are_asked_once)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = open_counted,
		/* Too small for a slice of each place from each image. */
		.cache_size = 512 * 1024,
	};
	struct qcowfmt_image *image = NULL;
	uint64_t first;

	make_images();
	API_OK(qcowfmt_open_file(layer_path(IMAGES - 1), &options, &image,
	                         &api_error));
	reset_counts();
	read_places(image);
	first = reads_between();
	ck_assert_uint_ge(first, (IMAGES - 2) * PLACES);
	reset_counts();
	read_places(image);
	/* A few places may share a word. */
	ck_assert_uint_le(reads_between(), first / 4);
	/* What the first image gets is seen at once. */
	api_write(image, APART, BYTES, 'w');
	api_expect(image, APART, BYTES, 'w');
	api_close(image);
}

END_TEST

static void add(TCase *tests)
{
	tcase_add_loop_test(tests, chains_of_all_sorts, 0, CHAINS);
	tcase_add_test(tests, images_in_between_are_asked_once);
}

int main(int argc, char **argv)
{
	return api_main("long chains read right", add, argc, argv);
}
