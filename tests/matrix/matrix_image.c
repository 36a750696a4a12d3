/* SPDX-License-Identifier: MIT */
/* matrix_image.c - one image of the matrix: making it, opening it */
#include "matrix_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "matrix_foreign.h"
#include "run.h"

#define PASSPHRASE "open sesame"
#define MIN_SIZE   (UINT64_C(1) << 20)
#define MAX_SIZE   (UINT64_C(8) << 20)
#define MIN_WINDOW (UINT64_C(96) << 10)

/* Any number of sectors, and now and then a whole number of clusters. */
static uint64_t any_size(uint64_t cluster_size, struct qcf_rng *rng)
{
	uint64_t size = qcf_rng_between(rng, MIN_SIZE, MAX_SIZE);

	/* Few large ones: each is read a dozen times. */
	if (qcf_rng_percent(rng, 60) && cluster_size < MIN_SIZE)
		size = MIN_SIZE + size / 8;
	if (qcf_rng_percent(rng, 20) && size >= cluster_size)
		size -= size % cluster_size;
	return size - size % 512;
}

/*
 * Operations stay in three windows, so that those of different turns meet; the
 * middle one begins anywhere.
 */
static void choose_windows(struct qcf_target *t, struct qcf_rng *rng)
{
	uint64_t len = 12 * t->cluster_size;
	uint64_t middle;

	if (len < MIN_WINDOW)
		len = MIN_WINDOW;
	t->window_count = 1;
	t->windows[0] = (struct qcf_window){ 0, t->size };
	if (t->size < 4 * len)
		return;
	middle = qcf_rng_between(rng, len, t->size - 2 * len);
	t->window_count = 3;
	t->windows[0] = (struct qcf_window){ 0, len };
	t->windows[1] = (struct qcf_window){ middle, middle + len };
	t->windows[2] = (struct qcf_window){ t->size - len, t->size };
}

static bool discard_works(const struct qcf_traits *traits)
{
	if (traits->version == 2)
		return traits->backing == QCF_BACKING_NONE;
	return traits->version == 3;
}

static bool make_oracle(struct qcf_matrix_image *image,
                        struct qcf_finding *finding)
{
	char path[QCF_PATH_SIZE];

	qcf_tmpdir_path(&image->dir, "oracle", path);
	if (image->backing)
		return qcf_oracle_copy(&image->backing->oracle, &image->oracle,
		                       path, image->size, finding);
	return qcf_oracle_create(&image->oracle, path, image->size, finding);
}

bool qcf_matrix_image_init(struct qcf_matrix_image *image,
                           const struct qcf_traits *traits, uint64_t seed,
                           struct qcf_finding *finding)
{
	struct qcf_rng rng = qcf_rng_new(seed, 1);
	uint64_t clusters;

	memset(image, 0, sizeof(*image));
	image->traits = *traits;
	image->seed = seed;
	image->size = any_size(traits->cluster_size, &rng);
	image->oracle.fd = -1;
	qcf_tmpdir_new(&image->dir);
	qcf_tmpdir_path(&image->dir, "image", image->path);
	qcf_tmpdir_path(&image->dir, "data", image->data_path);
	qcf_target_init(&image->target, image->size, traits->cluster_size,
	                discard_works(traits));
	choose_windows(&image->target, &rng);
	clusters = (image->size - 1) / traits->cluster_size + 1;
	image->touched = calloc(clusters, 1);
	if (!image->touched)
		abort();
	if (traits->preallocation != QCOWFMT_PREALLOCATION_OFF)
		memset(image->touched, 1, clusters);
	return qcf_backing_get(traits, 0, &image->backing, finding) &&
	       make_oracle(image, finding);
}

void qcf_matrix_image_fini(struct qcf_matrix_image *image, bool keep)
{
	qcf_oracle_close(&image->oracle);
	free(image->touched);
	image->touched = NULL;
	if (!keep)
		qcf_tmpdir_remove(&image->dir);
}

int qcf_qemu_argv(const struct qcf_matrix_image *image, const char *program,
                  const char *command, const char *argv[])
{
	int n = 0;

	argv[n++] = program;
	if (command)
		argv[n++] = command;
	if (image->traits.encryption != QCOWFMT_ENCRYPTION_NONE) {
		argv[n++] = "--object";
		argv[n++] = "secret,id=" QCF_QEMU_SECRET_ID ",data=" PASSPHRASE;
	}
	if (image->backing && image->backing->encrypted) {
		argv[n++] = "--object";
		argv[n++] = QCF_BACKING_SECRET;
	}
	return n;
}

