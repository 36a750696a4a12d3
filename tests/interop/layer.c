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

void qcf_shape_print(const struct qcf_shape *s, char *out, size_t size)
{
	if (s->raw)
		snprintf(out, size, "raw, %" PRIu64 " bytes", s->size);
	else
		snprintf(out, size,
		         "v%u, clusters of %" PRIu64
		         ", %u-bit refcounts%s, preallocation %s, %" PRIu64
		         " bytes, made by %s",
		         s->version, s->cluster_size, s->refcount_bits,
		         s->lazy_refcounts ? ", lazy" : "",
		         s->preallocation ? s->preallocation : "off", s->size,
		         s->maker == QCF_MADE_BY_QEMU ? "qemu" : "library");
}

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

static const char *backing_format(const struct qcf_layer *backing)
{
	return backing->shape.raw ? "raw" : "qcow2";
}

static bool create_with_library(const struct qcf_layer *layer,
                                const struct qcf_layer *backing,
                                struct qcf_finding *finding)
{
	const struct qcf_shape *s = &layer->shape;
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = s->size,
		.format = QCOWFMT_FORMAT_QCOW2,
		.version = s->version,
		.cluster_size = s->cluster_size,
		.refcount_bits = s->refcount_bits,
		.flags = s->lazy_refcounts ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0,
		.backing_filename = backing ? backing->name : NULL,
		.backing_format = backing ? backing_format(backing) : NULL,
	};
	int ret = qcowfmt_create_file(layer->path, &options, &error);

	return ret < 0 ? qcf_found_error(finding, "create", ret, error) : true;
}

static void print_options(const struct qcf_shape *s, char *out, size_t size)
{
	snprintf(out, size,
	         "compat=%s,cluster_size=%" PRIu64
	         ",refcount_bits=%u,lazy_refcounts=%s,preallocation=%s",
	         s->version == 2 ? "0.10" : "1.1", s->cluster_size,
	         s->refcount_bits, s->lazy_refcounts ? "on" : "off",
	         s->preallocation ? s->preallocation : "off");
}

static bool create_with_qemu(const struct qcf_layer *layer,
                             const struct qcf_layer *backing,
                             struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-img", "create", "-q",
		                               "-f",       "qcow2",  "-o" };
	char options[256];
	char size[32];
	int n = 6;

	print_options(&layer->shape, options, sizeof(options));
	snprintf(size, sizeof(size), "%" PRIu64, layer->shape.size);
	argv[n++] = options;
	if (backing) {
		argv[n++] = "-b";
		argv[n++] = backing->name;
		argv[n++] = "-F";
		argv[n++] = backing_format(backing);
	}
	argv[n++] = layer->path;
	argv[n++] = size;
	return qcf_run_ok(argv, NULL, QCF_FOUND_HARNESS, finding);
}

static bool create_raw(const struct qcf_layer *layer,
                       struct qcf_finding *finding)
{
	struct qcf_oracle file = { .fd = -1 };
	bool good = qcf_oracle_create(&file, layer->path, layer->shape.size,
	                              finding);

	qcf_oracle_close(&file);
	return good;
}

static bool create_image(const struct qcf_layer *layer,
                         const struct qcf_layer *backing,
                         struct qcf_finding *finding)
{
	if (layer->shape.raw)
		return create_raw(layer, finding);
	if (layer->shape.maker == QCF_MADE_BY_QEMU || qcf_subject_is_qemu())
		return create_with_qemu(layer, backing, finding);
	return create_with_library(layer, backing, finding);
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
static bool seal(const struct qcf_layer *layer, struct qcf_finding *finding)
{
	const struct timespec times[2] = { { .tv_sec = OLD_TIME },
		                           { .tv_sec = OLD_TIME } };

	if (utimensat(AT_FDCWD, layer->path, times, 0) == 0)
		return true;
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s", layer->path,
	                 strerror(errno));
}

static bool is_sealed(const struct qcf_layer *layer,
                      struct qcf_finding *finding)
{
	struct stat st;

	if (stat(layer->path, &st) != 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
		                 layer->path, strerror(errno));
	if (st.st_mtim.tv_sec == OLD_TIME)
		return true;
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "backing file %s was written to", layer->name);
}

bool qcf_chain_push(struct qcf_chain *chain, const struct qcf_shape *shape,
                    const struct qcf_target *target,
                    struct qcf_finding *finding)
{
	struct qcf_layer *layer = &chain->layers[chain->count];
	struct qcf_layer *backing = chain->count > 0 ? layer - 1 : NULL;
	char oracle_path[QCF_PATH_SIZE];
	char oracle_name[32];

	layer->shape = *shape;
	layer->has_backing = backing != NULL;
	layer->oracle.fd = -1;
	layer->target = *target;
	if (!shape->raw) {
		layer->target.cluster_size = shape->cluster_size;
		layer->target.discard_works = shape->version > 2 || !backing;
	}
	snprintf(layer->name, sizeof(layer->name), "layer%d", chain->count);
	snprintf(oracle_name, sizeof(oracle_name), "%s.oracle", layer->name);
	qcf_tmpdir_path(&chain->dir, layer->name, layer->path);
	qcf_tmpdir_path(&chain->dir, oracle_name, oracle_path);
	if (backing && !seal(backing, finding))
		return false;
	chain->count++;
	if (!create_oracle(layer, backing, oracle_path, finding))
		return false;
	qcf_target_resize(&layer->target, layer->oracle.size);
	return create_image(layer, backing, finding);
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

static bool fill_with_subject(struct qcf_layer *layer, uint64_t count,
                              uint64_t seed, struct qcf_finding *finding)
{
	const struct qcf_disk_options options = { .path = layer->path,
		                                  .seed = seed };
	struct qcf_disk *disk = qcf_disk_new(&options);
	struct qcf_workload w;
	bool good;

	qcf_workload_init(&w, disk, &layer->oracle, &layer->target, seed);
	good = disk->verbs->open(disk, finding) &&
	       qcf_workload_run(&w, count, finding) &&
	       disk->verbs->close(disk, finding);
	qcf_workload_fini(&w);
	disk->verbs->free(disk);
	return good;
}

bool qcf_chain_fill(struct qcf_chain *chain, uint64_t count, uint64_t seed,
                    struct qcf_finding *finding)
{
	struct qcf_layer *layer = qcf_chain_top(chain);

	if (layer->shape.raw)
		return fill_raw(layer, seed, finding);
	if (layer->shape.maker == QCF_MADE_BY_QEMU)
		return qcf_qemu_turn(&chain->dir, layer->path, &layer->target,
		                     &layer->oracle, count, seed, finding);
	return fill_with_subject(layer, count, seed, finding);
}

static bool reads_as_oracle(const struct qcf_layer *layer,
                            struct qcf_finding *finding)
{
	const char *const compare[] = {
		"qemu-img", "compare",          "-f",        "raw", "-F",
		"qcow2",    layer->oracle.path, layer->path, NULL
	};

	return qcf_run_ok(compare, NULL, QCF_FOUND_CONTENT, finding);
}

bool qcf_chain_judge(struct qcf_chain *chain, struct qcf_finding *finding)
{
	const struct qcf_layer *top = qcf_chain_top(chain);
	int i;

	for (i = 0; i < chain->count - 1; i++) {
		if (!is_sealed(&chain->layers[i], finding))
			return false;
	}
	if (!qcf_subject_is_qemu() && !qcf_library_approves(top->path, finding))
		return false;
	return qcf_qemu_approves(top->path, finding) &&
	       reads_as_oracle(top, finding);
}
