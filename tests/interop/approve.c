/* SPDX-License-Identifier: MIT */
/* approve.c - whether a closed image file is in order */
#include "approve.h"

#include <inttypes.h>
#include <stdio.h>

#include "run.h"

struct first_text {
	char text[256];
};

static void keep_first(void *opaque, uint32_t corruption_id,
                       uint64_t host_offset, const char *message)
{
	struct first_text *first = opaque;

	if (first->text[0] == '\0')
		snprintf(first->text, sizeof(first->text),
		         "%u at %" PRIu64 ": %s", corruption_id, host_offset,
		         message);
}

bool qcf_check_is_clean(struct qcowfmt_image *image, bool leaks_allowed,
                        struct qcf_finding *finding)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	struct qcowfmt_error *error = NULL;
	struct first_text first = { "" };
	int ret = qcowfmt_check(image, 0, keep_first, &first, &result, &error);

	if (ret < 0)
		return qcf_found_error(finding, "check", ret, error);
	if (result.corruptions == 0 && result.check_errors == 0 &&
	    (result.leaks == 0 || leaks_allowed))
		return true;
	return qcf_found(finding, QCF_FOUND_METADATA,
	                 "our check: %" PRIu64 " corruptions, %" PRIu64
	                 " leaks, %" PRIu64 " errors; first: %s",
	                 result.corruptions, result.leaks, result.check_errors,
	                 first.text);
}

static bool is_unmarked(struct qcowfmt_image *image,
                        struct qcf_finding *finding)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_get_info(image, 0, &info, &error);

	if (ret < 0)
		return qcf_found_error(finding, "info", ret, error);
	if ((info.flags & (QCOWFMT_INFO_DIRTY | QCOWFMT_INFO_CORRUPT)) == 0)
		return true;
	return qcf_found(finding, QCF_FOUND_METADATA,
	                 "marked 0x%x after a clean close", info.flags);
}

bool qcf_library_approves(const char *path, struct qcf_finding *finding)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_NO_DATA,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	bool good;
	int ret;

	ret = qcowfmt_open_file(path, &options, &image, &error);
	if (ret < 0)
		return qcf_found_error(finding, "open to check", ret, error);
	good = qcf_check_is_clean(image, false, finding) &&
	       is_unmarked(image, finding);
	ret = qcowfmt_close(image, &error);
	if (ret < 0 && good)
		return qcf_found_error(finding, "close", ret, error);
	qcowfmt_error_free(error);
	return good;
}

bool qcf_qemu_approves(const char *path, struct qcf_finding *finding)
{
	const char *const check[] = { "qemu-img", "check", "-f",
		                      "qcow2",    path,    NULL };

	return qcf_run_ok(check, NULL, QCF_FOUND_METADATA, finding);
}