void qcf_matrix_qemu_options(const struct qcf_matrix_image *image,
                             char out[QCF_QEMU_OPTIONS_SIZE])
{
	const struct qcf_traits *t = &image->traits;
	bool secret = t->encryption != QCOWFMT_ENCRYPTION_NONE;
	/* Version 1 does not say what its backing file is. */
	bool undeclared = t->version == 1 && image->backing;
	bool secret_below = image->backing && image->backing->encrypted;

	snprintf(out, QCF_QEMU_OPTIONS_SIZE,
	         "driver=%s,file.driver=file,file.filename=%s%s%s%s%s",
	         t->version == 1 ? "qcow" : "qcow2", image->path,
	         secret ? ",encrypt.key-secret=" QCF_QEMU_SECRET_ID : "",
	         undeclared ? ",backing.driver=" : "",
	         undeclared ? image->backing->format : "",
	         secret_below
	                 ? ",backing.encrypt.key-secret=" QCF_BACKING_SECRET_ID
	                 : "");
}

static size_t print_luks_options(const struct qcf_luks_kind *luks, char *out,
                                 size_t size)
{
	return (size_t)snprintf(
		out, size,
		",encrypt.cipher-alg=%s,encrypt.cipher-mode=%s"
		",encrypt.ivgen-alg=%s%s%s,encrypt.hash-alg=%s"
		",encrypt.iter-time=5",
		luks->cipher_alg, luks->cipher_mode, luks->ivgen_alg,
		luks->ivgen_hash_alg ? ",encrypt.ivgen-hash-alg=" : "",
		luks->ivgen_hash_alg ? luks->ivgen_hash_alg : "",
		luks->hash_alg);
}

static size_t print_version_options(const struct qcf_matrix_image *image,
                                    char *out, size_t size)
{
	const struct qcf_traits *t = &image->traits;
	size_t used;

	if (t->version == 1)
		return (size_t)snprintf(out, size, "size=%" PRIu64,
		                        image->size);
	used = (size_t)snprintf(
		out, size,
		"size=%" PRIu64 ",compat=%s,cluster_size=%" PRIu64
		",refcount_bits=%u,preallocation=%s",
		image->size, t->version == 2 ? "0.10" : "1.1", t->cluster_size,
		t->refcount_bits, t->preallocation_name);
	if (t->version == 3)
		used += (size_t)snprintf(
			out + used, size - used,
			",compression_type=%s,extended_l2=%s,lazy_refcounts=%s",
			t->compression_type ? "zstd" : "zlib",
			t->extended_l2 ? "on" : "off",
			t->lazy_refcounts ? "on" : "off");
	return used;
}

static void print_create_options(const struct qcf_matrix_image *image,
                                 char *out, size_t size)
{
	const struct qcf_traits *t = &image->traits;
	size_t used = print_version_options(image, out, size);

	if (t->data_file)
		used += (size_t)snprintf(out + used, size - used,
		                         ",data_file=%s,data_file_raw=%s",
		                         image->data_path,
		                         t->raw_data_file ? "on" : "off");
	if (t->encryption != QCOWFMT_ENCRYPTION_NONE)
		used += (size_t)snprintf(
			out + used, size - used,
			",encrypt.format=%s"
			",encrypt.key-secret=" QCF_QEMU_SECRET_ID,
			t->luks ? "luks" : "aes");
	if (t->luks)
		print_luks_options(t->luks, out + used, size - used);
}

static bool create_with_qemu(const struct qcf_matrix_image *image,
                             struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	int n = qcf_qemu_argv(image, "qemu-img", "create", argv);

	print_create_options(image, options, sizeof(options));
	argv[n++] = "-q";
	argv[n++] = "-f";
	argv[n++] = image->traits.version == 1 ? "qcow" : "qcow2";
	argv[n++] = "-o";
	argv[n++] = options;
	if (image->backing) {
		argv[n++] = "-b";
		argv[n++] = image->backing->path;
		argv[n++] = "-F";
		argv[n++] = image->backing->format;
		/* It would open it without the passphrase. */
		if (image->backing->encrypted)
			argv[n++] = "-u";
	}
	argv[n++] = image->path;
	return qcf_run_ok(argv, NULL, QCF_FOUND_HARNESS, finding);
}

static struct qcowfmt_encryption_options encryption_options(
	const struct qcf_matrix_image *image)
{
	const struct qcf_luks_kind *luks = image->traits.luks;
	struct qcowfmt_encryption_options options = {
		.struct_size = sizeof(options),
		.encryption = image->traits.encryption,
		.secret = PASSPHRASE,
		.secret_len = strlen(PASSPHRASE),
	};

	if (!luks)
		return options;
	options.iter_time_ms = (uint32_t)(1 + image->seed % 10);
	options.cipher_alg = luks->cipher_alg;
	options.cipher_mode = luks->cipher_mode;
	options.ivgen_alg = luks->ivgen_alg;
	options.ivgen_hash_alg = luks->ivgen_hash_alg;
	options.hash_alg = luks->hash_alg;
	return options;
}

