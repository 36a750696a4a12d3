/* SPDX-License-Identifier: MIT */
/*
 * fuzz_base.c - the sound images that inputs are changes of
 *
 * Targets are linked such that random bytes and the cost of keys, which would
 * differ from run to run, come from here (tests/fuzz/meson.build).
 */
#include <errno.h>
#include <sys/random.h>

#include "fuzz_view.h"

static const struct fuzz_kind kinds[] = {
	{ "plain", 3, 4096 },
	{ "version 2", 2, 512, .snapshots = 1 },
	{ "snapshots", 3, 4096, .snapshots = 3 },
	{ "bitmaps", 3, 4096, .bitmaps = true, .snapshots = 1 },
	{ "deflate", 3, 4096, .compressed = true, .snapshots = 2 },
	{ "zstd", 3, 4096, .compressed = true, .compression = 1 },
	{ "subclusters", 3, 16384, .flags = QCOWFMT_CREATE_EXTENDED_L2,
	  .snapshots = 1 },
	{ "everything", 3, 16384, .flags = QCOWFMT_CREATE_EXTENDED_L2,
	  .compressed = true, .bitmaps = true, .snapshots = 2 },
	{ "data file", 3, 4096, .data_file = true },
	{ "data file with bitmaps", 3, 4096, .data_file = true,
	  .bitmaps = true },
	{ "raw data file", 3, 4096, .data_file = true,
	  .flags = QCOWFMT_CREATE_DATA_FILE_RAW },
	{ "LUKS", 3, 4096, .encryption = QCOWFMT_ENCRYPTION_LUKS,
	  .snapshots = 1 },
	{ "AES", 2, 4096, .encryption = QCOWFMT_ENCRYPTION_AES },
	{ "1 bit", 3, 512, 1 },
	{ "2 bits", 3, 4096, 2, .snapshots = 1 },
	{ "8 bits", 3, 512, 8, .snapshots = 2 },
	{ "64 bits", 3, 512, 64, .snapshots = 2, .bitmaps = true },
	{ "lazy", 3, 512, .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS,
	  .left_dirty = true },
	{ "overlay", 3, 4096, .backing_format = "raw", .snapshots = 1 },
	{ "overlay of an image", 2, 4096, .backing_format = "qcow2" },
	{ "VM state", 3, 4096, .snapshots = 2, .vm_state = true },
	{ "64 KiB", 3, 65536, .snapshots = 1 },
	{ "version 1", 1, 4096 },
	{ "version 1, compressed", 1, 4096, .compressed = true },
	{ "version 1, AES", 1, 4096, .encryption = QCOWFMT_ENCRYPTION_AES },
	{ "version 1, overlay", 1, 512, .backing_format = "raw" },
};

static struct fuzz_base bases[QCF_ARRAY_LEN(kinds)];

size_t fuzz_base_count(void)
{
	return QCF_ARRAY_LEN(kinds);
}

const struct fuzz_base *fuzz_base(size_t number)
{
	return &bases[number % QCF_ARRAY_LEN(kinds)];
}

/* -------------------------------------------------- the same bytes every time */

ssize_t __wrap_getrandom(void *buffer, size_t len, unsigned int flags);
int __wrap_qcf_kdf_calibrate(const char *hash, size_t key_len, uint32_t time_ms,
                             uint64_t *iterations, struct qcowfmt_error **errp);

ssize_t __wrap_getrandom(void *buffer, size_t len, unsigned int flags)
{
	static uint64_t state;
	uint8_t *bytes = buffer;

	(void)flags;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)fuzz_random(&state);
	return (ssize_t)len;
}

int __wrap_qcf_kdf_calibrate(const char *hash, size_t key_len, uint32_t time_ms,
                             uint64_t *iterations, struct qcowfmt_error **errp)
{
	(void)hash;
	(void)key_len;
	(void)time_ms;
	(void)errp;
	/* The fewest that a header may have would do, too. */
	*iterations = 10;
	return 0;
}

/* --------------------------------------------------------------------- opening */

/* What is below an overlay: 192 KiB of the disk. */
#define BACKING_LEN ((size_t)192 << 10)

static const uint8_t *backing_bytes(void)
{
	static uint8_t bytes[BACKING_LEN];

	if (bytes[1] == 0) {
		for (size_t i = 0; i < BACKING_LEN; i++)
			bytes[i] = (uint8_t)(i / 512 * 3 + 1);
	}
	return bytes;
}

static int give_reference(void *opaque, const struct qcowfmt_reference *ref,
                          struct qcowfmt_storage **storage, int32_t *format)
{
	struct fuzz_image *fi = opaque;

	(void)format;
	if (ref->kind == QCOWFMT_REFERENCE_DATA_FILE && ref->depth == 1)
		*storage = fuzz_disk_storage(&fi->data, ref->writable != 0);
	else
		*storage = fuzz_disk_storage(&fi->backing, false);
	return 0;
}

