/* SPDX-License-Identifier: MIT */
/* layer.c - an image and the chain below it: making it, judging it */
#include "layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "approve.h"
#include "qemu_turn.h"
#include "run.h"

/* The time stamp of layers that nobody may write any more. */
#define OLD_TIME 1000000000

void qcf_chain_init(struct qcf_chain *chain)
{
	memset(chain, 0, sizeof(*chain));
	qcf_tmpdir_new(&chain->dir);
}

void qcf_chain_fini(struct qcf_chain *chain, bool failed)
{
	int i;

	for (i = 0; i < chain->count; i++)
		qcf_oracle_close(&chain->layers[i].oracle);
	if (!failed)
		qcf_tmpdir_remove(&chain->dir);
}

struct qcf_layer *qcf_chain_top(struct qcf_chain *chain)
{
	return &chain->layers[chain->count - 1];
}

/* How QEMU is told of the chain: what the image says itself does for most. */
static void describe(struct qcf_chain *chain)
{
	const struct qcf_layer *layer = qcf_chain_top(chain);
	struct qcf_qemu_image *image = &chain->qemu_image;
	char prefix[8 * QCF_MAX_LAYERS] = "";
	bool says_all = true;
	int i;

	for (i = 0; i < chain->count; i++)
		says_all = says_all && !qcf_layer_secret(&chain->layers[i]) &&
		           chain->layers[i].shape.version != 1;
	qcf_qemu_image_init(image, qcf_layer_driver(layer), layer->path);
	qcf_qemu_image_add(image, prefix, NULL, NULL, qcf_layer_secret(layer));
	for (i = chain->count - 2; i >= 0 && !says_all; i--) {
		layer = &chain->layers[i];
		strcat(prefix, "backing.");
		qcf_qemu_image_add(image, prefix, qcf_layer_driver(layer),
		                   layer->path, qcf_layer_secret(layer));
	}
}

void qcf_chain_open_options(struct qcf_chain *chain,
                            struct qcf_disk_options *options)
{
	const struct qcf_layer *top = qcf_chain_top(chain);
	int i;

	options->path = top->path;
	options->format = top->shape.version == 1 ? QCOWFMT_FORMAT_QCOW
	                                          : QCOWFMT_FORMAT_QCOW2;
	for (i = 0; i < chain->count; i++)
		options->secrets[i] =
			qcf_layer_secret(&chain->layers[chain->count - 1 - i]);
	if (top->shape.data_file != QCF_DATA_INSIDE)
		options->data_path = top->data_path;
	options->qemu_image = &chain->qemu_image;
}

static bool create_oracle(struct qcf_layer *layer,
                          const struct qcf_layer *backing, const char *path,
                          struct qcf_finding *finding)
{
	uint64_t size = (layer->shape.size + 511) / 512 * 512;

	if (backing)
		return qcf_oracle_copy(&backing->oracle, &layer->oracle, path,
		                       size, finding);
	return qcf_oracle_create(&layer->oracle, path, size, finding);
}

/* From now on a write to the layer would show. */
static bool seal_file(const char *path, struct qcf_finding *finding)
{
	const struct timespec times[2] = { { .tv_sec = OLD_TIME },
		                           { .tv_sec = OLD_TIME } };

	if (utimensat(AT_FDCWD, path, times, 0) == 0)
		return true;
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s", path,
	                 strerror(errno));
}

static bool seal(const struct qcf_layer *layer, struct qcf_finding *finding)
{
	return seal_file(layer->path, finding) &&
	       (layer->shape.data_file == QCF_DATA_INSIDE ||
	        seal_file(layer->data_path, finding));
}

static bool file_is_sealed(const char *path, struct qcf_finding *finding)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s", path,
		                 strerror(errno));
	if (st.st_mtim.tv_sec == OLD_TIME)
		return true;
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "backing file %s was written to", path);
}

static bool is_sealed(const struct qcf_layer *layer,
                      struct qcf_finding *finding)
{
	return file_is_sealed(layer->path, finding) &&
	       (layer->shape.data_file == QCF_DATA_INSIDE ||
	        file_is_sealed(layer->data_path, finding));
}

static void name_layer(const struct qcf_chain *chain, struct qcf_layer *layer,
                       char oracle_path[QCF_PATH_SIZE])
{
	char name[32];

	snprintf(layer->name, sizeof(layer->name), "layer%d", chain->count);
	snprintf(layer->secret, sizeof(layer->secret), "key of %d",
	         chain->count);
	qcf_tmpdir_path(&chain->dir, layer->name, layer->path);
	snprintf(name, sizeof(name), "%s.oracle", layer->name);
	qcf_tmpdir_path(&chain->dir, name, oracle_path);
	snprintf(name, sizeof(name), "%s.data", layer->name);
	qcf_tmpdir_path(&chain->dir, name, layer->data_path);
}

/* What operations there can be on a layer, and what comes of them. */
static void aim(struct qcf_layer *layer)
{
	const struct qcf_shape *s = &layer->shape;
	struct qcf_target *t = &layer->target;

	t->cluster_size = s->cluster_size;
	t->unit = s->extended_l2 ? s->cluster_size / 32 : s->cluster_size;
	t->discard_works =
		s->version > 2 || (s->version == 2 && !layer->has_backing);
	t->compress_works = s->compresses;
	t->raw_path =
		s->data_file == QCF_DATA_FILE_RAW ? layer->data_path : NULL;
}

