/* SPDX-License-Identifier: MIT */
/* hostile.c - images that somebody has tampered with */
#include <sys/resource.h>

#include "hostile.h"

#define TAIL 4096u

/* Peak memory of this process; a sanitizer takes a multiple of its own. */
#define MAX_RSS_KIB (1024L * 1024)

const uint64_t hostile_values[] = {
	0,
	1,
	2,
	3,
	0x1ff,
	0x200,
	0x201,
	0x400,
	0x600,
	0x10000,
	0x7fffffff,
	0x80000000,
	0xfffffff9,
	0xffffffff,
	0x100000000,
	UINT64_C(0x00fffffffffffe00),
	UINT64_C(0x0100000000000000),
	UINT64_C(0x7fffffffffffffff),
	UINT64_C(0x7ffffffffffffe00),
	UINT64_C(0x8000000000000000),
	UINT64_C(0x8000000000000200),
	UINT64_C(0xfffffffffffffe00),
	UINT64_C(0xffffffffffffffff),
};
const size_t hostile_value_count = QCF_ARRAY_LEN(hostile_values);

/* ------------------------------------------------------------------- making */

static struct qcowfmt_open_options open_options(const struct hostile_kind *kind,
                                                uint32_t flags)
{
	bool encrypted = kind->encryption != QCOWFMT_ENCRYPTION_NONE;

	return (struct qcowfmt_open_options){
		.struct_size = sizeof(struct qcowfmt_open_options),
		.format = kind->version == 1 ? QCOWFMT_FORMAT_QCOW
		                             : QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
		.max_metadata_size = 64 << 20,
		.secret = encrypted ? HOSTILE_SECRET : NULL,
		.secret_len = encrypted ? strlen(HOSTILE_SECRET) : 0,
	};
}

static void create(struct hostile *h)
{
	const struct hostile_kind *kind = h->kind;
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = kind->encryption,
		.secret = HOSTILE_SECRET,
		.secret_len = strlen(HOSTILE_SECRET),
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = HOSTILE_SIZE,
		.format = kind->version == 1 ? QCOWFMT_FORMAT_QCOW
		                             : QCOWFMT_FORMAT_QCOW2,
		.version = kind->version == 1 ? 0 : kind->version,
		.cluster_size = kind->cluster_size,
		.flags = kind->extended_l2 ? QCOWFMT_CREATE_EXTENDED_L2 : 0,
		.data_filename = kind->data_file ? "data" : NULL,
	};
	struct qcowfmt_storage *storage = api_disk_storage(&h->image);

	if (kind->encryption != QCOWFMT_ENCRYPTION_NONE)
		options.encryption = &encryption;
	if (kind->encryption == QCOWFMT_ENCRYPTION_LUKS) {
		encryption.iter_time_ms = 1;
		encryption.cipher_alg = "aes-128";
		encryption.cipher_mode = "cbc";
	}
	API_OK(qcowfmt_create(storage, &options, &api_error));
	qcowfmt_storage_free(storage);
}

/* Opens the image itself: its bytes change. */
static int open_image(struct hostile *h, uint32_t flags,
                      struct qcowfmt_image **image)
{
	struct qcowfmt_open_options options = open_options(h->kind, flags);
	struct qcowfmt_storage *storage = api_disk_storage(&h->image);
	int ret;

	if (h->kind->data_file)
		options.data_storage = api_disk_storage(&h->data);
	ret = qcowfmt_open(storage, &options, image, &api_error);
	if (ret < 0) {
		/* A refusal has a reason. */
		ck_assert_ptr_nonnull(api_error);
		ck_assert_int_eq(ret, -qcowfmt_error_errno(api_error));
		api_error_reset();
		qcowfmt_storage_free(storage);
		qcowfmt_storage_free(options.data_storage);
	}
	return ret;
}

void hostile_make(struct hostile *h, const struct hostile_kind *kind)
{
	struct qcowfmt_image *image = NULL;

	*h = (struct hostile){ .kind = kind };
	create(h);
	ck_assert_int_eq(open_image(h, API_RW, &image), 0);
	api_write(image, 0, 20000, 'a');
	api_write(image, 100000, 3000, 'b');
	API_OK(qcowfmt_write_zeroes(image, 5000, 3000, 0, &api_error));
	API_OK(qcowfmt_discard(image, 10240, 2048, &api_error));
	api_close(image);
}

static struct api_disk copy_disk(const struct api_disk *disk)
{
	struct api_disk copy = *disk;

	copy.room = disk->size + 1;
	copy.bytes = malloc(disk->size + 1);
	ck_assert_ptr_nonnull(copy.bytes);
	if (disk->size > 0)
		memcpy(copy.bytes, disk->bytes, disk->size);
	return copy;
}

struct hostile hostile_copy(const struct hostile *h)
{
	return (struct hostile){ .kind = h->kind,
		                 .image = copy_disk(&h->image),
		                 .data = copy_disk(&h->data) };
}

