/* SPDX-License-Identifier: MIT */
/* matrix_judge.c - whether a closed image of the matrix is what it should be */
#include "matrix_judge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "approve.h"
#include "run.h"

/* No multiple of anything, so that reads begin and end anywhere. */
#define PIECE ((size_t)1000003)

static bool library_reads(struct qcowfmt_image *opened,
                          const struct qcf_oracle *oracle,
                          struct qcf_finding *finding)
{
	uint8_t *buffer = malloc(PIECE);
	struct qcowfmt_error *error = NULL;
	uint64_t offset;
	bool good = true;

	if (!buffer)
		abort();
	for (offset = 0; good && offset < oracle->size; offset += PIECE) {
		uint64_t left = oracle->size - offset;
		size_t len = left < PIECE ? left : PIECE;
		int ret = qcowfmt_pread(opened, buffer, len, offset, &error);

		good = ret < 0 ? qcf_found_error(finding, "read", ret, error)
		               : qcf_oracle_verify(oracle, buffer, len, offset,
		                                   finding);
	}
	free(buffer);
	return good;
}

static bool facts_are_right(const struct qcf_matrix_image *image,
                            struct qcowfmt_image *opened,
                            struct qcf_finding *finding)
{
	const uint32_t bad = QCOWFMT_INFO_DIRTY | QCOWFMT_INFO_CORRUPT;
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_get_info(opened, 0, &info, &error);

	if (ret < 0)
		return qcf_found_error(finding, "info", ret, error);
	if ((info.flags & bad) != 0)
		return qcf_found(finding, QCF_FOUND_METADATA,
		                 "marked 0x%x after a clean close", info.flags);
	if (info.virtual_size == image->size &&
	    info.version == image->traits.version &&
	    info.cluster_size == image->traits.cluster_size &&
	    info.refcount_bits == image->traits.refcount_bits &&
	    info.compression_type == image->traits.compression_type &&
	    info.encryption == image->traits.encryption)
		return true;
	return qcf_found(
		finding, QCF_FOUND_METADATA,
		"info: size %" PRIu64 ", version %u, clusters of %" PRIu64
		", %u-bit refcounts, compression %u, encryption %d",
		info.virtual_size, info.version, info.cluster_size,
		info.refcount_bits, info.compression_type, info.encryption);
}

static bool library_judges(const struct qcf_matrix_image *image, bool content,
                           struct qcf_finding *finding)
{
	struct qcowfmt_image *opened = NULL;
	struct qcowfmt_error *error = NULL;
	bool good;
	int ret;

	if (qcf_subject_is_qemu())
		return true;
	if (!qcf_library_open(image, 0, 0, &opened, finding))
		return false;
	good = facts_are_right(image, opened, finding) &&
	       (!content || library_reads(opened, &image->oracle, finding)) &&
	       qcf_check_is_clean(opened, false, finding);
	ret = qcowfmt_close(opened, &error);
	if (ret < 0 && good)
		return qcf_found_error(finding, "close", ret, error);
	qcowfmt_error_free(error);
	return good;
}

static bool qemu_compares(const struct qcf_matrix_image *image,
                          struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	char oracle[QCF_PATH_SIZE + 32];
	int n = qcf_qemu_argv(image, "qemu-img", "compare", argv);
	struct qcf_run run;

	qcf_matrix_qemu_options(image, options);
	snprintf(oracle, sizeof(oracle), "driver=raw,file.filename=%s",
	         image->oracle.path);
	argv[n++] = "--image-opts";
	argv[n++] = oracle;
	argv[n++] = options;
	if (!qcf_run(argv, NULL, &run, finding))
		return false;
	/* Different sizes are only worth a warning to it. */
	if (run.status == 0 && !strstr(run.output, "mismatch"))
		return true;
	return qcf_found(finding, QCF_FOUND_CONTENT,
	                 "qemu-img compare exits with %d: %.500s", run.status,
	                 run.output);
}

static bool qemu_checks(const struct qcf_matrix_image *image,
                        struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	int n = qcf_qemu_argv(image, "qemu-img", "check", argv);

	if (image->traits.version == 1)
		return true;
	qcf_matrix_qemu_options(image, options);
	argv[n++] = "--image-opts";
	argv[n++] = options;
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding);
}

/* Bytes of the data file, which may end early, are the bytes of the disk. */
static bool data_file_is_raw(const struct qcf_matrix_image *image,
                             struct qcf_finding *finding)
{
	uint8_t *bytes;
	int fd;
	ssize_t got;
	bool good;

	if (!image->traits.raw_data_file ||
	    image->traits.encryption != QCOWFMT_ENCRYPTION_NONE)
		return true;
	fd = open(image->data_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return qcf_found(finding, QCF_FOUND_HARNESS, "%s: %s",
		                 image->data_path, strerror(errno));
	bytes = calloc(image->size, 1);
	if (!bytes)
		abort();
	got = pread(fd, bytes, image->size, 0);
	close(fd);
	good = qcf_oracle_verify(&image->oracle, bytes, image->size, 0,
	                         finding);
	free(bytes);
	if (!good)
		strncat(finding->text, " [of the raw data file]",
		        sizeof(finding->text) - strlen(finding->text) - 1);
	return good && got >= 0;
}

bool qcf_judge_metadata(const struct qcf_matrix_image *image,
                        struct qcf_finding *finding)
{
	return library_judges(image, false, finding) &&
	       qemu_checks(image, finding);
}

bool qcf_judge(const struct qcf_matrix_image *image,
               struct qcf_finding *finding)
{
	return library_judges(image, true, finding) &&
	       qemu_compares(image, finding) && qemu_checks(image, finding) &&
	       data_file_is_raw(image, finding) &&
	       (!image->backing ||
	        qcf_backing_is_untouched(image->backing, finding));
}

bool qcf_judge_snapshot(const struct qcf_matrix_image *image, const char *name,
                        const struct qcf_oracle *oracle,
                        struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { NULL };
	char options[QCF_QEMU_OPTIONS_SIZE];
	char copy[QCF_PATH_SIZE];
	const char *const compare[] = { "qemu-img", "compare",    "-q",
		                        "-f",       "raw",        "-F",
		                        "raw",      oracle->path, copy,
		                        NULL };
	int n = qcf_qemu_argv(image, "qemu-img", "convert", argv);

	qcf_matrix_qemu_options(image, options);
	qcf_tmpdir_path(&image->dir, "snapshot.raw", copy);
	argv[n++] = "-l";
	argv[n++] = name;
	argv[n++] = "-O";
	argv[n++] = "raw";
	argv[n++] = "--image-opts";
	argv[n++] = options;
	argv[n++] = copy;
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding) &&
	       qcf_run_ok(compare, NULL, QCF_FOUND_CONTENT, finding);
}