static int open_with(struct fuzz_image *fi, struct qcowfmt_open_options *o,
                     struct qcowfmt_image **image)
{
	bool writable = (o->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcowfmt_storage *storage =
		fuzz_disk_storage(&fi->image, writable);
	struct qcowfmt_error *error = NULL;
	int ret;

	o->struct_size = sizeof(*o);
	o->format = fi->base->kind->version == 1 ? QCOWFMT_FORMAT_QCOW
	                                         : QCOWFMT_FORMAT_QCOW2;
	o->reference_policy = QCOWFMT_REFERENCES_CALLBACK;
	o->reference_callback = give_reference;
	o->reference_opaque = fi;
	o->undeclared_format = QCOWFMT_UNDECLARED_PROBE;
	o->max_chain_depth = 4;
	o->cache_size = 256 << 10;
	o->max_metadata_size = 4 << 20;
	o->max_key_iterations = 3000;
	o->secret = FUZZ_SECRET;
	o->secret_len = strlen(FUZZ_SECRET);
	*image = NULL;
	ret = qcowfmt_open(storage, o, image, &error);
	FUZZ_ASSERT((ret == 0) == (error == NULL), "%d", ret);
	FUZZ_ASSERT(ret == 0 || qcowfmt_error_errno(error) == -ret, "%d", ret);
	if (ret != 0)
		qcowfmt_storage_free(storage);
	qcowfmt_error_free(error);
	return ret;
}

int fuzz_open(struct fuzz_image *fi, uint32_t flags, const char *snapshot_id,
              struct qcowfmt_image **image)
{
	struct qcowfmt_open_options o = { .flags = flags,
		                          .snapshot_id = snapshot_id };

	return open_with(fi, &o, image);
}

int fuzz_open_limited(struct fuzz_image *fi, uint32_t flags, uint32_t limit,
                      struct qcowfmt_image **image)
{
	struct qcowfmt_open_options o = { .flags = flags,
		                          .chain_limit = limit };

	return open_with(fi, &o, image);
}

void fuzz_close(struct qcowfmt_image *image)
{
	(void)qcowfmt_close(image, NULL);
}

/* ---------------------------------------------------------------------- making */

static void must(int64_t ret, const struct fuzz_kind *kind,
                 const struct qcowfmt_error *error)
{
	FUZZ_ASSERT(ret >= 0, "%s: %s", kind->name,
	            qcowfmt_error_message(error));
}

static void create(struct fuzz_image *fi)
{
	const struct fuzz_kind *kind = fi->base->kind;
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = kind->encryption,
		.secret = FUZZ_SECRET,
		.secret_len = strlen(FUZZ_SECRET),
	};
	struct qcowfmt_create_options o = {
		.struct_size = sizeof(o),
		.virtual_size = FUZZ_DISK_SIZE,
		.format = kind->version == 1 ? QCOWFMT_FORMAT_QCOW
		                             : QCOWFMT_FORMAT_QCOW2,
		.version = kind->version,
		.cluster_size = kind->cluster_size,
		.refcount_bits = kind->refcount_bits,
		.flags = kind->flags,
		.compression_type = kind->compression,
		.backing_filename =
			kind->backing_format != NULL ? "base" : NULL,
		.backing_format = kind->backing_format,
		.data_filename = kind->data_file ? "data" : NULL,
	};
	struct qcowfmt_storage *storage = fuzz_disk_storage(&fi->image, true);
	struct qcowfmt_storage *data = fuzz_disk_storage(&fi->data, true);
	struct qcowfmt_error *error = NULL;

	o.data_storage = kind->data_file ? data : NULL;
	if (kind->encryption == QCOWFMT_ENCRYPTION_LUKS) {
		encryption.iter_time_ms = 1;
		encryption.cipher_alg = "aes-128";
		encryption.cipher_mode = "cbc";
	}
	if (kind->encryption != QCOWFMT_ENCRYPTION_NONE)
		o.encryption = &encryption;
	/* Without zstd it is another deflate. */
	if (kind->compression != 0 &&
	    qcowfmt_create(storage, &o, NULL) == -ENOTSUP)
		o.compression_type = 0;
	must(qcowfmt_create(storage, &o, &error), kind, error);
	qcowfmt_storage_free(storage);
	qcowfmt_storage_free(data);
}

/* Words that repeat, so that they can be compressed, and say where they are. */
static void fill(uint8_t *bytes, uint64_t offset, uint64_t len, uint32_t salt)
{
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(salt * 37 + (offset + i) / 512 +
		                     (offset + i) % 512 / 64);
}