bool qcf_chain_push(struct qcf_chain *chain, const struct qcf_shape *shape,
                    const struct qcf_target *target,
                    struct qcf_finding *finding)
{
	struct qcf_layer *layer = &chain->layers[chain->count];
	struct qcf_layer *backing = chain->count > 0 ? layer - 1 : NULL;
	char oracle_path[QCF_PATH_SIZE];

	layer->shape = *shape;
	layer->has_backing = backing != NULL;
	layer->oracle.fd = -1;
	layer->target = *target;
	if (!shape->raw)
		aim(layer);
	name_layer(chain, layer, oracle_path);
	if (backing && !seal(backing, finding))
		return false;
	chain->count++;
	describe(chain);
	if (!create_oracle(layer, backing, oracle_path, finding))
		return false;
	qcf_target_resize(&layer->target, layer->oracle.size);
	return qcf_layer_create(layer, backing, finding);
}

/* A raw layer gets its content directly: random bytes with gaps. */
static bool fill_raw(struct qcf_layer *layer, uint64_t seed,
                     struct qcf_finding *finding)
{
	struct qcf_rng rng = qcf_rng_new(seed, 4);
	struct qcf_oracle file = { .fd = -1 };
	struct qcf_range range;
	int i;

	for (i = 0; i < 24; i++) {
		range = qcf_target_range(&layer->target, &rng);
		qcf_rng_fill(&rng, layer->oracle.bytes + range.offset,
		             range.len);
	}
	/* A raw disk that ends within a sector reads as zeros behind. */
	memset(layer->oracle.bytes + layer->shape.size, 0,
	       layer->oracle.size - layer->shape.size);
	if (!qcf_oracle_copy(&layer->oracle, &file, layer->path,
	                     layer->shape.size, finding))
		return false;
	qcf_oracle_close(&file);
	return true;
}

bool qcf_chain_exercise(struct qcf_chain *chain,
                        const struct qcf_disk_options *options, uint64_t count,
                        uint64_t seed, struct qcf_finding *finding)
{
	struct qcf_layer *top = qcf_chain_top(chain);
	struct qcf_disk_options all = *options;
	struct qcf_disk *disk;
	struct qcf_workload w;
	bool good;

	qcf_chain_open_options(chain, &all);
	disk = qcf_disk_new(&all);
	qcf_workload_init(&w, disk, &top->oracle, &top->target, seed);
	if (options->discard_mode == QCOWFMT_DISCARD_IGNORE)
		w.target.discard_works = false;
	good = disk->verbs->open(disk, finding) &&
	       qcf_workload_run(&w, count, finding) &&
	       qcf_workload_verify(&w, finding) &&
	       disk->verbs->close(disk, finding);
	qcf_workload_fini(&w);
	disk->verbs->free(disk);
	return good;
}

bool qcf_chain_fill(struct qcf_chain *chain, uint64_t count, uint64_t seed,
                    struct qcf_finding *finding)
{
	struct qcf_layer *layer = qcf_chain_top(chain);
	const struct qcf_disk_options options = { .seed = seed };

	if (layer->shape.raw)
		return fill_raw(layer, seed, finding);
	if (layer->shape.maker == QCF_MADE_BY_QEMU)
		return qcf_qemu_turn(&chain->dir, &chain->qemu_image,
		                     &layer->target, &layer->oracle, count,
		                     seed, finding);
	return qcf_chain_exercise(chain, &options, count, seed, finding);
}

static bool reads_as_oracle(const struct qcf_chain *chain,
                            struct qcf_finding *finding)
{
	const struct qcf_layer *top = &chain->layers[chain->count - 1];
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-img", "compare" };
	struct qcf_qemu_image oracle;
	int n = qcf_qemu_image_options(&chain->qemu_image, argv, 2);

	qcf_qemu_image_init(&oracle, "raw", top->oracle.path);
	argv[n++] = oracle.spec;
	argv[n++] = chain->qemu_image.spec;
	argv[n] = NULL;
	return qcf_run_ok(argv, NULL, QCF_FOUND_CONTENT, finding);
}

static bool raw_file_is_oracle(const struct qcf_layer *layer,
                               struct qcf_finding *finding)
{
	const char *const compare[] = {
		"qemu-img",         "compare",        "-f", "raw", "-F", "raw",
		layer->oracle.path, layer->data_path, NULL
	};

	return layer->shape.data_file != QCF_DATA_FILE_RAW ||
	       qcf_run_ok(compare, NULL, QCF_FOUND_CONTENT, finding);
}

/* Version 1 has nothing to check but its content. */
static bool metadata_is_approved(const struct qcf_chain *chain,
                                 struct qcf_finding *finding)
{
	const struct qcf_layer *top = &chain->layers[chain->count - 1];

	if (top->shape.version == 1)
		return true;
	return (qcf_subject_is_qemu() ||
	        qcf_library_approves(top->path, finding)) &&
	       qcf_qemu_image_approves(&chain->qemu_image, finding);
}

bool qcf_chain_judge(struct qcf_chain *chain, struct qcf_finding *finding)
{
	int i;

	for (i = 0; i < chain->count - 1; i++) {
		if (!is_sealed(&chain->layers[i], finding))
			return false;
	}
	return metadata_is_approved(chain, finding) &&
	       reads_as_oracle(chain, finding) &&
	       raw_file_is_oracle(qcf_chain_top(chain), finding);
}