void hostile_fini(struct hostile *h)
{
	api_disk_fini(&h->image);
	api_disk_fini(&h->data);
}

void hostile_put(struct hostile *h, uint64_t at, size_t width, uint64_t value)
{
	for (size_t i = width; i > 0; i--, value >>= 8)
		h->image.bytes[at + i - 1] = (uint8_t)value;
}

uint64_t hostile_get(const struct hostile *h, uint64_t at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | h->image.bytes[at + i];
	return value;
}

uint64_t hostile_entry(const struct hostile *h, struct unit_random *random)
{
	uint64_t cluster_size = h->kind->cluster_size;
	uint64_t clusters = h->image.size / cluster_size + 4;
	uint64_t entry = unit_random_below(random, clusters) * cluster_size;

	switch (unit_random_below(random, 6)) {
	case 0:
		return entry;
	case 1:
		return entry | UINT64_C(1) << 63;
	case 2:
		return entry | UINT64_C(1) << 63 | 1;
	case 3:
		return entry | UINT64_C(1) << 62 | unit_random_below(random, 9);
	case 4:
		return hostile_values[unit_random_below(random,
		                                        hostile_value_count)];
	default:
		return unit_random_u64(random);
	}
}

/* ------------------------------------------------------------------- trying */

static void read_all(struct qcowfmt_image *image)
{
	uint8_t bytes[TAIL];
	struct qcowfmt_extent extents[8];
	uint64_t size = qcowfmt_get_size(image);
	uint64_t end = size < HOSTILE_SIZE ? size : HOSTILE_SIZE;

	for (uint64_t at = 0; at + TAIL <= end; at += TAIL)
		(void)qcowfmt_pread(image, bytes, TAIL, at, NULL);
	if (size >= TAIL)
		(void)qcowfmt_pread(image, bytes, TAIL, size - TAIL, NULL);
	(void)qcowfmt_map(image, 0, size, 0, extents, 8, NULL);
}

static void write_some(struct qcowfmt_image *image, uint64_t cluster_size)
{
	static uint8_t bytes[65536];
	uint64_t size = qcowfmt_get_size(image);

	memset(bytes, 'w', sizeof(bytes));
	for (uint64_t at = 700; at + TAIL <= size && at < HOSTILE_SIZE;
	     at += 37000)
		(void)qcowfmt_pwrite(image, bytes, TAIL, at, NULL);
	if (size >= TAIL)
		(void)qcowfmt_pwrite(image, bytes, TAIL, size - TAIL, NULL);
	(void)qcowfmt_write_zeroes(image, 0, size < 9000 ? size : 9000, 0,
	                           NULL);
	(void)qcowfmt_discard(image, 0, size < 20000 ? size : 20000, NULL);
	if (size >= 3 * cluster_size && cluster_size <= sizeof(bytes))
		(void)qcowfmt_pwrite_compressed(image, bytes, cluster_size,
		                                2 * cluster_size, NULL);
	(void)qcowfmt_flush(image, NULL);
}

static bool disk_equal(const struct api_disk *a, const struct api_disk *b)
{
	return a->size == b->size &&
	       (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
}

void hostile_read(const struct hostile *h)
{
	struct hostile copy = hostile_copy(h);
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image = NULL;

	if (open_image(&copy, 0, &image) == 0) {
		read_all(image);
		(void)qcowfmt_check(image, 0, NULL, NULL, &result, NULL);
		ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	}
	/* Reading and checking write nothing. */
	ck_assert(disk_equal(&copy.image, &h->image));
	ck_assert(disk_equal(&copy.data, &h->data));
	hostile_fini(&copy);
}

void hostile_write(const struct hostile *h, uint32_t flags)
{
	struct hostile copy = hostile_copy(h);
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_image *image = NULL;

	/* What an image of this size can need, and no more */
	copy.image.limit = h->image.size + (8 << 20);
	copy.data.limit = h->data.size + (8 << 20);
	if (open_image(&copy, API_RW | flags, &image) == 0) {
		if ((flags & QCOWFMT_OPEN_REPAIR) != 0)
			(void)qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL,
			                    NULL, NULL, &result, NULL);
		write_some(image, h->kind->cluster_size);
		read_all(image);
		(void)qcowfmt_close(image, NULL);
	}
	/* The magic, the version and the cluster size are never overwritten. */
	ck_assert(memcmp(copy.image.bytes, h->image.bytes, 8) == 0);
	ck_assert(memcmp(copy.image.bytes + 20, h->image.bytes + 20, 4) == 0);
	hostile_fini(&copy);
}

void hostile_try(const struct hostile *h)
{
	hostile_read(h);
	hostile_write(h, 0);
	hostile_write(h, QCOWFMT_OPEN_REPAIR);
}

void hostile_check_memory(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	ck_assert_int_lt(usage.ru_maxrss, MAX_RSS_KIB);
}