/* Every kind of cluster in turn, other ones each time. */
static void write_clusters(struct qcowfmt_image *image,
                           const struct fuzz_kind *kind, uint32_t salt)
{
	static uint8_t bytes[65536];
	struct qcowfmt_error *error = NULL;
	/* A cluster of 512 bytes has more than enough neighbours. */
	uint64_t step = kind->cluster_size < 4096 ? 7 : 1;
	uint64_t len = kind->cluster_size;

	for (uint64_t i = 0; i * len < FUZZ_DISK_SIZE; i += step) {
		uint64_t turn = (i / step + salt * 5) % 11;
		uint64_t at = i * len;
		int ret = 0;

		fill(bytes, at, len, salt);
		if (turn < 3)
			ret = qcowfmt_pwrite(image, bytes, len, at, &error);
		else if (turn < 5 && kind->compressed)
			ret = qcowfmt_pwrite_compressed(image, bytes, len, at,
			                                &error);
		else if (turn == 5)
			ret = qcowfmt_pwrite(image, bytes, len / 2, at, &error);
		else if (turn == 6)
			ret = qcowfmt_write_zeroes(image, at, len, 0, &error);
		else if (turn == 7)
			ret = qcowfmt_discard(image, at, len, &error);
		must(ret, kind, error);
	}
}

static void add_bitmap(struct qcowfmt_image *image,
                       const struct fuzz_kind *kind, const char *name)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.kind = QCOWFMT_BITMAP_ADD,
		.name = name,
		.granularity = 512,
	};

	must(qcowfmt_bitmap_change(&action, 1, NULL, &error), kind, error);
}

static void take_snapshot(struct qcowfmt_image *image,
                          const struct fuzz_kind *kind, uint32_t number)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_snapshot_options o = {
		.struct_size = sizeof(o),
		.name = number == 0 ? "first" : "later",
		.date_sec = 1000000 + number,
		.icount = UINT64_MAX,
	};
	static uint8_t state[5000];

	if (kind->vm_state && number == 0) {
		memset(state, 's', sizeof(state));
		o.vm_state_size = sizeof(state);
		must(qcowfmt_vm_state_pwrite(image, state, sizeof(state), 0,
		                             &error),
		     kind, error);
	}
	must(qcowfmt_snapshot_create(image, &o, &error), kind, error);
}

static void keep_bytes(const struct fuzz_disk *disk, uint8_t **bytes,
                       size_t *len)
{
	struct fuzz_bytes copy = fuzz_disk_copy(disk);

	free(*bytes);
	*bytes = copy.bytes;
	*len = (size_t)copy.size;
}

static void make(struct fuzz_image *fi, struct fuzz_base *base,
                 const struct fuzz_kind *kind)
{
	struct qcowfmt_image *image;

	base->kind = kind;
	fuzz_image_reset(fi, base);
	create(fi);
	FUZZ_ASSERT(fuzz_open(fi, QCOWFMT_OPEN_READ_WRITE, NULL, &image) == 0,
	            "%s", kind->name);
	if (kind->bitmaps) {
		add_bitmap(image, kind, "one");
		add_bitmap(image, kind, "two");
	}
	write_clusters(image, kind, 0);
	for (uint32_t i = 0; i < kind->snapshots; i++) {
		take_snapshot(image, kind, i);
		write_clusters(image, kind, i + 1);
	}
	FUZZ_ASSERT(qcowfmt_flush(image, NULL) == 0, "%s", kind->name);
	if (kind->left_dirty)
		keep_bytes(&fi->image, &base->image, &base->image_len);
	FUZZ_ASSERT(qcowfmt_close(image, NULL) == 0, "%s", kind->name);
	if (!kind->left_dirty)
		keep_bytes(&fi->image, &base->image, &base->image_len);
	keep_bytes(&fi->data, &base->data, &base->data_len);
}

void fuzz_image_reset(struct fuzz_image *fi, const struct fuzz_base *base)
{
	const char *below = base->kind->backing_format;

	fi->base = base;
	fuzz_disk_reset(&fi->image, base->image, base->image_len);
	fuzz_disk_reset(&fi->data, base->data, base->data_len);
	if (below == NULL)
		fuzz_disk_reset(&fi->backing, NULL, 0);
	else if (strcmp(below, "raw") == 0)
		fuzz_disk_reset(&fi->backing, backing_bytes(), BACKING_LEN);
	else
		fuzz_disk_reset(&fi->backing, bases[0].image,
		                bases[0].image_len);
}

void fuzz_bases_make(void)
{
	static struct fuzz_image fi;

	for (size_t i = 0; i < QCF_ARRAY_LEN(kinds); i++)
		make(&fi, &bases[i], &kinds[i]);
	for (size_t i = 0; i < QCF_ARRAY_LEN(kinds); i++) {
		fuzz_image_reset(&fi, &bases[i]);
		fuzz_views_read(&fi, 0, bases[i].views);
	}
}
