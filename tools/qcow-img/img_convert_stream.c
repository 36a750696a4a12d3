/* SPDX-License-Identifier: MIT */
/* img_convert_stream.c - "convert" to standard output */
#include "img_convert_stream.h"

#include <errno.h>
#include <string.h>

#include "img_convert_copy.h"
#include "tool_error.h"

static int put(void *opaque, const void *buffer, size_t len)
{
	const char *bytes = buffer;

	(void)opaque;
	while (len > 0) {
		ssize_t put = write(STDOUT_FILENO, bytes, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		bytes += put;
		len -= (size_t)put;
	}
	return 0;
}

static bool check_request(const struct img_convert_request *r)
{
	const char *problem = NULL;

	if (r->no_create)
		problem = "Standard output cannot be a target that exists";
	else if (r->out_of_order)
		problem = "Standard output has to be written in order";
	else if (r->copy_range)
		problem = "Standard output cannot share data";
	else if (r->keep_snapshots || r->keep_bitmaps)
		problem = "Snapshots and bitmaps cannot be kept in an image on "
			  "standard output";
	else if (isatty(STDOUT_FILENO))
		problem = "Refusing to write an image to a terminal";
	if (problem != NULL)
		qcf_tool_error("%s", problem);
	return problem == NULL;
}

static bool stream(const struct img_convert_request *r,
                   const struct img_source *source,
                   const struct qcowfmt_create_options *create)
{
	struct img_copy copy;
	int ret;

	qcf_copy_begin(&copy, r, source, 0);
	ret = qcowfmt_stream(source->handles, source->count, create,
	                     &copy.options, put, NULL, &copy.error);
	return qcf_copy_end(&copy, ret);
}

bool qcf_convert_stream(struct img_convert_request *r,
                        struct img_source *source)
{
	struct qcowfmt_create_options create;
	struct img_create_values values = { 0 };
	QCF_AUTO_FREE char *reason = NULL;
	bool ok = false;

	if (!check_request(r))
		return false;
	reason = qcf_target_values(r, source, &values);
	if (reason == NULL)
		reason = qcf_create_values_resolve(&values, &create);
	if (reason == NULL) {
		create.virtual_size = source->size;
		ok = stream(r, source, &create);
	} else {
		qcf_tool_error("%s", reason);
	}
	qcf_create_values_fini(&values);
	return ok;
}