static uint32_t create_flags(const struct qcf_traits *t)
{
	return (t->lazy_refcounts ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0) |
	       (t->extended_l2 ? QCOWFMT_CREATE_EXTENDED_L2 : 0) |
	       (t->raw_data_file ? QCOWFMT_CREATE_DATA_FILE_RAW : 0);
}

static bool create_with_library(const struct qcf_matrix_image *image,
                                struct qcf_finding *finding)
{
	const struct qcf_traits *t = &image->traits;
	const struct qcf_backing *backing = image->backing;
	const struct qcowfmt_encryption_options encryption =
		encryption_options(image);
	bool v1 = t->version == 1;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = image->size,
		.format = v1 ? QCOWFMT_FORMAT_QCOW : QCOWFMT_FORMAT_QCOW2,
		.version = v1 ? 0 : t->version,
		.cluster_size = t->cluster_size,
		.refcount_bits = t->refcount_bits,
		.flags = create_flags(t),
		.backing_filename = backing ? backing->path : NULL,
		.backing_format = backing && !v1 ? backing->format : NULL,
		.compression_type = t->compression_type,
		.preallocation = t->preallocation,
		.data_filename = t->data_file ? image->data_path : NULL,
		.encryption = t->encryption ? &encryption : NULL,
	};
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_create_file(image->path, &options, &error);

	return ret < 0 ? qcf_found_error(finding, "create", ret, error) : true;
}

/* Clusters that have a place but were never written decrypt to noise. */
static bool starts_as_noise(const struct qcf_traits *t)
{
	return t->encryption != QCOWFMT_ENCRYPTION_NONE && !t->extended_l2 &&
	       (t->preallocation != QCOWFMT_PREALLOCATION_OFF ||
	        t->raw_data_file);
}

static bool load(struct qcf_oracle *oracle, const char *path,
                 struct qcf_finding *finding)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = -1;

	if (fd >= 0) {
		got = pread(fd, oracle->bytes, oracle->size, 0);
		close(fd);
	}
	if (got == (ssize_t)oracle->size)
		return true;
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s: read %zd bytes: %s",
	                 path, got, strerror(errno));
}

static bool take_noise(struct qcf_matrix_image *image,
                       struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	char copy[QCF_PATH_SIZE];
	int n = qcf_qemu_argv(image, "qemu-img", "convert", argv);

	qcf_matrix_qemu_options(image, options);
	qcf_tmpdir_path(&image->dir, "noise", copy);
	argv[n++] = "--image-opts";
	argv[n++] = "-O";
	argv[n++] = "raw";
	argv[n++] = options;
	argv[n++] = copy;
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding) &&
	       load(&image->oracle, copy, finding);
}

static bool create(const struct qcf_matrix_image *image, enum qcf_side side,
                   struct qcf_finding *finding)
{
	if (!qcf_can_be_created(&image->traits))
		return qcf_foreign_create(image, finding);
	if (side == QCF_SIDE_QEMU)
		return create_with_qemu(image, finding);
	return create_with_library(image, finding);
}

bool qcf_matrix_image_create(struct qcf_matrix_image *image, enum qcf_side side,
                             struct qcf_finding *finding)
{
	return create(image, side, finding) &&
	       (!starts_as_noise(&image->traits) || take_noise(image, finding));
}

static int64_t tell_secret(void *opaque,
                           const struct qcowfmt_secret_request *request,
                           void *buffer, size_t room)
{
	const char *passphrase = QCF_BACKING_PASSPHRASE;

	(void)opaque;
	if (request->depth != 1 || strlen(passphrase) > room)
		return -ENOKEY;
	memcpy(buffer, passphrase, strlen(passphrase));
	return (int64_t)strlen(passphrase);
}

bool qcf_library_open(const struct qcf_matrix_image *image, uint32_t flags,
                      uint64_t cache_size, struct qcowfmt_image **opened,
                      struct qcf_finding *finding)
{
	const struct qcf_traits *t = &image->traits;
	bool secret = t->encryption != QCOWFMT_ENCRYPTION_NONE;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = t->version == 1 ? QCOWFMT_FORMAT_QCOW
		                          : QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		/* Version 1 does not say what its backing file is. */
		.undeclared_format = t->version == 1
		                             ? QCOWFMT_UNDECLARED_PROBE
		                             : QCOWFMT_UNDECLARED_REFUSE,
		.cache_size = cache_size,
		.secret = secret ? PASSPHRASE : NULL,
		.secret_len = secret ? strlen(PASSPHRASE) : 0,
		.secret_callback = tell_secret,
	};
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_open_file(image->path, &options, opened, &error);

	if (ret == 0)
		return true;
	*opened = NULL;
	return qcf_found_error(finding, "open", ret, error);
}
