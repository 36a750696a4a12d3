/* SPDX-License-Identifier: MIT */
/* tool_open.c - opening images the way QEMU's programs do */
#include "tool_open.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"
#include "tool_unsafe.h"

static const struct {
	const char *name;
	struct qcf_cache_mode mode;
} cache_modes[] = {
	{ "none", { .direct = true } },
	{ "off", { .direct = true } },
	{ "directsync", { .direct = true, .write_through = true } },
	{ "writeback", { 0 } },
	{ "unsafe", { .no_flush = true } },
	{ "writethrough", { .write_through = true } },
};

bool qcf_parse_cache_mode(const char *name, struct qcf_cache_mode *mode)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(cache_modes); i++) {
		if (strcmp(cache_modes[i].name, name) == 0) {
			*mode = cache_modes[i].mode;
			return true;
		}
	}
	return false;
}

/* Where the part of a name that is a path starts; NULL: another protocol. */
static const char *skip_file_protocol(const char *name)
{
	size_t len = strcspn(name, ":/");

	if (name[len] != ':')
		return name;
	if (len == strlen("file") && strncmp(name, "file", len) == 0)
		return name + len + 1;
	return NULL;
}

const char *qcf_tool_path(const char *name, char **reason)
{
	const char *path = skip_file_protocol(name);

	if (path == NULL)
		*reason = qcf_tool_printf("Unknown protocol '%.*s'",
		                          (int)strcspn(name, ":"), name);
	return path;
}

char *qcf_resolve_reference(const char *referrer, const char *reference)
{
	const char *path = skip_file_protocol(reference);
	const char *slash = strrchr(referrer, '/');

	if (path != reference || *reference == '/' || slash == NULL)
		return qcf_tool_printf("%s", path == NULL ? reference : path);
	return qcf_tool_printf("%.*s%s", (int)(slash + 1 - referrer), referrer,
	                       reference);
}

static void warn_probed_raw(const char *path)
{
	fprintf(stderr,
	        "WARNING: Image format was not specified for '%s' and probing "
	        "guessed raw.\n"
	        "         Automatically detecting the format is dangerous for "
	        "raw images, write operations on block 0 will be restricted.\n"
	        "         Specify the 'raw' format explicitly to remove the "
	        "restrictions.\n",
	        path);
}

static bool is_raw(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(image, 0, &info, NULL) == 0 &&
	       info.format == QCOWFMT_FORMAT_RAW;
}

static int fill_options(const struct qcf_tool_open *request,
                        struct qcowfmt_open_options *options, char **reason)
{
	*options = (struct qcowfmt_open_options){
		.struct_size = sizeof(*options),
		.flags = request->flags,
		.reference_policy = request->no_references
		                            ? QCOWFMT_REFERENCES_IGNORE
		                            : QCOWFMT_REFERENCES_LOCAL,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
	};
	if (request->cache.direct)
		options->flags |= QCOWFMT_OPEN_DIRECT;
	if (request->ignore_discard)
		options->discard_mode = QCOWFMT_DISCARD_IGNORE;
	if (request->format == NULL)
		return 0;
	options->format = qcowfmt_format_from_name(request->format);
	if (options->format >= 0)
		return 0;
	*reason = qcf_tool_printf("Unknown driver '%s'", request->format);
	return -EINVAL;
}

int qcf_tool_open(const struct qcf_tool_open *request,
                  struct qcowfmt_image **image, char **reason)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	const char *path = qcf_tool_path(request->path, reason);
	bool writing = (request->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	struct qcowfmt_open_options options;
	int ret;

	if (path == NULL)
		return -EINVAL;
	ret = fill_options(request, &options, reason);
	if (ret < 0)
		return ret;
	if (writing && request->cache.no_flush) {
		ret = qcf_open_without_flush(
			path, &options, request->punch_zeros, image, reason);
	} else {
		ret = qcowfmt_open_file(path, &options, image, &error);
		if (ret < 0)
			*reason = qcf_tool_reason(ret, error, path, writing);
	}
	if (ret < 0)
		return ret;
	if (writing && request->format == NULL && is_raw(*image))
		warn_probed_raw(path);
	return 0;
}
