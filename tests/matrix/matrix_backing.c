/* SPDX-License-Identifier: MIT */
/* matrix_backing.c - the backing files of the matrix */
#include "matrix_backing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rng.h"
#include "run.h"
#include "scratch.h"

#define PIECES    48
#define MAX_PIECE 65536u
/* Nothing that a test writes is that old. */
#define OLD_TIME 1000000000

static struct qcf_backing backings[QCF_BACKING_KINDS][2];

/* How QEMU makes each kind from a raw image. */
static const struct {
	const char *name;
	const char *format;
	const char *options; /* NULL: as it comes */
	bool compressed;
} kinds[QCF_BACKING_KINDS] = {
	[QCF_BACKING_RAW] = { "raw", "raw", NULL, false },
	[QCF_BACKING_V1] = { "v1", "qcow", NULL, false },
	[QCF_BACKING_V2] = { "v2", "qcow2", "compat=0.10,cluster_size=8192",
	                     false },
	[QCF_BACKING_V3] = { "v3", "qcow2",
	                     "compat=1.1,cluster_size=4096,refcount_bits=64",
	                     true },
	[QCF_BACKING_AES] = { "aes", "qcow2",
	                      "encrypt.format=aes,encrypt.key-secret=" QCF_BACKING_SECRET_ID,
	                      false },
};

/* Runs of one byte and of noise, with gaps. */
static void fill(struct qcf_oracle *oracle, uint64_t size, struct qcf_rng *rng)
{
	int i;

	for (i = 0; i < PIECES; i++) {
		uint64_t offset = qcf_rng_below(rng, size);
		uint64_t len = qcf_rng_between(rng, 1, MAX_PIECE);

		if (len > size - offset)
			len = size - offset;
		if (i % 2 == 0)
			memset(oracle->bytes + offset, i + 1, len);
		else
			qcf_rng_fill(rng, oracle->bytes + offset, len);
	}
}

/* Have QEMU turn the first size bytes of the oracle into the image. */
static bool convert(const struct qcf_backing *backing, int kind, uint64_t size,
                    struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-img", "convert",
		                               "--image-opts" };
	char source[QCF_PATH_SIZE + 64];
	int n = 3;

	if (backing->encrypted) {
		argv[n++] = "--object";
		argv[n++] = QCF_BACKING_SECRET;
	}
	snprintf(source, sizeof(source),
	         "driver=raw,size=%" PRIu64 ",file.filename=%s",
	         (size + 511) / 512 * 512, backing->oracle.path);
	argv[n++] = "-O";
	argv[n++] = kinds[kind].format;
	if (kinds[kind].options) {
		argv[n++] = "-o";
		argv[n++] = kinds[kind].options;
	}
	if (kinds[kind].compressed)
		argv[n++] = "-c";
	argv[n++] = source;
	argv[n++] = backing->path;
	return qcf_run_ok(argv, NULL, QCF_FOUND_HARNESS, finding);
}

static bool system_failed(const struct qcf_backing *backing,
                          struct qcf_finding *finding)
{
	return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s", backing->path,
	                 strerror(errno));
}

static bool make(struct qcf_backing *backing, int kind, bool is_long,
                 uint64_t seed, struct qcf_finding *finding)
{
	const struct timespec times[2] = { { .tv_sec = OLD_TIME },
		                           { .tv_sec = OLD_TIME } };
	uint64_t size = is_long ? QCF_LONG_BACKING : QCF_SHORT_BACKING;
	struct qcf_rng rng = qcf_rng_new(seed, (uint64_t)kind * 2 + is_long);
	char name[64];

	snprintf(name, sizeof(name), "backing-%s-%s", kinds[kind].name,
	         is_long ? "long" : "short");
	snprintf(backing->path, sizeof(backing->path), "%s",
	         scratch_path(name));
	backing->format = kinds[kind].format;
	backing->encrypted = kind == QCF_BACKING_AES;
	strncat(name, ".oracle", sizeof(name) - strlen(name) - 1);
	if (!qcf_oracle_create(&backing->oracle, scratch_path(name),
	                       (size + 511) / 512 * 512, finding))
		return false;
	fill(&backing->oracle, size, &rng);
	if (!convert(backing, kind, size, finding))
		return false;
	/* A raw file may end within a sector. */
	if (kind == QCF_BACKING_RAW &&
	    truncate(backing->path, (off_t)size) != 0)
		return system_failed(backing, finding);
	if (utimensat(AT_FDCWD, backing->path, times, 0) != 0)
		return system_failed(backing, finding);
	return true;
}

bool qcf_backing_get(const struct qcf_traits *traits, uint64_t seed,
                     const struct qcf_backing **backing,
                     struct qcf_finding *finding)
{
	struct qcf_backing *found =
		&backings[traits->backing][traits->backing_is_long];

	*backing = NULL;
	if (traits->backing == QCF_BACKING_NONE)
		return true;
	if (!found->format && !make(found, (int)traits->backing,
	                            traits->backing_is_long, seed, finding))
		return false;
	*backing = found;
	return true;
}

bool qcf_backing_is_untouched(const struct qcf_backing *backing,
                              struct qcf_finding *finding)
{
	struct stat st;

	if (stat(backing->path, &st) != 0)
		return system_failed(backing, finding);
	if (st.st_mtim.tv_sec == OLD_TIME)
		return true;
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "backing file %s was written to", backing->path);
}
